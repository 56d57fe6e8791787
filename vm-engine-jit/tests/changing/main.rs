//! Translated code that is written over, moved and mapped anew while it is in use: the engine's tests of the
//! interpreter, with a translator.

#[path = "../../../vm-engine/tests/riscv/asm.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod asm;
#[path = "../../../vm-engine/tests/riscv/borders.rs"]
mod borders;
#[path = "../../../vm-engine/tests/riscv/code.rs"]
mod code;
#[path = "../../../vm-engine/tests/riscv/machine.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod interpreted;

/// [`interpreted`], translated.
mod machine {
    use std::sync::Arc;

    use vm_device::Bus;
    use vm_engine::Engine;
    use vm_engine_jit::Template;
    use vm_frontend::Guest as _;
    use vm_frontend::riscv::Riscv;

    use super::interpreted;
    pub(crate) use interpreted::{FLASH, FLASH_BYTES, run_to_call, vcpu, write};

    /// Bytes of the code arena; small, so that code that is gone must make room.
    const CODE_BYTES: usize = 1 << 20;

    pub(crate) fn engine(base: u64, image: &[u8], bytes: u64) -> Arc<Engine<Riscv>> {
        engine_on(Bus::new(), base, image, bytes)
    }

    pub(crate) fn engine_on(bus: Bus, base: u64, image: &[u8], bytes: u64) -> Arc<Engine<Riscv>> {
        translated(interpreted::engine_on(bus, base, image, bytes))
    }

    pub(crate) fn engine_within(
        code_budget_bytes: usize,
        bus: Bus,
        base: u64,
        image: &[u8],
        bytes: u64,
    ) -> Arc<Engine<Riscv>> {
        translated(interpreted::engine_within(
            code_budget_bytes,
            bus,
            base,
            image,
            bytes,
        ))
    }

    fn translated(engine: Arc<Engine<Riscv>>) -> Arc<Engine<Riscv>> {
        let template = Template::new(Riscv::layout(), CODE_BYTES).expect("this host allows it");
        engine.set_translator(Arc::new(template));
        engine
    }
}

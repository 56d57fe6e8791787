//! Virtual CPUs over bare memory, in S-mode, with calls to firmware as the way out.

use std::sync::Arc;

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_frontend::InstanceSpec;
use vm_frontend::riscv::Riscv;
use vm_frontend::riscv::isa::CpuModel;
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

use super::asm::bytes;

/// Where a device is that code may be fetched from, if it is on the bus.
pub(crate) const FLASH: u64 = 0x2000_0000;
/// Its size.
pub(crate) const FLASH_BYTES: u64 = 32 << 20;

/// An engine whose RAM holds `image` at `base` and is `bytes` large.
pub(crate) fn engine(base: u64, image: &[u8], bytes: u64) -> Arc<Engine<Riscv>> {
    engine_on(Bus::new(), base, image, bytes)
}

/// The same with devices.
pub(crate) fn engine_on(bus: Bus, base: u64, image: &[u8], bytes: u64) -> Arc<Engine<Riscv>> {
    engine_within(32 << 20, bus, base, image, bytes)
}

/// The same with so many bytes for code.
pub(crate) fn engine_within(
    code_budget_bytes: usize,
    bus: Bus,
    base: u64,
    image: &[u8],
    bytes: u64,
) -> Arc<Engine<Riscv>> {
    let memory = GuestMemory::new(&[(GuestPhysAddr(base), bytes)]).expect("host memory");
    memory
        .write(GuestPhysAddr(base), image)
        .expect("the image fits");
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let model = CpuModel::from_name("max").expect("a model");
    Engine::new(EngineParts {
        config: model.config(),
        memory: memory.into(),
        bus: Arc::new(bus),
        ports: Arc::new(Bus::new()),
        rom: vec![(GuestPhysAddr(FLASH), FLASH_BYTES)],
        time: Arc::new(TimeBase::new(clock.clone(), 10_000_000)),
        alarms: Arc::new(TimerThread::new(clock).unwrap()),
        code_budget_bytes,
    })
}

/// Puts code at an address.
pub(crate) fn write(engine: &Engine<Riscv>, at: u64, words: &[u32]) {
    let done = engine.memory().write(GuestPhysAddr(at), &bytes(words));
    done.expect("within memory");
}

/// Virtual CPU `number`, starting at `pc`. Exceptions go to `trap`.
pub(crate) fn vcpu(engine: &Arc<Engine<Riscv>>, number: u32, pc: u64, trap: u64) -> Vcpu<Riscv> {
    let spec = InstanceSpec {
        vcpu: VcpuId(number),
        entry: GuestVirtAddr(pc),
        builtin_firmware: true,
    };
    let mut vcpu = Vcpu::new(engine, spec);
    vcpu.state_mut().stvec = trap;
    vcpu
}

/// Runs until the guest calls firmware.
pub(crate) fn run_to_call(vcpu: &mut Vcpu<Riscv>) {
    assert_eq!(vcpu.run(), VmExit::FirmwareCall);
    let state = vcpu.state();
    assert_eq!(
        state.scause, 0,
        "exception at {:#x}, value {:#x}",
        state.sepc, state.stval
    );
}

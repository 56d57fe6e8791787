//! Compare-and-swap, which RISC-V lacks: the translator is made to take swaps for it.

use std::sync::Arc;

use vm_core::{GuestPhysAddr, VmExit};
use vm_frontend::Guest as _;
use vm_frontend::riscv::Riscv;
use vm_ir::{Inst, Op, Operand, Slot};

use super::lockstep::{Planted, template};
use super::{DATA, ECALL, Kind, RAM, Random, prepare, r_type, s_type};

const NEW: usize = 7;

/// `swap r, address, expected` to `cas r, address, expected, x7`.
fn to_cas(inst: &mut Inst) -> bool {
    let meant = inst.op == Op::AtomicSwap;
    if meant {
        let slots = Riscv::layout().slots;
        let at = slots.iter().position(|slot| slot.name == "x7");
        let new = Slot::state(at.expect("a register") as u16);
        inst.op = Op::Cas;
        inst.args[2] = Operand::Slot(new);
    }
    meant
}

/// Runs one on a `held` word; gives its result and what memory holds then.
fn cas(double: bool, wanted: bool, held: u64, expected: u64, new: u64) -> (u64, u64) {
    let rd = if wanted { 5 } else { 0 };
    // sd s0, (tp), which also has the TLB know the page; cas t0, (tp), t1
    let swap = r_type(0x2f, 2 + u32::from(double), 1 << 2, rd, 4, 6);
    let words = [s_type(0x23, 3, 4, 8, 0), swap, ECALL];
    let (engine, mut vcpu) = prepare(&words, RAM + 0x1000, 1, Kind::Atomic);
    engine.set_translator(Arc::new(Planted {
        template: template(),
        change: |inst| to_cas(inst),
        terminator: false,
    }));
    let x = &mut vcpu.state_mut().x;
    (x[4], x[5], x[6], x[NEW], x[8]) = (DATA, 0, expected, new, held);
    assert_eq!(vcpu.run(), VmExit::FirmwareCall);
    let mut bytes = [0; 8];
    let read = engine.memory().read(GuestPhysAddr(DATA), &mut bytes);
    read.expect("within memory");
    (vcpu.state().x[5], u64::from_le_bytes(bytes))
}

#[test]
fn compare_and_swap_stores_only_where_memory_holds_what_is_expected() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    for n in 0..400 {
        let (held, new) = (random.value(), random.value());
        let (double, wanted, equal) = (n & 1 != 0, n & 2 != 0, n & 4 != 0);
        let mask = if double { u64::MAX } else { 0xffff_ffff };
        let expected = match (equal, double) {
            (true, true) => held,
            // What lies above does not count.
            (true, false) => held & mask | random.next() << 32,
            (false, _) => random.value(),
        };
        let stores = (held ^ expected) & mask == 0;
        let stored = if stores {
            new & mask | held & !mask
        } else {
            held
        };
        let found = if double { held } else { held as i32 as u64 };
        let result = if wanted { found } else { 0 };
        assert_eq!(
            cas(double, wanted, held, expected, new),
            (result, stored),
            "{held:#x}, {expected:#x}, {new:#x}, double: {double}"
        );
    }
}

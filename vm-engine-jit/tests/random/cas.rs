//! Compare-and-swap (RISC-V Zacas and Zabha), translated: of every size, equal and not, with and without a result.

use std::sync::Arc;

use vm_core::{GuestPhysAddr, VmExit};

use super::lockstep::template;
use super::{DATA, ECALL, Kind, RAM, Random, prepare, r_type, s_type};

/// Runs one of `1 << size` bytes on a `held` word; gives its result and what memory holds then. Without a wanted
/// result, zero is expected.
fn cas(size: u32, wanted: bool, held: u64, expected: u64, new: u64) -> (u64, u64) {
    let rd = if wanted { 5 } else { 0 };
    // sd s0, (tp), which also has the TLB know the page; amocas t0, t2, (tp)
    let swap = r_type(0x2f, size, 5 << 2, rd, 4, 7);
    let words = [s_type(0x23, 3, 4, 8, 0), swap, ECALL];
    let (engine, mut vcpu) = prepare(&words, RAM + 0x1000, 1, Kind::Atomic);
    engine.set_translator(Arc::new(template()));
    let x = &mut vcpu.state_mut().x;
    (x[4], x[5], x[7], x[8]) = (DATA, expected, new, held);
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
        let (size, wanted, equal) = (n & 3, n & 4 != 0, n & 8 != 0);
        let above = 64 - (8 << size);
        let mask = u64::MAX >> above;
        let (held, expected) = match (equal, wanted) {
            // What lies above does not count.
            (true, true) => (held, held & mask | random.next() & !mask),
            (true, false) => (held & !mask, 0),
            (false, true) => (held, random.value()),
            (false, false) => (held, 0),
        };
        let stores = (held ^ expected) & mask == 0;
        let stored = if stores {
            new & mask | held & !mask
        } else {
            held
        };
        let found = ((held << above) as i64 >> above) as u64;
        let result = if wanted { found } else { expected };
        assert_eq!(
            cas(size, wanted, held, expected, new),
            (result, stored),
            "{held:#x}, {expected:#x}, {new:#x}, {size}"
        );
    }
}

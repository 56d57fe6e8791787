//! High-precision event timer (IA-PC HPET 1.0a, 3.2.4).

use vm_core::GuestPhysAddr;

use super::blob::Blob;
use super::sdt::{Sdt, memory_address};

const REVISION: u8 = 1;
/// The low half of the capabilities: Intel, replaces the old timers' interrupts, 64-bit counter, three comparators,
/// revision 1.
const BLOCK_ID: u32 = 0x8086_a201;
/// Least ticks between periodic interrupts.
const MIN_TICKS: u16 = 0x80;

/// The table.
pub(super) fn table(at: GuestPhysAddr) -> Blob {
    let mut table = Sdt::new(b"HPET", REVISION);
    table.u32(BLOCK_ID).bytes(&memory_address(at.raw()));
    // Its number, and no promise about the page around it.
    table.u8(0).u16(MIN_TICKS).u8(0);
    table.finish()
}

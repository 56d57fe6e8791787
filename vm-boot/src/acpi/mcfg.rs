//! Memory-mapped configuration space of PCI Express (PCI Firmware 3.3, 4.1.2).

use super::PcLayout;
use super::blob::Blob;
use super::sdt::Sdt;

const REVISION: u8 = 1;

/// The table.
pub(super) fn table(layout: &PcLayout) -> Blob {
    let mut table = Sdt::new(b"MCFG", REVISION);
    // Reserved, and one row: base, segment, first and last bus, reserved.
    table.u64(0).u64(layout.ecam.base.raw()).u16(0);
    table.u8(0).u8(layout.last_bus()).u32(0);
    table.finish()
}

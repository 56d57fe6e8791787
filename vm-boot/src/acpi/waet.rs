//! Windows ACPI emulated devices table (Microsoft, "Windows ACPI Emulated Devices Table", 2009): what need not be done
//! as on old chips.

use super::blob::Blob;
use super::sdt::Sdt;

const REVISION: u8 = 1;
/// The power-management timer can be read once instead of three times.
const PM_TIMER_GOOD: u32 = 1 << 1;

/// The table.
pub(super) fn table() -> Blob {
    let mut table = Sdt::new(b"WAET", REVISION);
    table.u32(PM_TIMER_GOOD);
    table.finish()
}

//! Firmware ACPI control structure (ACPI 6.5, 5.2.10): the global lock and the waking vector. It has no checksum.

use super::blob::Blob;

const LENGTH: u32 = 64;
const VERSION: u8 = 2;

/// The structure.
pub(super) fn table() -> Blob {
    let mut bytes = b"FACS".to_vec();
    bytes.extend(LENGTH.to_le_bytes());
    bytes.resize(LENGTH as usize, 0);
    bytes[32] = VERSION;
    Blob {
        bytes,
        ..Blob::default()
    }
}

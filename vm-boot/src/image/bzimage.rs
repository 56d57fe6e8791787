//! x86 bzImage, recognised so that it gets a clear answer (Linux `Documentation/arch/x86/boot.rst`).

use super::Fields as _;

/// Where the boot sector's signature 0xaa55 stands.
const BOOT_FLAG: usize = 0x1fe;
/// Where the setup header's "HdrS" stands.
const HEADER_MAGIC: usize = 0x202;

/// Whether the bytes begin like an x86 kernel.
pub(super) fn is_bzimage(bytes: &[u8]) -> bool {
    bytes.u16_at(BOOT_FLAG) == Some(0xaa55) && bytes.has_at(HEADER_MAGIC, b"HdrS")
}

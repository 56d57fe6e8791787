//! The header that system description tables begin with (ACPI 6.5, 5.2.6).

use super::blob::{Blob, Checksum};

/// Length of the header.
pub(super) const HEADER_BYTES: usize = 36;
/// Where the checksum stands.
const CHECKSUM: usize = 9;

const OEM_ID: &[u8; 6] = b"VMBOOT";
const OEM_REVISION: u32 = 1;
const CREATOR_ID: &[u8; 4] = b"VMBT";
const CREATOR_REVISION: u32 = 1;

/// The OEM's name, which the root pointer has, too.
pub(super) const fn oem_id() -> &'static [u8; 6] {
    OEM_ID
}

/// A table in the making: header and what is appended to it.
#[derive(Debug)]
pub(super) struct Sdt {
    blob: Blob,
}

impl Sdt {
    /// A table with nothing behind its header.
    pub(super) fn new(signature: &[u8; 4], revision: u8) -> Self {
        let mut bytes = signature.to_vec();
        bytes.extend([0; 4]);
        bytes.extend([revision, 0]);
        bytes.extend(OEM_ID);
        bytes.extend(b"VM");
        bytes.extend(signature);
        bytes.extend([0; 2]);
        bytes.extend(OEM_REVISION.to_le_bytes());
        bytes.extend(CREATOR_ID);
        bytes.extend(CREATOR_REVISION.to_le_bytes());
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        Self {
            blob: Blob {
                bytes,
                ..Blob::default()
            },
        }
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.blob.bytes.extend(bytes);
        self
    }

    /// A field of `width` bytes with the address of what is at offset `target` of the tables.
    pub(super) fn pointer(&mut self, width: u8, target: usize) -> &mut Self {
        self.blob.push_pointer(width, target);
        self
    }

    /// The table with its length and the place of its checksum.
    pub(super) fn finish(mut self) -> Blob {
        let length = self.blob.bytes.len();
        self.blob.put(4, &(length as u32).to_le_bytes());
        self.blob.checksums.push(Checksum {
            at: CHECKSUM,
            start: 0,
            length,
        });
        self.blob
    }
}

/// A generic address structure for ports (ACPI 6.5, 5.2.3.2), with `bits` of register width.
pub(super) fn port_address(port: u16, bits: u8) -> [u8; 12] {
    const SYSTEM_IO: u8 = 1;
    let access = match bits {
        8 => 1,
        16 => 2,
        32 => 3,
        _ => 0,
    };
    generic_address(SYSTEM_IO, bits, access, port.into())
}

/// A generic address structure for memory, with registers of 64 bits.
pub(super) fn memory_address(address: u64) -> [u8; 12] {
    const SYSTEM_MEMORY: u8 = 0;
    generic_address(SYSTEM_MEMORY, 64, 0, address)
}

fn generic_address(space: u8, bits: u8, access: u8, address: u64) -> [u8; 12] {
    let mut bytes = [space, bits, 0, access, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&address.to_le_bytes());
    bytes
}

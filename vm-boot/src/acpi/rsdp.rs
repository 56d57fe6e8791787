//! The root pointer and the two lists of tables (ACPI 6.5, 5.2.5, 5.2.7 and 5.2.8).

use super::blob::{Blob, Checksum};
use super::sdt::{Sdt, oem_id};

/// Length of the root pointer as of ACPI 1.0, and of the whole.
const OLD_BYTES: usize = 20;
const LENGTH: u32 = 36;
/// Where the two checksums stand.
const OLD_CHECKSUM: usize = 8;
const CHECKSUM: usize = 32;
const REVISION: u8 = 2;

/// The list with 32-bit addresses; `tables` are offsets.
pub(super) fn rsdt(tables: &[usize]) -> Blob {
    let mut table = Sdt::new(b"RSDT", 1);
    for target in tables {
        table.pointer(4, *target);
    }
    table.finish()
}

/// The list with 64-bit addresses; `tables` are offsets.
pub(super) fn xsdt(tables: &[usize]) -> Blob {
    let mut table = Sdt::new(b"XSDT", 1);
    for target in tables {
        table.pointer(8, *target);
    }
    table.finish()
}

/// The root pointer, a blob of its own; `rsdt` and `xsdt` are offsets in the tables.
pub(super) fn root_pointer(rsdt: usize, xsdt: usize) -> Blob {
    let mut blob = Blob {
        bytes: b"RSD PTR \0".to_vec(),
        ..Blob::default()
    };
    blob.bytes.extend(oem_id());
    blob.bytes.push(REVISION);
    blob.push_pointer(4, rsdt);
    blob.bytes.extend(LENGTH.to_le_bytes());
    blob.push_pointer(8, xsdt);
    blob.bytes.extend([0; 4]);
    blob.checksums = [(OLD_CHECKSUM, OLD_BYTES), (CHECKSUM, LENGTH as usize)]
        .map(|(at, length)| Checksum {
            at,
            start: 0,
            length,
        })
        .to_vec();
    blob
}

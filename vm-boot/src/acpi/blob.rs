//! Bytes with pointers and checksums that are put in when it is known where the bytes go.

use vm_core::GuestPhysAddr;

/// Alignment of each table in a blob; the FACS asks for it (ACPI 6.5, 5.2.10).
const TABLE_ALIGN: usize = 64;

/// A field that holds the address of something in the tables' blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pointer {
    /// Where the field is.
    pub(super) at: usize,
    /// Its length in bytes: 4 or 8.
    pub(super) width: u8,
    /// Offset in the tables' blob of what it points to.
    pub(super) target: usize,
}

/// A byte that makes the sum of a range zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Checksum {
    /// Where the byte is.
    pub(super) at: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

/// Bytes of tables. Pointer fields hold the offset of their target, checksums are zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Blob {
    pub(super) bytes: Vec<u8>,
    pub(super) pointers: Vec<Pointer>,
    pub(super) checksums: Vec<Checksum>,
}

impl Blob {
    /// Appends another blob and returns its offset.
    pub(super) fn append(&mut self, other: Self) -> usize {
        let offset = self.bytes.len().next_multiple_of(TABLE_ALIGN);
        self.bytes.resize(offset, 0);
        self.bytes.extend(other.bytes);
        self.pointers.extend(other.pointers.iter().map(|p| Pointer {
            at: p.at + offset,
            ..*p
        }));
        self.checksums
            .extend(other.checksums.iter().map(|c| Checksum {
                at: c.at + offset,
                start: c.start + offset,
                ..*c
            }));
        offset
    }

    /// Appends a field of `width` bytes that points to offset `target` of the tables' blob.
    pub(super) fn push_pointer(&mut self, width: u8, target: usize) {
        let at = self.bytes.len();
        self.bytes.resize(at + usize::from(width), 0);
        self.point(at, width, target);
    }

    /// Makes the field of `width` bytes at `at` point to offset `target` of the tables' blob.
    pub(super) fn point(&mut self, at: usize, width: u8, target: usize) {
        self.put(at, &(target as u64).to_le_bytes()[..usize::from(width)]);
        self.pointers.push(Pointer { at, width, target });
    }

    /// Overwrites bytes.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes for a tables' blob at `tables_at`.
    pub(super) fn linked(&self, tables_at: GuestPhysAddr) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for pointer in &self.pointers {
            let address = tables_at + pointer.target as u64;
            let width = usize::from(pointer.width);
            bytes[pointer.at..pointer.at + width]
                .copy_from_slice(&address.raw().to_le_bytes()[..width]);
        }
        for checksum in &self.checksums {
            let range = &bytes[checksum.start..checksum.start + checksum.length];
            let sum = range.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            bytes[checksum.at] = bytes[checksum.at].wrapping_sub(sum);
        }
        bytes
    }
}

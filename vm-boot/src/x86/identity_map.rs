//! Page tables that map the first 4 GiB to themselves, in pages of 2 MiB (Intel SDM 3A, 4.5).

use vm_core::{GuestPhysAddr, PAGE_BYTES};

const TABLE_BYTES: usize = PAGE_BYTES as usize;
/// Directories, one a GiB.
const DIRECTORIES: usize = 4;
/// Length of the tables in memory; they begin at a page.
pub(super) const IDENTITY_MAP_BYTES: usize = (2 + DIRECTORIES) * TABLE_BYTES;
const LARGE_PAGE_BYTES: u64 = 2 << 20;

/// Present and writable.
const TABLE: u64 = 0b11;
/// Present, writable and large.
const LARGE_PAGE: u64 = 0b1000_0011;

/// The tables for address `at`, the top level first.
pub(super) fn identity_map(at: GuestPhysAddr) -> Vec<u8> {
    let mut bytes = vec![0; IDENTITY_MAP_BYTES];
    let mut put = |place: usize, entry: u64| {
        bytes[place * 8..place * 8 + 8].copy_from_slice(&entry.to_le_bytes());
    };
    const ENTRIES: usize = TABLE_BYTES / 8;
    let table = |index: usize| at.raw() + (index * TABLE_BYTES) as u64;
    put(0, table(1) | TABLE);
    for directory in 0..DIRECTORIES {
        put(ENTRIES + directory, table(2 + directory) | TABLE);
    }
    for page in 0..DIRECTORIES * ENTRIES {
        put(
            2 * ENTRIES + page,
            (page as u64 * LARGE_PAGE_BYTES) | LARGE_PAGE,
        );
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_map_walked_by_hand_gives_the_address_back() {
        let at = GuestPhysAddr(0x9000);
        let bytes = identity_map(at);
        let read = |addr: u64| {
            let offset = (addr - at.raw()) as usize;
            u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
        };
        for virt in [0, 0x7000, 0x1234_5678, 0xffff_ffff_u64] {
            let mut table = at.raw();
            for shift in [39, 30] {
                let entry = read(table + (virt >> shift & 511) * 8);
                assert_eq!(entry & 0xfff, TABLE);
                table = entry & !0xfff;
            }
            let page = read(table + (virt >> 21 & 511) * 8);
            assert_eq!(page & 0x1f_ffff, LARGE_PAGE);
            assert_eq!((page & !0x1f_ffff) | (virt & 0x1f_ffff), virt);
        }
    }
}

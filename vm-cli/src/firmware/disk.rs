//! Which firmware a disk is made for, by what such firmware would start.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use vm_core::config::DiskConfig;

use crate::debian::firmware::Kind;

const SECTOR_BYTES: u64 = 512;
/// The end of a master boot record, and of its code.
const SIGNATURE: (usize, [u8; 2]) = (510, [0x55, 0xaa]);
const CODE_BYTES: usize = 440;
/// A CD's boot record volume: its sector, and where the sector of the catalogue is (El Torito 1.0, figure 7).
const BOOT_RECORD: u64 = 17 * 2048;
const BOOT_RECORD_ID: &[u8] = b"\0CD001\x01EL TORITO SPECIFICATION";
const CATALOGUE: usize = 0x47;
/// The catalogue's first entry: what it starts with, and for which platform it is. 0 is that of the PC's BIOS (figure 2).
const VALIDATION: u8 = 1;
const PLATFORM_BIOS: u8 = 0;
/// Names of what UEFI starts on a disk that it knows nothing of, as directories of FAT have them (UEFI 2.10, 3.5.1.1).
const LOADERS: [(&[u8; 11], Kind); 2] = [
    (b"BOOTX64 EFI", Kind::Ovmf),
    (b"BOOTRI~1EFI", Kind::OpenSbi),
];
/// How far into a disk the directories of its first file system are looked for.
const SEARCHED_BYTES: u64 = 64 << 20;

/// The firmware for the first disk that anything is known of.
pub(super) fn kind(disks: &[DiskConfig]) -> Option<Kind> {
    disks.iter().find_map(|disk| of_file(&disk.file))
}

fn of_file(path: &Path) -> Option<Kind> {
    let mut file = File::open(path).ok()?;
    if let Some(kind) = of_disc(&mut file) {
        return Some(kind);
    }
    let mut sector = [0; SECTOR_BYTES as usize];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut sector).ok()?;
    let (at, signature) = SIGNATURE;
    let has_code = sector[..CODE_BYTES].iter().any(|&byte| byte != 0);
    if sector[at..] == signature && has_code {
        return Some(Kind::Seabios);
    }
    loader(file)
}

/// The same of a CD.
fn of_disc(file: &mut File) -> Option<Kind> {
    let mut sector = [0; 2048];
    file.seek(SeekFrom::Start(BOOT_RECORD)).ok()?;
    file.read_exact(&mut sector).ok()?;
    if !sector.starts_with(BOOT_RECORD_ID) {
        return None;
    }
    let catalogue: [u8; 4] = sector[CATALOGUE..CATALOGUE + 4].try_into().ok()?;
    let catalogue = u64::from(u32::from_le_bytes(catalogue));
    file.seek(SeekFrom::Start(catalogue * 2048)).ok()?;
    file.read_exact(&mut sector).ok()?;
    (sector[..2] == [VALIDATION, PLATFORM_BIOS]).then_some(Kind::Seabios)
}

/// The loader for UEFI that comes first in the first part of the disk.
fn loader(mut file: File) -> Option<Kind> {
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut file = file.take(SEARCHED_BYTES);
    let mut bytes = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut bytes).ok().filter(|&count| count > 0)?;
        // Entries of directories are 32 bytes long.
        for entry in bytes[..count].chunks(32) {
            if let Some((_, kind)) = LOADERS.iter().find(|(name, _)| entry.starts_with(*name)) {
                return Some(*kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(content: &[(usize, &[u8])]) -> Option<Kind> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = vec![0; 1 << 20];
        for (at, part) in content {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        std::fs::write(file.path(), bytes).unwrap();
        of_file(file.path())
    }

    #[test]
    fn kind_is_of_what_firmware_would_start() {
        let signature = (510, &[0x55, 0xaa][..]);
        assert_eq!(kind_of(&[]), None);
        assert_eq!(kind_of(&[signature]), None);
        assert_eq!(kind_of(&[(0, b"\xeb\x63"), signature]), Some(Kind::Seabios));
        let loader = |name| kind_of(&[signature, (0x8_0020, name)]);
        assert_eq!(loader(b"BOOTX64 EFI"), Some(Kind::Ovmf));
        assert_eq!(loader(b"BOOTRI~1EFI"), Some(Kind::OpenSbi));
        assert_eq!(loader(b"BOOTAA64EFI"), None);
        let disc = |platform: u8| {
            kind_of(&[
                (17 * 2048, BOOT_RECORD_ID),
                (17 * 2048 + CATALOGUE, &[20]),
                (20 * 2048, &[1, platform]),
            ])
        };
        assert_eq!(disc(0), Some(Kind::Seabios));
        assert_eq!(disc(0xef), None);
    }
}

//! GRUB for a PC's BIOS on a GPT disk: the boot sector, and the core image in a partition of its own (GRUB 2.12,
//! `util/setup.c`, `grub-core/boot/i386/pc/{boot,diskboot}.S`, `include/grub/i386/pc/boot.h`).

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::process::output_of;
use super::{Cache, Error};

/// Length of the partition for the core image.
pub(super) const BIOS_PARTITION_BYTES: u64 = 1 << 20;

const SECTOR_BYTES: usize = 512;
/// Bytes of the first sector that are the boot program's: the disk's signature and partition table follow.
const BOOT_PROGRAM_BYTES: usize = 440;
/// In the boot sector: the core image's first sector (u64).
const KERNEL_SECTOR: usize = 0x5c;
/// In the boot sector: a jump that floppy disks need, and the two `nop` that take its place on others.
const DRIVE_CHECK: usize = 0x66;
const NO_DRIVE_CHECK: [u8; 2] = [0x90; 2];
/// In the core image's first sector: where the rest of the image begins (u64), followed by its length.
const BLOCK_LIST: usize = 0x1f4;

/// Modules beside those of the EFI program: the BIOS' disks and the serial line.
const MODULES: &[&str] = &["biosdisk", "serial", "terminal"];

/// Boot sector and core image.
pub(super) struct Boot {
    sector: Vec<u8>,
    core: Vec<u8>,
}

impl Boot {
    /// Makes the core image of `modules`, a folder of GRUB's, with the ones named built in and `early` to be done
    /// first.
    pub(super) fn make(
        cache: &Cache,
        target: &str,
        modules: &Path,
        early: &Path,
        names: &[&str],
        work: &Path,
    ) -> Result<Self, Error> {
        let image = work.join("core.img");
        let mut grub = cache.host_tool("usr/bin/grub-mkimage")?;
        grub.args(["-O", target, "-p", "/boot/grub", "-d"]);
        grub.arg(modules).arg("-c").arg(early).arg("-o").arg(&image);
        grub.args(names).args(MODULES);
        output_of(&mut grub, "grub-common")?;
        let read = |path: &Path| fs::read(path).map_err(Error::io(path));
        let (sector, core) = (read(&modules.join("boot.img"))?, read(&image)?);
        let fits = core.len() as u64 <= BIOS_PARTITION_BYTES;
        if sector.len() != SECTOR_BYTES || core.len() < 2 * SECTOR_BYTES || !fits {
            return Err(Error::Layout {
                what: "a boot sector and a core image of the known form".into(),
                place: modules.into(),
            });
        }
        Ok(Self { sector, core })
    }

    /// Writes both to a disk whose partition for the core image begins at `offset`; the partition tables stay.
    pub(super) fn write(mut self, disk: &Path, offset: u64) -> Result<(), Error> {
        self.link(offset / SECTOR_BYTES as u64);
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().read(true).write(true).open(disk)?;
            let mut first = vec![0; SECTOR_BYTES];
            file.read_exact(&mut first)?;
            first[..BOOT_PROGRAM_BYTES].copy_from_slice(&self.sector[..BOOT_PROGRAM_BYTES]);
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&first)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&self.core)
        };
        write().map_err(Error::io(disk))
    }

    /// Tells each part where the next one is; the core image begins at sector `start`.
    fn link(&mut self, start: u64) {
        let put = |bytes: &mut [u8], at: usize, field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        put(&mut self.sector, KERNEL_SECTOR, &start.to_le_bytes());
        put(&mut self.sector, DRIVE_CHECK, &NO_DRIVE_CHECK);
        put(&mut self.core, BLOCK_LIST, &(start + 1).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_links_the_parts_and_keeps_the_partition_table() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk.img");
        fs::write(&disk, vec![0xee; 8 << 10]).unwrap();
        let boot = Boot {
            sector: vec![0xb0; SECTOR_BYTES],
            core: vec![0xc0; 2 * SECTOR_BYTES],
        };
        boot.write(&disk, 4096).unwrap();
        let bytes = fs::read(&disk).unwrap();
        assert_eq!(
            bytes[0x5c..0x68],
            [8, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0xb0, 0x90, 0x90]
        );
        assert_eq!(bytes[439..441], [0xb0, 0xee]);
        assert_eq!(
            bytes[4096 + 0x1f4..4096 + 0x1fd],
            [9, 0, 0, 0, 0, 0, 0, 0, 0xc0]
        );
        assert_eq!(bytes[4096 + 1024], 0xee);
    }
}

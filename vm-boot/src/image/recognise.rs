//! The architecture of a program, from the first bytes of its file.

use std::io::Read as _;

use object::elf;
use vm_core::GuestArch;

use super::{Fields as _, HEAD_BYTES, bzimage, compressed, flat, zboot};
use crate::BootFile;

/// Offset of an ELF file's `e_machine` (System V gABI, "ELF Header").
const ELF_MACHINE: usize = 18;
/// Offset of the place of a PE file's header, and of its machine within that header (PE Format, "COFF File Header").
const PE_PLACE: usize = 0x3c;
const PE_MACHINE: usize = 4;

const ELF_MACHINES: [(u16, GuestArch); 4] = [
    (elf::EM_RISCV.0, GuestArch::Riscv64),
    (elf::EM_AARCH64.0, GuestArch::Aarch64),
    (elf::EM_X86_64.0, GuestArch::X86_64),
    // Boot loaders' programs for PCs begin in 32-bit mode.
    (elf::EM_386.0, GuestArch::X86_64),
];
const PE_MACHINES: [(u16, GuestArch); 3] = [
    (0x5064, GuestArch::Riscv64),
    (0xaa64, GuestArch::Aarch64),
    (0x8664, GuestArch::X86_64),
];

/// The architecture that a kernel is made for, packed with gzip or not; `None` when its first bytes do not say.
pub fn arch_of(file: &BootFile) -> Option<GuestArch> {
    let head = file.content().head(HEAD_BYTES).ok()?;
    if !head.starts_with(&compressed::GZIP_MAGIC) {
        return of_head(&head);
    }
    let mut inner = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(file.content().reader());
    // What is damaged is told where all of it is unpacked.
    let _ = unpacked.take(HEAD_BYTES as u64).read_to_end(&mut inner);
    of_head(&inner)
}

fn of_head(head: &[u8]) -> Option<GuestArch> {
    let among = |machines: &[(u16, GuestArch)], number: u16| {
        let row = machines.iter().find(|(machine, _)| *machine == number);
        row.map(|(_, arch)| *arch)
    };
    if head.has_at(0, &elf::ELFMAG) {
        return among(&ELF_MACHINES, head.u16_at(ELF_MACHINE)?);
    }
    if bzimage::is_bzimage(head) {
        return Some(GuestArch::X86_64);
    }
    if zboot::is_zboot(head) {
        let header = head.u32_at(PE_PLACE)? as usize;
        return among(&PE_MACHINES, head.u16_at(header.checked_add(PE_MACHINE)?)?);
    }
    flat::recognise(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use std::io::Write as _;

    fn arch(content: &[u8]) -> Option<GuestArch> {
        arch_of(&BootFile::new(Role::Kernel, "kernel", content.to_vec()).unwrap())
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn arch_is_known_of_every_format_plain_and_packed() {
        let mut image = vec![0; 2048];
        image[0x38..0x3c].copy_from_slice(b"RSC\x05");
        let mut bzimage = vec![0; 2048];
        bzimage[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        bzimage[0x202..0x206].copy_from_slice(b"HdrS");
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        let mut zboot = vec![0; 512];
        zboot[..2].copy_from_slice(b"MZ");
        zboot[4..8].copy_from_slice(b"zimg");
        zboot[0x3c] = 0x40;
        zboot[0x44..0x46].copy_from_slice(&0x5064_u16.to_le_bytes());
        for (content, expected) in [
            (image, Some(GuestArch::Riscv64)),
            (bzimage, Some(GuestArch::X86_64)),
            (elf, Some(GuestArch::X86_64)),
            (zboot, Some(GuestArch::Riscv64)),
            (b"MZ".to_vec(), None),
            (b"something else".to_vec(), None),
        ] {
            assert_eq!(arch(&content), expected);
            assert_eq!(arch(&gzip(&content)), expected);
        }
        assert_eq!(arch(&gzip(b"")), None);
        assert_eq!(arch(&[0x1f, 0x8b]), None);
    }
}

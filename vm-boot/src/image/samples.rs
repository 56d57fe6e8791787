//! Small kernels in every format, made by the tests.

use std::io::Write as _;

/// An Image header with `content` behind it.
pub(crate) fn flat(
    magic: &[u8; 4],
    text_offset: u64,
    image_size: u64,
    flags: u64,
    content: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
    bytes[16..24].copy_from_slice(&image_size.to_le_bytes());
    bytes[24..32].copy_from_slice(&flags.to_le_bytes());
    bytes[0x38..0x3c].copy_from_slice(magic);
    bytes.extend_from_slice(content);
    bytes
}

/// A RISC-V Image as Debian's: 2 MiB into RAM, more memory than file.
pub(crate) fn riscv_image() -> Vec<u8> {
    flat(b"RSC\x05", 0x20_0000, 0x9000, 0, &[0x13; 5000])
}

/// A RISC-V Image that is an EFI program with one section, up to the file's end.
pub(crate) fn riscv_efi_image() -> Vec<u8> {
    let mut bytes = flat(b"RSC\x05", 0x20_0000, 0x9000, 0, &[0x13; 0x1000]);
    let whole = bytes.len() as u32;
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
    bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
    bytes[0x46..0x48].copy_from_slice(&1u16.to_le_bytes());
    bytes[0x54..0x56].copy_from_slice(&0u16.to_le_bytes());
    bytes[0x68..0x6c].copy_from_slice(&(whole - 0x200).to_le_bytes());
    bytes[0x6c..0x70].copy_from_slice(&0x200u32.to_le_bytes());
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An EFI zboot file around a compressed payload.
pub(crate) fn zboot(compression: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x200];
    let offset = bytes.len() as u32;
    bytes[..2].copy_from_slice(b"MZ");
    bytes[4..8].copy_from_slice(b"zimg");
    bytes[8..12].copy_from_slice(&offset.to_le_bytes());
    bytes[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[24..24 + compression.len()].copy_from_slice(compression.as_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// What a small x86 kernel's header says.
pub(crate) struct BzImageHeader {
    pub(crate) protocol: u16,
    pub(crate) load_flags: u8,
    pub(crate) extra_load_flags: u16,
    pub(crate) initrd_max: u32,
    pub(crate) command_line_max: u32,
    pub(crate) preferred_address: u64,
    pub(crate) init_size: u32,
}

impl Default for BzImageHeader {
    /// As Debian's.
    fn default() -> Self {
        Self {
            protocol: 0x20f,
            load_flags: 1,
            extra_load_flags: 0x7f,
            initrd_max: 0x7fff_ffff,
            command_line_max: 2047,
            preferred_address: 0x100_0000,
            init_size: 0x20_0000,
        }
    }
}

impl BzImageHeader {
    /// The kernel: two setup sectors, and 0x400 bytes of protected-mode code.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut bytes = vec![0; 3 * 512];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0x1f1, &[2]);
        put(0x1f4, &0x40_u32.to_le_bytes());
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &self.protocol.to_le_bytes());
        put(0x211, &[self.load_flags]);
        put(0x22c, &self.initrd_max.to_le_bytes());
        put(0x230, &0x20_0000_u32.to_le_bytes());
        put(0x234, &[1, 21]);
        put(0x236, &self.extra_load_flags.to_le_bytes());
        put(0x238, &self.command_line_max.to_le_bytes());
        put(0x258, &self.preferred_address.to_le_bytes());
        put(0x260, &self.init_size.to_le_bytes());
        bytes.extend([0x90; 0x400]);
        bytes
    }
}

/// An x86 kernel as Debian's.
pub(crate) fn bzimage() -> Vec<u8> {
    BzImageHeader::default().build()
}

/// A segment to be linked: virtual and physical address, content, length in memory.
pub(crate) struct Load<'a> {
    pub(crate) virt: u64,
    pub(crate) phys: u64,
    pub(crate) content: &'a [u8],
    pub(crate) memory_bytes: u64,
}

/// What an ELF file is made of.
pub(crate) struct Elf<'a> {
    pub(crate) machine: u16,
    pub(crate) kind: u16,
    pub(crate) entry: u64,
    pub(crate) loads: &'a [Load<'a>],
    pub(crate) symbols: &'a [(&'a str, u64)],
    /// The PVH entry in a note, if there is to be one.
    pub(crate) pvh_entry: Option<u32>,
}

impl Default for Elf<'_> {
    fn default() -> Self {
        Self {
            machine: 243,
            kind: 2,
            entry: 0x8000_0000,
            loads: &[],
            symbols: &[],
            pvh_entry: None,
        }
    }
}

impl Elf<'_> {
    /// File header, program headers, contents, symbol table, string table, section headers.
    pub(crate) fn link(&self) -> Vec<u8> {
        let note = self.pvh_entry.map(pvh_note).unwrap_or_default();
        let headers = self.loads.len() + usize::from(!note.is_empty());
        let headers_end = 64 + 56 * headers;
        let contents: usize = self.loads.iter().map(|load| load.content.len()).sum();
        let symtab_at = (headers_end + contents + note.len()).next_multiple_of(8);
        let symtab_bytes = 24 * (self.symbols.len() + 1);
        let mut names = vec![0];
        let mut table = vec![0; 24];
        for (name, value) in self.symbols {
            table.extend((names.len() as u32).to_le_bytes());
            table.extend([0x10, 0, 1, 0]);
            table.extend(value.to_le_bytes());
            table.extend([0; 8]);
            names.extend(name.bytes().chain([0]));
        }
        let sections_at = (symtab_at + symtab_bytes + names.len()).next_multiple_of(8);

        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend(self.kind.to_le_bytes());
        out.extend(self.machine.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        for word in [self.entry, 64, sections_at as u64] {
            out.extend(word.to_le_bytes());
        }
        out.extend(0_u32.to_le_bytes());
        for half in [64, 56, headers as u16, 64, 3, 0] {
            out.extend(half.to_le_bytes());
        }
        let mut offset = headers_end as u64;
        for load in self.loads {
            out.extend(1_u32.to_le_bytes());
            out.extend(7_u32.to_le_bytes());
            let length = load.content.len() as u64;
            for word in [
                offset,
                load.virt,
                load.phys,
                length,
                load.memory_bytes,
                0x1000,
            ] {
                out.extend(word.to_le_bytes());
            }
            offset += length;
        }
        if !note.is_empty() {
            out.extend(4_u32.to_le_bytes());
            out.extend(4_u32.to_le_bytes());
            let length = note.len() as u64;
            for word in [offset, 0, 0, length, length, 4] {
                out.extend(word.to_le_bytes());
            }
        }
        for load in self.loads {
            out.extend(load.content);
        }
        out.extend(&note);
        out.resize(symtab_at, 0);
        out.extend(table);
        let strtab_at = out.len();
        out.extend(&names);
        out.resize(sections_at, 0);
        out.resize(sections_at + 64, 0);
        section(&mut out, 2, symtab_at, symtab_bytes, 2, 24);
        section(&mut out, 3, strtab_at, names.len(), 0, 0);
        out
    }
}

/// A note of Xen's with type 18 (PHYS32_ENTRY), behind one of another type.
fn pvh_note(entry: u32) -> Vec<u8> {
    let mut note = Vec::new();
    for (kind, value) in [(5_u32, 0_u32), (18, entry)] {
        for word in [4_u32, 4, kind] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"Xen\0");
        note.extend(value.to_le_bytes());
    }
    note
}

fn section(out: &mut Vec<u8>, kind: u32, at: usize, bytes: usize, link: u32, entry: u64) {
    out.extend(0_u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    for word in [0, 0, at as u64, bytes as u64] {
        out.extend(word.to_le_bytes());
    }
    out.extend(link.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    for word in [8, entry] {
        out.extend(word.to_le_bytes());
    }
}

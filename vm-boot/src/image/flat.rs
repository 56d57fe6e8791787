//! Linux "Image" files of RISC-V and Arm64. Both have a 64-byte header with the same fields at the same places
//! (Linux `Documentation/arch/riscv/boot-image-header.rst`, `Documentation/arch/arm64/booting.rst`).

use vm_core::GuestArch;

use super::Fields as _;
use crate::{BootError, BootFile, Content};

/// Length of the header in bytes.
const HEADER_BYTES: u64 = 64;
/// Where the load offset from the start of RAM (u64) stands.
const TEXT_OFFSET: usize = 8;
/// Where the length in memory (u64) stands.
const IMAGE_SIZE: usize = 16;
/// Where the flags (u64) stand.
const FLAGS: usize = 24;
/// Where the magic number stands.
const MAGIC: usize = 0x38;
/// Flag bit 0: the kernel is big-endian.
const FLAG_BIG_ENDIAN: u64 = 1;

const MAGICS: [(&[u8; 4], GuestArch); 2] = [
    (b"RSC\x05", GuestArch::Riscv64),
    (b"ARM\x64", GuestArch::Aarch64),
];

/// A Linux Image. Its first byte is its entry.
#[derive(Clone, Debug)]
pub struct FlatImage {
    /// Bytes from the start of RAM to the place where it wants to be.
    pub text_offset: u64,
    /// Bytes it occupies in memory, at least those of the file.
    pub memory_bytes: u64,
    /// The file's content, header included.
    pub content: Content,
}

/// The architecture of an Image, by its magic number.
pub(super) fn recognise(bytes: &[u8]) -> Option<GuestArch> {
    MAGICS
        .iter()
        .find(|(magic, _)| bytes.has_at(MAGIC, magic))
        .map(|(_, arch)| *arch)
}

/// Where the contents of an Image's sections end in its file, if it is an EFI program too; the Image header itself
/// does not know how long the file is (PE Format, "COFF File Header" and "Section Table").
fn efi_sections_end(head: &[u8]) -> Option<u64> {
    const SECTION_BYTES: usize = 40;
    let pe = head
        .starts_with(b"MZ")
        .then(|| head.u32_at(0x3c))
        .flatten()? as usize;
    if !head.has_at(pe, b"PE\0\0") {
        return None;
    }
    let sections = usize::from(head.u16_at(pe.checked_add(6)?)?);
    let optional_header_bytes = usize::from(head.u16_at(pe.checked_add(20)?)?);
    let table = pe.checked_add(24 + optional_header_bytes)?;
    (0..sections)
        .map_while(|section| {
            let row = table.checked_add(section * SECTION_BYTES)?;
            let bytes = head.u32_at(row.checked_add(16)?)?;
            let start = head.u32_at(row.checked_add(20)?)?;
            Some(u64::from(start) + u64::from(bytes))
        })
        .max()
}

/// Reads the header of an Image that was recognised.
pub(super) fn parse(
    file: &BootFile,
    head: &[u8],
    content: &Content,
    arch: GuestArch,
) -> Result<FlatImage, BootError> {
    let field = |at| {
        head.u64_at(at)
            .ok_or_else(|| file.damaged("its Image header is cut off"))
    };
    let (text_offset, image_size) = (field(TEXT_OFFSET)?, field(IMAGE_SIZE)?);
    if content.len() <= HEADER_BYTES {
        return Err(file.damaged("it ends behind its Image header"));
    }
    if field(FLAGS)? & FLAG_BIG_ENDIAN != 0 {
        return Err(file.unsupported(format!(
            "is a big-endian {arch} kernel, but this machine is little-endian; give a little-endian one"
        )));
    }
    if efi_sections_end(head).is_some_and(|end| end > content.len()) {
        return Err(file.damaged("it is truncated: its sections reach past the end of the file"));
    }
    Ok(FlatImage {
        text_offset,
        memory_bytes: image_size.max(content.len()),
        content: content.clone(),
    })
}

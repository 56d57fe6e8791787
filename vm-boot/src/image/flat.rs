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
    Ok(FlatImage {
        text_offset,
        memory_bytes: image_size.max(content.len()),
        content: content.clone(),
    })
}

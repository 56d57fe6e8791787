//! EFI zboot: a PE file whose payload is a compressed Image (Linux
//! `drivers/firmware/efi/libstub/zboot-header.S`).

use super::{Fields as _, compressed};
use crate::{BootError, BootFile, Content};

/// Where "zimg" stands, behind the "MZ" of every PE file.
const MAGIC: usize = 4;
/// Where the payload's offset (u32) stands.
const PAYLOAD_OFFSET: usize = 8;
/// Where the payload's length (u32) stands.
const PAYLOAD_BYTES: usize = 12;
/// Where the name of the compression stands, ended by a zero byte.
const COMPRESSION: usize = 24;
/// Bytes for that name.
const COMPRESSION_BYTES: usize = 32;

/// Whether the bytes begin like an EFI zboot file.
pub(super) fn is_zboot(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ") && bytes.has_at(MAGIC, b"zimg")
}

/// The unpacked payload.
pub(super) fn unpack(
    file: &BootFile,
    head: &[u8],
    content: &Content,
    max: u64,
) -> Result<Vec<u8>, BootError> {
    let cut_off = || file.damaged("its EFI zboot header is cut off");
    let offset = u64::from(head.u32_at(PAYLOAD_OFFSET).ok_or_else(cut_off)?);
    let length = u64::from(head.u32_at(PAYLOAD_BYTES).ok_or_else(cut_off)?);
    let name: [u8; COMPRESSION_BYTES] = head.array(COMPRESSION).ok_or_else(cut_off)?;
    let payload = content
        .slice(offset..offset + length)
        .ok_or_else(|| file.damaged("its EFI zboot payload reaches past the end of the file"))?;
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    match name {
        b"gzip" => compressed::gunzip(file, &payload, max),
        // The build names the level as well: "zstd", or "zstd22".
        b"zstd" | b"zstd22" => compressed::unzstd(file, &payload, max),
        other => Err(file.unsupported(format!(
            "is an EFI zboot file packed with '{}'; only gzip and zstd can be unpacked, so give the plain Image",
            other.escape_ascii()
        ))),
    }
}

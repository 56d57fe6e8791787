//! Compressed streams, unpacked with an upper limit.

use std::io::{BufReader, Read};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::StreamingDecoder;
use xz2::bufread::XzDecoder;

use crate::{BootError, BootFile, Content};

/// First bytes of a gzip member (RFC 1952, 2.3.1).
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Compressed bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// First bytes of a Zstandard frame (RFC 8878, 3.1.1).
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// First bytes of an xz stream (The .xz File Format, 2.1.1.1).
pub(super) const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// Compressions that we recognise but do not unpack: magic, name.
const OTHERS: [(&[u8], &str); 5] = [
    (&ZSTD_MAGIC, "zstd"),
    (&XZ_MAGIC, "xz"),
    (b"BZh", "bzip2"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
    (&[0x89, b'L', b'Z', b'O'], "lzo"),
];

/// The compression that the bytes begin with, when it is one of those that are not unpacked at top level.
pub(super) fn other_compression(bytes: &[u8]) -> Option<&'static str> {
    OTHERS
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, name)| *name)
}

/// Unpacks a gzip member; what follows it is ignored.
pub(super) fn gunzip(file: &BootFile, from: &Content, max: u64) -> Result<Vec<u8>, BootError> {
    read_limited(file, "gzip", GzDecoder::new(buffered(from)), max)
}

/// Unpacks a Zstandard frame (RFC 8878); what follows it is ignored.
pub(super) fn unzstd(file: &BootFile, from: &Content, max: u64) -> Result<Vec<u8>, BootError> {
    let decoder = StreamingDecoder::new(buffered(from))
        .map_err(|error| file.damaged(format!("its zstd data is unsound ({error})")))?;
    read_limited(file, "zstd", decoder, max)
}

/// Unpacks an xz stream; what follows it is ignored.
pub(super) fn unxz(file: &BootFile, from: &Content, max: u64) -> Result<Vec<u8>, BootError> {
    read_limited(file, "xz", XzDecoder::new(buffered(from)), max)
}

fn buffered(content: &Content) -> impl std::io::BufRead {
    BufReader::with_capacity(READ_BYTES, content.reader())
}

fn read_limited(
    file: &BootFile,
    format: &str,
    from: impl Read,
    max: u64,
) -> Result<Vec<u8>, BootError> {
    let mut unpacked = Vec::new();
    from.take(max.saturating_add(1))
        .read_to_end(&mut unpacked)
        .map_err(|error| file.damaged(format!("its {format} data is unsound ({error})")))?;
    if unpacked.len() as u64 > max {
        return Err(file.too_large(unpacked.len() as u64, max));
    }
    Ok(unpacked)
}

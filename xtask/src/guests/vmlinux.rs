//! The kernel proper of an x86 bzImage. Debian packages no uncompressed kernel, and the ELF file inside is what
//! boots by PVH (Linux `Documentation/arch/x86/boot.rst`, `payload_offset` and `payload_length`).

use std::io::Read as _;

use flate2::read::GzDecoder;
use xz2::read::XzDecoder;
use xz2::stream::Stream;

/// Where the number of setup sectors stands (u8).
const SETUP_SECTORS: usize = 0x1f1;
/// Where the setup header's "HdrS" stands.
const HEADER_MAGIC: usize = 0x202;
/// Where the payload's offset in the protected-mode part stands (u32), and behind it its length.
const PAYLOAD_OFFSET: usize = 0x248;
const SECTOR_BYTES: usize = 512;
/// Setup sectors of a header that says 0.
const DEFAULT_SETUP_SECTORS: usize = 4;
/// Most memory that the decompression may take.
const MEMORY_LIMIT_BYTES: u64 = 512 << 20;

/// Unpacks the ELF file in a bzImage that is compressed with xz, gzip or Zstandard.
///
/// # Errors
/// What was looked for and is not there.
pub(crate) fn of_bzimage(image: &[u8]) -> Result<Vec<u8>, String> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let missing = || "a bzImage's header".to_owned();
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return Err(missing());
    }
    let sectors = match usize::from(image[SETUP_SECTORS]) {
        0 => DEFAULT_SETUP_SECTORS,
        sectors => sectors,
    };
    let start = (sectors + 1) * SECTOR_BYTES + word(PAYLOAD_OFFSET).ok_or_else(missing)?;
    let length = word(PAYLOAD_OFFSET + 4).ok_or_else(missing)?;
    let payload = image
        .get(start..start + length)
        .ok_or("a bzImage's payload")?;
    let unpacked = unpack(payload)?;
    match unpacked.starts_with(b"\x7fELF") {
        true => Ok(unpacked),
        false => Err("an ELF file in the bzImage".into()),
    }
}

fn unpack(payload: &[u8]) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let failed = |error: std::io::Error| format!("a sound payload ({error})");
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            let stream = Stream::new_stream_decoder(MEMORY_LIMIT_BYTES, 0)
                .map_err(|error| format!("an xz decoder ({error})"))?;
            XzDecoder::new_stream(payload, stream)
                .read_to_end(&mut unpacked)
                .map_err(failed)?;
        }
        [0x1f, 0x8b, ..] => {
            GzDecoder::new(payload)
                .read_to_end(&mut unpacked)
                .map_err(failed)?;
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            ruzstd::decoding::StreamingDecoder::new(payload)
                .map_err(|error| format!("a sound payload ({error})"))?
                .read_to_end(&mut unpacked)
                .map_err(failed)?;
        }
        _ => return Err("a payload compressed with xz, gzip or Zstandard".into()),
    }
    Ok(unpacked)
}

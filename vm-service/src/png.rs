//! Pictures as PNG files (W3C PNG Specification, third edition).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use vm_device::display::Frame;

use crate::VmError;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Bits of a sample, colours of red, green and blue, and the only methods of compression, filtering and no interlacing (11.2.1).
const HEADER_END: [u8; 5] = [8, 2, 0, 0, 0];
/// Each line says how it is filtered: not at all (9.2).
const NO_FILTER: [u8; 1] = [0];

/// Writes a picture to a file in PNG format.
///
/// # Errors
/// When the host does not take it.
pub fn write(picture: &Frame, path: &Path) -> Result<(), VmError> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write_to(picture, &mut out)?;
        out.flush()
    });
    written.map_err(|reason| VmError::Screenshot {
        path: path.to_owned(),
        reason: reason.to_string(),
    })
}

fn write_to(picture: &Frame, out: &mut impl Write) -> io::Result<()> {
    let size = [picture.width, picture.height].map(|n| (n as u32).to_be_bytes());
    let header = [&size.concat(), &HEADER_END[..]].concat();
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::fast());
    for line in picture.rgb.chunks(3 * picture.width.max(1)) {
        lines.write_all(&NO_FILTER)?;
        lines.write_all(line)?;
    }
    out.write_all(&SIGNATURE)?;
    chunk(out, b"IHDR", &header)?;
    chunk(out, b"IDAT", &lines.finish()?)?;
    chunk(out, b"IEND", &[])
}

/// Length, kind, content, and the checksum of kind and content (5.3).
fn chunk(out: &mut impl Write, kind: &[u8; 4], content: &[u8]) -> io::Result<()> {
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(content);
    out.write_all(&(content.len() as u32).to_be_bytes())?;
    out.write_all(kind)?;
    out.write_all(content)?;
    out.write_all(&sum.sum().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn picture_comes_back_from_the_file() {
        let mut picture = Frame::black(3, 2);
        picture.put(2, 1, [1, 2, 3]);
        let mut file = Vec::new();
        write_to(&picture, &mut file).unwrap();
        assert_eq!(file[..8], SIGNATURE);
        assert_eq!(
            file[8..29],
            *b"\0\0\0\x0dIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0"
        );
        let data = file.windows(4).position(|it| it == b"IDAT").unwrap();
        let length = u32::from_be_bytes(file[data - 4..data].try_into().unwrap()) as usize;
        let packed = &file[data + 4..][..length];
        let mut lines = Vec::new();
        flate2::read::ZlibDecoder::new(packed)
            .read_to_end(&mut lines)
            .unwrap();
        let mut expected = vec![0; 20];
        expected[17..].copy_from_slice(&[1, 2, 3]);
        assert_eq!(lines, expected);
        // The checksum of an empty end is the same in every file.
        assert_eq!(file[file.len() - 4..], [0xae, 0x42, 0x60, 0x82]);
    }
}

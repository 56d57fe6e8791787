//! Files that are no raw images, by what they begin with.
//!
//! A guest would find such a file's header where it looks for a partition table, and write over the rest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// A kind of file that is no raw image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForeignFormat {
    /// What it is, as "a qcow2 image".
    pub name: &'static str,
    /// What to do with it.
    pub advice: Advice,
}

/// What to do with a file that is no raw image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Convert it with `qemu-img`.
    Convert,
    /// Unpack it with this program.
    Unpack(&'static str),
    /// Use it as it is, but say so.
    ReadOnly,
    /// Give the file that it describes.
    Other(&'static str),
}

impl Advice {
    /// The advice in words, for a file called `path`.
    pub fn text(self, path: &str) -> String {
        match self {
            Self::Convert => {
                format!("convert it with 'qemu-img convert -O raw {path} {path}.raw'")
            }
            Self::Unpack(program) => format!("unpack it first with '{program}'"),
            Self::ReadOnly => "add format=raw,readonly to use it as a disk".to_owned(),
            Self::Other(text) => text.to_owned(),
        }
    }
}

/// Where the bytes of a signature are.
#[derive(Clone, Copy)]
enum At {
    /// This many bytes behind the start.
    Start(u64),
    /// This many bytes before the end.
    End(u64),
}

/// What gives each format away, from its specification or the sources of the program that makes it.
#[rustfmt::skip]
const SIGNATURES: &[(At, &[u8], &str, Advice)] = {
    use Advice::{Convert, Other, ReadOnly, Unpack};
    use At::{End, Start};
    &[
        (Start(0), b"QFI\xfb",                 "a qcow2 image", Convert),
        (Start(0), b"QED\0",                   "a QED image", Convert),
        (Start(0), b"KDMV",                    "a VMDK image", Convert),
        (Start(0), b"COWD",                    "a VMDK image", Convert),
        (Start(0), b"# Disk DescriptorFile",   "the description of a VMDK image", Convert),
        (Start(0), b"vhdxfile",                "a VHDX image", Convert),
        (Start(0), b"conectix",                "a VHD image", Convert),
        (End(512), b"conectix",                "a VHD image", Convert),
        (Start(0x40), b"\x7f\x10\xda\xbe",     "a VDI image", Convert),
        (Start(0), b"WithoutFreeSpace",        "a Parallels image", Convert),
        (Start(0), b"WithouFreSpacExt",        "a Parallels image", Convert),
        (Start(0), b"koly",                    "a DMG image", Convert),
        (End(512), b"koly",                    "a DMG image", Convert),
        (Start(0), b"\x3a\xff\x26\xed",        "an Android sparse image", Unpack("simg2img")),
        (Start(0), b"\x1f\x8b",                "compressed with gzip", Unpack("gunzip")),
        (Start(0), b"\xfd7zXZ\0",              "compressed with xz", Unpack("unxz")),
        (Start(0), b"\x28\xb5\x2f\xfd",        "compressed with zstd", Unpack("unzstd")),
        (Start(0), b"\x04\x22\x4d\x18",        "compressed with lz4", Unpack("unlz4")),
        (Start(0), b"BZh",                     "compressed with bzip2", Unpack("bunzip2")),
        (Start(0), b"LZIP",                    "compressed with lzip", Unpack("lunzip")),
        (Start(0), b"PK\x03\x04",              "a zip archive", Unpack("unzip")),
        (Start(0), b"7z\xbc\xaf\x27\x1c",      "a 7z archive", Unpack("7z x")),
        (Start(257), b"ustar",                 "a tar archive", Unpack("tar -xf")),
        (Start(0), b"\x7fELF",                 "a program or kernel", Other("give it with --kernel")),
        (Start(0x8001), b"CD001",              "the image of a CD", ReadOnly),
    ]
};

/// Longest of the signatures.
const SIGNATURE_BYTES: usize = 32;

/// Tells what a file of `bytes` bytes is, when it is known not to be a raw image.
///
/// # Errors
/// When it cannot be read.
pub(super) fn foreign(file: &File, bytes: u64) -> io::Result<Option<ForeignFormat>> {
    for &(at, signature, name, advice) in SIGNATURES {
        let offset = match at {
            At::Start(offset) => Some(offset),
            At::End(before) => bytes.checked_sub(before),
        };
        let mut found = [0; SIGNATURE_BYTES];
        let found = &mut found[..signature.len()];
        if let Some(offset) = offset
            && offset + signature.len() as u64 <= bytes
        {
            file.read_exact_at(found, offset)?;
            if found == signature {
                return Ok(Some(ForeignFormat { name, advice }));
            }
        }
    }
    Ok(None)
}

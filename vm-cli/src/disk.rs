//! `disk create`.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Context as _, bail};
use vm_core::config::ByteSize;

const SECTOR_BYTES: u64 = 512;

/// Endings of names that promise an image of another kind, and that other programs go by.
const OTHER_KINDS: [&str; 9] = [
    "qcow2", "qcow", "qed", "vmdk", "vdi", "vhd", "vhdx", "vpc", "iso",
];

/// Makes a raw disk image that takes no space until it is written to. Never touches a file that exists. A name that
/// promises another kind of image is refused unless `raw_is_meant`.
pub(crate) fn create(file: &Path, size: ByteSize, raw_is_meant: bool) -> anyhow::Result<()> {
    let ending = file.extension().unwrap_or_default().to_string_lossy();
    let ending = ending.to_ascii_lowercase();
    if !raw_is_meant && OTHER_KINDS.contains(&ending.as_str()) {
        bail!(
            "{} would be no {ending} image, as this program makes and runs raw ones only: call it {}, \
             or add --format raw",
            file.display(),
            file.with_extension("img").display()
        );
    }
    if !size.bytes().is_multiple_of(SECTOR_BYTES) {
        bail!("a disk of {size} is not made of whole sectors: give a multiple of 512 bytes");
    }
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    let image = match made {
        Ok(image) => image,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!(
                "{} exists already: remove it first, or choose another name",
                file.display()
            );
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make the disk {}", file.display()));
        }
    };
    let sized = image.set_len(size.bytes());
    if sized.is_err() {
        // Half a disk is no disk; that it cannot be removed either changes nothing.
        let _ = std::fs::remove_file(file);
    }
    sized.with_context(|| format!("cannot make {} a disk of {size}", file.display()))
}

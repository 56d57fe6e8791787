//! `disk create`.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Context as _, bail};
use vm_core::config::ByteSize;

const SECTOR_BYTES: u64 = 512;

/// Makes a raw disk image that takes no space until it is written to. Never touches a file that exists.
pub(crate) fn create(file: &Path, size: ByteSize) -> anyhow::Result<()> {
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

//! The disk of the benchmark's programs: one ext4 file system, no partitions, with Debian's packages as they
//! unpack. No installation script has run; the benchmark's guest does what its programs need of that.

use std::fs::{self, File};
use std::path::Path;

use super::process::output_of;
use super::{Cache, Error};

const MIB: u64 = 1 << 20;
/// Room for what the programs write, and for the file system's own tables.
const ROOM_BYTES: u64 = 2048 * MIB;
/// A file occupies whole blocks of this size.
const BLOCK_BYTES: u64 = 4096;

/// Makes the disk in `output` of the unpacked packages in `root`. The file is sparse.
pub(super) fn build(cache: &Cache, root: &Path, output: &Path) -> Result<(), Error> {
    let bytes = (occupied(root)? + ROOM_BYTES).next_multiple_of(MIB);
    let image = output.with_extension("partial");
    if let Some(directory) = output.parent() {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
    }
    let file = File::create(&image).map_err(Error::io(&image))?;
    file.set_len(bytes).map_err(Error::io(&image))?;
    drop(file);
    let mut mke2fs = cache.host_tool("usr/sbin/mke2fs")?;
    // Tables are written here, so that no guest spends its time on them.
    mke2fs
        .args(["-q", "-F", "-t", "ext4", "-L", "programs"])
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0", "-d"])
        .arg(root)
        .arg(&image);
    output_of(&mut mke2fs, "e2fsprogs")?;
    fs::rename(&image, output).map_err(Error::io(output))
}

/// Bytes of the blocks that the files below `directory` need.
fn occupied(directory: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let entry = entry.map_err(Error::io(directory))?;
        let path = entry.path();
        let data = fs::symlink_metadata(&path).map_err(Error::io(&path))?;
        bytes += data.len().next_multiple_of(BLOCK_BYTES);
        if data.is_dir() {
            bytes += occupied(&path)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupied_counts_whole_blocks_of_every_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        let before = occupied(root.path()).unwrap();
        fs::write(root.path().join("usr/bin/a"), [0; 5000]).unwrap();
        fs::write(root.path().join("b"), [0; 1]).unwrap();
        assert_eq!(occupied(root.path()).unwrap() - before, 3 * BLOCK_BYTES);
    }
}

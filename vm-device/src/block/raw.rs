//! A raw image: a host file or block device whose bytes are the disk's.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vm_osal::file;

use super::format::{self, ForeignFormat};
use super::{
    BlockBackend, SECTOR_BYTES, Storage, check_range, check_write, lock, write_zero_bytes,
};

/// What a virtual machine wants to do with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskAccess {
    /// Read only, beside other readers.
    ReadOnly,
    /// Read and write, alone.
    ReadWrite,
}

/// What a file is expected to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// The disk's bytes, whatever they are.
    Raw,
    /// The disk's bytes, unless it is known for something else: such a file is refused.
    Guess,
}

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file cannot be opened.
    #[error("cannot open disk {path}: {source}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// Somebody else has it open in a way that excludes ours.
    #[error(
        "disk {path} is in use by another virtual machine: stop that one, or open the disk with snapshot=on \
         or read-only if the other only reads it", path = path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is a directory or another thing without bytes.
    #[error("disk {path} is neither a file nor a block device", path = path.display())]
    NotADisk {
        /// What was named.
        path: PathBuf,
    },
    /// It has no bytes.
    #[error("disk {path} is empty: create it with a size", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Its content is not a disk's.
    #[error(
        "disk {path} is {name}, and a guest would find those bytes instead of a disk's: {advice}{otherwise}",
        path = path.display(), name = format.name, advice = format.advice.text(&path.display().to_string()),
        otherwise = otherwise(format)
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: ForeignFormat,
    },
    /// The file for a snapshot's writes cannot be made.
    #[error("cannot make the temporary file for writes to a snapshot=on disk: {0}")]
    Overlay(io::Error),
}

/// The end of the message about foreign content: how to have it all the same.
fn otherwise(format: &ForeignFormat) -> &'static str {
    match format.advice {
        format::Advice::ReadOnly => "",
        _ => ", or add format=raw if the guest is to see just those bytes",
    }
}

/// A raw disk image.
///
/// A disk open for writing is locked against all other users, one open for reading against writers: advisory locks that
/// end with the process, which QEMU heeds, too. The size is rounded up to whole sectors; what the file lacks reads as
/// zero.
#[derive(Debug)]
pub struct RawDisk {
    file: File,
    bytes: u64,
    access: DiskAccess,
}

impl RawDisk {
    /// Opens and locks an image.
    ///
    /// # Errors
    /// When it cannot be opened, is empty or no disk, does not hold what it should, or somebody else uses it.
    pub fn open(path: &Path, access: DiskAccess, content: Content) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Open {
            path: path.to_owned(),
            source,
        };
        // Before it is opened: opening a pipe waits for its other end.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if kind.is_dir() || is_stream(kind) {
            return Err(DiskError::NotADisk {
                path: path.to_owned(),
            });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(access == DiskAccess::ReadWrite)
            .open(path)
            .map_err(failed)?;
        if !lock::take(&file, access).map_err(failed)? {
            return Err(DiskError::InUse {
                path: path.to_owned(),
            });
        }
        // Seeking tells the size of block devices, too.
        let end = (&file).seek(SeekFrom::End(0)).map_err(failed)?;
        if end == 0 {
            return Err(DiskError::Empty {
                path: path.to_owned(),
            });
        }
        if content == Content::Guess
            && let Some(format) = format::foreign(&file, end).map_err(failed)?
        {
            return Err(DiskError::Foreign {
                path: path.to_owned(),
                format,
            });
        }
        Ok(Self {
            file,
            bytes: end.next_multiple_of(SECTOR_BYTES),
            access,
        })
    }
}

/// Pipes, sockets and terminals.
fn is_stream(kind: std::fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_fifo() || kind.is_socket() || kind.is_char_device()
}

impl BlockBackend for RawDisk {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_only(&self) -> bool {
        self.access == DiskAccess::ReadOnly
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        check_range(self.bytes, offset, into.len() as u64)?;
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                // Past the end of the file: the rest of its last sector, or a file that was cut meanwhile.
                Ok(0) => {
                    into[done..].fill(0);
                    break;
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        check_write(self, offset, from.len() as u64)?;
        self.file.write_all_at(from, offset)
    }

    fn flush(&self) -> io::Result<()> {
        match self.access {
            DiskAccess::ReadOnly => Ok(()),
            DiskAccess::ReadWrite => self.file.sync_data(),
        }
    }
    fn write_zeroes(&self, offset: u64, bytes: u64, storage: Storage) -> io::Result<()> {
        check_write(self, offset, bytes)?;
        let zeroed = match storage {
            Storage::Release => file::punch_hole(&self.file, offset, bytes),
            Storage::Keep => file::zero_range(&self.file, offset, bytes),
        };
        match zeroed {
            Err(e) if is_no_way(&e) => write_zero_bytes(self, offset, bytes),
            done => done,
        }
    }

    fn discard(&self, offset: u64, bytes: u64) -> io::Result<()> {
        check_write(self, offset, bytes)?;
        match file::punch_hole(&self.file, offset, bytes) {
            Err(e) if is_no_way(&e) => Ok(()),
            done => done,
        }
    }

    fn physical_block_bytes(&self) -> u64 {
        // Some file systems name the size of their transfers, megabytes; no file system of a guest has such blocks.
        file::physical_block_bytes(&self.file).clamp(SECTOR_BYTES, MOST_BLOCK_BYTES)
    }
}

/// Largest block that guests are told of.
const MOST_BLOCK_BYTES: u64 = 4096;

/// Whether the storage cannot do something at all, or not with a range like this one.
fn is_no_way(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), Unsupported | InvalidInput)
}

//! A raw image: a host file or block device whose bytes are the disk's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{BlockBackend, SECTOR_BYTES, check_range};

/// What a virtual machine wants to do with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskAccess {
    /// Read only, beside other readers.
    ReadOnly,
    /// Read and write, alone.
    ReadWrite,
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
    /// The file for a snapshot's writes cannot be made.
    #[error("cannot make the temporary file for writes to a snapshot=on disk: {0}")]
    Overlay(io::Error),
}

/// A raw disk image.
///
/// A disk open for writing is locked against all other users, one open for reading against writers (an advisory lock
/// that ends with the process). The size is rounded up to whole sectors; what the file lacks reads as zero.
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
    /// When it cannot be opened, is empty or no disk, or somebody else uses it.
    pub fn open(path: &Path, access: DiskAccess) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Open {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(access == DiskAccess::ReadWrite)
            .open(path)
            .map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() || is_stream(kind) {
            return Err(DiskError::NotADisk {
                path: path.to_owned(),
            });
        }
        let locked = match access {
            DiskAccess::ReadOnly => file.try_lock_shared(),
            DiskAccess::ReadWrite => file.try_lock(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::InUse {
                    path: path.to_owned(),
                });
            }
            // A file system without locks: nothing to be had.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // Seeking tells the size of block devices, too.
        let end = (&file).seek(SeekFrom::End(0)).map_err(failed)?;
        if end == 0 {
            return Err(DiskError::Empty {
                path: path.to_owned(),
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
        check_range(self.bytes, offset, into.len())?;
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
        check_range(self.bytes, offset, from.len())?;
        if self.read_only() {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.file.write_all_at(from, offset)
    }

    fn flush(&self) -> io::Result<()> {
        match self.access {
            DiskAccess::ReadOnly => Ok(()),
            DiskAccess::ReadWrite => self.file.sync_data(),
        }
    }
}

//! What disks are made of on the host's side.
//!
//! What it is: [`BlockBackend`], the bytes behind a disk device; [`RawDisk`], a host file or block device, locked
//! against other users and refused when its content is no raw image; and [`Overlay`], which keeps writes to itself and
//! throws them away.
//!
//! What it refuses to do: know a guest's protocol (that is virtio-blk's, AHCI's, NVMe's), or block a virtual CPU: it is
//! called on device threads.

mod format;
mod lock;
mod overlay;
mod raw;

pub use format::{Advice, ForeignFormat};
pub use overlay::Overlay;
pub use raw::{Content, DiskAccess, DiskError, RawDisk};

use std::io;

/// Bytes in a sector, the unit of a disk's size.
pub const SECTOR_BYTES: u64 = 512;

/// The bytes behind a disk. Calls may come from several threads and may block.
pub trait BlockBackend: Send + Sync {
    /// Size in bytes, a multiple of [`SECTOR_BYTES`].
    fn len(&self) -> u64;

    /// Whether the disk has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Fills `into` from byte `offset` on.
    ///
    /// # Errors
    /// What the host says, or when the range passes the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes `from` at byte `offset`. Durable after the next [`BlockBackend::flush`] only.
    ///
    /// # Errors
    /// What the host says, or when the range passes the end or the disk is read-only.
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()>;

    /// Makes all writes that have returned durable.
    ///
    /// # Errors
    /// What the host says; the writes may be lost then.
    fn flush(&self) -> io::Result<()>;

    /// Makes `bytes` bytes at `offset` read as zero, and keeps or gives back their storage.
    ///
    /// # Errors
    /// As [`BlockBackend::write_at`].
    fn write_zeroes(&self, offset: u64, bytes: u64, storage: Storage) -> io::Result<()> {
        let _ = storage;
        write_zero_bytes(self, offset, bytes)
    }

    /// Takes note that nobody needs `bytes` bytes at `offset` any more: their storage may be given back, and they may
    /// read as anything that they have ever held, or as zero.
    ///
    /// # Errors
    /// As [`BlockBackend::write_at`]. That the storage cannot be given back is no error.
    fn discard(&self, offset: u64, bytes: u64) -> io::Result<()> {
        check_write(self, offset, bytes)
    }

    /// Bytes that the storage reads and writes at once, a power of two from [`SECTOR_BYTES`] on. Guests align to it.
    fn physical_block_bytes(&self) -> u64 {
        SECTOR_BYTES
    }
}

/// What becomes of the storage of bytes that read as zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Storage {
    /// It stays, so that later writes find it.
    Keep,
    /// It may be given back.
    Release,
}

/// Writes zeros, for storage that knows no other way.
fn write_zero_bytes(
    disk: &(impl BlockBackend + ?Sized),
    offset: u64,
    bytes: u64,
) -> io::Result<()> {
    static ZEROES: [u8; 0x1_0000] = [0; 0x1_0000];
    let mut done = 0;
    while done < bytes {
        let here = (bytes - done).min(ZEROES.len() as u64);
        disk.write_at(offset + done, &ZEROES[..here as usize])?;
        done += here;
    }
    Ok(())
}

/// Fails a change that passes the end of a disk, or is to a read-only one.
fn check_write(disk: &(impl BlockBackend + ?Sized), offset: u64, bytes: u64) -> io::Result<()> {
    check_range(disk.len(), offset, bytes)?;
    match disk.read_only() {
        true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        false => Ok(()),
    }
}

/// Fails a range that passes the end of a disk of `disk_bytes` bytes.
fn check_range(disk_bytes: u64, offset: u64, bytes: u64) -> io::Result<()> {
    match offset.checked_add(bytes) {
        Some(end) if end <= disk_bytes => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "past the end of the disk",
        )),
    }
}

#[cfg(test)]
mod tests;

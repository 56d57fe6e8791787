//! Locks on disk images, so that two virtual machines do not write to one.
//!
//! Two kinds are taken: one on the whole file, and those that QEMU takes on single bytes of it (QEMU
//! `block/file-posix.c`, `RAW_LOCK_PERM_BASE` and `RAW_LOCK_SHARED_BASE`; the bits are `BLK_PERM_*` of
//! `include/block/block-common.h`). There, whoever does something holds the byte 100 + bit, and whoever does not
//! accept that others do it holds the byte 200 + bit. Both are shared locks: each looks for the other's.

use std::fs::{File, TryLockError};
use std::io;

use vm_osal::file;

use super::DiskAccess;

/// Held by who does something.
const DOES: u64 = 100;
/// Held by who does not accept that others do it.
const REFUSES: u64 = 200;

/// Reads, and expects to find what was written last.
const CONSISTENT_READ: u64 = 0;
/// Writes.
const WRITE: u64 = 1;
/// Changes the length.
const RESIZE: u64 = 3;

/// What nobody else may do, whether we write or only read.
const REFUSED: [u64; 2] = [WRITE, RESIZE];

/// Locks an image until its file is closed. False when somebody else uses it in a way that excludes this.
///
/// # Errors
/// What the host says. A file system without locks is no error: there is nothing to be had.
pub(super) fn take(image: &File, access: DiskAccess) -> io::Result<bool> {
    Ok(whole_file(image, access)? && bytes(image, access)?)
}

fn whole_file(image: &File, access: DiskAccess) -> io::Result<bool> {
    if file::whole_file_locks_hold_bytes(image) {
        return Ok(true);
    }
    let locked = match access {
        DiskAccess::ReadOnly => image.try_lock_shared(),
        DiskAccess::ReadWrite => image.try_lock(),
    };
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) if is_without_locks(&e) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn bytes(image: &File, access: DiskAccess) -> io::Result<bool> {
    let done: &[u64] = match access {
        DiskAccess::ReadOnly => &[CONSISTENT_READ],
        DiskAccess::ReadWrite => &[CONSISTENT_READ, WRITE],
    };
    let ours = done.iter().map(|bit| DOES + bit);
    for byte in ours.chain(REFUSED.map(|bit| REFUSES + bit)) {
        match file::share_byte(image, byte) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if is_without_locks(&e) => return Ok(true),
            Err(e) => return Err(e),
        }
    }
    // Looked for only now: of two that come at the same time, one at least sees the other.
    let others = done.iter().map(|bit| REFUSES + bit);
    for byte in others.chain(REFUSED.map(|bit| DOES + bit)) {
        if file::byte_is_locked(image, byte)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_without_locks(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    const NO_LOCKS: i32 = rustix::io::Errno::NOLCK.raw_os_error();
    matches!(error.kind(), Unsupported | InvalidInput) || error.raw_os_error() == Some(NO_LOCKS)
}

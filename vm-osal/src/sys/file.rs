//! Files as disks use them: holes, locks on single bytes, block sizes.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use rustix::fs::{FallocateFlags, fallocate};

/// Gives the storage of a range back to the host; the range reads as zero afterwards. The file's length stays.
///
/// # Errors
/// What the host says: [`io::ErrorKind::Unsupported`] where the file system has no holes.
pub fn punch_hole(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    allocate(file, flags, offset, bytes)
}

/// Makes a range read as zero and keeps storage for it. The file's length stays.
///
/// # Errors
/// What the host says: [`io::ErrorKind::Unsupported`] where the file system cannot do that without writing.
pub fn zero_range(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    allocate(file, flags, offset, bytes)
}

fn allocate(file: &File, flags: FallocateFlags, offset: u64, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    loop {
        match fallocate(file, flags, offset, bytes) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Bytes that the host's storage behind a file or block device reads and writes at once: a power of two.
pub fn physical_block_bytes(file: &File) -> u64 {
    const FALLBACK: u64 = 512;
    let Ok(metadata) = file.metadata() else {
        return FALLBACK;
    };
    let bytes = match metadata.file_type().is_block_device() {
        true => device_block_bytes(file).unwrap_or(FALLBACK),
        false => metadata.blksize(),
    };
    if bytes.is_power_of_two() {
        bytes
    } else {
        FALLBACK
    }
}

fn device_block_bytes(device: &File) -> Option<u64> {
    /// Linux `include/uapi/linux/fs.h`.
    const BLKPBSZGET: libc::Ioctl = 0x127b;
    let mut bytes: libc::c_uint = 0;
    // SAFETY: the request stores one unsigned int at the pointer, which is to one; the descriptor is open.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), BLKPBSZGET, &raw mut bytes) };
    (done == 0).then_some(u64::from(bytes))
}

/// Whether whole-file locks (`flock`) of this file lock its bytes, too: network file systems make the one from the
/// other, and a program that takes both excludes itself.
pub fn whole_file_locks_hold_bytes(file: &File) -> bool {
    /// Linux `include/uapi/linux/magic.h` and `fs/smb`.
    const NETWORKS: [u32; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
    rustix::fs::fstatfs(file).is_ok_and(|system| NETWORKS.contains(&(system.f_type as u32)))
}

/// Takes a lock on one byte that others may share. It belongs to the open file and ends with it, whatever other
/// files of the same name the process opens and closes (an "open file description" lock).
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when somebody has the byte for himself; else what the host says.
pub fn share_byte(file: &File, byte: u64) -> io::Result<()> {
    byte_lock(file, libc::F_OFD_SETLK, libc::F_RDLCK, byte).map(drop)
}

/// Whether another open file has a lock on the byte.
///
/// # Errors
/// What the host says.
pub fn byte_is_locked(file: &File, byte: u64) -> io::Result<bool> {
    let found = byte_lock(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte)?;
    Ok(i32::from(found) != libc::F_UNLCK)
}

/// Returns the kind of lock that the host answers with.
fn byte_lock(file: &File, command: i32, kind: i32, byte: u64) -> io::Result<i16> {
    let start = libc::off_t::try_from(byte).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: all-zero bytes are a value of this structure of numbers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = start;
    lock.l_len = 1;
    // SAFETY: both commands read and write one flock structure at the pointer; the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(lock.l_type),
    }
}

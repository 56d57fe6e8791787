//! Linux.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, madvise};
use rustix::time::{ClockId, clock_gettime};
use vm_core::HostVirtAddr;

/// Protection bits for memory that is read and written.
pub const PROT_READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// Mapping flags for guest RAM: shared, and no swap reserved for what the guest never touches.
pub const MAP_SHARED_NORESERVE: i32 = libc::MAP_SHARED | libc::MAP_NORESERVE;

/// Makes an anonymous file of `bytes` zero bytes, to be mapped.
///
/// # Errors
/// What the host says.
pub fn memory_file(name: &str, bytes: u64) -> io::Result<File> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, bytes)?;
    Ok(File::from(fd))
}

/// Asks for huge pages behind a mapping. The host may decline; nothing depends on it.
pub fn advise_huge_pages(at: HostVirtAddr, bytes: u64) {
    // SAFETY: this advice changes no contents and no validity of any mapping; a range that is not mapped
    // only makes the call fail.
    let _ = unsafe { madvise(at.raw() as *mut _, bytes as usize, Advice::LinuxHugepage) };
}

/// Drops the contents of a mapped memory file: the range reads as zero afterwards.
///
/// # Errors
/// What the host says.
pub fn discard_pages(at: HostVirtAddr, bytes: u64) -> io::Result<()> {
    // SAFETY: MADV_REMOVE frees the pages of the shared file behind the range; the mapping stays valid and reads
    // as zero, and guest RAM has no Rust references into it.
    let done = unsafe { libc::madvise(at.raw() as *mut _, bytes as usize, libc::MADV_REMOVE) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Nanoseconds since the host was booted, the time that it was suspended included.
pub(crate) fn since_boot_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Fills `into` with random bytes of the host's generator.
pub fn random_bytes(into: &mut [u8]) {
    let mut at = 0;
    while at < into.len() {
        // Only interruption makes this fail, and that only before anything was written.
        if let Ok(n) =
            rustix::rand::getrandom(&mut into[at..], rustix::rand::GetRandomFlags::empty())
        {
            at += n;
        }
    }
}

/// Bytes of host memory that programs can still have without others losing theirs (`MemAvailable`, proc(5)); none where
/// the host does not say.
pub fn free_memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| {
        rest.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) * 1024
}

/// Has all threads of the program share one heap, which grows by megabytes. Translated code is many small pieces made on
/// the threads of virtual CPUs, whose own heaps GNU's allocator would grow page by page, with a system call for each.
/// Call it before threads are started. Does nothing with other allocators.
pub fn grow_heap_in_large_steps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls set parameters of the allocator; it refuses those that it does not know.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

//! Memory for code that is written while the program runs.

#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::memory_file;

/// Why there is no executable memory.
#[derive(Debug)]
pub enum ExecutableMemoryError {
    /// The host has no memory for it.
    Memory(io::Error),
    /// The host does not let this process execute what it has written (SELinux `execmem`, PaX, a `noexec` mount of
    /// memory files). Run without translation to host code, or allow it for this program.
    Refused(io::Error),
}

impl std::fmt::Display for ExecutableMemoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(error) => write!(f, "no memory for translated code: {error}"),
            Self::Refused(error) => write!(
                f,
                "the host refuses executable memory ({error}): allow it, or run the interpreter"
            ),
        }
    }
}

impl std::error::Error for ExecutableMemoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) | Self::Refused(error) => Some(error),
        }
    }
}

/// One memory file mapped twice: where it is written it cannot be executed, and the other way round.
#[derive(Debug)]
pub struct ExecutableMemory {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mappings belong to no thread; who writes what is the caller's affair (`write` is unsafe).
unsafe impl Send for ExecutableMemory {}
// SAFETY: as for `Send`.
unsafe impl Sync for ExecutableMemory {}

impl ExecutableMemory {
    /// Maps `bytes` (rounded up to whole pages) of zeros. Host memory is taken as it is written.
    ///
    /// # Errors
    /// When the host has no memory or refuses to execute it.
    pub fn new(bytes: usize) -> Result<Self, ExecutableMemoryError> {
        let bytes = bytes.max(1).next_multiple_of(4096);
        let file =
            memory_file("translated-code", bytes as u64).map_err(ExecutableMemoryError::Memory)?;
        let map = |protection: rustix::mm::ProtFlags| {
            // SAFETY: a new mapping at an address of the host's choice touches nothing that exists.
            let at = unsafe {
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    protection,
                    rustix::mm::MapFlags::SHARED,
                    &file,
                    0,
                )
            }?;
            NonNull::new(at.cast::<u8>()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
        };
        let writable = map(rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE)
            .map_err(ExecutableMemoryError::Memory)?;
        match map(rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::EXEC) {
            Ok(executable) => Ok(Self {
                writable,
                executable,
                bytes,
            }),
            Err(error) => {
                // SAFETY: the mapping was made above and nobody has its address.
                let _ = unsafe { rustix::mm::munmap(writable.as_ptr().cast(), bytes) };
                Err(ExecutableMemoryError::Refused(error))
            }
        }
    }

    /// Bytes mapped.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the code at `offset` is executed.
    pub fn address(&self, offset: usize) -> u64 {
        self.executable.as_ptr().addr() as u64 + offset as u64
    }

    /// Takes host memory for `bytes` bytes from `offset` on, which is faster than page by page as they are written.
    /// Where the host cannot, that is what happens.
    ///
    /// # Panics
    /// When they do not lie in the mapping.
    pub fn populate(&self, offset: usize, bytes: usize) {
        self.advise(offset, bytes, rustix::mm::Advice::LinuxPopulateWrite);
    }

    /// Takes pages out of the mapping in which they are written, until they are written again: they count as this
    /// process's memory once for each mapping.
    ///
    /// # Panics
    /// When they do not lie in the mapping.
    pub fn drop_writable_pages(&self, offset: usize, bytes: usize) {
        self.advise(offset, bytes, rustix::mm::Advice::LinuxDontNeed);
    }

    /// Advice on where code is written; the host may not follow it.
    fn advise(&self, offset: usize, bytes: usize, advice: rustix::mm::Advice) {
        self.check(offset, bytes);
        // SAFETY: the range was checked, and the pages of a shared file keep their contents whatever the advice.
        let _ = unsafe {
            let at = self.writable.as_ptr().add(offset);
            rustix::mm::madvise(at.cast(), bytes, advice)
        };
    }

    /// Replaces four aligned bytes at once: who executes them meanwhile gets the old ones or the new ones. (Processors
    /// take aligned words whole, and notice stores to what they have fetched: Intel SDM 3A, 9.1.1 and 12.6.)
    ///
    /// # Safety
    /// With either word the code there does what it is for.
    ///
    /// # Panics
    /// When they do not lie in the mapping, or not at a multiple of four.
    pub unsafe fn replace(&self, offset: usize, word: u32) {
        self.check(offset, 4);
        assert!(offset.is_multiple_of(4), "a word of code must be aligned");
        // SAFETY: the range was checked and is aligned, as mappings are; nobody has other references to it.
        let place = unsafe { AtomicU32::from_ptr(self.writable.as_ptr().add(offset).cast()) };
        place.store(word, Ordering::Release);
    }

    fn check(&self, offset: usize, bytes: usize) {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "code must lie in the mapping"
        );
    }

    /// Copies `code` to `offset`.
    ///
    /// # Safety
    /// No thread executes these bytes or writes them at the same time. (x86-64 keeps instruction fetches coherent
    /// with stores through another address once control is transferred: Intel SDM 3A, 11.6.)
    ///
    /// # Panics
    /// When the code does not fit.
    pub unsafe fn write(&self, offset: usize, code: &[u8]) {
        self.check(offset, code.len());
        // SAFETY: the range was checked, and the caller promises that nobody else uses it.
        unsafe {
            self.writable
                .as_ptr()
                .add(offset)
                .copy_from_nonoverlapping(code.as_ptr(), code.len());
        }
    }
}

impl Drop for ExecutableMemory {
    fn drop(&mut self) {
        for at in [self.writable, self.executable] {
            // SAFETY: both mappings are this value's own; whoever executes code keeps it alive.
            let _ = unsafe { rustix::mm::munmap(at.as_ptr().cast(), self.bytes) };
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn executable_memory_runs_what_was_written_and_is_not_writable_there() {
        let memory = ExecutableMemory::new(1).expect("this host allows it");
        assert_eq!(memory.bytes(), 4096);
        // lea eax, [rdi + 7]; ret
        let code = [0x8d, 0x47, 0x07, 0xc3];
        // SAFETY: nobody else knows the memory; what is called is a complete function of this signature.
        let sum = unsafe {
            memory.write(64, &code);
            let f: extern "sysv64" fn(u32) -> u32 =
                std::mem::transmute(memory.address(64) as usize);
            f(35)
        };
        assert_eq!(sum, 42);
        // mov eax, 1; ret: and other constants while it may be run.
        let code = [0x90, 0x90, 0x90, 0xb8, 1, 0, 0, 0, 0xc3];
        let constants = [1, 7, 0xffff_ffff].map(|constant| {
            // SAFETY: as above; the word is the instruction's constant.
            unsafe {
                memory.write(128, &code);
                memory.replace(132, constant);
                let f: extern "sysv64" fn() -> u32 =
                    std::mem::transmute(memory.address(128) as usize);
                f()
            }
        });
        assert_eq!(constants, [1, 7, 0xffff_ffff]);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ours: Vec<_> = maps
            .lines()
            .filter(|line| line.contains("translated-code"))
            .collect();
        assert_eq!(ours.len(), 2, "{ours:?}");
        assert!(ours.iter().all(|line| !line.contains("rwx")), "{ours:?}");
    }
}

//! Services of the host operating system.
//!
//! What it is: memory files, page advice, [files](mod@file) with holes and locks, one timer thread ([`TimerThread`]), the
//! [`HostClock`], waiting for descriptors, the user's [`terminal`], the host's [`net`]work.
//! Everything that calls the operating system on behalf of another crate belongs here, one file per host under
//! `sys/`.
//!
//! What it refuses to do: know anything of guests.

#[cfg(target_os = "linux")]
#[path = "sys/executable.rs"]
mod executable;
#[cfg(target_os = "linux")]
#[path = "sys/file.rs"]
pub mod file;
#[cfg(target_os = "linux")]
#[path = "sys/linux.rs"]
mod sys;

pub mod net;
pub mod terminal;
mod thread;
mod timer;
mod wait;

pub use executable::{ExecutableMemory, ExecutableMemoryError};
pub use sys::{
    MAP_SHARED_NORESERVE, PROT_READ_WRITE, advise_huge_pages, discard_pages, free_memory_bytes,
    grow_heap_in_large_steps, memory_file, random_bytes,
};
pub use thread::{NoThread, spawn, spawn_with_stack};
pub use timer::{HostClock, TimerThread};
pub use wait::{has_hung_up, wait_for_hang_up, wait_readable, wait_writable};

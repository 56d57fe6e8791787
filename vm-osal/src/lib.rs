//! Services of the host operating system.
//!
//! What it is: memory files, page advice, one timer thread ([`TimerThread`]), the monotonic [`HostClock`].
//! Everything that calls the operating system on behalf of another crate belongs here, one file per host under
//! `sys/`.
//!
//! What it refuses to do: know anything of guests.

#[cfg(target_os = "linux")]
#[path = "sys/linux.rs"]
mod sys;

mod timer;

pub use sys::{
    MAP_SHARED_NORESERVE, PROT_READ_WRITE, advise_huge_pages, discard_pages, memory_file,
    random_bytes,
};
pub use timer::{HostClock, TimerThread};

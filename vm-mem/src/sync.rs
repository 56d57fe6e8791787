//! What other threads see of code words and TLB tags: the standard library's atomics and locks, or loom's in the
//! tests that explore interleavings (`--cfg loom`).

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, fence},
};

use std::sync::atomic::Ordering;

/// Keeps loads that follow a sequentially consistent read-modify-write behind it. On x86-64 it is a barrier by itself.
pub(crate) fn barrier_behind_update() {
    if cfg!(any(loom, not(target_arch = "x86_64"))) {
        fence(Ordering::SeqCst);
    }
}

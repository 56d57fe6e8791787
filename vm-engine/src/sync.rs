//! The atomics and locks of the block cache and its log: the standard library's, or loom's in the tests that explore interleavings
//! (`--cfg loom`).

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU64},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU64},
};

/// What sequentially consistent accesses alone do everywhere else: keeps the accesses around it in their order. Loom takes
/// them for acquire and release.
pub(crate) fn keep_order() {
    #[cfg(loom)]
    loom::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

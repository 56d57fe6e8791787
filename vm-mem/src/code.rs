//! Which guest memory holds code that was translated.
//!
//! One 64-bit word per 4 KiB page, a bit per 64-byte granule. A page whose word is not zero must not get a
//! write tag in any TLB, so that every store to it comes by here.

#![cfg_attr(
    not(loom),
    expect(unsafe_code, reason = "zeroed memory that may be refused")
)]

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
#[cfg(not(loom))]
use std::{alloc::Layout, ptr::NonNull};

use vm_core::{GuestPhysAddr, PAGE_BYTES, PAGE_SHIFT};
use vm_memory::bitmap::{Bitmap, RefSlice, WithBitmapSlice};

use crate::sync::{AtomicU64, barrier_behind_update, fence};

/// Bytes that one bit of a page's word stands for.
pub const GRANULE_BYTES: u64 = PAGE_BYTES / 64;

/// Told when memory that translated code was made from is written.
pub trait CodeWriteObserver: Send + Sync {
    /// `page` (a page base) was written in granules that hold code. Everything translated from the page
    /// is stale; the page's word has been cleared already.
    fn code_written(&self, page: GuestPhysAddr);

    /// The same, with the clearing left to the observer: `clear` says whether the word still had marks. An observer
    /// that others add code to clears while it keeps them out, so that whoever finds the word clear finds the stale
    /// code gone, too.
    fn code_hit(&self, page: GuestPhysAddr, clear: &dyn Fn() -> bool) {
        if clear() {
            self.code_written(page);
        }
    }
}

/// The code words of one RAM range.
pub struct CodePages {
    base: GuestPhysAddr,
    words: Box<[AtomicU64]>,
    observer: OnceLock<Arc<dyn CodeWriteObserver>>,
}

impl CodePages {
    /// The words of `bytes` bytes of RAM, all clear; `None` when the host has not the memory for them.
    pub(crate) fn new(base: GuestPhysAddr, bytes: u64) -> Option<Self> {
        let pages = usize::try_from(bytes.div_ceil(PAGE_BYTES)).ok()?;
        Some(Self {
            base,
            words: clear_words(pages)?,
            observer: OnceLock::new(),
        })
    }

    pub(crate) fn set_observer(&self, observer: Arc<dyn CodeWriteObserver>) -> bool {
        self.observer.set(observer).is_ok()
    }

    fn word(&self, addr: GuestPhysAddr) -> Option<&AtomicU64> {
        let offset = addr.raw().checked_sub(self.base.raw())?;
        self.words.get((offset >> PAGE_SHIFT) as usize)
    }

    /// Records that code is going to be read from `bytes` bytes at `addr` (within one page). True when the page had
    /// none until now, so that TLBs may hold write tags for it.
    ///
    /// What is read behind it has every store whose writer did not see the mark in [`CodePages::written`].
    pub fn mark(&self, addr: GuestPhysAddr, bytes: u64) -> bool {
        self.word(addr).is_some_and(|word| {
            let before = word.fetch_or(granules(addr.page_offset(), bytes), Ordering::SeqCst);
            barrier_behind_update();
            before == 0
        })
    }

    /// Whether the page that holds `addr` has code.
    pub fn has_code(&self, addr: GuestPhysAddr) -> bool {
        self.word(addr)
            .is_some_and(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Whether any of `bytes` bytes of one page at `addr` is of a granule with code.
    pub fn is_code(&self, addr: GuestPhysAddr, bytes: u64) -> bool {
        let bytes = bytes.min(PAGE_BYTES - addr.page_offset());
        self.word(addr).is_some_and(|word| {
            word.load(Ordering::SeqCst) & granules(addr.page_offset(), bytes) != 0
        })
    }

    /// To be called after `bytes` bytes at `addr` were written, by whoever wrote them. Tells the observer when
    /// a granule with code was hit.
    #[inline]
    pub fn written(&self, addr: GuestPhysAddr, bytes: u64) {
        // What was written must be visible before the marks are looked at: whoever marks now reads it.
        fence(Ordering::SeqCst);
        let mut at = addr;
        let mut left = bytes;
        while left > 0 {
            let here = left.min(PAGE_BYTES - at.page_offset());
            if let Some(word) = self.word(at)
                && word.load(Ordering::SeqCst) & granules(at.page_offset(), here) != 0
            {
                self.hit(at.page_base(), word);
            }
            at = at + here;
            left -= here;
        }
    }

    #[cold]
    fn hit(&self, page: GuestPhysAddr, word: &AtomicU64) {
        let clear = || word.swap(0, Ordering::SeqCst) != 0;
        match self.observer.get() {
            Some(observer) => observer.code_hit(page, &clear),
            None => {
                clear();
            }
        }
    }
}

#[cfg(loom)]
fn clear_words(count: usize) -> Option<Box<[AtomicU64]>> {
    let words = std::iter::repeat_with(|| AtomicU64::new(0));
    Some(words.take(count).collect())
}

/// As many words of zero. The host gives those of RAM that is never run from no memory.
#[cfg(not(loom))]
fn clear_words(count: usize) -> Option<Box<[AtomicU64]>> {
    let layout = Layout::array::<AtomicU64>(count).ok()?;
    if layout.size() == 0 {
        return Some(Box::default());
    }
    // SAFETY: the layout is not of size zero.
    let words = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<AtomicU64>();
    let words = NonNull::slice_from_raw_parts(NonNull::new(words)?, count);
    // SAFETY: the global allocator gave this memory for just this layout, nobody else has it, and an atomic word is
    // valid with every bit clear.
    Some(unsafe { Box::from_raw(words.as_ptr()) })
}

impl fmt::Debug for CodePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodePages")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// The granule bits that `bytes` bytes from `offset` within a page touch.
fn granules(offset: u64, bytes: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let first = offset / GRANULE_BYTES;
    let last = ((offset + bytes - 1).min(PAGE_BYTES - 1)) / GRANULE_BYTES;
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// Makes every write that goes through `vm-memory` pass [`CodePages::written`].
#[derive(Clone, Debug)]
pub struct CodeWatch(pub(crate) Arc<CodePages>);

impl<'a> WithBitmapSlice<'a> for CodeWatch {
    type S = RefSlice<'a, Self>;
}

impl Bitmap for CodeWatch {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.0.written(self.0.base + offset as u64, len as u64);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.0.has_code(self.0.base + offset as u64)
    }

    fn slice_at(&self, offset: usize) -> RefSlice<'_, Self> {
        RefSlice::new(self, offset)
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Log(Mutex<Vec<u64>>);
    impl CodeWriteObserver for Log {
        fn code_written(&self, page: GuestPhysAddr) {
            self.0.lock().unwrap().push(page.raw());
        }
    }

    fn watched() -> (CodePages, Arc<Log>) {
        let pages = CodePages::new(GuestPhysAddr(0x8000_0000), 0x10000).unwrap();
        let log = Arc::new(Log(Mutex::new(Vec::new())));
        assert!(pages.set_observer(log.clone()));
        (pages, log)
    }

    #[test]
    fn written_beside_code_is_silent() {
        let (pages, log) = watched();
        pages.mark(GuestPhysAddr(0x8000_1040), 4);
        pages.written(GuestPhysAddr(0x8000_1000), 64);
        pages.written(GuestPhysAddr(0x8000_1080), 8);
        assert!(log.0.lock().unwrap().is_empty());
        assert!(pages.has_code(GuestPhysAddr(0x8000_1fff)));
    }

    #[test]
    fn written_over_code_reports_each_page_once() {
        let (pages, log) = watched();
        pages.mark(GuestPhysAddr(0x8000_1ffc), 4);
        pages.mark(GuestPhysAddr(0x8000_2000), 4);
        pages.written(GuestPhysAddr(0x8000_0f00), 0x1200);
        pages.written(GuestPhysAddr(0x8000_1ffc), 8);
        assert_eq!(*log.0.lock().unwrap(), [0x8000_1000, 0x8000_2000]);
    }

    #[test]
    fn granules_cover_exactly_the_bytes() {
        assert_eq!(granules(0, 1), 1);
        assert_eq!(granules(63, 2), 3);
        assert_eq!(granules(4095, 1), 1 << 63);
        assert_eq!(granules(0, 4096), u64::MAX);
        assert_eq!(granules(100, 0), 0);
    }
}

//! What goes when the budget is used up: the pages whose code has not been entered for longest.
//!
//! Time ticks when an eighth of the budget was translated since the last tick. A page notes at which tick its code was
//! last looked up by a virtual CPU; its blocks are linked to each other, so they live and go together. Running from block
//! to block and through jump caches notes nothing, so a tick has all jump caches forgotten: what is in use is looked up
//! once more, and noted, long before the next one. So a page stays as long as it is entered now and then, and new code
//! has its chance. Evictions are small next to the budget: most of what was translated stays, nobody waits, and what goes
//! is dropped piece by piece.

use std::sync::atomic::Ordering;

use vm_core::GuestPhysAddr;

use super::{BlockCache, CachedBlock, Index};
use crate::sync::AtomicU64;

/// A tick, and an eviction, is one part of so many of the budget.
const PARTS: usize = 8;

/// When the code of a page was last looked up.
#[derive(Default)]
pub(super) struct Age(AtomicU64);

/// The time. Changed by the mutex's owner only.
#[derive(Default)]
pub(super) struct Ages {
    ticks: AtomicU64,
    evictions: AtomicU64,
    /// Bytes translated since the last tick.
    young_bytes: AtomicU64,
}

impl Ages {
    /// Evictions so far.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

impl BlockCache {
    /// To be called when a block was looked up to be run. The caller may follow pointers to it.
    #[inline]
    pub(crate) fn note_entered(&self, block: &CachedBlock) {
        let now = self.ages.ticks.load(Ordering::Relaxed);
        if let Some(age) = &block.age
            && age.0.load(Ordering::Relaxed) != now
        {
            age.0.store(now, Ordering::Relaxed);
        }
    }

    /// Throws the oldest code away, though the budget is not used up: its host code has no room left. Does nothing while
    /// as much as that is still to be dropped.
    pub(crate) fn evict_some(&self) {
        let mut index = self.lock();
        let pending = self.collector.stats().pending_bytes;
        if pending <= self.bytes.load(Ordering::Relaxed) / PARTS {
            self.evict(&mut index);
        }
    }

    /// Throws the oldest code away: an eighth of the budget, or of all there is, if that is less.
    fn evict(&self, index: &mut Index) {
        let mut pages: Vec<(u64, u64)> = index
            .pages
            .iter()
            .map(|(&number, page)| (page.age.0.load(Ordering::Relaxed), number))
            .collect();
        pages.sort_unstable();
        let bytes = || self.bytes.load(Ordering::Relaxed);
        let all = bytes().min(self.budget_bytes);
        for (_, number) in pages {
            if bytes() <= all - all / PARTS {
                break;
            }
            self.retire_page(index, GuestPhysAddr(number));
        }
        self.ages.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes room for a block, and notes that time goes on.
    pub(super) fn reserve(&self, index: &mut Index, bytes: usize) {
        let young = &self.ages.young_bytes;
        let before = young.fetch_add(bytes as u64, Ordering::Relaxed);
        if before + bytes as u64 > (self.budget_bytes / PARTS) as u64 {
            young.store(0, Ordering::Relaxed);
            self.ages.ticks.fetch_add(1, Ordering::Relaxed);
            self.retired.forget_all(|| {
                self.collector.now();
            });
        }
        if self.bytes.load(Ordering::Relaxed) + bytes > self.budget_bytes {
            self.evict(index);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use vm_core::PAGE_BYTES;
    use vm_gc::Collector;
    use vm_ir::{BlockKey, Mode};

    use super::*;
    use crate::code::Code;

    fn key(page: u64) -> BlockKey {
        BlockKey {
            phys_pc: GuestPhysAddr(0x8000_0000 + page * PAGE_BYTES),
            mode: Mode(0),
        }
    }

    /// As a virtual CPU does it.
    fn enter(cache: &BlockCache, page: u64) -> bool {
        let found = cache.find(key(page)).is_some();
        if !found {
            let block = CachedBlock::new(key(page), Code::numbered(page), None);
            cache.insert(block, cache.invalidated());
        }
        cache.note_entered(cache.find(key(page)).expect("it is there now"));
        found
    }

    #[test]
    fn eviction_keeps_what_is_entered_between_evictions() {
        let bytes = Code::numbered(0).bytes();
        let cache = BlockCache::new(Arc::new(Collector::new()), 64 * bytes);
        for page in 0..8 {
            enter(&cache, page);
        }
        // Far more than the budget goes through, and eight pages are entered now and then.
        for page in 8..1000 {
            assert!(!enter(&cache, page));
            if page % 4 == 0 {
                assert!((0..8).all(|hot| enter(&cache, hot)), "{page}");
            }
        }
        let stats = cache.stats();
        assert!(stats.evictions > 100, "{stats:?}");
        assert!(stats.bytes <= 64 * bytes && stats.blocks > 50, "{stats:?}");
        // What is entered no more goes as all else.
        for page in 1000..1200 {
            enter(&cache, page);
        }
        assert!((0..8).all(|hot| cache.find(key(hot)).is_none()));
    }

    #[test]
    fn eviction_for_want_of_room_waits_for_what_is_on_its_way() {
        let collector = Arc::new(Collector::new());
        let cache = BlockCache::new(collector.clone(), usize::MAX);
        let reader = collector.register();
        reader.online();
        for page in 0..1000 {
            enter(&cache, page);
        }
        let all = cache.stats().bytes;
        for _ in 0..100 {
            cache.evict_some();
        }
        let left = cache.stats().bytes;
        assert!(left < all && left > all / 4 * 3, "{left} of {all}");
        reader.offline();
        collector.collect(usize::MAX);
        cache.evict_some();
        assert!(cache.stats().bytes < left);
    }
}

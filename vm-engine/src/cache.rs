//! The block cache: translated code by physical address and mode, shared by all virtual CPUs.
//!
//! Lookups take no lock ([`table`]). Blocks are added and removed under one mutex; removed ones go to the collector and
//! are dropped when no virtual CPU can still run them. When the budget is used up, pages whose code has not been entered
//! for longest go ([`age`]).

#![allow(unsafe_code)]

mod age;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use vm_core::{GuestPhysAddr, PAGE_BYTES};
use vm_gc::Collector;
use vm_ir::BlockKey;
use vm_mem::{CodePages, CodeWriteObserver};

use crate::code::Code;
use crate::jump::Entry;
use crate::page_map::PageMap;
use crate::retired::{EntryNote, RetiredLog};
use crate::sync::{AtomicU64, Mutex, MutexGuard};
use age::{Age, Ages};
use table::BlockTable;

/// Stripes of pages whose last writes are told apart.
const STRIPES: usize = if cfg!(loom) { 4 } else { 1 << 10 };

/// Code that has been thrown away takes no more than the budget over this, about, before its memory is free.
const CROWDED_PART: usize = 4;

/// A block's code with what it was made from.
pub(crate) struct CachedBlock {
    pub(crate) key: BlockKey,
    pub(crate) code: Code,
    /// The same to be interpreted, where both are compared.
    pub(crate) plain: Option<Box<Code>>,
    pub(crate) second_page: Option<GuestPhysAddr>,
    pub(crate) entered: EntryNote,
    /// When its page's code was last entered; there once it is in the cache.
    age: Option<Arc<Age>>,
    /// Blocks are marked in place of being dropped, so that those who still look at one can say so.
    #[cfg(loom)]
    dropped: loom::sync::atomic::AtomicBool,
}

impl CachedBlock {
    /// Guest instructions in it.
    pub(crate) fn guest_insns(&self) -> u64 {
        self.code.guest_insns()
    }

    /// Bytes of its host code, on the way through and out of it.
    pub(crate) fn host_bytes(&self) -> [usize; 2] {
        self.code.host_bytes()
    }

    pub(crate) fn new(key: BlockKey, code: Code, second_page: Option<GuestPhysAddr>) -> Box<Self> {
        Box::new(Self {
            key,
            code,
            plain: None,
            second_page,
            entered: EntryNote::new(),
            age: None,
            #[cfg(loom)]
            dropped: loom::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Fails a test in which somebody looks at a block that was dropped.
    #[inline(always)]
    pub(crate) fn check_alive(&self) {
        #[cfg(loom)]
        assert!(!self.dropped.load(Ordering::Relaxed), "dropped under us");
    }

    /// Where it is entered.
    pub(crate) fn entry(&self) -> Entry {
        self.code.entry()
    }
}

/// Blocks that read a page, by the mutex's owner only.
#[derive(Default)]
struct Page {
    blocks: Vec<*mut CachedBlock>,
    age: Arc<Age>,
    /// Pages whose straddling blocks end in this one.
    straddled_from: Vec<GuestPhysAddr>,
}

/// A page that got its first code: a store to it may have gone unseen.
#[derive(Default)]
struct Fresh {
    /// Virtual CPUs that are still taking others' write tags away.
    protecting: u32,
    /// The epoch that every virtual CPU has to pass after that, so that no store by an old tag is under way.
    epoch: u64,
}

struct Index {
    pages: PageMap<Page>,
    /// Pages that got their first code.
    fresh: PageMap<Fresh>,
    /// Of each stripe of pages, when one of them was last found to be written.
    last_written: Box<[u64]>,
}

// SAFETY: the pointers are to blocks that the cache owns; they are followed only under the mutex.
unsafe impl Send for Index {}

/// Counters of a [`BlockCache`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Blocks in the cache.
    pub blocks: usize,
    /// Host bytes of their code.
    pub bytes: usize,
    /// Pages whose code was thrown away because it was written.
    pub invalidations: u64,
    /// Host bytes of the table that they are found by.
    pub table_bytes: usize,
    /// Times that the oldest code was thrown away because the budget was used up.
    pub evictions: u64,
}

/// The shared block cache.
pub(crate) struct BlockCache {
    table: BlockTable,
    index: Mutex<Index>,
    /// Times that code was found to be written.
    invalidated: AtomicU64,
    collector: Arc<Collector>,
    /// Where what is gone was entered.
    pub(crate) retired: RetiredLog,
    blocks: AtomicUsize,
    bytes: AtomicUsize,
    budget_bytes: usize,
    ages: Ages,
}

/// The stripe of a page.
fn stripe(page: GuestPhysAddr) -> usize {
    (page.raw() / PAGE_BYTES) as usize % STRIPES
}

impl BlockCache {
    pub(crate) fn new(collector: Arc<Collector>, budget_bytes: usize) -> Self {
        Self {
            table: BlockTable::new(),
            index: Mutex::new(Index {
                pages: PageMap::default(),
                fresh: PageMap::default(),
                last_written: vec![0; STRIPES].into(),
            }),
            invalidated: AtomicU64::new(0),
            collector,
            retired: RetiredLog::default(),
            blocks: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            budget_bytes,
            ages: Ages::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block of this key. The caller takes part in epochs and is online; the reference is good until its next
    /// quiescent point.
    pub(crate) fn find<'a>(&self, key: BlockKey) -> Option<&'a CachedBlock> {
        self.table.find(key)
    }

    /// A number to be had before the code of a block is marked and read, for [`BlockCache::insert`].
    pub(crate) fn invalidated(&self) -> u64 {
        self.invalidated.load(Ordering::SeqCst)
    }

    /// Adds a block, or finds that another virtual CPU was faster. `None` when one of its pages was written since
    /// [`BlockCache::invalidated`] was `before`: the block may be of old code, or its marks may be gone.
    pub(crate) fn insert<'a>(
        &self,
        mut block: Box<CachedBlock>,
        before: u64,
    ) -> Option<&'a CachedBlock> {
        let mut index = self.lock();
        self.reserve(&mut index, block.code.bytes());
        let pages = [Some(block.key.phys_pc), block.second_page];
        if pages
            .into_iter()
            .flatten()
            .any(|page| index.last_written[stripe(page)] > before)
        {
            return None;
        }
        if let Some(there) = self.find(block.key) {
            if there.second_page == block.second_page {
                return Some(there);
            }
            self.retire_page(&mut index, block.key.phys_pc.page_base());
        }
        let (key, second) = (block.key, block.second_page);
        let (page, bytes) = (key.phys_pc.page_base(), block.code.bytes());
        let of_page = index.pages.entry(page.raw()).or_default();
        block.age = Some(of_page.age.clone());
        let raw = Box::into_raw(block);
        of_page.blocks.push(raw);
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.table.add(key, raw, &self.collector);
        if let Some(second) = second {
            let second = index.pages.entry(second.page_base().raw()).or_default();
            if !second.straddled_from.contains(&page) {
                second.straddled_from.push(page);
            }
        }
        // SAFETY: the mutex is held, so nobody retires the block before this returns; then the caller's epoch
        // protects it.
        Some(unsafe { &*raw })
    }

    /// Marks two bytes that code is going to be read from. When it says true they are their page's first: the caller
    /// takes all write tags of the page away and calls [`BlockCache::note_protected`].
    pub(crate) fn mark(&self, code: &CodePages, addr: GuestPhysAddr) -> bool {
        // Under the mutex, so that nobody who sees the mark can have code of a page that is not noted.
        let mut index = self.lock();
        let first = code.mark(addr, 2);
        if first {
            index
                .fresh
                .entry(addr.page_base().raw())
                .or_default()
                .protecting += 1;
        }
        first
    }

    /// Notes that the write tags of a page with its first code are gone.
    pub(crate) fn note_protected(&self, page: GuestPhysAddr) {
        let epoch = self.collector.now();
        if let Some(fresh) = self.lock().fresh.get_mut(&page.raw()) {
            fresh.protecting -= 1;
            fresh.epoch = epoch;
        }
    }

    /// What an instruction-cache synchronisation needs: throws away code of pages whose stores may have gone
    /// unseen while they got their first code.
    pub(crate) fn sync(&self) {
        let mut index = self.lock();
        let mut fresh = std::mem::take(&mut index.fresh);
        if fresh.is_empty() {
            return;
        }
        // What others are translating now may have been read before the store.
        let now = self.count_invalidation();
        // Those that every virtual CPU has passed go too, for the last time: a store may have come before that.
        for &number in fresh.keys() {
            let page = GuestPhysAddr(number);
            index.last_written[stripe(page)] = now;
            self.retire_page(&mut index, page);
        }
        fresh.retain(|_, page| page.protecting > 0 || !self.collector.passed(page.epoch));
        index.fresh = fresh;
    }

    /// Throws away the page of a block that does not fit where it is wanted now.
    pub(crate) fn forget(&self, key: BlockKey) {
        let mut index = self.lock();
        self.retire_page(&mut index, key.phys_pc.page_base());
    }

    /// Throws away everything made from a range of addresses that is no RAM, and what others are making from it now.
    pub(crate) fn forget_range(&self, base: GuestPhysAddr, bytes: u64) {
        let mut index = self.lock();
        // Pages of the range fill every stripe, or nearly.
        let now = self.count_invalidation();
        index.last_written.fill(now);
        self.retire_pages(&mut index, |page| page.wrapping_sub(base.raw()) < bytes);
    }

    /// Links a block to the site of another one, or notes that it is kept apart, as its one instruction lies on two
    /// pages. Both must be in the cache, made from the page `page`, so that they are retired together; otherwise nothing
    /// is done.
    pub(crate) fn link(&self, page: GuestPhysAddr, site: u64, to: &CachedBlock) {
        let index = self.lock();
        let Some(page) = index.pages.get(&page.page_base().raw()) else {
            return;
        };
        // SAFETY: the mutex is held, so every block in the index is alive.
        let mut blocks = page.blocks.iter().map(|&raw| unsafe { &*raw });
        let from = blocks.find(|block| block.code.holds(site));
        let is_there = || page.blocks.iter().any(|&raw| std::ptr::eq(raw, to));
        if let Some(from) = from
            && is_there()
        {
            let together = to.second_page.is_none();
            from.code.link(site, together.then_some(&to.code));
        }
    }

    /// Throws away everything made from a page.
    fn retire_page(&self, index: &mut Index, page: GuestPhysAddr) {
        let mut left = vec![page];
        // All are unlinked before the first is retired, and all are dropped at once: they are linked to each other.
        let mut retired = Vec::new();
        let mut bytes = 0;
        while let Some(page) = left.pop() {
            let Some(gone) = index.pages.remove(&page.raw()) else {
                continue;
            };
            // In-page links lead to straddling blocks' neighbours, so the page before goes as a whole.
            left.extend(gone.straddled_from);
            for raw in gone.blocks {
                // SAFETY: the block came from `Box::into_raw`, and nobody finds it once it is removed; the collector
                // owns it.
                let block = unsafe {
                    self.table.remove((*raw).key, raw);
                    Box::from_raw(raw)
                };
                self.blocks.fetch_sub(1, Ordering::Relaxed);
                bytes += block.code.bytes();
                retired.push(block);
            }
        }
        if !retired.is_empty() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            // Before they are retired: another thread may drop them as soon as they are.
            let notes = retired.iter().map(|block| &block.entered);
            self.retired.write(notes, || {
                self.collector.now();
            });
            self.collector.retire(bytes, Retired(retired));
        }
    }

    /// Throws away everything made from pages at these addresses.
    fn retire_pages(&self, index: &mut Index, goes: impl Fn(u64) -> bool) {
        let pages: Vec<u64> = index
            .pages
            .keys()
            .copied()
            .filter(|&page| goes(page))
            .collect();
        for page in pages {
            self.retire_page(index, GuestPhysAddr(page));
        }
    }

    /// The number of an invalidation; whoever has asked for [`BlockCache::invalidated`] before has a smaller one.
    fn count_invalidation(&self) -> u64 {
        1 + self.invalidated.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether so much code waits for virtual CPUs that may be in it that no more should be made: one of them is in a long
    /// device access.
    pub(crate) fn is_crowded(&self) -> bool {
        self.collector.stats().pending_bytes > self.budget_bytes / CROWDED_PART
    }

    /// Throws everything away.
    pub(crate) fn flush(&self) {
        self.retire_pages(&mut self.lock(), |_| true);
    }

    /// Blocks in it.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            blocks: self.blocks(),
            bytes: self.bytes.load(Ordering::Relaxed),
            invalidations: self.invalidated.load(Ordering::Relaxed),
            table_bytes: self.table.bytes(),
            evictions: self.ages.evictions(),
        }
    }
}

#[expect(
    clippy::vec_box,
    reason = "virtual CPUs may be reading the blocks where they are"
)]
struct Retired(
    #[cfg_attr(not(loom), expect(dead_code, reason = "kept only to be dropped"))]
    Vec<Box<CachedBlock>>,
);

#[cfg(loom)]
impl Drop for Retired {
    fn drop(&mut self) {
        for block in self.0.drain(..) {
            block.dropped.store(true, Ordering::Relaxed);
            std::mem::forget(block);
        }
    }
}

// SAFETY: retired blocks are only dropped; their atomic pointers may be dropped by any thread, and the addresses of
// instructions that their micro-ops hold are their own.
unsafe impl Send for Retired {}
// SAFETY: blocks are shared behind atomic pointers; their only mutable parts are atomic.
unsafe impl Sync for CachedBlock {}
// SAFETY: as for `Sync`.
unsafe impl Send for CachedBlock {}

impl CodeWriteObserver for BlockCache {
    fn code_written(&self, page: GuestPhysAddr) {
        self.code_hit(page, &|| true);
    }

    fn code_hit(&self, page: GuestPhysAddr, clear: &dyn Fn() -> bool) {
        let mut index = self.lock();
        if !clear() {
            return;
        }
        // Behind the clearing: whoever has marked before it has a smaller number from before that.
        let now = self.count_invalidation();
        index.last_written[stripe(page)] = now;
        self.retire_page(&mut index, page);
    }
}

impl Drop for BlockCache {
    fn drop(&mut self) {
        self.flush();
        self.collector.collect(usize::MAX);
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

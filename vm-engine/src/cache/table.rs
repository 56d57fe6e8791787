//! Where blocks are, by key: a flat table that is read without a lock.
//!
//! A slot has a mixed key beside the block, so a lookup that finds nothing knows it from the table alone: at most half
//! of the slots are in use, four share a line of the host's cache, and a free slot ends the search. Whoever changes the
//! table holds the cache's mutex. A block that is removed leaves its slot's mixed key there, for those behind it to be
//! found, until another block takes the slot or the table is made anew. It is made anew, of the size that its blocks
//! need, when half of its slots have been used; the collector keeps the old one for those who still read it.

use std::sync::atomic::Ordering;

use vm_gc::Collector;
use vm_ir::BlockKey;

use super::CachedBlock;
use crate::sync::{AtomicPtr, AtomicU64};

/// Slots of an empty table.
const LEAST_SLOTS: usize = if cfg!(loom) { 4 } else { 1 << 12 };
/// Slots for each block in a table that was just made.
const SLOTS_EACH: usize = 3;
/// The mixed key of a slot that has never been used.
const FREE: u64 = 0;

#[derive(Default)]
struct Slot {
    mixed: AtomicU64,
    block: AtomicPtr<CachedBlock>,
}

/// All bits of a key, well spread; never [`FREE`].
fn mix(key: BlockKey) -> u64 {
    let bits = key.phys_pc.raw() ^ u64::from(key.mode.0).rotate_right(16);
    let spread = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread ^ (spread >> 32)).max(FREE + 1)
}

/// One size of the table.
struct Slots(Box<[Slot]>);

impl Slots {
    fn new(count: usize) -> Box<Self> {
        debug_assert!(count.is_power_of_two());
        let slots = std::iter::repeat_with(Slot::default).take(count);
        Box::new(Self(slots.collect()))
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The slots from where a key belongs on, all of them.
    fn from(&self, mixed: u64) -> impl Iterator<Item = &Slot> {
        let mask = self.0.len() - 1;
        let first = mixed as usize;
        (0..=mask).map(move |n| &self.0[first.wrapping_add(n) & mask])
    }

    /// Puts a block into the first slot without one; whether no block has used that slot before.
    fn put(&self, mixed: u64, block: *mut CachedBlock) -> bool {
        let mut slots = self.from(mixed);
        let slot = slots
            .find(|slot| slot.block.load(Ordering::Relaxed).is_null())
            .expect("invariant: half of the slots have no block");
        let new = slot.mixed.load(Ordering::Relaxed) == FREE;
        // Whoever sees this mixed key sees the block. Whoever sees the block with an older one compares keys.
        slot.block.store(block, Ordering::Release);
        slot.mixed.store(mixed, Ordering::Release);
        new
    }
}

/// The table.
pub(super) struct BlockTable {
    slots: AtomicPtr<Slots>,
    /// Slots that have been used, by the mutex's owner only, as `blocks`.
    used: AtomicU64,
    blocks: AtomicU64,
}

impl BlockTable {
    pub(super) fn new() -> Self {
        Self {
            slots: AtomicPtr::new(Box::into_raw(Slots::new(LEAST_SLOTS))),
            used: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
        }
    }

    fn slots(&self) -> &Slots {
        // SAFETY: never null; replaced slots go to the collector, and callers take part in epochs or hold the mutex.
        unsafe { &*self.slots.load(Ordering::Acquire) }
    }

    /// The block of a key, alive until the caller's next quiescent point or as long as it holds the mutex.
    #[inline]
    pub(super) fn find<'a>(&self, key: BlockKey) -> Option<&'a CachedBlock> {
        let mixed = mix(key);
        for slot in self.slots().from(mixed) {
            match slot.mixed.load(Ordering::Acquire) {
                FREE => return None,
                other if other != mixed => continue,
                _ => (),
            }
            // SAFETY: blocks found here are dropped only after the caller's next quiescent point.
            if let Some(block) = unsafe { slot.block.load(Ordering::Acquire).as_ref() } {
                block.check_alive();
                if block.key == key {
                    return Some(block);
                }
            }
        }
        None
    }

    /// Adds a block, whose key must not be there. The mutex is held.
    pub(super) fn add(&self, key: BlockKey, block: *mut CachedBlock, collector: &Collector) {
        let half = self.slots().0.len() as u64 / 2;
        if self.used.load(Ordering::Relaxed) >= half {
            self.make_anew(collector);
        }
        let new = self.slots().put(mix(key), block);
        self.used.fetch_add(u64::from(new), Ordering::Relaxed);
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a block. The mutex is held.
    pub(super) fn remove(&self, key: BlockKey, block: *mut CachedBlock) {
        let mut slots = self.slots().from(mix(key));
        let slot = slots.find(|slot| slot.block.load(Ordering::Relaxed) == block);
        let slot = slot.expect("invariant: the block is in the table");
        slot.block.store(std::ptr::null_mut(), Ordering::Release);
        self.blocks.fetch_sub(1, Ordering::Relaxed);
    }

    fn make_anew(&self, collector: &Collector) {
        let blocks = self.blocks.load(Ordering::Relaxed);
        let count = ((blocks as usize + 1) * SLOTS_EACH).next_power_of_two();
        let new = Slots::new(count.max(LEAST_SLOTS));
        for slot in &self.slots().0 {
            let block = slot.block.load(Ordering::Relaxed);
            if !block.is_null() {
                new.put(slot.mixed.load(Ordering::Relaxed), block);
            }
        }
        let old = self.slots.swap(Box::into_raw(new), Ordering::AcqRel);
        self.used.store(blocks, Ordering::Relaxed);
        // SAFETY: the pointer came from `Box::into_raw` and is in the table no more; the collector owns it.
        let old = unsafe { Box::from_raw(old) };
        collector.retire(old.bytes(), old);
    }

    /// Bytes of host memory.
    pub(super) fn bytes(&self) -> usize {
        self.slots().bytes()
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `Box::into_raw`, and nobody else has the table any more.
        drop(unsafe { Box::from_raw(self.slots.load(Ordering::Relaxed)) });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use vm_core::GuestPhysAddr;
    use vm_ir::Mode;

    use super::*;
    use crate::code::Code;

    fn block(phys: u64, mode: u32) -> *mut CachedBlock {
        let key = BlockKey {
            phys_pc: GuestPhysAddr(phys),
            mode: Mode(mode),
        };
        Box::into_raw(CachedBlock::new(key, Code::numbered(phys), None))
    }

    fn key(block: *mut CachedBlock) -> BlockKey {
        // SAFETY: the tests drop blocks at their ends only.
        unsafe { (*block).key }
    }

    #[test]
    fn table_finds_what_is_there_and_only_that_however_it_grows_and_shrinks() {
        let (table, collector) = (BlockTable::new(), Collector::new());
        let blocks: Vec<_> = (0..20_000)
            .map(|n| block(0x8000_0000 + 2 * (n / 2), n as u32 % 2))
            .collect();
        for &block in &blocks {
            assert!(table.find(key(block)).is_none());
            table.add(key(block), block, &collector);
        }
        let full = table.bytes();
        for &block in &blocks {
            let found = table.find(key(block)).expect("it was added");
            assert!(std::ptr::eq(found, block));
        }
        let (gone, kept) = blocks.split_at(19_990);
        for &block in gone {
            table.remove(key(block), block);
        }
        assert!(gone.iter().all(|&block| table.find(key(block)).is_none()));
        assert!(kept.iter().all(|&block| table.find(key(block)).is_some()));
        // Places of removed blocks serve again, and a table of few blocks becomes small.
        for &block in gone.iter().cycle().take(200_000) {
            table.add(key(block), block, &collector);
            assert!(table.find(key(block)).is_some());
            table.remove(key(block), block);
        }
        assert!(table.bytes() <= full);
        assert!(kept.iter().all(|&block| table.find(key(block)).is_some()));
        for block in blocks {
            // SAFETY: it came from `Box::into_raw`, and the table is not asked any more.
            drop(unsafe { Box::from_raw(block) });
        }
    }

    #[test]
    fn table_lookup_of_nothing_looks_at_few_slots() {
        let (table, collector) = (BlockTable::new(), Collector::new());
        let blocks: Vec<_> = (0..10_000).map(|n| block(0x8000_0000 + 2 * n, 0)).collect();
        for &block in &blocks {
            table.add(key(block), block, &collector);
        }
        let looked = |n: u64| {
            let missing = BlockKey {
                phys_pc: GuestPhysAddr(0x9000_0000 + 2 * n),
                mode: Mode(0),
            };
            let used = |slot: &&Slot| slot.mixed.load(Ordering::Relaxed) != FREE;
            table.slots().from(mix(missing)).take_while(used).count()
        };
        let counts: Vec<usize> = (0..10_000).map(looked).collect();
        let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        assert!(mean < 1.5, "{mean}");
        for block in blocks {
            // SAFETY: as above.
            drop(unsafe { Box::from_raw(block) });
        }
    }
}

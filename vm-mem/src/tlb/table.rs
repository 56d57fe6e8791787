//! One table of translations: sets of two ways.

use std::sync::atomic::Ordering;

use vm_core::{GuestVirtAddr, PAGE_BYTES, PAGE_SHIFT};

use super::TlbFill;
use crate::sync::AtomicU64;

/// A tag that no access compares equal to: its page-offset bits are set.
pub const NO_TAG: u64 = u64::MAX;

/// In a write tag: the mapping lets writes through, but the page has code, so they take the slow path. Like [`NO_TAG`]
/// no access compares equal.
pub const HAS_CODE: u64 = 0x800;

/// One translation.
#[derive(Debug)]
#[repr(C, align(32))]
pub struct TlbEntry {
    /// Virtual page when reads hit, else [`NO_TAG`].
    pub read: AtomicU64,
    /// Virtual page when writes hit; the page and [`HAS_CODE`] when that keeps them from it; else [`NO_TAG`].
    pub write: AtomicU64,
    /// Host address minus guest-virtual address.
    pub addend: AtomicU64,
    /// Guest-physical page.
    pub phys: AtomicU64,
}

impl TlbEntry {
    /// Matches no access.
    pub fn empty() -> Self {
        Self {
            read: AtomicU64::new(NO_TAG),
            write: AtomicU64::new(NO_TAG),
            addend: AtomicU64::new(0),
            phys: AtomicU64::new(NO_TAG),
        }
    }

    /// Keeps writes from hitting.
    pub(super) fn take_write(&self) {
        let tag = self.write.load(Ordering::Relaxed);
        self.write.store(tag | HAS_CODE, Ordering::SeqCst);
    }

    fn clear(&self) {
        self.read.store(NO_TAG, Ordering::Relaxed);
        self.write.store(NO_TAG, Ordering::Relaxed);
        self.phys.store(NO_TAG, Ordering::Relaxed);
    }

    fn is_used(&self) -> bool {
        self.phys.load(Ordering::Relaxed) != NO_TAG
    }

    fn holds(&self, page: u64) -> bool {
        self.read.load(Ordering::Relaxed) == page
            || self.write.load(Ordering::Relaxed) & !HAS_CODE == page
    }

    fn copy_from(&self, other: &Self) {
        for (to, from) in [
            (&self.phys, &other.phys),
            (&self.addend, &other.addend),
            (&self.read, &other.read),
            (&self.write, &other.write),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// The translations of pages whose numbers share an index. 64 bytes, so that an index is a shift.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct TlbSet {
    /// What was filled last, and what it took the place of.
    pub ways: [TlbEntry; 2],
}

impl TlbSet {
    /// Matches no access.
    pub fn empty() -> Self {
        Self {
            ways: [TlbEntry::empty(), TlbEntry::empty()],
        }
    }
}

/// What a lookup compares with a tag in the set of `addr`: the page of the last byte. The set never has that of an access
/// whose first byte lies on another page, because neighbours do not share sets.
#[inline(always)]
pub const fn tag_of(addr: u64, bytes: u64) -> u64 {
    addr.wrapping_add(bytes - 1) & !(PAGE_BYTES - 1)
}

/// The same where the access must be aligned: misaligned addresses never match.
#[inline(always)]
pub const fn aligned_tag_of(addr: u64, bytes: u64) -> u64 {
    addr & !((PAGE_BYTES - 1) & !(bytes - 1))
}

/// Sets of a fresh table.
pub(super) const MIN_SETS: usize = if cfg!(loom) { 1 } else { 128 };
/// Sets of the largest table: 64 MiB worth of pages.
const MAX_SETS: usize = 8192;
/// A table grows when it has lost so many times its number of sets since the last flush.
const LOST_PER_SET: usize = 4;
/// Flushes in a row that must find a table nearly empty before it shrinks, so that it does not oscillate.
const SHRINK_AFTER: u32 = 64;

/// Where a table is, for lookups by the owner's code.
#[derive(Clone, Copy, Debug)]
pub struct TableRef {
    /// First set.
    pub sets: *const TlbSet,
    /// Mask of the page number that gives the index.
    pub mask: u64,
}

#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[TlbSet]>,
    used: usize,
    /// Translations that made room for others since the last flush.
    lost: usize,
    sparse_flushes: u32,
    large: LargePages,
}

/// Page numbers `lo..=hi` of each half of the address space that came from guest pages above 4 KiB. A flush of one
/// address in such a page is a flush of all of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LargePages([Option<(u64, u64)>; 2]);

impl LargePages {
    /// Notes the guest page of `page_bytes` bytes around an address, if it is above 4 KiB.
    pub fn note(&mut self, addr: GuestVirtAddr, page_bytes: u64) {
        if page_bytes <= PAGE_BYTES {
            return;
        }
        let number = addr.page_number();
        let first = number & !((page_bytes >> PAGE_SHIFT) - 1);
        let last = first + (page_bytes >> PAGE_SHIFT) - 1;
        let range = &mut self.0[half(number)];
        *range = Some(match *range {
            Some((lo, hi)) => (lo.min(first), hi.max(last)),
            None => (first, last),
        });
    }

    /// Whether the address may lie in one of those noted.
    pub fn may_hold(&self, addr: GuestVirtAddr) -> bool {
        let number = addr.page_number();
        self.0[half(number)].is_some_and(|(lo, hi)| (lo..=hi).contains(&number))
    }
}

fn half(page: u64) -> usize {
    (page >> (63 - PAGE_SHIFT)) as usize & 1
}

impl Table {
    pub(super) fn new(sets: usize) -> Self {
        Self {
            sets: std::iter::repeat_with(TlbSet::empty).take(sets).collect(),
            used: 0,
            lost: 0,
            sparse_flushes: 0,
            large: LargePages::default(),
        }
    }

    pub(super) fn place(&self) -> TableRef {
        TableRef {
            sets: self.sets.as_ptr(),
            mask: self.sets.len() as u64 - 1,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &TlbEntry> {
        self.sets.iter().flat_map(|set| &set.ways)
    }

    /// Both ways for an address.
    pub(super) fn ways(&self, addr: GuestVirtAddr) -> &[TlbEntry; 2] {
        let index = (addr.page_number() as usize) & (self.sets.len() - 1);
        &self.sets[index].ways
    }

    /// Puts a translation into the first way, and what another page has there into the second. Write accesses hit from
    /// now on if `fill` says so.
    pub(super) fn fill(&mut self, fill: &TlbFill) -> &TlbEntry {
        let page = fill.addr.page_base().raw();
        let index = (fill.addr.page_number() as usize) & (self.sets.len() - 1);
        let [first, second] = &self.sets[index].ways;
        let used = |first: &TlbEntry| usize::from(first.is_used()) + usize::from(second.is_used());
        let before = used(first);
        if first.is_used() && !first.holds(page) {
            if second.is_used() && !second.holds(page) {
                self.lost += 1;
            }
            second.copy_from(first);
        } else if second.holds(page) {
            second.clear();
        }
        first.phys.store(fill.phys.raw(), Ordering::Relaxed);
        let addend = fill.host.wrapping_sub(page);
        first.addend.store(addend, Ordering::Relaxed);
        let tag = |hits: bool, tag| if hits { tag } else { NO_TAG };
        first.read.store(tag(fill.read, page), Ordering::Relaxed);
        let write = if fill.code { page | HAS_CODE } else { page };
        first.write.store(tag(fill.write, write), Ordering::SeqCst);
        self.used = self.used + used(first) - before;
        self.large.note(fill.addr, fill.page_bytes);
        first
    }

    /// A larger table with what this one holds, when this one is too small for the pages in use.
    pub(super) fn grown(&self) -> Option<Self> {
        if self.lost < LOST_PER_SET * self.sets.len() || self.sets.len() >= MAX_SETS {
            return None;
        }
        let mut grown = Self::new(2 * self.sets.len());
        // Second ways first, so that first ways stay what they are.
        for way in [1, 0] {
            for from in self.sets.iter().map(|set| &set.ways[way]) {
                let tags = [&from.read, &from.write].map(|tag| tag.load(Ordering::Relaxed));
                let Some(&page) = tags.iter().find(|&&tag| tag != NO_TAG) else {
                    continue;
                };
                let [first, second] = grown.ways(GuestVirtAddr(page & !HAS_CODE));
                if first.is_used() {
                    second.copy_from(first);
                }
                first.copy_from(from);
                grown.used += 1;
            }
        }
        grown.large = self.large;
        Some(grown)
    }

    /// Forgets the page of an address.
    pub(super) fn flush_page(&mut self, addr: GuestVirtAddr) {
        if self.large.may_hold(addr) {
            let _ = self.flush();
            return;
        }
        let page = addr.page_base().raw();
        let held = |entry: &&TlbEntry| entry.holds(page);
        let mut forgotten = 0;
        for entry in self.ways(addr).iter().filter(held) {
            entry.clear();
            forgotten += 1;
        }
        self.used -= forgotten;
    }

    /// Forgets everything; gives the number of sets that the table should have from now on, if it is another.
    pub(super) fn flush(&mut self) -> Option<usize> {
        if self.used == 0 {
            return None;
        }
        for entry in self.entries() {
            entry.clear();
        }
        let (used, sets) = (self.used, self.sets.len());
        let size = 2 * sets;
        self.used = 0;
        self.lost = 0;
        self.large = LargePages::default();
        if used * 10 > size * 7 && sets < MAX_SETS {
            return Some(sets * 2);
        }
        self.sparse_flushes = if used * 10 < size * 3 {
            self.sparse_flushes + 1
        } else {
            0
        };
        (self.sparse_flushes > SHRINK_AFTER && sets > MIN_SETS).then_some(sets / 2)
    }
}

#[cfg(test)]
mod tests {
    use vm_core::GuestPhysAddr;

    use super::*;

    #[test]
    fn aligned_tag_of_misaligned_never_matches_a_page() {
        assert_eq!(aligned_tag_of(0x1238, 8), 0x1000);
        assert_ne!(aligned_tag_of(0x1239, 8), 0x1000);
        assert_eq!(aligned_tag_of(0x1239, 1), 0x1000);
        assert_ne!(aligned_tag_of(0x1ffe, 4), 0x1000);
    }

    #[test]
    fn tag_of_access_to_two_pages_is_of_another_set() {
        assert_eq!(tag_of(0x1ff8, 8), 0x1000);
        assert_eq!(tag_of(0x1239, 8), 0x1000);
        assert_eq!(tag_of(0x1ff9, 8), 0x2000);
        assert_eq!(tag_of(u64::MAX, 2), 0);
        // Models of threads have one set, and no such access.
        const { assert!(cfg!(loom) || MIN_SETS >= 2) };
    }

    #[test]
    fn large_pages_hold_every_address_of_theirs() {
        let mut large = LargePages::default();
        large.note(GuestVirtAddr(0x1000), 0x1000);
        assert!(!large.may_hold(GuestVirtAddr(0x1000)));
        large.note(GuestVirtAddr(0x40_5000), 0x20_0000);
        assert!(large.may_hold(GuestVirtAddr(0x40_0000)));
        assert!(large.may_hold(GuestVirtAddr(0x5f_ffff)));
        assert!(!large.may_hold(GuestVirtAddr(0x60_0000)));
        assert!(!large.may_hold(GuestVirtAddr(0xffff_ffff_c040_0000)));
    }

    fn fill(page: u64, write: bool) -> TlbFill {
        TlbFill {
            addr: GuestVirtAddr(page << PAGE_SHIFT),
            phys: GuestPhysAddr(0x8000_0000 + (page << PAGE_SHIFT)),
            host: 0x7000_0000_0000,
            read: true,
            write,
            code: false,
            page_bytes: PAGE_BYTES,
        }
    }

    /// What each way holds for reads and writes, by page number.
    fn tags(table: &Table) -> [[Option<u64>; 2]; 2] {
        let number = |tag: &AtomicU64| {
            let tag = tag.load(Ordering::Relaxed);
            (tag != NO_TAG).then_some(tag >> PAGE_SHIFT)
        };
        let ways = table.ways(GuestVirtAddr(0)).each_ref();
        ways.map(|way| [number(&way.read), number(&way.write)])
    }

    #[test]
    fn fill_moves_another_page_to_the_second_way() {
        let (a, b, c) = (0, MIN_SETS as u64, 2 * MIN_SETS as u64);
        let mut table = Table::new(MIN_SETS);
        table.fill(&fill(a, true));
        table.fill(&fill(b, false));
        assert_eq!(tags(&table), [[Some(b), None], [Some(a), Some(a)]]);
        table.fill(&fill(a, false));
        assert_eq!(tags(&table), [[Some(a), None], [Some(b), None]]);
        table.fill(&fill(a, true));
        assert_eq!(tags(&table), [[Some(a), Some(a)], [Some(b), None]]);
        table.fill(&fill(c, false));
        assert_eq!(tags(&table), [[Some(c), None], [Some(a), Some(a)]]);
        assert_eq!(table.used, 2);
    }

    #[test]
    fn grown_table_holds_the_same() {
        let mut table = Table::new(MIN_SETS);
        let pages = 4 * MIN_SETS as u64;
        let mut turns = 0;
        let grown = loop {
            for page in 0..pages {
                table.fill(&fill(page, page % 2 == 0));
            }
            turns += 1;
            if let Some(grown) = table.grown() {
                break grown;
            }
        };
        assert!(turns > 1, "one pass over its pages says nothing yet");
        assert_eq!(grown.sets.len(), 2 * MIN_SETS);
        assert_eq!(grown.used, table.used);
        for page in 0..pages {
            let addr = GuestVirtAddr(page << PAGE_SHIFT);
            let way = |table: &Table| {
                let holds = |entry: &TlbEntry| entry.holds(addr.raw());
                table.ways(addr).iter().position(holds).is_some()
            };
            assert_eq!(way(&grown), way(&table), "page {page}");
        }
    }

    #[test]
    fn flush_page_forgets_it_in_either_way() {
        let (a, b) = (0, MIN_SETS as u64);
        for (gone, kept) in [(a, b), (b, a)] {
            let mut table = Table::new(MIN_SETS);
            table.fill(&fill(a, true));
            table.fill(&fill(b, true));
            table.flush_page(GuestVirtAddr(gone << PAGE_SHIFT));
            assert_eq!(table.used, 1);
            let left: Vec<_> = tags(&table).into_iter().flatten().flatten().collect();
            assert_eq!(left, [kept, kept]);
            table.flush_page(GuestVirtAddr(kept << PAGE_SHIFT));
            assert!(table.is_empty());
        }
    }
}

//! The software TLB of one virtual CPU.
//!
//! Per address space and data-access mode one table of 4 KiB translations in sets of two ways. A hit needs one
//! compare: the page of the last byte equals the tag ([`tag_of`]). What was filled last is in the first way, where fast
//! paths look; the second keeps copies between places that share a set off the page tables. Tables grow when they lose
//! more than they hold or a flush finds them crowded, and shrink when flushes find them empty.
//!
//! Only the owner fills and looks up. Other threads may clear write tags ([`Tlb::protect`]), which is why tags are
//! atomic, and why tables are replaced under a lock.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use vm_core::{GuestPhysAddr, GuestVirtAddr};

use crate::sync::{Mutex, MutexGuard};
use crate::writers::{WriterHint, Writers};

mod table;

pub use table::{HAS_CODE, LargePages, NO_TAG, TableRef, TlbEntry, TlbSet, aligned_tag_of, tag_of};
use table::{MIN_SETS, Table};

/// One translation to remember.
#[derive(Clone, Copy, Debug)]
pub struct TlbFill {
    /// Any address of the virtual page.
    pub addr: GuestVirtAddr,
    /// Guest-physical page.
    pub phys: GuestPhysAddr,
    /// Host address of the page.
    pub host: u64,
    /// Whether reads may hit.
    pub read: bool,
    /// Whether the mapping lets writes through.
    pub write: bool,
    /// Whether the page has code, so that writes must not hit.
    pub code: bool,
    /// Bytes of the guest's page.
    pub page_bytes: u64,
}

/// Address spaces kept at once.
const SPACES: usize = 8;
/// Data-access modes at most.
pub const MAX_MODES: usize = 4;

#[derive(Debug)]
struct Space {
    asid: u32,
    generation: u64,
    last_use: u64,
    tables: [Option<Table>; MAX_MODES],
}

/// Whether code may have been fetched from a page that is flushed, so that generations must move on as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeFlush {
    /// From a page that an address space has for itself.
    pub own: bool,
    /// From one that is mapped in all of them.
    pub global: bool,
}

/// Counters of a [`Tlb`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlbStats {
    /// Translations filled in.
    pub fills: u64,
    /// Whole-table flushes that found something.
    pub flushes: u64,
    /// Flushes that found nothing to do.
    pub elided: u64,
    /// Single-page flushes.
    pub page_flushes: u64,
    /// Times a table changed its size.
    pub resizes: u64,
}

/// The software TLB of one virtual CPU, for a few address spaces.
#[derive(Debug)]
pub struct Tlb {
    spaces: Mutex<Vec<Space>>,
    /// Where there are write tags. Taken while `spaces` is held.
    writers: Mutex<WriterHint>,
    /// Source of generations; a space's generation never comes back after a flush.
    next_generation: AtomicU64,
    clock: AtomicU64,
    /// Generation of what is mapped alike in all address spaces.
    global_generation: AtomicU64,
    /// Counts what makes a [`SpaceRef`] invalid.
    version: AtomicU64,
    /// Counts what makes copies of entries invalid.
    changes: AtomicU64,
    stats: [AtomicU64; 5],
}

/// What the owner uses until the next flush or switch.
#[derive(Clone, Copy, Debug)]
pub struct SpaceRef {
    /// The table of the data mode asked for.
    pub table: TableRef,
    /// Identifies this address space between two of its flushes; never reused.
    pub generation: u64,
}

impl Default for Tlb {
    fn default() -> Self {
        Self::new()
    }
}

impl Tlb {
    /// An empty TLB.
    pub fn new() -> Self {
        Self {
            spaces: Mutex::new(Vec::new()),
            writers: Mutex::new(WriterHint::new()),
            next_generation: AtomicU64::new(2),
            global_generation: AtomicU64::new(1),
            clock: AtomicU64::new(0),
            version: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            stats: [const { AtomicU64::new(0) }; 5],
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Space>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writers(&self) -> MutexGuard<'_, WriterHint> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the counters in the order of [`TlbStats`]. Only the owner counts, so no read-modify-write is needed.
    fn count(&self, [fills, flushes, elided, page_flushes, resizes]: [u64; 5]) {
        for (counter, more) in
            self.stats
                .iter()
                .zip([fills, flushes, elided, page_flushes, resizes])
        {
            if more != 0 {
                counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
            }
        }
    }

    fn fresh_generation(&self) -> u64 {
        self.next_generation.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes whenever what [`Tlb::enter`] gave before is no longer valid. For the owner, and for others while it
    /// does not run.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Identifies the mappings that hold in all address spaces, between two flushes of them; no space's generation is
    /// equal. For the owner.
    pub fn global_generation(&self) -> u64 {
        self.global_generation.load(Ordering::Relaxed)
    }

    /// Gives what is mapped in all address spaces a new generation, unless only one space is flushed: such a flush
    /// leaves global mappings alone (RISC-V Privileged, 10.2.1).
    fn renew_global(&self, asid: Option<u32>) {
        if asid.is_none() {
            let generation = self.fresh_generation();
            self.global_generation.store(generation, Ordering::Relaxed);
        }
    }

    /// Changes whenever copies of entries may no longer hold, as a page was flushed or lost its write tags. Whoever asks
    /// behind that learns of it.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn change_version(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// The table for an address space and data mode, made or evicted as needed. Valid while [`Tlb::version`] stays.
    pub fn enter(&self, asid: u32, mode: u8) -> SpaceRef {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut spaces = self.lock();
        let at = match spaces.iter().position(|space| space.asid == asid) {
            Some(at) => at,
            None => {
                self.change_version();
                let fresh = Space {
                    asid,
                    generation: self.fresh_generation(),
                    last_use: now,
                    tables: [const { None }; MAX_MODES],
                };
                if spaces.len() < SPACES {
                    spaces.push(fresh);
                    spaces.len() - 1
                } else {
                    let oldest = (0..spaces.len())
                        .min_by_key(|&i| spaces[i].last_use)
                        .expect("invariant: there are spaces");
                    self.replace(&mut spaces[oldest], fresh);
                    oldest
                }
            }
        };
        let space = &mut spaces[at];
        space.last_use = now;
        let table = space.tables[usize::from(mode)].get_or_insert_with(|| Table::new(MIN_SETS));
        SpaceRef {
            table: table.place(),
            generation: space.generation,
        }
    }

    /// Gives an evicted space's tables to a new one, emptied.
    fn replace(&self, old: &mut Space, fresh: Space) {
        old.asid = fresh.asid;
        old.generation = fresh.generation;
        for table in old.tables.iter_mut().flatten() {
            let _ = table.flush();
        }
        self.note_change();
    }

    /// Remembers a translation; true when that has given the table another place, which [`Tlb::enter`] tells.
    /// `still_writable` is asked after the write tag is visible to other threads and takes
    /// it back when it says no (the page got translated code meanwhile).
    pub fn fill(
        &self,
        asid: u32,
        mode: u8,
        fill: TlbFill,
        still_writable: impl FnOnce() -> bool,
    ) -> bool {
        let mut spaces = self.lock();
        let Some(table) = spaces
            .iter_mut()
            .find(|space| space.asid == asid)
            .and_then(|space| space.tables[usize::from(mode)].as_mut())
        else {
            return false;
        };
        let hits = fill.write && !fill.code;
        if hits {
            self.writers().note(fill.phys, fill.addr);
        }
        let entry = table.fill(&fill);
        if hits && !still_writable() {
            entry.take_write();
        }
        let grown = table.grown();
        let moved = grown.is_some();
        if let Some(grown) = grown {
            *table = grown;
            self.change_version();
        }
        drop(spaces);
        self.count([1, 0, 0, 0, moved.into()]);
        moved
    }

    /// Lets writes to the page of an address hit again, where [`HAS_CODE`] keeps them from it; `still_writable` as for
    /// [`Tlb::fill`].
    pub fn unprotect(
        &self,
        asid: u32,
        mode: u8,
        addr: GuestVirtAddr,
        still_writable: impl FnOnce() -> bool,
    ) {
        let spaces = self.lock();
        let space = spaces.iter().find(|space| space.asid == asid);
        let Some(table) = space.and_then(|space| space.tables[usize::from(mode)].as_ref()) else {
            return;
        };
        let page = addr.page_base().raw();
        let barred = |entry: &&TlbEntry| entry.write.load(Ordering::Relaxed) == page | HAS_CODE;
        let Some(entry) = table.ways(addr).iter().find(barred) else {
            return;
        };
        let phys = GuestPhysAddr(entry.phys.load(Ordering::Relaxed));
        self.writers().note(phys, addr);
        entry.write.store(page, Ordering::SeqCst);
        if !still_writable() {
            entry.take_write();
        }
    }

    /// Forgets everything of one address space, or of all. Entries of the space used on get a new generation.
    pub fn flush_all(&self, asid: Option<u32>) {
        self.change_version();
        self.renew_global(asid);
        let mut spaces = self.lock();
        if asid.is_none() {
            self.writers().clear();
        }
        let (mut full, mut elided, mut resized) = (0, 0, 0);
        for space in spaces
            .iter_mut()
            .filter(|space| asid.is_none_or(|asid| space.asid == asid))
        {
            space.generation = self.fresh_generation();
            for table in space.tables.iter_mut().flatten() {
                if table.is_empty() {
                    elided += 1;
                    continue;
                }
                full += 1;
                if let Some(sets) = table.flush() {
                    *table = Table::new(sets);
                    resized += 1;
                }
            }
        }
        drop(spaces);
        self.note_change();
        self.count([0, full, elided, 0, resized]);
    }

    /// Forgets one page in one address space, or in all, with the code that `code` says may have been fetched from it.
    pub fn flush_page(&self, addr: GuestVirtAddr, asid: Option<u32>, code: CodeFlush) {
        if code.global {
            self.renew_global(asid);
        }
        let mut spaces = self.lock();
        for space in spaces
            .iter_mut()
            .filter(|space| asid.is_none_or(|asid| space.asid == asid))
        {
            if code.own {
                self.change_version();
                space.generation = self.fresh_generation();
            }
            for table in space.tables.iter_mut().flatten() {
                table.flush_page(addr);
            }
        }
        drop(spaces);
        self.note_change();
        self.count([0, 0, 0, 1, 0]);
    }

    /// Takes the write tags of a guest-physical page away, everywhere. For any thread.
    pub fn protect(&self, phys: GuestPhysAddr) {
        let spaces = self.lock();
        let tables = spaces
            .iter()
            .flat_map(|space| space.tables.iter().flatten())
            .filter(|table| !table.is_empty());
        let protect = |entry: &TlbEntry| {
            if entry.phys.load(Ordering::Relaxed) == phys.page_base().raw() {
                entry.take_write();
            }
        };
        let mut writers = self.writers();
        match writers.take(phys) {
            Writers::Any => {
                for entry in tables.flat_map(Table::entries) {
                    protect(entry);
                    let tag = entry.write.load(Ordering::Relaxed);
                    let of = GuestPhysAddr(entry.phys.load(Ordering::Relaxed));
                    if tag & HAS_CODE == 0 && WriterHint::share(of, phys) {
                        writers.note(of, GuestVirtAddr(tag));
                    }
                }
            }
            Writers::Only(known) => {
                for table in tables {
                    for &addr in &known {
                        table.ways(addr).iter().for_each(protect);
                    }
                }
            }
        }
        // Behind the tags: a copy made since has none. There may be copies of entries that are gone.
        self.note_change();
    }

    /// Counters.
    pub fn stats(&self) -> TlbStats {
        let [fills, flushes, elided, page_flushes, resizes] = self
            .stats
            .each_ref()
            .map(|counter| counter.load(Ordering::Relaxed));
        TlbStats {
            fills,
            flushes,
            elided,
            page_flushes,
            resizes,
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(addr: u64, phys: u64) -> TlbFill {
        TlbFill {
            addr: GuestVirtAddr(addr),
            phys: GuestPhysAddr(phys),
            host: 0x7000_0000_0000 + phys,
            read: true,
            write: true,
            code: false,
            page_bytes: 4096,
        }
    }

    fn probe(tlb: &Tlb, asid: u32, addr: u64, write: bool) -> Option<u64> {
        let spaces = tlb.lock();
        let table = spaces.iter().find(|s| s.asid == asid)?.tables[0].as_ref()?;
        let entry = table.ways(GuestVirtAddr(addr)).iter().find(|entry| {
            let tag = if write { &entry.write } else { &entry.read };
            tag.load(Ordering::Relaxed) == tag_of(addr, 1)
        })?;
        Some(addr.wrapping_add(entry.addend.load(Ordering::Relaxed)))
    }

    #[test]
    fn whatever_ends_copies_of_entries_is_a_change_and_filling_is_none() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        tlb.fill(1, 0, fill(0x1000, 0x8000_0000), || true);
        let mut seen = tlb.changes();
        assert_eq!(seen, Tlb::new().changes());
        let mut changed = |what: &str| {
            let now = tlb.changes();
            assert_ne!(now, seen, "{what}");
            seen = now;
        };
        tlb.protect(GuestPhysAddr(0x8000_0000));
        changed("write tags taken");
        tlb.protect(GuestPhysAddr(0x9000_0000));
        changed(
            "write tags of a page that has no entry, but perhaps copies of one that was evicted",
        );
        tlb.flush_page(GuestVirtAddr(0x1000), Some(1), CodeFlush::default());
        changed("a page flushed");
        tlb.flush_all(Some(1));
        changed("a space flushed");
        for asid in 2..=SPACES as u32 + 1 {
            tlb.enter(asid, 0);
        }
        changed("a space evicted");
    }

    #[test]
    fn flush_page_forgets_that_page_only() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        tlb.fill(1, 0, fill(0x1000, 0x8000_0000), || true);
        tlb.fill(1, 0, fill(0x2000, 0x8000_1000), || true);
        tlb.flush_page(GuestVirtAddr(0x1000), None, CodeFlush::default());
        assert_eq!(probe(&tlb, 1, 0x1008, false), None);
        assert_eq!(probe(&tlb, 1, 0x2008, false), Some(0x7000_8000_1008));
    }

    #[test]
    fn flush_page_within_a_large_page_forgets_all_its_pieces() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        let piece = TlbFill {
            page_bytes: 0x20_0000,
            ..fill(0x20_3000, 0x8000_0000)
        };
        tlb.fill(1, 0, piece, || true);
        tlb.flush_page(GuestVirtAddr(0x30_0000), None, CodeFlush::default());
        assert_eq!(probe(&tlb, 1, 0x20_3000, false), None);
    }

    #[test]
    fn flush_of_one_space_keeps_the_other() {
        let tlb = Tlb::new();
        let before = tlb.enter(1, 0).generation;
        tlb.enter(2, 0);
        tlb.fill(1, 0, fill(0x1000, 0x8000_0000), || true);
        tlb.fill(2, 0, fill(0x1000, 0x8000_1000), || true);
        tlb.flush_all(Some(1));
        assert_eq!(probe(&tlb, 1, 0x1000, false), None);
        assert!(probe(&tlb, 2, 0x1000, false).is_some());
        assert_ne!(tlb.enter(1, 0).generation, before);
    }

    #[test]
    fn protect_and_refused_fill_leave_reads_only() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        tlb.fill(1, 0, fill(0x1000, 0x8000_0000), || true);
        assert!(probe(&tlb, 1, 0x1000, true).is_some());
        tlb.protect(GuestPhysAddr(0x8000_0000));
        assert!(probe(&tlb, 1, 0x1000, true).is_none());
        assert!(probe(&tlb, 1, 0x1000, false).is_some());
        tlb.fill(1, 0, fill(0x1000, 0x8000_0000), || false);
        assert!(probe(&tlb, 1, 0x1000, true).is_none());
    }

    #[test]
    fn protect_takes_the_write_tag_of_the_second_way_too() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        let other = (MIN_SETS as u64) << 12;
        tlb.fill(1, 0, fill(0, 0x8000_0000), || true);
        tlb.fill(1, 0, fill(other, 0x8000_1000), || true);
        tlb.protect(GuestPhysAddr(0x8000_0000));
        assert!(probe(&tlb, 1, 0, true).is_none());
        assert!(probe(&tlb, 1, 0, false).is_some());
        assert!(probe(&tlb, 1, other, true).is_some());
    }

    #[test]
    fn unprotect_lets_writes_hit_again_unless_code_came_meanwhile() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        let (page, phys) = (GuestVirtAddr(0x1000), GuestPhysAddr(0x8000_0000));
        let with_code = TlbFill {
            code: true,
            ..fill(page.raw(), phys.raw())
        };
        tlb.fill(1, 0, with_code, || unreachable!("no write tag was set"));
        let writes = || probe(&tlb, 1, 0x1008, true).is_some();
        assert!(!writes() && probe(&tlb, 1, 0x1008, false).is_some());
        tlb.unprotect(1, 0, page, || false);
        assert!(!writes());
        tlb.unprotect(1, 0, page, || true);
        assert!(writes());
        tlb.protect(phys);
        assert!(!writes());
        tlb.unprotect(1, 0, page, || true);
        assert!(writes());
        let read_only = TlbFill {
            write: false,
            ..with_code
        };
        tlb.fill(1, 0, read_only, || true);
        tlb.unprotect(1, 0, page, || true);
        assert!(!writes());
        tlb.flush_page(page, None, CodeFlush::default());
        tlb.unprotect(1, 0, page, || true);
        assert!(!writes());
    }

    #[test]
    fn crowded_table_grows_at_the_flush() {
        let tlb = Tlb::new();
        tlb.enter(1, 0);
        for page in 0..2 * MIN_SETS as u64 {
            tlb.fill(1, 0, fill(page << 12, 0x8000_0000), || true);
        }
        tlb.flush_all(None);
        assert_eq!(tlb.enter(1, 0).table.mask, 2 * MIN_SETS as u64 - 1);
    }

    #[test]
    fn enter_beyond_capacity_evicts_the_least_recent() {
        let tlb = Tlb::new();
        for asid in 0..=SPACES as u32 {
            tlb.enter(asid, 0);
            tlb.fill(asid, 0, fill(0x1000, 0x8000_0000), || true);
        }
        assert!(probe(&tlb, 0, 0x1000, false).is_none());
        assert!(probe(&tlb, 1, 0x1000, false).is_some());
    }
}

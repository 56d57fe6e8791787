//! Where code that has been thrown away was entered, so that virtual CPUs forget just that.
//!
//! A virtual CPU's jump cache outlasts epochs. Its lines lead to blocks, and a block remembers the virtual address
//! under which it was put there ([`EntryNote`]). Whoever throws blocks away unlinks them, moves the epoch, reads their
//! notes and writes them to the log, in this order and under the log's mutex. A virtual CPU that sees the epoch moved
//! takes the mutex, so it finds what was written, and empties those lines.
//!
//! Why no line is left over: all accesses to notes and epochs are sequentially consistent. A virtual CPU writes the
//! note before its line. If it has looked at the epoch since, and had not seen it moved, then whoever moves it reads the
//! note. Otherwise the line is among those that the virtual CPU wrote since its last look, and it empties all of these,
//! too, when the log has something new.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::sync::{AtomicU64, Mutex, keep_order};

/// No program counters: no ISA fetches from addresses whose two highest bits differ. (x86 and Arm want them sign-extended
/// from bit 56 at most; RISC-V does, too, or has 56 bits where it does not translate.)
const NOWHERE: u64 = 1 << 63;
const EVERYWHERE: u64 = 1 << 63 | 1;

/// Blocks that are told one by one when they are thrown away together.
const LISTED: usize = 32;
/// Entries of the log.
const KEPT: usize = 256;

/// Under which virtual address a block is in jump caches.
pub(crate) struct EntryNote(AtomicU64);

impl EntryNote {
    /// In none.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(NOWHERE))
    }

    /// To be called before the block is put into a jump cache.
    pub(crate) fn enter(&self, pc: u64) {
        debug_assert!(
            pc != NOWHERE && pc != EVERYWHERE,
            "nothing is fetched there"
        );
        let before = self.0.load(Ordering::SeqCst);
        if before == pc || before == EVERYWHERE {
            return;
        }
        let order = Ordering::SeqCst;
        if let Err(other) = self.0.compare_exchange(NOWHERE, pc, order, order)
            && other != pc
        {
            self.0.store(EVERYWHERE, order);
        }
        keep_order();
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Entries {
    /// Number of the next entry.
    end: u64,
    /// Virtual addresses, oldest first.
    pcs: VecDeque<u64>,
}

impl Entries {
    fn push(&mut self, pc: u64) {
        self.end += 1;
        if self.pcs.len() == KEPT {
            self.pcs.pop_front();
        }
        self.pcs.push_back(pc);
    }
}

/// The log of one block cache.
#[derive(Default)]
pub(crate) struct RetiredLog(Mutex<Entries>);

/// What the log has for a virtual CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// The addresses given.
    These,
    /// More than is known: every line may lead to code that is gone.
    Everything,
}

impl RetiredLog {
    /// Logs blocks that have been unlinked. `move_epoch` moves the epoch.
    pub(crate) fn write<'a>(
        &self,
        blocks: impl ExactSizeIterator<Item = &'a EntryNote>,
        move_epoch: impl FnOnce(),
    ) {
        self.log(move_epoch, |entries| {
            if blocks.len() > LISTED {
                return entries.push(EVERYWHERE);
            }
            blocks
                .map(EntryNote::get)
                .filter(|&pc| pc != NOWHERE)
                .for_each(|pc| entries.push(pc));
            // Blocks that are in no jump cache by their notes may be in one that was just written.
            entries.push(NOWHERE);
        });
    }

    /// Has every line of every jump cache forgotten, though nothing need be gone.
    pub(crate) fn forget_all(&self, move_epoch: impl FnOnce()) {
        self.log(move_epoch, |entries| entries.push(EVERYWHERE));
    }

    /// Changes the log, as whoever throws blocks away must: behind the move of the epoch.
    fn log(&self, move_epoch: impl FnOnce(), change: impl FnOnce(&mut Entries)) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        move_epoch();
        keep_order();
        change(&mut entries);
    }

    /// What was logged since entry `seen`, which this moves on.
    pub(crate) fn since(&self, seen: &mut u64, pcs: &mut Vec<u64>) -> News {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = (entries.end - *seen) as usize;
        *seen = entries.end;
        pcs.clear();
        if new == 0 {
            return News::Nothing;
        }
        let Some(known) = entries.pcs.len().checked_sub(new) else {
            return News::Everything;
        };
        pcs.extend(entries.pcs.range(known..).filter(|&&pc| pc != NOWHERE));
        match pcs.contains(&EVERYWHERE) {
            true => News::Everything,
            false => News::These,
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn notes(pcs: &[u64]) -> Vec<EntryNote> {
        Vec::from_iter(pcs.iter().map(|&pc| {
            let note = EntryNote::new();
            note.enter(pc);
            note
        }))
    }

    #[test]
    fn reader_gets_what_was_written_since_it_looked() {
        let log = RetiredLog::default();
        let (mut early, mut late) = (0, 0);
        let mut pcs = Vec::new();
        assert_eq!(log.since(&mut early, &mut pcs), News::Nothing);
        log.write(notes(&[0x10, 0x20]).iter(), || ());
        assert_eq!(log.since(&mut early, &mut pcs), News::These);
        assert_eq!(pcs, [0x10, 0x20]);
        assert_eq!(log.since(&mut early, &mut pcs), News::Nothing);
        log.write([EntryNote::new()].iter(), || ());
        assert_eq!(log.since(&mut early, &mut pcs), News::These);
        assert!(pcs.is_empty());
        assert_eq!(log.since(&mut late, &mut pcs), News::These);
        assert_eq!(pcs, [0x10, 0x20]);
    }

    #[test]
    fn odd_addresses_are_addresses() {
        let log = RetiredLog::default();
        let (mut seen, mut pcs) = (0, Vec::new());
        log.write(notes(&[1, 3]).iter(), || ());
        assert_eq!(log.since(&mut seen, &mut pcs), News::These);
        assert_eq!(pcs, [1, 3]);
    }

    #[test]
    fn reader_that_cannot_know_forgets_everything() {
        let log = RetiredLog::default();
        let mut pcs = Vec::new();
        let mut seen = 0;
        let twice = EntryNote::new();
        twice.enter(0x10);
        twice.enter(0x20);
        log.write([twice].iter(), || ());
        assert_eq!(log.since(&mut seen, &mut pcs), News::Everything);
        log.write(notes(&[2; LISTED + 1]).iter(), || ());
        assert_eq!(log.since(&mut seen, &mut pcs), News::Everything);
        let before = seen;
        for n in 0..KEPT as u64 {
            log.write(notes(&[2 * n]).iter(), || ());
        }
        assert_eq!(log.since(&mut seen, &mut pcs), News::Everything);
        let mut recent = seen - 4;
        assert_eq!(log.since(&mut recent, &mut pcs), News::These);
        assert_eq!(pcs, [2 * KEPT as u64 - 4, 2 * KEPT as u64 - 2]);
        assert!(before < seen);
    }
}

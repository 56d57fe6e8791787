//! Epochs.
//!
//! Why it is safe: whoever retires first unlinks, then moves the global epoch from `e` to `e + 1` and tags the
//! garbage with `e`. A participant that later announces an epoch above `e` has read the global epoch after the
//! unlinking, dropped the pointers it held (its side of the contract) and can find no new ones. A participant
//! that is offline follows none; when it comes back its announcement precedes its first pointer read in the single
//! total order of sequentially consistent operations, so either the scan sees it online or it sees the unlinking.
//! Pointers that it has kept meanwhile are forgotten at the quiescent point that follows.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Announced epoch of a participant that holds no pointers.
pub const OFFLINE: u64 = 0;

type Garbage = Box<dyn Send>;

#[derive(Default)]
struct Bin {
    /// (epoch, bytes, what), oldest first.
    retired: VecDeque<(u64, usize, Garbage)>,
    retired_bytes: usize,
    freed_bytes: u64,
}

/// Counters of a [`Collector`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Bytes retired and not yet dropped.
    pub pending_bytes: usize,
    /// Bytes dropped so far.
    pub freed_bytes: u64,
    /// The global epoch.
    pub epoch: u64,
}

/// Owns retired things until nobody can hold them.
pub struct Collector {
    epoch: AtomicU64,
    participants: Mutex<Vec<Arc<AtomicU64>>>,
    bin: Mutex<Bin>,
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector {
    /// An empty collector.
    pub fn new() -> Self {
        Self {
            epoch: AtomicU64::new(1),
            participants: Mutex::new(Vec::new()),
            bin: Mutex::new(Bin::default()),
        }
    }

    /// Adds a participant, offline at first.
    pub fn register(self: &Arc<Self>) -> Participant {
        let announced = Arc::new(AtomicU64::new(OFFLINE));
        lock(&self.participants).push(announced.clone());
        Participant {
            collector: self.clone(),
            announced,
            dropped_at: Cell::new(OFFLINE),
        }
    }

    /// Takes something that has been unlinked already; `bytes` is for statistics.
    pub fn retire<T: Send + 'static>(&self, bytes: usize, garbage: T) {
        fence(Ordering::SeqCst);
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst);
        let mut bin = lock(&self.bin);
        bin.retired_bytes += bytes;
        bin.retired.push_back((epoch, bytes, Box::new(garbage)));
    }

    /// The global epoch. What was unlinked before this call is out of every participant's hands once
    /// [`Collector::passed`] says so of the value.
    pub fn now(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether every participant has been quiescent or offline since the epoch was `epoch`.
    pub fn passed(&self, epoch: u64) -> bool {
        fence(Ordering::SeqCst);
        lock(&self.participants).iter().all(|announced| {
            let at = announced.load(Ordering::SeqCst);
            at == OFFLINE || at > epoch
        })
    }

    /// Drops what nobody can hold any more; at most `most` items, so that a caller's pause is bounded. Returns
    /// the number dropped.
    pub fn collect(&self, most: usize) -> usize {
        fence(Ordering::SeqCst);
        let oldest = lock(&self.participants)
            .iter()
            .map(|announced| announced.load(Ordering::SeqCst))
            .filter(|&at| at != OFFLINE)
            .min()
            .unwrap_or(u64::MAX);
        let mut dead = Vec::new();
        {
            let mut bin = lock(&self.bin);
            while dead.len() < most && bin.retired.front().is_some_and(|(at, ..)| *at < oldest) {
                let (_, bytes, garbage) = bin
                    .retired
                    .pop_front()
                    .expect("invariant: the front was just seen");
                bin.retired_bytes -= bytes;
                bin.freed_bytes += bytes as u64;
                dead.push(garbage);
            }
        }
        dead.len()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let bin = lock(&self.bin);
        Stats {
            pending_bytes: bin.retired_bytes,
            freed_bytes: bin.freed_bytes,
            epoch: self.epoch.load(Ordering::SeqCst),
        }
    }
}

/// One thread's membership. It starts offline; while it is online, nothing retired after its last quiescent
/// point is dropped.
pub struct Participant {
    collector: Arc<Collector>,
    announced: Arc<AtomicU64>,
    /// The epoch at which pointers that may be stale were last forgotten. It outlasts being offline.
    dropped_at: Cell<u64>,
}

impl Participant {
    /// To be called before the first pointer is read. Pointers from before the thread went offline may be of things
    /// that are gone: a [quiescent point](Participant::quiescent) must come before they are followed.
    pub fn online(&self) {
        let epoch = self.collector.epoch.load(Ordering::SeqCst);
        self.announced.store(epoch, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called when the thread is going to block; it must follow no pointers from then on.
    pub fn offline(&self) {
        self.announced.store(OFFLINE, Ordering::SeqCst);
    }

    /// A quiescent point: `drop_pointers` must forget every pointer that may be stale, and runs only when
    /// something was retired since the last point.
    #[inline]
    pub fn quiescent(&self, drop_pointers: impl FnOnce()) {
        let epoch = self.collector.epoch.load(Ordering::SeqCst);
        if epoch != self.dropped_at.get() {
            drop_pointers();
            self.dropped_at.set(epoch);
            self.announced.store(epoch, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.offline();
        lock(&self.collector.participants).retain(|other| !Arc::ptr_eq(other, &self.announced));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn retired_is_dropped_only_after_every_online_participant_was_quiescent() {
        let collector = Arc::new(Collector::new());
        let drops = Arc::new(AtomicUsize::new(0));
        let (a, b, sleeping) = (
            collector.register(),
            collector.register(),
            collector.register(),
        );
        a.online();
        b.online();
        collector.retire(10, Counted(drops.clone()));
        assert_eq!(collector.collect(8), 0);
        let mut told = false;
        a.quiescent(|| told = true);
        assert!(told);
        assert_eq!(collector.collect(8), 0);
        assert_eq!(collector.stats().pending_bytes, 10);
        b.offline();
        assert_eq!(collector.collect(8), 1);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        a.quiescent(|| panic!("nothing was retired since"));
        drop(sleeping);
    }

    #[test]
    fn passed_waits_for_those_online() {
        let collector = Arc::new(Collector::new());
        let a = collector.register();
        a.online();
        let epoch = collector.now();
        assert!(!collector.passed(epoch));
        a.quiescent(|| ());
        assert!(collector.passed(epoch));
    }

    #[test]
    fn what_was_retired_while_a_participant_was_offline_is_news_to_it() {
        let collector = Arc::new(Collector::new());
        let a = collector.register();
        a.online();
        a.quiescent(|| ());
        a.offline();
        collector.retire(1, ());
        assert_eq!(collector.collect(1), 1);
        a.online();
        let mut told = false;
        a.quiescent(|| told = true);
        assert!(told);
    }

    #[test]
    fn collect_is_bounded_by_its_argument() {
        let collector = Arc::new(Collector::new());
        let drops = Arc::new(AtomicUsize::new(0));
        for _ in 0..5 {
            collector.retire(1, Counted(drops.clone()));
        }
        assert_eq!(collector.collect(3), 3);
        assert_eq!(collector.collect(3), 2);
    }
}

/// Run with `RUSTFLAGS="--cfg loom"`. The locks are the standard library's, which loom does not know: they are never
/// held across an atomic operation of another thread's making, so that no schedule can block on them.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc as Shared;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};
    use loom::thread;

    /// Something in a table with one place, found by its number; freed by dropping [`Retired`].
    struct Table {
        place: AtomicUsize,
        freed: [AtomicBool; 2],
    }

    impl Table {
        fn new() -> Self {
            Self {
                place: AtomicUsize::new(1),
                freed: [AtomicBool::new(false), AtomicBool::new(false)],
            }
        }

        /// What a virtual CPU finds; it must not have been freed.
        fn look(&self) -> usize {
            self.place.load(Ordering::Acquire)
        }

        fn check(&self, found: usize) {
            if found != 0 {
                let freed = self.freed[found - 1].load(Ordering::SeqCst);
                assert!(!freed, "used after it was dropped");
            }
        }
    }

    struct Retired(Shared<Table>, usize);

    impl Drop for Retired {
        fn drop(&mut self) {
            self.0.freed[self.1 - 1].store(true, Ordering::SeqCst);
        }
    }

    fn unlink_and_collect(collector: &Collector, table: &Shared<Table>) {
        let old = table.place.swap(0, Ordering::AcqRel);
        collector.retire(1, Retired(table.clone(), old));
        collector.collect(8);
    }

    #[test]
    fn what_an_online_participant_found_is_not_dropped_under_it() {
        loom::model(|| {
            let collector = Arc::new(Collector::new());
            let table = Shared::new(Table::new());
            let participant = collector.register();
            let (reader_table, other) = (table.clone(), collector.clone());
            let reader = thread::spawn(move || {
                participant.online();
                let found = reader_table.look();
                reader_table.check(found);
                participant.offline();
                drop(other);
                participant
            });
            unlink_and_collect(&collector, &table);
            let participant = reader.join().expect("the reader ends");
            drop(participant);
            collector.collect(8);
            assert!(table.freed[0].load(Ordering::SeqCst), "never dropped");
        });
    }

    #[test]
    fn what_is_held_across_a_quiescent_point_without_news_is_not_dropped() {
        loom::model(|| {
            let collector = Arc::new(Collector::new());
            let table = Shared::new(Table::new());
            let participant = collector.register();
            let reader_table = table.clone();
            let reader = thread::spawn(move || {
                participant.online();
                let mut held = reader_table.look();
                // As the run loop: pointers are forgotten only when something was retired.
                participant.quiescent(|| held = 0);
                reader_table.check(held);
                held = reader_table.look();
                reader_table.check(held);
                participant.offline();
                participant
            });
            unlink_and_collect(&collector, &table);
            drop(reader.join().expect("the reader ends"));
        });
    }

    #[test]
    fn a_passed_epoch_means_that_stores_before_the_quiescent_point_are_seen() {
        loom::model(|| {
            let collector = Arc::new(Collector::new());
            let stored = Shared::new(AtomicBool::new(false));
            let watched = Shared::new(AtomicBool::new(false));
            let participant = collector.register();
            participant.online();
            let (writer_stored, writer_watched) = (stored.clone(), watched.clone());
            let writer = thread::spawn(move || {
                // A store by a tag that was read before the page was watched.
                if !writer_watched.load(Ordering::Relaxed) {
                    writer_stored.store(true, Ordering::Relaxed);
                }
                participant.quiescent(|| ());
                // From here on the tag is gone.
                let late = !writer_watched.load(Ordering::Relaxed);
                (late, participant)
            });
            watched.store(true, Ordering::SeqCst);
            let epoch = collector.now();
            if collector.passed(epoch) {
                // The writer's next look at the tag sees it gone, and what it stored before is there to be read.
                let seen = stored.load(Ordering::Relaxed);
                let (late, _participant) = writer.join().expect("the writer ends");
                assert!(!late, "a store by the old tag is still to come");
                assert_eq!(seen, stored.load(Ordering::Relaxed), "a store came late");
            } else {
                drop(writer.join().expect("the writer ends"));
            }
        });
    }
}

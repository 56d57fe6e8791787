//! Epochs.
//!
//! Why it is safe: whoever retires first unlinks, then moves the global epoch from `e` to `e + 1` and tags the
//! garbage with `e`. A participant that later announces an epoch above `e` has read the global epoch after the
//! unlinking, dropped the pointers it held (its side of the contract) and can find no new ones. A participant
//! that is offline holds none; when it comes back its announcement precedes its first pointer read in the single
//! total order of sequentially consistent operations, so either the scan sees it online or it sees the unlinking.

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
}

impl Participant {
    /// To be called before the first pointer is read.
    pub fn online(&self) {
        let epoch = self.collector.epoch.load(Ordering::SeqCst);
        self.announced.store(epoch, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called when the thread is going to block; it must hold no pointers from then on.
    pub fn offline(&self) {
        self.announced.store(OFFLINE, Ordering::SeqCst);
    }

    /// A quiescent point: `drop_pointers` must forget every pointer that may be stale, and runs only when
    /// something was retired since the last point.
    #[inline]
    pub fn quiescent(&self, drop_pointers: impl FnOnce()) {
        let epoch = self.collector.epoch.load(Ordering::SeqCst);
        if epoch != self.announced.load(Ordering::Relaxed) {
            drop_pointers();
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

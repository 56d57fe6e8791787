//! A device's I/O thread and the doorbell that wakes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::device::QueueWorker;
use super::signal::GuestSignal;

/// Events below this are queue notifications, one bit per queue.
pub const QUEUE_EVENTS: u32 = 48;

/// Bytes of one request that are moved before it minds that the device is being stopped. No driver asks for more at
/// once, but a hostile one can ask for terabytes of the same memory, and whoever stops the device waits for the thread.
const PATIENT_BYTES: u64 = 16 << 20;

/// The event bit for a device's own event `n` (host input has come, ...), `n` below 16.
pub const fn device_event(n: u32) -> u64 {
    1 << (QUEUE_EVENTS + (n & 15))
}

/// Wakes a device's thread. Rung by virtual CPUs and by the host's side of the device; never blocks.
#[derive(Default)]
pub struct Doorbell {
    events: AtomicU64,
    thread: OnceLock<Thread>,
    stopping: AtomicBool,
    /// The bus refuses the device's memory accesses.
    gated: AtomicBool,
}

impl Doorbell {
    /// Adds events and wakes the thread.
    pub fn ring(&self, events: u64) {
        self.events.fetch_or(events, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Rings for one queue.
    pub fn notify(&self, queue: u16) {
        if u32::from(queue) < QUEUE_EVENTS {
            self.ring(1 << queue);
        }
    }

    /// Whether the device may touch guest memory now.
    pub fn may_work(&self) -> bool {
        !self.stopping.load(Ordering::SeqCst) && !self.gated.load(Ordering::SeqCst)
    }

    /// Whether a request goes on of which `moved` bytes are done.
    pub(crate) fn may_go_on(&self, moved: u64) -> bool {
        moved < PATIENT_BYTES || self.may_work()
    }

    /// Waits that long. Says false, and does not wait longer, when the device must not go on.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while self.may_work() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::park_timeout(left);
        }
        false
    }

    /// Allows or refuses memory accesses (PCI bus mastering). Work that was rung for meanwhile starts when they are
    /// allowed again.
    pub(crate) fn gate(&self, closed: bool) {
        self.gated.store(closed, Ordering::SeqCst);
        if !closed {
            self.ring((1 << QUEUE_EVENTS) - 1);
        }
    }

    fn run(&self, worker: &mut dyn QueueWorker, signal: &GuestSignal) {
        let _ = self.thread.set(thread::current());
        let mut broken = false;
        while !self.stopping.load(Ordering::SeqCst) {
            let events = match self.gated.load(Ordering::SeqCst) || broken {
                true => 0,
                false => self.events.swap(0, Ordering::SeqCst),
            };
            if events == 0 {
                thread::park();
            } else if worker.work(events).is_err() {
                broken = true;
                signal.require_reset();
            }
        }
    }
}

/// A device's thread, running.
pub(crate) struct RunningWorker {
    pub(crate) doorbell: Arc<Doorbell>,
    thread: JoinHandle<Box<dyn QueueWorker>>,
}

impl RunningWorker {
    /// Starts the thread; it looks at every queue once. `None` when the host refuses a thread.
    pub(crate) fn start(
        name: &str,
        mut worker: Box<dyn QueueWorker>,
        doorbell: Arc<Doorbell>,
        signal: Arc<GuestSignal>,
    ) -> Option<Self> {
        doorbell.ring((1 << QUEUE_EVENTS) - 1);
        let bell = doorbell.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                bell.run(&mut *worker, &signal);
                worker
            })
            .ok()?;
        Some(Self { doorbell, thread })
    }

    /// Ends the thread after the request it is serving. `None` when it has panicked.
    pub(crate) fn stop(self) -> Option<Box<dyn QueueWorker>> {
        self.doorbell.stopping.store(true, Ordering::SeqCst);
        self.doorbell.ring(0);
        // Of the thread's own start the doorbell may not know yet; the join handle does.
        self.thread.thread().unpark();
        self.thread.join().ok()
    }
}

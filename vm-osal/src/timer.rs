//! The monotonic clock and the timer thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use vm_core::{Alarm, Alarms, Clock};

/// Host monotonic time, counted from when it was made.
#[derive(Clone, Debug)]
pub struct HostClock {
    start: Instant,
}

impl HostClock {
    /// A clock that starts at zero now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Disarmed.
const NEVER: u64 = u64::MAX;

struct Entry {
    fire: Box<dyn Fn() + Send + Sync>,
    /// Deadline in force, `NEVER` when disarmed. Heap entries that no longer match it are stale.
    deadline_ns: AtomicU64,
}

#[derive(Default)]
struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    entries: std::collections::HashMap<u64, Weak<Entry>>,
    next_id: u64,
    stop: bool,
}

struct Shared {
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One host thread that fires every [`Alarm`] of a virtual machine. Dropping it ends the thread.
pub struct TimerThread {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TimerThread {
    /// Starts the thread; deadlines are of `clock`, which must follow host time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared {
            clock,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let inner = shared.clone();
        let thread = thread::Builder::new()
            .name("timers".into())
            .spawn(move || run(&inner))
            .expect("invariant: the host can start a thread");
        Self {
            shared,
            thread: Some(thread),
        }
    }
}

impl Drop for TimerThread {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Alarms for TimerThread {
    fn alarm(&self, fire: Box<dyn Fn() + Send + Sync>) -> Arc<dyn Alarm> {
        let entry = Arc::new(Entry {
            fire,
            deadline_ns: AtomicU64::new(NEVER),
        });
        let mut queue = self.shared.lock();
        let id = queue.next_id;
        queue.next_id += 1;
        queue.entries.insert(id, Arc::downgrade(&entry));
        Arc::new(ThreadAlarm {
            shared: self.shared.clone(),
            id,
            entry,
        })
    }
}

struct ThreadAlarm {
    shared: Arc<Shared>,
    id: u64,
    entry: Arc<Entry>,
}

impl Alarm for ThreadAlarm {
    fn arm(&self, deadline_ns: Option<u64>) {
        let deadline = deadline_ns.unwrap_or(NEVER);
        if self.entry.deadline_ns.swap(deadline, Ordering::SeqCst) == deadline || deadline == NEVER
        {
            return;
        }
        let mut queue = self.shared.lock();
        let earliest = queue.heap.peek().map_or(NEVER, |top| top.0.0);
        queue.heap.push(Reverse((deadline, self.id)));
        drop(queue);
        if deadline < earliest {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for ThreadAlarm {
    fn drop(&mut self) {
        self.shared.lock().entries.remove(&self.id);
    }
}

fn run(shared: &Shared) {
    let mut queue = shared.lock();
    while !queue.stop {
        let Some(&Reverse((deadline, id))) = queue.heap.peek() else {
            queue = shared
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let now = shared.clock.now_ns();
        if deadline > now {
            let wait = Duration::from_nanos(deadline - now);
            queue = shared
                .changed
                .wait_timeout(queue, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            continue;
        }
        queue.heap.pop();
        let Some(entry) = queue.entries.get(&id).and_then(Weak::upgrade) else {
            continue;
        };
        // Fires only if this deadline is still the one in force; disarming first lets `fire` arm again.
        let armed = &entry.deadline_ns;
        if armed
            .compare_exchange(deadline, NEVER, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            drop(queue);
            (entry.fire)();
            drop(entry);
            queue = shared.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn alarm_rearmed_fires_once_at_the_last_deadline() {
        let clock = Arc::new(HostClock::new());
        let timers = TimerThread::new(clock.clone());
        let (sender, receiver) = mpsc::channel();
        let at = clock.clone();
        let alarm = timers.alarm(Box::new(move || sender.send(at.now_ns()).unwrap()));
        let start = clock.now_ns();
        alarm.arm(Some(start + 5_000_000_000));
        alarm.arm(Some(start + 20_000_000));
        let fired = receiver.recv_timeout(Duration::from_secs(4)).unwrap();
        assert!(fired >= start + 20_000_000);
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
    }

    #[test]
    fn alarm_disarmed_stays_silent() {
        let clock = Arc::new(HostClock::new());
        let timers = TimerThread::new(clock.clone());
        let (sender, receiver) = mpsc::channel();
        let alarm = timers.alarm(Box::new(move || sender.send(()).unwrap()));
        alarm.arm(Some(clock.now_ns() + 20_000_000));
        alarm.arm(None);
        assert!(receiver.recv_timeout(Duration::from_millis(80)).is_err());
    }
}

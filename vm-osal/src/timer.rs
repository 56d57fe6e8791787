//! The host's clock and the timer thread.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use vm_core::{Alarm, Alarms, Clock};

use crate::sys::since_boot_ns;
use crate::thread::{NoThread, spawn};

/// Host time that goes on while the host is suspended, counted from when it was made: after a night's sleep of the host
/// the guest's clocks are right.
#[derive(Clone, Debug)]
pub struct HostClock {
    start_ns: u64,
}

impl HostClock {
    /// A clock that starts at zero now.
    pub fn new() -> Self {
        Self {
            start_ns: since_boot_ns(),
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
        since_boot_ns() - self.start_ns
    }
}

/// How long the thread sleeps at most while there is a deadline. The host does not count its sleep by the time that it was
/// suspended; a deadline that came meanwhile is noticed this much later.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

type Fire = Arc<dyn Fn() + Send + Sync>;

struct Entry {
    fire: Fire,
    deadline_ns: Option<u64>,
}

#[derive(Default)]
struct Queue {
    /// Deadlines in force with the alarms' numbers, one of each alarm at most.
    due: BTreeSet<(u64, u64)>,
    entries: HashMap<u64, Entry>,
    next_id: u64,
    /// When the thread looks here by itself: zero while it does not sleep.
    wakes_ns: u64,
    stop: bool,
}

impl Queue {
    /// Replaces an alarm's deadline.
    fn arm(&mut self, id: u64, deadline_ns: Option<u64>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut entry.deadline_ns, deadline_ns) {
            self.due.remove(&(old, id));
        }
        if let Some(new) = deadline_ns {
            self.due.insert((new, id));
        }
    }

    /// Whether the thread would be late if nobody woke it. Guests put their deadlines off and draw them in again, mostly to
    /// no earlier than what it sleeps for.
    fn must_wake(&self) -> bool {
        let earliest = self.due.first();
        earliest.is_some_and(|&(deadline, _)| deadline < self.wakes_ns)
    }
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
    ///
    /// # Errors
    /// When the host refuses the thread.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, NoThread> {
        let shared = Arc::new(Shared {
            clock,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let inner = shared.clone();
        let thread = spawn("timers", move || run(&inner))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
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
        let mut queue = self.shared.lock();
        let id = queue.next_id;
        queue.next_id += 1;
        let entry = Entry {
            fire: fire.into(),
            deadline_ns: None,
        };
        queue.entries.insert(id, entry);
        Arc::new(ThreadAlarm {
            shared: self.shared.clone(),
            id,
        })
    }
}

struct ThreadAlarm {
    shared: Arc<Shared>,
    id: u64,
}

impl Alarm for ThreadAlarm {
    fn arm(&self, deadline_ns: Option<u64>) {
        let mut queue = self.shared.lock();
        queue.arm(self.id, deadline_ns);
        let wakes = queue.must_wake();
        drop(queue);
        if wakes {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for ThreadAlarm {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.arm(self.id, None);
        let entry = queue.entries.remove(&self.id);
        drop(queue);
        // What the callback owns may be anything, even another alarm: drop it without the lock.
        drop(entry);
    }
}

fn run(shared: &Shared) {
    let mut queue = shared.lock();
    while !queue.stop {
        let Some(&(deadline, id)) = queue.due.first() else {
            queue.wakes_ns = u64::MAX;
            queue = shared
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.wakes_ns = 0;
            continue;
        };
        let now = shared.clock.now_ns();
        if deadline > now {
            let wait = Duration::from_nanos(deadline - now).min(LONGEST_SLEEP);
            queue.wakes_ns = now.saturating_add(wait.as_nanos() as u64);
            queue = shared
                .changed
                .wait_timeout(queue, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            queue.wakes_ns = 0;
            continue;
        }
        // Disarmed first, so that `fire` can arm again.
        queue.arm(id, None);
        let fire = queue.entries.get(&id).map(|entry| entry.fire.clone());
        drop(queue);
        if let Some(fire) = fire {
            fire();
        }
        queue = shared.lock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    #[test]
    fn alarm_rearmed_fires_once_at_the_last_deadline() {
        let clock = Arc::new(HostClock::new());
        let timers = TimerThread::new(clock.clone()).unwrap();
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
    fn alarm_fires_soon_after_the_clock_has_leapt() {
        /// A host that was suspended for a while.
        #[derive(Default)]
        struct Leaping(HostClock, AtomicU64);
        impl Clock for Leaping {
            fn now_ns(&self) -> u64 {
                self.0.now_ns() + self.1.load(Ordering::SeqCst)
            }
        }
        const HOUR: u64 = 3_600_000_000_000;
        let clock = Arc::new(Leaping::default());
        let timers = TimerThread::new(clock.clone()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let alarm = timers.alarm(Box::new(move || sender.send(()).unwrap()));
        alarm.arm(Some(clock.now_ns() + HOUR));
        assert!(receiver.recv_timeout(Duration::from_millis(20)).is_err());
        clock.1.store(HOUR, Ordering::SeqCst);
        assert!(receiver.recv_timeout(10 * LONGEST_SLEEP).is_ok());
    }

    #[test]
    fn host_clock_counts_from_zero_as_the_host_does() {
        let (before, clock) = (since_boot_ns(), HostClock::new());
        std::thread::sleep(Duration::from_millis(5));
        let now = clock.now_ns();
        assert!(
            (5_000_000..=since_boot_ns() - before).contains(&now),
            "{now}"
        );
    }

    /// In a time namespace whose time since boot is a day ahead, as after a day's sleep of the host, which the time that
    /// programs wait by leaves out.
    #[test]
    fn host_clock_counts_the_sleep_of_the_host() {
        const INSIDE: &str = "VM_TEST_INSIDE_NAMESPACE";
        const DAY_S: u64 = 86_400;
        if std::env::var_os(INSIDE).is_some() {
            let awake = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let asleep_s = since_boot_ns() / 1_000_000_000 - awake.tv_sec as u64;
            assert!(asleep_s >= DAY_S, "{asleep_s}");
            return;
        }
        let unshare = || {
            let mut command = std::process::Command::new("unshare");
            command.args(["--time", &format!("--boottime={DAY_S}"), "--fork"]);
            command
        };
        if !unshare().arg("true").status().is_ok_and(|it| it.success()) {
            return eprintln!("skipped: no time namespaces here");
        }
        let inside = unshare()
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(std::thread::current().name().unwrap())
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&inside.stdout);
        assert!(
            inside.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }

    #[test]
    fn alarm_rearmed_often_stays_one_entry() {
        let clock = Arc::new(HostClock::new());
        let timers = TimerThread::new(clock.clone()).unwrap();
        let alarm = timers.alarm(Box::new(|| ()));
        let far = clock.now_ns() + 3_600_000_000_000;
        for n in 0..1000 {
            alarm.arm(Some(far + n));
        }
        assert_eq!(timers.shared.lock().due.len(), 1);
        drop(alarm);
        assert!(timers.shared.lock().due.is_empty());
        assert!(timers.shared.lock().entries.is_empty());
    }

    #[test]
    fn thread_is_woken_only_for_what_is_before_the_end_of_its_sleep() {
        let entry = Entry {
            fire: Arc::new(|| ()),
            deadline_ns: None,
        };
        let mut queue = Queue {
            wakes_ns: 100,
            ..Queue::default()
        };
        queue.entries.insert(0, entry);
        let mut wakes = |deadline| {
            queue.arm(0, deadline);
            queue.must_wake()
        };
        let steps = [Some(100), Some(900), None, Some(150), Some(100), Some(99)];
        assert_eq!(
            steps.map(&mut wakes),
            [false, false, false, false, false, true]
        );
        // It looks before it sleeps.
        queue.wakes_ns = 0;
        assert!(!queue.must_wake());
    }

    #[test]
    fn alarm_disarmed_stays_silent() {
        let clock = Arc::new(HostClock::new());
        let timers = TimerThread::new(clock.clone()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let alarm = timers.alarm(Box::new(move || sender.send(()).unwrap()));
        alarm.arm(Some(clock.now_ns() + 20_000_000));
        alarm.arm(None);
        assert!(receiver.recv_timeout(Duration::from_millis(80)).is_err());
    }
}

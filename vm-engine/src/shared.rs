//! What other threads may do to a virtual CPU.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vm_core::{IrqLine, VcpuId};
use vm_frontend::FlushScope;
use vm_mem::Tlb;

/// The deadline of a timer that is disarmed.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// How long one that waits for another gives up the host's processor. Sleeping costs a thread nothing but that time;
/// giving way (`sched_yield`) costs it a slice of a millisecond or more wherever others want the processor, and thousands
/// of turns of a waiting loop then stop the guest for seconds.
pub(crate) const NAP: Duration = Duration::from_micros(20);

/// Something another thread wants a virtual CPU to do before its next block.
#[derive(Clone, Copy, Debug)]
pub enum Remote {
    /// Forget translations.
    Flush(FlushScope),
    /// Forget translated code that has been written over.
    SyncCode,
}

/// One virtual CPU as the rest of the machine sees it.
#[derive(Debug)]
pub struct VcpuShared {
    id: VcpuId,
    pub(crate) exit_flag: AtomicU32,
    pub(crate) lines: AtomicU64,
    pub(crate) tlb: Tlb,
    stop: AtomicBool,
    asleep: AtomicBool,
    waiting: AtomicBool,
    running: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
    remote: Mutex<Vec<(Remote, Arc<AtomicU32>)>>,
    /// Ticks at which the timer of each line expires; [`NO_DEADLINE`] when disarmed. The line follows under the lock,
    /// so that an alarm that comes late cannot raise it for a deadline that has moved on.
    deadlines: Mutex<[u64; 64]>,
}

impl VcpuShared {
    /// A virtual CPU with all lines low.
    pub fn new(id: VcpuId) -> Arc<Self> {
        Arc::new(Self {
            id,
            exit_flag: AtomicU32::new(0),
            lines: AtomicU64::new(0),
            tlb: Tlb::new(),
            stop: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            running: AtomicBool::new(false),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            remote: Mutex::default(),
            deadlines: Mutex::new([NO_DEADLINE; 64]),
        })
    }

    /// Its number.
    pub fn id(&self) -> VcpuId {
        self.id
    }

    /// Makes the run loop look around soon, and wakes it when it sleeps.
    pub fn attention(&self) {
        self.exit_flag.store(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Makes `run` return [`vm_core::VmExit::Interrupted`] soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.attention();
    }

    pub(crate) fn stop_wanted(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub(crate) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
    }

    /// Interrupt lines that are high.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::SeqCst)
    }

    /// Drives lines; those in both masks go low.
    pub fn set_lines(&self, set: u64, clear: u64) {
        if set & !clear != 0 {
            let before = self.lines.fetch_or(set & !clear, Ordering::SeqCst);
            if before & set != set {
                self.attention();
            }
        }
        if clear != 0 {
            self.lines.fetch_and(!clear, Ordering::SeqCst);
        }
    }

    fn deadlines(&self) -> MutexGuard<'_, [u64; 64]> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the deadline of a line's timer. The line is high from then on; says whether it is already.
    pub(crate) fn set_deadline(&self, line: u32, ticks: u64, now: u64) -> bool {
        let mut deadlines = self.deadlines();
        deadlines[line as usize & 63] = ticks;
        let bit = 1 << (line & 63);
        let expired = ticks <= now;
        self.set_lines(u64::from(expired) * bit, u64::from(!expired) * bit);
        expired
    }

    /// Raises the line if its deadline has come.
    pub(crate) fn alarm_fired(&self, line: u32, now: u64) {
        let deadlines = self.deadlines();
        if deadlines[line as usize & 63] <= now {
            self.set_lines(1 << (line & 63), 0);
        }
    }

    /// Disarms all timers; their lines go low.
    pub(crate) fn clear_deadlines(&self) {
        let mut deadlines = self.deadlines();
        for (line, deadline) in deadlines.iter_mut().enumerate() {
            if std::mem::replace(deadline, NO_DEADLINE) != NO_DEADLINE {
                self.set_lines(0, 1 << line);
            }
        }
    }

    /// Interrupt line `number` as devices drive it.
    pub fn line(self: &Arc<Self>, number: u32) -> Arc<dyn IrqLine> {
        Arc::new(Line {
            vcpu: self.clone(),
            mask: 1 << number,
        })
    }

    /// Whether it sleeps, waiting for an interrupt.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    /// Whether it was waiting for an interrupt when it last stopped.
    pub fn was_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    /// Sleeps until attention is wanted.
    pub(crate) fn sleep(&self) {
        let guard = self.fall_asleep();
        drop(self.wake.wait_while(guard, |()| self.is_undisturbed()));
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn fall_asleep(&self) -> MutexGuard<'_, ()> {
        let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(true, Ordering::SeqCst);
        guard
    }

    fn is_undisturbed(&self) -> bool {
        self.exit_flag.load(Ordering::SeqCst) == 0
    }

    /// Sleeps for a moment, or until attention is wanted.
    pub(crate) fn nap(&self) {
        let guard = self.fall_asleep();
        let undisturbed = |_: &mut ()| self.is_undisturbed();
        drop(self.wake.wait_timeout_while(guard, NAP, undisturbed));
        self.asleep.store(false, Ordering::SeqCst);
    }

    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::SeqCst);
    }

    /// Posts a request; the counter is decremented when it has been served.
    pub(crate) fn post(&self, request: Remote, pending: &Arc<AtomicU32>) {
        pending.fetch_add(1, Ordering::SeqCst);
        self.remote
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((request, pending.clone()));
        self.attention();
    }

    /// Whether requests posted to it are sure to be served before it runs guest code again, without waiting.
    pub(crate) fn serves_before_running(&self) -> bool {
        self.is_asleep() || !self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn take_remote(&self) -> Vec<(Remote, Arc<AtomicU32>)> {
        std::mem::take(&mut *self.remote.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Line {
    vcpu: Arc<VcpuShared>,
    mask: u64,
}

impl IrqLine for Line {
    fn set(&self, high: bool) {
        if high {
            self.vcpu.set_lines(self.mask, 0);
        } else {
            self.vcpu.set_lines(0, self.mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_of_a_deadline_that_moved_on_leaves_the_line_low() {
        let vcpu = VcpuShared::new(VcpuId(0));
        assert!(!vcpu.set_deadline(5, 100, 50));
        assert!(!vcpu.set_deadline(5, 200, 101));
        vcpu.alarm_fired(5, 101);
        assert_eq!(vcpu.lines(), 0);
        vcpu.alarm_fired(5, 200);
        assert_eq!(vcpu.lines(), 1 << 5);
        assert!(!vcpu.set_deadline(5, 300, 201));
        assert_eq!(vcpu.lines(), 0);
    }

    #[test]
    fn clear_deadlines_lowers_timers_and_keeps_other_lines() {
        let vcpu = VcpuShared::new(VcpuId(0));
        vcpu.line(9).set(true);
        assert!(vcpu.set_deadline(5, 1, 2));
        assert_eq!(vcpu.lines(), 1 << 9 | 1 << 5);
        vcpu.clear_deadlines();
        assert_eq!(vcpu.lines(), 1 << 9);
        vcpu.alarm_fired(5, 3);
        assert_eq!(vcpu.lines(), 1 << 9);
    }
}

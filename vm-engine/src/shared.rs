//! What other threads may do to a virtual CPU.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vm_core::{IrqLine, VcpuId};
use vm_frontend::FlushScope;
use vm_mem::Tlb;

use crate::timers::Timer;

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
    /// Stand still until the one that asks has done what nobody may see half of.
    StandStill,
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
    pub(crate) timers: Mutex<Vec<Timer>>,
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
            timers: Mutex::default(),
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

    /// The same; gives what it was.
    pub(crate) fn swap_running(&self, running: bool) -> bool {
        self.running.swap(running, Ordering::SeqCst)
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

//! The machine's `mtime`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vm_core::Clock;

use super::spec::NS_PER_TICK;

/// The counter behind `mtime` and the `time` CSR: the virtual clock in ticks, plus what software wrote. Reading
/// takes no lock.
pub struct MachineTime {
    clock: Arc<dyn Clock>,
    offset_ticks: AtomicU64,
}

impl MachineTime {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let time = Self {
            clock,
            offset_ticks: AtomicU64::new(0),
        };
        time.set(0);
        time
    }

    fn clock_ticks(&self) -> u64 {
        self.clock.now_ns() / NS_PER_TICK
    }

    /// `mtime` now, in ticks of [`super::spec::TIMEBASE_HZ`].
    #[inline]
    pub fn ticks(&self) -> u64 {
        self.clock_ticks()
            .wrapping_add(self.offset_ticks.load(Ordering::Acquire))
    }

    /// The first nanosecond of the virtual clock at which `mtime` is at least `ticks`, for arming a
    /// [`vm_core::Alarm`]. In the past when it is so now; `None` when the clock ends before.
    pub fn deadline_ns(&self, ticks: u64) -> Option<u64> {
        let clock = self.clock_ticks();
        let now = clock.wrapping_add(self.offset_ticks.load(Ordering::Acquire));
        clock
            .checked_add(ticks.saturating_sub(now))?
            .checked_mul(NS_PER_TICK)
    }

    pub(super) fn set(&self, ticks: u64) {
        self.offset_ticks
            .store(ticks.wrapping_sub(self.clock_ticks()), Ordering::Release);
    }
}

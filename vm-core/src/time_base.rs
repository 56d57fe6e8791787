//! The one counter that a machine's guest reads the time from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::Clock;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// The time counter of one machine: the virtual clock in ticks, plus what software wrote into it.
///
/// Every view of the time is of this counter. On RISC-V these are `mtime`, the `time` register, `stimecmp` and the
/// timer of the SBI (RISC-V Priv 1.13, 3.2.1: `time` is a read-only shadow of `mtime`). Reading takes no lock.
pub struct TimeBase {
    clock: Arc<dyn Clock>,
    /// Ticks in [`Self::ns`] nanoseconds, without a common factor.
    ticks: u64,
    ns: u64,
    offset_ticks: AtomicU64,
    told: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl TimeBase {
    /// A counter that stands at zero now and counts `ticks_per_second` in a second of `clock`.
    ///
    /// # Panics
    /// When `ticks_per_second` is zero.
    pub fn new(clock: Arc<dyn Clock>, ticks_per_second: u64) -> Self {
        assert!(ticks_per_second > 0, "invariant: a time base counts");
        let common = greatest_common_divisor(ticks_per_second, NS_PER_SECOND);
        let base = Self {
            clock,
            ticks: ticks_per_second / common,
            ns: NS_PER_SECOND / common,
            offset_ticks: AtomicU64::new(0),
            told: RwLock::default(),
        };
        base.store(0);
        base
    }

    /// The counter now, in ticks. It wraps around at 2^64.
    #[inline]
    pub fn ticks(&self) -> u64 {
        self.clock_ticks()
            .wrapping_add(self.offset_ticks.load(Ordering::Acquire))
    }

    /// The first nanosecond of the virtual clock at which the counter is at least `ticks`, for arming an
    /// [`Alarm`](crate::Alarm). In the past when it is so now; `None` when the clock ends before. It holds until the
    /// counter is [set](Self::set).
    pub fn deadline_ns(&self, ticks: u64) -> Option<u64> {
        let clock = self.clock_ticks();
        let now = clock.wrapping_add(self.offset_ticks.load(Ordering::Acquire));
        let at = clock.checked_add(ticks.saturating_sub(now))?;
        let ns = (u128::from(at) * u128::from(self.ns)).div_ceil(u128::from(self.ticks));
        u64::try_from(ns).ok()
    }

    /// Sets the counter, then tells everyone whom [`on_set`](Self::on_set) named.
    pub fn set(&self, ticks: u64) {
        self.store(ticks);
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        told.iter().for_each(|tell| tell());
    }

    /// Names who is told after the counter was set. What [`deadline_ns`](Self::deadline_ns) said before no longer
    /// holds then, and what was due may not be any more. `tell` runs on the thread that set the counter, and must not
    /// set it again.
    pub fn on_set(&self, tell: Box<dyn Fn() + Send + Sync>) {
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        told.push(tell);
    }

    fn store(&self, ticks: u64) {
        self.offset_ticks
            .store(ticks.wrapping_sub(self.clock_ticks()), Ordering::Release);
    }

    #[inline]
    fn clock_ticks(&self) -> u64 {
        let ns = self.clock.now_ns();
        if self.ticks == 1 {
            return ns / self.ns;
        }
        (u128::from(ns) * u128::from(self.ticks) / u128::from(self.ns)) as u64
    }
}

const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_ns(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn at(hz: u64, ns: u64) -> (Arc<Hand>, TimeBase) {
        let clock = Arc::new(Hand::default());
        let base = TimeBase::new(clock.clone(), hz);
        clock.0.store(ns, Ordering::SeqCst);
        (clock, base)
    }

    #[test]
    fn ticks_of_any_frequency_are_exact() {
        const HOUR: u64 = 3600 * NS_PER_SECOND;
        for (hz, ns, ticks) in [
            (10_000_000, 1_234_599, 12_345),
            (1_000_000_000, HOUR + 7, HOUR + 7),
            (3_000_000_000, HOUR + 7, 3 * (HOUR + 7)),
            (62_500_000, 31, 1),
            (24_576_000, NS_PER_SECOND, 24_576_000),
            (1, HOUR - 1, 3599),
        ] {
            let (_, base) = at(hz, ns);
            assert_eq!(base.ticks(), ticks, "{hz} Hz after {ns} ns");
        }
    }

    #[test]
    fn deadline_is_the_first_nanosecond_that_is_not_early() {
        for hz in [1, 10_000_000, 62_500_000, 999_999_937, 3_000_000_000] {
            let (clock, base) = at(hz, 1_000);
            for ticks in [base.ticks() + 1, base.ticks() + 12_345] {
                let ns = base.deadline_ns(ticks).expect("within the clock");
                clock.0.store(ns - 1, Ordering::SeqCst);
                assert!(base.ticks() < ticks, "{hz} Hz");
                clock.0.store(ns, Ordering::SeqCst);
                assert!(base.ticks() >= ticks, "{hz} Hz");
            }
            let beyond = hz < 1_000_000_000;
            assert_eq!(base.deadline_ns(u64::MAX).is_none(), beyond, "{hz} Hz");
        }
    }

    #[test]
    fn set_moves_time_and_deadlines_and_tells() {
        let (clock, base) = at(10_000_000, 5_000);
        let base = Arc::new(base);
        let seen = Arc::new(AtomicU64::new(0));
        let (weak, told) = (Arc::downgrade(&base), seen.clone());
        base.on_set(Box::new(move || {
            let ticks = weak.upgrade().map_or(0, |base| base.ticks());
            told.store(ticks, Ordering::SeqCst);
        }));
        base.set(1 << 32);
        assert_eq!(seen.load(Ordering::SeqCst), 1 << 32);
        clock.0.store(5_200, Ordering::SeqCst);
        assert_eq!(base.ticks(), (1 << 32) + 2);
        assert_eq!(base.deadline_ns((1 << 32) + 5), Some(5_500));
        base.set(0);
        assert_eq!((base.ticks(), base.deadline_ns(5)), (0, Some(5_700)));
        base.set(u64::MAX);
        clock.0.store(5_300, Ordering::SeqCst);
        assert_eq!(base.ticks(), 0);
    }
}

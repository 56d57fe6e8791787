//! Timers of a virtual CPU: interrupt lines that are high from a deadline on.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};

use vm_core::{Alarm, Alarms, TimeBase};

use crate::shared::VcpuShared;

/// The timer of one line, made when the line's timer is first set.
pub(crate) struct Timer {
    line: u32,
    /// Ticks of the time base; `None` while disarmed.
    deadline: Option<u64>,
    alarm: Arc<dyn Alarm>,
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("line", &self.line)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Levels follow under the lock of [`VcpuShared`]'s timers, by what the time base says there and then. So an alarm that
/// comes late cannot raise a line whose deadline has moved on, and whoever sets the time base after a deadline was read
/// sees that deadline.
impl VcpuShared {
    fn timers(&self) -> MutexGuard<'_, Vec<Timer>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Line `line` is high while the time base is at `deadline` ticks or later, and low before. `None` disarms it, and
    /// it goes low.
    pub(crate) fn set_timer(
        self: &Arc<Self>,
        line: u32,
        deadline: Option<u64>,
        time: &Arc<TimeBase>,
        alarms: &dyn Alarms,
    ) {
        let mut timers = self.timers();
        let at = match timers.iter().position(|timer| timer.line == line) {
            Some(at) => at,
            None => {
                let (vcpu, time) = (Arc::downgrade(self), time.clone());
                let fire = move || {
                    if let Some(vcpu) = vcpu.upgrade() {
                        vcpu.drive_timers(&time);
                    }
                };
                timers.push(Timer {
                    line,
                    deadline: None,
                    alarm: alarms.alarm(Box::new(fire)),
                });
                timers.len() - 1
            }
        };
        let timer = &mut timers[at];
        timer.deadline = deadline;
        if deadline.is_none() {
            self.set_lines(0, 1 << line);
            timer.alarm.arm(None);
        }
        self.drive_timer(timer, time);
    }

    /// Puts every timer's line at the level that the time base asks for now.
    pub(crate) fn drive_timers(&self, time: &TimeBase) {
        for timer in self.timers().iter() {
            self.drive_timer(timer, time);
        }
    }

    fn drive_timer(&self, timer: &Timer, time: &TimeBase) {
        let Some(deadline) = timer.deadline else {
            return;
        };
        let bit = 1 << timer.line;
        if time.ticks() >= deadline {
            self.set_lines(bit, 0);
            timer.alarm.arm(None);
        } else {
            self.set_lines(0, bit);
            timer.alarm.arm(time.deadline_ns(deadline));
        }
    }

    /// Disarms all timers; their lines go low.
    pub(crate) fn disarm_timers(&self) {
        for timer in self.timers().iter_mut() {
            if timer.deadline.take().is_some() {
                self.set_lines(0, 1 << timer.line);
            }
            timer.alarm.arm(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use vm_core::{Clock, VcpuId};

    use super::*;

    /// A clock and alarms moved by hand, of which the test fires the last one made.
    #[derive(Default)]
    struct Hand {
        now_ns: AtomicU64,
        armed: Arc<Mutex<Option<u64>>>,
        fire: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    }

    struct Armed(Arc<Mutex<Option<u64>>>);

    impl Clock for Hand {
        fn now_ns(&self) -> u64 {
            self.now_ns.load(Ordering::SeqCst)
        }
    }

    impl Alarm for Armed {
        fn arm(&self, deadline_ns: Option<u64>) {
            *self.0.lock().unwrap() = deadline_ns;
        }
    }

    impl Alarms for Hand {
        fn alarm(&self, fire: Box<dyn Fn() + Send + Sync>) -> Arc<dyn Alarm> {
            *self.fire.lock().unwrap() = Some(fire);
            Arc::new(Armed(self.armed.clone()))
        }
    }

    impl Hand {
        fn fire_at(&self, ns: u64) {
            self.now_ns.store(ns, Ordering::SeqCst);
            self.fire.lock().unwrap().as_ref().unwrap()();
        }

        fn armed(&self) -> Option<u64> {
            *self.armed.lock().unwrap()
        }
    }

    fn board() -> (Arc<Hand>, Arc<TimeBase>, Arc<VcpuShared>) {
        let hand = Arc::new(Hand::default());
        let time = Arc::new(TimeBase::new(hand.clone(), 10_000_000));
        (hand, time, VcpuShared::new(VcpuId(0)))
    }

    #[test]
    fn alarm_of_a_deadline_that_moved_on_leaves_the_line_low() {
        let (hand, time, vcpu) = board();
        vcpu.set_timer(5, Some(100), &time, &*hand);
        assert_eq!((vcpu.lines(), hand.armed()), (0, Some(10_000)));
        vcpu.set_timer(5, Some(200), &time, &*hand);
        hand.fire_at(10_100);
        assert_eq!((vcpu.lines(), hand.armed()), (0, Some(20_000)));
        hand.fire_at(20_000);
        assert_eq!((vcpu.lines(), hand.armed()), (1 << 5, None));
        vcpu.set_timer(5, Some(300), &time, &*hand);
        assert_eq!(vcpu.lines(), 0);
    }

    #[test]
    fn disarmed_timers_lower_their_lines_and_no_others() {
        let (hand, time, vcpu) = board();
        vcpu.line(9).set(true);
        vcpu.set_timer(5, Some(0), &time, &*hand);
        assert_eq!(vcpu.lines(), 1 << 9 | 1 << 5);
        vcpu.disarm_timers();
        assert_eq!(vcpu.lines(), 1 << 9);
        hand.fire_at(1_000);
        assert_eq!(vcpu.lines(), 1 << 9);
        vcpu.set_timer(5, Some(0), &time, &*hand);
        vcpu.set_timer(5, None, &time, &*hand);
        assert_eq!((vcpu.lines(), hand.armed()), (1 << 9, None));
    }

    #[test]
    fn timers_follow_a_time_base_that_is_set() {
        let (hand, time, vcpu) = board();
        vcpu.set_timer(5, Some(1 << 40), &time, &*hand);
        assert_eq!(vcpu.lines(), 0);
        time.set(1 << 40);
        vcpu.drive_timers(&time);
        assert_eq!((vcpu.lines(), hand.armed()), (1 << 5, None));
        time.set((1 << 40) - 7);
        vcpu.drive_timers(&time);
        assert_eq!((vcpu.lines(), hand.armed()), (0, Some(700)));
    }
}

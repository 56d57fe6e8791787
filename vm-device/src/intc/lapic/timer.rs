//! The APIC timer (Intel SDM 3A, 11.5.4): counting down, once or periodically, or waiting for a time-stamp.

use serde::{Deserialize, Serialize};

/// What the timer does at its end (11.5.1, figure 11-8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    OneShot,
    Periodic,
    Deadline,
    /// The reserved encoding; nothing happens.
    Reserved,
}

impl Mode {
    pub(super) const fn of(lvt: u32) -> Self {
        match lvt >> super::spec::lvt::TIMER_MODE_SHIFT & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::Deadline,
            _ => Self::Reserved,
        }
    }
}

/// Registers of the timer, and since when it counts. Times are in ticks of the undivided clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Timer {
    pub(super) initial: u32,
    pub(super) divide: u32,
    /// When the count was `from_count`.
    from: u64,
    /// Zero when it does not count.
    from_count: u32,
    /// The time-stamp that it waits for; zero when it waits for none.
    pub(super) deadline: u64,
}

impl Timer {
    /// By how much the clock is divided (11.5.4, figure 11-10).
    fn divisor(&self) -> u64 {
        match self.divide & 3 | self.divide >> 1 & 4 {
            7 => 1,
            power => 2 << power,
        }
    }

    /// The count at `now`.
    pub(super) fn current(&self, now: u64) -> u32 {
        let gone = now.saturating_sub(self.from) / self.divisor();
        u64::from(self.from_count).saturating_sub(gone) as u32
    }

    /// When the count reaches zero, if it runs.
    pub(super) fn end(&self) -> Option<u64> {
        let ticks = u64::from(self.from_count) * self.divisor();
        (self.from_count != 0).then(|| self.from.saturating_add(ticks))
    }

    /// Ticks in one period.
    pub(super) fn period(&self) -> u64 {
        u64::from(self.initial.max(1)) * self.divisor()
    }

    /// Lets it pass zero if it has come to it; true when it has. Periods that nobody noticed count once.
    pub(super) fn expire(&mut self, now: u64, periodic: bool) -> bool {
        let Some(end) = self.end().filter(|&end| end <= now) else {
            return false;
        };
        if periodic {
            let period = self.period();
            self.from = end + (now - end) / period * period;
            self.from_count = self.initial;
        } else {
            self.from_count = 0;
        }
        true
    }

    pub(super) fn start(&mut self, now: u64, initial: u32) {
        self.initial = initial;
        self.from_count = initial;
        self.from = now;
    }

    pub(super) fn set_divide(&mut self, now: u64, divide: u32) {
        self.from_count = self.current(now);
        self.from = now;
        self.divide = divide & 0xb;
    }

    pub(super) fn stop(&mut self) {
        self.from_count = 0;
        self.deadline = 0;
    }

    /// Moves it to another clock: from one that showed `saved` to one that shows `now`.
    pub(super) fn rebase(&mut self, saved: u64, now: u64) {
        self.from = self.from.wrapping_add(now.wrapping_sub(saved));
    }
}

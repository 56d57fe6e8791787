//! Hand-driven lines, time and character ends for unit tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vm_core::{Alarm, Alarms, Clock, IrqLine};

use crate::chardev::CharSink;

/// A line that remembers its level and how often it rose.
#[derive(Default)]
pub(crate) struct Level {
    state: Mutex<(bool, u32)>,
}

impl Level {
    pub(crate) fn high(&self) -> bool {
        self.state.lock().0
    }
    pub(crate) fn rises(&self) -> u32 {
        self.state.lock().1
    }
}

impl IrqLine for Level {
    fn set(&self, high: bool) {
        let mut state = self.state.lock();
        state.1 += u32::from(high && !state.0);
        state.0 = high;
    }
}

/// A clock that stands still until told, and its alarms.
#[derive(Default)]
pub(crate) struct ManualTime {
    now_ns: AtomicU64,
    alarms: Mutex<Vec<Arc<ManualAlarm>>>,
}

pub(crate) struct ManualAlarm {
    deadline_ns: Mutex<Option<u64>>,
    fire: Box<dyn Fn() + Send + Sync>,
}

impl ManualTime {
    pub(crate) fn advance_to(&self, ns: u64) {
        self.now_ns.store(ns, Ordering::SeqCst);
        let alarms = self.alarms.lock().clone();
        for alarm in alarms {
            let due = {
                let mut deadline = alarm.deadline_ns.lock();
                let due = deadline.is_some_and(|at| at <= ns);
                if due {
                    *deadline = None;
                }
                due
            };
            if due {
                (alarm.fire)();
            }
        }
    }

    /// Deadlines of all alarms in the order they were made.
    pub(crate) fn deadlines(&self) -> Vec<Option<u64>> {
        self.alarms
            .lock()
            .iter()
            .map(|alarm| *alarm.deadline_ns.lock())
            .collect()
    }
}

impl Clock for ManualTime {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }
}

impl Alarm for ManualAlarm {
    fn arm(&self, deadline_ns: Option<u64>) {
        *self.deadline_ns.lock() = deadline_ns;
    }
}

impl Alarms for ManualTime {
    fn alarm(&self, fire: Box<dyn Fn() + Send + Sync>) -> Arc<dyn Alarm> {
        let alarm = Arc::new(ManualAlarm {
            deadline_ns: Mutex::new(None),
            fire,
        });
        self.alarms.lock().push(alarm.clone());
        alarm
    }
}

/// A sink that keeps what it got.
#[derive(Default)]
pub(crate) struct Collect(Mutex<Vec<u8>>);

impl Collect {
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock())
    }
}

impl CharSink for Collect {
    fn write(&self, bytes: &[u8]) {
        self.0.lock().extend_from_slice(bytes);
    }
}

/// Scripts for [`crate::fuzzing::drive`].
pub(crate) fn script() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::prelude::any::<u8>(), 0..1500)
}

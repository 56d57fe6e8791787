//! Time as devices and virtual CPUs see it.

use std::sync::Arc;

/// A monotonic clock of the virtual machine.
pub trait Clock: Send + Sync {
    /// Nanoseconds of virtual time since the machine was created. Never goes back.
    fn now_ns(&self) -> u64;
}

/// One timer that calls back when its deadline has come.
pub trait Alarm: Send + Sync {
    /// Sets the deadline in nanoseconds of the [`Clock`] it was made for, or disarms with `None`. A deadline
    /// that has passed fires at once (on the timer thread, never inside this call). A call back that is on its way
    /// already may come after this returns.
    fn arm(&self, deadline_ns: Option<u64>);
}

/// A maker of [`Alarm`]s.
pub trait Alarms: Send + Sync {
    /// Makes a disarmed alarm. `fire` runs on the timer thread and must not block.
    fn alarm(&self, fire: Box<dyn Fn() + Send + Sync>) -> Arc<dyn Alarm>;
}

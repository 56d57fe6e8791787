//! Devices that turn the machine off or restart it.

pub mod acpi_pm;
pub mod port92;
pub mod sifive_test;

use std::sync::Arc;

/// What a device asks of the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemEvent {
    /// Restart, all devices included.
    Reset,
    /// Turn off.
    PowerOff,
    /// Turn off with this exit status: the device for tests.
    Exit(u32),
    /// The guest says that it has panicked.
    Panicked,
    /// The guest says that it has panicked and that its crash kernel takes over.
    CrashLoaded,
}

/// Who is told. Called on a virtual CPU's or the timer thread, and returns: the guest may run on for a few instructions.
pub type SystemEvents = Arc<dyn Fn(SystemEvent) + Send + Sync>;

/// For tests: events and a look at those that came.
#[cfg(test)]
pub(crate) fn recorded() -> (SystemEvents, Arc<parking_lot::Mutex<Vec<SystemEvent>>>) {
    let log = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let into = log.clone();
    (Arc::new(move |event| into.lock().push(event)), log)
}

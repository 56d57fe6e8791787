//! The exit port of QEMU (`isa-debug-exit`): tests end their machine with a status.

use vm_core::AccessWidth;

use crate::BusDevice;
use crate::power::{SystemEvent, SystemEvents};

/// The port that tests use.
pub const PORT: u64 = 0xf4;
/// Ports.
pub const RANGE_BYTES: u64 = 4;

/// An exit port. It has no state.
pub struct DebugExit(SystemEvents);

impl DebugExit {
    /// A port that tells `events` of [`SystemEvent::Exit`] with `2 * value + 1`, as QEMU exits.
    pub fn new(events: SystemEvents) -> Self {
        Self(events)
    }
}

impl BusDevice for DebugExit {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        0
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        (self.0)(SystemEvent::Exit((value as u32) << 1 | 1));
    }

    fn reset(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::recorded;

    #[test]
    fn write_exits_with_its_status() {
        let (events, log) = recorded();
        DebugExit::new(events).write(0, AccessWidth::Word, 0x10);
        assert_eq!(*log.lock(), [SystemEvent::Exit(33)]);
    }
}

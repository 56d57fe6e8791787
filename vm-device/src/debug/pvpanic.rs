//! The panic port of QEMU (`docs/specs/pvpanic.rst`): a kernel tells that it has panicked.

use vm_core::AccessWidth;

use crate::BusDevice;
use crate::power::{SystemEvent, SystemEvents};

/// The port, which ACPI tells as QEMU0001; it has one byte.
pub const PORT: u16 = 0x505;
/// The guest has panicked.
pub const PANICKED: u8 = 1 << 0;
/// The guest has panicked and its crash kernel takes over.
pub const CRASH_LOADED: u8 = 1 << 1;

/// A panic port. It has no state.
pub struct PvPanic(SystemEvents);

impl PvPanic {
    /// A port that tells `events`.
    pub fn new(events: SystemEvents) -> Self {
        Self(events)
    }
}

impl BusDevice for PvPanic {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        (PANICKED | CRASH_LOADED).into()
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        let value = value as u8;
        if value & PANICKED != 0 {
            (self.0)(SystemEvent::Panicked);
        } else if value & CRASH_LOADED != 0 {
            (self.0)(SystemEvent::CrashLoaded);
        }
    }

    fn reset(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::recorded;

    #[test]
    fn events_are_told_apart() {
        let (events, log) = recorded();
        let port = PvPanic::new(events);
        assert_eq!(port.read(0, AccessWidth::Byte), 3);
        for value in [1, 2, 4, 3] {
            port.write(0, AccessWidth::Byte, value);
        }
        let panicked = SystemEvent::Panicked;
        assert_eq!(*log.lock(), [panicked, SystemEvent::CrashLoaded, panicked]);
    }
}

//! Port 92h of a PC: fast reset and the A20 gate (Intel ICH9 data sheet, 13.7.4).
//!
//! DEVIATION: address line 20 is always on, whatever the gate says; firmware turns it on before anything else, and no
//! system of today turns it off.

use parking_lot::Mutex;
use vm_core::AccessWidth;

use super::{SystemEvent, SystemEvents};
use crate::BusDevice;

/// The port; it has one byte.
pub const PORT: u64 = 0x92;
/// A change from 0 to 1 restarts.
const INIT_NOW: u8 = 1 << 0;
/// Address line 20.
const A20: u8 = 1 << 1;

/// Port 92h.
pub struct Port92 {
    value: Mutex<u8>,
    events: SystemEvents,
}

impl Port92 {
    /// A port that tells `events` of resets.
    pub fn new(events: SystemEvents) -> Self {
        Self {
            value: Mutex::new(A20),
            events,
        }
    }
}

impl BusDevice for Port92 {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        (*self.value.lock()).into()
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        let new = value as u8 & (INIT_NOW | A20);
        let old = std::mem::replace(&mut *self.value.lock(), new);
        if new & !old & INIT_NOW != 0 {
            (self.events)(SystemEvent::Reset);
        }
    }

    fn reset(&self) {
        *self.value.lock() = A20;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::recorded;

    #[test]
    fn write_of_a_new_init_bit_resets() {
        let (events, log) = recorded();
        let port = Port92::new(events);
        for value in [2, 3, 3, 0, 0xff] {
            port.write(0, AccessWidth::Byte, value);
        }
        assert_eq!(*log.lock(), [SystemEvent::Reset; 2]);
        assert_eq!(port.read(0, AccessWidth::Byte), 3);
        port.reset();
        assert_eq!(port.read(0, AccessWidth::Byte), 2);
    }
}

//! Saved state of the Goldfish RTC.

use serde::{Deserialize, Serialize};

use super::{GoldfishRtc, State};
use crate::state::{RestoreError, check_version};

const DEVICE: &str = "goldfish-rtc";
const VERSION: u32 = 1;

/// Registers at the moment of saving; the interrupt line follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    /// Wall-clock time in ns since 1970-01-01 UTC.
    pub time_ns: u64,
    /// Latched high half of the time.
    pub time_high: u32,
    /// Alarm time in ns since 1970-01-01 UTC.
    pub alarm_ns: u64,
    /// Whether the alarm is armed.
    pub armed: bool,
    /// Whether an alarm interrupts.
    pub irq_enabled: bool,
    /// Whether an alarm has come and was not acknowledged.
    pub irq_pending: bool,
}

impl GoldfishRtc {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        let state = self.core.state.lock();
        let time_ns = self.core.time_ns(&state);
        let State {
            offset_ns: _,
            time_high,
            alarm_ns,
            armed,
            irq_enabled,
            irq_pending,
        } = *state;
        SavedState {
            version: VERSION,
            time_ns,
            time_high,
            alarm_ns,
            armed,
            irq_enabled,
            irq_pending,
        }
    }

    /// Takes a saved state over. The clock goes on from the saved time; an owner who wants it to show the
    /// time that passed meanwhile adds it to `time_ns`.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            time_ns,
            time_high,
            alarm_ns,
            armed,
            irq_enabled,
            irq_pending,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        let offset_ns = time_ns.wrapping_sub(self.core.clock.now_ns());
        let mut state = self.core.state.lock();
        *state = State {
            offset_ns,
            time_high,
            alarm_ns,
            armed,
            irq_enabled,
            irq_pending,
        };
        self.core.drive(&mut state);
        Ok(())
    }
}

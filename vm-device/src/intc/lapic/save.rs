//! Saved state of a local APIC.

use serde::{Deserialize, Serialize};

use super::LocalApic;
use super::registers::Registers;
use crate::state::{RestoreError, check_version};

const DEVICE: &str = "lapic";
const VERSION: u32 = 1;

/// All registers, and where the timer's clock stood; the line INTR follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    ticks: u64,
    registers: Registers,
}

impl LocalApic {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        let registers = self.core.lock().clone();
        SavedState {
            version: VERSION,
            ticks: self.core.time.ticks(),
            registers,
        }
    }

    /// Takes a saved state over. The timer goes on from where it stood; a deadline stays one of the time-stamp counter,
    /// which whoever restores sets first.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            ticks,
            registers,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        let mut own = self.core.lock();
        *own = registers;
        own.timer.rebase(ticks, self.core.time.ticks());
        self.core.arm(&own);
        self.core.drive(&own);
        Ok(())
    }
}

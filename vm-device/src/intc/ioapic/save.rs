//! Saved state of the I/O APIC.

use serde::{Deserialize, Serialize};

use super::{IoApic, Registers};
use crate::state::{RestoreError, check_version};

const DEVICE: &str = "ioapic";
const VERSION: u32 = 1;

/// Registers and the levels of the inputs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    registers: Registers,
}

impl IoApic {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        SavedState {
            version: VERSION,
            registers: self.core.registers.lock().clone(),
        }
    }

    /// Takes a saved state over. Nothing is sent: what was sent before is in the local APICs' saved states.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState { version, registers } = saved;
        check_version(DEVICE, version, VERSION)?;
        *self.core.registers.lock() = registers;
        Ok(())
    }
}

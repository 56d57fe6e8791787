//! Saved state of the 8259 pair.

use serde::{Deserialize, Serialize};

use super::I8259;
use super::chip::Chip;
use crate::state::{RestoreError, check_version};

const DEVICE: &str = "i8259";
const VERSION: u32 = 1;

/// Registers and input levels of master and slave; the output follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    chips: [Chip; 2],
}

impl I8259 {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        SavedState {
            version: VERSION,
            chips: *self.core.chips.lock(),
        }
    }

    /// Takes a saved state over.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState { version, chips } = saved;
        check_version(DEVICE, version, VERSION)?;
        self.core.with(|own| *own = chips);
        Ok(())
    }
}

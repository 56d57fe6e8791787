//! Saved state of the fw_cfg device.

use serde::{Deserialize, Serialize};

use super::{FwCfg, State};
use crate::state::{RestoreError, check_version};

const DEVICE: &str = "fw_cfg";
const VERSION: u32 = 2;

/// What the guest has selected. The items are the machine's configuration: whoever restores adds them first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    /// Selected key.
    pub key: u16,
    /// Bytes of the selected item that were read or skipped.
    pub offset: u64,
    /// Upper half of the DMA register.
    pub dma_high: u32,
}

impl FwCfg {
    /// Everything that a guest could tell apart, but for the items.
    pub fn save(&self) -> SavedState {
        let State {
            key,
            offset,
            dma_high,
        } = *self.state.lock();
        SavedState {
            version: VERSION,
            key,
            offset: offset as u64,
            dma_high,
        }
    }

    /// Takes a saved state over.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            key,
            offset,
            dma_high,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        *self.state.lock() = State {
            key,
            offset,
            dma_high,
        };
        Ok(())
    }
}

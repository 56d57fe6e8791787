//! Saved state of the CLINT.

use serde::{Deserialize, Serialize};

use super::{Clint, Hart, HartRegisters};
use crate::state::{RestoreError, check_shape, check_version};

const DEVICE: &str = "clint";
const VERSION: u32 = 1;

/// Registers at the moment of saving; the lines follow from them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    /// `mtime` in ticks.
    pub mtime: u64,
    /// By hart number.
    pub harts: Vec<SavedHart>,
}

/// One hart's registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedHart {
    /// Software interrupt pending.
    pub msip: bool,
    /// Timer compare in ticks.
    pub mtimecmp: u64,
}

impl Clint {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        let Self { harts, time } = self;
        let hart = |hart: &std::sync::Arc<Hart>| {
            let Hart {
                state,
                lines: _,
                alarm: _,
                time: _,
            } = &**hart;
            let HartRegisters { msip, mtimecmp } = *state.lock();
            SavedHart { msip, mtimecmp }
        };
        SavedState {
            version: VERSION,
            mtime: time.ticks(),
            harts: harts.iter().map(hart).collect(),
        }
    }

    /// Takes a saved state over: `mtime` goes on from its saved value, lines and alarms follow.
    ///
    /// # Errors
    /// When it is of another version or of a CLINT with another number of harts.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            mtime,
            harts,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        check_shape(DEVICE, "number of harts", harts.len() == self.harts.len())?;
        for (hart, SavedHart { msip, mtimecmp }) in self.harts.iter().zip(harts) {
            let mut state = hart.state.lock();
            *state = HartRegisters { msip, mtimecmp };
            hart.lines.software.set(msip);
        }
        self.time.set(mtime);
        Ok(())
    }
}

//! Saved state of a flash bank.

use serde::{Deserialize, Serialize};

use super::spec::{BUFFER_BYTES, SR_READY};
use super::{Awaits, Flash, Mode, State};
use crate::state::{RestoreError, check_shape, check_version};

const DEVICE: &str = "flash";
const VERSION: u32 = 1;

/// The chips' command state and, of a writable bank, its cells. A read-only bank's cells are its image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    pub(super) mode: Mode,
    pub(super) awaits: Awaits,
    pub(super) status: u8,
    /// (number, cells) of every sector that is not erased.
    pub(super) sectors: Vec<(u32, Vec<u8>)>,
}

/// Whether the write buffer lies in the bank and is whole.
fn buffer_fits(awaits: &Awaits, bank_bytes: u64) -> bool {
    let window = |start: u64, cells: &[u8]| {
        start.is_multiple_of(BUFFER_BYTES)
            && start < bank_bytes
            && cells.len() as u64 == BUFFER_BYTES
    };
    match awaits {
        Awaits::BufferData { left, start, cells } => {
            (1..=BUFFER_BYTES).contains(left) && window(start.unwrap_or(0), cells)
        }
        Awaits::BufferConfirm { start, cells } => window(*start, cells),
        _ => true,
    }
}

impl Flash {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        let Self {
            contents,
            writable,
            kind: _,
            state,
            array: _,
        } = self;
        let state = state.lock();
        let State {
            mode,
            awaits,
            status,
        } = &*state;
        SavedState {
            version: VERSION,
            mode: *mode,
            awaits: awaits.clone(),
            status: *status,
            sectors: if *writable {
                contents.sectors()
            } else {
                Vec::new()
            },
        }
    }

    /// Takes a saved state over; the cells of a writable bank go to its store, too.
    ///
    /// # Errors
    /// When it is of another version, damaged, of another geometry, or the store refuses the cells (then part of
    /// them may have been replaced).
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            mode,
            awaits,
            status,
            sectors,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        let count = self.contents.bytes() / self.contents.sector_bytes();
        let fits = |(sector, cells): &(u32, Vec<u8>)| {
            u64::from(*sector) < count && cells.len() as u64 == self.contents.sector_bytes()
        };
        check_shape(DEVICE, "sectors", sectors.iter().all(fits))?;
        let sound = status & SR_READY != 0 && buffer_fits(&awaits, self.contents.bytes());
        check_shape(DEVICE, "command state", sound)?;
        let mut state = self.state.lock();
        let stored = !self.writable || self.contents.replace(&sectors);
        check_shape(DEVICE, "its cells cannot be stored", stored)?;
        *state = State {
            mode,
            awaits,
            status,
        };
        self.publish_mode(&state);
        Ok(())
    }
}

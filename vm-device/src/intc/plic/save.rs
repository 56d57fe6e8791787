//! Saved state of the PLIC.

use serde::{Deserialize, Serialize};

use super::spec::PRIORITY_MASK;
use super::{Context, Plic, State};
use crate::state::{RestoreError, check_shape, check_version};

const DEVICE: &str = "plic";
const VERSION: u32 = 2;

/// Registers, gateways and input levels; the contexts' lines follow from them. Bit sets have 32 sources a word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// Layout of this structure.
    pub version: u32,
    /// Priority by source number.
    pub priority: Vec<u8>,
    /// Input levels.
    pub level: Vec<u32>,
    /// Single interrupts that were asked for and not forwarded yet.
    pub asked: Vec<u32>,
    /// Pending bits.
    pub pending: Vec<u32>,
    /// Gateways that wait for a completion.
    pub in_flight: Vec<u32>,
    /// By context number.
    pub contexts: Vec<SavedContext>,
}

/// One context's registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedContext {
    /// Enable bits.
    pub enable: Vec<u32>,
    /// Priority threshold.
    pub threshold: u8,
}

impl Plic {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        let state = self.state.lock();
        let State {
            priority,
            level,
            asked,
            pending,
            in_flight,
            contexts,
        } = &*state;
        let context = |context: &Context| {
            let Context {
                enable,
                threshold,
                line: _,
                line_high: _,
            } = context;
            SavedContext {
                enable: enable.clone(),
                threshold: *threshold,
            }
        };
        SavedState {
            version: VERSION,
            priority: priority.clone(),
            level: level.clone(),
            asked: asked.clone(),
            pending: pending.clone(),
            in_flight: in_flight.clone(),
            contexts: contexts.iter().map(context).collect(),
        }
    }

    /// Takes a saved state over and drives every context's line.
    ///
    /// # Errors
    /// When it is of another version, damaged, or of a PLIC with other sources or contexts.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            priority,
            level,
            asked,
            pending,
            in_flight,
            contexts,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        let mut state = self.state.lock();
        let valid = |value: &u8| *value <= PRIORITY_MASK;
        check_shape(
            DEVICE,
            "number of sources or their priorities",
            priority.len() == state.priority.len()
                && priority.iter().all(valid)
                && priority.first() == Some(&0),
        )?;
        let fits = |bits: &Vec<u32>| {
            bits.len() == state.level.len()
                && bits
                    .iter()
                    .enumerate()
                    .all(|(word, bits)| bits & !state.existing(word) == 0)
        };
        check_shape(
            DEVICE,
            "bits of sources",
            [&level, &asked, &pending, &in_flight].into_iter().all(fits),
        )?;
        check_shape(
            DEVICE,
            "contexts",
            contexts.len() == state.contexts.len()
                && contexts
                    .iter()
                    .all(|context| fits(&context.enable) && valid(&context.threshold)),
        )?;
        state.priority = priority;
        state.level = level;
        state.asked = asked;
        state.pending = pending;
        state.in_flight = in_flight;
        for (context, SavedContext { enable, threshold }) in state.contexts.iter_mut().zip(contexts)
        {
            context.enable = enable;
            context.threshold = threshold;
            // Whatever the hart's input was before, it gets the right level now.
            context.line.set(false);
            context.line_high = false;
        }
        state.drive_lines();
        Ok(())
    }
}

//! Saved state of the 16550A.

use serde::{Deserialize, Serialize};

use super::spec::{FIFO_CHARS, IER_MASK, MCR_MASK};
use super::{Ns16550, POLLS, Received, State};
use crate::state::{RestoreError, check_shape, check_version};

const DEVICE: &str = "ns16550";
const VERSION: u32 = 2;

/// Registers and received characters; the interrupt line follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // Fields carry the data sheet's register names.
pub struct SavedState {
    pub version: u32,
    pub ier: u8,
    pub fcr: u8,
    pub lcr: u8,
    pub mcr: u8,
    pub scr: u8,
    pub dll: u8,
    pub dlm: u8,
    pub line_errors: u8,
    pub modem_deltas: u8,
    pub thre_pending: bool,
    pub identifies: bool,
    /// (character, LSR error bits), oldest first.
    pub rx: Vec<(u8, u8)>,
    /// Characters that were cleared and are received again later.
    pub held: Vec<u8>,
    /// How often LSR was read without sending.
    pub polls: u8,
}

impl Ns16550 {
    /// Everything that a guest could tell apart.
    pub fn save(&self) -> SavedState {
        let state = self.state.lock();
        let State {
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            dll,
            dlm,
            line_errors,
            modem_deltas,
            thre_pending,
            identifies,
            // Taken by whoever changes it.
            thre_asks: _,
            rx,
            held,
            polls,
            // The host's end is asked anew after a restore.
            input_waits: _,
            line_high: _,
        } = &*state;
        SavedState {
            version: VERSION,
            ier: *ier,
            fcr: *fcr,
            lcr: *lcr,
            mcr: *mcr,
            scr: *scr,
            dll: *dll,
            dlm: *dlm,
            line_errors: *line_errors,
            modem_deltas: *modem_deltas,
            thre_pending: *thre_pending,
            identifies: *identifies,
            rx: rx
                .iter()
                .map(|received| (received.byte, received.errors))
                .collect(),
            held: held.iter().copied().collect(),
            polls: *polls,
        }
    }

    /// Takes a saved state over and drives the interrupt line accordingly.
    ///
    /// # Errors
    /// When it is of another version or damaged.
    pub fn restore(&self, saved: SavedState) -> Result<(), RestoreError> {
        let SavedState {
            version,
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            dll,
            dlm,
            line_errors,
            modem_deltas,
            thre_pending,
            identifies,
            rx,
            held,
            polls,
        } = saved;
        check_version(DEVICE, version, VERSION)?;
        let few = rx.len() <= FIFO_CHARS && held.len() <= FIFO_CHARS && polls <= POLLS;
        check_shape(DEVICE, "characters in the FIFO", few)?;
        check_shape(
            DEVICE,
            "register bits",
            ier & !IER_MASK == 0 && mcr & !MCR_MASK == 0,
        )?;
        self.with(|state| {
            *state = State {
                ier,
                fcr,
                lcr,
                mcr,
                scr,
                dll,
                dlm,
                line_errors,
                modem_deltas,
                thre_pending,
                identifies,
                thre_asks: false,
                rx: rx
                    .into_iter()
                    .map(|(byte, errors)| Received { byte, errors })
                    .collect(),
                held: held.into(),
                polls,
                input_waits: state.input_waits,
                line_high: false,
            };
            self.irq.set(false);
        });
        Ok(())
    }
}

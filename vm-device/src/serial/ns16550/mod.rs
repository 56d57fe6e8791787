//! The 16550A UART, as Linux `8250`, OpenSBI, U-Boot and EDK2 drive it.
//!
//! Characters leave at once: the transmitter is always empty and a write to THR reaches the [`CharSink`] before
//! it returns. Received characters below the trigger level raise the timeout indication at once too. Host input
//! never overruns the receiver, because [`CharInput::offer`] takes no more than fits; only loopback can.

mod save;
pub mod spec;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

pub use save::SavedState;

use crate::BusDevice;
use crate::chardev::{CharInput, CharSink};
use spec::*;

/// A received character and the LSR error bits that belong to it.
#[derive(Clone, Copy)]
struct Received {
    byte: u8,
    errors: u8,
}

struct State {
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    dll: u8,
    dlm: u8,
    /// LSR error bits not yet read.
    line_errors: u8,
    /// MSR delta bits not yet read.
    modem_deltas: u8,
    /// The THRE interrupt was raised and neither identified nor served yet.
    thre_pending: bool,
    rx: VecDeque<Received>,
    /// An offer was cut short; its maker waits for the ready call.
    input_waits: bool,
    /// Level last put on the interrupt line.
    line_high: bool,
}

impl State {
    fn power_on() -> Self {
        Self {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            dll: DLL_RESET,
            dlm: 0,
            line_errors: 0,
            modem_deltas: 0,
            thre_pending: false,
            rx: VecDeque::with_capacity(FIFO_CHARS),
            input_waits: false,
            line_high: false,
        }
    }

    fn dlab(&self) -> bool {
        self.lcr & LCR_DLAB != 0
    }

    fn fifos(&self) -> bool {
        self.fcr & FCR_ENABLE != 0
    }

    fn capacity(&self) -> usize {
        if self.fifos() { FIFO_CHARS } else { 1 }
    }

    fn looped(&self) -> bool {
        self.mcr & MCR_LOOP != 0
    }

    fn receive(&mut self, byte: u8, errors: u8) {
        if self.rx.len() >= self.capacity() {
            // FIFO full: the new character is lost; without FIFOs it replaces the old one (8.4, OE).
            self.line_errors |= LSR_OE;
            if self.fifos() {
                return;
            }
            self.rx.clear();
        }
        if self.rx.is_empty() {
            self.line_errors |= errors;
        }
        self.rx.push_back(Received { byte, errors });
    }

    fn take_received(&mut self) -> u8 {
        let taken = self.rx.pop_front();
        // Errors show when their character reaches the top of the FIFO (8.4).
        if let Some(top) = self.rx.front() {
            self.line_errors |= top.errors;
        }
        taken.map_or(0, |received| received.byte)
    }

    fn line_status(&self) -> u8 {
        let mut lsr = self.line_errors | LSR_THRE | LSR_TEMT;
        if !self.rx.is_empty() {
            lsr |= LSR_DR;
        }
        if self.fifos() && self.rx.iter().any(|received| received.errors != 0) {
            lsr |= LSR_FIFO_ERROR;
        }
        lsr
    }

    /// Levels of the four modem inputs, in their MSR bits.
    fn modem_inputs(&self) -> u8 {
        if !self.looped() {
            return MSR_CONNECTED;
        }
        [
            (MCR_RTS, MSR_CTS),
            (MCR_DTR, MSR_DSR),
            (MCR_OUT1, MSR_RI),
            (MCR_OUT2, MSR_DCD),
        ]
        .iter()
        .filter(|(output, _)| self.mcr & output != 0)
        .fold(0, |msr, (_, input)| msr | input)
    }

    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_inputs();
        self.mcr = value & MCR_MASK;
        let after = self.modem_inputs();
        let changed = before ^ after;
        for (input, delta) in [
            (MSR_CTS, MSR_DCTS),
            (MSR_DSR, MSR_DDSR),
            (MSR_DCD, MSR_DDCD),
        ] {
            if changed & input != 0 {
                self.modem_deltas |= delta;
            }
        }
        if changed & before & MSR_RI != 0 {
            self.modem_deltas |= MSR_TERI;
        }
    }

    fn write_fcr(&mut self, value: u8) {
        // Changing the mode clears the FIFOs; the other bits count only with the enable bit set (8.5).
        let switched = (value ^ self.fcr) & FCR_ENABLE != 0;
        if switched || value & (FCR_ENABLE | FCR_CLEAR_RX) == FCR_ENABLE | FCR_CLEAR_RX {
            self.rx.clear();
        }
        self.fcr = if value & FCR_ENABLE != 0 {
            value & 0xc9
        } else {
            0
        };
    }

    fn write_ier(&mut self, value: u8) {
        let before = self.ier;
        self.ier = value & IER_MASK;
        if (before ^ self.ier) & IER_ETBEI != 0 {
            // Enabling it with an empty transmitter interrupts at once (8.7; Linux tests for it).
            self.thre_pending = self.ier & IER_ETBEI != 0;
        }
    }

    /// The pending interrupt of the highest priority, as its IIR code (8.6, table V).
    fn cause(&self) -> u8 {
        let enabled = |bit: u8| self.ier & bit != 0;
        let trigger = if self.fifos() {
            FCR_TRIGGER[usize::from(self.fcr >> 6)]
        } else {
            1
        };
        if enabled(IER_ELSI) && self.line_errors != 0 {
            IIR_LINE
        } else if enabled(IER_ERBFI) && self.rx.len() >= trigger {
            IIR_DATA
        } else if enabled(IER_ERBFI) && !self.rx.is_empty() {
            IIR_TIMEOUT
        } else if enabled(IER_ETBEI) && self.thre_pending {
            IIR_THRE
        } else if enabled(IER_EDSSI) && self.modem_deltas != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    fn read(&mut self, register: u64) -> u8 {
        match register {
            RBR_THR_DLL if self.dlab() => self.dll,
            RBR_THR_DLL => self.take_received(),
            IER_DLM if self.dlab() => self.dlm,
            IER_DLM => self.ier,
            IIR_FCR => {
                let cause = self.cause();
                if cause == IIR_THRE {
                    self.thre_pending = false;
                }
                cause | if self.fifos() { IIR_FIFOS } else { 0 }
            }
            LCR => self.lcr,
            MCR => self.mcr,
            LSR => {
                let lsr = self.line_status();
                self.line_errors = 0;
                if let Some(top) = self.rx.front_mut() {
                    top.errors = 0;
                }
                lsr
            }
            MSR => self.modem_inputs() | std::mem::take(&mut self.modem_deltas),
            SCR => self.scr,
            _ => 0,
        }
    }

    /// Takes a write; returns the character to send, if any.
    fn write(&mut self, register: u64, value: u8) -> Option<u8> {
        match register {
            RBR_THR_DLL if self.dlab() => self.dll = value,
            RBR_THR_DLL => {
                self.thre_pending = true;
                if !self.looped() {
                    return Some(value);
                }
                self.receive(value, 0);
            }
            IER_DLM if self.dlab() => self.dlm = value,
            IER_DLM => self.write_ier(value),
            IIR_FCR => self.write_fcr(value),
            LCR => self.lcr = value,
            MCR => self.write_mcr(value),
            SCR => self.scr = value,
            // LSR and MSR are meant for reading only (8.4, 8.9).
            _ => {}
        }
        None
    }
}

type Ready = Arc<dyn Fn() + Send + Sync>;

/// A 16550A. Its eight registers are a byte each, at consecutive offsets; wider accesses move the one byte at
/// their offset.
pub struct Ns16550 {
    state: Mutex<State>,
    irq: Arc<dyn IrqLine>,
    sink: Arc<dyn CharSink>,
    ready: Mutex<Option<Ready>>,
}

impl Ns16550 {
    /// A UART after power-on that sends to `sink`, one call a character: the sink should buffer.
    pub fn new(irq: Arc<dyn IrqLine>, sink: Arc<dyn CharSink>) -> Self {
        Self {
            state: Mutex::new(State::power_on()),
            irq,
            sink,
            ready: Mutex::new(None),
        }
    }

    /// Called under the lock, so that levels reach the line in the order in which they came about.
    fn drive_line(&self, state: &mut State) {
        let high = state.cause() != IIR_NONE;
        if high != state.line_high {
            state.line_high = high;
            self.irq.set(high);
        }
    }

    /// Runs `change`, then drives the interrupt line and wakes whoever waits to offer input.
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        self.drive_line(&mut state);
        let wake = state.input_waits && state.rx.is_empty() && !state.looped();
        if wake {
            state.input_waits = false;
        }
        drop(state);
        if wake {
            let ready = self.ready.lock().clone();
            if let Some(ready) = ready {
                ready();
            }
        }
        result
    }

    /// Takes characters that were received, as if the guest had read them from RBR: for firmware services that share
    /// the port with the guest. Returns how many there were.
    pub fn take_received(&self, into: &mut [u8]) -> usize {
        let take = |state: &mut State| (!state.rx.is_empty()).then(|| state.take_received());
        let mut taken = 0;
        // One at a time: whoever offers input fills the room that appears.
        while taken < into.len()
            && let Some(byte) = self.with(take)
        {
            into[taken] = byte;
            taken += 1;
        }
        taken
    }

    /// Receives a break condition, as a terminal server sends it on request (Linux: SysRq). Lost when the
    /// FIFO is full, with an overrun error.
    pub fn receive_break(&self) {
        self.with(|state| {
            if !state.looped() {
                state.receive(0, LSR_BI);
            }
        });
    }
}

impl CharInput for Ns16550 {
    fn offer(&self, bytes: &[u8]) -> usize {
        let mut state = self.state.lock();
        let room = if state.looped() {
            0
        } else {
            state.capacity().saturating_sub(state.rx.len())
        };
        let taken = room.min(bytes.len());
        for &byte in &bytes[..taken] {
            state.receive(byte, 0);
        }
        state.input_waits |= taken < bytes.len();
        self.drive_line(&mut state);
        taken
    }

    fn on_ready(&self, ready: Ready) {
        *self.ready.lock() = Some(ready);
    }
}

impl BusDevice for Ns16550 {
    fn read(&self, offset: u64, _width: AccessWidth) -> u64 {
        u64::from(self.with(|state| state.read(offset)))
    }

    fn write(&self, offset: u64, _width: AccessWidth, value: u64) {
        // The sink is called without the lock: its owner may be offering input meanwhile.
        if let Some(byte) = self.with(|state| state.write(offset, value as u8)) {
            self.sink.write(&[byte]);
        }
    }

    fn reset(&self) {
        self.with(|state| {
            let State {
                input_waits,
                line_high,
                ..
            } = *state;
            *state = State {
                input_waits,
                line_high,
                ..State::power_on()
            };
        });
    }
}

#[cfg(test)]
mod tests;

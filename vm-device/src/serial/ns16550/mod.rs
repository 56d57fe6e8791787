//! The 16550A UART, as Linux `8250`, OpenSBI, U-Boot and EDK2 drive it.
//!
//! Characters leave at once: the transmitter is always empty and a write to THR reaches the [`CharSink`] before
//! it returns. Received characters below the trigger level raise the timeout indication at once too. Host input
//! never overruns the receiver, because [`CharInput::offer`] takes no more than fits; only loopback can.
//!
//! Host input is not lost to a driver that starts: it is received only while the guest [listens](State::listens), and
//! clearing the receiver FIFO keeps it for later.

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

/// So many times in a row a guest reads LSR only to learn whether a character has come. One that sends reads it at most
/// twice: before a character, and behind the last.
const POLLS: u8 = 8;

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
    /// The driver has read IIR since the last reset.
    identifies: bool,
    /// The THRE interrupt was raised just now.
    thre_asks: bool,
    rx: VecDeque<Received>,
    /// Host input that was in the FIFO when the guest cleared it: received again when the guest listens.
    held: VecDeque<u8>,
    /// How often the guest has read LSR without sending anything, up to [`POLLS`].
    polls: u8,
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
            identifies: false,
            thre_asks: false,
            rx: VecDeque::with_capacity(FIFO_CHARS),
            held: VecDeque::new(),
            polls: 0,
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

    /// Whether the guest waits for characters: by interrupt, or by polling LSR. A driver that starts does neither, while
    /// it clears the receiver and reads away what it holds.
    fn listens(&self) -> bool {
        !self.looped() && (self.ier & IER_ERBFI != 0 || self.polls == POLLS)
    }

    /// Characters that the host may offer now.
    fn room(&self) -> usize {
        match self.listens() && self.held.is_empty() {
            true => self.capacity().saturating_sub(self.rx.len()),
            false => 0,
        }
    }

    /// DEVIATION: a FIFO that is cleared forgets its characters (8.5). These stay with the host's end of the line, which
    /// loses nothing.
    fn clear_receiver(&mut self) {
        let kept = self.rx.drain(..).filter(|received| received.errors == 0);
        // They came before those that are held already.
        for received in kept.rev() {
            self.held.push_front(received.byte);
        }
        self.polls = 0;
    }

    fn receive_held(&mut self) {
        while self.listens() && self.rx.len() < self.capacity() {
            match self.held.pop_front() {
                Some(byte) => self.receive(byte, 0),
                None => break,
            }
        }
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
            match self.looped() {
                true => self.rx.clear(),
                false => self.clear_receiver(),
            }
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
            self.set_thre(self.ier & IER_ETBEI != 0);
        }
    }

    fn set_thre(&mut self, pending: bool) {
        self.thre_pending = pending;
        self.thre_asks = pending;
    }

    /// The pending interrupt of the highest priority, as its IIR code (8.6, table V).
    fn cause(&self) -> u8 {
        self.cause_with(self.thre_pending)
    }

    /// The level of the interrupt line.
    ///
    /// DEVIATION: a driver that has never read IIR sees no level for an empty transmitter, but one interrupt each time
    /// that it becomes empty ([`IrqLine::pulse`]). By the data sheet only reading IIR, or writing a character, ends that
    /// interrupt; kernels that do neither (they were written for emulators that lose the level) would get it for ever.
    fn level(&self) -> bool {
        self.cause_with(self.thre_pending && self.identifies) != IIR_NONE
    }

    fn cause_with(&self, thre_pending: bool) -> u8 {
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
        } else if enabled(IER_ETBEI) && thre_pending {
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
                self.identifies = true;
                let cause = self.cause();
                if cause == IIR_THRE {
                    self.thre_pending = false;
                }
                cause | if self.fifos() { IIR_FIFOS } else { 0 }
            }
            LCR => self.lcr,
            MCR => self.mcr,
            LSR => {
                self.polls = POLLS.min(self.polls + 1);
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
                self.set_thre(true);
                if self.polls < POLLS {
                    self.polls = 0;
                }
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
        let asks = std::mem::take(&mut state.thre_asks) && state.ier & IER_ETBEI != 0;
        let asks = asks && !state.identifies;
        if asks {
            self.irq.pulse();
        }
        let high = state.level();
        if asks || high != state.line_high {
            state.line_high = high;
            self.irq.set(high);
        }
    }

    /// Runs `change`, then drives the interrupt line and wakes whoever waits to offer input.
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        state.receive_held();
        self.drive_line(&mut state);
        let wake = state.input_waits && state.rx.is_empty() && state.room() > 0;
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
        let take = |state: &mut State| {
            // Asking is polling.
            state.polls = POLLS;
            (!state.rx.is_empty()).then(|| state.take_received())
        };
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
        let taken = state.room().min(bytes.len());
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
            state.clear_receiver();
            *state = State {
                held: std::mem::take(&mut state.held),
                input_waits: state.input_waits,
                line_high: state.line_high,
                ..State::power_on()
            };
        });
    }
}

#[cfg(test)]
mod tests;

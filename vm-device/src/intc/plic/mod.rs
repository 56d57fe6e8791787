//! The RISC-V platform-level interrupt controller (PLIC 1.0.0) with level-triggered gateways.
//!
//! A source's gateway forwards one request when its line is high, and no other until the interrupt is completed;
//! then it looks at the line again. A source may ask for single interrupts, too ([`IrqLine::pulse`]); what comes between
//! a claim and its completion is forwarded then. One short lock covers the whole controller, so that a claim is atomic
//! however many virtual CPUs race for it.

mod save;
pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

pub use save::{SavedContext, SavedState};

use crate::BusDevice;
use spec::{PRIORITY_MASK, Register};

/// One target: a privilege mode of a hart.
struct Context {
    enable: Vec<u32>,
    threshold: u8,
    line: Arc<dyn IrqLine>,
    /// Level last put on the line.
    line_high: bool,
}

struct State {
    /// By source number; entry 0 stays 0.
    priority: Vec<u8>,
    /// Input levels, 32 sources a word, as all bit sets here.
    level: Vec<u32>,
    /// Sources that asked for a single interrupt which is not forwarded yet.
    asked: Vec<u32>,
    pending: Vec<u32>,
    /// Gateways that forwarded a request and wait for its completion.
    in_flight: Vec<u32>,
    contexts: Vec<Context>,
}

const fn split(source: usize) -> (usize, u32) {
    (source / 32, 1 << (source % 32))
}

impl State {
    fn new(sources: usize, lines: Vec<Arc<dyn IrqLine>>) -> Self {
        let words = sources.div_ceil(32);
        let context = |line| Context {
            enable: vec![0; words],
            threshold: 0,
            line,
            line_high: false,
        };
        Self {
            priority: vec![0; sources],
            level: vec![0; words],
            asked: vec![0; words],
            pending: vec![0; words],
            in_flight: vec![0; words],
            contexts: lines.into_iter().map(context).collect(),
        }
    }

    /// Lets every open gateway of a word forward its request (PLIC 1.0.0, 1.1 "Interrupt Gateways").
    fn sample(&mut self, word: usize) {
        let forwarded = (self.level[word] | self.asked[word]) & !self.in_flight[word];
        self.pending[word] |= forwarded;
        self.in_flight[word] |= forwarded;
        self.asked[word] &= !forwarded;
    }

    /// The enabled pending source of the highest priority above `floor`; among equals the lowest number.
    fn best(&self, context: &Context, floor: u8) -> Option<usize> {
        let mut best = None;
        let mut best_priority = floor;
        for (word, (pending, enable)) in self.pending.iter().zip(&context.enable).enumerate() {
            let mut candidates = pending & enable;
            while candidates != 0 {
                let source = word * 32 + candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                if self.priority[source] > best_priority {
                    best_priority = self.priority[source];
                    best = Some(source);
                }
            }
        }
        best
    }

    /// Drives the contexts' lines. Called under the lock, so that levels arrive in order.
    fn drive_lines(&mut self) {
        for at in 0..self.contexts.len() {
            let context = &self.contexts[at];
            let high = self.best(context, context.threshold).is_some();
            if high != context.line_high {
                context.line.set(high);
                self.contexts[at].line_high = high;
            }
        }
    }

    fn set_level(&mut self, source: usize, high: bool) {
        let (word, bit) = split(source);
        if (self.level[word] & bit != 0) == high {
            return;
        }
        self.level[word] ^= bit;
        // A request that was forwarded stays when the line falls (PLIC 1.0.0, 1.1).
        if high {
            self.sample(word);
            self.drive_lines();
        }
    }

    fn pulse(&mut self, source: usize) {
        let (word, bit) = split(source);
        // One that is pending already stands for this one, too.
        self.asked[word] |= bit & !self.pending[word];
        self.sample(word);
        self.drive_lines();
    }

    fn claim(&mut self, context: usize) -> u32 {
        // The threshold does not matter to a claim, only to the notification (PLIC 1.0.0, 8).
        let Some(source) = self.best(&self.contexts[context], 0) else {
            return 0;
        };
        let (word, bit) = split(source);
        self.pending[word] &= !bit;
        self.drive_lines();
        source as u32
    }

    fn complete(&mut self, context: usize, source: usize) {
        if source >= self.priority.len() {
            return;
        }
        let (word, bit) = split(source);
        // Silently ignored unless enabled for the target (PLIC 1.0.0, 9).
        if self.contexts[context].enable[word] & bit == 0 {
            return;
        }
        self.in_flight[word] &= !bit;
        self.sample(word);
        self.drive_lines();
    }

    fn read(&mut self, register: Register) -> u32 {
        match register {
            Register::Priority { source } => self
                .priority
                .get(source)
                .map_or(0, |&priority| u32::from(priority)),
            Register::Pending { word } => self.pending.get(word).copied().unwrap_or(0),
            Register::Enable { context, word } => self
                .contexts
                .get(context)
                .and_then(|context| context.enable.get(word))
                .copied()
                .unwrap_or(0),
            Register::Threshold { context } => self
                .contexts
                .get(context)
                .map_or(0, |context| u32::from(context.threshold)),
            Register::Claim { context } if context < self.contexts.len() => self.claim(context),
            Register::Claim { .. } => 0,
        }
    }

    /// Bits of a word of sources that exist: source 0 and those beyond the last are wired to zero.
    fn existing(&self, word: usize) -> u32 {
        let sources = self.priority.len() - word * 32;
        let low = if sources >= 32 {
            u32::MAX
        } else {
            (1 << sources) - 1
        };
        low & if word == 0 { !1 } else { u32::MAX }
    }

    fn write(&mut self, register: Register, value: u32) {
        match register {
            Register::Priority { source } if (1..self.priority.len()).contains(&source) => {
                self.priority[source] = value as u8 & PRIORITY_MASK;
            }
            Register::Enable { context, word }
                if context < self.contexts.len() && word < self.level.len() =>
            {
                self.contexts[context].enable[word] = value & self.existing(word);
            }
            Register::Threshold { context } if context < self.contexts.len() => {
                self.contexts[context].threshold = value as u8 & PRIORITY_MASK;
            }
            Register::Claim { context } if context < self.contexts.len() => {
                return self.complete(context, value as usize);
            }
            // Pending bits are read-only; the rest does not exist.
            _ => return,
        }
        self.drive_lines();
    }

    fn reset(&mut self) {
        let words = self.level.len();
        self.priority.fill(0);
        self.asked.fill(0);
        self.pending.fill(0);
        self.in_flight.fill(0);
        for context in &mut self.contexts {
            context.enable.fill(0);
            context.threshold = 0;
        }
        // The inputs are wires, not state: whoever still pulls one is seen again.
        for word in 0..words {
            self.sample(word);
        }
        self.drive_lines();
    }
}

/// A PLIC. Registers answer aligned four-byte accesses; others read as zero and are ignored.
pub struct Plic {
    state: Arc<Mutex<State>>,
}

impl Plic {
    /// A PLIC with sources 1 to `sources - 1` and a context for every line, in order of context number. On
    /// the `virt` machine `sources` is [`spec::VIRT_SOURCES`] and hart `h` has its M-mode line at `2 * h` and
    /// its S-mode line at `2 * h + 1`. Lines are taken to be low.
    ///
    /// # Panics
    /// When there are more sources or contexts than the register map has room for.
    pub fn new(sources: u32, context_lines: Vec<Arc<dyn IrqLine>>) -> Self {
        assert!(
            (1..=spec::MAX_SOURCES).contains(&sources)
                && context_lines.len() <= spec::MAX_CONTEXTS as usize,
            "invariant: a PLIC has 1 to 1024 sources and at most 15872 contexts"
        );
        Self {
            state: Arc::new(Mutex::new(State::new(sources as usize, context_lines))),
        }
    }

    /// Bytes of address space that its contexts need.
    pub fn range_bytes(&self) -> u64 {
        spec::range_bytes(self.state.lock().contexts.len() as u32)
    }

    /// The number of the last source (`riscv,ndev` of the device tree).
    pub fn last_source(&self) -> u32 {
        self.state.lock().priority.len() as u32 - 1
    }

    /// The input of source `number`. Whoever asks twice gets two handles of one level.
    ///
    /// # Panics
    /// When the source does not exist: the machine is wired wrongly.
    pub fn source(&self, number: u32) -> Arc<dyn IrqLine> {
        let last = self.last_source();
        assert!(
            (1..=last).contains(&number),
            "invariant: PLIC source {number} is in 1..={last}"
        );
        Arc::new(Source {
            state: self.state.clone(),
            number: number as usize,
        })
    }
}

struct Source {
    state: Arc<Mutex<State>>,
    number: usize,
}

impl IrqLine for Source {
    fn set(&self, high: bool) {
        self.state.lock().set_level(self.number, high);
    }

    fn pulse(&self) {
        self.state.lock().pulse(self.number);
    }
}

impl BusDevice for Plic {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match (Register::at(offset), width) {
            (Some(register), AccessWidth::Word) => u64::from(self.state.lock().read(register)),
            _ => 0,
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if let (Some(register), AccessWidth::Word) = (Register::at(offset), width) {
            self.state.lock().write(register, value as u32);
        }
    }

    fn reset(&self) {
        self.state.lock().reset();
    }
}

#[cfg(test)]
mod tests;

//! INTx interrupts: a function's pin, and the machine's four lines that the pins share.

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::IrqLine;

/// Lines of a host bridge.
pub const LINES: usize = 4;

/// Number of the line that a pin (0 for INTA) of a device drives (PCI-to-PCI Bridge Architecture 1.2, 9.1, as machines
/// with a generic ECAM host bridge apply it to the root bus).
pub const fn swizzle(slot: u8, pin: u8) -> usize {
    (slot as usize + pin as usize) % LINES
}

/// A line that is high while any of up to 32 inputs is.
pub(super) struct SharedLine {
    line: Arc<dyn IrqLine>,
    high: Mutex<u32>,
}

impl SharedLine {
    pub(super) fn new(line: Arc<dyn IrqLine>) -> Arc<Self> {
        Arc::new(Self {
            line,
            high: Mutex::new(0),
        })
    }

    pub(super) fn input(self: &Arc<Self>, number: u8) -> Arc<dyn IrqLine> {
        Arc::new(Input {
            shared: self.clone(),
            bit: 1 << (number & 31),
        })
    }
}

struct Input {
    shared: Arc<SharedLine>,
    bit: u32,
}

impl IrqLine for Input {
    fn set(&self, high: bool) {
        let mut inputs = self.shared.high.lock();
        let before = *inputs;
        *inputs = if high {
            before | self.bit
        } else {
            before & !self.bit
        };
        if (before == 0) != (*inputs == 0) {
            self.shared.line.set(*inputs != 0);
        }
    }
}

/// A function's interrupt pin, with the command register's disable bit in between.
pub struct IntxPin {
    line: Arc<dyn IrqLine>,
    /// (asserted, disabled)
    state: Mutex<(bool, bool)>,
}

impl IntxPin {
    /// A quiet, enabled pin on `line`.
    pub fn new(line: Arc<dyn IrqLine>) -> Arc<Self> {
        Arc::new(Self {
            line,
            state: Mutex::new((false, false)),
        })
    }

    fn update(&self, change: impl FnOnce(&mut (bool, bool))) {
        let mut state = self.state.lock();
        let before = state.0 && !state.1;
        change(&mut state);
        let after = state.0 && !state.1;
        if before != after {
            self.line.set(after);
        }
    }

    /// Applies the command register's INTx disable bit.
    pub fn set_disabled(&self, disabled: bool) {
        self.update(|state| state.1 = disabled);
    }

    /// Whether the function asserts it, disabled or not: the status register's interrupt bit.
    pub fn asserted(&self) -> bool {
        self.state.lock().0
    }
}

impl IrqLine for IntxPin {
    fn set(&self, high: bool) {
        self.update(|state| state.0 = high);
    }
}

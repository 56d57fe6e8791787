//! Lines that several devices share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use vm_core::IrqLine;

/// Drives one or more lines high while any of its inputs is high: devices that share an interrupt.
pub struct OrGate {
    outputs: Vec<Arc<dyn IrqLine>>,
    /// Inputs that are high.
    high: Mutex<u32>,
}

impl OrGate {
    /// A gate in front of `outputs`, which it takes to be low and drives alike.
    pub fn new(outputs: Vec<Arc<dyn IrqLine>>) -> Arc<Self> {
        Arc::new(Self {
            outputs,
            high: Mutex::new(0),
        })
    }

    /// One more input, low at first.
    pub fn input(self: &Arc<Self>) -> Arc<dyn IrqLine> {
        Arc::new(Input {
            gate: self.clone(),
            high: AtomicBool::new(false),
        })
    }
}

struct Input {
    gate: Arc<OrGate>,
    high: AtomicBool,
}

impl IrqLine for Input {
    fn set(&self, high: bool) {
        // Under the lock, so that levels arrive in order.
        let mut inputs = self.gate.high.lock();
        if self.high.swap(high, Ordering::Relaxed) == high {
            return;
        }
        let before = *inputs;
        *inputs = if high { before + 1 } else { before - 1 };
        if (before == 0) != (*inputs == 0) {
            for output in &self.gate.outputs {
                output.set(*inputs != 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Level;

    #[test]
    fn gate_is_high_while_any_input_is() {
        let (one, two) = (Arc::new(Level::default()), Arc::new(Level::default()));
        let gate = OrGate::new(vec![one.clone(), two.clone()]);
        let (a, b) = (gate.input(), gate.input());
        a.set(true);
        a.set(true);
        b.set(true);
        a.set(false);
        assert!(one.high() && two.high());
        a.set(false);
        b.set(false);
        assert!(!one.high() && !two.high());
        assert_eq!(one.rises(), 1);
        b.pulse();
        assert_eq!((one.high(), one.rises()), (false, 2));
    }
}

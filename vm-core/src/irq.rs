//! Interrupt lines.

/// A level-triggered interrupt input of a controller or a virtual CPU.
pub trait IrqLine: Send + Sync {
    /// Drives the line high (asserted) or low. Repeating a level has no effect.
    fn set(&self, high: bool);
}

/// A line that leads nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIrq;

impl IrqLine for NoIrq {
    fn set(&self, _high: bool) {}
}

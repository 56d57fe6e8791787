//! Interrupt lines.

/// A level-triggered interrupt input of a controller or a virtual CPU.
pub trait IrqLine: Send + Sync {
    /// Drives the line high (asserted) or low. Repeating a level has no effect.
    fn set(&self, high: bool);

    /// Asks for one interrupt, whatever the level: an edge. A controller whose input is waiting for the end of an earlier
    /// interrupt remembers it until then; edges that nobody has noticed yet count once. A line without such a memory is
    /// low afterwards.
    fn pulse(&self) {
        self.set(true);
        self.set(false);
    }
}

/// A line that leads nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIrq;

impl IrqLine for NoIrq {
    fn set(&self, _high: bool) {}
}

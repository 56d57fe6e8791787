//! Character streams between a serial or console device and whatever the host connects to it.

use std::sync::Arc;

/// Where a device's output goes (terminal, file, socket).
pub trait CharSink: Send + Sync {
    /// Takes all bytes; called on a virtual CPU or device thread, so it must not block for long.
    fn write(&self, bytes: &[u8]);

    /// The machine is to stop: a sink that waits for a slow reader waits no longer, in this call of `write` and in all
    /// to come.
    fn hurry(&self) {}
}

/// A device that takes input characters.
pub trait CharInput: Send + Sync {
    /// Offers bytes typed at the host's end. Returns how many were taken; offer the rest after the
    /// [ready](CharInput::on_ready) call.
    fn offer(&self, bytes: &[u8]) -> usize;
    /// Names who is told when room has appeared after an offer was cut short.
    fn on_ready(&self, ready: Arc<dyn Fn() + Send + Sync>);
}

/// Output that is thrown away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl CharSink for NoSink {
    fn write(&self, _bytes: &[u8]) {}
}

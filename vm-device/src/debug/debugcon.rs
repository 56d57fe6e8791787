//! The debug port of Bochs and QEMU (QEMU `isa-debugcon`): firmware writes its log to it.

use std::sync::Arc;

use vm_core::AccessWidth;

use crate::BusDevice;
use crate::chardev::CharSink;

/// The port that SeaBIOS and OVMF use; it has one byte.
pub const PORT: u64 = 0x402;
/// What it reads, by which firmware knows that it is there.
pub const PRESENT: u8 = 0xe9;

/// A debug port. It has no state.
pub struct DebugCon(Arc<dyn CharSink>);

impl DebugCon {
    /// A port whose bytes go to `sink`.
    pub fn new(sink: Arc<dyn CharSink>) -> Self {
        Self(sink)
    }
}

impl BusDevice for DebugCon {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        PRESENT.into()
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        self.0.write(&[value as u8]);
    }

    fn reset(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Collect;

    #[test]
    fn bytes_reach_the_sink() {
        let sink = Arc::new(Collect::default());
        let port = DebugCon::new(sink.clone());
        assert_eq!(port.read(0, AccessWidth::Byte), 0xe9);
        for byte in b"log" {
            port.write(0, AccessWidth::Byte, (*byte).into());
        }
        assert_eq!(sink.take(), b"log");
    }
}

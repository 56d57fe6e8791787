//! The SiFive test finisher, which the RISC-V `virt` machine has for power-off and reboot.
//!
//! It has no state, so nothing is saved or reset.

pub mod spec;

use vm_core::AccessWidth;

use crate::BusDevice;
use spec::{FINISHER, FINISHER_FAIL, FINISHER_PASS, FINISHER_RESET};

/// What the guest asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// Turn off; all went well.
    PowerOff,
    /// Turn off; something failed with this code.
    Fail(u16),
    /// Restart.
    Reset,
}

/// A test finisher. Takes aligned two- and four-byte writes; reads as zero.
pub struct SifiveTest {
    finish: Box<dyn Fn(Finish) + Send + Sync>,
}

impl SifiveTest {
    /// A finisher that calls `finish` on the virtual CPU's thread, which returns: the guest may run on for a
    /// few instructions.
    pub fn new(finish: Box<dyn Fn(Finish) + Send + Sync>) -> Self {
        Self { finish }
    }
}

impl BusDevice for SifiveTest {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        0
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if offset != FINISHER || !matches!(width, AccessWidth::Half | AccessWidth::Word) {
            return;
        }
        let code = (value >> 16) as u16;
        match value as u16 {
            FINISHER_PASS => (self.finish)(Finish::PowerOff),
            FINISHER_FAIL => (self.finish)(Finish::Fail(code)),
            FINISHER_RESET => (self.finish)(Finish::Reset),
            _ => {}
        }
    }

    fn reset(&self) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    fn finisher() -> (SifiveTest, Arc<Mutex<Vec<Finish>>>) {
        let log = Arc::new(Mutex::new(Vec::new()));
        let into = log.clone();
        (
            SifiveTest::new(Box::new(move |finish| into.lock().push(finish))),
            log,
        )
    }

    #[test]
    fn write_of_each_command_is_reported() {
        let (device, log) = finisher();
        for value in [0x5555, 0x0007_3333, 0x7777, 0x1234, 0x5556] {
            device.write(FINISHER, AccessWidth::Word, value);
        }
        device.write(FINISHER, AccessWidth::Half, 0x3333);
        assert_eq!(
            *log.lock(),
            [
                Finish::PowerOff,
                Finish::Fail(7),
                Finish::Reset,
                Finish::Fail(0)
            ]
        );
    }

    #[test]
    fn write_elsewhere_or_of_other_width_is_ignored() {
        let (device, log) = finisher();
        device.write(4, AccessWidth::Word, 0x5555);
        device.write(FINISHER, AccessWidth::Byte, 0x55);
        device.write(FINISHER, AccessWidth::Double, 0x5555);
        assert!(log.lock().is_empty());
        assert_eq!(device.read(FINISHER, AccessWidth::Word), 0);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_any_script_never_panics(script in crate::testing::script()) {
            crate::fuzzing::drive(&finisher().0, spec::RANGE_BYTES, &script);
        }
    }
}

//! Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2), and the reset control register that lies among its ports
//! (Intel ICH9 data sheet, 13.7.5).

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::AccessWidth;

use super::PciRoot;
use super::spec::FUNCTION_BYTES;
use crate::BusDevice;
use crate::power::{SystemEvent, SystemEvents};

/// First port.
pub const PORT: u64 = 0xcf8;
/// Ports: four of the address, four of the data.
pub const RANGE_BYTES: u64 = 8;
/// Offset of the data.
const DATA: u64 = 4;
/// Offset of the reset control register.
const RESET_CONTROL: u64 = 1;
/// Address: the access is one to configuration space.
const ENABLE: u32 = 1 << 31;
/// Bits of the address that are kept.
const ADDRESS_KEPT: u32 = ENABLE | 0x00ff_fffc;
/// Reset control: a change from 0 to 1 restarts.
const RESET_CPU: u8 = 1 << 2;
/// Reset control: bits that are kept.
const RESET_KEPT: u8 = 0x0e;

#[derive(Default)]
struct State {
    address: u32,
    reset_control: u8,
}

/// The ports.
pub struct ConfigPorts {
    root: Arc<PciRoot>,
    events: SystemEvents,
    state: Mutex<State>,
}

impl ConfigPorts {
    /// Ports onto the configuration space of `root`'s functions, to be placed at [`PORT`] for [`RANGE_BYTES`]. A reset of
    /// this device resets all functions. `events` is told of resets.
    pub fn new(root: &Arc<PciRoot>, events: SystemEvents) -> Arc<Self> {
        Arc::new(Self {
            root: root.clone(),
            events,
            state: Mutex::default(),
        })
    }

    /// The ECAM offset of the data port `at` of four.
    fn target(&self, at: u64) -> Option<u64> {
        let address = self.state.lock().address;
        let function = u64::from(address >> 8 & 0xffff);
        let register = u64::from(address & 0xfc) + at;
        (address & ENABLE != 0).then_some(function * FUNCTION_BYTES + register)
    }
}

/// Whether an access to the data port is one that functions take as it is.
fn is_aligned(at: u64, width: AccessWidth) -> bool {
    width <= AccessWidth::Word && at.is_multiple_of(width.bytes())
}

impl BusDevice for ConfigPorts {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if offset < DATA {
            let state = self.state.lock();
            return match (offset, width) {
                (0, AccessWidth::Word) => state.address.into(),
                (RESET_CONTROL, AccessWidth::Byte) => state.reset_control.into(),
                _ => width.mask(),
            };
        }
        let at = offset - DATA;
        match self.target(at) {
            None => width.mask(),
            Some(target) if is_aligned(at, width) => self.root.read_config(target, width),
            // What crosses no double word is a part of one.
            Some(target) => self.root.read_config(target - at, AccessWidth::Word) >> (8 * at),
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if offset >= DATA {
            let at = offset - DATA;
            let Some(target) = self.target(at) else {
                return;
            };
            if is_aligned(at, width) {
                return self.root.write_config(target, width, value);
            }
            let bytes = value.to_le_bytes();
            for (target, &byte) in (target..).zip(&bytes[..width.bytes() as usize]) {
                self.root
                    .write_config(target, AccessWidth::Byte, byte.into());
            }
            return;
        }
        let mut state = self.state.lock();
        match (offset, width) {
            (0, AccessWidth::Word) => state.address = value as u32 & ADDRESS_KEPT,
            (RESET_CONTROL, AccessWidth::Byte) => {
                let new = value as u8;
                let old = std::mem::replace(&mut state.reset_control, new & RESET_KEPT);
                drop(state);
                if new & !old & RESET_CPU != 0 {
                    (self.events)(SystemEvent::Reset);
                }
            }
            _ => {}
        }
    }

    fn reset(&self) {
        *self.state.lock() = State::default();
        self.root.reset();
    }
}

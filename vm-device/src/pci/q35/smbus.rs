//! The SMBus controller with nothing connected: every transfer ends with nobody answering.

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

use super::spec::smbus::*;
use crate::pci::spec::{command, reg};
use crate::pci::{BarKind, ConfigSpace, Identity, IntxPin, Mapping, PciFunction};

/// The SMBus controller, function 3 of slot 31.
pub struct Smbus {
    config: Mutex<ConfigSpace>,
    ports: Mutex<[u8; BAR_BYTES as usize]>,
    pin: Arc<IntxPin>,
}

impl Smbus {
    /// A controller whose pin INTB drives `intx` ([`super::Lpc::pirq`] 1).
    pub fn new(intx: Arc<dyn IrqLine>) -> Arc<Self> {
        let mut config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: REVISION,
            class: CLASS,
            subsystem: (0x1af4, 0x1100),
        })
        .with_interrupt_pin(1)
        .with_bar(BAR, BarKind::Io, BAR_BYTES);
        config.add_register(HOST_CONFIGURATION, &[0], &[0x1f]);
        Arc::new(Self {
            config: Mutex::new(config),
            ports: Mutex::new([0; BAR_BYTES as usize]),
            pin: IntxPin::new(intx),
        })
    }

    fn drive(&self, ports: &[u8; BAR_BYTES as usize]) {
        let done = ports[STATUS as usize] & DEVICE_ERROR != 0;
        self.pin
            .set(done && ports[CONTROL as usize] & INTERRUPT != 0);
    }
}

impl PciFunction for Smbus {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.config.lock().read(offset, width)
    }

    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        let mut config = self.config.lock();
        config.write(offset, width, value);
        if offset < reg::STATUS {
            self.pin
                .set_disabled(config.command() & command::INTX_DISABLE != 0);
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.config.lock().mappings().collect()
    }

    fn read_bar(&self, _bar: u8, offset: u64, width: AccessWidth) -> u64 {
        let ports = self.ports.lock();
        (0..width.bytes()).fold(0, |value, at| {
            let byte = ports.get((offset + at) as usize).copied().unwrap_or(0);
            value | u64::from(byte) << (8 * at)
        })
    }

    fn write_bar(&self, _bar: u8, offset: u64, width: AccessWidth, value: u64) {
        let mut ports = self.ports.lock();
        let bytes = value.to_le_bytes();
        for (at, &byte) in (offset..).zip(&bytes[..width.bytes() as usize]) {
            match at {
                STATUS => ports[STATUS as usize] &= !(byte & CLEARABLE),
                CONTROL => {
                    ports[CONTROL as usize] = byte & !START;
                    if byte & START != 0 {
                        ports[STATUS as usize] |= DEVICE_ERROR;
                    }
                }
                _ => {
                    if let Some(cell) = ports.get_mut(at as usize) {
                        *cell = byte;
                    }
                }
            }
        }
        self.drive(&ports);
    }

    fn reset(&self) {
        self.config.lock().reset();
        let mut ports = self.ports.lock();
        *ports = [0; BAR_BYTES as usize];
        self.drive(&ports);
        self.pin.set_disabled(false);
    }
}

//! The two cascaded 8259A interrupt controllers of a PC.
//!
//! One lock covers both, so that an acknowledge cycle is one step. The output is driven under it.

mod chip;
mod save;
pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

pub use save::SavedState;

use super::ExternalController;
use crate::BusDevice;
use chip::Chip;
use spec::*;

/// Which of the two.
const MASTER: usize = 0;
const SLAVE: usize = 1;

struct Core {
    chips: Mutex<[Chip; 2]>,
    intr: Arc<dyn IrqLine>,
}

impl Core {
    /// Makes a change, then drives the slave's output into the master and the master's out.
    fn with<R>(&self, change: impl FnOnce(&mut [Chip; 2]) -> R) -> R {
        let mut chips = self.chips.lock();
        let result = change(&mut chips);
        let cascade = chips[SLAVE].pending(false).is_some();
        chips[MASTER].set_input(CASCADE, cascade);
        self.intr.set(chips[MASTER].pending(true).is_some());
        result
    }
}

/// Both controllers. They answer at [`MASTER_PORT`] ([`I8259::master`]), [`SLAVE_PORT`] ([`I8259::slave`]) and
/// [`ELCR_PORT`] ([`I8259::elcr`]), each for [`RANGE_BYTES`].
pub struct I8259 {
    core: Arc<Core>,
}

impl I8259 {
    /// Controllers after power-on. `intr` is the output: [`super::lapic::ApicBus::lint`] 0, whose
    /// [`super::lapic::ApicBus::set_external`] gets this in turn.
    pub fn new(intr: Arc<dyn IrqLine>) -> Arc<Self> {
        let core = Arc::new(Core {
            chips: Mutex::new([Chip::POWER_ON; 2]),
            intr,
        });
        Arc::new(Self { core })
    }

    /// Input `irq`, 0 to 15; 2 leads nowhere. Whoever asks twice gets two handles of one level.
    pub fn input(&self, irq: u8) -> Arc<dyn IrqLine> {
        Arc::new(Input {
            core: self.core.clone(),
            irq: irq & 15,
        })
    }

    /// The master's ports. They keep the controllers for whoever knows them as the [`ExternalController`].
    pub fn master(self: &Arc<Self>) -> Arc<dyn BusDevice> {
        self.ports(MASTER)
    }

    /// The slave's ports.
    pub fn slave(self: &Arc<Self>) -> Arc<dyn BusDevice> {
        self.ports(SLAVE)
    }

    fn ports(self: &Arc<Self>, chip: usize) -> Arc<dyn BusDevice> {
        Arc::new(Ports {
            pic: self.clone(),
            chip,
        })
    }

    /// The ports of the edge/level registers.
    pub fn elcr(self: &Arc<Self>) -> Arc<dyn BusDevice> {
        Arc::new(Elcr(self.clone()))
    }
}

impl ExternalController for I8259 {
    /// An interrupt that went away is input 7 of the chip that was asked, and not in service (data sheet, "Interrupt
    /// Sequence").
    fn acknowledge(&self) -> u8 {
        self.core.with(|chips| {
            let Some(input) = chips[MASTER].pending(true) else {
                return chips[MASTER].vector(SPURIOUS);
            };
            chips[MASTER].acknowledge(input);
            if input != CASCADE {
                return chips[MASTER].vector(input);
            }
            let Some(input) = chips[SLAVE].pending(false) else {
                return chips[SLAVE].vector(SPURIOUS);
            };
            chips[SLAVE].acknowledge(input);
            chips[SLAVE].vector(input)
        })
    }
}

struct Input {
    core: Arc<Core>,
    irq: u8,
}

impl IrqLine for Input {
    fn set(&self, high: bool) {
        if self.irq != CASCADE {
            let chip = usize::from(self.irq / 8);
            self.core
                .with(|chips| chips[chip].set_input(self.irq % 8, high));
        }
    }
}

struct Ports {
    pic: Arc<I8259>,
    chip: usize,
}

impl BusDevice for Ports {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if width != AccessWidth::Byte {
            return width.mask();
        }
        let is_master = self.chip == MASTER;
        self.pic
            .core
            .with(|chips| chips[self.chip].read(offset & 1 != 0, is_master))
            .into()
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if width == AccessWidth::Byte {
            self.pic
                .core
                .with(|chips| chips[self.chip].write(offset & 1 != 0, value as u8));
        }
    }

    fn reset(&self) {
        self.pic.core.with(|chips| chips[self.chip].reset());
    }
}

struct Elcr(Arc<I8259>);

impl BusDevice for Elcr {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let chips = self.0.core.chips.lock();
        let both = u64::from(chips[MASTER].elcr()) | u64::from(chips[SLAVE].elcr()) << 8;
        both >> (8 * (offset & 1)) & width.mask()
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        self.0.core.with(|chips| {
            let bytes = value.to_le_bytes();
            let chosen = chips
                .iter_mut()
                .zip(ELCR_WRITABLE)
                .skip(offset as usize & 1);
            for ((chip, writable), byte) in chosen.zip(&bytes[..width.bytes() as usize]) {
                chip.set_elcr(byte & writable);
            }
        });
    }

    /// The controllers do it.
    fn reset(&self) {}
}

#[cfg(test)]
mod tests;

//! The I/O APIC of a PC, with 24 inputs (Intel 82093AA; the version of Intel's ICH9).
//!
//! A line that is driven high is asserted, so the polarity that a guest sets is remembered and changes nothing.

mod save;
pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, IrqLine};

pub use save::SavedState;

use super::lapic::spec::mode;
use super::lapic::{ApicBus, Destination, EoiListener, Message};
use crate::BusDevice;
use spec::*;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Registers {
    id: u8,
    select: u8,
    entries: [u64; INPUTS as usize],
    /// Levels of the inputs.
    levels: u32,
}

impl Registers {
    const POWER_ON: Self = Self {
        id: 0,
        select: 0,
        entries: [entry::MASKED; INPUTS as usize],
        levels: 0,
    };
}

struct Core {
    bus: Arc<ApicBus>,
    registers: Mutex<Registers>,
}

/// Whether an entry's interrupts are levels that have to be ended.
fn is_level(entry: u64) -> bool {
    entry & entry::LEVEL != 0 && matches!((entry >> 8 & 7) as u8, mode::FIXED | mode::LOWEST)
}

impl Core {
    fn send(&self, entry: u64) {
        let destination = (entry >> entry::DESTINATION_SHIFT) as u32;
        self.bus.deliver(&Message {
            to: Destination::narrow(destination, entry & entry::LOGICAL != 0),
            mode: (entry >> 8 & 7) as u8,
            vector: entry as u8,
            level: is_level(entry),
            assert: true,
        });
    }

    /// Sends a level that is high and not on its way already.
    fn sample(&self, registers: &mut Registers, input: usize) {
        let entry = &mut registers.entries[input];
        let quiet = *entry & (entry::MASKED | entry::REMOTE_IRR) == 0;
        if quiet && is_level(*entry) && registers.levels >> input & 1 != 0 {
            *entry |= entry::REMOTE_IRR;
            self.send(*entry);
        }
    }

    fn set_level(&self, input: usize, high: bool) {
        let mut registers = self.registers.lock();
        if (registers.levels >> input & 1 != 0) == high {
            return;
        }
        registers.levels ^= 1 << input;
        if !high {
            return;
        }
        let entry = registers.entries[input];
        if is_level(entry) {
            self.sample(&mut registers, input);
        } else if entry & entry::MASKED == 0 {
            // Edges at a masked input are lost (82093AA, 3.2.4, "Interrupt Mask").
            self.send(entry);
        }
    }

    fn end(&self, registers: &mut Registers, vector: u8) {
        for input in 0..registers.entries.len() {
            let entry = &mut registers.entries[input];
            if *entry as u8 == vector && *entry & entry::REMOTE_IRR != 0 {
                *entry &= !entry::REMOTE_IRR;
                self.sample(registers, input);
            }
        }
    }

    fn read(&self, register: u8) -> u32 {
        let registers = self.registers.lock();
        match register {
            ID | ARBITRATION => u32::from(registers.id) << 24,
            VERSION => VERSION_VALUE,
            _ => {
                let at = register.wrapping_sub(REDIRECTION);
                let entry = registers.entries.get(usize::from(at / 2));
                let entry = entry.copied().unwrap_or(0);
                (entry >> (32 * (at % 2))) as u32
            }
        }
    }

    fn write(&self, registers: &mut Registers, value: u32) {
        let register = registers.select;
        if register == ID {
            registers.id = (value >> 24 & 0xf) as u8;
            return;
        }
        let at = register.wrapping_sub(REDIRECTION);
        let input = usize::from(at / 2);
        let Some(entry) = registers.entries.get_mut(input) else {
            return;
        };
        let shift = 32 * (at % 2);
        let half = 0xffff_ffff << shift & entry::WRITABLE;
        *entry = *entry & !half | u64::from(value) << shift & half;
        if !is_level(*entry) {
            // What is an edge from now on is not waited for any more.
            *entry &= !entry::REMOTE_IRR;
        }
        self.sample(registers, input);
    }
}

impl EoiListener for Core {
    fn end_of_interrupt(&self, vector: u8) {
        self.end(&mut self.registers.lock(), vector);
    }
}

/// An I/O APIC. Its place is [`DEFAULT_BASE`], for [`RANGE_BYTES`].
pub struct IoApic {
    core: Arc<Core>,
}

impl IoApic {
    /// An I/O APIC after power-on that sends over `bus` and hears the ends of interrupts from it.
    pub fn new(bus: &Arc<ApicBus>) -> Arc<Self> {
        let core = Arc::new(Core {
            bus: bus.clone(),
            registers: Mutex::new(Registers::POWER_ON),
        });
        let listener: Weak<dyn EoiListener> =
            Arc::downgrade(&(core.clone() as Arc<dyn EoiListener>));
        bus.listen(listener);
        Arc::new(Self { core })
    }

    /// Input `number`. Whoever asks twice gets two handles of one level: devices that share an input do so through an
    /// [`OrGate`](super::OrGate).
    ///
    /// # Panics
    /// When the input does not exist: the machine is wired wrongly.
    pub fn input(&self, number: u8) -> Arc<dyn IrqLine> {
        assert!(number < INPUTS, "invariant: I/O APIC input {number} exists");
        Arc::new(Input {
            core: self.core.clone(),
            number: usize::from(number),
        })
    }
}

struct Input {
    core: Arc<Core>,
    number: usize,
}

impl IrqLine for Input {
    fn set(&self, high: bool) {
        self.core.set_level(self.number, high);
    }
}

impl BusDevice for IoApic {
    fn read(&self, offset: u64, _width: AccessWidth) -> u64 {
        match offset {
            SELECT => self.core.registers.lock().select.into(),
            DATA => {
                let select = self.core.registers.lock().select;
                self.core.read(select).into()
            }
            _ => 0,
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let mut registers = self.core.registers.lock();
        match offset {
            SELECT => registers.select = value as u8,
            DATA if width >= AccessWidth::Word => self.core.write(&mut registers, value as u32),
            EOI => self.core.end(&mut registers, value as u8),
            _ => {}
        }
    }

    /// The inputs are wires, not state.
    fn reset(&self) {
        let mut registers = self.core.registers.lock();
        *registers = Registers {
            levels: registers.levels,
            ..Registers::POWER_ON
        };
    }
}

#[cfg(test)]
mod tests;

//! The ACPI power management block of a PC: power button, sleep control, timer, general-purpose events.
//!
//! What it refuses to do: sleep other than turning off, and system management mode: the command port carries out what the
//! handler of a real PC's firmware would.

pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine, TimeBase};

use super::{SystemEvent, SystemEvents};
use crate::BusDevice;
use crate::state::{RestoreError, Saved};
use spec::*;

const DEVICE: &str = "acpi-pm";
const VERSION: u32 = 1;

/// The registers of the block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registers {
    status: u16,
    enable: u16,
    control: u16,
    gpe_status: u64,
    gpe_enable: u64,
    smi_enable: u32,
    command: [u8; 2],
    /// Changes of the timer's most significant bit until the last look.
    half_periods: u64,
}

impl Registers {
    fn power_on(half_periods: u64) -> Self {
        Self {
            status: 0,
            enable: 0,
            control: 0,
            gpe_status: 0,
            gpe_enable: 0,
            smi_enable: SMI_ENABLE_RESET,
            command: [0; 2],
            half_periods,
        }
    }

    /// The 128 bytes of the block's first registers as they read.
    fn bytes(&self, timer: u32) -> [u8; 0x38] {
        let mut bytes = [0; 0x38];
        let mut put = |at: u64, value: &[u8]| {
            bytes[at as usize..][..value.len()].copy_from_slice(value);
        };
        put(PM1_STATUS, &self.status.to_le_bytes());
        put(PM1_ENABLE, &self.enable.to_le_bytes());
        put(PM1_CONTROL, &self.control.to_le_bytes());
        put(TIMER, &timer.to_le_bytes());
        put(GPE0_STATUS, &self.gpe_status.to_le_bytes());
        put(GPE0_ENABLE, &self.gpe_enable.to_le_bytes());
        put(SMI_ENABLE, &self.smi_enable.to_le_bytes());
        bytes
    }
}

struct Core {
    registers: Mutex<Registers>,
    time: TimeBase,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
    sci: Arc<dyn IrqLine>,
    events: SystemEvents,
}

impl Core {
    fn half_periods(&self) -> u64 {
        self.time.ticks() >> (TIMER_BITS - 1)
    }

    /// Notes a change of the timer's most significant bit, sets the alarm for the next if it interrupts, drives the line.
    fn update(&self, registers: &mut Registers) {
        let now = self.half_periods();
        if now != registers.half_periods {
            registers.half_periods = now;
            registers.status |= pm1::TIMER;
        }
        let waits = registers.enable & pm1::TIMER != 0 && registers.status & pm1::TIMER == 0;
        let next = (now + 1) << (TIMER_BITS - 1);
        self.alarm
            .arm(waits.then(|| self.time.deadline_ns(next)).flatten());
        let happened = registers.status & registers.enable & pm1::ENABLES != 0
            || registers.gpe_status & registers.gpe_enable != 0;
        self.sci
            .set(happened && registers.control & control::SCI_ENABLE != 0);
    }

    fn with<R>(&self, change: impl FnOnce(&mut Registers) -> R) -> R {
        let mut registers = self.registers.lock();
        let half_periods = self.half_periods();
        if half_periods != registers.half_periods {
            registers.half_periods = half_periods;
            registers.status |= pm1::TIMER;
        }
        let result = change(&mut registers);
        self.update(&mut registers);
        result
    }

    /// Writes one byte; true when the machine is to be turned off.
    fn write_byte(registers: &mut Registers, offset: u64, byte: u8) -> bool {
        let put16 = |register: &mut u16, at: u64, mask: u16| {
            let shift = 8 * at;
            let half = 0xff << shift & mask;
            *register = *register & !half | u16::from(byte) << shift & half;
        };
        let put64 = |register: &mut u64, at: u64| {
            *register = *register & !(0xff << (8 * at)) | u64::from(byte) << (8 * at);
        };
        match offset {
            PM1_STATUS..PM1_ENABLE => registers.status &= !(u16::from(byte) << (8 * offset)),
            PM1_ENABLE..PM1_CONTROL => {
                put16(&mut registers.enable, offset - PM1_ENABLE, pm1::ENABLES);
            }
            PM1_CONTROL => put16(&mut registers.control, 0, control::KEPT),
            // The second byte has the type of sleep and what starts it.
            0x05 => {
                put16(&mut registers.control, 1, control::KEPT);
                let sleeps = u16::from(byte) << 8 & control::SLEEP_ENABLE != 0;
                let kind = registers.control >> control::SLEEP_TYPE_SHIFT & 7;
                return sleeps && control::SOFT_OFF.contains(&kind);
            }
            _ if (GPE0_STATUS..GPE0_STATUS + GPE0_BYTES).contains(&offset) => {
                registers.gpe_status &= !(u64::from(byte) << (8 * (offset - GPE0_STATUS)));
            }
            _ if (GPE0_ENABLE..GPE0_ENABLE + GPE0_BYTES).contains(&offset) => {
                put64(&mut registers.gpe_enable, offset - GPE0_ENABLE);
            }
            _ if (SMI_ENABLE..SMI_ENABLE + 4).contains(&offset) => {
                let shift = 8 * (offset - SMI_ENABLE);
                let kept = registers.smi_enable & !(0xff << shift);
                registers.smi_enable = kept | u32::from(byte) << shift;
            }
            _ => {}
        }
        false
    }
}

/// The power management block. Its registers take accesses of any width; [`AcpiPm::command_ports`] is apart.
pub struct AcpiPm {
    core: Arc<Core>,
}

impl AcpiPm {
    /// A block whose timer follows `clock`, as `alarms` must, with the system control interrupt on `sci` (IRQ 9, a
    /// level), that tells `events` when the guest turns the machine off. The machine places it for [`RANGE_BYTES`] ports
    /// where the ICH9's LPC bridge says.
    pub fn new(
        clock: Arc<dyn Clock>,
        alarms: &dyn Alarms,
        sci: Arc<dyn IrqLine>,
        events: SystemEvents,
    ) -> Arc<Self> {
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let weak = weak.clone();
            let fire = move || {
                if let Some(core) = weak.upgrade() {
                    core.update(&mut core.registers.lock());
                }
            };
            Core {
                registers: Mutex::new(Registers::power_on(0)),
                time: TimeBase::new(clock.clone(), TIMER_HZ),
                clock,
                alarm: alarms.alarm(Box::new(fire)),
                sci,
                events,
            }
        });
        Arc::new(Self { core })
    }

    /// The user pressed the power button: an interrupt for whoever handles it.
    pub fn press_power_button(&self) {
        self.core
            .with(|registers| registers.status |= pm1::POWER_BUTTON);
    }

    /// Whether the guest would hear of the power button.
    pub fn hears_power_button(&self) -> bool {
        let registers = self.core.registers.lock();
        registers.enable & pm1::POWER_BUTTON != 0 && registers.control & control::SCI_ENABLE != 0
    }

    /// Raises general-purpose event `number`, 0 to 63.
    pub fn raise_event(&self, number: u8) {
        self.core
            .with(|registers| registers.gpe_status |= 1 << (number & 63));
    }

    /// The command and status ports at [`COMMAND_PORT`].
    pub fn command_ports(&self) -> Arc<dyn BusDevice> {
        Arc::new(CommandPorts(self.core.clone()))
    }

    /// Everything that a guest could tell apart.
    pub fn save(&self) -> Saved<Registers> {
        let registers = self.core.registers.lock().clone();
        Saved::new(VERSION, self.core.clock.now_ns(), registers)
    }

    /// Takes a saved state over. The timer is a view of the virtual clock, which whoever restores sets.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: Saved<Registers>) -> Result<(), RestoreError> {
        let (registers, _) = saved.open(DEVICE, VERSION, self.core.clock.now_ns())?;
        let mut own = self.core.registers.lock();
        *own = registers;
        own.half_periods = self.core.half_periods();
        self.core.update(&mut own);
        Ok(())
    }
}

impl BusDevice for AcpiPm {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let timer = self.core.time.ticks() as u32 & ((1 << TIMER_BITS) - 1);
        let bytes = match (offset, width) {
            // What is read most, without a lock.
            (TIMER, AccessWidth::Word) => return timer.into(),
            _ => self.core.with(|registers| registers.bytes(timer)),
        };
        (0..width.bytes()).fold(0, |value, at| {
            let byte = bytes.get((offset + at) as usize).copied().unwrap_or(0);
            value | u64::from(byte) << (8 * at)
        })
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let bytes = value.to_le_bytes();
        let off = self.core.with(|registers| {
            (offset..)
                .zip(&bytes[..width.bytes() as usize])
                .fold(false, |off, (at, &byte)| {
                    Core::write_byte(registers, at, byte) | off
                })
        });
        if off {
            (self.core.events)(SystemEvent::PowerOff);
        }
    }

    fn reset(&self) {
        self.core
            .with(|registers| *registers = Registers::power_on(registers.half_periods));
    }
}

struct CommandPorts(Arc<Core>);

impl BusDevice for CommandPorts {
    fn read(&self, offset: u64, _width: AccessWidth) -> u64 {
        self.0.registers.lock().command[offset as usize & 1].into()
    }

    fn write(&self, offset: u64, _width: AccessWidth, value: u64) {
        self.0.with(|registers| {
            registers.command[offset as usize & 1] = value as u8;
            match (offset, value as u8) {
                (0, ACPI_ENABLE) => registers.control |= control::SCI_ENABLE,
                (0, ACPI_DISABLE) => registers.control &= !control::SCI_ENABLE,
                _ => {}
            }
        });
    }

    /// The block does it.
    fn reset(&self) {}
}

#[cfg(test)]
mod tests;

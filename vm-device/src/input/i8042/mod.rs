//! The 8042 keyboard controller of a PC, with a keyboard and a mouse.
//!
//! DEVIATION: address line 20 is always on, whatever the output port says (see [`crate::power::port92`]).

mod codes_table;
mod keyboard;
mod mouse;
pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, IrqLine};

use crate::BusDevice;
use crate::power::{SystemEvent, SystemEvents};
use crate::state::{RestoreError, Saved};
use keyboard::{Keyboard, translate};
use mouse::Mouse;
use spec::{INPUT_VALUE, LINE_PASSED, SELF_TEST_PASSED, command, mode, output, status};

const DEVICE: &str = "i8042";
const VERSION: u32 = 1;

/// Bytes of memory that the controller's commands reach, the command byte included.
const RAM_BYTES: usize = 32;

/// Where a byte comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Aux,
}

/// Everything: the controller, what it holds for the guest, and both devices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registers {
    /// The command byte, then memory.
    ram: [u8; RAM_BYTES],
    output_port: u8,
    /// The command whose data byte is to come.
    awaits: Option<u8>,
    last_was_command: bool,
    passed: bool,
    /// The byte to be read, and whose it is.
    buffer: Option<(u8, Source)>,
    last: u8,
    /// The next byte of the keyboard is of a key that was released.
    releases: bool,
    keyboard: Keyboard,
    mouse: Mouse,
}

impl Registers {
    fn power_on() -> Self {
        let mut ram = [0; RAM_BYTES];
        ram[0] = mode::RESET;
        Self {
            ram,
            output_port: output::RESET,
            awaits: None,
            last_was_command: false,
            passed: false,
            buffer: None,
            last: 0,
            releases: false,
            keyboard: Keyboard::power_on(),
            mouse: Mouse::power_on(),
        }
    }

    fn is(&self, bit: u8) -> bool {
        self.ram[0] & bit != 0
    }

    /// The next byte of the keyboard as the guest is to see it.
    fn next_of_keyboard(&mut self) -> Option<u8> {
        let byte = self.keyboard.pop()?;
        if !self.is(mode::TRANSLATE) {
            self.releases = false;
            return Some(byte);
        }
        if byte == 0xf0 {
            // Becomes the top bit of the next.
            self.releases = true;
            return self.next_of_keyboard();
        }
        let released = if std::mem::take(&mut self.releases) {
            0x80
        } else {
            0
        };
        Some(translate(byte) | released)
    }

    /// Fetches a byte when there is none to read.
    fn refill(&mut self) {
        if self.buffer.is_none() && !self.is(mode::KEYBOARD_OFF) {
            self.buffer = self.next_of_keyboard().map(|byte| (byte, Source::Keyboard));
        }
        if self.buffer.is_none() && !self.is(mode::AUX_OFF) {
            self.buffer = self.mouse.pop().map(|byte| (byte, Source::Aux));
        }
    }

    fn answer(&mut self, byte: u8) {
        self.buffer = Some((byte, Source::Keyboard));
    }

    fn status(&self) -> u8 {
        let full = match self.buffer {
            None => 0,
            Some((_, Source::Keyboard)) => status::OUTPUT_FULL,
            Some((_, Source::Aux)) => status::OUTPUT_FULL | status::FROM_AUX,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        full | status::UNLOCKED
            | flag(self.passed || self.is(mode::SYSTEM), status::SYSTEM)
            | flag(self.last_was_command, status::COMMAND)
    }

    /// Takes a command; true when it resets the machine.
    fn command(&mut self, code: u8) -> bool {
        self.last_was_command = true;
        self.awaits = None;
        match code {
            command::READ_MODE..=command::READ_RAM_LAST => {
                self.answer(self.ram[usize::from(code) % RAM_BYTES]);
            }
            command::WRITE_MODE..=command::WRITE_RAM_LAST
            | command::WRITE_OUTPUT
            | command::AS_KEYBOARD
            | command::AS_AUX
            | command::TO_AUX => self.awaits = Some(code),
            command::AUX_OFF => self.ram[0] |= mode::AUX_OFF,
            command::AUX_ON => self.ram[0] &= !mode::AUX_OFF,
            command::AUX_TEST | command::KEYBOARD_TEST => self.answer(LINE_PASSED),
            command::SELF_TEST => {
                self.passed = true;
                self.answer(SELF_TEST_PASSED);
            }
            command::KEYBOARD_OFF => self.ram[0] |= mode::KEYBOARD_OFF,
            command::KEYBOARD_ON => self.ram[0] &= !mode::KEYBOARD_OFF,
            command::READ_INPUT => self.answer(INPUT_VALUE),
            command::READ_OUTPUT => self.answer(self.output_port),
            command::A20_OFF => self.output_port &= !output::A20,
            command::A20_ON => self.output_port |= output::A20,
            command::PULSE.. => return code & output::RUN == 0,
            _ => {}
        }
        false
    }

    /// Takes a data byte; true when it resets the machine.
    fn data(&mut self, byte: u8) -> bool {
        self.last_was_command = false;
        match self.awaits.take() {
            None => {
                // Whoever talks to the keyboard lets go of its line.
                self.ram[0] &= !mode::KEYBOARD_OFF;
                self.keyboard.write(byte);
            }
            Some(code @ command::WRITE_MODE..=command::WRITE_RAM_LAST) => {
                self.ram[usize::from(code) % RAM_BYTES] = byte;
            }
            Some(command::WRITE_OUTPUT) => {
                self.output_port = byte | output::RUN;
                return byte & output::RUN == 0;
            }
            Some(command::AS_KEYBOARD) => self.answer(byte),
            Some(command::AS_AUX) => self.buffer = Some((byte, Source::Aux)),
            Some(_) => {
                self.ram[0] &= !mode::AUX_OFF;
                self.mouse.write(byte);
            }
        }
        false
    }
}

struct Core {
    registers: Mutex<Registers>,
    keyboard_irq: Arc<dyn IrqLine>,
    aux_irq: Arc<dyn IrqLine>,
    events: SystemEvents,
}

impl Core {
    fn drive(&self, registers: &Registers) {
        let source = registers.buffer.map(|(_, source)| source);
        let is = |wanted: Source, bit: u8| source == Some(wanted) && registers.is(bit);
        self.keyboard_irq
            .set(is(Source::Keyboard, mode::KEYBOARD_INTERRUPT));
        self.aux_irq.set(is(Source::Aux, mode::AUX_INTERRUPT));
    }

    fn with<R>(&self, change: impl FnOnce(&mut Registers) -> R) -> R {
        let mut registers = self.registers.lock();
        let result = change(&mut registers);
        registers.refill();
        self.drive(&registers);
        result
    }

    fn read_data(&self) -> u8 {
        self.with(|registers| {
            if let Some((byte, _)) = registers.buffer.take() {
                registers.last = byte;
                // Low between two bytes, so that each is an edge.
                self.drive(registers);
            }
            registers.last
        })
    }
}

/// A keyboard controller with its devices. It answers at [`spec::DATA_PORT`] ([`I8042::data_port`]) and
/// [`spec::COMMAND_PORT`] ([`I8042::command_port`]), a byte each: other devices' ports are between them.
pub struct I8042 {
    core: Arc<Core>,
}

impl I8042 {
    /// A controller that drives interrupts 1 and 12 and tells `events` of resets.
    pub fn new(
        keyboard_irq: Arc<dyn IrqLine>,
        aux_irq: Arc<dyn IrqLine>,
        events: SystemEvents,
    ) -> Arc<Self> {
        let core = Arc::new(Core {
            registers: Mutex::new(Registers::power_on()),
            keyboard_irq,
            aux_irq,
            events,
        });
        Arc::new(Self { core })
    }

    /// The data port.
    pub fn data_port(&self) -> Arc<dyn BusDevice> {
        Arc::new(DataPort(self.core.clone()))
    }

    /// The command and status port.
    pub fn command_port(&self) -> Arc<dyn BusDevice> {
        Arc::new(CommandPort(self.core.clone()))
    }

    /// Presses or releases the key with Linux's number `code` (`KEY_A` is 30; `input-event-codes.h`). False when the
    /// keyboard has no such key or the guest does not listen. A key that is held is pressed again and again by the caller.
    pub fn key(&self, code: u16, down: bool) -> bool {
        self.core
            .with(|registers| registers.keyboard.key(code, down))
    }

    /// Moves the pointer by (right, up, wheel towards the user) and sets its buttons: bit 0 left, 1 right, 2 middle, 3 and
    /// 4 the side ones.
    pub fn pointer(&self, moved: [i32; 3], buttons: u8) {
        self.core
            .with(|registers| registers.mouse.update(moved, buttons));
    }

    /// The keyboard's lights: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn lights(&self) -> u8 {
        self.core.registers.lock().keyboard.lights()
    }

    /// Everything that a guest could tell apart.
    pub fn save(&self) -> Saved<Registers> {
        Saved::new(VERSION, 0, self.core.registers.lock().clone())
    }

    /// Takes a saved state over.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: Saved<Registers>) -> Result<(), RestoreError> {
        let (registers, _) = saved.open(DEVICE, VERSION, 0)?;
        self.core.with(|own| *own = registers);
        Ok(())
    }
}

struct DataPort(Arc<Core>);

impl BusDevice for DataPort {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        self.0.read_data().into()
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        if self.0.with(|registers| registers.data(value as u8)) {
            (self.0.events)(SystemEvent::Reset);
        }
    }

    fn reset(&self) {
        self.0.with(|registers| *registers = Registers::power_on());
    }
}

struct CommandPort(Arc<Core>);

impl BusDevice for CommandPort {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        self.0.registers.lock().status().into()
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        if self.0.with(|registers| registers.command(value as u8)) {
            (self.0.events)(SystemEvent::Reset);
        }
    }

    /// The data port does it.
    fn reset(&self) {}
}

#[cfg(test)]
mod tests;

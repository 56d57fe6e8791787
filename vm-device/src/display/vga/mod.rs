//! A VGA with Bochs' extensions: QEMU's standard display adapter, with text, planar and linear modes.
//!
//! What it is: [`Vga`], a PCI function whose framebuffer is behind base address register 0, with its ports
//! ([`Vga::ports`], [`Vga::extension_ports`]) and its window below 1 MiB ([`Vga::window`]).
//!
//! What it refuses to do: be drawn by timing: what is shown is what memory holds when the picture is taken.

mod memory;
mod registers;
mod render;
pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, GuestPhysAddr};
use vm_mem::GuestMemory;

use super::{Display, Frame};
use crate::BusDevice;
use crate::pci::{BarKind, ConfigSpace, Identity, Mapping, PciFunction};
use crate::state::{RestoreError, Saved, check_shape};
use memory::VideoMemory;
use registers::Registers;
use spec::*;

const DEVICE: &str = "vga";
const VERSION: u32 = 1;

/// Is told of the first address of the framebuffer, or that it is nowhere.
pub type Moved = dyn Fn(Option<GuestPhysAddr>) + Send + Sync;

struct State {
    registers: Registers,
    memory: VideoMemory,
}

/// Everything that is to be saved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedRegisters {
    registers: Registers,
    memory: Vec<u8>,
    config: Vec<u8>,
}

struct Core(Mutex<State>);

impl Core {
    /// Reads bytes, each by itself, as a bus of bytes has them.
    fn read_each(width: AccessWidth, mut byte: impl FnMut(u64) -> u8) -> u64 {
        (0..width.bytes()).fold(0, |value, at| value | u64::from(byte(at)) << (8 * at))
    }

    fn write_each(width: AccessWidth, value: u64, mut byte: impl FnMut(u64, u8)) {
        let bytes = value.to_le_bytes();
        for (at, &value) in (0..).zip(&bytes[..width.bytes() as usize]) {
            byte(at, value);
        }
    }

    fn read_ports(&self, port: u64, width: AccessWidth) -> u64 {
        let registers = &mut self.0.lock().registers;
        Self::read_each(width, |at| registers.read_port(port + at))
    }

    fn write_ports(&self, port: u64, width: AccessWidth, value: u64) {
        let registers = &mut self.0.lock().registers;
        Self::write_each(width, value, |at, byte| {
            registers.write_port(port + at, byte)
        });
    }

    fn write_extension(&self, index: Option<usize>, value: u16) {
        let state = &mut *self.0.lock();
        let index = index.unwrap_or(state.registers.selected_extension());
        if state.registers.write_extension(index, value) {
            let line = state.registers.line_bytes();
            let height = usize::from(state.registers.extension[extension::HEIGHT]);
            state.memory.clear(line * height);
        }
    }
}

/// The display adapter.
pub struct Vga {
    core: Arc<Core>,
    config: Mutex<ConfigSpace>,
    moved: Box<Moved>,
}

impl Vga {
    /// An adapter that shows nothing, with `memory` of [`MEMORY_BYTES`] from address 0 on. `moved` is told where the guest has
    /// placed it, so that processors can access it there without coming here. Firmware gets its option ROM from elsewhere
    /// (fw_cfg's `vgaroms/`).
    pub fn new(video: GuestMemory, moved: Box<Moved>) -> Arc<Self> {
        let memory = |prefetchable| BarKind::Memory32 { prefetchable };
        let config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: REVISION,
            class: CLASS,
            subsystem: (0x1af4, 0x1100),
        })
        .with_bar(FRAMEBUFFER_BAR, memory(true), MEMORY_BYTES as u64)
        .with_bar(REGISTERS_BAR, memory(false), REGISTERS_BAR_BYTES);
        let state = State {
            registers: Registers::power_on(),
            memory: VideoMemory::new(video),
        };
        Arc::new(Self {
            core: Arc::new(Core(Mutex::new(state))),
            config: Mutex::new(config),
            moved,
        })
    }

    /// The ports at [`PORT`], for [`RANGE_BYTES`].
    pub fn ports(&self) -> Arc<dyn BusDevice> {
        Arc::new(Ports(self.core.clone()))
    }

    /// The ports of the extensions at [`EXTENSION_PORT`], for [`EXTENSION_RANGE_BYTES`].
    pub fn extension_ports(&self) -> Arc<dyn BusDevice> {
        Arc::new(ExtensionPorts(self.core.clone()))
    }

    /// The memory at [`WINDOW_BASE`], for [`WINDOW_BYTES`].
    pub fn window(&self) -> Arc<dyn BusDevice> {
        Arc::new(Window(self.core.clone()))
    }

    fn tell_place(&self) {
        let config = self.config.lock();
        let framebuffer = config.mappings().find(|it| it.bar == FRAMEBUFFER_BAR);
        (self.moved)(framebuffer.map(|it| GuestPhysAddr(it.base)));
    }

    /// Everything that a guest could tell apart.
    pub fn save(&self) -> Saved<SavedRegisters> {
        let state = self.core.0.lock();
        let registers = SavedRegisters {
            registers: state.registers.clone(),
            memory: state.memory.copy(),
            config: self.config.lock().save(),
        };
        Saved::new(VERSION, 0, registers)
    }

    /// Takes a saved state over. The root complex must look at its base addresses afterwards
    /// ([`crate::pci::PciRoot::reroute`]).
    ///
    /// # Errors
    /// When it is of another version or damaged.
    pub fn restore(&self, saved: Saved<SavedRegisters>) -> Result<(), RestoreError> {
        let (saved, _) = saved.open(DEVICE, VERSION, 0)?;
        let SavedRegisters {
            registers,
            memory,
            config,
        } = saved;
        let mut own = self.config.lock();
        let fits =
            memory.len() == MEMORY_BYTES && registers.palette.len() == 256 && own.fits(&config);
        check_shape(DEVICE, "registers or memory", fits)?;
        own.restore(&config);
        drop(own);
        let mut state = self.core.0.lock();
        state.registers = registers;
        state.memory.replace(&memory);
        drop(state);
        self.tell_place();
        Ok(())
    }
}

impl Display for Vga {
    fn frame(&self) -> Option<Frame> {
        let state = self.core.0.lock();
        state.registers.frame(&state.memory.copy())
    }

    fn text(&self) -> Option<Vec<String>> {
        let state = self.core.0.lock();
        state.registers.text(&state.memory.copy())
    }
}

struct Ports(Arc<Core>);

impl BusDevice for Ports {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        self.0.read_ports(PORT + offset, width)
    }
    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        self.0.write_ports(PORT + offset, width, value);
    }
    /// The function does it.
    fn reset(&self) {}
}

struct ExtensionPorts(Arc<Core>);

impl BusDevice for ExtensionPorts {
    fn read(&self, offset: u64, _width: AccessWidth) -> u64 {
        let registers = &self.0.0.lock().registers;
        match offset {
            0 => registers.read_extension_index().into(),
            1 => registers
                .read_extension(registers.selected_extension())
                .into(),
            _ => 0xff,
        }
    }
    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        match (offset, width) {
            (0, AccessWidth::Half) => self.0.0.lock().registers.set_extension_index(value as u16),
            (1, AccessWidth::Half) => self.0.write_extension(None, value as u16),
            _ => {}
        }
    }
    /// The function does it.
    fn reset(&self) {}
}

struct Window(Arc<Core>);

impl BusDevice for Window {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let State { registers, memory } = &mut *self.0.0.lock();
        Core::read_each(width, |at| registers.read_window(memory, offset + at))
    }
    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let State { registers, memory } = &mut *self.0.0.lock();
        Core::write_each(width, value, |at, byte| {
            registers.write_window(memory, offset + at, byte);
        });
    }
    /// The function does it.
    fn reset(&self) {}
}

impl PciFunction for Vga {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.config.lock().read(offset, width)
    }

    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        self.config.lock().write(offset, width, value);
        self.tell_place();
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.config.lock().mappings().collect()
    }

    fn read_bar(&self, bar: u8, offset: u64, width: AccessWidth) -> u64 {
        if bar == FRAMEBUFFER_BAR {
            let state = self.core.0.lock();
            return Core::read_each(width, |at| {
                state.memory.get((offset + at) as usize).unwrap_or(0xff)
            });
        }
        match offset {
            REGISTERS_PORTS..0x420 => self
                .core
                .read_ports(offset - REGISTERS_PORTS + 0x3c0, width),
            REGISTERS_EXTENSIONS..0x516 => {
                let index = (offset - REGISTERS_EXTENSIONS) as usize / 2;
                let state = self.core.0.lock();
                u64::from(state.registers.read_extension(index)) >> (8 * (offset & 1))
            }
            _ => 0,
        }
    }

    fn write_bar(&self, bar: u8, offset: u64, width: AccessWidth, value: u64) {
        if bar == FRAMEBUFFER_BAR {
            let state = self.core.0.lock();
            return Core::write_each(width, value, |at, byte| {
                state.memory.set((offset + at) as usize, byte);
            });
        }
        match offset {
            REGISTERS_PORTS..0x420 => {
                self.core
                    .write_ports(offset - REGISTERS_PORTS + 0x3c0, width, value);
            }
            REGISTERS_EXTENSIONS..0x516 if width == AccessWidth::Half && offset & 1 == 0 => {
                let index = (offset - REGISTERS_EXTENSIONS) as usize / 2;
                self.core.write_extension(Some(index), value as u16);
            }
            _ => {}
        }
    }

    fn reset(&self) {
        self.config.lock().reset();
        let mut state = self.core.0.lock();
        state.registers = Registers::power_on();
        state.memory.clear(MEMORY_BYTES);
        drop(state);
        self.tell_place();
    }
}

#[cfg(test)]
mod tests;

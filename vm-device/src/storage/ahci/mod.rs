//! The SATA controller of an ICH9 in AHCI mode, with ATA disks and ATAPI CD-ROM drives.
//!
//! What it is: [`Ahci`], a PCI function with six ports.
//!
//! What it refuses to do: native command queueing, port multipliers, power management of links, I/O on a virtual CPU's
//! thread.
//!
//! Data flow: virtual CPU writes a port's issue register -> the controller's thread takes the command off the list in
//! guest memory, carries it out on a [`BlockBackend`], writes FIS and status -> interrupt.
//!
//! A reset does not wait for a command under way but lets it end in nothing; only a reset of the whole machine waits, as
//! memory may not change after it.

mod disk;
mod drive;
mod optical;
mod port;
mod regions;
pub mod spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, IrqLine};
use vm_mem::GuestMemory;
use vm_osal::NoThread;

use super::registers::WordRegisters;
use super::thread::{Commands, Running};
use crate::block::BlockBackend;
use crate::host_room::HostRoom;
use crate::pci::spec::{command as pci_command, reg as pci_reg, status as pci_status};
use crate::pci::{BarKind, ConfigSpace, Identity, IntxPin, Mapping, PciFunction};
use crate::state::{RestoreError, Saved, check_shape};
use disk::Disk;
use drive::{Drive, DriveState};
use optical::Optical;
use port::Registers;
use spec::{BAR, BAR_BYTES, CLASS, ID, MAP, PORT_BASE, PORT_BYTES, PORTS, REVISION, host};

const DEVICE: &str = "ahci";
const VERSION: u32 = 1;

/// What is to be connected to a port.
pub enum SataDrive {
    /// A disk.
    Disk {
        /// Its bytes.
        backend: Arc<dyn BlockBackend>,
        /// Its serial number, of which 20 characters are told.
        serial: String,
        /// What becomes of writes when the host has no room.
        room: HostRoom,
    },
    /// A CD/DVD drive.
    Optical {
        /// The disc in it.
        medium: Option<Arc<dyn BlockBackend>>,
        /// Its serial number.
        serial: String,
    },
}

struct State {
    control: u32,
    ports: Vec<Registers>,
    /// The bus lets it access memory.
    bus_master: bool,
    stopping: bool,
}

/// Everything that is to be saved. No command may be under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedRegisters {
    control: u32,
    ports: Vec<Registers>,
    drives: Vec<Option<DriveState>>,
    config: Vec<u8>,
}

struct Core {
    state: Mutex<State>,
    /// Wakes the thread when there may be work.
    work: Condvar,
    /// Held by the thread while it carries a command out.
    drives: Vec<Mutex<Option<Drive>>>,
    signatures: Vec<Option<u32>>,
    memory: GuestMemory,
    pin: Arc<IntxPin>,
    /// A command that takes long is to be given up.
    hurry: AtomicBool,
}

impl Core {
    fn drive_line(&self, state: &State) {
        let any = state.ports.iter().any(Registers::interrupts);
        self.pin
            .set(any && state.control & host::INTERRUPT_ENABLE != 0);
    }

    fn interrupts(state: &State) -> u32 {
        let ports = state.ports.iter().zip(0..);
        ports.fold(0, |bits, (port, at)| {
            bits | u32::from(port.interrupts()) << at
        })
    }

    fn reset_controller(&self, state: &mut State) {
        state.control = 0;
        for (port, &signature) in state.ports.iter_mut().zip(&self.signatures) {
            let working = port.working;
            *port = Registers::power_on(signature, port.generation + 1);
            // The thread ends it, in nothing.
            port.working = working;
        }
    }

    /// Waits until no command is under way.
    fn quiesce(&self, state: &mut parking_lot::MutexGuard<'_, State>) {
        self.hurry.store(true, Ordering::Relaxed);
        while state.ports.iter().any(|port| port.working.is_some()) {
            self.work.wait(state);
        }
        self.hurry.store(false, Ordering::Relaxed);
    }
}

impl WordRegisters for Core {
    fn read(&self, offset: u64) -> u32 {
        let state = self.state.lock();
        match offset {
            host::CAPABILITIES => host::CAPABILITIES_VALUE,
            host::CONTROL => state.control | host::AHCI,
            // DEVIATION: a port's bit follows its status; the manual has it stay until it is cleared here as well, which
            // drivers do after the port's.
            host::INTERRUPTS => Self::interrupts(&state),
            host::PORTS => (1 << PORTS) - 1,
            host::VERSION => host::VERSION_VALUE,
            PORT_BASE.. => {
                let at = offset - PORT_BASE;
                let port = state.ports.get((at / PORT_BYTES) as usize);
                port.map_or(0, |port| port.read(at % PORT_BYTES))
            }
            _ => 0,
        }
    }

    fn write(&self, offset: u64, value: u32) {
        let mut state = self.state.lock();
        match offset {
            host::CONTROL => {
                state.control = value & host::INTERRUPT_ENABLE;
                if value & host::RESET != 0 {
                    self.reset_controller(&mut state);
                }
            }
            PORT_BASE.. => {
                let at = offset - PORT_BASE;
                let number = (at / PORT_BYTES) as usize;
                if let Some(port) = state.ports.get_mut(number) {
                    let signature = self.signatures[number];
                    port.write(at % PORT_BYTES, value, signature, &self.memory);
                    if port.issued != 0 {
                        self.work.notify_all();
                    }
                }
            }
            _ => {}
        }
        self.drive_line(&state);
    }
}

impl Commands for Core {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stopping {
            let found = if state.bus_master {
                let ports = state.ports.iter_mut().enumerate();
                ports
                    .filter(|(at, _)| self.signatures[*at].is_some())
                    .find_map(|(at, port)| Some((at, port.take()?, port.is_held())))
            } else {
                None
            };
            let Some((number, issued, held)) = found else {
                self.work.wait(&mut state);
                continue;
            };
            let mut drive = self.drives[number].lock();
            drop(state);
            let goes_on = || !self.hurry.load(Ordering::Relaxed);
            let ended = drive
                .as_mut()
                .map(|drive| port::carry_out(issued, held, drive, &self.memory, &goes_on));
            state = self.state.lock();
            if let Some(ended) = ended {
                state.ports[number].end(&ended, &self.memory);
            }
            drop(drive);
            self.drive_line(&state);
            // Whoever waits for the thread to be idle.
            self.work.notify_all();
        }
    }

    fn stop(&self) {
        self.state.lock().stopping = true;
        self.hurry.store(true, Ordering::Relaxed);
        self.work.notify_all();
    }
}

/// The controller, function 2 of slot 31.
pub struct Ahci {
    core: Running<Core>,
    config: Mutex<ConfigSpace>,
}

impl Ahci {
    /// A controller with `drives` at its ports from the first on (at most [`PORTS`]; those after are dropped), whose
    /// DMA goes to `memory`. `intx` is its pin INTA, [`crate::pci::q35::Lpc::pirq`] 0.
    ///
    /// # Errors
    /// When the host refuses it a thread.
    pub fn new(
        drives: Vec<Option<SataDrive>>,
        memory: GuestMemory,
        intx: Arc<dyn IrqLine>,
    ) -> Result<Arc<Self>, NoThread> {
        let kind = BarKind::Memory32 {
            prefetchable: false,
        };
        let mut config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: REVISION,
            class: CLASS,
            subsystem: (0x1af4, 0x1100),
        })
        .with_interrupt_pin(0)
        .with_bar(BAR, kind, BAR_BYTES);
        let (at, value, writable) = MAP;
        config.add_register(at, &value, &writable);
        let mut drives: Vec<_> = drives.into_iter().map(|drive| drive.map(made)).collect();
        drives.resize_with(PORTS, || None);
        let signatures: Vec<_> = drives
            .iter()
            .map(|drive| drive.as_ref().map(Drive::signature))
            .collect();
        let ports = signatures
            .iter()
            .map(|&signature| Registers::power_on(signature, 0));
        let core = Core {
            state: Mutex::new(State {
                control: 0,
                ports: ports.collect(),
                bus_master: false,
                stopping: false,
            }),
            work: Condvar::new(),
            drives: drives.into_iter().map(Mutex::new).collect(),
            signatures,
            memory,
            pin: IntxPin::new(intx),
            hurry: AtomicBool::new(false),
        };
        Ok(Arc::new(Self {
            core: Running::start("ahci", core)?,
            config: Mutex::new(config),
        }))
    }

    /// Puts a disc into the optical drive at `port`, or takes it out. False when there is no such drive, or its guest
    /// keeps the disc and `force` does not say otherwise. Waits for a command under way.
    pub fn set_medium(
        &self,
        port: usize,
        medium: Option<Arc<dyn BlockBackend>>,
        force: bool,
    ) -> bool {
        let Some(drive) = self.core.drives.get(port) else {
            return false;
        };
        match &mut *drive.lock() {
            Some(Drive::Optical(optical)) if force || !optical.is_locked() => {
                optical.set_medium(medium);
                true
            }
            _ => false,
        }
    }

    fn apply_command(&self, config: &ConfigSpace) {
        let bits = config.command();
        self.core
            .pin
            .set_disabled(bits & pci_command::INTX_DISABLE != 0);
        self.core.state.lock().bus_master = bits & pci_command::BUS_MASTER != 0;
        self.core.work.notify_all();
    }

    /// Everything that a guest could tell apart. Waits for commands under way.
    pub fn save(&self) -> Saved<SavedRegisters> {
        let mut state = self.core.state.lock();
        while state.ports.iter().any(|port| port.working.is_some()) {
            self.core.work.wait(&mut state);
        }
        let drives = self.core.drives.iter().map(|drive| match &*drive.lock() {
            Some(Drive::Disk(disk)) => Some(DriveState::Disk(disk.state)),
            Some(Drive::Optical(optical)) => Some(DriveState::Optical(optical.state)),
            None => None,
        });
        let registers = SavedRegisters {
            control: state.control,
            ports: state.ports.clone(),
            drives: drives.collect(),
            config: self.config.lock().save(),
        };
        Saved::new(VERSION, 0, registers)
    }

    /// Takes a saved state over. The root complex must look at its base addresses afterwards
    /// ([`crate::pci::PciRoot::reroute`]).
    ///
    /// # Errors
    /// When it is of another version or other drives; nothing has changed then.
    pub fn restore(&self, saved: Saved<SavedRegisters>) -> Result<(), RestoreError> {
        let (registers, _) = saved.open(DEVICE, VERSION, 0)?;
        let SavedRegisters {
            control,
            ports,
            drives,
            config,
        } = registers;
        let fits = self.config.lock().fits(&config) && ports.len() == PORTS;
        check_shape(DEVICE, "registers", fits)?;
        let alike = self.core.drives.iter().zip(&drives).all(|(own, saved)| {
            matches!(
                (&*own.lock(), saved),
                (Some(Drive::Disk(_)), Some(DriveState::Disk(_)))
                    | (Some(Drive::Optical(_)), Some(DriveState::Optical(_)))
                    | (None, None)
            )
        });
        check_shape(DEVICE, "drives", alike && drives.len() == PORTS)?;
        let mut own = self.config.lock();
        let mut state = self.core.state.lock();
        self.core.quiesce(&mut state);
        for (drive, saved) in self.core.drives.iter().zip(drives) {
            match (&mut *drive.lock(), saved) {
                (Some(Drive::Disk(disk)), Some(DriveState::Disk(saved))) => disk.state = saved,
                (Some(Drive::Optical(optical)), Some(DriveState::Optical(saved))) => {
                    optical.state = saved;
                }
                _ => {}
            }
        }
        state.control = control;
        state.ports = ports;
        self.core.drive_line(&state);
        drop(state);
        own.restore(&config);
        self.apply_command(&own);
        Ok(())
    }
}

fn made(drive: SataDrive) -> Drive {
    match drive {
        SataDrive::Disk {
            backend,
            serial,
            room,
        } => Drive::Disk(Disk::new(backend, &serial, room)),
        SataDrive::Optical { medium, serial } => Drive::Optical(Optical::new(medium, &serial)),
    }
}

impl PciFunction for Ahci {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        let value = self.config.lock().read(offset, width);
        let status_bit = u32::from(pci_status::INTX);
        match (offset, width) {
            _ if !self.core.pin.asserted() => value,
            (pci_reg::STATUS, _) => value | status_bit,
            (pci_reg::COMMAND, AccessWidth::Word) => value | status_bit << 16,
            _ => value,
        }
    }

    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        let mut config = self.config.lock();
        config.write(offset, width, value);
        if offset < pci_reg::STATUS {
            self.apply_command(&config);
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.config.lock().mappings().collect()
    }

    fn read_bar(&self, _bar: u8, offset: u64, width: AccessWidth) -> u64 {
        self.core.read_any(offset, width)
    }

    /// Registers are written by aligned accesses of four bytes, and pairs of them by eight (3).
    fn write_bar(&self, _bar: u8, offset: u64, width: AccessWidth, value: u64) {
        self.core.write_any(offset, width, value);
    }

    fn reset(&self) {
        let mut config = self.config.lock();
        config.reset();
        let mut state = self.core.state.lock();
        state.bus_master = false;
        self.core.reset_controller(&mut state);
        self.core.quiesce(&mut state);
        for drive in self.core.drives.iter() {
            drive.lock().iter_mut().for_each(Drive::reset);
        }
        self.core.drive_line(&state);
        self.core.pin.set_disabled(false);
    }
}

#[cfg(test)]
mod tests;

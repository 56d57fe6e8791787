//! The PC board, a subset of QEMU's `q35`: local APICs, I/O APIC, 8259 pair, 8254, real-time clock, HPET, ACPI power
//! management, keyboard controller, 16550s, virtio, SATA and NVM Express disks over PCI Express.
//!
//! Kernels are started without firmware, by their own boot protocols; or firmware is started.

mod board;
mod config;
mod devices;
mod firmware;
pub mod layout;
mod registers;
mod start;
mod tables;
mod wiring;

use crate::machine::{Machine, MachineConfig, MachineError};

pub use config::{PcBoot, PcConfig, PcDisplay, PcFirmware, PcKernel};
pub use firmware::{FirmwareError, check as check_firmware};

/// Builds a machine around this board and loads its programs. Nothing runs yet.
///
/// # Errors
/// When the configuration does not make a machine.
pub fn build(machine: MachineConfig, board: PcConfig) -> Result<Machine, MachineError> {
    Machine::new::<board::Pc>(machine, board)
}

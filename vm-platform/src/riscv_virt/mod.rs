//! The RISC-V `virt` board: one PLIC, CLINT timers, a 16550, virtio over mmio and PCIe.

mod board;
mod config;
mod devices;
pub mod fdt;
mod firmware;
mod htif;
pub mod layout;
mod registers;
mod wiring;

use crate::machine::{Machine, MachineConfig, MachineError};

pub use config::VirtConfig;

/// Builds a machine around this board and loads its programs. Nothing runs yet.
///
/// # Errors
/// When the configuration does not make a machine.
pub fn build(machine: MachineConfig, board: VirtConfig) -> Result<Machine, MachineError> {
    Machine::new::<board::Virt>(machine, board)
}

//! ACPI tables for a PC, one table a file, and how they get to the guest: written to RAM when a kernel is started
//! without firmware, or through `fw_cfg` with a script from which firmware links them.
//!
//! All addresses come from a [`PcLayout`]. Hardware-reduced ACPI is not used: power management is the block of ports
//! that stock firmware and systems know.
//!
//! Specification: ACPI 6.5; the tables have the revisions of ACPI 5.0 and earlier that all systems read.

mod blob;
mod dsdt;
mod facs;
mod fadt;
mod hpet;
mod loader;
mod madt;
mod mcfg;
mod rsdp;
mod sdt;
mod waet;

use vm_core::GuestPhysAddr;

use crate::x86::SystemTables;
use crate::{BootError, Extent};
use blob::Blob;

pub use loader::FwCfgFiles;

/// Ports with their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// A serial port of the 16550 kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SerialPort {
    /// First of its eight ports.
    pub first: u16,
    /// Its interrupt.
    pub irq: u8,
}

/// How a system switches ACPI mode on and off, where the hardware is not always in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmiCommand {
    /// Port that takes the values.
    pub port: u16,
    /// Value that switches it on.
    pub enable: u8,
    /// Value that switches it off.
    pub disable: u8,
}

/// What the tables say of a PC.
#[derive(Clone, Debug)]
pub struct PcLayout {
    /// Number of processors; their local APIC numbers are 0 and up.
    pub cpus: u32,
    /// Local APIC.
    pub local_apic: GuestPhysAddr,
    /// The only I/O APIC; its inputs are the interrupts from 0 on. Interrupt 0 of the old controllers is its input 2.
    pub io_apic: GuestPhysAddr,
    /// High-precision event timer.
    pub hpet: Option<GuestPhysAddr>,
    /// PCI Express configuration space; 1 MiB a bus.
    pub ecam: Extent,
    /// PCI memory below 4 GiB.
    pub pci_memory_32: Extent,
    /// PCI memory above 4 GiB.
    pub pci_memory_64: Option<Extent>,
    /// Interrupt of INTA# of PCI device 0. INTB# of it and INTA# of device 1 have the next one, and so on round
    /// four.
    pub pci_gsi: u32,
    /// First port of the power-management block (ICH9 datasheet, 13.8.3): events at +0, control at +4, timer at +8,
    /// general-purpose events at +0x20.
    pub pm_base: u16,
    /// Interrupt of power management.
    pub sci_irq: u8,
    /// How to switch ACPI mode on; `None` if it is always on.
    pub smi_command: Option<SmiCommand>,
    /// What `SLP_TYP` has to be for power off.
    pub s5_sleep_type: u8,
    /// Serial ports.
    pub serial: Vec<SerialPort>,
    /// Whether there is a keyboard controller.
    pub has_i8042: bool,
    /// Whether there is a display with the registers of the VGA.
    pub has_vga: bool,
    /// First port of `fw_cfg`.
    pub fw_cfg: Option<u16>,
    /// Port of the panic device.
    pub pvpanic: Option<u16>,
}

impl PcLayout {
    /// The highest PCI bus that the configuration space has room for.
    fn last_bus(&self) -> u8 {
        let buses = (self.ecam.bytes >> 20).clamp(1, 256);
        (buses - 1) as u8
    }
}

/// Where tables for a start without firmware begin; the root pointer comes first.
const PLACE: Extent = Extent {
    base: crate::x86::TABLES_START,
    bytes: 0x1_0000,
};
/// Alignment of the tables, for the FACS.
const TABLES_ALIGN: u64 = 64;

/// The tables of a PC.
#[derive(Clone, Debug)]
pub struct AcpiTables {
    rsdp: Blob,
    tables: Blob,
}

impl AcpiTables {
    /// Makes the tables.
    pub fn new(layout: &PcLayout) -> Self {
        let mut tables = Blob::default();
        let facs = tables.append(facs::table());
        let dsdt = tables.append(dsdt::table(layout));
        let mut listed = vec![
            tables.append(fadt::table(layout, facs, dsdt)),
            tables.append(madt::table(layout)),
            tables.append(mcfg::table(layout)),
            tables.append(waet::table()),
        ];
        listed.extend(layout.hpet.map(|at| tables.append(hpet::table(at))));
        let rsdt = tables.append(rsdp::rsdt(&listed));
        let xsdt = tables.append(rsdp::xsdt(&listed));
        Self {
            rsdp: rsdp::root_pointer(rsdt, xsdt),
            tables,
        }
    }

    /// The tables for a start without firmware, below 1 MiB where systems look for the root pointer.
    ///
    /// # Errors
    /// When there are so many processors that the tables do not fit.
    pub fn placed(&self) -> Result<SystemTables, BootError> {
        let tables_at = GuestPhysAddr(
            (PLACE.base.raw() + self.rsdp.bytes.len() as u64).next_multiple_of(TABLES_ALIGN),
        );
        let bytes = self.tables.bytes.len() as u64;
        if !PLACE.contains(tables_at, bytes) {
            let room = PLACE.end() - tables_at;
            return Err(BootError::TablesTooLarge { bytes, room });
        }
        let parts = vec![
            (PLACE.base, self.rsdp.linked(tables_at)),
            (tables_at, self.tables.linked(tables_at)),
        ];
        Ok(SystemTables {
            parts,
            rsdp: Some(PLACE.base),
        })
    }

    /// The tables for firmware, as files of `fw_cfg`.
    pub fn fw_cfg_files(&self) -> FwCfgFiles {
        loader::files(&self.rsdp, &self.tables)
    }
}

#[cfg(test)]
mod tests;

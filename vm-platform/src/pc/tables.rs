//! What the guest is told of the board: ACPI tables.

use vm_boot::acpi::{AcpiTables, PcLayout, SerialPort, SmiCommand};
use vm_boot::x86::SystemTables;
use vm_boot::{BootError, Extent};
use vm_core::GuestPhysAddr;
use vm_device::power::acpi_pm::spec::{ACPI_DISABLE, ACPI_ENABLE};

use super::layout;
use crate::Region;

/// `SLP_TYP` of power off, as QEMU's `q35` has it.
pub(super) const S5_SLEEP_TYPE: u8 = 0;

const fn extent(region: Region) -> Extent {
    Extent {
        base: region.base,
        bytes: region.bytes,
    }
}

/// Tables for a board of so many processors whose RAM ends at `ram_end`.
///
/// # Errors
/// When they do not fit.
pub(super) fn acpi(cpus: u32, ram_end: GuestPhysAddr) -> Result<SystemTables, BootError> {
    let port = |(first, _): layout::Ports, irq| SerialPort { first, irq };
    AcpiTables::new(&PcLayout {
        cpus,
        local_apic: layout::LOCAL_APIC.base,
        io_apic: layout::IOAPIC.base,
        hpet: Some(layout::HPET.base),
        ecam: extent(layout::PCIE_ECAM),
        pci_memory_32: extent(layout::PCI_MMIO32),
        pci_memory_64: Some(extent(layout::pci_mmio64(ram_end))),
        pci_gsi: layout::GSI_PCI.into(),
        pm_base: layout::PM.0,
        sci_irq: layout::IRQ_SCI,
        smi_command: Some(SmiCommand {
            port: layout::APM.0,
            enable: ACPI_ENABLE,
            disable: ACPI_DISABLE,
        }),
        s5_sleep_type: S5_SLEEP_TYPE,
        serial: vec![
            port(layout::COM1, layout::IRQ_COM1),
            port(layout::COM2, layout::IRQ_COM2),
        ],
        has_i8042: true,
        has_vga: false,
        fw_cfg: None,
    })
    .placed()
}

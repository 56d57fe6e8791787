//! What the guest is told of the board: tables of ACPI and SMBIOS.

use vm_boot::Extent;
use vm_boot::acpi::{AcpiTables, PcLayout, SerialPort, SmiCommand};
use vm_boot::smbios::{SmbiosTables, SystemIdentity};
use vm_boot::x86::PcRam;
use vm_core::GuestPhysAddr;
use vm_device::power::acpi_pm::spec::{ACPI_DISABLE, ACPI_ENABLE};

use vm_frontend::x86::cpu::{CpuConfig, Shown, cpuid};

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

/// PCI memory below 4 GiB where configuration space begins at `ecam`: firmware takes what is behind it, or what is between RAM
/// and it where that is more (OVMF of 2023 and later).
fn pci_memory_32(ecam: GuestPhysAddr) -> Extent {
    let (all, ecam_end) = (layout::PCI_MMIO32, ecam + layout::PCIE_ECAM.bytes);
    let [before, behind] = [(all.base, ecam), (ecam_end, all.end())].map(|(base, end)| Extent {
        base,
        bytes: end.raw().saturating_sub(base.raw()),
    });
    match ecam == layout::PCIE_ECAM.base || before.bytes < behind.bytes {
        true => behind,
        false => before,
    }
}

/// What the tables of ACPI say of a board that is not always so.
#[derive(Clone, Copy)]
pub(super) struct Described {
    pub(super) cpus: u32,
    /// First address behind all RAM.
    pub(super) ram_end: GuestPhysAddr,
    /// Where configuration space begins.
    pub(super) ecam: GuestPhysAddr,
    pub(super) has_vga: bool,
    /// Whether the HPET is told of.
    pub(super) has_hpet: bool,
}

/// Tables for a board.
pub(super) fn acpi(board: &Described) -> AcpiTables {
    let Described {
        cpus,
        ram_end,
        ecam,
        has_vga,
        has_hpet,
    } = *board;
    let port = |(first, _): layout::Ports, irq| SerialPort { first, irq };
    AcpiTables::new(&PcLayout {
        cpus,
        local_apic: layout::LOCAL_APIC.base,
        io_apic: layout::IOAPIC.base,
        hpet: has_hpet.then_some(layout::HPET.base),
        ecam: Extent {
            base: ecam,
            bytes: layout::PCIE_ECAM.bytes,
        },
        pci_memory_32: pci_memory_32(ecam),
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
        has_vga,
        fw_cfg: Some(layout::FW_CFG.0),
        pvpanic: Some(layout::PVPANIC.0),
    })
}

/// What the machine is called, and how much memory it has.
pub(super) fn smbios(cpu: &CpuConfig, ram: PcRam) -> SmbiosTables {
    let shown = Shown {
        apic_id: 0,
        osxsave: false,
        xcr0: 0,
        in_64: false,
        apic_on: true,
    };
    let [signature, _, _, features] = cpuid(cpu, shown, 1, 0);
    SmbiosTables::new(&SystemIdentity {
        manufacturer: "vm-cli".into(),
        product: "Q35 PC".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        uuid: None,
        cpus: cpu.cpus,
        processor_id: [signature, features],
        ram,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_memory_is_where_firmware_assigns_it() {
        let at = |ecam| {
            let Extent { base, bytes } = pci_memory_32(GuestPhysAddr(ecam));
            (base.raw(), base.raw() + bytes)
        };
        assert_eq!(at(0xb000_0000), (0xc000_0000, 0xfec0_0000));
        assert_eq!(at(0xe000_0000), (0x8000_0000, 0xe000_0000));
    }
}

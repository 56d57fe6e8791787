//! Firmware: where its image lies, what it is told through fw_cfg, and the memory that it hides and uncovers.

use std::sync::Arc;

use vm_boot::x86::{PcRam, firmware_map};
use vm_core::config::DiskBus;
use vm_core::{AccessWidth, GuestPhysAddr};
use vm_device::firmware::fw_cfg::FwCfg;
use vm_device::firmware::fw_cfg::spec::{KEY_MAX_CPUS, KEY_NB_CPUS, KEY_NOGRAPHIC, KEY_RAM_SIZE};
use vm_device::firmware::rom::{Rom, RomError};
use vm_device::pci::PciRoot;
use vm_device::pci::q35::shadow_ranges;
use vm_device::pci::q35::spec::mch::{PCIEXBAR, PCIEXBAR_ADDRESS};
use vm_frontend::x86::cpu::CpuConfig;
use vm_mem::{GuestMemory, MapParts, PhysMap, Shadow};

use super::config::{PcDisplay, PcFirmware};
use super::tables::Described;
use super::{layout, tables};
use crate::machine::offered::kernel_items;
use crate::machine::{FlashBank, MachineError};

/// The files that say where PCI's ranges are.
const ACPI_FILES: [&str; 3] = ["etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader"];
/// What the display's option ROM is called.
const VGA_ROM: &str = "vgaroms/vgabios-stdvga.bin";
const RAMFB_ROM: &str = "vgaroms/vgabios-ramfb.bin";

/// Where the firmware's image begins.
fn base(image_bytes: u64) -> u64 {
    layout::FIRMWARE_END - image_bytes
}

/// Why an image cannot be firmware.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// It does not fill pages, or not a whole bank of flash.
    #[error(
        "{0} bytes are no PC's firmware, which is a multiple of 4 KiB long: is the file whole, and of this kind?"
    )]
    NotWhole(u64),
    /// It would lie where devices are.
    #[error(
        "firmware and its variables are {0} bytes long, and a PC has room for {max}",
        max = layout::FIRMWARE_MAX_BYTES
    )]
    TooLong(u64),
}

/// Checks that an image of firmware and one of its variables have lengths for which there is room.
///
/// # Errors
/// When not.
pub fn check(image_bytes: u64, variables_bytes: u64) -> Result<(), FirmwareError> {
    for bytes in [image_bytes, variables_bytes] {
        if !bytes.is_multiple_of(vm_core::PAGE_BYTES) {
            return Err(FirmwareError::NotWhole(bytes));
        }
    }
    let all = image_bytes.saturating_add(variables_bytes);
    if image_bytes == 0 {
        return Err(FirmwareError::NotWhole(0));
    }
    match all > layout::FIRMWARE_MAX_BYTES {
        true => Err(FirmwareError::TooLong(all)),
        false => Ok(()),
    }
}

/// The number of the display's memory in the [`map`].
pub(super) const DISPLAY_APERTURE: usize = 0;

/// RAM with the display's window and the ranges over it that the chipset hides, the `image` of firmware at its two places, and
/// the memory of a display.
pub(super) fn map(
    ram: &GuestMemory,
    image: Option<&[u8]>,
    display: Option<GuestMemory>,
) -> Result<PhysMap, RomError> {
    let mut roms = Vec::new();
    let mut low = None;
    if let Some(image) = image {
        let bytes = image.len() as u64;
        let rom = |base, image: &[u8]| {
            Rom::new(GuestPhysAddr(base), image.len() as u64, image).map(|rom| rom.memory().clone())
        };
        roms.push(rom(base(bytes), image)?);
        let tail_bytes = bytes.min(layout::LOW_FIRMWARE_MAX_BYTES);
        let tail = &image[(bytes - tail_bytes) as usize..];
        low = Some(rom(layout::LOW_FIRMWARE_END - tail_bytes, tail)?);
    }
    let window = layout::DISPLAY_WINDOW;
    let mut shadows = vec![Shadow::new(window.base, window.bytes, None)];
    shadows.extend(shadow_ranges().map(|(base, bytes)| {
        let base = GuestPhysAddr(base);
        let rom = low.as_ref().filter(|rom| rom.find(base).is_some());
        Shadow::new(base, bytes, rom.cloned())
    }));
    let parts = MapParts {
        roms,
        shadows,
        apertures: display.into_iter().collect(),
    };
    Ok(PhysMap::new(ram.clone(), parts))
}

/// The variables' bank and its base, right below the firmware.
pub(super) fn variables(firmware: &mut PcFirmware) -> Option<(GuestPhysAddr, FlashBank)> {
    let bank = firmware.variables.take()?;
    let end = base(firmware.image.len() as u64);
    Some((GuestPhysAddr(end - bank.image.len() as u64), bank))
}

/// What firmware is told, and kernels that look for it.
pub(super) struct Told<'a> {
    pub(super) firmware: Option<&'a PcFirmware>,
    pub(super) display: Option<PcDisplay>,
    pub(super) cpu: &'a CpuConfig,
    pub(super) ram: PcRam,
    /// The disks in the order in which they are to be tried.
    pub(super) boot_order: String,
}

/// Where the guest has placed configuration space, or would have it.
fn ecam_base(pci: &PciRoot) -> GuestPhysAddr {
    let [low, high] = [0, 4].map(|at| pci.read_config(u64::from(PCIEXBAR) + at, AccessWidth::Word));
    let value = high << 32 | low;
    let base = GuestPhysAddr(value & PCIEXBAR_ADDRESS);
    let all = layout::PCI_MMIO32;
    match value & 1 != 0 && (all.base..all.end()).contains(&base) {
        true => base,
        false => layout::PCIE_ECAM.base,
    }
}

/// The device through which firmware is told.
pub(super) fn fw_cfg(
    memory: &GuestMemory,
    pci: &Arc<PciRoot>,
    told: &Told<'_>,
) -> Result<Arc<FwCfg>, MachineError> {
    let Told {
        firmware,
        display,
        cpu,
        ram,
        boot_order,
    } = told;
    let fw_cfg = FwCfg::new(memory.clone());
    fw_cfg.add_u64(KEY_RAM_SIZE, ram.low_bytes + ram.high_bytes);
    fw_cfg.add_u16(KEY_NOGRAPHIC, 0);
    fw_cfg.add_u16(KEY_NB_CPUS, cpu.cpus as u16);
    fw_cfg.add_u16(KEY_MAX_CPUS, cpu.cpus as u16);
    let map = firmware_map(*ram, &[]).into_iter();
    fw_cfg.add_file("etc/e820", map.flat_map(|entry| entry.to_bytes()).collect())?;
    let Some(firmware) = firmware else {
        return Ok(fw_cfg.into());
    };
    let described = Described {
        cpus: cpu.cpus,
        ram_end: super::board::ram_end(*ram),
        ecam: layout::PCIE_ECAM.base,
        has_vga: *display == Some(PcDisplay::Vga),
        has_hpet: true,
    };
    let acpi = move |ecam| {
        let moved = Described { ecam, ..described };
        tables::acpi(&moved).fw_cfg_files().files
    };
    let smbios = tables::smbios(cpu, *ram).fw_cfg_files().files;
    for (name, bytes) in smbios.into_iter().chain(acpi(layout::PCIE_ECAM.base)) {
        fw_cfg.add_file(name, bytes)?;
    }
    // Firmware has placed configuration space when it asks for the tables that say where it is.
    let pci = pci.clone();
    fw_cfg.on_select(&ACPI_FILES, move |fw_cfg| {
        for (name, bytes) in acpi(ecam_base(&pci)) {
            // They were added before, as long as they are now.
            let _ = fw_cfg.add_file(name, bytes);
        }
    });
    if !boot_order.is_empty() {
        let mut order = boot_order.clone().into_bytes();
        order.push(0);
        fw_cfg.add_file("bootorder", order)?;
    }
    if firmware.serial_console {
        let port = u64::from(layout::COM1.0);
        fw_cfg.add_file("etc/sercon-port", port.to_le_bytes().into())?;
    }
    if let Some(rom) = &firmware.vga_rom {
        let name = match display {
            Some(PcDisplay::Ramfb) => RAMFB_ROM,
            _ => VGA_ROM,
        };
        fw_cfg.add_file(name, rom.clone())?;
    }
    if let Some((kernel, bootargs)) = &firmware.offered {
        for (key, bytes) in kernel_items(kernel, bootargs)? {
            fw_cfg.add_bytes(key, bytes);
        }
    }
    Ok(fw_cfg.into())
}

/// A disk as the order of booting names it.
pub(super) struct BootDisk {
    /// Its number among all disks.
    pub(super) number: usize,
    pub(super) bus: DiskBus,
    /// Its slot, or its port of the SATA controller.
    pub(super) place: u8,
}

/// The names of disks, by Open Firmware's rules as QEMU and firmware have them, in their order, a line each.
pub(super) fn boot_order(mut disks: Vec<BootDisk>) -> String {
    disks.sort_by_key(|disk| disk.number);
    let name = |disk: &BootDisk| {
        let BootDisk { bus, place, .. } = disk;
        match bus {
            DiskBus::Virtio => format!("/pci@i0cf8/scsi@{place:x}/disk@0,0"),
            DiskBus::Ahci => format!(
                "/pci@i0cf8/pci8086,2922@{:x},2/drive@{place:x}/disk@0",
                layout::ICH_SLOT
            ),
            DiskBus::Nvme => format!("/pci@i0cf8/pci8086,5845@{place:x}/namespace@1,0"),
        }
    };
    let names: Vec<_> = disks.iter().map(name).collect();
    names.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_order_is_that_of_the_disks() {
        let disk = |number, bus, place| BootDisk { number, bus, place };
        let order = boot_order(vec![
            disk(2, DiskBus::Virtio, 0x1),
            disk(0, DiskBus::Ahci, 1),
            disk(1, DiskBus::Nvme, 6),
            disk(3, DiskBus::Virtio, 0x10),
        ]);
        let expected = [
            "/pci@i0cf8/pci8086,2922@1f,2/drive@1/disk@0",
            "/pci@i0cf8/pci8086,5845@6/namespace@1,0",
            "/pci@i0cf8/scsi@1/disk@0,0",
            "/pci@i0cf8/scsi@10/disk@0,0",
        ];
        assert_eq!(order, expected.join("\n"));
    }

    #[test]
    fn image_is_at_both_places_until_ram_is_uncovered() {
        let ram = GuestMemory::new(&[(GuestPhysAddr(0), 16 << 20)]).unwrap();
        let image: Vec<u8> = (0..64u32 << 10).flat_map(|n| n.to_le_bytes()).collect();
        let map = map(&ram, Some(&image), None).unwrap();
        let word = |addr| {
            let mut bytes = [0; 4];
            map.find(GuestPhysAddr(addr), false)?
                .read(&mut bytes)
                .unwrap();
            Some(u32::from_le_bytes(bytes))
        };
        assert_eq!(word(0xffff_fff0), Some(0xfffc));
        assert_eq!(word(0xfffc_0000), Some(0));
        assert_eq!(word(0xf_fff0), Some(0xfffc));
        assert_eq!(word(0xe_0000), Some(0x8000));
        assert_eq!((word(0xd_fff0), word(0xb_8000)), (None, None));
        assert_eq!((word(0x9_fff0), word(0x10_0000)), (Some(0), Some(0)));
        map.uncover(GuestPhysAddr(0xf_0000), true, true);
        map.uncover(GuestPhysAddr(0xc_0000), true, true);
        assert_eq!((word(0xf_fff0), word(0xc_0000)), (Some(0), Some(0)));
        assert_eq!(word(0xe_fff0), Some(0xbffc));
    }

    #[test]
    fn check_takes_whole_pages_that_there_is_room_for() {
        assert!(check(0x4_0000, 0).is_ok());
        assert!(check(0x37_c000, 0x8_4000).is_ok());
        for (image, variables) in [(0, 0), (0x4_0001, 0), (0x1000, 1), (16 << 20, 0x1000)] {
            assert!(check(image, variables).is_err(), "{image} {variables}");
        }
    }
}

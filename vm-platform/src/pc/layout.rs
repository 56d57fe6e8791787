//! Addresses, ports and interrupt numbers of the PC board.
//!
//! They are those of QEMU 10's `q35` (hw/i386/pc_q35.c, hw/isa/lpc_ich9.c, include/hw/southbridge/ich9.h) and of the PC
//! platform, which firmware and kernels know without being told.

use vm_core::GuestPhysAddr;
use vm_device::debug::{debugcon, exit, pvpanic, testdev};
use vm_device::display::vga::spec::{
    EXTENSION_PORT, EXTENSION_RANGE_BYTES, PORT, RANGE_BYTES, WINDOW_BASE, WINDOW_BYTES,
};
use vm_device::firmware::fw_cfg;

use crate::Region;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// PCI Express configuration space, 1 MiB for each of 256 buses, where it is without firmware or by SeaBIOS' choice.
pub const PCIE_ECAM: Region = Region::new(0xb000_0000, 256 * MIB);
/// PCI memory below 4 GiB, at the same address on the PCI side, from the most that there may be of RAM up to the interrupt
/// controllers. Configuration space is in front of it.
pub const PCI_MMIO32: Region = Region::new(2 * GIB, 0xfec0_0000 - 2 * GIB);
/// I/O APIC.
pub const IOAPIC: Region = Region::new(0xfec0_0000, 4 * KIB);
/// High-precision event timer.
pub const HPET: Region = Region::new(0xfed0_0000, KIB);
/// Local APIC of each virtual CPU after power-on; the virtual CPU finds it by itself.
pub const LOCAL_APIC: Region = Region::new(0xfee0_0000, 4 * KIB);
/// Where firmware ends, by which its place is known.
pub const FIRMWARE_END: u64 = 4 * GIB;
/// Bytes of firmware and of its variables at most: from there on nothing else is below 4 GiB.
pub const FIRMWARE_MAX_BYTES: u64 = 16 * MIB;
/// Where the firmware's last bytes end that are below 1 MiB as well.
pub const LOW_FIRMWARE_END: u64 = MIB;
/// How many there are at most.
pub const LOW_FIRMWARE_MAX_BYTES: u64 = 128 * KIB;
/// The display adapter's window; RAM never shows there.
pub const DISPLAY_WINDOW: Region = Region::new(WINDOW_BASE, WINDOW_BYTES);
/// First address behind RAM below 4 GiB at most: what is more lies from 4 GiB on.
pub const LOW_RAM_END: GuestPhysAddr = GuestPhysAddr(2 * GIB);
/// Length of the 64-bit PCI memory window; its base depends on RAM, see [`pci_mmio64`].
pub const PCI_MMIO64_BYTES: u64 = 32 * GIB;
/// Buses that the ECAM window covers.
pub const PCIE_BUSES: u32 = 256;

/// The 64-bit PCI memory window for RAM that ends at `ram_end`: the next multiple of its length behind it.
pub const fn pci_mmio64(ram_end: GuestPhysAddr) -> Region {
    let end = ram_end.raw();
    let from = if end < 4 * GIB { 4 * GIB } else { end };
    Region::new(from.next_multiple_of(PCI_MMIO64_BYTES), PCI_MMIO64_BYTES)
}

/// I/O ports: first port and count.
pub type Ports = (u16, u16);

/// 8259 that is the master.
pub const PIC_MASTER: Ports = (0x20, 2);
/// 8254 interval timer.
pub const PIT: Ports = (0x40, 4);
/// Keyboard controller's data port.
pub const I8042_DATA: Ports = (0x60, 1);
/// System control port B: timer gate and speaker.
pub const PORT_B: Ports = (0x61, 1);
/// Keyboard controller's command port.
pub const I8042_COMMAND: Ports = (0x64, 1);
/// Real-time clock and CMOS memory.
pub const RTC: Ports = (0x70, 2);
/// 8259 that is the slave.
pub const PIC_SLAVE: Ports = (0xa0, 2);
/// The display adapter's own ports.
pub const DISPLAY_EXTENSIONS: Ports = (EXTENSION_PORT as u16, EXTENSION_RANGE_BYTES as u16);
/// Ports of the VGA.
pub const DISPLAY: Ports = (PORT as u16, RANGE_BYTES as u16);
/// The port that firmware writes its log to.
pub const DEBUGCON: Ports = (debugcon::PORT as u16, 1);
/// The port by which programs for tests end the machine.
pub const DEBUG_EXIT: Ports = (exit::PORT as u16, exit::RANGE_BYTES as u16);
/// The port by which a kernel tells that it has panicked.
pub const PVPANIC: Ports = (pvpanic::PORT, 1);
/// The test device: its registers, and a port for each interrupt of the ISA bus, which lie in PCI's window.
pub const TEST_REGISTERS: Ports = (testdev::PORT as u16, testdev::RANGE_BYTES as u16);
/// See [`TEST_REGISTERS`].
pub const TEST_LINES: Ports = (
    testdev::LINES_PORT as u16,
    testdev::LINES_RANGE_BYTES as u16,
);
/// The test device's memory, where long firmware would be.
pub const TEST_MEMORY: Region = Region::new(testdev::MEMORY_BASE, testdev::MEMORY_BYTES);
/// Firmware configuration.
pub const FW_CFG: Ports = (fw_cfg::FIRST_PORT as u16, fw_cfg::PORTS as u16);
/// Second serial port.
pub const COM2: Ports = (0x2f8, 8);
/// First serial port.
pub const COM1: Ports = (0x3f8, 8);
/// Edge or level of the 8259s' inputs.
pub const ELCR: Ports = (0x4d0, 2);
/// Where ACPI mode is switched on and off.
pub const APM: Ports = (0xb2, 2);
/// Fast reset.
pub const PORT92: Ports = (0x92, 1);
/// Power-management block (ICH9 datasheet, 13.8.3), where the chipset is told to have it.
pub const PM: Ports = (0x600, 0x80);
/// PCI configuration address and data; the reset control register lies within (PCI Local Bus 3.0, 3.2.2.3.2).
pub const PCI_CONFIG: Ports = (0xcf8, 8);
/// The PCI bus's window into the ports: those that no device of the board has.
pub const PCI_IO: Ports = (0x1000, 0xf000);

/// Interrupt of the 8254.
pub const IRQ_PIT: u8 = 0;
/// Interrupt of the keyboard.
pub const IRQ_KEYBOARD: u8 = 1;
/// Interrupt of COM2.
pub const IRQ_COM2: u8 = 3;
/// Interrupt of COM1.
pub const IRQ_COM1: u8 = 4;
/// Interrupt of the real-time clock.
pub const IRQ_RTC: u8 = 8;
/// Interrupt of ACPI.
pub const IRQ_SCI: u8 = 9;
/// Interrupt of the mouse.
pub const IRQ_MOUSE: u8 = 12;
/// First of the four PIRQs of the chipset that the PCI bus's interrupts are on.
pub const PIRQ_PCI: u8 = 4;
/// I/O APIC input of INTA# of PCI device 0, which is that of this PIRQ; the next three are INTB# to INTD#.
pub const GSI_PCI: u8 = 16 + PIRQ_PCI;
/// Slot of the chipset's I/O hub.
pub const ICH_SLOT: u8 = 31;

/// Where a processor starts after power-on (Intel SDM 3A, 10.1.4).
pub const RESET_VECTOR: u64 = 0xffff_fff0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_never_overlap() {
        let low = Region::new(0, LOW_RAM_END.raw());
        let high = Region::new(4 * GIB, 60 * GIB);
        let all = [
            low,
            PCI_MMIO32,
            IOAPIC,
            HPET,
            LOCAL_APIC,
            Region::new(FIRMWARE_END - FIRMWARE_MAX_BYTES, FIRMWARE_MAX_BYTES),
            high,
            pci_mmio64(high.end()),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| !a.overlaps(*b)), "{a:x?}");
        }
    }

    #[test]
    fn pci_mmio64_is_aligned_and_behind_ram() {
        assert_eq!(
            pci_mmio64(GuestPhysAddr(512 * MIB)).base,
            GuestPhysAddr(32 * GIB)
        );
        assert_eq!(
            pci_mmio64(GuestPhysAddr(33 * GIB)).base,
            GuestPhysAddr(64 * GIB)
        );
    }

    #[test]
    fn ports_never_overlap() {
        let mut all = [
            PIC_MASTER,
            PIT,
            I8042_DATA,
            PORT_B,
            I8042_COMMAND,
            RTC,
            PIC_SLAVE,
            COM2,
            COM1,
            ELCR,
            PM,
            PCI_CONFIG,
            PCI_IO,
            APM,
            PORT92,
            DISPLAY_EXTENSIONS,
            DISPLAY,
            DEBUGCON,
            FW_CFG,
            DEBUG_EXIT,
            PVPANIC,
            TEST_REGISTERS,
        ];
        all.sort_unstable();
        for pair in all.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:x?}");
        }
    }
}

//! Addresses and interrupt numbers of the RISC-V `virt` machine.
//!
//! They are those of QEMU 10's `virt` for riscv64 (hw/riscv/virt.c, and the device tree that it dumps). Firmware
//! relies on some of them without reading the device tree: OpenSBI and U-Boot on the RAM base, EDK2 on the
//! flash banks and the UART.

use vm_core::GuestPhysAddr;

use crate::Region;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Mask ROM with the reset vector; every hart starts at its base.
pub const MROM: Region = Region::new(0x1000, 0xf000);
/// SiFive test device: power-off and reset by one register.
pub const TEST: Region = Region::new(0x10_0000, 0x1000);
/// Goldfish real-time clock.
pub const RTC: Region = Region::new(0x10_1000, 0x1000);
/// Core-local interruptor: software interrupts and machine timers.
pub const CLINT: Region = Region::new(0x0200_0000, 0x1_0000);
/// The PCIe host bridge's window into PCI I/O space; I/O address 0 is its first byte.
pub const PCIE_PIO: Region = Region::new(0x0300_0000, 64 * KIB);
/// Platform-level interrupt controller: two contexts (M, S) for each of up to 512 harts.
pub const PLIC: Region = Region::new(0x0c00_0000, 0x60_0000);
/// First 16550 UART.
pub const UART0: Region = Region::new(0x1000_0000, 0x100);
/// First of the virtio-mmio transports; see [`virtio_mmio`].
pub const VIRTIO_MMIO_0: Region = Region::new(0x1000_1000, 0x1000);
/// Firmware configuration device.
pub const FW_CFG: Region = Region::new(0x1010_0000, 0x18);
/// First flash bank: firmware code.
pub const FLASH0: Region = Region::new(0x2000_0000, 32 * MIB);
/// Second flash bank: firmware variables.
pub const FLASH1: Region = Region::new(0x2200_0000, 32 * MIB);
/// PCIe configuration space, 1 MiB for each of 256 buses.
pub const PCIE_ECAM: Region = Region::new(0x3000_0000, 256 * MIB);
/// PCI memory below 4 GiB, at the same address on the PCI side.
pub const PCIE_MMIO32: Region = Region::new(0x4000_0000, GIB);
/// Where RAM begins.
pub const RAM_BASE: GuestPhysAddr = GuestPhysAddr(0x8000_0000);

/// Number of virtio-mmio transports.
pub const VIRTIO_MMIO_COUNT: u32 = 8;
/// Bytes in one erase block of a flash bank.
pub const FLASH_BLOCK_BYTES: u64 = 256 * KIB;
/// Length of the 64-bit PCI memory window; its base depends on RAM, see [`pcie_mmio64`].
pub const PCIE_MMIO64_BYTES: u64 = 16 * GIB;
/// Buses that the ECAM window covers.
pub const PCIE_BUSES: u32 = 256;
/// Most RAM, in bytes, that leaves the 64-bit PCI window within a 47-bit space.
pub const RAM_MAX_BYTES: u64 = 64 << 40;

/// Rate of the time counter (`time` CSR, `mtime`) in Hz.
pub const TIMEBASE_HZ: u32 = 10_000_000;
/// Input clock of the UART in Hz.
pub const UART_CLOCK_HZ: u32 = 3_686_400;
/// Bytes in one block of the cbo.* instructions.
pub const CACHE_BLOCK_BYTES: u32 = 64;

/// PLIC source of the first virtio-mmio transport.
pub const IRQ_VIRTIO_MMIO_0: u32 = 1;
/// PLIC source of the UART.
pub const IRQ_UART0: u32 = 10;
/// PLIC source of the real-time clock.
pub const IRQ_RTC: u32 = 11;
/// PLIC source of INTA# of PCI device 0; the next three are INTB# to INTD#.
pub const IRQ_PCIE_INTA: u32 = 32;
/// Interrupt pins of the PCIe root bus.
pub const PCIE_INTX_COUNT: u32 = 4;
/// Highest PLIC source number (source 0 does not exist).
pub const PLIC_SOURCES: u32 = 95;

/// Value for the test device that powers the machine off with success (`FINISHER_PASS`).
pub const TEST_POWER_OFF: u32 = 0x5555;
/// Value for the test device that resets the machine (`FINISHER_RESET`).
pub const TEST_RESET: u32 = 0x7777;

/// Registers of virtio-mmio transport `index`, below [`VIRTIO_MMIO_COUNT`].
pub const fn virtio_mmio(index: u32) -> Region {
    Region::new(
        VIRTIO_MMIO_0.base.raw() + index as u64 * VIRTIO_MMIO_0.bytes,
        VIRTIO_MMIO_0.bytes,
    )
}

/// PLIC source of virtio-mmio transport `index`.
pub const fn virtio_mmio_irq(index: u32) -> u32 {
    IRQ_VIRTIO_MMIO_0 + index
}

/// PLIC source of interrupt pin `pin` (0 is INTA#) of device `device` on the root bus, by the usual swizzle
/// (PCI Express Base 6.0, 2.2.8.1).
pub const fn pcie_intx_irq(device: u32, pin: u32) -> u32 {
    IRQ_PCIE_INTA + (device + pin) % PCIE_INTX_COUNT
}

/// RAM of `bytes` bytes.
pub const fn ram(bytes: u64) -> Region {
    Region {
        base: RAM_BASE,
        bytes,
    }
}

/// The 64-bit PCI memory window for a machine with `ram_bytes` of RAM: the next multiple of its length
/// behind RAM.
pub const fn pcie_mmio64(ram_bytes: u64) -> Region {
    Region::new(
        ram(ram_bytes)
            .end()
            .raw()
            .next_multiple_of(PCIE_MMIO64_BYTES),
        PCIE_MMIO64_BYTES,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_never_overlap() {
        let mut all = vec![
            MROM,
            TEST,
            RTC,
            CLINT,
            PCIE_PIO,
            PLIC,
            UART0,
            FW_CFG,
            FLASH0,
            FLASH1,
            PCIE_ECAM,
            PCIE_MMIO32,
        ];
        all.extend((0..VIRTIO_MMIO_COUNT).map(virtio_mmio));
        all.push(ram(8 * GIB));
        all.push(pcie_mmio64(8 * GIB));
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| !a.overlaps(*b)), "{a:x?}");
        }
    }

    #[test]
    fn pcie_mmio64_follows_ram_at_its_alignment() {
        assert_eq!(pcie_mmio64(512 * MIB).base, GuestPhysAddr(0x4_0000_0000));
        assert_eq!(pcie_mmio64(14 * GIB).base, GuestPhysAddr(0x4_0000_0000));
        assert_eq!(pcie_mmio64(15 * GIB).base, GuestPhysAddr(0x8_0000_0000));
    }

    #[test]
    fn virtio_mmio_last_is_where_qemu_has_it() {
        assert_eq!(virtio_mmio(7).base, GuestPhysAddr(0x1000_8000));
        assert_eq!(virtio_mmio_irq(7), 8);
    }

    #[test]
    fn pcie_intx_irq_swizzles_by_device() {
        assert_eq!(pcie_intx_irq(0, 0), 32);
        assert_eq!(pcie_intx_irq(1, 0), 33);
        assert_eq!(pcie_intx_irq(3, 3), 34);
        assert_eq!(pcie_intx_irq(4, 1), 33);
    }
}

//! Nodes of single devices: what a node says beside the place and the interrupt, which the device's row has.

use super::super::layout;
use super::{PLIC_PHANDLE, TEST_PHANDLE, Tree, Written};
use crate::Region;

/// Where in the tree a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::riscv_virt) enum Parent {
    Root,
    Soc,
}

/// How the device tree describes one kind of device.
pub(in crate::riscv_virt) struct Node {
    pub(super) parent: Parent,
    pub(super) name: &'static str,
    pub(super) compatible: &'static [&'static str],
    /// What belongs to the device beside the region of its row.
    pub(super) more_regions: &'static [Region],
    /// Further properties.
    pub(super) more: fn(&mut Tree<'_>) -> Written,
}

impl Node {
    const fn soc(
        name: &'static str,
        compatible: &'static [&'static str],
        more: fn(&mut Tree<'_>) -> Written,
    ) -> Self {
        Self {
            parent: Parent::Soc,
            name,
            compatible,
            more_regions: &[],
            more,
        }
    }
}

/// For nodes without further properties.
fn nothing(_: &mut Tree<'_>) -> Written {
    Ok(())
}

pub(in crate::riscv_virt) static FW_CFG: Node = Node {
    parent: Parent::Root,
    ..Node::soc("fw-cfg", &["qemu,fw-cfg-mmio"], |t| {
        t.w.property_null("dma-coherent")
    })
};

pub(in crate::riscv_virt) static FLASH: Node = Node {
    parent: Parent::Root,
    more_regions: &[layout::FLASH1],
    ..Node::soc("flash", &["cfi-flash"], |t| {
        t.w.property_u32("bank-width", 4)
    })
};

pub(in crate::riscv_virt) static CLINT: Node =
    Node::soc("clint", &["sifive,clint0", "riscv,clint0"], |t| {
        t.hart_interrupts(&[cause::M_SOFTWARE, cause::M_TIMER])
    });

pub(in crate::riscv_virt) static PLIC: Node =
    Node::soc("plic", &["sifive,plic-1.0.0", "riscv,plic0"], |t| {
        t.w.property_phandle(PLIC_PHANDLE)?;
        t.w.property_u32("#address-cells", 0)?;
        t.w.property_u32("#interrupt-cells", 1)?;
        t.w.property_null("interrupt-controller")?;
        t.w.property_u32("riscv,ndev", layout::PLIC_SOURCES)?;
        t.hart_interrupts(&[cause::M_EXTERNAL, cause::S_EXTERNAL])
    });

pub(in crate::riscv_virt) static TEST: Node =
    Node::soc("test", &["sifive,test1", "sifive,test0", "syscon"], |t| {
        t.w.property_phandle(TEST_PHANDLE)
    });

pub(in crate::riscv_virt) static RTC: Node = Node::soc("rtc", &["google,goldfish-rtc"], nothing);

pub(in crate::riscv_virt) static UART: Node = Node::soc("serial", &["ns16550a"], |t| {
    t.w.property_u32("clock-frequency", layout::UART_CLOCK_HZ)
});

pub(in crate::riscv_virt) static VIRTIO_MMIO: Node =
    Node::soc("virtio_mmio", &["virtio,mmio"], nothing);

pub(in crate::riscv_virt) static PCIE: Node = Node::soc("pci", &["pci-host-ecam-generic"], |t| {
    t.w.property_string("device_type", "pci")?;
    t.w.property_u32("#address-cells", 3)?;
    t.w.property_u32("#size-cells", 2)?;
    t.w.property_u32("#interrupt-cells", 1)?;
    t.w.property_u32("linux,pci-domain", 0)?;
    t.w.property_array_u32("bus-range", &[0, layout::PCIE_BUSES - 1])?;
    t.w.property_null("dma-coherent")?;
    t.w.property_array_u32("ranges", &pcie_ranges(t.config.ram_bytes))?;
    let pins_mask = (layout::PCIE_INTX_COUNT - 1) << PCI_DEVICE_SHIFT;
    t.w.property_array_u32("interrupt-map-mask", &[pins_mask, 0, 0, 7])?;
    t.w.property_array_u32("interrupt-map", &pcie_interrupt_map())
});

/// Cause numbers of a hart's interrupts (RISC-V Privileged 1.13, table 14).
mod cause {
    pub(super) const M_SOFTWARE: u32 = 3;
    pub(super) const M_TIMER: u32 = 7;
    pub(super) const S_EXTERNAL: u32 = 9;
    pub(super) const M_EXTERNAL: u32 = 11;
}

/// Space codes of the first cell of a PCI address (IEEE 1275 PCI binding, 2.2.1.1).
mod pci_space {
    pub(super) const IO: u32 = 0x0100_0000;
    pub(super) const MEMORY32: u32 = 0x0200_0000;
    pub(super) const MEMORY64: u32 = 0x0300_0000;
}

/// Where the device number stands in the first cell of a PCI address (IEEE 1275 PCI binding, 2.2.1.1).
const PCI_DEVICE_SHIFT: u32 = 11;

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

const fn low(value: u64) -> u32 {
    value as u32
}

/// `ranges` of the host bridge: (space and PCI address, CPU address, length) for each window.
fn pcie_ranges(ram_bytes: u64) -> Vec<u32> {
    let mmio64 = layout::pcie_mmio64(ram_bytes);
    let windows = [
        (pci_space::IO, 0, layout::PCIE_PIO),
        (
            pci_space::MEMORY32,
            layout::PCIE_MMIO32.base.raw(),
            layout::PCIE_MMIO32,
        ),
        (pci_space::MEMORY64, mmio64.base.raw(), mmio64),
    ];
    windows
        .iter()
        .flat_map(|&(space, pci, Region { base, bytes })| {
            let cpu = base.raw();
            [
                space,
                high(pci),
                low(pci),
                high(cpu),
                low(cpu),
                high(bytes),
                low(bytes),
            ]
        })
        .collect()
}

/// `interrupt-map` of the host bridge: (PCI unit, pin) to a PLIC source. Four devices suffice, because the
/// pattern repeats and the mask drops the higher bits.
fn pcie_interrupt_map() -> Vec<u32> {
    let count = layout::PCIE_INTX_COUNT;
    (0..count)
        .flat_map(|device| (0..count).map(move |pin| (device, pin)))
        .flat_map(|(device, pin)| {
            let source = layout::pcie_intx_irq(device, pin);
            [
                device << PCI_DEVICE_SHIFT,
                0,
                0,
                pin + 1,
                PLIC_PHANDLE,
                source,
            ]
        })
        .collect()
}

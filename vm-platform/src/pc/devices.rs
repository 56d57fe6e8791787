//! The devices on the bus and the ports, a row each: where it is and what makes it.

use std::sync::Arc;

use vm_core::GuestPhysAddr;
use vm_device::BusDevice;
use vm_device::chardev::NoSink;
use vm_device::pci::Space;
use vm_device::serial::ns16550::Ns16550;

use super::layout;
use super::wiring::Wiring;
use crate::Region;
use crate::machine::MachineError;

type Made = Result<Arc<dyn BusDevice>, MachineError>;
/// What makes the device of a row.
type Make = fn(&Row, &mut Wiring<'_>) -> Made;

/// Where a device answers.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Memory(Region),
    Ports(layout::Ports),
}

use Place::{Memory, Ports};

/// A device that answers at a fixed place.
pub(super) struct Row {
    /// Names it, and its thread if it has one.
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) make: Make,
}

/// All rows of a board whose RAM ends at `ram_end`.
#[rustfmt::skip]
pub(super) fn rows(ram_end: GuestPhysAddr) -> Vec<Row> {
    let row = |name, place, make| Row { name, place, make };
    vec![
        row("pcie-ecam",   Memory(layout::PCIE_ECAM),   pcie_ecam as Make),
        row("pci-mmio32",  Memory(layout::PCI_MMIO32),  pci_memory),
        row("ioapic",      Memory(layout::IOAPIC),      |_, wiring| Ok(wiring.ioapic.clone())),
        row("pci-mmio64",  Memory(layout::pci_mmio64(ram_end)), pci_memory),
        row("pic-master",  Ports(layout::PIC_MASTER),   |_, wiring| Ok(wiring.pic.master())),
        row("pic-slave",   Ports(layout::PIC_SLAVE),    |_, wiring| Ok(wiring.pic.slave())),
        row("elcr",        Ports(layout::ELCR),         |_, wiring| Ok(wiring.pic.elcr())),
        row("com2",        Ports(layout::COM2),         com2),
        row("com1",        Ports(layout::COM1),         com1),
        row("pci-io",      Ports(layout::PCI_IO),       pci_io),
    ]
}

fn com1(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let output = wiring.parts.serial.clone();
    let serial = Arc::new(Ns16550::new(wiring.isa.line(layout::IRQ_COM1), output));
    wiring.serial = Some(serial.clone());
    Ok(serial)
}

/// Nothing is connected to it.
fn com2(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let line = wiring.isa.line(layout::IRQ_COM2);
    Ok(Arc::new(Ns16550::new(line, Arc::new(NoSink))))
}

fn pcie_ecam(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(wiring.pci.ecam())
}

fn pci_io(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let (first, _) = layout::PCI_IO;
    Ok(wiring.pci.window(Space::Io, first.into()))
}

/// PCI memory has the same addresses on both sides of the bridge.
fn pci_memory(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    let base = match row.place {
        Memory(region) => region.base.raw(),
        Ports((first, _)) => first.into(),
    };
    Ok(wiring.pci.window(Space::Memory, base))
}

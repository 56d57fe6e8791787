//! The devices on the bus and the ports, a row each: where it is and what makes it.

use std::sync::Arc;

use vm_core::GuestPhysAddr;
use vm_device::BusDevice;
use vm_device::chardev::NoSink;
use vm_device::input::i8042::I8042;
use vm_device::pci::{ConfigPorts, Space};
use vm_device::power::port92::Port92;
use vm_device::serial::ns16550::Ns16550;
use vm_device::timer::i8254::I8254;
use vm_device::timer::mc146818::Mc146818;

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
        row("pci-mmio32",  Memory(layout::PCI_MMIO32),  pci_memory as Make),
        row("ioapic",      Memory(layout::IOAPIC),      |_, wiring| Ok(wiring.ioapic.clone())),
        row("pci-mmio64",  Memory(layout::pci_mmio64(ram_end)), pci_memory),
        row("hpet",        Memory(layout::HPET),        |_, wiring| Ok(wiring.hpet.clone())),
        row("pic-master",  Ports(layout::PIC_MASTER),   |_, wiring| Ok(wiring.pic.master())),
        row("pit",         Ports(layout::PIT),          pit),
        row("i8042-data",  Ports(layout::I8042_DATA),   keyboard),
        row("rtc",         Ports(layout::RTC),          rtc),
        row("port92",      Ports(layout::PORT92),       port92),
        row("pic-slave",   Ports(layout::PIC_SLAVE),    |_, wiring| Ok(wiring.pic.slave())),
        row("apm",         Ports(layout::APM),          |_, wiring| Ok(wiring.pm.command_ports())),
        row("elcr",        Ports(layout::ELCR),         |_, wiring| Ok(wiring.pic.elcr())),
        row("com2",        Ports(layout::COM2),         com2),
        row("com1",        Ports(layout::COM1),         com1),
        row("pci-config",  Ports(layout::PCI_CONFIG),   pci_config),
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

/// The timer, and its gate on port 61h.
fn pit(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let parts = &wiring.parts;
    let line = wiring.hpet.legacy_input(wiring.isa.line(layout::IRQ_PIT));
    let pit = I8254::new(parts.clock.clone(), parts.timers, line);
    let (port, count) = layout::PORT_B;
    let speaker = pit.speaker_port();
    parts
        .ports
        .insert("port-b", port.into(), count.into(), speaker)?;
    Ok(pit)
}

/// The keyboard controller, both of its ports.
fn keyboard(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let line = |irq| wiring.isa.line(irq);
    let controller = I8042::new(
        line(layout::IRQ_KEYBOARD),
        line(layout::IRQ_MOUSE),
        wiring.events.clone(),
    );
    let (port, count) = layout::I8042_COMMAND;
    let command = controller.command_port();
    let ports = wiring.parts.ports;
    ports.insert("i8042-command", port.into(), count.into(), command)?;
    Ok(controller.data_port())
}

fn rtc(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let parts = &wiring.parts;
    let rtc = Mc146818::new(
        parts.rtc_start.as_nanos() as u64,
        parts.clock.clone(),
        parts.timers,
        wiring.hpet.legacy_input(wiring.isa.line(layout::IRQ_RTC)),
    );
    let ram = wiring.ram;
    rtc.describe(ram.low_bytes, ram.high_bytes, parts.vcpus.len() as u32);
    Ok(rtc)
}

fn port92(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(Arc::new(Port92::new(wiring.events.clone())))
}

fn pci_config(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(ConfigPorts::new(&wiring.pci, wiring.events.clone()))
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

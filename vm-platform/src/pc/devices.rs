//! The devices on the bus and the ports, a row each: where it is and what makes it.

use std::sync::Arc;

use vm_core::GuestPhysAddr;
use vm_device::BusDevice;
use vm_device::chardev::NoSink;
use vm_device::debug::debugcon::DebugCon;
use vm_device::debug::exit::DebugExit;
use vm_device::debug::pvpanic::PvPanic;
use vm_device::debug::testdev;
use vm_device::display::vga::Vga;
use vm_device::firmware::fw_cfg::FwCfgPorts;
use vm_device::input::i8042::I8042;
use vm_device::intc::isa::ISA_IRQS;
use vm_device::pci::{ConfigPorts, Space};
use vm_device::power::port92::Port92;
use vm_device::serial::ns16550::Ns16550;
use vm_device::timer::i8254::I8254;
use vm_device::timer::mc146818::Mc146818;

use super::layout;
use super::wiring::Wiring;
use crate::Region;
use crate::machine::MachineError;

/// `None` where this machine has not that device.
type Made = Result<Option<Arc<dyn BusDevice>>, MachineError>;
/// What makes the device of a row.
type Make = fn(&Row, &mut Wiring<'_>) -> Made;

/// Where a device answers.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Memory(Region),
    /// Wherever no other device is.
    Behind(Region),
    Ports(layout::Ports),
    /// Those of the ports that no other device has.
    PortsBehind(layout::Ports),
}

use Place::{Behind, Memory, Ports, PortsBehind};

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
    let row = |name, place, make: Make| Row { name, place, make };
    vec![
        row("vga-window",  Memory(layout::DISPLAY_WINDOW), |_, wiring| display(wiring, Vga::window)),
        row("pci-mmio32",  Behind(layout::PCI_MMIO32),  pci_memory),
        row("ioapic",      Memory(layout::IOAPIC),      |_, wiring| Ok(Some(wiring.ioapic.clone()))),
        row("pci-mmio64",  Memory(layout::pci_mmio64(ram_end)), pci_memory),
        row("hpet",        Memory(layout::HPET),        |_, wiring| Ok(Some(wiring.hpet.clone()))),
        row("pic-master",  Ports(layout::PIC_MASTER),   |_, wiring| Ok(Some(wiring.pic.master()))),
        row("pit",         Ports(layout::PIT),          pit),
        row("i8042-data",  Ports(layout::I8042_DATA),   keyboard),
        row("rtc",         Ports(layout::RTC),          rtc),
        row("port92",      Ports(layout::PORT92),       port92),
        row("pic-slave",   Ports(layout::PIC_SLAVE),    |_, wiring| Ok(Some(wiring.pic.slave()))),
        row("apm",         Ports(layout::APM),          |_, wiring| Ok(Some(wiring.pm.command_ports()))),
        row("vga-vbe",     Ports(layout::DISPLAY_EXTENSIONS), |_, wiring| display(wiring, Vga::extension_ports)),
        row("vga",         Ports(layout::DISPLAY),      |_, wiring| display(wiring, Vga::ports)),
        row("test-registers", Ports(layout::TEST_REGISTERS), |_, wiring| test(wiring, |_| Arc::<testdev::Registers>::default())),
        row("debug-exit",  Ports(layout::DEBUG_EXIT),   debug_exit),
        row("debugcon",    Ports(layout::DEBUGCON),     debugcon),
        row("pvpanic",     Ports(layout::PVPANIC),      |_, wiring| Ok(Some(Arc::new(PvPanic::new(wiring.events.clone()))))),
        row("fw-cfg",      Ports(layout::FW_CFG),       fw_cfg),
        row("elcr",        Ports(layout::ELCR),         |_, wiring| Ok(Some(wiring.pic.elcr()))),
        row("com2",        Ports(layout::COM2),         com2),
        row("com1",        Ports(layout::COM1),         com1),
        row("pci-config",  Ports(layout::PCI_CONFIG),   pci_config),
        row("test-lines",  Ports(layout::TEST_LINES),   |_, wiring| test(wiring, test_lines)),
        row("pci-io",      PortsBehind(layout::PCI_IO), pci_io),
        row("test-memory", Memory(layout::TEST_MEMORY), |_, wiring| test(wiring, |_| Arc::<testdev::Memory>::default())),
    ]
}

fn com1(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let output = wiring.parts.serial.clone();
    let serial = Arc::new(Ns16550::new(wiring.isa.line(layout::IRQ_COM1), output));
    wiring.serial = Some(serial.clone());
    Ok(Some(serial))
}

/// Nothing is connected to it.
fn com2(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let line = wiring.isa.line(layout::IRQ_COM2);
    Ok(Some(Arc::new(Ns16550::new(line, Arc::new(NoSink)))))
}

/// The timer, and its gate on port 61h.
fn pit(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let parts = &wiring.parts;
    let line = wiring.hpet.legacy_input(wiring.isa.line(layout::IRQ_PIT));
    let pit = I8254::new(parts.clock.clone(), &*parts.timers, line);
    let (port, count) = layout::PORT_B;
    let speaker = pit.speaker_port();
    parts
        .ports
        .insert("port-b", port.into(), count.into(), speaker)?;
    Ok(Some(pit))
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
    wiring.keyboard = Some(controller.clone());
    Ok(Some(controller.data_port()))
}

fn rtc(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let parts = &wiring.parts;
    let rtc = Mc146818::new(
        parts.rtc_start.as_nanos() as u64,
        parts.clock.clone(),
        &*parts.timers,
        wiring.hpet.legacy_input(wiring.isa.line(layout::IRQ_RTC)),
    );
    let ram = wiring.ram;
    rtc.describe(ram.low_bytes, ram.high_bytes, parts.vcpus.len() as u32);
    Ok(Some(rtc))
}

fn port92(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(Some(Arc::new(Port92::new(wiring.events.clone()))))
}

fn pci_config(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(Some(ConfigPorts::new(&wiring.pci, wiring.events.clone())))
}

fn pci_io(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let (first, _) = layout::PCI_IO;
    Ok(Some(wiring.pci.window(Space::Io, first.into())))
}

/// PCI memory has the same addresses on both sides of the bridge.
fn pci_memory(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    let base = match row.place {
        Memory(region) | Behind(region) => region.base.raw(),
        Ports((first, _)) | PortsBehind((first, _)) => first.into(),
    };
    Ok(Some(wiring.pci.window(Space::Memory, base)))
}

fn display(wiring: &Wiring<'_>, part: fn(&Vga) -> Arc<dyn BusDevice>) -> Made {
    Ok(wiring.vga.as_deref().map(part))
}

fn debugcon(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let sink = wiring.parts.debugcon.clone();
    Ok(sink.map(|sink| Arc::new(DebugCon::new(sink)) as _))
}

fn debug_exit(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let exit = || Arc::new(DebugExit::new(wiring.events.clone())) as _;
    Ok(wiring.devices.debug_exit.then(exit))
}

/// A part of the test device, if there is one.
fn test<T: BusDevice + 'static>(wiring: &Wiring<'_>, make: fn(&Wiring<'_>) -> Arc<T>) -> Made {
    let has = wiring.devices.test_device;
    Ok(has.then(|| make(wiring) as _))
}

fn test_lines(wiring: &Wiring<'_>) -> Arc<testdev::Lines> {
    let lines = (0..ISA_IRQS).map(|irq| wiring.isa.line(irq));
    Arc::new(testdev::Lines::new(lines.collect()))
}

fn fw_cfg(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(Some(Arc::new(FwCfgPorts::new(wiring.fw_cfg.clone()))))
}

//! Differentiated system description table (ACPI 6.5, 5.2.11.1): the devices that systems cannot find by themselves.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, Device, EISAName, IO, Interrupt, Memory32Fixed,
    Method, Name, Package, ResourceTemplate, Return, Scope,
};
use acpi_tables::{Aml, AmlSink};
use vm_core::GuestPhysAddr;

use super::PcLayout;
use super::blob::Blob;
use super::sdt::Sdt;

/// Integers are 64 bits wide from this revision on.
const REVISION: u8 = 2;
/// PCI devices on a bus, and interrupt pins of each.
const PCI_DEVICES: u32 = 32;
const PCI_PINS: u32 = 4;
/// Device numbers with this in the low half mean all functions (ACPI 6.5, 6.1.1).
const ALL_FUNCTIONS: u32 = 0xffff;
/// `_STA` of a device that is there and works (ACPI 6.5, 6.3.7).
const PRESENT: u8 = 0x0f;
/// Ports of the PCI configuration mechanism, which is no part of the bus.
const PCI_CONFIG_FIRST: u16 = 0xcf8;
const PCI_CONFIG_LAST: u16 = 0xcff;
/// Memory of the display.
const DISPLAY: (u32, u32) = (0xa_0000, 0xb_ffff);
/// Interrupts of keyboard, mouse and clock.
const IRQ_KEYBOARD: u32 = 1;
const IRQ_CLOCK: u32 = 8;
const IRQ_MOUSE: u32 = 12;
/// Ports of the power-management block.
const PM_PORTS: u8 = 0x80;

/// AML in the making.
#[derive(Default)]
struct Code(Vec<u8>);

impl Aml for Code {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

impl Code {
    fn add(&mut self, object: &dyn Aml) -> &mut Self {
        object.to_aml_bytes(&mut self.0);
        self
    }

    fn name(&mut self, name: &str, object: &dyn Aml) -> &mut Self {
        self.add(&Name::new(name.into(), object))
    }

    fn resources(&mut self, list: Vec<&dyn Aml>) -> &mut Self {
        self.name("_CRS", &ResourceTemplate::new(list))
    }

    fn device(&mut self, name: &str, body: &Self) -> &mut Self {
        self.add(&Device::new(name.into(), vec![body]))
    }
}

/// The table.
pub(super) fn table(layout: &PcLayout) -> Blob {
    let mut bus = Code::default();
    bus.device("PCI0", &host_bridge(layout));
    bus.device("MBRD", &motherboard(layout));
    for cpu in 0..layout.cpus {
        let mut body = Code::default();
        body.name("_HID", &"ACPI0007").name("_UID", &cpu);
        bus.device(&format!("C{cpu:03X}"), &body);
    }
    if let Some(at) = layout.hpet {
        bus.device("HPET", &hpet(at));
    }
    if let Some(port) = layout.fw_cfg {
        bus.device("FWCF", &fw_cfg(port));
    }
    let mut code = Code::default();
    code.add(&Scope::new("\\_SB_".into(), vec![&bus]));
    let s5 = layout.s5_sleep_type;
    code.name("\\_S5_", &Package::new(vec![&s5, &s5, &0_u8, &0_u8]));
    let mut table = Sdt::new(b"DSDT", REVISION);
    table.bytes(&code.0);
    table.finish()
}

fn host_bridge(layout: &PcLayout) -> Code {
    let mut body = Code::default();
    body.name("_HID", &EISAName::new("PNP0A08"));
    body.name("_CID", &EISAName::new("PNP0A03"));
    body.name("_UID", &0_u8)
        .name("_SEG", &0_u8)
        .name("_BBN", &0_u8);
    let last = layout.last_bus();
    let buses = AddressSpace::new_bus_number(0_u16, last.into());
    let config = IO::new(PCI_CONFIG_FIRST, PCI_CONFIG_FIRST, 1, 8);
    let ports_below = AddressSpace::new_io(0, PCI_CONFIG_FIRST - 1, None);
    let ports_above = AddressSpace::new_io(PCI_CONFIG_LAST + 1, u16::MAX, None);
    let memory = |first: u32, last: u32| {
        AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None)
    };
    let display = memory(DISPLAY.0, DISPLAY.1);
    let low = layout.pci_memory_32;
    let low = memory(low.base.raw() as u32, (low.end().raw() - 1) as u32);
    let high = layout.pci_memory_64.map(|high| {
        let (first, last) = (high.base.raw(), high.end().raw() - 1);
        let kind = AddressSpaceCacheable::NotCacheable;
        AddressSpace::new_memory(kind, true, first, last, None)
    });
    let mut resources: Vec<&dyn Aml> =
        vec![&buses, &config, &ports_below, &ports_above, &display, &low];
    resources.extend(high.as_ref().map(|high| high as &dyn Aml));
    body.resources(resources);
    body.name("_PRT", &InterruptRouting(layout.pci_gsi));
    // The system may have control of all that it asks for (PCI Firmware 3.3, 4.5.1).
    let grant = Return::new(&Arg(3));
    body.add(&Method::new("_OSC".into(), 4, false, vec![&grant]));
    body.device("LPC_", &low_pin_count(layout));
    body
}

/// `_PRT`: device and pin to interrupt (ACPI 6.5, 6.2.13).
struct InterruptRouting(u32);

impl Aml for InterruptRouting {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let mut rows = Vec::new();
        for device in 0..PCI_DEVICES {
            for pin in 0..PCI_PINS {
                let address = device << 16 | ALL_FUNCTIONS;
                let gsi = self.0 + (device + pin) % PCI_PINS;
                let mut row = Code::default();
                row.add(&Package::new(vec![&address, &pin, &0_u8, &gsi]));
                rows.push(row);
            }
        }
        let rows = rows.iter().map(|row| row as &dyn Aml).collect();
        Package::new(rows).to_aml_bytes(sink);
    }
}

/// The bridge to the devices at fixed ports.
fn low_pin_count(layout: &PcLayout) -> Code {
    let mut body = Code::default();
    body.name("_ADR", &0x1f_0000_u32);
    for (index, serial) in layout.serial.iter().enumerate() {
        let mut device = Code::default();
        device.name("_HID", &EISAName::new("PNP0501"));
        device
            .name("_UID", &(index as u32 + 1))
            .name("_STA", &PRESENT);
        let ports = IO::new(serial.first, serial.first, 1, 8);
        device.resources(vec![&ports, &isa_interrupt(serial.irq.into())]);
        body.device(&format!("COM{}", index + 1), &device);
    }
    if let Some(port) = layout.pvpanic {
        body.device("PEVT", &panic_port(port));
    }
    if layout.has_i8042 {
        let mut keyboard = Code::default();
        keyboard.name("_HID", &EISAName::new("PNP0303"));
        keyboard.name("_STA", &PRESENT);
        let (data, command) = (IO::new(0x60, 0x60, 1, 1), IO::new(0x64, 0x64, 1, 1));
        keyboard.resources(vec![&data, &command, &isa_interrupt(IRQ_KEYBOARD)]);
        body.device("KBD_", &keyboard);
        let mut mouse = Code::default();
        mouse.name("_HID", &EISAName::new("PNP0F13"));
        mouse.name("_STA", &PRESENT);
        mouse.resources(vec![&isa_interrupt(IRQ_MOUSE)]);
        body.device("MOU_", &mouse);
    }
    let mut clock = Code::default();
    clock.name("_HID", &EISAName::new("PNP0B00"));
    clock.resources(vec![&IO::new(0x70, 0x70, 1, 2), &isa_interrupt(IRQ_CLOCK)]);
    body.device("RTC_", &clock);
    body
}

/// What the board itself occupies: without it, systems do not trust the configuration space's address.
fn motherboard(layout: &PcLayout) -> Code {
    let mut body = Code::default();
    body.name("_HID", &EISAName::new("PNP0C02"))
        .name("_UID", &0_u8);
    let ecam = Memory32Fixed::new(
        true,
        layout.ecam.base.raw() as u32,
        layout.ecam.bytes as u32,
    );
    let power = IO::new(layout.pm_base, layout.pm_base, 1, PM_PORTS);
    body.resources(vec![&ecam, &power]);
    body
}

fn hpet(at: GuestPhysAddr) -> Code {
    let mut body = Code::default();
    body.name("_HID", &EISAName::new("PNP0103"))
        .name("_UID", &0_u8);
    body.resources(vec![&Memory32Fixed::new(false, at.raw() as u32, 0x400)]);
    body
}

fn fw_cfg(port: u16) -> Code {
    let mut body = Code::default();
    body.name("_HID", &"QEMU0002").name("_STA", &0x0b_u8);
    // Selector, data, and the DMA register.
    body.resources(vec![&IO::new(port, port, 1, 12)]);
    body
}

/// The panic device (QEMU 10.0, `docs/specs/pvpanic.rst`, "ACPI Interface"), one byte.
fn panic_port(port: u16) -> Code {
    let mut body = Code::default();
    body.name("_HID", &"QEMU0001").name("_STA", &PRESENT);
    body.resources(vec![&IO::new(port, port, 1, 1)]);
    body
}

/// An interrupt of the old bus: edge-triggered, active high.
fn isa_interrupt(number: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, number)
}

//! How the devices are wired to each other and to the processors. What there is at which address stands in `devices.rs`.

use std::sync::Arc;

use vm_boot::x86::PcRam;
use vm_core::{IrqLine, NoIrq, TimeBase};
use vm_device::intc::i8259::I8259;
use vm_device::intc::ioapic::IoApic;
use vm_device::intc::ioapic::spec::INPUTS;
use vm_device::intc::isa::{IRQ0_GSI, ISA_IRQS, IsaIrqs};
use vm_device::intc::lapic::{ApicBus, ApicIdentity, ApicLines, ApicTime, LocalApic};
use vm_device::movable::Movable;
use vm_device::pci::PciRoot;
use vm_device::pci::q35::{Lpc, LpcRanges, Mch, Smbus};
use vm_device::power::acpi_pm::AcpiPm;
use vm_device::power::{SystemEvent, SystemEvents};
use vm_device::serial::ns16550::Ns16550;
use vm_device::timer::hpet::{Hpet, HpetLines};
use vm_frontend::x86::cpu::{PHYS_ADDR_BITS, TSC_HZ};
use vm_frontend::x86::line;

use super::devices::{self, Place};
use super::layout;
use crate::machine::board::{Parts, Ports};
use crate::machine::control::{Control, Event};
use crate::machine::virtio::{PCI_SLOTS, VirtioDevices};
use crate::machine::{MachineError, Outcome};

/// Interrupts of the ISA bus that the HPET can take the place of: those of the 8254 and the real-time clock.
const HPET_LEGACY: [u8; 2] = [layout::IRQ_PIT, layout::IRQ_RTC];

/// What the rows of `devices.rs` are made from.
pub(super) struct Wiring<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) pic: Arc<I8259>,
    pub(super) ioapic: Arc<IoApic>,
    pub(super) isa: IsaIrqs,
    pub(super) pci: Arc<PciRoot>,
    pub(super) pm: Arc<AcpiPm>,
    pub(super) hpet: Arc<Hpet>,
    pub(super) events: SystemEvents,
    pub(super) ram: PcRam,
    /// The first serial port, once it is made.
    pub(super) serial: Option<Arc<Ns16550>>,
}

/// What others reach.
pub(super) struct Placed {
    pub(super) ports: Ports,
    pub(super) local_apics: Vec<Arc<LocalApic>>,
    pub(super) pci: Arc<PciRoot>,
}

/// Makes the devices and puts them on the bus and the ports.
///
/// # Errors
/// When there are more than the board has room for.
pub(super) fn place_devices(mut parts: Parts<'_>, ram: PcRam) -> Result<Placed, MachineError> {
    let apics = ApicBus::new();
    let local_apics = local_apics(&parts, &apics);
    let pic = I8259::new(apics.lint(0));
    let external = Arc::downgrade(&pic);
    apics.set_external(external);
    let ioapic = IoApic::new(&apics);
    let isa = IsaIrqs::new(&pic, &ioapic);
    let events = events(parts.control);
    let (clock, timers) = (parts.clock.clone(), parts.timers);
    let sci = isa.line(layout::IRQ_SCI);
    let pm = AcpiPm::new(clock.clone(), timers, sci, events.clone());
    let hpet_lines = HpetLines {
        routes: hpet_routes(&isa, &ioapic),
        legacy: HPET_LEGACY.map(|irq| isa.line(irq)),
        messages: apics.clone(),
    };
    let hpet = Hpet::new(clock, timers, hpet_lines);
    let pci = chipset(&parts, &pm, &isa, &ioapic)?;
    let virtio = VirtioDevices::new(std::mem::take(&mut parts.virtio), parts.memory, PCI_SLOTS)?;
    let (console, balloon) = (virtio.console.clone(), virtio.balloon.clone());
    virtio.plug(&pci, parts.memory, Some(apics))?;
    let (bus, ports) = (parts.bus, parts.ports);
    let mut wiring = Wiring {
        parts,
        pic,
        ioapic,
        isa,
        pci: pci.clone(),
        pm,
        hpet,
        events,
        ram,
        serial: None,
    };
    for row in devices::rows(super::board::ram_end(ram)) {
        let device = (row.make)(&row, &mut wiring)?;
        match row.place {
            Place::Memory(region) => {
                bus.insert(row.name, region.base.raw(), region.bytes, device)?;
            }
            Place::Ports((first, count)) => {
                ports.insert(row.name, first.into(), count.into(), device)?;
            }
        }
    }
    let serial = wiring
        .serial
        .expect("invariant: a row makes the serial port");
    Ok(Placed {
        ports: Ports {
            serial,
            console,
            balloon,
        },
        local_apics,
        pci,
    })
}

/// One for each processor; its number is the processor's.
fn local_apics(parts: &Parts<'_>, bus: &Arc<ApicBus>) -> Vec<Arc<LocalApic>> {
    let time = ApicTime {
        clock: parts.clock.clone(),
        alarms: parts.timers,
        tsc: parts.time.clone(),
        timer: Arc::new(TimeBase::new(parts.clock.clone(), TSC_HZ)),
    };
    let make = |vcpu: &Arc<vm_engine::VcpuShared>| {
        let edge = |number| -> Arc<dyn IrqLine> { Arc::new(Edge(vcpu.line(number))) };
        let who = ApicIdentity {
            id: vcpu.id().0,
            bootstrap: vcpu.id().0 == 0,
            physical_bits: PHYS_ADDR_BITS as u8,
        };
        let lines = ApicLines {
            intr: vcpu.line(line::INTR),
            nmi: edge(line::NMI),
            init: edge(line::INIT),
            startup: edge(line::STARTUP),
        };
        LocalApic::new(who, lines, bus, &time)
    };
    parts.vcpus.iter().map(make).collect()
}

/// What the machine does about an event.
fn events(control: &Arc<Control>) -> SystemEvents {
    let control = control.clone();
    Arc::new(move |event| match event {
        SystemEvent::Reset => control.raise(Event::Reset),
        SystemEvent::PowerOff => control.raise(Event::End(Outcome::PoweredOff)),
        SystemEvent::Exit(status) => {
            let code = u16::try_from(status).unwrap_or(u16::MAX);
            control.raise(Event::End(Outcome::Failed(code)));
        }
        SystemEvent::Panicked => control.raise(Event::End(Outcome::Panicked)),
        // Its crash kernel goes on.
        SystemEvent::CrashLoaded => {}
    })
}

/// The inputs of the I/O APIC by number, as the HPET drives them: those of the ISA bus through the bus's gates, where
/// input 2 is interrupt 0.
fn hpet_routes(isa: &IsaIrqs, ioapic: &IoApic) -> Vec<Arc<dyn IrqLine>> {
    let route = |input| match input {
        0 => Arc::new(NoIrq) as Arc<dyn IrqLine>,
        IRQ0_GSI => isa.line(layout::IRQ_PIT),
        irq if irq < ISA_IRQS => isa.line(irq),
        other => ioapic.input(other),
    };
    (0..INPUTS).map(route).collect()
}

/// The PCI bus with the chipset on it. All RAM below 1 MiB is RAM, whatever the chipset's registers say: there is no
/// firmware that would lie there.
fn chipset(
    parts: &Parts<'_>,
    pm: &Arc<AcpiPm>,
    isa: &IsaIrqs,
    ioapic: &IoApic,
) -> Result<Arc<PciRoot>, MachineError> {
    let ranges = LpcRanges::new(parts.ports, parts.bus, pm);
    let lpc = Lpc::new(ranges, pm.clone(), isa, ioapic);
    let mch = Mch::new(Box::new(|_| {}));
    let lines = std::array::from_fn(|pin| lpc.pirq(layout::PIRQ_PCI + pin as u8));
    let pci = PciRoot::with_host_bridge(lines, mch.clone());
    let root = Arc::downgrade(&pci);
    mch.set_ecam(Movable::made(parts.bus, "pcie-ecam", move || {
        Some(root.upgrade()?.ecam())
    }));
    pci.insert_function(layout::ICH_SLOT, 0, lpc.clone())?;
    pci.insert_function(layout::ICH_SLOT, 3, Smbus::new(lpc.pirq(1)))?;
    Ok(pci)
}

/// An input that a processor takes note of when it rises, and itself takes down when it has seen it: the pulses that a
/// local APIC gives would be over before.
struct Edge(Arc<dyn IrqLine>);

impl IrqLine for Edge {
    fn set(&self, high: bool) {
        if high {
            self.0.set(true);
        }
    }
}

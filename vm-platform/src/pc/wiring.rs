//! How the devices are wired to each other and to the processors. What there is at which address stands in `devices.rs`.

use std::sync::Arc;

use vm_core::{GuestPhysAddr, IrqLine, TimeBase};
use vm_device::intc::i8259::I8259;
use vm_device::intc::ioapic::IoApic;
use vm_device::intc::isa::IsaIrqs;
use vm_device::intc::lapic::{ApicBus, ApicIdentity, ApicLines, ApicTime, LocalApic};
use vm_device::pci::PciRoot;
use vm_device::serial::ns16550::Ns16550;
use vm_frontend::x86::cpu::{PHYS_ADDR_BITS, TSC_HZ};
use vm_frontend::x86::line;

use super::devices::{self, Place};
use super::layout;
use crate::machine::MachineError;
use crate::machine::board::{Parts, Ports};
use crate::machine::virtio::{PCI_SLOTS, VirtioDevices};

/// INTA# to INTD#.
const PCI_PINS: [u8; 4] = [0, 1, 2, 3];

/// What the rows of `devices.rs` are made from.
pub(super) struct Wiring<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) pic: Arc<I8259>,
    pub(super) ioapic: Arc<IoApic>,
    pub(super) isa: IsaIrqs,
    pub(super) pci: Arc<PciRoot>,
    /// The first serial port, once it is made.
    pub(super) serial: Option<Arc<Ns16550>>,
}

/// What others reach.
pub(super) struct Placed {
    pub(super) ports: Ports,
    pub(super) local_apics: Vec<Arc<LocalApic>>,
}

/// Makes the devices and puts them on the bus and the ports.
///
/// # Errors
/// When there are more than the board has room for.
pub(super) fn place_devices(
    mut parts: Parts<'_>,
    ram_end: GuestPhysAddr,
) -> Result<Placed, MachineError> {
    let apics = ApicBus::new();
    let local_apics = local_apics(&parts, &apics);
    let pic = I8259::new(apics.lint(0));
    let external = Arc::downgrade(&pic);
    apics.set_external(external);
    let ioapic = IoApic::new(&apics);
    let isa = IsaIrqs::new(&pic, &ioapic);
    let pci = PciRoot::new(PCI_PINS.map(|pin| ioapic.input(layout::GSI_PCI + pin)));
    let virtio = VirtioDevices::new(std::mem::take(&mut parts.virtio), parts.memory, PCI_SLOTS)?;
    let (console, balloon) = (virtio.console.clone(), virtio.balloon.clone());
    virtio.plug(&pci, parts.memory)?;
    let (bus, ports) = (parts.bus, parts.ports);
    let mut wiring = Wiring {
        parts,
        pic,
        ioapic,
        isa,
        pci,
        serial: None,
    };
    for row in devices::rows(ram_end) {
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
        let line = |number| -> Arc<dyn IrqLine> { vcpu.line(number) };
        let who = ApicIdentity {
            id: vcpu.id().0,
            bootstrap: vcpu.id().0 == 0,
            physical_bits: PHYS_ADDR_BITS as u8,
        };
        let lines = ApicLines {
            intr: line(line::INTR),
            nmi: line(line::NMI),
            init: line(line::INIT),
            startup: line(line::STARTUP),
        };
        LocalApic::new(who, lines, bus, &time)
    };
    parts.vcpus.iter().map(make).collect()
}

//! How the devices are wired to each other and to the processors. What there is at which address stands in `devices.rs`.

use std::sync::Arc;

use vm_boot::x86::PcRam;
use vm_core::config::DiskBus;
use vm_core::{Alarms, Clock, GuestPhysAddr, IrqLine, NoIrq, TimeBase};
use vm_device::display::Display;
use vm_device::display::ramfb::Ramfb;
use vm_device::display::vga::Vga;
use vm_device::firmware::flash::Flash;
use vm_device::firmware::fw_cfg::FwCfg;
use vm_device::input::i8042::I8042;
use vm_device::intc::MsiTarget;
use vm_device::intc::i8259::I8259;
use vm_device::intc::ioapic::IoApic;
use vm_device::intc::ioapic::spec::INPUTS;
use vm_device::intc::isa::{IRQ0_GSI, ISA_IRQS, IsaIrqs};
use vm_device::intc::lapic::{ApicBus, ApicIdentity, ApicLines, ApicTime, LocalApic};
use vm_device::movable::Movable;
use vm_device::pci::q35::{Lpc, LpcRanges, Mch, ShadowRange, Smbus};
use vm_device::pci::{PciFunction, PciRoot};
use vm_device::power::SystemEvents;
use vm_device::power::acpi_pm::AcpiPm;
use vm_device::serial::ns16550::Ns16550;
use vm_device::storage::ahci::spec::PORTS as SATA_PORTS;
use vm_device::storage::ahci::{Ahci, SataDrive};
use vm_device::storage::nvme::Nvme;
use vm_device::timer::hpet::{Hpet, HpetLines};
use vm_device::watchdog::i6300esb::I6300Esb;
use vm_frontend::x86::cpu::{CpuConfig, Feature, PHYS_ADDR_BITS, TSC_HZ};
use vm_frontend::x86::line;
use vm_mem::{GuestMemory, PhysMap};

use super::config::{PcDisplay, PcFirmware};
use super::devices::Place;
use super::firmware::{self, BootDisk, DISPLAY_APERTURE, Told};
use super::layout;
use crate::machine::board::{Parts, Ports};
use crate::machine::virtio::{Kind, MakeFunction, PCI_SLOTS, VirtioDevices};
use crate::machine::{Disk, FlashBank, MachineError};

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
    /// Through which firmware and kernels are told of the machine.
    pub(super) fw_cfg: Arc<FwCfg>,
    pub(super) vga: Option<Arc<Vga>>,
    pub(super) devices: Devices,
    /// The first serial port and the keyboard controller, once they are made.
    pub(super) serial: Option<Arc<Ns16550>>,
    pub(super) keyboard: Option<Arc<I8042>>,
}

/// What the board has planned.
pub(super) struct Plan<'a> {
    pub(super) ram: PcRam,
    pub(super) cpu: &'a CpuConfig,
    pub(super) map: PhysMap,
    /// The VGA's memory, if there is one.
    pub(super) vga: Option<GuestMemory>,
    pub(super) firmware: Option<&'a mut PcFirmware>,
    pub(super) devices: Devices,
}

/// Devices that there are when they are asked for.
#[derive(Clone, Copy)]
pub(super) struct Devices {
    pub(super) display: Option<PcDisplay>,
    pub(super) watchdog: bool,
    pub(super) debug_exit: bool,
    pub(super) test_device: bool,
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
pub(super) fn place_devices(mut parts: Parts<'_>, plan: Plan<'_>) -> Result<Placed, MachineError> {
    let Plan {
        ram,
        cpu,
        map,
        vga,
        mut firmware,
        devices,
    } = plan;
    let apics = ApicBus::new();
    let x2apic = cpu.has(Feature::X2apic);
    let local_apics = local_apics(&parts, &apics, x2apic);
    let pic = I8259::new(apics.lint(0));
    let external = Arc::downgrade(&pic);
    apics.set_external(external);
    let ioapic = IoApic::new(&apics);
    let isa = IsaIrqs::new(&pic, &ioapic);
    let events = parts.control.system_events();
    let (clock, timers) = (parts.clock.clone(), parts.timers.clone());
    let sci = isa.line(layout::IRQ_SCI);
    let pm = AcpiPm::new(clock.clone(), &*timers, sci, events.clone());
    let hpet_lines = HpetLines {
        routes: hpet_routes(&isa, &ioapic),
        legacy: HPET_LEGACY.map(|irq| isa.line(irq)),
        messages: apics.clone(),
    };
    let hpet = Hpet::new(clock.clone(), &*timers, hpet_lines);
    let pci = chipset(&parts, &pm, &isa, &ioapic, map.clone())?;
    let mut cards = VirtioDevices::new(std::mem::take(&mut parts.virtio), parts.memory, PCI_SLOTS)?;
    let (console, balloon) = (cards.console.clone(), cards.balloon.clone());
    let vga = vga.map(|memory| {
        let moved = move |at| map.place(DISPLAY_APERTURE, at);
        Vga::new(memory, Box::new(moved))
    });
    if let Some(display) = vga.clone() {
        cards.add(Kind::Display, None, None, Box::new(move |_| Ok(display)));
    }
    let watchdog = devices
        .watchdog
        .then(|| watchdog(clock, timers, events.clone()));
    let drives = std::mem::take(&mut parts.drives);
    let boot_order = plug(cards, drives, watchdog, &pci, parts.memory, apics)?;
    if let Some(firmware) = &mut firmware
        && let Some((base, bank)) = firmware::variables(firmware)
    {
        let FlashBank { image, access } = bank;
        let bytes = image.len() as u64;
        let flash = Arc::new(Flash::pc(base, bytes, &image, access)?);
        parts
            .bus
            .insert("flash-variables", base.raw(), bytes, flash)?;
    }
    let told = Told {
        firmware: firmware.as_deref(),
        display: devices.display,
        cpu,
        ram,
        boot_order,
    };
    let fw_cfg = firmware::fw_cfg(parts.memory, &pci, &told)?;
    let display = match (&vga, devices.display) {
        (Some(vga), _) => Some(vga.clone() as Arc<dyn Display>),
        (None, Some(PcDisplay::Ramfb)) => Some(Ramfb::new(&fw_cfg, parts.memory.clone())? as _),
        (None, _) => None,
    };
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
        fw_cfg,
        vga,
        devices,
        serial: None,
        keyboard: None,
    };
    for row in super::devices::rows(super::board::ram_end(ram)) {
        let Some(device) = (row.make)(&row, &mut wiring)? else {
            continue;
        };
        match row.place {
            Place::Memory(region) => {
                bus.insert(row.name, region.base.raw(), region.bytes, device)?;
            }
            Place::Behind(region) => {
                bus.insert_behind(row.name, region.base.raw(), region.bytes, device)?;
            }
            Place::Ports((first, count)) => {
                ports.insert(row.name, first.into(), count.into(), device)?;
            }
            Place::PortsBehind((first, count)) => {
                ports.insert_behind(row.name, first.into(), count.into(), device)?;
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
            display,
            keyboard: wiring.keyboard,
        },
        local_apics,
        pci,
    })
}

/// What makes the watchdog.
fn watchdog(clock: Arc<dyn Clock>, alarms: Arc<dyn Alarms>, events: SystemEvents) -> MakeFunction {
    Box::new(move |intx| Ok(I6300Esb::new(clock, &*alarms, intx, events)))
}

/// Puts all that is in a slot into one: what there is already, disks of other kinds, and behind them the watchdog, which has
/// no slot of its own. Gives the order in which firmware tries the disks.
fn plug(
    mut devices: VirtioDevices,
    drives: Vec<(usize, Disk)>,
    watchdog: Option<MakeFunction>,
    pci: &Arc<PciRoot>,
    memory: &GuestMemory,
    messages: Arc<ApicBus>,
) -> Result<String, MachineError> {
    let mut sata = Vec::new();
    let mut order = Vec::new();
    let mut nvme = Vec::new();
    for (number, disk) in drives {
        let Disk {
            backend,
            serial,
            room,
            slot,
            bus,
            optical,
        } = disk;
        if bus == DiskBus::Nvme {
            let (memory, messages) = (memory.clone(), messages.clone());
            nvme.push(number);
            let make = move |intx| -> Result<Arc<dyn PciFunction>, MachineError> {
                let messages = Some(messages as Arc<dyn MsiTarget>);
                Ok(Nvme::new(backend, &serial, room, memory, intx, messages)?)
            };
            devices.add(Kind::Nvme, slot, Some(number), Box::new(make));
            continue;
        }
        order.push(BootDisk {
            number,
            bus,
            place: sata.len() as u8,
        });
        sata.push(Some(match optical {
            true => SataDrive::Optical {
                medium: Some(backend),
                serial,
            },
            false => SataDrive::Disk {
                backend,
                serial,
                room,
            },
        }));
    }
    if sata.len() > SATA_PORTS {
        return Err(MachineError::TooManySataDrives {
            count: sata.len(),
            room: SATA_PORTS,
        });
    }
    if !sata.is_empty() {
        let controller = Ahci::new(sata, memory.clone(), pci.intx(layout::ICH_SLOT))?;
        pci.insert_function(layout::ICH_SLOT, 2, controller)?;
    }
    if let Some(make) = watchdog {
        devices.add(Kind::Watchdog, None, None, make);
    }
    let slots = devices.plug(pci, memory, Some(messages), &[layout::ICH_SLOT])?;
    order.extend(slots.into_iter().map(|(number, place)| {
        let bus = match nvme.contains(&number) {
            true => DiskBus::Nvme,
            false => DiskBus::Virtio,
        };
        BootDisk { number, bus, place }
    }));
    Ok(firmware::boot_order(order))
}

/// One for each processor; its number is the processor's.
fn local_apics(parts: &Parts<'_>, bus: &Arc<ApicBus>, x2apic: bool) -> Vec<Arc<LocalApic>> {
    let time = ApicTime {
        clock: parts.clock.clone(),
        alarms: &*parts.timers,
        tsc: parts.time.clone(),
        timer: Arc::new(TimeBase::new(parts.clock.clone(), TSC_HZ)),
    };
    let make = |vcpu: &Arc<vm_engine::VcpuShared>| {
        let edge = |number| -> Arc<dyn IrqLine> { Arc::new(Edge(vcpu.line(number))) };
        let who = ApicIdentity {
            id: vcpu.id().0,
            bootstrap: vcpu.id().0 == 0,
            physical_bits: PHYS_ADDR_BITS as u8,
            x2apic,
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

/// The PCI bus with the chipset on it, which says where processors find RAM below 1 MiB.
fn chipset(
    parts: &Parts<'_>,
    pm: &Arc<AcpiPm>,
    isa: &IsaIrqs,
    ioapic: &IoApic,
    map: PhysMap,
) -> Result<Arc<PciRoot>, MachineError> {
    let ranges = LpcRanges::new(parts.ports, parts.bus, pm);
    let lpc = Lpc::new(ranges, pm.clone(), isa, ioapic);
    let mch = Mch::new(Box::new(move |range: ShadowRange| {
        let base = GuestPhysAddr(range.base);
        map.uncover(base, range.reads_ram, range.writes_ram);
    }));
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

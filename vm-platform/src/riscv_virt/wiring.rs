//! How the devices are wired to each other and to the harts. What there is on the bus stands in `devices.rs`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use vm_core::{Clock, TimeBase};
use vm_device::Bus;
use vm_device::chardev::CharSink;
use vm_device::intc::plic::Plic;
use vm_device::pci::PciRoot;
use vm_device::serial::ns16550::Ns16550;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::block::VirtioBlock;
use vm_device::virtio::console::VirtioConsole;
use vm_device::virtio::entropy::{HostEntropy, VirtioEntropy};
use vm_device::virtio::net::VirtioNet;
use vm_device::virtio::{VirtioDevice, VirtioPci};
use vm_engine::VcpuShared;
use vm_mem::GuestMemory;
use vm_osal::TimerThread;

use super::config::{Disk, FlashBank, MachineError, Nic, VirtioTransport};
use super::control::Shared;
use super::slots::{self, Kind};
use super::{devices, layout};

/// Interrupt lines of a hart, numbered as in `mip` (RISC-V Privileged, 3.1.9).
pub(super) mod line {
    pub(in crate::riscv_virt) const SUPERVISOR_SOFTWARE: u32 = 1;
    pub(in crate::riscv_virt) const MACHINE_SOFTWARE: u32 = 3;
    pub(in crate::riscv_virt) const SUPERVISOR_TIMER: u32 = 5;
    pub(in crate::riscv_virt) const MACHINE_TIMER: u32 = 7;
    pub(in crate::riscv_virt) const SUPERVISOR_EXTERNAL: u32 = 9;
    pub(in crate::riscv_virt) const MACHINE_EXTERNAL: u32 = 11;
}

/// What the devices are connected to.
pub(super) struct Parts<'a> {
    pub(super) bus: &'a Bus,
    pub(super) memory: &'a GuestMemory,
    pub(super) ram_bytes: u64,
    pub(super) lines: &'a [Arc<VcpuShared>],
    pub(super) clock: Arc<dyn Clock>,
    pub(super) time: Arc<TimeBase>,
    pub(super) timers: &'a TimerThread,
    pub(super) shared: Weak<Shared>,
    /// What the boot ROM holds.
    pub(super) reset_vector: Vec<u8>,
    pub(super) flash: [FlashBank; 2],
    /// fw_cfg items for firmware that starts a kernel.
    pub(super) offered: Vec<(u16, Vec<u8>)>,
    pub(super) serial: Arc<dyn CharSink>,
    pub(super) console: Option<Arc<dyn CharSink>>,
    pub(super) disks: Vec<Disk>,
    pub(super) nics: Vec<Nic>,
    pub(super) rng: bool,
    pub(super) balloon: Option<bool>,
    pub(super) rtc_start: Duration,
    pub(super) virtio: VirtioTransport,
}

/// The devices that are used from outside, too.
pub(super) struct Ports {
    pub(super) serial: Arc<Ns16550>,
    pub(super) console: Option<Arc<VirtioConsole>>,
    pub(super) balloon: Option<Arc<VirtioBalloon>>,
}

/// A virtio device and what its thread is called.
type NamedDevice = (&'static str, Arc<dyn VirtioDevice>);

/// A virtio device with its kind and the slot that it is pinned to.
type PinnedDevice = (Kind, Option<u8>, Arc<dyn VirtioDevice>);

/// What the rows of `devices.rs` are made from.
pub(super) struct Wiring<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) plic: Arc<Plic>,
    pub(super) pci: Arc<PciRoot>,
    /// Devices for the memory-mapped slots that are still free.
    pub(super) mmio: std::vec::IntoIter<NamedDevice>,
    /// The serial port, once it is made.
    pub(super) serial: Option<Arc<Ns16550>>,
}

/// Makes the devices and puts them on the bus.
///
/// # Errors
/// When there are more than the machine has room for, or an image does not fit its device.
pub(super) fn place_devices(mut parts: Parts<'_>) -> Result<Ports, MachineError> {
    let contexts = parts.lines.iter().flat_map(|vcpu| {
        [
            vcpu.line(line::MACHINE_EXTERNAL),
            vcpu.line(line::SUPERVISOR_EXTERNAL),
        ]
    });
    let plic = Arc::new(Plic::new(layout::PLIC_SOURCES, contexts.collect()));
    let pci = PciRoot::new(PCI_PINS.map(|pin| plic.source(layout::IRQ_PCIE_INTA + pin)));
    let console = parts.console.take().map(VirtioConsole::new);
    let (devices, balloon) = virtio_devices(&mut parts, console.clone())?;
    let mut on_mmio = Vec::new();
    match parts.virtio {
        VirtioTransport::Pci => plug(&pci, parts.memory, devices)?,
        VirtioTransport::Mmio if devices.iter().any(|(_, pin, _)| pin.is_some()) => {
            return Err(MachineError::PinnedMmio);
        }
        VirtioTransport::Mmio => {
            let named = |(kind, _, device): PinnedDevice| (kind.name(), device);
            on_mmio.extend(devices.into_iter().map(named));
        }
    }
    let (bus, ram_bytes) = (parts.bus, parts.ram_bytes);
    let mut wiring = Wiring {
        parts,
        plic,
        pci,
        mmio: on_mmio.into_iter(),
        serial: None,
    };
    for row in devices::rows(ram_bytes) {
        let device = (row.make)(&row, &mut wiring)?;
        bus.insert(row.name, row.region.base.raw(), row.region.bytes, device)?;
    }
    let serial = wiring
        .serial
        .expect("invariant: a row makes the serial port");
    Ok(Ports {
        serial,
        console,
        balloon,
    })
}

/// Puts virtio devices into their slots of the PCI bus.
fn plug(
    pci: &PciRoot,
    memory: &GuestMemory,
    devices: Vec<PinnedDevice>,
) -> Result<(), MachineError> {
    let wanted: Vec<_> = devices.iter().map(|(kind, pin, _)| (*kind, *pin)).collect();
    for (slot, (kind, _, device)) in slots::assign(&wanted)?.into_iter().zip(devices) {
        let function = VirtioPci::new(kind.name(), device, memory.clone(), pci.intx(slot));
        pci.insert(slot, function)?;
    }
    Ok(())
}

/// The virtio devices, and the balloon among them.
fn virtio_devices(
    parts: &mut Parts<'_>,
    console: Option<Arc<VirtioConsole>>,
) -> Result<(Vec<PinnedDevice>, Option<Arc<VirtioBalloon>>), MachineError> {
    let mut devices: Vec<PinnedDevice> = Vec::new();
    for disk in parts.disks.drain(..) {
        let device = VirtioBlock::new(disk.backend, &disk.serial, disk.room);
        devices.push((Kind::Disk, disk.slot, device));
    }
    for nic in parts.nics.drain(..) {
        let device = VirtioNet::new(nic.backend, nic.mac);
        devices.push((Kind::Net, nic.slot, device));
    }
    if let Some(port) = console {
        devices.push((Kind::Console, None, port));
    }
    if parts.rng {
        let device = VirtioEntropy::new(Arc::new(HostEntropy));
        devices.push((Kind::Entropy, None, device));
    }
    let room = match parts.virtio {
        VirtioTransport::Pci => PCI_SLOTS,
        VirtioTransport::Mmio => layout::VIRTIO_MMIO_COUNT as usize,
    };
    let balloon = parts
        .balloon
        .unwrap_or(devices.len() < room)
        .then(|| VirtioBalloon::new(parts.memory.clone()));
    if let Some(balloon) = &balloon {
        devices.push((Kind::Balloon, None, balloon.clone()));
    }
    if devices.len() > room {
        return Err(MachineError::TooManyDevices {
            count: devices.len(),
            room,
        });
    }
    Ok((devices, balloon))
}

/// Slots of the root bus that are free for devices: the host bridge has slot 0.
const PCI_SLOTS: usize = 31;
/// INTA# to INTD#.
const PCI_PINS: [u32; 4] = [0, 1, 2, 3];

//! How the devices are wired to each other and to the harts. What there is on the bus stands in `devices.rs`.

use std::sync::{Arc, Weak};

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
    let (on_pci, on_mmio) = match parts.virtio {
        VirtioTransport::Pci => (devices, Vec::new()),
        VirtioTransport::Mmio => (Vec::new(), devices),
    };
    for (slot, (name, device)) in (1..).zip(on_pci) {
        let function = VirtioPci::new(name, device, parts.memory.clone(), pci.intx(slot));
        pci.insert(slot, function)?;
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

/// The virtio devices in the order of their slots, and the balloon among them.
fn virtio_devices(
    parts: &mut Parts<'_>,
    console: Option<Arc<VirtioConsole>>,
) -> Result<(Vec<NamedDevice>, Option<Arc<VirtioBalloon>>), MachineError> {
    let mut devices: Vec<NamedDevice> = Vec::new();
    for disk in parts.disks.drain(..) {
        devices.push((
            "virtio-blk",
            VirtioBlock::new(disk.backend, &disk.serial, disk.room),
        ));
    }
    for nic in parts.nics.drain(..) {
        devices.push(("virtio-net", VirtioNet::new(nic.backend, nic.mac)));
    }
    if let Some(port) = console {
        devices.push(("virtio-console", port));
    }
    if parts.rng {
        devices.push(("virtio-rng", VirtioEntropy::new(Arc::new(HostEntropy))));
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
        devices.push(("virtio-balloon", balloon.clone()));
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

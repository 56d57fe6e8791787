//! How the devices are wired to each other and to the harts. What there is on the bus stands in `devices.rs`.

use std::sync::Arc;

use vm_core::config::VirtioTransport;
use vm_device::intc::plic::Plic;
use vm_device::pci::PciRoot;
use vm_device::serial::ns16550::Ns16550;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::console::VirtioConsole;

use super::board::Fittings;
use super::{devices, layout};
use crate::machine::MachineError;
use crate::machine::board::Parts;
use crate::machine::virtio::{NamedDevice, PCI_SLOTS, VirtioDevices};

/// Interrupt lines of a hart, numbered as in `mip` (RISC-V Privileged, 3.1.9).
pub(super) mod line {
    pub(in crate::riscv_virt) const SUPERVISOR_SOFTWARE: u32 = 1;
    pub(in crate::riscv_virt) const MACHINE_SOFTWARE: u32 = 3;
    pub(in crate::riscv_virt) const SUPERVISOR_TIMER: u32 = 5;
    pub(in crate::riscv_virt) const MACHINE_TIMER: u32 = 7;
    pub(in crate::riscv_virt) const SUPERVISOR_EXTERNAL: u32 = 9;
    pub(in crate::riscv_virt) const MACHINE_EXTERNAL: u32 = 11;
}

/// INTA# to INTD#.
const PCI_PINS: [u32; 4] = [0, 1, 2, 3];

/// What the rows of `devices.rs` are made from.
pub(super) struct Wiring<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) fittings: Fittings,
    pub(super) plic: Arc<Plic>,
    pub(super) pci: Arc<PciRoot>,
    /// Devices for the memory-mapped slots that are still free.
    pub(super) mmio: std::vec::IntoIter<NamedDevice>,
    /// The serial port, once it is made.
    pub(super) serial: Option<Arc<Ns16550>>,
}

/// The devices that others reach, too.
pub(super) struct Placed {
    pub(super) serial: Arc<Ns16550>,
    pub(super) console: Option<Arc<VirtioConsole>>,
    pub(super) balloon: Option<Arc<VirtioBalloon>>,
}

/// Makes the devices and puts them on the bus.
///
/// # Errors
/// When there are more than the board has room for, or an image does not fit its device.
pub(super) fn place_devices(
    mut parts: Parts<'_>,
    fittings: Fittings,
) -> Result<Placed, MachineError> {
    if let Some((_, drive)) = parts.drives.first() {
        return Err(MachineError::NoSuchBus(drive.bus));
    }
    let contexts = parts.vcpus.iter().flat_map(|vcpu| {
        [
            vcpu.line(line::MACHINE_EXTERNAL),
            vcpu.line(line::SUPERVISOR_EXTERNAL),
        ]
    });
    let plic = Arc::new(Plic::new(layout::PLIC_SOURCES, contexts.collect()));
    let pci = PciRoot::new(PCI_PINS.map(|pin| plic.source(layout::IRQ_PCIE_INTA + pin)));
    let room = match fittings.virtio {
        VirtioTransport::Pci => PCI_SLOTS,
        VirtioTransport::Mmio => layout::VIRTIO_MMIO_COUNT as usize,
    };
    let virtio = VirtioDevices::new(std::mem::take(&mut parts.virtio), parts.memory, room)?;
    let (console, balloon) = (virtio.console.clone(), virtio.balloon.clone());
    let mut on_mmio = Vec::new();
    match fittings.virtio {
        VirtioTransport::Pci => {
            virtio.plug(&pci, parts.memory, None, &[])?;
        }
        VirtioTransport::Mmio => on_mmio = virtio.in_order()?,
    }
    let (bus, ram_bytes) = (parts.bus, fittings.ram_bytes);
    let mut wiring = Wiring {
        parts,
        fittings,
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
    Ok(Placed {
        serial,
        console,
        balloon,
    })
}

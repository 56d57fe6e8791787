//! The virtio devices of a machine, before a board attaches them.

use std::sync::Arc;

use vm_device::chardev::CharSink;
use vm_device::intc::MsiTarget;
use vm_device::pci::PciRoot;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::block::VirtioBlock;
use vm_device::virtio::console::{self, NamedPort, VirtioConsole};
use vm_device::virtio::entropy::{HostEntropy, VirtioEntropy};
use vm_device::virtio::net::VirtioNet;
use vm_device::virtio::{VirtioDevice, VirtioPci};
use vm_mem::GuestMemory;

use super::config::{Disk, MachineError, Nic};
use super::slots::{self, Kind};

/// Slots of a PCI bus that are free for devices: the host bridge has slot 0.
pub(crate) const PCI_SLOTS: usize = 31;

/// Named ports that a console has room for beside its own.
pub(crate) const MOST_NAMED_PORTS: usize = console::spec::MOST_PORTS - 1;

/// What virtio devices are made of.
#[derive(Default)]
pub(crate) struct VirtioParts {
    pub(super) disks: Vec<Disk>,
    pub(super) nics: Vec<Nic>,
    pub(super) console: Option<Arc<dyn CharSink>>,
    pub(super) ports: Vec<NamedPort>,
    pub(super) rng: bool,
    pub(super) balloon: Option<bool>,
}

/// A virtio device and what its thread is called.
pub(crate) type NamedDevice = (&'static str, Arc<dyn VirtioDevice>);

/// A virtio device with its kind and the slot that it is pinned to.
struct Pinned {
    kind: Kind,
    slot: Option<u8>,
    device: Arc<dyn VirtioDevice>,
}

/// All virtio devices of a machine.
pub(crate) struct VirtioDevices {
    devices: Vec<Pinned>,
    pub(crate) console: Option<Arc<VirtioConsole>>,
    pub(crate) balloon: Option<Arc<VirtioBalloon>>,
}

impl VirtioDevices {
    /// Makes them. Where nothing is said of a balloon, there is one if it fits into the `room`.
    ///
    /// # Errors
    /// When there is no room for so many.
    pub(crate) fn new(
        parts: VirtioParts,
        memory: &GuestMemory,
        room: usize,
    ) -> Result<Self, MachineError> {
        let mut devices = Vec::new();
        let mut add = |kind, slot, device: Arc<dyn VirtioDevice>| {
            devices.push(Pinned { kind, slot, device });
            devices.len()
        };
        let mut count = 0;
        for disk in parts.disks {
            let device = VirtioBlock::new(disk.backend, &disk.serial, disk.room);
            count = add(Kind::Disk, disk.slot, device);
        }
        for nic in parts.nics {
            let device = VirtioNet::new(nic.backend, nic.mac);
            count = add(Kind::Net, nic.slot, device);
        }
        let consoles = usize::from(parts.console.is_some()) + parts.ports.len();
        if parts.ports.len() > MOST_NAMED_PORTS {
            return Err(MachineError::TooManyPorts(parts.ports.len()));
        }
        let console = (consoles > 0).then(|| VirtioConsole::with_ports(parts.console, parts.ports));
        if let Some(port) = &console {
            count = add(Kind::Console, None, port.clone());
        }
        if parts.rng {
            let device = VirtioEntropy::new(Arc::new(HostEntropy));
            count = add(Kind::Entropy, None, device);
        }
        let balloon = parts
            .balloon
            .unwrap_or(count < room)
            .then(|| VirtioBalloon::new(memory.clone()));
        if let Some(balloon) = &balloon {
            count = add(Kind::Balloon, None, balloon.clone());
        }
        if count > room {
            return Err(MachineError::TooManyDevices { count, room });
        }
        Ok(Self {
            devices,
            console,
            balloon,
        })
    }

    /// Puts them into their slots of a PCI bus. Where somebody takes `messages`, they can signal by those too.
    ///
    /// # Errors
    /// When two are pinned to one slot, or there is no such slot.
    pub(crate) fn plug(
        self,
        pci: &PciRoot,
        memory: &GuestMemory,
        messages: Option<Arc<dyn MsiTarget>>,
    ) -> Result<(), MachineError> {
        let wanted: Vec<_> = self.devices.iter().map(|it| (it.kind, it.slot)).collect();
        for (slot, pinned) in slots::assign(&wanted)?.into_iter().zip(self.devices) {
            let Pinned { kind, device, .. } = pinned;
            let (name, intx) = (kind.name(), pci.intx(slot));
            let function =
                VirtioPci::with_messages(name, device, memory.clone(), intx, messages.clone());
            pci.insert(slot, function)?;
        }
        Ok(())
    }

    /// Them in order, each with the name of its thread, for a transport without slots.
    ///
    /// # Errors
    /// When one is pinned to a slot of a PCI bus.
    pub(crate) fn in_order(self) -> Result<Vec<NamedDevice>, MachineError> {
        if self.devices.iter().any(|it| it.slot.is_some()) {
            return Err(MachineError::PinnedMmio);
        }
        let named = |it: Pinned| (it.kind.name(), it.device);
        Ok(self.devices.into_iter().map(named).collect())
    }
}

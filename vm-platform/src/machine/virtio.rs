//! The devices of a machine's slots, before a board attaches them: virtio devices, and on a PCI bus any others.

use std::sync::Arc;

use vm_core::IrqLine;
use vm_device::chardev::CharSink;
use vm_device::intc::MsiTarget;
use vm_device::pci::{PciFunction, PciRoot};
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::block::VirtioBlock;
use vm_device::virtio::console::{self, NamedPort, VirtioConsole};
use vm_device::virtio::entropy::{HostEntropy, VirtioEntropy};
use vm_device::virtio::net::VirtioNet;
use vm_device::virtio::{VirtioDevice, VirtioPci};
use vm_mem::GuestMemory;

use super::config::{Disk, MachineError, Nic};
use super::slots;

pub(crate) use super::slots::Kind;

/// Slots of a PCI bus that are free for devices: the host bridge has slot 0.
pub(crate) const PCI_SLOTS: usize = 31;

/// Named ports that a console has room for beside its own.
pub(crate) const MOST_NAMED_PORTS: usize = console::spec::MOST_PORTS - 1;

/// What virtio devices are made of.
#[derive(Default)]
pub(crate) struct VirtioParts {
    /// With their numbers among all disks.
    pub(super) disks: Vec<(usize, Disk)>,
    pub(super) nics: Vec<Nic>,
    pub(super) console: Option<Arc<dyn CharSink>>,
    pub(super) ports: Vec<NamedPort>,
    pub(super) rng: bool,
    pub(super) balloon: Option<bool>,
}

/// A virtio device and what its thread is called.
pub(crate) type NamedDevice = (&'static str, Arc<dyn VirtioDevice>);

/// What makes a PCI function, given its interrupt pin.
pub(crate) type MakeFunction =
    Box<dyn FnOnce(Arc<dyn IrqLine>) -> Result<Arc<dyn PciFunction>, MachineError>>;

/// What goes into a slot.
enum Card {
    Virtio(Arc<dyn VirtioDevice>),
    Other(MakeFunction),
}

/// A device with its kind and the slot that it is pinned to.
struct Pinned {
    kind: Kind,
    slot: Option<u8>,
    /// Its number among all disks, if it is one.
    disk: Option<usize>,
    card: Card,
}

/// A disk by its number, and the slot that it is in.
pub(crate) type DiskSlot = (usize, u8);

/// All devices of a machine's slots.
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
        let mut add = |kind, slot, disk, device: Arc<dyn VirtioDevice>| {
            let card = Card::Virtio(device);
            devices.push(Pinned {
                kind,
                slot,
                disk,
                card,
            });
            devices.len()
        };
        let mut count = 0;
        for (number, disk) in parts.disks {
            let device = VirtioBlock::new(disk.backend, &disk.serial, disk.room);
            count = add(Kind::Disk, disk.slot, Some(number), device);
        }
        for nic in parts.nics {
            let device = VirtioNet::new(nic.backend, nic.mac);
            count = add(Kind::Net, nic.slot, None, device);
        }
        let consoles = usize::from(parts.console.is_some()) + parts.ports.len();
        if parts.ports.len() > MOST_NAMED_PORTS {
            return Err(MachineError::TooManyPorts(parts.ports.len()));
        }
        let console = (consoles > 0).then(|| VirtioConsole::with_ports(parts.console, parts.ports));
        if let Some(port) = &console {
            count = add(Kind::Console, None, None, port.clone());
        }
        if parts.rng {
            let device = VirtioEntropy::new(Arc::new(HostEntropy));
            count = add(Kind::Entropy, None, None, device);
        }
        let balloon = parts
            .balloon
            .unwrap_or(count < room)
            .then(|| VirtioBalloon::new(memory.clone()));
        if let Some(balloon) = &balloon {
            count = add(Kind::Balloon, None, None, balloon.clone());
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

    /// Adds a device of another sort, which only a PCI bus takes; `disk` is its number among all disks, if it is one.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        slot: Option<u8>,
        disk: Option<usize>,
        make: MakeFunction,
    ) {
        self.devices.push(Pinned {
            kind,
            slot,
            disk,
            card: Card::Other(make),
        });
    }

    /// Puts them into their slots of a PCI bus, of which the board's own devices have the `taken` ones. Where somebody takes
    /// `messages`, virtio devices can signal by those too. Gives the slots of disks.
    ///
    /// # Errors
    /// When two are pinned to one slot, or there is no such slot.
    pub(crate) fn plug(
        self,
        pci: &PciRoot,
        memory: &GuestMemory,
        messages: Option<Arc<dyn MsiTarget>>,
        taken: &[u8],
    ) -> Result<Vec<DiskSlot>, MachineError> {
        let wanted: Vec<_> = self.devices.iter().map(|it| (it.kind, it.slot)).collect();
        let mut disks = Vec::new();
        for (slot, pinned) in slots::assign(&wanted, taken)?.into_iter().zip(self.devices) {
            let (name, intx) = (pinned.kind.name(), pci.intx(slot));
            let function: Arc<dyn PciFunction> = match pinned.card {
                Card::Virtio(device) => {
                    VirtioPci::with_messages(name, device, memory.clone(), intx, messages.clone())
                }
                Card::Other(make) => make(intx)?,
            };
            pci.insert(slot, function)?;
            disks.extend(pinned.disk.map(|number| (number, slot)));
        }
        Ok(disks)
    }

    /// The virtio devices in order, each with the name of its thread, for a transport without slots.
    ///
    /// # Errors
    /// When one is pinned to a slot of a PCI bus.
    pub(crate) fn in_order(self) -> Result<Vec<NamedDevice>, MachineError> {
        if self.devices.iter().any(|it| it.slot.is_some()) {
            return Err(MachineError::PinnedMmio);
        }
        let named = |it: Pinned| match it.card {
            Card::Virtio(device) => Some((it.kind.name(), device)),
            Card::Other(_) => None,
        };
        Ok(self.devices.into_iter().filter_map(named).collect())
    }
}

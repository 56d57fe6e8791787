//! Saved state of what all virtio devices share.

use serde::{Deserialize, Serialize};

use super::console::PortsState;
use super::spec::DeviceType;
use crate::pci::SavedMessages;

/// "No vector" of the MSI-X vector registers (VIRTIO 1.3, 4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// Registers of one queue, and how far the device has come in its rings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueRegisters {
    /// Largest size the device supports.
    pub max: u16,
    /// Size the driver chose.
    pub size: u16,
    /// Whether the driver has enabled it.
    pub ready: bool,
    /// Guest-physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest-physical address of the available ring.
    pub driver: u64,
    /// Guest-physical address of the used ring.
    pub device: u64,
    /// Interrupt vector (PCI only).
    pub vector: u16,
    /// Next entry of the available ring; current only while the device does not run.
    pub next_avail: u16,
    /// Next entry of the used ring; current only while the device does not run.
    pub next_used: u16,
}

impl QueueRegisters {
    /// A queue after reset.
    pub fn new(max: u16) -> Self {
        Self {
            max,
            size: max,
            ready: false,
            descriptors: 0,
            driver: 0,
            device: 0,
            vector: NO_VECTOR,
            next_avail: 0,
            next_used: 0,
        }
    }
}

/// State of a [`DeviceControl`](super::DeviceControl).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ControlState {
    /// Layout of this structure.
    pub version: u32,
    /// Device status without DEVICE_NEEDS_RESET.
    pub status: u8,
    /// Whether DEVICE_NEEDS_RESET is set.
    pub needs_reset: bool,
    /// Whether the device's thread was serving the queues.
    pub running: bool,
    /// Selector of offered features.
    pub device_features_sel: u32,
    /// Selector of accepted features.
    pub driver_features_sel: u32,
    /// Accepted features.
    pub driver_features: u64,
    /// Selected queue.
    pub queue_sel: u16,
    /// The queues by number.
    pub queues: Vec<QueueRegisters>,
    /// Whether the bus allows memory accesses.
    pub bus_master: bool,
    /// What the device itself remembers.
    pub device: DeviceState,
}

/// What a device remembers beside its registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeviceState {
    /// A network card.
    Net {
        /// Whether the cable is in.
        link_up: bool,
    },
    /// A block device.
    Block {
        /// The `writeback` field.
        writeback: bool,
    },
    /// A console.
    Console(PortsState),
    /// An entropy source.
    Entropy,
    /// A memory balloon.
    Balloon {
        /// Pages that are wanted in it.
        target_pages: u32,
        /// Pages that are in it.
        actual_pages: u32,
        /// What the guest fills free pages with.
        poison: u32,
    },
}

impl DeviceState {
    /// Which device it is the state of.
    pub fn device_type(&self) -> DeviceType {
        match self {
            Self::Net { .. } => DeviceType::Net,
            Self::Block { .. } => DeviceType::Block,
            Self::Console(_) => DeviceType::Console,
            Self::Entropy => DeviceType::Entropy,
            Self::Balloon { .. } => DeviceType::Balloon,
        }
    }
}

impl ControlState {
    /// The layout that this build writes and reads.
    pub const VERSION: u32 = 2;
}

/// State of a [`VirtioMmio`](super::VirtioMmio) transport with its device's registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MmioState {
    /// The shared registers.
    pub control: ControlState,
    /// Pending interrupt causes.
    pub interrupt_status: u8,
}

/// State of a [`VirtioPci`](super::VirtioPci) function with its device's registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PciState {
    /// The shared registers.
    pub control: ControlState,
    /// Pending interrupt causes.
    pub interrupt_status: u8,
    /// Configuration space.
    pub config: Vec<u8>,
    /// The vector of configuration changes, and the table of messages, of a function that has one.
    pub messages: Option<(u16, SavedMessages)>,
}

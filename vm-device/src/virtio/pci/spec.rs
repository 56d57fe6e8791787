//! Numbers of virtio over PCI (VIRTIO 1.3, 4.1).

use super::super::spec::DeviceType;

/// Vendor of all virtio devices (4.1.2).
pub const VENDOR: u16 = 0x1af4;
/// Device ids are this plus the device type (4.1.2).
pub const DEVICE_BASE: u16 = 0x1040;
/// Revision of devices without the legacy interface (4.1.2.1).
pub const REVISION: u8 = 1;
/// Subsystem, as QEMU's.
pub const SUBSYSTEM: u16 = 0x1100;

/// Class codes (PCI Code and ID Assignment 1.11, 1) by device type.
pub const fn class(device: DeviceType) -> u32 {
    match device {
        DeviceType::Net => 0x02_0000,
        DeviceType::Block => 0x01_0000,
        DeviceType::Console => 0x07_8000,
        DeviceType::Entropy | DeviceType::Balloon => 0xff_0000,
    }
}

/// Kinds of structures that capabilities locate (4.1.4).
pub mod cfg_type {
    /// Common configuration (4.1.4.3).
    pub const COMMON: u8 = 1;
    /// Notifications (4.1.4.4).
    pub const NOTIFY: u8 = 2;
    /// Interrupt status (4.1.4.5).
    pub const ISR: u8 = 3;
    /// Device-specific configuration (4.1.4.6).
    pub const DEVICE: u8 = 4;
    /// Access to all of these through configuration space (4.1.4.9).
    pub const PCI: u8 = 5;
}

/// The base address register that has all structures, as in QEMU's devices.
pub const BAR: u8 = 4;
/// Bytes behind it.
pub const BAR_BYTES: u64 = 0x4000;
/// Where each structure lies behind it, a page each.
pub mod region {
    /// Common configuration.
    pub const COMMON: u64 = 0x0000;
    /// Interrupt status.
    pub const ISR: u64 = 0x1000;
    /// Device-specific configuration.
    pub const DEVICE: u64 = 0x2000;
    /// Notifications.
    pub const NOTIFY: u64 = 0x3000;
    /// Bytes of each.
    pub const BYTES: u64 = 0x1000;
}
/// The base address register that has the table of messages, as in QEMU's devices.
pub const MESSAGES_BAR: u8 = 1;
/// Bytes behind it.
pub const MESSAGES_BAR_BYTES: u64 = 0x1000;
/// Where the pending bits lie behind it; the table is at its start.
pub const MESSAGES_PENDING: u64 = 0x800;
/// Most vectors that fit.
pub const MESSAGES_MAX: u16 = 128;
/// Bytes between the notification addresses of two queues (4.1.4.4).
pub const NOTIFY_MULTIPLIER: u32 = 4;

/// Offsets within the common configuration (4.1.4.3).
pub mod common {
    /// Selects 32 offered feature bits.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// The selected offered feature bits.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Selects 32 accepted feature bits.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// The selected accepted feature bits.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// Vector for configuration changes, 16 bits.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// Number of queues, 16 bits.
    pub const NUM_QUEUES: u64 = 0x12;
    /// Device status, 8 bits.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Counts configuration changes, 8 bits.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Selects a queue, 16 bits.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Size of the queue, 16 bits.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// Vector of the queue, 16 bits.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// Whether the queue works, 16 bits.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// Where the queue is notified, in multiples of the multiplier, 16 bits.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Descriptor table, 64 bits.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Available ring, 64 bits.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Used ring, 64 bits.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// After the last address.
    pub const QUEUE_ADDRESSES_END: u64 = 0x38;
    /// Bytes of the structure that this device has (to `queue_reset`).
    pub const BYTES: u32 = 0x3c;
}

/// Offsets within the configuration-access capability (4.1.4.9), from its start.
pub mod access {
    /// Base address register to access, 8 bits.
    pub const BAR: u16 = 4;
    /// Offset behind it, 32 bits.
    pub const OFFSET: u16 = 8;
    /// Width in bytes, 32 bits.
    pub const LENGTH: u16 = 12;
    /// The data itself, up to 32 bits.
    pub const DATA: u16 = 16;
    /// Bytes of the capability.
    pub const BYTES: u16 = 20;
}

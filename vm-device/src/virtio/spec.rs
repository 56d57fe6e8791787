//! Numbers of the virtio core (VIRTIO 1.3).

use virtio_bindings::{virtio_config as config, virtio_ids as ids, virtio_ring as ring};

/// Device types (VIRTIO 1.3, 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum DeviceType {
    /// Network card (5.1).
    Net = ids::VIRTIO_ID_NET,
    /// Block device (5.2).
    Block = ids::VIRTIO_ID_BLOCK,
    /// Console (5.3).
    Console = ids::VIRTIO_ID_CONSOLE,
    /// Entropy source (5.4).
    Entropy = ids::VIRTIO_ID_RNG,
    /// Memory balloon (5.5).
    Balloon = ids::VIRTIO_ID_BALLOON,
}

/// Vendor id that drivers know from QEMU ("QEMU", VIRTIO 1.3, 4.2.2 leaves the value to the device).
pub const VENDOR_ID: u32 = 0x554d_4551;

/// Device status bits (VIRTIO 1.3, 2.1).
pub mod status {
    use super::config;
    /// The driver has found the device.
    pub const ACKNOWLEDGE: u8 = config::VIRTIO_CONFIG_S_ACKNOWLEDGE as u8;
    /// The driver knows how to drive it.
    pub const DRIVER: u8 = config::VIRTIO_CONFIG_S_DRIVER as u8;
    /// The driver is set up; the device may work.
    pub const DRIVER_OK: u8 = config::VIRTIO_CONFIG_S_DRIVER_OK as u8;
    /// Feature negotiation is complete.
    pub const FEATURES_OK: u8 = config::VIRTIO_CONFIG_S_FEATURES_OK as u8;
    /// The device cannot go on.
    pub const NEEDS_RESET: u8 = config::VIRTIO_CONFIG_S_NEEDS_RESET as u8;
    /// The driver has given up.
    pub const FAILED: u8 = config::VIRTIO_CONFIG_S_FAILED as u8;
}

/// Feature bits of the core (VIRTIO 1.3, 6).
pub mod feature {
    use super::{config, ring};
    /// Descriptors may name tables of descriptors (2.7.5.3).
    pub const INDIRECT_DESC: u64 = 1 << ring::VIRTIO_RING_F_INDIRECT_DESC;
    /// Notifications are suppressed by index (2.7.7, 2.7.10).
    pub const EVENT_IDX: u64 = 1 << ring::VIRTIO_RING_F_EVENT_IDX;
    /// The device follows the standard, not the legacy interface.
    pub const VERSION_1: u64 = 1 << config::VIRTIO_F_VERSION_1;
    /// What every device here offers.
    pub const CORE: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1;
}

/// Bits of the interrupt status (VIRTIO 1.3, 4.1.4.5 and 4.2.2).
pub mod isr {
    /// A buffer was used.
    pub const QUEUE: u8 = 1 << 0;
    /// The configuration has changed.
    pub const CONFIG: u8 = 1 << 1;
}

/// Flag of the available ring: the driver wants no interrupts (VIRTIO 1.3, 2.7.7).
pub const AVAIL_NO_INTERRUPT: u16 = ring::VRING_AVAIL_F_NO_INTERRUPT as u16;

/// Descriptors in one chain, at most. A driver must not exceed the queue's size (VIRTIO 1.3, 2.7.5.3.1); Linux may,
/// with indirect tables, so the bound is that of the largest scatter list in use.
pub const MAX_CHAIN: usize = 1024;

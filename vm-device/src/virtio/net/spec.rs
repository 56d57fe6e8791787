//! Numbers of the network card (VIRTIO 1.3, 5.1).

use virtio_bindings::virtio_net as net;

/// Feature bits (5.1.3).
pub mod feature {
    use super::net;
    /// The card has a given address.
    pub const MAC: u64 = 1 << net::VIRTIO_NET_F_MAC;
    /// A received frame may span several buffers.
    pub const MRG_RXBUF: u64 = 1 << net::VIRTIO_NET_F_MRG_RXBUF;
    /// `status` is valid.
    pub const STATUS: u64 = 1 << net::VIRTIO_NET_F_STATUS;
}

/// Offsets of configuration fields (5.1.4).
pub mod config {
    /// Hardware address, six bytes.
    pub const MAC: usize = 0;
    /// Link status, 16 bits.
    pub const STATUS: usize = 6;
    /// Bytes of the configuration.
    pub const BYTES: usize = 8;
    /// Bit of the link status: the link is up.
    pub const LINK_UP: u8 = 1;
}

/// Queue towards the guest (5.1.2).
pub const RECEIVE: usize = 0;
/// Queue from the guest (5.1.2).
pub const TRANSMIT: usize = 1;

/// Bytes of the header before each frame (5.1.6): flags, segmentation type, header and segment lengths, checksum
/// start and offset, number of buffers. All but the last are zero without offloads.
pub const HEADER_BYTES: usize = 12;
/// Offset of the number of buffers in the header.
pub const HEADER_BUFFERS: usize = 10;

/// Bytes of a frame, at most, with segmentation offloads to come (5.1.6.3.1).
pub const FRAME_BYTES: usize = 65_550;
/// Bytes of an Ethernet header; less is no frame.
pub const FRAME_MIN_BYTES: usize = 14;

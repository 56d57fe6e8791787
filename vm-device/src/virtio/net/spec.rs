//! Numbers of the network card (VIRTIO 1.3, 5.1).

use virtio_bindings::virtio_net as net;

use super::super::spec::feature as core;

/// Feature bits (5.1.3).
pub mod feature {
    use super::net;
    /// The driver may leave checksums to the card.
    pub const CSUM: u64 = 1 << net::VIRTIO_NET_F_CSUM;
    /// The card may say that a frame's checksum is right.
    pub const GUEST_CSUM: u64 = 1 << net::VIRTIO_NET_F_GUEST_CSUM;
    /// The driver may leave the segmentation of TCP over IPv4 to the card.
    pub const HOST_TSO4: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO4;
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

/// Bytes of the header before each frame (5.1.6).
pub const HEADER_BYTES: usize = 12;

/// Bytes of the header that a driver with these features uses.
///
/// DEVIATION: without VERSION_1 the number of buffers is there with MRG_RXBUF only, as for a transitional device (VIRTIO
/// 1.3, 5.1.6.1). QEMU's card does the same.
pub fn header_bytes(features: u64) -> usize {
    match features & (core::VERSION_1 | feature::MRG_RXBUF) {
        0 => header::BUFFERS,
        _ => HEADER_BYTES,
    }
}

/// Offsets of the header's fields, 16 bits but for the first two, and what those may hold. Those in between are the
/// lengths of headers and of segments.
pub mod header {
    use super::net;
    /// What is to be done, or has been.
    pub const FLAGS: usize = 0;
    /// Flag: the checksum is to be filled in.
    pub const NEEDS_CHECKSUM: u8 = net::VIRTIO_NET_HDR_F_NEEDS_CSUM as u8;
    /// Flag: the checksum is right.
    pub const CHECKSUM_VALID: u8 = net::VIRTIO_NET_HDR_F_DATA_VALID as u8;
    /// What is to be cut into segments.
    pub const SEGMENTATION: usize = 1;
    /// Nothing.
    pub const NO_SEGMENTATION: u8 = net::VIRTIO_NET_HDR_GSO_NONE as u8;
    /// Where the bytes that the checksum covers begin in the frame.
    pub const CHECKSUM_START: usize = 6;
    /// Where the checksum is among them.
    pub const CHECKSUM_OFFSET: usize = 8;
    /// Number of buffers that a received frame fills.
    pub const BUFFERS: usize = 10;
}

/// Bytes of a frame, at most, with segmentation offloads (5.1.6.3.1).
pub const FRAME_BYTES: usize = 65_550;
/// Bytes of an Ethernet header; less is no frame.
pub const FRAME_MIN_BYTES: usize = 14;

//! Network back ends: what is at the other end of a virtual network card's cable.

pub mod nat;
pub mod pcap;

use std::sync::Arc;

/// The host's end of a virtual Ethernet cable (user-mode NAT, tap, ...).
///
/// Frames are Ethernet II without preamble and checksum, at most 65,550 bytes.
pub trait NetBackend: Send + Sync {
    /// Takes a frame that the guest sent. Must not block; frames may be dropped as on a real wire.
    fn transmit(&self, frame: &[u8]);
    /// Names the card that gets frames for the guest; called once before the guest runs.
    fn connect(&self, card: Arc<dyn FrameSink>);
    /// The card has room again after [`FrameSink::receive`] returned false.
    fn resume(&self);
    /// Whether frames of the guest may hold TCP segments longer than the network's largest, which the back end takes as
    /// they are.
    fn takes_large_frames(&self) -> bool {
        false
    }
    /// Whether the checksums of all frames that it delivers are right, so that the guest need not look.
    fn delivers_checked_frames(&self) -> bool {
        false
    }
}

/// The guest's end of the cable.
pub trait FrameSink: Send + Sync {
    /// Delivers a frame to the guest. False when the guest has given no buffer: nothing was delivered,
    /// and the back end should wait for [`NetBackend::resume`] (or drop the frame).
    fn receive(&self, frame: &[u8]) -> bool;
}

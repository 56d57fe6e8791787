//! The built-in network: the guest sits behind a NAT that needs no rights on the host.
//!
//! What it is: a gateway (host number 2, the host's own 127.0.0.1), a name server (3) and an address server on a
//! private network. Connections, datagrams and echo requests of the guest leave through ordinary sockets of this
//! process; host ports can lead back to the guest. Only IPv4 is spoken; IPv6 frames are ignored.
//!
//! Data flow: card -> [`Nat::transmit`](crate::net::NetBackend::transmit) -> inbox -> the thread `nat` -> protocol
//! -> host socket; host socket -> `poll` -> protocol -> [`FrameSink::receive`](crate::net::FrameSink::receive). When
//! the card is full nothing more is read from the host's sockets until
//! [`resume`](crate::net::NetBackend::resume).
//!
//! The guest is hostile: frames are parsed with checked lengths, the number of flows and the memory of each are
//! bounded, and it reaches neither loopback (except through the gateway's address) nor group addresses.
//! Followed: RFC 791, 792, 768, 826, 2131, 1035, 9293, 5681, 6298, 4787.

mod arp;
mod cable;
mod config;
mod dhcp;
mod dns;
mod dns_tcp;
mod event_loop;
mod forward;
mod fragment;
mod gateway;
mod icmp;
mod loss;
mod poll_set;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod wake;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

pub use self::config::{Ipv4Network, NatConfig, NatError};
pub use self::forward::{Forward, Protocol};

use self::config::Plan;
use self::dns::Resolvers;
use self::event_loop::Mailbox;
use self::forward::Listeners;
use self::gateway::Gateway;
use super::pcap::PcapWriter;
use super::{FrameSink, NetBackend};

/// A running built-in network.
pub struct Nat {
    mailbox: Arc<Mailbox>,
    forwarded: Vec<SocketAddrV4>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Nat {
    /// Opens the forwards and the capture file and starts the network's thread.
    ///
    /// # Errors
    /// [`NatError`] names the wrong choice, the port in use or the file; nothing stays behind.
    pub fn start(config: NatConfig) -> Result<Arc<Self>, NatError> {
        let plan = Plan::new(&config)?;
        let mut listeners = Listeners::open(&config.forwards, &plan)?;
        let forwarded = std::mem::take(&mut listeners.bound);
        let pcap = config.pcap.map(|path| {
            PcapWriter::create(&path).map_err(|source| NatError::Capture { path, source })
        });
        let (waker, wakeups) = wake::pair()?;
        let mailbox = Arc::new(Mailbox::new(waker.clone()));
        let resolvers = Resolvers::new(config.resolvers);
        let gateway = Gateway::new(
            plan,
            resolvers,
            listeners,
            pcap.transpose()?,
            waker,
            Instant::now(),
        );
        let for_thread = Arc::clone(&mailbox);
        let thread = std::thread::Builder::new()
            .name("nat".into())
            .spawn(move || event_loop::run(gateway, &for_thread, wakeups))?;
        Ok(Arc::new(Self {
            mailbox,
            forwarded,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Where each forward listens, in the order of the configuration.
    pub fn forwarded(&self) -> &[SocketAddrV4] {
        &self.forwarded
    }

    /// Ends every connection and the thread, completes the capture and lets go of the card. Dropping does the same,
    /// but never happens while the card holds this network and this network the card.
    pub fn stop(&self) {
        self.mailbox.stop();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // The last owner may be the card, let go of by the thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let ended = thread.join();
                debug_assert!(
                    ended.is_ok(),
                    "invariant: the network's thread does not panic"
                );
            }
        }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.stop();
    }
}

impl NetBackend for Nat {
    fn transmit(&self, frame: &[u8]) {
        self.mailbox.frame(frame);
    }

    fn connect(&self, card: Arc<dyn FrameSink>) {
        self.mailbox.card(card);
    }

    fn resume(&self) {
        self.mailbox.resume();
    }

    // Connections end here, so nothing behind this sees a segment.
    fn takes_large_frames(&self) -> bool {
        true
    }

    // It has made them itself.
    fn delivers_checked_frames(&self) -> bool {
        true
    }
}

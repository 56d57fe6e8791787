//! The built-in network: the guest sits behind a NAT that needs no rights on the host.
//!
//! What it is: a gateway (host number 2, the host's own 127.0.0.1), a name server (3) and an address server on a
//! private network, for IPv4 and, where the host has it, IPv6. Connections, datagrams and echo requests of the guest leave
//! through ordinary sockets of this process; host ports can lead back to the guest.
//!
//! Data flow: card -> [`Nat::transmit`](crate::net::NetBackend::transmit) -> inbox -> the thread `nat` -> protocol
//! -> host socket; host socket -> `poll` -> protocol -> [`FrameSink::receive`]. When
//! the card is full nothing more is read from the host's sockets until
//! [`resume`](crate::net::NetBackend::resume).
//!
//! The guest is hostile: frames are parsed with checked lengths, the number of flows and the memory of each are
//! bounded, and it reaches neither loopback (except through the gateway's address) nor group addresses.
//! What the host's system is asked for goes through [`vm_osal::net`].
//! Followed: RFC 791, 792, 768, 826, 2131, 1035, 9293, 5681, 6298, 4787, 5382; 8200, 4443, 4861, 4862, 8106, 8415.

mod allow;
mod arp;
mod cable;
mod config;
mod dhcp;
mod dhcp6;
mod dns;
mod dns_message;
mod dns_tcp;
mod event_loop;
mod forward;
mod fragment;
mod gateway;
mod icmp;
mod limits;
mod loss;
mod ndp;
mod plan;
mod tcp;
#[cfg(test)]
mod tests;
mod token;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use vm_osal::net::{open_files_max, wake_pair};

pub use self::allow::Allow;
pub use self::config::{Ipv4Network, NatConfig, NatError, parse_resolver};
pub use self::forward::{Forward, Protocol};

use self::allow::AllowList;
use self::dns::Resolvers;
use self::event_loop::Mailbox;
use self::forward::Listeners;
use self::gateway::{Gateway, Parts};
use self::limits::Limits;
use self::plan::Plan;
use super::pcap::Capture;
use super::{FrameSink, NetBackend};

/// A running built-in network.
pub struct Nat {
    mailbox: Arc<Mailbox>,
    forwarded: Vec<SocketAddr>,
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
        let capture = config.pcap.map(|path| {
            let begun = Capture::begin(path.clone(), config.notices.clone());
            begun.map_err(|source| NatError::Capture { path, source })
        });
        let (waker, wakeups) = wake_pair()?;
        let mailbox = Arc::new(Mailbox::new(waker.clone()));
        let open_files = config.open_files_max.unwrap_or_else(open_files_max);
        let parts = Parts {
            access: AllowList::new(config.restrict, config.allow),
            resolvers: Resolvers::new(config.resolvers),
            listeners,
            capture: capture.transpose()?,
            waker,
            limits: Limits::of(open_files),
            notices: config.notices,
        };
        let gateway = Gateway::new(plan, parts, Instant::now());
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
    pub fn forwarded(&self) -> &[SocketAddr] {
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

//! ICMP (RFC 792): echo answered here for the virtual hosts and through the host for others; errors to the guest.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, IpProtocol};

use super::cable::Cable;
use super::config::{Plan, Route};
use super::poll_set::{PollSet, Token};

/// Header of an echo message: type, code, checksum, identifier, sequence number.
const ECHO_HEADER_BYTES: usize = 8;
const ECHO_FLOWS_MAX: usize = 32;
const ECHO_IDLE: Duration = Duration::from_secs(30);
/// How much of the packet that caused an error is sent back (RFC 1812, 4.3.2.3).
const QUOTE_BYTES: usize = 548;
/// Replies read in a row before others have their turn.
const REPLIES_A_TURN: usize = 32;

/// Why a packet of the guest came to nothing: (type, code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    NetworkUnreachable,
    HostUnreachable,
    PortUnreachable,
    TimeExceeded,
}

impl Trouble {
    const fn wire(self) -> (u8, u8) {
        match self {
            Self::NetworkUnreachable => (3, 0),
            Self::HostUnreachable => (3, 1),
            Self::PortUnreachable => (3, 3),
            Self::TimeExceeded => (11, 0),
        }
    }
}

/// Tells the guest about a packet of its own, given with its IPv4 header.
pub(super) fn report(cable: &mut Cable, from: Ipv4Addr, trouble: Trouble, packet: &[u8]) {
    let Some(source) = packet.get(12..16) else {
        return;
    };
    let to = Ipv4Addr::new(source[0], source[1], source[2], source[3]);
    let quote = &packet[..packet.len().min(QUOTE_BYTES)];
    let (kind, code) = trouble.wire();
    cable.ipv4(
        to,
        from,
        IpProtocol::Icmp,
        ECHO_HEADER_BYTES + quote.len(),
        |payload| {
            payload[..ECHO_HEADER_BYTES].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
            payload[ECHO_HEADER_BYTES..].copy_from_slice(quote);
            Icmpv4Packet::new_unchecked(payload).fill_checksum();
        },
    );
}

/// Which guest program a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EchoKey {
    guest: Ipv4Addr,
    ident: u16,
}

struct EchoFlow {
    socket: OwnedFd,
    used: Instant,
}

/// Echo requests under way to the outside.
#[derive(Default)]
pub(super) struct Icmp {
    flows: HashMap<EchoKey, EchoFlow>,
}

impl Icmp {
    /// Takes an ICMP message of the guest.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        plan: &Plan,
        (from, to): (Ipv4Addr, Ipv4Addr),
        bytes: &[u8],
        now: Instant,
    ) {
        let Ok(packet) = Icmpv4Packet::new_checked(bytes) else {
            return;
        };
        let echo = packet.msg_type() == Icmpv4Message::EchoRequest && packet.msg_code() == 0;
        if !echo || bytes.len() < ECHO_HEADER_BYTES || !packet.verify_checksum() {
            return;
        }
        match plan.route(to) {
            Route::Gateway | Route::Dns => reply(cable, (to, from), packet.echo_ident(), bytes),
            Route::Outside(address) if !plan.restrict => {
                let key = EchoKey {
                    guest: from,
                    ident: packet.echo_ident(),
                };
                self.send(key, address, bytes, now);
            }
            _ => {}
        }
    }

    /// A host that forbids unprivileged echo sockets (`net.ipv4.ping_group_range`) leaves the guest without answer.
    fn send(&mut self, key: EchoKey, to: Ipv4Addr, bytes: &[u8], now: Instant) {
        if !self.flows.contains_key(&key) {
            if self.flows.len() >= ECHO_FLOWS_MAX {
                let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used);
                if let Some(oldest) = oldest.map(|(key, _)| *key) {
                    self.flows.remove(&oldest);
                }
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::DGRAM,
                flags,
                Some(ipproto::ICMP),
            );
            let Ok(socket) = socket else {
                return;
            };
            self.flows.insert(key, EchoFlow { socket, used: now });
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.used = now;
            // The host puts its own identifier in; a failure is a lost packet.
            let _ = rustix::net::sendto(
                &flow.socket,
                bytes,
                SendFlags::empty(),
                &SocketAddrV4::new(to, 0),
            );
        }
    }

    pub(super) fn watch<'a>(&'a self, set: &mut PollSet<'a>) {
        for (key, flow) in &self.flows {
            set.read(Token::Icmp(*key), &flow.socket);
            set.at(flow.used + ECHO_IDLE);
        }
    }

    /// Passes replies on to the guest, with the guest's identifier.
    pub(super) fn ready(&mut self, cable: &mut Cable, key: EchoKey) {
        let Some(flow) = self.flows.get(&key) else {
            return;
        };
        let mut buffer = [MaybeUninit::<u8>::uninit(); 65_536];
        for _ in 0..REPLIES_A_TURN {
            let received = rustix::net::recvfrom(&flow.socket, &mut buffer, RecvFlags::empty());
            let Ok(((bytes, _), _, Some(source))) = received else {
                return;
            };
            let Ok(source) = SocketAddrV4::try_from(source) else {
                return;
            };
            let answered = Icmpv4Packet::new_checked(&*bytes)
                .is_ok_and(|packet| packet.msg_type() == Icmpv4Message::EchoReply);
            if answered && bytes.len() >= ECHO_HEADER_BYTES {
                reply(cable, (*source.ip(), key.guest), key.ident, bytes);
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.flows
            .retain(|_, flow| now.saturating_duration_since(flow.used) < ECHO_IDLE);
    }
}

/// Sends an echo reply with the sequence number and data of `echo`.
fn reply(cable: &mut Cable, (from, to): (Ipv4Addr, Ipv4Addr), ident: u16, echo: &[u8]) {
    cable.ipv4(to, from, IpProtocol::Icmp, echo.len(), |payload| {
        payload.copy_from_slice(echo);
        let mut packet = Icmpv4Packet::new_unchecked(payload);
        packet.set_msg_type(Icmpv4Message::EchoReply);
        packet.set_msg_code(0);
        packet.set_echo_ident(ident);
        packet.fill_checksum();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use smoltcp::wire::{ETHERNET_HEADER_LEN, EthernetAddress, Ipv4Packet};

    use super::*;
    use crate::net::FrameSink;
    use crate::net::nat::config::NatConfig;

    #[derive(Default)]
    struct Card(Mutex<Vec<Vec<u8>>>);
    impl FrameSink for Card {
        fn receive(&self, frame: &[u8]) -> bool {
            self.0.lock().push(frame.to_vec());
            true
        }
    }

    #[test]
    fn reply_has_the_guests_identifier_and_what_was_sent() {
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let card = Arc::new(Card::default());
        let mut cable = Cable::new(&plan, None);
        cable.plug(card.clone());
        cable.neighbours.learn(plan.guest, EthernetAddress([2; 6]));
        // As the host's socket delivers it, with an identifier of its own.
        let echo = [0, 0, 0xde, 0xad, 0x11, 0x22, 0, 7, b'x', b'y'];
        let outside = Ipv4Addr::new(192, 0, 2, 1);
        reply(&mut cable, (outside, plan.guest), 0xabcd, &echo);
        let frames = card.0.lock();
        let packet = Ipv4Packet::new_checked(&frames[0][ETHERNET_HEADER_LEN..]).unwrap();
        assert_eq!(
            (packet.src_addr(), packet.dst_addr()),
            (outside, plan.guest)
        );
        let answer = Icmpv4Packet::new_checked(packet.payload()).unwrap();
        assert!(answer.verify_checksum());
        assert_eq!(answer.msg_type(), Icmpv4Message::EchoReply);
        assert_eq!((answer.echo_ident(), answer.echo_seq_no()), (0xabcd, 7));
        assert_eq!(answer.data(), b"xy");
    }
}

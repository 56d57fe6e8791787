//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo answered here for the virtual hosts and through the host for others;
//! errors to the guest.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, Icmpv4Packet, Icmpv6Packet, IpProtocol, Ipv4Packet,
    Ipv6Packet,
};
use vm_osal::net::{Cause, EchoNews, EchoSocket, Family, Trouble};

use super::cable::{Cable, header_bytes};
use super::limits::Shortages;
use super::plan::{Plan, Route};
use super::token::{Token, Waits};

/// Header of an echo message: type, code, checksum, identifier, sequence number.
const ECHO_HEADER_BYTES: usize = 8;
const ECHO_FLOWS_MAX: usize = 32;
const ECHO_IDLE: Duration = Duration::from_secs(30);
/// How much of the packet that caused an error is sent back (RFC 1812, 4.3.2.3).
const QUOTE_BYTES: usize = 548;
/// Replies read in a row before others have their turn.
const REPLIES_A_TURN: usize = 32;
/// Hops of a packet that is quoted; nobody looks at them.
const QUOTED_HOPS: u8 = 1;

/// Types of the echo messages of a family.
struct EchoTypes {
    request: u8,
    reply: u8,
}

const fn echo_types(family: Family) -> EchoTypes {
    match family {
        Family::V4 => EchoTypes {
            request: 8,
            reply: 0,
        },
        Family::V6 => EchoTypes {
            request: 128,
            reply: 129,
        },
    }
}

/// Type and code of an error, and the second word of its header.
const fn wire(cause: Cause, family: Family) -> (u8, u8, u32) {
    match (family, cause) {
        (Family::V4, Cause::NetworkUnreachable) => (3, 0, 0),
        (Family::V4, Cause::HostUnreachable) => (3, 1, 0),
        (Family::V4, Cause::PortUnreachable) => (3, 3, 0),
        (Family::V4, Cause::Prohibited) => (3, 13, 0),
        (Family::V4, Cause::HopsExceeded) => (11, 0, 0),
        (Family::V4, Cause::TooBig { mtu }) => (3, 4, mtu & 0xffff),
        (Family::V6, Cause::NetworkUnreachable) => (1, 0, 0),
        (Family::V6, Cause::HostUnreachable) => (1, 3, 0),
        (Family::V6, Cause::PortUnreachable) => (1, 4, 0),
        (Family::V6, Cause::Prohibited) => (1, 1, 0),
        (Family::V6, Cause::HopsExceeded) => (3, 0, 0),
        (Family::V6, Cause::TooBig { mtu }) => (2, 0, mtu),
    }
}

/// Sends a message of `bytes` bytes that `fill` writes, all but its checksum.
pub(super) fn send(
    cable: &mut Cable,
    from: IpAddr,
    to: IpAddr,
    bytes: usize,
    fill: impl FnOnce(&mut [u8]),
) {
    let protocol = match to {
        IpAddr::V4(_) => IpProtocol::Icmp,
        IpAddr::V6(_) => IpProtocol::Icmpv6,
    };
    cable.ip(to, from, protocol, bytes, |payload| {
        fill(payload);
        fill_checksum(payload, from, to);
    });
}

/// Fills the checksum of a message between these addresses in; that of ICMPv6 covers them (RFC 4443, 2.3).
pub(super) fn fill_checksum(message: &mut [u8], from: IpAddr, to: IpAddr) {
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Icmpv6Packet::new_unchecked(message).fill_checksum(&from, &to);
        }
        _ => Icmpv4Packet::new_unchecked(message).fill_checksum(),
    }
}

/// Tells the guest about a packet of its own, given with its IP header.
pub(super) fn report(cable: &mut Cable, from: IpAddr, cause: Cause, packet: &[u8]) {
    let Some(to) = source(packet).filter(|to| to.is_ipv4() == from.is_ipv4()) else {
        return;
    };
    let quote = &packet[..packet.len().min(QUOTE_BYTES)];
    let (kind, code, word) = wire(cause, Family::of(from));
    let bytes = ECHO_HEADER_BYTES + quote.len();
    send(cable, from, to, bytes, |payload| {
        payload[..4].copy_from_slice(&[kind, code, 0, 0]);
        payload[4..ECHO_HEADER_BYTES].copy_from_slice(&word.to_be_bytes());
        payload[ECHO_HEADER_BYTES..].copy_from_slice(quote);
    });
}

/// Who sent a packet.
fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(Ipv4Packet::new_checked(packet).ok()?.src_addr().into()),
        6 if packet.len() >= IPV6_HEADER_LEN => {
            Some(Ipv6Packet::new_unchecked(packet).src_addr().into())
        }
        _ => None,
    }
}

/// The beginning of a packet of the guest, to be quoted in an error: an IP header and `head`, the first bytes of the
/// `bytes` behind it.
pub(super) fn quote(
    (from, to): (IpAddr, IpAddr),
    protocol: IpProtocol,
    bytes: usize,
    head: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0; header_bytes(from)];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = Ipv4Packet::new_unchecked(&mut packet);
            header.set_version(4);
            header.set_header_len(IPV4_HEADER_LEN as u8);
            header.set_total_len((IPV4_HEADER_LEN + bytes) as u16);
            header.set_hop_limit(QUOTED_HOPS);
            header.set_next_header(protocol);
            header.set_src_addr(from);
            header.set_dst_addr(to);
            header.fill_checksum();
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = Ipv6Packet::new_unchecked(&mut packet);
            header.set_version(6);
            header.set_payload_len(bytes as u16);
            header.set_hop_limit(QUOTED_HOPS);
            header.set_next_header(protocol);
            header.set_src_addr(from);
            header.set_dst_addr(to);
        }
        _ => {}
    }
    packet.extend_from_slice(head);
    packet
}

/// Which guest program a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EchoKey {
    guest: IpAddr,
    ident: u16,
}

struct EchoFlow {
    socket: EchoSocket,
    used: Instant,
}

/// An echo request of the guest.
#[derive(Clone, Copy)]
pub(super) struct Echo<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    /// Routers that it may still pass.
    pub(super) hops: u8,
    /// The whole message.
    pub(super) message: &'a [u8],
}

/// Whether an intact ICMP message of this family asks for an echo.
pub(super) fn is_echo_request(family: Family, message: &[u8]) -> bool {
    message.len() >= ECHO_HEADER_BYTES && message[..2] == [echo_types(family).request, 0]
}

/// Echo requests under way to the outside.
#[derive(Default)]
pub(super) struct Icmp {
    flows: HashMap<EchoKey, EchoFlow>,
}

impl Icmp {
    /// Takes an echo request of the guest. `outside` tells whether it may leave.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        shortages: &mut Shortages,
        plan: &Plan,
        echo: Echo<'_>,
        outside: bool,
        now: Instant,
    ) {
        match plan.route(echo.to) {
            Route::Gateway | Route::Dns => {
                let ident = ident_of(echo.message);
                reply(cable, (echo.to, echo.from), ident, echo.message);
            }
            Route::Outside(_) if outside => self.send(shortages, echo, now),
            _ => {}
        }
    }

    /// A host that allows no echo sockets leaves the guest without answer, and its user with a word why.
    fn send(&mut self, shortages: &mut Shortages, echo: Echo<'_>, now: Instant) {
        let key = EchoKey {
            guest: echo.from,
            ident: ident_of(echo.message),
        };
        if !self.flows.contains_key(&key) {
            if self.flows.len() >= ECHO_FLOWS_MAX {
                let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used);
                if let Some(oldest) = oldest.map(|(key, _)| *key) {
                    self.flows.remove(&oldest);
                }
            }
            match EchoSocket::open(Family::of(echo.to)) {
                Ok(socket) => {
                    self.flows.insert(key, EchoFlow { socket, used: now });
                }
                Err(error) => {
                    if error.kind() == ErrorKind::PermissionDenied {
                        shortages.echo();
                    }
                    return;
                }
            }
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.used = now;
            // A failure is a lost packet.
            let _ = flow.socket.send(echo.message, echo.to, echo.hops);
        }
    }

    pub(super) fn watch<'a>(&'a self, set: &mut Waits<'a>) {
        for (key, flow) in &self.flows {
            set.read(Token::Icmp(*key), &flow.socket);
            set.at(flow.used + ECHO_IDLE);
        }
    }

    /// Passes replies and troubles on to the guest, with the guest's identifier.
    pub(super) fn ready(&mut self, cable: &mut Cable, plan: &Plan, key: EchoKey) {
        let Some(flow) = self.flows.get(&key) else {
            return;
        };
        for _ in 0..REPLIES_A_TURN {
            match flow.socket.receive() {
                Some(EchoNews::Reply(message, from)) => {
                    reply(cable, (from, key.guest), key.ident, &message);
                }
                Some(EchoNews::Trouble(trouble)) => pass_on(cable, plan, key, trouble),
                None => return,
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.flows
            .retain(|_, flow| now.saturating_duration_since(flow.used) < ECHO_IDLE);
    }
}

fn ident_of(echo: &[u8]) -> u16 {
    u16::from_be_bytes([echo[4], echo[5]])
}

/// Passes the trouble of an echo request on, which is quoted as the guest sent it.
fn pass_on(cable: &mut Cable, plan: &Plan, key: EchoKey, mut trouble: Trouble) {
    if trouble.data.len() < ECHO_HEADER_BYTES {
        return;
    }
    let family = Family::of(key.guest);
    let reporter = trouble.reporter.map_or_else(
        || plan.gateway_of(family),
        |reporter| plan.seen_by_guest(reporter, family),
    );
    let protocol = match family {
        Family::V4 => IpProtocol::Icmp,
        Family::V6 => IpProtocol::Icmpv6,
    };
    let ends = (key.guest, trouble.to.ip());
    trouble.data[4..6].copy_from_slice(&key.ident.to_be_bytes());
    fill_checksum(&mut trouble.data, ends.0, ends.1);
    let quote = quote(ends, protocol, trouble.data.len(), &trouble.data);
    report(cable, reporter, trouble.cause, &quote);
}

/// Sends an echo reply with the sequence number and data of `echo`.
fn reply(cable: &mut Cable, (from, to): (IpAddr, IpAddr), ident: u16, echo: &[u8]) {
    let kind = echo_types(Family::of(to)).reply;
    send(cable, from, to, echo.len(), |payload| {
        payload.copy_from_slice(echo);
        payload[..2].copy_from_slice(&[kind, 0]);
        payload[4..6].copy_from_slice(&ident.to_be_bytes());
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use smoltcp::wire::{ETHERNET_HEADER_LEN, EthernetAddress, Icmpv4Message};

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
        cable
            .neighbours
            .learn(plan.guest.into(), EthernetAddress([2; 6]));
        // As the host's socket delivers it, with an identifier of its own.
        let echo = [0, 0, 0xde, 0xad, 0x11, 0x22, 0, 7, b'x', b'y'];
        let outside = Ipv4Addr::new(192, 0, 2, 1);
        reply(
            &mut cable,
            (outside.into(), plan.guest.into()),
            0xabcd,
            &echo,
        );
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

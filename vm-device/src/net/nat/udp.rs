//! Datagrams (RFC 768): one host socket for each guest port, as RFC 4787 asks of a NAT.
//!
//! The mapping does not depend on the peer (REQ-1), replies are taken from any port of an address that the guest has
//! written to (REQ-8), and it lives two minutes after the last datagram of the guest (REQ-5, REQ-6).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use smoltcp::wire::{IpAddress, IpProtocol, UDP_HEADER_LEN, UdpPacket};

use super::cable::{Cable, PAYLOAD_MAX};
use super::config::{Plan, Route};
use super::poll_set::{PollSet, Token};

const MAPPINGS_MAX: usize = 256;
/// Peers remembered for each mapping or forward; the oldest gives way.
const PEERS_MAX: usize = 128;
const IDLE: Duration = Duration::from_secs(120);
/// Datagrams read from a socket before others have their turn.
const DATAGRAMS_A_TURN: usize = 64;

struct Mapping {
    socket: UdpSocket,
    /// Host-side addresses that may answer.
    peers: Vec<Ipv4Addr>,
    used: Instant,
}

struct ForwardSocket {
    socket: UdpSocket,
    guest: SocketAddrV4,
    /// Who wrote to the guest: as the guest sees it, and in truth.
    peers: Vec<(SocketAddrV4, SocketAddrV4)>,
}

pub(super) struct Udp {
    mappings: HashMap<SocketAddrV4, Mapping>,
    forwards: Vec<ForwardSocket>,
    buffer: Vec<u8>,
}

/// Sends a datagram to the guest.
pub(super) fn send(cable: &mut Cable, from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) {
    let bytes = UDP_HEADER_LEN + data.len();
    if bytes > PAYLOAD_MAX {
        return;
    }
    cable.ipv4(*to.ip(), *from.ip(), IpProtocol::Udp, bytes, |payload| {
        let mut packet = UdpPacket::new_unchecked(payload);
        packet.set_src_port(from.port());
        packet.set_dst_port(to.port());
        packet.set_len(bytes as u16);
        packet.payload_mut().copy_from_slice(data);
        packet.fill_checksum(&IpAddress::Ipv4(*from.ip()), &IpAddress::Ipv4(*to.ip()));
    });
}

/// Adds to a bounded list whose last entries are the most recent.
fn remember<T: PartialEq>(list: &mut Vec<T>, entry: T) {
    if list.last() == Some(&entry) {
        return;
    }
    list.retain(|other| *other != entry);
    if list.len() >= PEERS_MAX {
        list.remove(0);
    }
    list.push(entry);
}

impl Udp {
    pub(super) fn new(forwards: Vec<(UdpSocket, SocketAddrV4)>) -> Self {
        let forward = |(socket, guest)| ForwardSocket {
            socket,
            guest,
            peers: Vec::new(),
        };
        Self {
            mappings: HashMap::new(),
            forwards: forwards.into_iter().map(forward).collect(),
            buffer: vec![0; 65_536],
        }
    }

    /// Takes a datagram of the guest for another host.
    pub(super) fn input(
        &mut self,
        plan: &Plan,
        from: SocketAddrV4,
        to: SocketAddrV4,
        data: &[u8],
        now: Instant,
    ) {
        for forward in self.forwards.iter().filter(|forward| forward.guest == from) {
            if let Some((_, peer)) = forward.peers.iter().find(|(seen, _)| *seen == to) {
                let _ = forward.socket.send_to(data, peer);
                return;
            }
        }
        let address = match plan.route(*to.ip()) {
            Route::Gateway => Ipv4Addr::LOCALHOST,
            Route::Outside(address) => address,
            _ => return,
        };
        if plan.restrict || to.port() == 0 || from.port() == 0 {
            return;
        }
        if !self.mappings.contains_key(&from) && !self.open(from, now) {
            return;
        }
        if let Some(mapping) = self.mappings.get_mut(&from) {
            mapping.used = now;
            remember(&mut mapping.peers, address);
            // A datagram that the host cannot send is lost, as on any network.
            let _ = mapping
                .socket
                .send_to(data, SocketAddrV4::new(address, to.port()));
        }
    }

    fn open(&mut self, guest: SocketAddrV4, now: Instant) -> bool {
        if self.mappings.len() >= MAPPINGS_MAX {
            let oldest = self.mappings.iter().min_by_key(|(_, mapping)| mapping.used);
            if let Some(oldest) = oldest.map(|(guest, _)| *guest) {
                self.mappings.remove(&oldest);
            }
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        let Ok(socket) = socket else {
            return false;
        };
        let mapping = Mapping {
            socket,
            peers: Vec::new(),
            used: now,
        };
        self.mappings.insert(guest, mapping);
        true
    }

    pub(super) fn watch<'a>(&'a self, set: &mut PollSet<'a>, card_ready: bool) {
        for (guest, mapping) in &self.mappings {
            if card_ready {
                set.read(Token::Udp(*guest), &mapping.socket);
            }
            set.at(mapping.used + IDLE);
        }
        for (index, forward) in self.forwards.iter().enumerate().filter(|_| card_ready) {
            set.read(Token::ForwardUdp(index), &forward.socket);
        }
    }

    /// Passes answers of a mapping's peers on to the guest.
    pub(super) fn ready(&mut self, cable: &mut Cable, plan: &Plan, guest: SocketAddrV4) {
        let Some(mapping) = self.mappings.get(&guest) else {
            return;
        };
        for _ in 0..DATAGRAMS_A_TURN {
            if !cable.ready() {
                return;
            }
            let Ok((bytes, SocketAddr::V4(peer))) = mapping.socket.recv_from(&mut self.buffer)
            else {
                return;
            };
            if mapping.peers.contains(peer.ip()) {
                let seen = SocketAddrV4::new(plan.seen_by_guest(*peer.ip()), peer.port());
                send(cable, seen, guest, &self.buffer[..bytes]);
            }
        }
    }

    /// Passes datagrams for a forwarded port on to the guest.
    pub(super) fn forward_ready(&mut self, cable: &mut Cable, plan: &Plan, index: usize) {
        let Some(forward) = self.forwards.get_mut(index) else {
            return;
        };
        for _ in 0..DATAGRAMS_A_TURN {
            if !cable.ready() {
                return;
            }
            let Ok((bytes, SocketAddr::V4(peer))) = forward.socket.recv_from(&mut self.buffer)
            else {
                return;
            };
            let seen = SocketAddrV4::new(plan.seen_by_guest(*peer.ip()), peer.port());
            remember(&mut forward.peers, (seen, peer));
            send(cable, seen, forward.guest, &self.buffer[..bytes]);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.mappings
            .retain(|_, mapping| now.saturating_duration_since(mapping.used) < IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nat::NatConfig;

    #[test]
    fn input_port_scan_keeps_a_bounded_number_of_sockets() {
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = SocketAddrV4::new(plan.gateway, sink.local_addr().unwrap().port());
        let mut udp = Udp::new(Vec::new());
        let start = Instant::now();
        for port in 1..=1000u16 {
            let now = start + Duration::from_millis(port.into());
            udp.input(&plan, SocketAddrV4::new(plan.guest, port), to, b"x", now);
        }
        assert_eq!(udp.mappings.len(), MAPPINGS_MAX);
        assert!(
            udp.mappings
                .contains_key(&SocketAddrV4::new(plan.guest, 1000))
        );
        udp.expire(start + IDLE + Duration::from_secs(2));
        assert!(udp.mappings.is_empty());
    }

    #[test]
    fn remember_keeps_the_most_recent() {
        let mut list = Vec::new();
        for i in 0..PEERS_MAX + 10 {
            remember(&mut list, i);
        }
        remember(&mut list, 10);
        assert_eq!(list.len(), PEERS_MAX);
        assert_eq!(list.last(), Some(&10));
        assert!(!list.contains(&9));
    }
}

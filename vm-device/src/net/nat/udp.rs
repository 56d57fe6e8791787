//! Datagrams (RFC 768): one host socket for each guest port, as RFC 4787 asks of a NAT.
//!
//! The mapping does not depend on the peer (REQ-1), replies are taken from any port of an address that the guest has
//! written to (REQ-8), and it lives two minutes after the last datagram of the guest (REQ-5, REQ-6). Errors that the
//! host hears of a datagram are passed on (REQ-11).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use smoltcp::wire::{IpProtocol, UDP_HEADER_LEN, UdpPacket};
use vm_osal::net::{Cause, DatagramNews, Datagrams, Family, Trouble};

use super::cable::{Cable, PAYLOAD_MAX};
use super::icmp;
use super::plan::Plan;
use super::token::{Token, Waits};

/// Peers remembered for each mapping or forward; the oldest gives way.
const PEERS_MAX: usize = 128;
const IDLE: Duration = Duration::from_secs(120);
/// Datagrams read from a socket before others have their turn.
const DATAGRAMS_A_TURN: usize = 64;

struct Mapping {
    socket: Datagrams,
    /// Host-side addresses that may answer.
    peers: Vec<IpAddr>,
    used: Instant,
}

struct ForwardSocket {
    socket: Datagrams,
    guest: SocketAddr,
    /// Who wrote to the guest: as the guest sees it, and in truth.
    peers: Vec<(SocketAddr, SocketAddr)>,
}

pub(super) struct Udp {
    mappings: HashMap<SocketAddr, Mapping>,
    mappings_max: usize,
    forwards: Vec<ForwardSocket>,
    buffer: Vec<u8>,
}

/// A datagram of the guest for another host.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// Routers that it may still pass.
    pub(super) hops: u8,
    pub(super) data: &'a [u8],
}

/// Sends a datagram to the guest.
pub(super) fn send(cable: &mut Cable, from: SocketAddr, to: SocketAddr, data: &[u8]) {
    let bytes = UDP_HEADER_LEN + data.len();
    if bytes > PAYLOAD_MAX {
        return;
    }
    cable.ip(to.ip(), from.ip(), IpProtocol::Udp, bytes, |payload| {
        let mut packet = UdpPacket::new_unchecked(payload);
        packet.set_src_port(from.port());
        packet.set_dst_port(to.port());
        packet.set_len(bytes as u16);
        packet.payload_mut().copy_from_slice(data);
        packet.fill_checksum(&from.ip().into(), &to.ip().into());
    });
}

/// Tells the guest that a datagram of its own, from its port `guest` to `to`, came to nothing.
fn report(
    cable: &mut Cable,
    reporter: IpAddr,
    (guest, to): (SocketAddr, SocketAddr),
    cause: Cause,
    data: &[u8],
) {
    let bytes = UDP_HEADER_LEN + data.len();
    let mut head = vec![0; bytes];
    head[..2].copy_from_slice(&guest.port().to_be_bytes());
    head[2..4].copy_from_slice(&to.port().to_be_bytes());
    head[4..6].copy_from_slice(&(bytes as u16).to_be_bytes());
    head[UDP_HEADER_LEN..].copy_from_slice(data);
    let quote = icmp::quote((guest.ip(), to.ip()), IpProtocol::Udp, bytes, &head);
    icmp::report(cable, reporter, cause, &quote);
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

impl ForwardSocket {
    /// The address by which the guest knows this peer. Two peers never share one.
    fn seen(&mut self, plan: &Plan, peer: SocketAddr) -> SocketAddr {
        if let Some((seen, _)) = self.peers.iter().find(|(_, known)| *known == peer) {
            let pair = (*seen, peer);
            remember(&mut self.peers, pair);
            return pair.0;
        }
        let address = plan.seen_by_guest(peer.ip(), Family::of(self.guest.ip()));
        let mut seen = SocketAddr::new(address, peer.port());
        while self.peers.iter().any(|(taken, _)| *taken == seen) {
            seen.set_port(seen.port().checked_add(1).unwrap_or(1024));
        }
        remember(&mut self.peers, (seen, peer));
        seen
    }
}

impl Udp {
    pub(super) fn new(forwards: Vec<(Datagrams, SocketAddr)>, mappings_max: usize) -> Self {
        let forward = |(socket, guest)| ForwardSocket {
            socket,
            guest,
            peers: Vec::new(),
        };
        Self {
            mappings: HashMap::new(),
            mappings_max,
            forwards: forwards.into_iter().map(forward).collect(),
            buffer: vec![0; 65_536],
        }
    }

    /// Whether a datagram of the guest answers one that came through a forward; it is sent then.
    pub(super) fn answer(&self, from: SocketAddr, to: SocketAddr, data: &[u8]) -> bool {
        let peer = self
            .forwards
            .iter()
            .filter(|forward| forward.guest == from)
            .find_map(|forward| {
                let (_, peer) = forward.peers.iter().find(|(seen, _)| *seen == to)?;
                Some((forward, *peer))
            });
        if let Some((forward, peer)) = peer {
            let _ = forward.socket.reply(data, peer);
        }
        peer.is_some()
    }

    /// Takes a datagram of the guest for another host.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        plan: &Plan,
        datagram: Outgoing<'_>,
        now: Instant,
    ) {
        let Outgoing { from, to, .. } = datagram;
        let Some(host) = plan.host_address(to).filter(|_| from.port() != 0) else {
            return;
        };
        if !self.mappings.contains_key(&from) && !self.open(from, now) {
            return;
        }
        if let Some(mapping) = self.mappings.get_mut(&from) {
            mapping.used = now;
            remember(&mut mapping.peers, host.ip());
            let sent = mapping.socket.send(datagram.data, host, datagram.hops);
            // Whatever else keeps the host from sending loses the datagram, as on any network.
            if let Err(Ok(cause)) = sent.map_err(|error| Cause::try_from(&error)) {
                let gateway = plan.gateway_of(Family::of(to.ip()));
                report(cable, gateway, (from, to), cause, datagram.data);
            }
        }
    }

    fn open(&mut self, guest: SocketAddr, now: Instant) -> bool {
        let family = Family::of(guest.ip());
        if self.mappings.len() >= self.mappings_max {
            self.drop_oldest();
        }
        let socket = Datagrams::open(family).or_else(|_| {
            // Most likely no descriptor is left.
            self.drop_oldest();
            Datagrams::open(family)
        });
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

    fn drop_oldest(&mut self) {
        let oldest = self.mappings.iter().min_by_key(|(_, mapping)| mapping.used);
        if let Some(oldest) = oldest.map(|(guest, _)| *guest) {
            self.mappings.remove(&oldest);
        }
    }

    pub(super) fn watch<'a>(&'a self, set: &mut Waits<'a>, card_ready: bool) {
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

    /// Passes answers of a mapping's peers on to the guest, and what became of its datagrams.
    pub(super) fn ready(&mut self, cable: &mut Cable, plan: &Plan, guest: SocketAddr) {
        let Some(mapping) = self.mappings.get(&guest) else {
            return;
        };
        let family = Family::of(guest.ip());
        for _ in 0..DATAGRAMS_A_TURN {
            if !cable.ready() {
                return;
            }
            match mapping.socket.receive(&mut self.buffer) {
                Some(DatagramNews::Datagram(bytes, peer)) => {
                    if mapping.peers.contains(&peer.ip()) {
                        let seen = plan.seen_by_guest(peer.ip(), family);
                        let seen = SocketAddr::new(seen, peer.port());
                        send(cable, seen, guest, &self.buffer[..bytes]);
                    }
                }
                Some(DatagramNews::Trouble(trouble)) => pass_on(cable, plan, guest, &trouble),
                None => return,
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
            match forward.socket.receive(&mut self.buffer) {
                Some(DatagramNews::Datagram(bytes, peer)) => {
                    let seen = forward.seen(plan, peer);
                    send(cable, seen, forward.guest, &self.buffer[..bytes]);
                }
                Some(DatagramNews::Trouble(_)) => {}
                None => return,
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.mappings
            .retain(|_, mapping| now.saturating_duration_since(mapping.used) < IDLE);
    }
}

/// Passes the trouble of a datagram from the guest's port `guest` on.
fn pass_on(cable: &mut Cable, plan: &Plan, guest: SocketAddr, trouble: &Trouble) {
    let family = Family::of(guest.ip());
    // The host sends larger datagrams in fragments by itself.
    if matches!(trouble.cause, Cause::TooBig { .. }) {
        return;
    }
    let to = SocketAddr::new(
        plan.seen_by_guest(trouble.to.ip(), family),
        trouble.to.port(),
    );
    let reporter = trouble.reporter.map_or_else(
        || plan.gateway_of(family),
        |reporter| plan.seen_by_guest(reporter, family),
    );
    report(cable, reporter, (guest, to), trouble.cause, &trouble.data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nat::NatConfig;
    use std::net::UdpSocket;

    #[test]
    fn input_port_scan_keeps_a_bounded_number_of_sockets() {
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = SocketAddr::new(plan.gateway.into(), sink.local_addr().unwrap().port());
        let mut cable = Cable::new(&plan, None);
        let from = |port| SocketAddr::new(plan.guest.into(), port);
        let mut udp = Udp::new(Vec::new(), 200);
        let start = Instant::now();
        for port in 1..=1000u16 {
            let now = start + Duration::from_millis(port.into());
            let datagram = Outgoing {
                from: from(port),
                to,
                hops: 63,
                data: b"x",
            };
            udp.input(&mut cable, &plan, datagram, now);
        }
        assert_eq!(udp.mappings.len(), 200);
        assert!(udp.mappings.contains_key(&from(1000)));
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

//! The gateway: takes each frame of the guest to the protocol it belongs to.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet, IpProtocol,
    Ipv4Packet, Ipv6FragmentHeader, Ipv6Packet, UdpPacket,
};
use vm_core::Notices;
use vm_osal::net::{Cause, Family, Readiness, Waker, is_out_of_sockets};

use super::allow::AllowList;
use super::arp;
use super::cable::{Cable, HOPS_NEIGHBOUR};
use super::dhcp::{self, Dhcp};
use super::dhcp6::{self, Dhcp6};
use super::dns::{self, Dns, Resolvers};
use super::dns_tcp::DnsTcp;
use super::forward::Listeners;
use super::fragment::{Fragment, Key, Reassembly};
use super::icmp::{self, Echo, Icmp};
use super::limits::{Limits, Shortages};
use super::loss::Loss;
use super::ndp::{self, Router};
use super::plan::{Plan, Route};
use super::tcp::{Target, Tcp};
use super::token::{Token, Waits};
use super::udp::{Outgoing, Udp};
use crate::net::pcap::Capture;

/// Connections taken from a listener before others have their turn.
const ACCEPTS_A_TURN: usize = 16;
/// How long clients wait when the host has no descriptor left for them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Extension headers of an IPv6 packet that are looked behind.
const EXTENSIONS_MAX: usize = 8;

/// What a network is made of, besides its plan.
pub(super) struct Parts {
    pub(super) access: AllowList,
    pub(super) resolvers: Resolvers,
    pub(super) listeners: Listeners,
    pub(super) capture: Option<Capture>,
    pub(super) waker: Waker,
    pub(super) limits: Limits,
    pub(super) notices: Notices,
}

pub(super) struct Gateway {
    plan: Plan,
    pub(super) cable: Cable,
    /// What the guest may reach.
    access: AllowList,
    /// Which of the guest's frames never arrive.
    loss: Loss,
    reassembly: Reassembly,
    dhcp: Dhcp,
    dhcp6: Dhcp6,
    router: Router,
    dns: Dns,
    dns_tcp: DnsTcp,
    icmp: Icmp,
    udp: Udp,
    tcp: Tcp,
    listeners: Vec<(TcpListener, SocketAddr)>,
    /// No client is accepted before this time.
    accept_from: Option<Instant>,
    shortages: Shortages,
}

/// A packet of the guest, whole, with the fields that its protocols need.
#[derive(Clone, Copy)]
struct Packet<'a> {
    from: IpAddr,
    to: IpAddr,
    mac: EthernetAddress,
    hops: u8,
    /// The packet as it came (its first fragment), for error messages.
    raw: &'a [u8],
    payload: &'a [u8],
}

impl Gateway {
    pub(super) fn new(plan: Plan, parts: Parts, now: Instant) -> Self {
        let limits = parts.limits;
        Self {
            cable: Cable::new(&plan, parts.capture),
            access: parts.access,
            loss: Loss::new(plan.loss_percent),
            reassembly: Reassembly::default(),
            dhcp: Dhcp::default(),
            dhcp6: Dhcp6::default(),
            router: Router::default(),
            dns: Dns::new(parts.resolvers, parts.waker),
            dns_tcp: DnsTcp::default(),
            icmp: Icmp::default(),
            udp: Udp::new(parts.listeners.udp, limits.udp),
            tcp: Tcp::new(limits, now),
            listeners: parts.listeners.tcp,
            accept_from: None,
            shortages: Shortages::new(parts.notices, limits),
            plan,
        }
    }

    /// Takes a frame of the guest. Whatever is not understood is dropped, as by any host.
    pub(super) fn frame(&mut self, bytes: &[u8], now: Instant) {
        self.cable.capture(bytes);
        if self.loss.next() {
            return;
        }
        let Ok(frame) = EthernetFrame::new_checked(bytes) else {
            return;
        };
        let to = frame.dst_addr();
        if to != self.plan.mac && !to.is_broadcast() && !to.is_multicast() {
            return;
        }
        match frame.ethertype() {
            EthernetProtocol::Arp => self.arp(frame.payload(), now),
            EthernetProtocol::Ipv4 => self.ipv4(frame.src_addr(), frame.payload(), now),
            EthernetProtocol::Ipv6 if self.plan.v6 => {
                self.ipv6(frame.src_addr(), frame.payload(), now);
            }
            _ => {}
        }
    }

    fn arp(&mut self, bytes: &[u8], now: Instant) {
        if arp::input(&mut self.cable, &self.plan, bytes) {
            self.neighbour_found(now);
        }
    }

    fn neighbour_found(&mut self, now: Instant) {
        if let Some(address) = self.cable.neighbours.newest() {
            self.tcp.neighbour_found(&mut self.cable, address, now);
        }
    }

    fn ipv4(&mut self, mac: EthernetAddress, bytes: &[u8], now: Instant) {
        let Ok(packet) = Ipv4Packet::new_checked(bytes) else {
            return;
        };
        if packet.version() != 4 || packet.header_len() < 20 || !packet.verify_checksum() {
            return;
        }
        let from = packet.src_addr();
        if self.plan.is_guest(from) {
            if self.cable.neighbours.learn(from.into(), mac) {
                self.neighbour_found(now);
            }
        } else if !from.is_unspecified() {
            return;
        }
        let protocol = packet.next_header();
        let mut whole = Packet {
            from: from.into(),
            to: packet.dst_addr().into(),
            mac,
            hops: packet.hop_limit(),
            raw: &bytes[..usize::from(packet.total_len())],
            payload: packet.payload(),
        };
        if !packet.more_frags() && packet.frag_offset() == 0 {
            return self.payload(protocol, whole, now);
        }
        if let Some(payload) = self.reassembly.input(Fragment::of(&packet), now) {
            whole.payload = &payload;
            self.payload(protocol, whole, now);
        }
    }

    fn ipv6(&mut self, mac: EthernetAddress, bytes: &[u8], now: Instant) {
        let Ok(packet) = Ipv6Packet::new_checked(bytes) else {
            return;
        };
        let from = packet.src_addr();
        if packet.version() != 6 || !(self.plan.is_guest_v6(from) || from.is_unspecified()) {
            return;
        }
        if !from.is_unspecified() && self.cable.neighbours.learn(from.into(), mac) {
            self.neighbour_found(now);
        }
        let mut whole = Packet {
            from: from.into(),
            to: packet.dst_addr().into(),
            mac,
            hops: packet.hop_limit(),
            raw: &bytes[..packet.total_len()],
            payload: packet.payload(),
        };
        let mut protocol = packet.next_header();
        for _ in 0..EXTENSIONS_MAX {
            // Next header and length in units of eight bytes behind the first (RFC 8200, 4.3).
            let header =
                |payload: &[u8]| Some((IpProtocol::from(*payload.first()?), *payload.get(1)?));
            match protocol {
                IpProtocol::HopByHop | IpProtocol::Ipv6Opts => {
                    let Some((next, length)) = header(whole.payload) else {
                        return;
                    };
                    let Some(rest) = whole.payload.get((usize::from(length) + 1) * 8..) else {
                        return;
                    };
                    (protocol, whole.payload) = (next, rest);
                }
                IpProtocol::Ipv6Frag => {
                    let Some((next, _)) = header(whole.payload) else {
                        return;
                    };
                    if let Some(payload) = self.fragment_v6(next, whole, now) {
                        whole.payload = &payload;
                        self.payload(next, whole, now);
                    }
                    return;
                }
                _ => return self.payload(protocol, whole, now),
            }
        }
    }

    /// Takes a fragment (RFC 8200, 4.5); gives the whole payload when it was the missing piece.
    fn fragment_v6(
        &mut self,
        next: IpProtocol,
        packet: Packet<'_>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let header = Ipv6FragmentHeader::new_checked(packet.payload.get(2..)?).ok()?;
        let fragment = Fragment {
            key: Key {
                from: packet.from,
                to: packet.to,
                protocol: next,
                ident: header.ident(),
            },
            start: usize::from(header.frag_offset()) * 8,
            more: header.more_frags(),
            data: packet.payload.get(8..)?,
        };
        self.reassembly.input(fragment, now)
    }

    fn payload(&mut self, protocol: IpProtocol, packet: Packet<'_>, now: Instant) {
        // Only a client without an address yet may have none: for DHCP, and to ask for its neighbours.
        let without = matches!(protocol, IpProtocol::Udp | IpProtocol::Icmpv6);
        if packet.from.is_unspecified() && !without {
            return;
        }
        if packet.hops <= 1 && matches!(self.plan.route(packet.to), Route::Outside(_)) {
            return self.report(Cause::HopsExceeded, packet);
        }
        match protocol {
            IpProtocol::Tcp => self.tcp(packet, now),
            IpProtocol::Udp => self.udp(packet, now),
            IpProtocol::Icmp if packet.from.is_ipv4() => self.icmp(packet, now),
            IpProtocol::Icmpv6 if packet.from.is_ipv6() => self.icmp(packet, now),
            _ => {}
        }
    }

    /// Tells the guest that a packet of its own goes no further than the gateway.
    fn report(&mut self, cause: Cause, packet: Packet<'_>) {
        let from = self.plan.gateway_of(Family::of(packet.to));
        icmp::report(&mut self.cable, from, cause, packet.raw);
    }

    fn tcp(&mut self, packet: Packet<'_>, now: Instant) {
        let ends = (packet.from, packet.to);
        if self.plan.route(packet.to) == Route::Broadcast || packet.to.is_multicast() {
            return;
        }
        let (plan, access) = (&self.plan, &self.access);
        let (dns, dns_tcp) = (&mut self.dns, &self.dns_tcp);
        let target = |to: SocketAddr| match plan.route(to.ip()) {
            Route::Dns if to.port() == dns::PORT && !access.is_restricted() => dns_tcp
                .connect(&mut dns.resolvers, now)
                .map_or(Target::Refused, Target::Stream),
            _ if access.permits(to) => plan
                .host_address(to)
                .map_or(Target::Refused, Target::Address),
            _ => Target::Refused,
        };
        let shortages = &mut self.shortages;
        self.tcp.input(
            &mut self.cable,
            shortages,
            ends,
            packet.payload,
            now,
            target,
        );
    }

    fn icmp(&mut self, packet: Packet<'_>, now: Instant) {
        let (message, family) = (packet.payload, Family::of(packet.from));
        let intact = match (packet.from, packet.to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => Icmpv6Packet::new_checked(message)
                .is_ok_and(|message| message.verify_checksum(&from, &to)),
            _ => Icmpv4Packet::new_checked(message).is_ok_and(|message| message.verify_checksum()),
        };
        if !intact {
            return;
        }
        if let IpAddr::V6(from) = packet.from
            && ndp::is_ours(message[0])
        {
            // One from behind a router is forged (RFC 4861, 6.1 and 7.1).
            if packet.hops == HOPS_NEIGHBOUR {
                let heard = (from, packet.mac);
                self.router
                    .input(&mut self.cable, &self.plan, heard, message, now);
                self.neighbour_found(now);
            }
            return;
        }
        if packet.from.is_unspecified() || !icmp::is_echo_request(family, message) {
            return;
        }
        let echo = Echo {
            from: packet.from,
            to: packet.to,
            hops: packet.hops - 1,
            message,
        };
        let outside = !self.access.is_restricted();
        let shortages = &mut self.shortages;
        self.icmp
            .input(&mut self.cable, shortages, &self.plan, echo, outside, now);
    }

    fn udp(&mut self, packet: Packet<'_>, now: Instant) {
        let Ok(datagram) = UdpPacket::new_checked(packet.payload) else {
            return;
        };
        if !datagram.verify_checksum(&packet.from.into(), &packet.to.into()) {
            return;
        }
        let from = SocketAddr::new(packet.from, datagram.src_port());
        let to = SocketAddr::new(packet.to, datagram.dst_port());
        let data = datagram.payload();
        let route = self.plan.route(packet.to);
        let cable = &mut self.cable;
        match from {
            SocketAddr::V4(_)
                if to.port() == dhcp::SERVER_PORT
                    && matches!(route, Route::Gateway | Route::Broadcast) =>
            {
                return self.dhcp.input(cable, &self.plan, data);
            }
            SocketAddr::V6(client)
                if to.port() == dhcp6::SERVER_PORT
                    && packet.to == IpAddr::V6(dhcp6::SERVERS)
                    && !packet.from.is_unspecified() =>
            {
                return self.dhcp6.input(cable, client, data);
            }
            _ => {}
        }
        if packet.from.is_unspecified() || self.udp.answer(from, to, data) {
            return;
        }
        match route {
            Route::Dns if to.port() == dns::PORT => {
                self.dns.input(cable, &self.access, (from, to), data, now);
            }
            Route::Dns => icmp::report(cable, packet.to, Cause::PortUnreachable, packet.raw),
            Route::Gateway | Route::Outside(_) if !self.access.permits(to) => {
                self.report(Cause::Prohibited, packet);
            }
            _ => {
                let datagram = Outgoing {
                    from,
                    to,
                    hops: packet.hops.max(2) - 1,
                    data,
                };
                self.udp.input(cable, &self.plan, datagram, now);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.tcp.len()
    }

    pub(super) fn watch<'a>(&'a self, set: &mut Waits<'a>) {
        let card_ready = self.cable.ready();
        self.tcp.watch(set, card_ready);
        self.udp.watch(set, card_ready);
        self.icmp.watch(set);
        self.dns.watch(set);
        if let Some(time) = self.router.deadline() {
            set.at(time);
        }
        match self.accept_from {
            Some(time) => set.at(time),
            None => {
                for (index, (listener, _)) in self.listeners.iter().enumerate() {
                    set.read(Token::Listener(index), listener);
                }
            }
        }
    }

    /// A socket of the host is ready.
    pub(super) fn ready(&mut self, token: Token, ready: Readiness, now: Instant) {
        let cable = &mut self.cable;
        match token {
            Token::Wake => {}
            Token::Tcp(key) => self.tcp.ready(cable, key, ready, now),
            Token::Udp(guest) => self.udp.ready(cable, &self.plan, guest),
            Token::ForwardUdp(index) => self.udp.forward_ready(cable, &self.plan, index),
            Token::Icmp(key) => self.icmp.ready(cable, &self.plan, key),
            Token::Dns(token) => self.dns.ready(cable, &mut self.access, token, now),
            Token::Listener(index) => self.accept(index, now),
        }
    }

    fn accept(&mut self, index: usize, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some((listener, guest)) = self.listeners.get(index) else {
                return;
            };
            let (client, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    // Without a pause the listener would be ready for ever.
                    self.accept_from = Some(now + ACCEPT_PAUSE);
                    if is_out_of_sockets(&error) && !self.tcp.make_room(&mut self.cable, now) {
                        self.shortages.connections(self.tcp.len());
                    }
                    return;
                }
            };
            let guest = *guest;
            let seen = self.plan.seen_by_guest(peer.ip(), Family::of(guest.ip()));
            let ends = (SocketAddr::new(seen, peer.port()), guest);
            let shortages = &mut self.shortages;
            self.tcp.open(&mut self.cable, shortages, client, ends, now);
        }
    }

    /// The card has room again.
    pub(super) fn resume(&mut self) {
        self.cable.resume();
        if self.cable.ready() {
            self.tcp.resume();
        }
    }

    /// The end of a round: timers, and everything that can move moves.
    pub(super) fn run(&mut self, now: Instant) {
        self.accept_from = self.accept_from.filter(|time| *time > now);
        self.dns.run(&mut self.cable, &mut self.access, now);
        self.router.run(&mut self.cable, &self.plan, now);
        self.udp.expire(now);
        self.icmp.expire(now);
        self.tcp.run(&mut self.cable, now);
    }
}

//! The gateway: takes each frame of the guest to the protocol it belongs to.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, UdpPacket,
};

use super::arp;
use super::cable::Cable;
use super::config::{Plan, Route};
use super::dhcp::{self, Dhcp};
use super::dns::{self, Dns, Resolvers};
use super::dns_tcp::DnsTcp;
use super::forward::Listeners;
use super::fragment::Reassembly;
use super::icmp::{self, Icmp, Trouble};
use super::loss::Loss;
use super::poll_set::{PollSet, Token};
use super::tcp::{Target, Tcp};
use super::udp::Udp;
use super::wake::Waker;
use crate::net::pcap::PcapWriter;

/// Connections taken from a listener before others have their turn.
const ACCEPTS_A_TURN: usize = 16;
/// How long clients wait when the host has no descriptor left for them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Gateway {
    plan: Plan,
    pub(super) cable: Cable,
    /// Which of the guest's frames never arrive.
    loss: Loss,
    reassembly: Reassembly,
    dhcp: Dhcp,
    dns: Dns,
    dns_tcp: DnsTcp,
    icmp: Icmp,
    udp: Udp,
    tcp: Tcp,
    listeners: Vec<(TcpListener, SocketAddrV4)>,
    /// No client is accepted before this time.
    accept_from: Option<Instant>,
}

/// A packet of the guest, whole, with the fields that its protocols need.
#[derive(Clone, Copy)]
struct Packet<'a> {
    from: Ipv4Addr,
    to: Ipv4Addr,
    ttl: u8,
    /// The packet as it came (its first fragment), for error messages.
    raw: &'a [u8],
    payload: &'a [u8],
}

impl Gateway {
    pub(super) fn new(
        plan: Plan,
        resolvers: Resolvers,
        listeners: Listeners,
        pcap: Option<PcapWriter>,
        waker: Waker,
        now: Instant,
    ) -> Self {
        Self {
            cable: Cable::new(&plan, pcap),
            loss: Loss::new(plan.loss_percent),
            reassembly: Reassembly::default(),
            dhcp: Dhcp::default(),
            dns: Dns::new(plan.dns, plan.restrict, resolvers, waker),
            dns_tcp: DnsTcp::default(),
            icmp: Icmp::default(),
            udp: Udp::new(listeners.udp),
            tcp: Tcp::new(now),
            listeners: listeners.tcp,
            accept_from: None,
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
            if self.cable.neighbours.learn(from, mac) {
                self.neighbour_found(now);
            }
        } else if !from.is_unspecified() {
            return;
        }
        let protocol = packet.next_header();
        let mut whole = Packet {
            from,
            to: packet.dst_addr(),
            ttl: packet.hop_limit(),
            raw: &bytes[..usize::from(packet.total_len())],
            payload: packet.payload(),
        };
        if !packet.more_frags() && packet.frag_offset() == 0 {
            return self.payload(protocol, whole, now);
        }
        if let Some(payload) = self.reassembly.input(&packet, now) {
            whole.payload = &payload;
            self.payload(protocol, whole, now);
        }
    }

    fn payload(&mut self, protocol: IpProtocol, packet: Packet<'_>, now: Instant) {
        // Only a client without an address yet may have none, and only for DHCP.
        if packet.from.is_unspecified() && protocol != IpProtocol::Udp {
            return;
        }
        if packet.ttl <= 1 && matches!(self.plan.route(packet.to), Route::Outside(_)) {
            return icmp::report(
                &mut self.cable,
                self.plan.gateway,
                Trouble::TimeExceeded,
                packet.raw,
            );
        }
        let ends = (packet.from, packet.to);
        match protocol {
            IpProtocol::Tcp => self.tcp(ends, packet.payload, now),
            IpProtocol::Udp => self.udp(packet, now),
            IpProtocol::Icmp => {
                self.icmp
                    .input(&mut self.cable, &self.plan, ends, packet.payload, now)
            }
            _ => {}
        }
    }

    fn tcp(&mut self, ends: (Ipv4Addr, Ipv4Addr), bytes: &[u8], now: Instant) {
        if self.plan.route(ends.1) == Route::Broadcast || ends.1.is_multicast() {
            return;
        }
        let (plan, dns, dns_tcp) = (&self.plan, &mut self.dns, &self.dns_tcp);
        let target = |to: SocketAddrV4| match plan.route(*to.ip()) {
            _ if plan.restrict => Target::Refused,
            Route::Gateway => Target::Address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, to.port())),
            Route::Outside(address) => Target::Address(SocketAddrV4::new(address, to.port())),
            Route::Dns if to.port() == dns::PORT => dns_tcp
                .connect(dns.resolvers.get(now))
                .map_or(Target::Refused, Target::Stream),
            _ => Target::Refused,
        };
        self.tcp.input(&mut self.cable, ends, bytes, now, target);
    }

    fn udp(&mut self, packet: Packet<'_>, now: Instant) {
        let Ok(datagram) = UdpPacket::new_checked(packet.payload) else {
            return;
        };
        let (source, target) = (IpAddress::Ipv4(packet.from), IpAddress::Ipv4(packet.to));
        if !datagram.verify_checksum(&source, &target) {
            return;
        }
        let from = SocketAddrV4::new(packet.from, datagram.src_port());
        let to = SocketAddrV4::new(packet.to, datagram.dst_port());
        let data = datagram.payload();
        let route = self.plan.route(packet.to);
        if to.port() == dhcp::SERVER_PORT && matches!(route, Route::Gateway | Route::Broadcast) {
            return self.dhcp.input(&mut self.cable, &self.plan, data);
        }
        if packet.from.is_unspecified() {
            return;
        }
        match route {
            Route::Dns if to.port() == dns::PORT => {
                self.dns.input(&mut self.cable, from, data, now)
            }
            Route::Dns => icmp::report(
                &mut self.cable,
                packet.to,
                Trouble::PortUnreachable,
                packet.raw,
            ),
            _ => self.udp.input(&self.plan, from, to, data, now),
        }
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.tcp.len()
    }

    pub(super) fn watch<'a>(&'a self, set: &mut PollSet<'a>) {
        let card_ready = self.cable.ready();
        self.tcp.watch(set, card_ready);
        self.udp.watch(set, card_ready);
        self.icmp.watch(set);
        self.dns.watch(set);
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
    pub(super) fn ready(&mut self, token: Token, flags: PollFlags, now: Instant) {
        let cable = &mut self.cable;
        match token {
            Token::Wake => {}
            Token::Tcp(key) => self.tcp.ready(cable, key, flags, now),
            Token::Udp(guest) => self.udp.ready(cable, &self.plan, guest),
            Token::ForwardUdp(index) => self.udp.forward_ready(cable, &self.plan, index),
            Token::Icmp(key) => self.icmp.ready(cable, key),
            Token::Dns(token) => self.dns.ready(cable, token, now),
            Token::Listener(index) => self.accept(index, now),
        }
    }

    fn accept(&mut self, index: usize, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some((listener, guest)) = self.listeners.get(index) else {
                return;
            };
            let (client, peer) = match listener.accept() {
                Ok((client, SocketAddr::V4(peer))) => (client, peer),
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Most likely no descriptor is left: without a pause the listener would be ready for ever.
                Err(_) => {
                    self.accept_from = Some(now + ACCEPT_PAUSE);
                    return;
                }
            };
            if client.set_nonblocking(true).is_err() {
                return;
            }
            let seen = SocketAddrV4::new(self.plan.seen_by_guest(*peer.ip()), peer.port());
            self.tcp
                .open(&mut self.cable, client.into(), seen, *guest, now);
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
        self.dns.run(&mut self.cable, now);
        self.udp.expire(now);
        self.icmp.expire(now);
        self.tcp.run(&mut self.cable, now);
    }
}

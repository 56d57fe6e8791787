//! A guest: a card that keeps frames, a cable that can lose, double and swap them, and smoltcp's stack.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpCidr, IpProtocol, Ipv4Packet,
};

use crate::net::nat::{Nat, NatConfig};
use crate::net::{FrameSink, NetBackend};

pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub(super) const GUEST_MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub(super) const GATEWAY_MAC: EthernetAddress = EthernetAddress([0x52, 0x55, 0x0a, 0, 2, 2]);
const PATIENCE: Duration = Duration::from_secs(60);

/// A card that holds a limited number of frames.
pub(super) struct Card {
    frames: Mutex<(VecDeque<Vec<u8>>, bool)>,
    arrived: Condvar,
    limit: usize,
}

impl Card {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            frames: Mutex::default(),
            arrived: Condvar::new(),
            limit,
        })
    }

    /// The next frame, and whether the network waits to hear of the room.
    pub(super) fn take(&self) -> (Option<Vec<u8>>, bool) {
        let mut inner = self.frames.lock();
        let frame = inner.0.pop_front();
        let refused = frame.is_some() && std::mem::take(&mut inner.1);
        (frame, refused)
    }

    pub(super) fn wait(&self, time: Duration) {
        let mut inner = self.frames.lock();
        if inner.0.is_empty() {
            self.arrived.wait_for(&mut inner, time);
        }
    }
}

impl FrameSink for Card {
    fn receive(&self, frame: &[u8]) -> bool {
        let mut inner = self.frames.lock();
        if inner.0.len() >= self.limit {
            inner.1 = true;
            return false;
        }
        inner.0.push_back(frame.to_vec());
        self.arrived.notify_one();
        true
    }
}

/// What the cable does to frames, in thousandths.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) lose: u64,
    pub(super) double: u64,
    pub(super) swap: u64,
}

struct FaultyCable {
    faults: Faults,
    seed: u64,
    held: [Option<Vec<u8>>; 2],
}

impl FaultyCable {
    fn hit(&mut self, thousandths: u64) -> bool {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % 1000 < thousandths
    }

    /// What arrives when `frame` is sent in this direction.
    fn pass(&mut self, direction: usize, frame: Vec<u8>) -> Vec<Vec<u8>> {
        let mut out = Vec::with_capacity(1);
        if self.hit(self.faults.lose) {
            return out;
        }
        if self.hit(self.faults.double) {
            out.push(frame.clone());
        }
        if self.held[direction].is_none() && self.hit(self.faults.swap) {
            self.held[direction] = Some(frame);
            return out;
        }
        out.push(frame);
        out.extend(self.held[direction].take());
        out
    }
}

pub(super) struct Cabled {
    nat: Arc<Nat>,
    card: Arc<Card>,
    cable: Rc<RefCell<FaultyCable>>,
    arrived: VecDeque<Vec<u8>>,
}

pub(super) struct Rx(Vec<u8>);
pub(super) struct Tx(Arc<Nat>, Rc<RefCell<FaultyCable>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        for frame in self.1.borrow_mut().pass(0, frame) {
            self.0.transmit(&frame);
        }
        result
    }
}

impl Cabled {
    fn frame(&mut self) -> Option<Vec<u8>> {
        if self.arrived.is_empty() {
            let (frame, refused) = self.card.take();
            if refused {
                self.nat.resume();
            }
            self.arrived.extend(self.cable.borrow_mut().pass(1, frame?));
        }
        self.arrived.pop_front()
    }
}

impl Device for Cabled {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Rx, Tx)> {
        let frame = self.frame()?;
        Some((Rx(frame), Tx(self.nat.clone(), self.cable.clone())))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Tx> {
        Some(Tx(self.nat.clone(), self.cable.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub(super) struct Guest {
    pub(super) nat: Arc<Nat>,
    pub(super) card: Arc<Card>,
    device: Cabled,
    pub(super) iface: Interface,
    pub(super) sockets: SocketSet<'static>,
    next_port: u16,
}

impl Guest {
    /// A guest with the customary address and a card of 256 frames.
    pub(super) fn new(config: NatConfig) -> Self {
        Self::with(config, 256, Faults::default())
    }

    pub(super) fn with(config: NatConfig, card_frames: usize, faults: Faults) -> Self {
        let nat = Nat::start(config).unwrap();
        let card = Card::new(card_frames);
        nat.connect(card.clone());
        let cable = FaultyCable {
            faults,
            seed: 0x9e37_79b9_7f4a_7c15,
            held: [None, None],
        };
        let mut device = Cabled {
            nat: nat.clone(),
            card: card.clone(),
            cable: Rc::new(RefCell::new(cable)),
            arrived: VecDeque::new(),
        };
        let mut config = Config::new(GUEST_MAC.into());
        config.random_seed = 7;
        let mut iface = Interface::new(config, &mut device, smoltcp::time::Instant::now());
        iface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::Ipv4(GUEST), 24))
                .unwrap();
        });
        iface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
        Self {
            nat,
            card,
            device,
            iface,
            sockets: SocketSet::new(Vec::new()),
            next_port: 40_000,
        }
    }

    /// Runs the guest until `done` gives something.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            let now = smoltcp::time::Instant::now();
            self.iface.poll(now, &mut self.device, &mut self.sockets);
            if let Some(result) = done(self) {
                let now = smoltcp::time::Instant::now();
                self.iface.poll(now, &mut self.device, &mut self.sockets);
                return result;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the guest waits in vain: {what}"
            );
            let now = smoltcp::time::Instant::now();
            let delay = self
                .iface
                .poll_delay(now, &self.sockets)
                .map_or(5000, |delay| delay.total_micros());
            if delay > 0 && self.device.arrived.is_empty() {
                self.card.wait(Duration::from_micros(delay.min(5000)));
            }
        }
    }

    /// Runs the guest for a while.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.until("time passing", |_| (Instant::now() >= end).then_some(()));
    }

    pub(super) fn tcp_socket(&mut self, buffer_bytes: usize) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; buffer_bytes]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        self.sockets.add(socket)
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Begins to connect to a port of the gateway or another address.
    pub(super) fn dial(&mut self, handle: SocketHandle, to: Ipv4Addr, port: u16) {
        self.dial_ip(handle, to.into(), port);
    }

    /// As [`Self::dial`], in either family.
    pub(super) fn dial_ip(&mut self, handle: SocketHandle, to: IpAddr, port: u16) {
        self.next_port += 1;
        let local = self.next_port;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .connect(self.iface.context(), (IpAddress::from(to), port), local)
            .unwrap();
    }

    /// Connects to a port of the host.
    pub(super) fn connect(&mut self, port: u16, buffer_bytes: usize) -> SocketHandle {
        let handle = self.tcp_socket(buffer_bytes);
        self.dial(handle, GATEWAY, port);
        self.until("connecting", |guest| {
            guest.tcp(handle).may_send().then_some(())
        });
        handle
    }

    /// Sends a frame that the stack knows nothing of.
    pub(super) fn send_raw(&self, frame: &[u8]) {
        self.nat.transmit(frame);
    }

    /// The next frame for which `wanted` gives something; others are dropped. `None` after a while without one.
    pub(super) fn receive_raw<T>(
        &mut self,
        time: Duration,
        wanted: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + time;
        loop {
            while let Some(frame) = self.device.frame() {
                if let Some(result) = wanted(&frame) {
                    return Some(result);
                }
            }
            let left = end.checked_duration_since(Instant::now())?;
            self.card.wait(left);
        }
    }
}

/// An Ethernet frame of the guest.
pub(super) fn ethernet(kind: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(GUEST_MAC);
    frame.set_dst_addr(GATEWAY_MAC);
    frame.set_ethertype(kind);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

/// A fragment (or, with `(0, false)`, a whole packet) of the guest in its frame.
pub(super) fn ipv4(
    (from, to): (Ipv4Addr, Ipv4Addr),
    protocol: IpProtocol,
    ttl: u8,
    (offset, more): (u16, bool),
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 20 + payload.len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len((20 + payload.len()) as u16);
    packet.set_ident(99);
    packet.set_frag_offset(offset);
    packet.set_more_frags(more);
    packet.set_hop_limit(ttl);
    packet.set_next_header(protocol);
    packet.set_src_addr(from);
    packet.set_dst_addr(to);
    packet.payload_mut().copy_from_slice(payload);
    packet.fill_checksum();
    ethernet(EthernetProtocol::Ipv4, &bytes)
}

/// The IPv4 packet within a frame.
pub(super) fn packet_of(frame: &[u8]) -> Option<Ipv4Packet<&[u8]>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    packet.verify_checksum().then_some(packet)
}

/// Byte `position` of an endless stream that hardly repeats.
pub(super) fn pattern(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
}

pub(super) fn pattern_block(start: u64, bytes: usize) -> Vec<u8> {
    (start..start + bytes as u64).map(pattern).collect()
}

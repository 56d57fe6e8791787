//! This side's end of the virtual cable: builds frames, hands them to the card, waits when the card is full, and
//! keeps the capture.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smoltcp::wire::{
    ETHERNET_HEADER_LEN, EthernetAddress, EthernetFrame, EthernetProtocol, IPV4_HEADER_LEN,
    IPV6_HEADER_LEN, IpProtocol, Ipv4Packet, Ipv6FragmentHeader, Ipv6Packet,
};

use super::arp::Neighbours;
use super::loss::Loss;
use super::plan::Plan;
use crate::net::FrameSink;
use crate::net::pcap::Capture;

/// Frames kept for a card that has no room; senders that can wait ask [`Cable::ready`] instead.
const WAITING_FRAMES: usize = 256;
/// Largest payload of a packet, in bytes: what IPv4 can carry.
pub(super) const PAYLOAD_MAX: usize = 65_535 - IPV4_HEADER_LEN;
/// The fragment header of IPv6 (RFC 8200, 4.5).
const FRAGMENT_HEADER_BYTES: usize = 8;
/// Routers that a packet from here may pass.
const HOPS: u8 = 64;
/// For neighbour discovery: proof that no router was passed (RFC 4861, 4).
pub(super) const HOPS_NEIGHBOUR: u8 = 255;

/// Size of the header of packets between addresses of this family.
pub(super) const fn header_bytes(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => IPV4_HEADER_LEN,
        IpAddr::V6(_) => IPV6_HEADER_LEN,
    }
}

/// A part of a payload: where it begins, its length, and whether more follow it.
#[derive(Clone, Copy)]
struct Piece {
    offset: usize,
    bytes: usize,
    more: bool,
}

pub(super) struct Cable {
    pub(super) mac: EthernetAddress,
    /// The gateway's address, from which questions are asked.
    pub(super) address: Ipv4Addr,
    pub(super) mtu: usize,
    pub(super) neighbours: Neighbours,
    /// The frame or packet under construction.
    scratch: Vec<u8>,
    card: Option<Arc<dyn FrameSink>>,
    /// Frames that the card refused, oldest first; not empty exactly while the card is full.
    waiting: VecDeque<Vec<u8>>,
    capture: Option<Capture>,
    /// Which frames to the guest never arrive.
    loss: Loss,
    /// Identification of the next packet (RFC 6864).
    ident: u32,
}

impl Cable {
    pub(super) fn new(plan: &Plan, capture: Option<Capture>) -> Self {
        Self {
            mac: plan.mac,
            address: plan.gateway,
            mtu: usize::from(plan.mtu),
            neighbours: Neighbours::default(),
            scratch: vec![
                0;
                ETHERNET_HEADER_LEN
                    + IPV6_HEADER_LEN
                    + FRAGMENT_HEADER_BYTES
                    + PAYLOAD_MAX
            ],
            card: None,
            waiting: VecDeque::new(),
            capture,
            loss: Loss::new(plan.loss_percent),
            ident: 0,
        }
    }

    pub(super) fn plug(&mut self, card: Arc<dyn FrameSink>) {
        self.card = Some(card);
    }

    /// Whether the card takes frames. Senders that can keep their data wait for this.
    pub(super) fn ready(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Offers the waiting frames again.
    pub(super) fn resume(&mut self) {
        while let Some(frame) = self.waiting.pop_front() {
            if !offer(self.card.as_deref(), &mut self.capture, &frame) {
                self.waiting.push_front(frame);
                return;
            }
        }
    }

    /// Records a frame that the guest sent.
    pub(super) fn capture(&mut self, frame: &[u8]) {
        capture(&mut self.capture, frame);
    }

    /// Makes the capture complete on disk; called when nothing else is to do.
    pub(super) fn flush_capture(&mut self) {
        if let Some(capture) = &mut self.capture {
            capture.flush();
        }
    }

    /// Sends a frame of `bytes` of payload that `fill` writes.
    pub(super) fn ethernet(
        &mut self,
        to: EthernetAddress,
        kind: EthernetProtocol,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let total = ETHERNET_HEADER_LEN + bytes;
        fill(&mut self.scratch[ETHERNET_HEADER_LEN..total]);
        self.finish(to, kind, 0, total);
    }

    /// Sends a packet to a neighbour, with `bytes` (at most [`PAYLOAD_MAX`]) of payload that `fill` writes whole; in
    /// fragments when it is larger than the MTU. Without a known hardware address it asks for one instead.
    ///
    /// Both addresses must be of one family; otherwise nothing is sent.
    pub(super) fn ip(
        &mut self,
        to: IpAddr,
        from: IpAddr,
        protocol: IpProtocol,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let Some(mac) = self.neighbours.find(to) else {
            return self.ask(to);
        };
        match (to, from) {
            (IpAddr::V4(to), IpAddr::V4(from)) => {
                self.ipv4_to(mac, to, from, protocol, bytes, fill)
            }
            (IpAddr::V6(to), IpAddr::V6(from)) => {
                self.ipv6_to(mac, (to, from), HOPS, protocol, bytes, fill)
            }
            _ => {}
        }
    }

    /// As [`Self::ip`] with IPv4, to a known hardware address.
    pub(super) fn ipv4_to(
        &mut self,
        mac: EthernetAddress,
        to: Ipv4Addr,
        from: Ipv4Addr,
        protocol: IpProtocol,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        const HEADERS: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN;
        let ident = self.next_ident() as u16;
        let whole = bytes.min(PAYLOAD_MAX) + IPV4_HEADER_LEN <= self.mtu;
        let step = (self.mtu - IPV4_HEADER_LEN) & !7;
        self.pieces::<HEADERS>(bytes, whole, step, fill, |cable, piece| {
            let total = HEADERS - ETHERNET_HEADER_LEN + piece.bytes;
            let start = piece.offset + ETHERNET_HEADER_LEN;
            let mut packet = Ipv4Packet::new_unchecked(&mut cable.scratch[start..start + total]);
            packet.set_version(4);
            packet.set_header_len(IPV4_HEADER_LEN as u8);
            packet.set_dscp(0);
            packet.set_ecn(0);
            packet.set_total_len(total as u16);
            packet.set_ident(ident);
            packet.clear_flags();
            packet.set_dont_frag(whole);
            packet.set_more_frags(piece.more);
            packet.set_frag_offset(piece.offset as u16);
            packet.set_hop_limit(HOPS);
            packet.set_next_header(protocol);
            packet.set_src_addr(from);
            packet.set_dst_addr(to);
            packet.fill_checksum();
            let bytes = ETHERNET_HEADER_LEN + total;
            cable.finish(mac, EthernetProtocol::Ipv4, piece.offset, bytes);
        });
    }

    /// As [`Self::ip`] with IPv6, to a known hardware address, from the second address to the first.
    pub(super) fn ipv6_to(
        &mut self,
        mac: EthernetAddress,
        (to, from): (Ipv6Addr, Ipv6Addr),
        hops: u8,
        protocol: IpProtocol,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        const HEADERS: usize = ETHERNET_HEADER_LEN + IPV6_HEADER_LEN;
        const FRAGMENT_HEADERS: usize = HEADERS + FRAGMENT_HEADER_BYTES;
        let header = |packet: &mut [u8], next: IpProtocol| {
            let length = packet.len() - IPV6_HEADER_LEN;
            let mut packet = Ipv6Packet::new_unchecked(packet);
            packet.set_version(6);
            packet.set_traffic_class(0);
            packet.set_flow_label(0);
            packet.set_payload_len(length as u16);
            packet.set_next_header(next);
            packet.set_hop_limit(hops);
            packet.set_src_addr(from);
            packet.set_dst_addr(to);
        };
        if bytes + IPV6_HEADER_LEN <= self.mtu {
            return self.pieces::<HEADERS>(bytes, true, bytes, fill, |cable, piece| {
                let end = HEADERS + piece.bytes;
                header(&mut cable.scratch[ETHERNET_HEADER_LEN..end], protocol);
                cable.finish(mac, EthernetProtocol::Ipv6, 0, end);
            });
        }
        let ident = self.next_ident();
        let step = (self.mtu - IPV6_HEADER_LEN - FRAGMENT_HEADER_BYTES) & !7;
        self.pieces::<FRAGMENT_HEADERS>(bytes, false, step, fill, |cable, piece| {
            let start = piece.offset + ETHERNET_HEADER_LEN;
            let end = piece.offset + FRAGMENT_HEADERS + piece.bytes;
            header(&mut cable.scratch[start..end], IpProtocol::Ipv6Frag);
            // The header's own first two bytes: what follows, and nothing.
            let extension = &mut cable.scratch[start + IPV6_HEADER_LEN..end];
            extension[..2].copy_from_slice(&[protocol.into(), 0]);
            let mut fragment = Ipv6FragmentHeader::new_unchecked(&mut extension[2..]);
            fragment.clear_reserved();
            fragment.set_frag_offset((piece.offset / 8) as u16);
            fragment.set_more_frags(piece.more);
            fragment.set_ident(ident);
            cable.finish(
                mac,
                EthernetProtocol::Ipv6,
                piece.offset,
                end - piece.offset,
            );
        });
    }

    fn next_ident(&mut self) -> u32 {
        self.ident = self.ident.wrapping_add(1);
        self.ident
    }

    /// Has `fill` write the payload and `send` each piece of `step` bytes of it, with room for `HEADERS` bytes before.
    fn pieces<const HEADERS: usize>(
        &mut self,
        bytes: usize,
        whole: bool,
        step: usize,
        fill: impl FnOnce(&mut [u8]),
        send: impl Fn(&mut Self, Piece),
    ) {
        let bytes = bytes.min(PAYLOAD_MAX);
        fill(&mut self.scratch[HEADERS..HEADERS + bytes]);
        // Fragments are sent last to first: each header overwrites the end of the piece before it, and is put back.
        let last = if whole { 0 } else { (bytes - 1) / step };
        for piece in (0..=last).rev() {
            let offset = piece * step;
            let end = if piece == last { bytes } else { offset + step };
            let mut kept = [0; HEADERS];
            kept.copy_from_slice(&self.scratch[offset..offset + HEADERS]);
            let more = piece != last;
            send(
                self,
                Piece {
                    offset,
                    bytes: end - offset,
                    more,
                },
            );
            if piece != 0 {
                self.scratch[offset..offset + HEADERS].copy_from_slice(&kept);
            }
        }
    }

    /// Completes the frame at `start` of the scratch buffer and sends it.
    fn finish(&mut self, to: EthernetAddress, kind: EthernetProtocol, start: usize, bytes: usize) {
        if self.loss.next() {
            return;
        }
        let bytes = &mut self.scratch[start..start + bytes];
        let mut frame = EthernetFrame::new_unchecked(&mut *bytes);
        frame.set_src_addr(self.mac);
        frame.set_dst_addr(to);
        frame.set_ethertype(kind);
        let busy = !self.waiting.is_empty();
        if (busy || !offer(self.card.as_deref(), &mut self.capture, bytes))
            && self.waiting.len() < WAITING_FRAMES
        {
            self.waiting.push_back(bytes.to_vec());
        }
    }
}

/// Hands a frame to the card; false when the card is full. Without a card the cable leads nowhere.
fn offer(card: Option<&dyn FrameSink>, into: &mut Option<Capture>, frame: &[u8]) -> bool {
    let taken = card.is_none_or(|card| card.receive(frame));
    if taken {
        capture(into, frame);
    }
    taken
}

fn capture(into: &mut Option<Capture>, frame: &[u8]) {
    if let Some(capture) = into {
        capture.note(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nat::config::NatConfig;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Card {
        frames: Mutex<Vec<Vec<u8>>>,
        room: Mutex<usize>,
    }

    impl FrameSink for Card {
        fn receive(&self, frame: &[u8]) -> bool {
            let mut room = self.room.lock();
            if *room == 0 {
                return false;
            }
            *room -= 1;
            self.frames.lock().push(frame.to_vec());
            true
        }
    }

    fn cable(room: usize) -> (Cable, Arc<Card>) {
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let card = Arc::new(Card::default());
        *card.room.lock() = room;
        let mut cable = Cable::new(&plan, None);
        cable.plug(card.clone());
        (cable, card)
    }

    #[test]
    fn ipv4_large_packet_leaves_in_fragments_that_rebuild_it() {
        let (mut cable, card) = cable(100);
        let data: Vec<u8> = (0..5000).map(|i| (i * 7 % 251) as u8).collect();
        let guest = Ipv4Addr::new(10, 0, 2, 15);
        let from = Ipv4Addr::new(10, 0, 2, 2);
        let mac = EthernetAddress([2; 6]);
        cable.ipv4_to(mac, guest, from, IpProtocol::Udp, data.len(), |payload| {
            payload.copy_from_slice(&data);
        });
        let mut rebuilt = vec![0; data.len()];
        let frames = card.frames.lock();
        assert_eq!(frames.len(), 4);
        for frame in frames.iter() {
            let frame = EthernetFrame::new_checked(&frame[..]).unwrap();
            assert_eq!(frame.dst_addr(), mac);
            let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
            assert!(packet.verify_checksum() && packet.total_len() <= 1500);
            let at = usize::from(packet.frag_offset());
            let end = at + packet.payload().len();
            assert_eq!(packet.more_frags(), end < data.len());
            rebuilt[at..end].copy_from_slice(packet.payload());
        }
        assert_eq!(rebuilt, data);
    }

    #[test]
    fn ethernet_full_card_keeps_frames_in_order_until_resume() {
        let (mut cable, card) = cable(1);
        for byte in 1..=4 {
            cable.ethernet(
                EthernetAddress::BROADCAST,
                EthernetProtocol::Arp,
                1,
                |payload| {
                    payload[0] = byte;
                },
            );
        }
        assert!(!cable.ready());
        *card.room.lock() = 2;
        cable.resume();
        assert!(!cable.ready());
        *card.room.lock() = 9;
        cable.resume();
        assert!(cable.ready());
        let order: Vec<u8> = card.frames.lock().iter().map(|frame| frame[14]).collect();
        assert_eq!(order, [1, 2, 3, 4]);
    }

    #[test]
    fn ethernet_card_full_for_long_keeps_a_bounded_number() {
        let (mut cable, card) = cable(0);
        for _ in 0..2 * WAITING_FRAMES {
            cable.ethernet(EthernetAddress::BROADCAST, EthernetProtocol::Arp, 1, |_| ());
        }
        *card.room.lock() = usize::MAX;
        cable.resume();
        assert_eq!(card.frames.lock().len(), WAITING_FRAMES);
    }
}

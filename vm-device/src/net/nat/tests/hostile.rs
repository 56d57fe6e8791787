//! A guest that sends anything at all.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use smoltcp::wire::{
    EthernetProtocol, Icmpv6Packet, IpAddress, IpProtocol, TcpPacket, TcpSeqNumber, UdpPacket,
};

use vm_osal::net::{Wakeups, wake_pair};

use super::guest::{Card, GATEWAY, GUEST, ethernet, ipv4, packet_of};
use crate::net::nat::allow::AllowList;
use crate::net::nat::config::NatConfig;
use crate::net::nat::dns::Resolvers;
use crate::net::nat::forward::Listeners;
use crate::net::nat::gateway::{Gateway, Parts};
use crate::net::nat::limits::Limits;
use crate::net::nat::plan::Plan;
use crate::net::nat::token::Waits;

/// The network without its thread: frames go in one by one, and a panic is seen by the test.
pub(super) struct Bare {
    gateway: Gateway,
    card: Arc<Card>,
    now: Instant,
    _wakeups: Wakeups,
}

impl Bare {
    pub(super) fn new() -> Self {
        // Everything on, so that everything is reached.
        Self::with(NatConfig {
            ipv6: Some(true),
            ..NatConfig::default()
        })
    }

    pub(super) fn with(config: NatConfig) -> Self {
        let plan = Plan::new(&config).unwrap();
        let (waker, wakeups) = wake_pair().unwrap();
        let now = Instant::now();
        let parts = Parts {
            access: AllowList::new(config.restrict, config.allow),
            resolvers: Resolvers::new(Some(config.resolvers.unwrap_or_default())),
            listeners: Listeners::open(&config.forwards, &plan).unwrap(),
            capture: None,
            waker,
            limits: Limits::of(config.open_files_max.unwrap_or(1024)),
            notices: config.notices,
        };
        let mut gateway = Gateway::new(plan, parts, now);
        let card = Card::new(64);
        gateway.cable.plug(card.clone());
        Self {
            gateway,
            card,
            now,
            _wakeups: wakeups,
        }
    }

    /// A frame of the guest and a round of the event loop, `passed` after the last one.
    pub(super) fn frame(&mut self, frame: &[u8], passed: Duration) {
        self.now += passed;
        self.gateway.frame(frame, self.now);
        self.idle(Duration::ZERO);
    }

    /// A round without a frame of the guest.
    pub(super) fn idle(&mut self, passed: Duration) {
        self.now += passed;
        self.gateway.run(self.now);
        let mut set = Waits::default();
        self.gateway.watch(&mut set);
        for (token, ready) in set.wait(self.now, true) {
            self.gateway.ready(token, ready, self.now);
        }
        self.gateway.run(self.now);
        self.gateway.resume();
    }

    /// What the card got since the last time.
    pub(super) fn frames(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.card.take().0).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.gateway.connections()
    }

    /// The network's first sequence number, from its answer to a SYN.
    fn isn(&self) -> Option<u32> {
        let frame = self.card.take().0?;
        let packet = packet_of(&frame)?;
        let segment = TcpPacket::new_checked(packet.payload()).ok()?;
        (segment.syn() && segment.ack()).then(|| segment.seq_number().0 as u32)
    }
}

/// Addresses that never leave this host.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        4 => Just(GATEWAY),
        4 => Just(GUEST),
        1 => Just(Ipv4Addr::new(10, 0, 2, 3)),
        1 => Just(Ipv4Addr::new(10, 0, 2, 77)),
        1 => Just(Ipv4Addr::new(10, 0, 2, 255)),
        1 => Just(Ipv4Addr::BROADCAST),
        1 => Just(Ipv4Addr::UNSPECIFIED),
        1 => Just(Ipv4Addr::LOCALHOST),
        1 => Just(Ipv4Addr::new(224, 0, 0, 251)),
    ]
}

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..limit)
}

/// Frames that are right down to a random depth.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let protocol = prop_oneof![
        Just(IpProtocol::Udp),
        Just(IpProtocol::Icmp),
        Just(IpProtocol::Tcp),
        any::<u8>().prop_map(IpProtocol::from),
    ];
    let fragment = prop_oneof![3 => Just((0, false)), 1 => (0u16..9000, any::<bool>())];
    let packet = (
        address(),
        address(),
        protocol,
        any::<u8>(),
        fragment,
        bytes(120),
    )
        .prop_map(|(from, to, protocol, ttl, (at, more), payload)| {
            ipv4((from, to), protocol, ttl, (at & !7, more), &payload)
        });
    let kind = prop_oneof![
        Just(EthernetProtocol::Arp),
        Just(EthernetProtocol::Ipv4),
        Just(EthernetProtocol::Ipv6),
        any::<u16>().prop_map(EthernetProtocol::from),
    ];
    prop_oneof![
        bytes(100),
        (kind, bytes(100)).prop_map(|(kind, payload)| ethernet(kind, &payload)),
        packet,
        packet_v6(),
    ]
}

/// IPv6 packets that are right down to a random depth, with right checksums where there is one to look at.
fn packet_v6() -> impl Strategy<Value = Vec<u8>> {
    let host = |last| Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, last);
    let address = prop_oneof![
        4 => (2u16..4).prop_map(host),
        4 => Just(host(0x15)),
        1 => Just(Ipv6Addr::UNSPECIFIED),
        1 => Just(Ipv6Addr::LOCALHOST),
        1 => Just(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2)),
        1 => Just(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9)),
    ];
    let next = prop_oneof![
        3 => Just(58u8),
        2 => Just(17),
        1 => Just(6),
        2 => Just(44),
        1 => Just(0),
        1 => Just(60),
        1 => any::<u8>(),
    ];
    let hops = prop_oneof![Just(255u8), any::<u8>()];
    let first = prop_oneof![1u8..12, 128u8..137, any::<u8>()];
    (address.clone(), address, next, hops, first, bytes(120)).prop_map(
        |(from, to, next, hops, first, mut payload)| {
            if let Some(kind) = payload.first_mut() {
                *kind = first;
            }
            if next == 17 && payload.len() >= 8 {
                payload[2..4].copy_from_slice(&547u16.to_be_bytes());
                let length = payload.len() as u16;
                payload[4..6].copy_from_slice(&length.to_be_bytes());
                UdpPacket::new_unchecked(&mut payload).fill_checksum(&from.into(), &to.into());
            }
            if next == 58 && payload.len() >= 8 {
                Icmpv6Packet::new_unchecked(&mut payload).fill_checksum(&from, &to);
            }
            let mut bytes = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, hops];
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            bytes.extend(payload);
            ethernet(EthernetProtocol::Ipv6, &bytes)
        },
    )
}

/// A message for the name server or the address server, or nonsense.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let to = prop_oneof![
        Just((Ipv4Addr::new(10, 0, 2, 3), 53)),
        Just((Ipv4Addr::BROADCAST, 67)),
        Just((GATEWAY, 67)),
    ];
    (address(), to, bytes(400), any::<bool>()).prop_map(|(from, to, mut data, dhcp)| {
        if dhcp && data.len() > 300 {
            data[..4].copy_from_slice(&[1, 1, 6, 0]);
            data[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
            data[240..242].copy_from_slice(&[53, 1]);
            data[242] = 1 + data[242] % 8;
        }
        let mut payload = vec![0x13, 0x88, (to.1 >> 8) as u8, to.1 as u8, 0, 0, 0, 0];
        payload[4..6].copy_from_slice(&(8 + data.len() as u16).to_be_bytes());
        payload.extend(data);
        ipv4((from, to.0), IpProtocol::Udp, 64, (0, false), &payload)
    })
}

/// A segment whose numbers are near those of a young connection, or anywhere.
#[derive(Clone, Debug)]
struct WildSegment {
    seq: u32,
    ack: Option<i32>,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    bytes: usize,
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, 0u32..70_000, any::<u32>()]
}

fn segment() -> impl Strategy<Value = WildSegment> {
    let ack = prop_oneof![1 => Just(None), 6 => (-2i32..5).prop_map(Some), 1 => any::<i32>().prop_map(Some)];
    (
        number(),
        ack,
        any::<u8>(),
        prop_oneof![Just(0), any::<u16>()],
        bytes(40),
        0usize..1460,
    )
        .prop_map(|(seq, ack, flags, window, options, bytes)| WildSegment {
            seq,
            ack,
            flags,
            window,
            options,
            bytes,
        })
}

fn build(segment: &WildSegment, isn: u32, port: u16) -> Vec<u8> {
    let header = 20 + segment.options.len().min(40) / 4 * 4;
    let mut bytes = vec![0; header + segment.bytes];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(5000);
    packet.set_dst_port(port);
    packet.set_seq_number(TcpSeqNumber(segment.seq as i32));
    packet.set_ack_number(TcpSeqNumber(
        (isn as i32).wrapping_add(segment.ack.unwrap_or(0)),
    ));
    packet.set_header_len(header as u8);
    packet.set_syn(segment.flags & 0x0f == 1);
    packet.set_fin(segment.flags & 0x30 == 0x10);
    packet.set_rst(segment.flags & 0xc0 == 0x40);
    packet.set_ack(segment.ack.is_some());
    packet.set_window_len(segment.window);
    packet
        .options_mut()
        .copy_from_slice(&segment.options[..header - 20]);
    packet.fill_checksum(&IpAddress::Ipv4(GUEST), &IpAddress::Ipv4(GATEWAY));
    ipv4((GUEST, GATEWAY), IpProtocol::Tcp, 64, (0, false), &bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gateway_any_frames_do_not_panic(frames in proptest::collection::vec(frame(), 1..40)) {
        let mut bare = Bare::new();
        for frame in frames {
            bare.frame(&frame, Duration::from_millis(1));
        }
    }

    #[test]
    fn gateway_any_datagrams_do_not_panic(frames in proptest::collection::vec(datagram(), 1..20)) {
        let mut bare = Bare::new();
        for frame in frames {
            bare.frame(&frame, Duration::from_millis(1));
        }
    }

    #[test]
    fn gateway_any_segments_on_a_connection_do_not_panic(
        segments in proptest::collection::vec((segment(), 0u64..3000), 1..60),
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut bare = Bare::new();
        let syn = WildSegment {
            seq: u32::MAX,
            ack: None,
            flags: 1,
            window: 5000,
            options: vec![3, 3, 4, 0],
            bytes: 0,
        };
        bare.frame(&build(&syn, 0, port), Duration::ZERO);
        bare.frame(&[], Duration::from_millis(1));
        let (client, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        // The peer has data to send, so that both directions are busy.
        let _ = std::io::Write::write(&mut &client, &[1; 100_000]);
        let isn = bare.isn().unwrap();
        for (segment, millis) in segments {
            bare.frame(&build(&segment, isn, port), Duration::from_millis(millis));
            let _ = std::io::Read::read(&mut &client, &mut [0; 4096]);
        }
    }
}

//! IPv6: addresses, neighbours, names, echoes, datagrams and connections.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use smoltcp::iface::Route;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Packet, IpCidr, IpProtocol, Ipv6Packet,
    UdpPacket,
};

use super::guest::{GUEST_MAC, Guest, pattern_block};
use super::services::{SHORT, SOON, question};
use crate::net::nat::{Forward, NatConfig};

const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);
const DNS: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 3);
const GUEST: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15);
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A guest with its address and a route; `None` on a host without ::1.
fn guest(config: NatConfig) -> Option<Guest> {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        eprintln!("skipped: this host has no IPv6: {error}");
        return None;
    }
    let mut guest = Guest::new(NatConfig {
        ipv6: Some(true),
        ..config
    });
    guest.iface.update_ip_addrs(|addresses| {
        addresses.push(IpCidr::new(GUEST.into(), 64)).unwrap();
    });
    guest.iface.routes_mut().update(|routes| {
        routes.push(Route::new_ipv6_gateway(ROUTER)).unwrap();
    });
    Some(guest)
}

fn ethernet(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(GUEST_MAC);
    frame.set_dst_addr(EthernetAddress([0x33, 0x33, 0, 0, 0, 2]));
    frame.set_ethertype(EthernetProtocol::Ipv6);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

fn packet((from, to): (Ipv6Addr, Ipv6Addr), next: IpProtocol, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40 + payload.len()];
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes);
    packet.set_version(6);
    packet.set_payload_len(payload.len() as u16);
    packet.set_next_header(next);
    packet.set_hop_limit(hops);
    packet.set_src_addr(from);
    packet.set_dst_addr(to);
    packet.payload_mut().copy_from_slice(payload);
    ethernet(&bytes)
}

fn icmp(ends: (Ipv6Addr, Ipv6Addr), hops: u8, mut message: Vec<u8>) -> Vec<u8> {
    Icmpv6Packet::new_unchecked(&mut message).fill_checksum(&ends.0, &ends.1);
    packet(ends, IpProtocol::Icmpv6, hops, &message)
}

fn udp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + data.len()];
    let mut datagram = UdpPacket::new_unchecked(&mut bytes);
    datagram.set_src_port(from.1);
    datagram.set_dst_port(to.1);
    datagram.set_len((8 + data.len()) as u16);
    datagram.payload_mut().copy_from_slice(data);
    datagram.fill_checksum(&from.0.into(), &to.0.into());
    packet((from.0, to.0), IpProtocol::Udp, 64, &bytes)
}

fn packet_of(frame: &[u8]) -> Option<Ipv6Packet<&[u8]>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let ours = frame.ethertype() == EthernetProtocol::Ipv6;
    ours.then(|| Ipv6Packet::new_checked(frame.payload()).ok())?
}

/// An intact ICMPv6 message of this type: its sender, the packet's hops and the whole message.
fn icmp_of(frame: &[u8], kind: u8) -> Option<(Ipv6Addr, u8, Vec<u8>)> {
    let packet = packet_of(frame)?;
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
    let wanted = packet.next_header() == IpProtocol::Icmpv6
        && message.verify_checksum(&from, &to)
        && packet.payload()[0] == kind;
    wanted.then(|| (from, packet.hop_limit(), packet.payload().to_vec()))
}

/// Sender and data of a datagram for this port of the guest.
fn datagram_of(frame: &[u8], port: u16) -> Option<((Ipv6Addr, u16), Vec<u8>)> {
    let packet = packet_of(frame).filter(|packet| packet.next_header() == IpProtocol::Udp)?;
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    let intact = datagram.verify_checksum(&from.into(), &to.into());
    (intact && datagram.dst_port() == port)
        .then(|| ((from, datagram.src_port()), datagram.payload().to_vec()))
}

/// Has the network learn the guest's hardware address.
fn introduce(guest: &mut Guest) {
    let echo = vec![128, 0, 0, 0, 0, 1, 0, 1];
    for from in [LOCAL, GUEST] {
        guest.send_raw(&icmp((from, GATEWAY), 64, echo.clone()));
        assert!(
            guest
                .receive_raw(SOON, |frame| icmp_of(frame, 129))
                .is_some()
        );
    }
}

#[test]
fn v6_router_tells_prefix_name_server_and_mtu() {
    let Some(mut guest) = guest(NatConfig::default()) else {
        return;
    };
    let solicitation = vec![133, 0, 0, 0, 0, 0, 0, 0];
    guest.send_raw(&icmp((LOCAL, ALL_ROUTERS), 255, solicitation.clone()));
    let (from, hops, message) = guest
        .receive_raw(SOON, |frame| icmp_of(frame, 134))
        .unwrap();
    assert_eq!((from, hops), (ROUTER, 255));
    assert_eq!(
        message[5] & 0xc0,
        0x40,
        "addresses of one's own, the rest by DHCPv6"
    );
    assert_ne!(message[6..8], [0, 0], "a router by default");
    let mut options = Vec::new();
    let mut rest = &message[16..];
    while let [kind, units, ..] = *rest {
        options.push((kind, rest[..usize::from(units) * 8].to_vec()));
        rest = &rest[usize::from(units) * 8..];
    }
    let option = |wanted| options.iter().find(|(kind, _)| *kind == wanted).unwrap();
    assert_eq!(option(3).1[2..4], [64, 0xc0]);
    assert_eq!(option(3).1[16..24], [0xfe, 0xc0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(option(5).1[4..], 1500u32.to_be_bytes());
    assert_eq!(option(25).1[8..], DNS.octets());
    // One that has passed a router is forged.
    guest.send_raw(&icmp((LOCAL, ALL_ROUTERS), 254, solicitation));
    assert_eq!(guest.receive_raw(SHORT, |frame| icmp_of(frame, 134)), None);
}

#[test]
fn v6_neighbours_answer_for_virtual_hosts_only() {
    let Some(mut guest) = guest(NatConfig::default()) else {
        return;
    };
    let ask = |from, target: Ipv6Addr| {
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
        icmp(
            (from, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2)),
            255,
            message,
        )
    };
    for host in [GATEWAY, DNS, ROUTER] {
        // The second asker wants to know whether the address is free.
        for asker in [LOCAL, Ipv6Addr::UNSPECIFIED] {
            guest.send_raw(&ask(asker, host));
            let answer = guest.receive_raw(SOON, |frame| icmp_of(frame, 136));
            let (from, _, message) = answer.unwrap();
            assert_eq!((from, &message[8..24]), (host, &host.octets()[..]));
            assert_eq!(message[4] & 0x40 != 0, asker == LOCAL, "solicited");
        }
    }
    guest.send_raw(&ask(Ipv6Addr::UNSPECIFIED, GUEST));
    assert_eq!(guest.receive_raw(SHORT, |frame| icmp_of(frame, 136)), None);
}

#[test]
fn v6_address_server_answers_at_its_group() {
    let Some(mut guest) = guest(NatConfig::default()) else {
        return;
    };
    introduce(&mut guest);
    let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
    guest.send_raw(&udp((LOCAL, 546), (servers, 547), &[11, 1, 2, 3]));
    let answer = guest.receive_raw(SOON, |frame| datagram_of(frame, 546));
    let (from, data) = answer.unwrap();
    assert_eq!((from, &data[..4]), ((ROUTER, 547), &[7, 1, 2, 3][..]));
    assert!(data.ends_with(&DNS.octets()));
}

#[test]
fn v6_name_server_answers() {
    let config = NatConfig {
        resolvers: Some(Vec::new()),
        ..NatConfig::default()
    };
    let Some(mut guest) = guest(config) else {
        return;
    };
    introduce(&mut guest);
    guest.send_raw(&udp((GUEST, 5000), (DNS, 53), &question(1, "localhost", 1)));
    let answer = guest.receive_raw(SOON, |frame| datagram_of(frame, 5000));
    let (from, data) = answer.unwrap();
    assert_eq!(from, (DNS, 53));
    assert!(data.ends_with(&[127, 0, 0, 1]));
}

#[test]
fn v6_datagrams_of_any_size_go_both_ways() {
    let Some(mut guest) = guest(NatConfig::default()) else {
        return;
    };
    introduce(&mut guest);
    let server = UdpSocket::bind("[::1]:0").unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let to = (GATEWAY, server.local_addr().unwrap().port());
    guest.send_raw(&udp((GUEST, 3000), to, b"ask"));
    let mut buffer = vec![0; 9000];
    let (bytes, peer) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..bytes], b"ask");
    server.send_to(b"answer", peer).unwrap();
    let answer = guest.receive_raw(SOON, |frame| datagram_of(frame, 3000));
    assert_eq!(answer, Some((to, b"answer".to_vec())));

    // The guest's own in two fragments, the second one first.
    let data = pattern_block(0, 2000);
    let whole = &udp((GUEST, 3000), to, &data)[14 + 40..];
    let fragment = |start: usize, end: usize| {
        let place = start as u16 | u16::from(end < whole.len());
        let mut payload = vec![17, 0];
        payload.extend(place.to_be_bytes());
        payload.extend([0, 0, 0, 9]);
        payload.extend(&whole[start..end]);
        packet((GUEST, GATEWAY), IpProtocol::Ipv6Frag, 64, &payload)
    };
    guest.send_raw(&fragment(1000, whole.len()));
    guest.send_raw(&fragment(0, 1000));
    let (bytes, _) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[..bytes], data);

    // The answer comes in fragments too.
    let data = pattern_block(7, 3000);
    server.send_to(&data, peer).unwrap();
    let mut rebuilt = vec![0; 8 + data.len()];
    let mut missing = rebuilt.len();
    while missing > 0 {
        let piece = guest.receive_raw(SOON, |frame| {
            let packet = packet_of(frame)?;
            let fragment = packet.next_header() == IpProtocol::Ipv6Frag;
            fragment.then(|| packet.payload().to_vec())
        });
        let piece = piece.expect("a piece");
        let start = usize::from(u16::from_be_bytes([piece[2], piece[3]]) & !7);
        rebuilt[start..][..piece.len() - 8].copy_from_slice(&piece[8..]);
        missing -= piece.len() - 8;
    }
    assert_eq!(rebuilt[8..], data);
}

#[test]
fn v6_closed_port_of_the_host_is_reported_as_unreachable() {
    let Some(mut guest) = guest(NatConfig::default()) else {
        return;
    };
    introduce(&mut guest);
    let closed = UdpSocket::bind("[::1]:0").unwrap().local_addr().unwrap();
    guest.send_raw(&udp((GUEST, 3000), (GATEWAY, closed.port()), b"anybody?"));
    let (from, _, message) = guest.receive_raw(SOON, |frame| icmp_of(frame, 1)).unwrap();
    assert_eq!((from, message[1]), (GATEWAY, 4));
    let quoted = Ipv6Packet::new_unchecked(&message[8..]);
    assert_eq!((quoted.src_addr(), quoted.dst_addr()), (GUEST, GATEWAY));
    assert!(message.ends_with(b"anybody?"));
}

#[test]
fn v6_loopback_is_out_of_reach_in_any_clothes() {
    let Some(mut guest) = guest(NatConfig::default()) else {
        return;
    };
    introduce(&mut guest);
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SHORT)).unwrap();
    let port = server.local_addr().unwrap().port();
    for address in ["::ffff:127.0.0.1", "::127.0.0.1"] {
        guest.send_raw(&udp((GUEST, 3000), (address.parse().unwrap(), port), b"in"));
    }
    assert!(server.recv_from(&mut [0; 8]).is_err());
}

#[test]
fn v6_connections_and_forwards_carry_data_both_ways() {
    let config = NatConfig {
        forwards: Forward::parse("tcp:[::1]:0-[fec0::15]:80").unwrap(),
        ..NatConfig::default()
    };
    let Some(mut guest) = guest(config) else {
        return;
    };
    introduce(&mut guest);
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let out = guest.tcp_socket(4096);
    guest.dial_ip(out, GATEWAY.into(), port);
    guest.until("connecting", |guest| {
        guest.tcp(out).may_send().then_some(())
    });
    let outgoing = listener.accept().unwrap().0;

    let inside = guest.tcp_socket(4096);
    guest.tcp(inside).listen(80).unwrap();
    let SocketAddr::V6(_) = guest.nat.forwarded()[0] else {
        panic!("not an IPv6 address");
    };
    let incoming = std::net::TcpStream::connect(guest.nat.forwarded()[0]).unwrap();
    guest.until("a client", |guest| {
        guest.tcp(inside).may_send().then_some(())
    });
    for (handle, mut peer) in [(out, outgoing), (inside, incoming)] {
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        guest.tcp(handle).send_slice(b"there").unwrap();
        guest.until("sending", |guest| {
            (guest.tcp(handle).send_queue() == 0).then_some(())
        });
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"there");
        // More than a segment.
        let data = pattern_block(0, 3000);
        peer.write_all(&data).unwrap();
        let mut heard = vec![0; data.len()];
        guest.until("an answer", |guest| {
            let socket = guest.tcp(handle);
            (socket.recv_queue() >= heard.len()).then(|| socket.recv_slice(&mut heard).unwrap())
        });
        assert_eq!(heard, data);
    }
}

#[test]
fn v6_frame_where_there_is_no_ipv6_is_ignored() {
    let mut guest = Guest::new(NatConfig {
        ipv6: Some(false),
        ..NatConfig::default()
    });
    let solicitation = vec![133, 0, 0, 0, 0, 0, 0, 0];
    guest.send_raw(&icmp((LOCAL, ALL_ROUTERS), 255, solicitation));
    assert_eq!(guest.receive_raw(SHORT, |_| Some(())), None);
}

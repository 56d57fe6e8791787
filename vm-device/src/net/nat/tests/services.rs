//! Addresses, names, datagrams and echoes.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use smoltcp::socket::{dhcpv4, udp};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
    EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, IpAddress, IpProtocol,
    Ipv4Packet, TcpPacket, UdpPacket,
};

use vm_osal::net::{EchoSocket, Family};

use super::guest::{
    DNS, GATEWAY, GATEWAY_MAC, GUEST, GUEST_MAC, Guest, ethernet, ipv4, packet_of, pattern_block,
};
use crate::net::NetBackend;
use crate::net::nat::{Forward, Nat, NatConfig};

pub(super) const SOON: Duration = Duration::from_secs(5);
pub(super) const SHORT: Duration = Duration::from_millis(150);

pub(super) fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    let request = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: GUEST_MAC,
        source_protocol_addr: GUEST,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut bytes = vec![0; request.buffer_len()];
    request.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    ethernet(EthernetProtocol::Arp, &bytes)
}

pub(super) fn arp_reply(frame: &[u8]) -> Option<(EthernetAddress, Ipv4Addr)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()? {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr,
            source_protocol_addr,
            ..
        } => Some((source_hardware_addr, source_protocol_addr)),
        _ => None,
    }
}

#[test]
fn arp_virtual_hosts_answer_and_absent_ones_do_not() {
    let mut guest = Guest::new(NatConfig::default());
    for host in [GATEWAY, DNS] {
        guest.send_raw(&arp_request(host));
        assert_eq!(
            guest.receive_raw(SOON, arp_reply),
            Some((GATEWAY_MAC, host))
        );
    }
    for absent in [
        GUEST,
        Ipv4Addr::new(10, 0, 2, 99),
        Ipv4Addr::new(8, 8, 8, 8),
    ] {
        guest.send_raw(&arp_request(absent));
        assert_eq!(guest.receive_raw(SHORT, arp_reply), None, "{absent}");
    }
}

#[test]
fn dhcp_client_gets_address_router_and_name_server() {
    let mut guest = Guest::new(NatConfig::default());
    guest.iface.update_ip_addrs(|addresses| addresses.clear());
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let config = guest.until("a lease", |guest| {
        match guest.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            Some(dhcpv4::Event::Configured(config)) => Some((
                config.address.to_string(),
                config.router,
                config.dns_servers.to_vec(),
            )),
            _ => None,
        }
    });
    assert_eq!(config, ("10.0.2.15/24".into(), Some(GATEWAY), vec![DNS]));
}

/// Sends a DHCP message and gives the answer's type, address and the options asked for.
fn dhcp(
    guest: &mut Guest,
    mac: u8,
    kind: DhcpMessageType,
    wanted: Option<Ipv4Addr>,
) -> (DhcpMessageType, Ipv4Addr, Vec<u8>) {
    let message = DhcpRepr {
        message_type: kind,
        transaction_id: 77,
        secs: 0,
        client_hardware_address: EthernetAddress([2, 0, 0, 0, 0, mac]),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: true,
        requested_ip: wanted,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut bytes = vec![0; message.buffer_len()];
    message
        .emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
        .unwrap();
    let frame = datagram(
        (Ipv4Addr::UNSPECIFIED, 68),
        (Ipv4Addr::BROADCAST, 67),
        &bytes,
    );
    guest.send_raw(&frame);
    let answer = |frame: &[u8]| {
        let (_, data) = datagram_of(frame, 68)?;
        let packet = DhcpPacket::new_checked(&data[..]).ok()?;
        let options = packet
            .options()
            .flat_map(|option| [&[option.kind][..], option.data].concat())
            .collect();
        let answer = DhcpRepr::parse(&packet).ok()?;
        Some((answer.message_type, answer.your_ip, options))
    };
    guest.receive_raw(SOON, answer).unwrap()
}

#[test]
fn dhcp_server_names_the_guest_and_refuses_foreign_addresses() {
    let config = NatConfig {
        hostname: "bookworm".into(),
        mtu: 9000,
        ..NatConfig::default()
    };
    let mut guest = Guest::new(config);
    let (kind, address, options) = dhcp(&mut guest, 1, DhcpMessageType::Discover, None);
    assert_eq!((kind, address), (DhcpMessageType::Offer, GUEST));
    let has = |option: &[u8]| options.windows(option.len()).any(|window| window == option);
    assert!(has(b"\x0cbookworm"), "host name");
    assert!(has(&[26, 0x23, 0x28]), "MTU");
    let (kind, address, _) = dhcp(&mut guest, 1, DhcpMessageType::Request, Some(GUEST));
    assert_eq!((kind, address), (DhcpMessageType::Ack, GUEST));
    let foreign = Some(Ipv4Addr::new(192, 168, 1, 7));
    assert_eq!(
        dhcp(&mut guest, 1, DhcpMessageType::Request, foreign).0,
        DhcpMessageType::Nak
    );
    // A second station gets its own address, and the first one keeps its.
    let second = dhcp(&mut guest, 2, DhcpMessageType::Discover, None).1;
    assert_eq!(second, Ipv4Addr::new(10, 0, 2, 16));
    assert_eq!(
        dhcp(&mut guest, 1, DhcpMessageType::Discover, None).1,
        GUEST
    );
}

pub(super) fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    ipv4(
        (from.0, to.0),
        IpProtocol::Udp,
        64,
        (0, false),
        &udp_payload(from, to, data),
    )
}

pub(super) fn udp_payload(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + data.len()];
    let mut packet = UdpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(from.1);
    packet.set_dst_port(to.1);
    packet.set_len((8 + data.len()) as u16);
    packet.payload_mut().copy_from_slice(data);
    packet.fill_checksum(&IpAddress::Ipv4(from.0), &IpAddress::Ipv4(to.0));
    bytes
}

/// Sender and data of an unfragmented datagram for this port of the guest.
pub(super) fn datagram_of(frame: &[u8], port: u16) -> Option<((Ipv4Addr, u16), Vec<u8>)> {
    let packet = packet_of(frame)?;
    let from = packet.src_addr();
    let whole = packet.next_header() == IpProtocol::Udp
        && !packet.more_frags()
        && packet.frag_offset() == 0;
    let datagram = UdpPacket::new_checked(packet.payload())
        .ok()
        .filter(|_| whole)?;
    let intact =
        datagram.verify_checksum(&IpAddress::Ipv4(from), &IpAddress::Ipv4(packet.dst_addr()));
    (intact && datagram.dst_port() == port)
        .then(|| ((from, datagram.src_port()), datagram.payload().to_vec()))
}

/// Asks the name server; the guest's stack is not involved.
pub(super) fn ask(guest: &mut Guest, id: u16, name: &str, kind: u8) -> Option<Vec<u8>> {
    guest.send_raw(&datagram(
        (GUEST, 5000),
        (DNS, 53),
        &question(id, name, kind),
    ));
    guest.receive_raw(SOON, |frame| {
        let (from, data) = datagram_of(frame, 5000)?;
        (from == (DNS, 53) && data[..2] == id.to_be_bytes()).then_some(data)
    })
}

pub(super) fn question(id: u16, name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    bytes
}

pub(super) fn with_resolvers(resolvers: Vec<SocketAddr>) -> Guest {
    let mut guest = Guest::new(NatConfig {
        resolvers: Some(resolvers),
        ..NatConfig::default()
    });
    guest.send_raw(&arp_request(GATEWAY));
    guest.receive_raw(SOON, arp_reply).unwrap();
    guest
}

/// A resolver that answers each question by itself with an `r` behind it.
fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            buffer[bytes] = b'r';
            socket.send_to(&buffer[..bytes + 1], from).unwrap();
        }
    });
    address
}

fn from_resolver(answer: &[u8]) -> bool {
    answer[2] & 0x80 != 0 && answer.ends_with(b"r")
}

#[test]
fn dns_question_is_answered_by_the_resolver() {
    let mut guest = with_resolvers(vec![resolver()]);
    for id in 0..20 {
        assert!(from_resolver(
            &ask(&mut guest, id, "deb.example", 1).unwrap()
        ));
    }
}

#[test]
fn dns_dead_and_silent_resolvers_are_passed_over() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut guest = with_resolvers(vec![dead, silent.local_addr().unwrap(), resolver()]);
    assert!(from_resolver(
        &ask(&mut guest, 1, "deb.example", 1).unwrap()
    ));
}

/// A resolver that fails every question with this code.
fn failing_resolver(code: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            buffer[3] = 0x80 | code;
            socket.send_to(&buffer[..bytes], from).unwrap();
        }
    });
    address
}

#[test]
fn dns_resolver_that_cannot_tell_is_passed_over() {
    for code in [2, 4, 5] {
        let mut guest = with_resolvers(vec![failing_resolver(code), resolver()]);
        assert!(
            from_resolver(&ask(&mut guest, 1, "deb.example", 1).unwrap()),
            "code {code}"
        );
    }
}

#[test]
fn dns_failure_of_every_resolver_reaches_the_guest() {
    let mut guest = with_resolvers(vec![failing_resolver(2), failing_resolver(5)]);
    let answer = ask(&mut guest, 1, "deb.example", 1).unwrap();
    assert_eq!(answer[3] & 0xf, 2, "the first one's words");
    // That a name does not exist is an answer.
    let mut guest = with_resolvers(vec![failing_resolver(3), resolver()]);
    let answer = ask(&mut guest, 1, "deb.example", 1).unwrap();
    assert_eq!(answer[3] & 0xf, 3);
}

#[test]
fn dns_without_resolver_uses_the_look_up_of_the_host() {
    let mut guest = with_resolvers(Vec::new());
    let answer = ask(&mut guest, 1, "localhost", 1).unwrap();
    assert_eq!(answer[3] & 0xf, 0);
    assert!(answer.ends_with(&[0, 4, 127, 0, 0, 1]));
    // Mail exchangers cannot be had that way: a failure, but no silence.
    let answer = ask(&mut guest, 2, "localhost", 15).unwrap();
    assert_eq!(answer[3] & 0xf, 2);
}

#[test]
fn dns_over_tcp_asks_the_resolver_or_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let resolver = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        // "localhost" makes a question of 27 bytes.
        let mut question = [0; 2 + 27];
        std::io::Read::read_exact(&mut stream, &mut question).unwrap();
        question[4] |= 0x80;
        stream.write_all(&question).unwrap();
    });
    for (resolvers, answer_bytes) in [(vec![resolver], 29), (Vec::new(), 45)] {
        let mut guest = Guest::new(NatConfig {
            resolvers: Some(resolvers),
            ..NatConfig::default()
        });
        let handle = guest.tcp_socket(4096);
        guest.dial(handle, DNS, 53);
        guest.until("connecting", |guest| {
            guest.tcp(handle).may_send().then_some(())
        });
        let question = question(9, "localhost", 1);
        let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
        guest.tcp(handle).send_slice(&framed).unwrap();
        let mut answer = vec![0; answer_bytes];
        guest.until("the answer", |guest| {
            let socket = guest.tcp(handle);
            (socket.recv_queue() >= answer_bytes).then(|| socket.recv_slice(&mut answer).unwrap())
        });
        assert_eq!(answer[2..5], [0, 9, 0x81]);
    }
    server.join().unwrap();
}

#[test]
fn dns_restricted_guest_is_refused() {
    let mut guest = Guest::new(NatConfig {
        restrict: true,
        ..NatConfig::default()
    });
    guest.send_raw(&arp_request(GATEWAY));
    assert_eq!(ask(&mut guest, 1, "localhost", 1).unwrap()[3] & 0xf, 5);
}

#[test]
fn udp_echo_comes_back_from_the_address_it_was_sent_to() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        let (bytes, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..bytes], from).unwrap();
    });
    let mut guest = Guest::new(NatConfig::default());
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let handle = guest.sockets.add(udp::Socket::new(buffer(), buffer()));
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    socket.bind(3000).unwrap();
    socket
        .send_slice(b"ping", (IpAddress::Ipv4(GATEWAY), port))
        .unwrap();
    let (data, from) = guest.until("the echo", |guest| {
        let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
        socket
            .recv()
            .ok()
            .map(|(data, meta)| (data.to_vec(), meta.endpoint))
    });
    assert_eq!(
        (data.as_slice(), from),
        (&b"ping"[..], (IpAddress::Ipv4(GATEWAY), port).into())
    );
}

#[test]
fn udp_large_datagram_passes_in_fragments_both_ways() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let data = pattern_block(0, 5000);
    let mut guest = with_resolvers(Vec::new());
    let payload = udp_payload((GUEST, 3000), (GATEWAY, port), &data);
    for (at, piece) in payload
        .chunks(1480)
        .enumerate()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let at = at * 1480;
        let more = at + piece.len() < payload.len();
        guest.send_raw(&ipv4(
            (GUEST, GATEWAY),
            IpProtocol::Udp,
            64,
            (at as u16, more),
            piece,
        ));
    }
    let mut buffer = vec![0; 65_536];
    server.set_read_timeout(Some(SOON)).unwrap();
    let (bytes, from) = server.recv_from(&mut buffer).unwrap();
    assert!(buffer[..bytes] == data);
    server.send_to(&data, from).unwrap();
    let mut rebuilt = vec![0; payload.len()];
    let mut have = 0;
    while have < rebuilt.len() {
        let (at, piece) = guest
            .receive_raw(SOON, |frame| {
                let packet = packet_of(frame)?;
                Some((usize::from(packet.frag_offset()), packet.payload().to_vec()))
            })
            .unwrap();
        rebuilt[at..at + piece.len()].copy_from_slice(&piece);
        have += piece.len();
    }
    assert!(rebuilt[8..] == data);
}

#[test]
fn udp_forward_leads_to_the_guest_and_back() {
    let config = NatConfig {
        forwards: Forward::parse("udp::0-:69").unwrap(),
        restrict: true,
        ..NatConfig::default()
    };
    let mut guest = Guest::new(config);
    guest.send_raw(&arp_request(GATEWAY));
    guest.receive_raw(SOON, arp_reply).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.send_to(b"ask", guest.nat.forwarded()[0]).unwrap();
    let (from, data) = guest
        .receive_raw(SOON, |frame| datagram_of(frame, 69))
        .unwrap();
    assert_eq!(from, (GATEWAY, client.local_addr().unwrap().port()));
    assert_eq!(data, b"ask");
    guest.send_raw(&datagram((GUEST, 69), from, b"answer"));
    let mut buffer = [0; 16];
    let (bytes, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..bytes], b"answer");
    assert_eq!(from, guest.nat.forwarded()[0]);
}

#[test]
fn udp_stranger_cannot_reach_the_guest_through_a_mapping() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut guest = with_resolvers(Vec::new());
    let to = (GATEWAY, server.local_addr().unwrap().port());
    guest.send_raw(&datagram((GUEST, 3000), to, b"x"));
    let mapping = server.recv_from(&mut [0; 8]).unwrap().1;
    let Some(other) = outside_address() else {
        return eprintln!("skipped: this host has no address but loopback");
    };
    UdpSocket::bind((other, 0))
        .unwrap()
        .send_to(b"stranger", (other, mapping.port()))
        .unwrap();
    assert_eq!(
        guest.receive_raw(SHORT, |frame| datagram_of(frame, 3000)),
        None
    );
    server.send_to(b"friend", mapping).unwrap();
    assert!(
        guest
            .receive_raw(SOON, |frame| datagram_of(frame, 3000))
            .is_some()
    );
}

/// An address of this host that is not loopback.
fn outside_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        _ => None,
    }
}

fn echo(to: Ipv4Addr, ttl: u8, data: &[u8]) -> Vec<u8> {
    ipv4(
        (GUEST, to),
        IpProtocol::Icmp,
        ttl,
        (0, false),
        &echo_payload(data),
    )
}

pub(super) fn echo_payload(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + data.len()];
    let mut packet = Icmpv4Packet::new_unchecked(&mut bytes);
    packet.set_msg_type(Icmpv4Message::EchoRequest);
    packet.set_echo_ident(0x1234);
    packet.set_echo_seq_no(7);
    packet.data_mut().copy_from_slice(data);
    packet.fill_checksum();
    bytes
}

pub(super) fn icmp_of(frame: &[u8]) -> Option<(Ipv4Addr, Icmpv4Message, Vec<u8>)> {
    let packet = packet_of(frame)?;
    let message = Icmpv4Packet::new_checked(packet.payload()).ok()?;
    let intact = packet.next_header() == IpProtocol::Icmp && message.verify_checksum();
    intact.then(|| {
        (
            packet.src_addr(),
            message.msg_type(),
            packet.payload()[4..].to_vec(),
        )
    })
}

#[test]
fn icmp_virtual_hosts_answer_echoes() {
    let mut guest = with_resolvers(Vec::new());
    for host in [GATEWAY, DNS] {
        guest.send_raw(&echo(host, 64, b"payload"));
        let expected = (
            host,
            Icmpv4Message::EchoReply,
            b"\x12\x34\0\x07payload".to_vec(),
        );
        assert_eq!(guest.receive_raw(SOON, icmp_of), Some(expected));
    }
}

#[test]
fn icmp_echo_to_the_outside_goes_through_the_host() {
    let (Ok(_), Some(host)) = (EchoSocket::open(Family::V4), outside_address()) else {
        return eprintln!(
            "skipped: this host allows no echo sockets, or has no address but loopback"
        );
    };
    let mut guest = with_resolvers(Vec::new());
    guest.send_raw(&echo(host, 64, b"payload"));
    let expected = (
        host,
        Icmpv4Message::EchoReply,
        b"\x12\x34\0\x07payload".to_vec(),
    );
    assert_eq!(guest.receive_raw(SOON, icmp_of), Some(expected));
}

#[test]
fn icmp_packet_at_the_end_of_its_life_is_reported() {
    let mut guest = with_resolvers(Vec::new());
    guest.send_raw(&echo(Ipv4Addr::new(192, 0, 2, 1), 1, b"traceroute"));
    let (from, kind, _) = guest.receive_raw(SOON, icmp_of).unwrap();
    assert_eq!((from, kind), (GATEWAY, Icmpv4Message::TimeExceeded));
}

#[test]
fn udp_closed_port_of_the_host_is_reported_as_unreachable() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr();
    let port = closed.unwrap().port();
    let mut guest = with_resolvers(Vec::new());
    guest.send_raw(&datagram((GUEST, 3000), (GATEWAY, port), b"anybody?"));
    let (from, kind, rest) = guest.receive_raw(SOON, icmp_of).unwrap();
    assert_eq!((from, kind), (GATEWAY, Icmpv4Message::DstUnreachable));
    // The guest's own packet, by which it knows the program.
    let quoted = Ipv4Packet::new_unchecked(&rest[4..]);
    assert_eq!((quoted.src_addr(), quoted.dst_addr()), (GUEST, GATEWAY));
    let quoted = UdpPacket::new_unchecked(&rest[24..]);
    assert_eq!((quoted.src_port(), quoted.dst_port()), (3000, port));
    assert!(rest.ends_with(b"anybody?"));
}

#[test]
fn icmp_closed_port_of_the_name_server_is_reported() {
    let mut guest = with_resolvers(Vec::new());
    guest.send_raw(&datagram((GUEST, 3000), (DNS, 54), b"x"));
    let (from, kind, _) = guest.receive_raw(SOON, icmp_of).unwrap();
    assert_eq!((from, kind), (DNS, Icmpv4Message::DstUnreachable));
}

#[test]
fn pcap_file_has_every_frame_of_both_directions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.pcap");
    let mut guest = Guest::new(NatConfig {
        pcap: Some(path.clone()),
        ..NatConfig::default()
    });
    let request = arp_request(GATEWAY);
    guest.send_raw(&request);
    let reply = guest
        .receive_raw(SOON, |frame| Some(frame.to_vec()))
        .unwrap();
    guest.nat.stop();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let mut frames = Vec::new();
    let mut rest = &bytes[24..];
    while let Some((header, tail)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        frames.push(tail[..length].to_vec());
        rest = &tail[length..];
    }
    assert_eq!(frames, [request, reply]);
}

#[test]
fn pcap_file_that_cannot_be_made_is_an_error_with_its_path() {
    let config = NatConfig {
        pcap: Some("/nonexistent/net.pcap".into()),
        ..NatConfig::default()
    };
    let error = Nat::start(config).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/net.pcap"), "{error}");
}

#[test]
fn nat_without_a_card_starts_and_stops() {
    let nat = Nat::start(NatConfig::default()).unwrap();
    nat.transmit(&arp_request(GATEWAY));
    nat.resume();
    drop(nat);
}

#[test]
fn tcp_syn_has_segment_size_and_window_scale() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = with_resolvers(Vec::new());
    let mut bytes = vec![0; 24];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(4000);
    packet.set_dst_port(listener.local_addr().unwrap().port());
    packet.set_header_len(24);
    packet.set_syn(true);
    packet.set_window_len(1000);
    packet.options_mut().copy_from_slice(&[3, 3, 7, 0]);
    packet.fill_checksum(&IpAddress::Ipv4(GUEST), &IpAddress::Ipv4(GATEWAY));
    guest.send_raw(&ipv4(
        (GUEST, GATEWAY),
        IpProtocol::Tcp,
        64,
        (0, false),
        &bytes,
    ));
    let options = guest.receive_raw(SOON, |frame| {
        let packet = packet_of(frame)?;
        let segment = TcpPacket::new_checked(packet.payload()).ok()?;
        (segment.syn() && segment.ack()).then(|| segment.options().to_vec())
    });
    assert_eq!(options.unwrap(), [2, 4, 0x05, 0xb4, 1, 3, 3, 5]);
}

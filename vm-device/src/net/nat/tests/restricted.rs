//! A guest that may reach only what was named.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

use smoltcp::wire::Icmpv4Message;

use super::guest::{GATEWAY, GUEST, Guest};
use super::services::{SHORT, SOON, arp_reply, arp_request, ask, datagram, icmp_of};
use crate::net::nat::NatConfig;

fn guest(allow: &[&str], resolvers: Vec<SocketAddr>) -> Guest {
    let mut guest = Guest::new(NatConfig {
        restrict: true,
        allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
        resolvers: Some(resolvers),
        ..NatConfig::default()
    });
    guest.send_raw(&arp_request(GATEWAY));
    guest.receive_raw(SOON, arp_reply).unwrap();
    guest
}

/// A resolver that says of every name that its address is the gateway's, and tells what it was asked.
fn resolver() -> (SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            let _ = sender.send(buffer[..bytes].to_vec());
            let mut answer = buffer[..bytes].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(GATEWAY.octets());
            socket.send_to(&answer, from).unwrap();
        }
    });
    (address, receiver)
}

/// Whether a datagram to this port of the host arrives.
fn reaches(guest: &mut Guest, server: &UdpSocket) -> bool {
    let port = server.local_addr().unwrap().port();
    server.set_read_timeout(Some(SHORT)).unwrap();
    guest.send_raw(&datagram((GUEST, 3000), (GATEWAY, port), b"x"));
    server.recv_from(&mut [0; 8]).is_ok()
}

#[test]
fn restricted_guest_reaches_the_ports_that_were_named() {
    let servers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let port = servers[0].local_addr().unwrap().port();
    let mut guest = guest(&[&format!("{GATEWAY}:{port}")], Vec::new());
    assert!(reaches(&mut guest, &servers[0]));
    assert!(!reaches(&mut guest, &servers[1]));
    let (from, kind, _) = guest.receive_raw(SOON, icmp_of).unwrap();
    assert_eq!((from, kind), (GATEWAY, Icmpv4Message::DstUnreachable));
    let handle = guest.tcp_socket(64);
    guest.dial(handle, Ipv4Addr::new(192, 0, 2, 1), 80);
    guest.until("a refusal", |guest| {
        (!guest.tcp(handle).is_open()).then_some(())
    });
}

#[test]
fn restricted_guest_reaches_a_name_at_the_addresses_that_it_was_told() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let (resolver, asked) = resolver();
    let mut guest = guest(&[&format!("deb.example:{port}")], vec![resolver]);
    assert!(
        !reaches(&mut guest, &server),
        "before its name was asked for"
    );
    let answer = ask(&mut guest, 1, "secret.deb.example", 1).unwrap();
    assert_eq!(answer[3] & 0xf, 5, "refused");
    let answer = ask(&mut guest, 2, "deb.example", 1).unwrap();
    assert!(answer.ends_with(&GATEWAY.octets()));
    let question = asked.recv_timeout(SOON).unwrap();
    assert!(asked.try_recv().is_err(), "other names never leave");
    assert_eq!(question.len(), 12 + 13 + 4);
    assert!(reaches(&mut guest, &server));
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(!reaches(&mut guest, &other), "another port of the name");
}

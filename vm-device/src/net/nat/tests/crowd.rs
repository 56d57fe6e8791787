//! More connections than there is room for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use smoltcp::iface::SocketHandle;
use smoltcp::wire::{IpAddress, IpProtocol, TcpPacket};
use vm_core::Notices;

use super::guest::{GATEWAY, GUEST, Guest, ipv4, packet_of};
use super::services::{SHORT, SOON};
use crate::net::nat::{Forward, NatConfig};

/// Room for eight connections, the last of them for clients of the forward only.
fn small(lines: &Arc<Mutex<Vec<String>>>) -> NatConfig {
    let heard = Arc::clone(lines);
    NatConfig {
        forwards: Forward::parse("tcp::0-:80").unwrap(),
        open_files_max: Some(16),
        notices: Notices::to(move |line| heard.lock().push(line.to_owned())),
        ..NatConfig::default()
    }
}

/// A client of the forward and the guest's end of its connection.
fn session(guest: &mut Guest) -> (TcpStream, SocketHandle) {
    let handle = guest.tcp_socket(4096);
    guest.tcp(handle).listen(80).unwrap();
    let client = TcpStream::connect(guest.nat.forwarded()[0]).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    guest.until("a client", |guest| {
        guest.tcp(handle).may_send().then_some(())
    });
    (client, handle)
}

fn says(guest: &mut Guest, handle: SocketHandle, peer: &mut TcpStream, word: &[u8; 5]) {
    guest.tcp(handle).send_slice(word).unwrap();
    guest.until("sending", |guest| {
        (guest.tcp(handle).send_queue() == 0).then_some(())
    });
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, word);
    peer.write_all(word).unwrap();
    let mut heard = [0; 5];
    guest.until("an answer", |guest| {
        let socket = guest.tcp(handle);
        (socket.recv_queue() >= 5).then(|| socket.recv_slice(&mut heard).unwrap())
    });
    assert_eq!(&heard, word);
}

fn syn(from: u16, to: u16) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(from);
    packet.set_dst_port(to);
    packet.set_header_len(20);
    packet.set_syn(true);
    packet.set_window_len(1000);
    packet.fill_checksum(&IpAddress::Ipv4(GUEST), &IpAddress::Ipv4(GATEWAY));
    let ends = (GUEST, GATEWAY);
    ipv4(ends, IpProtocol::Tcp, 64, (0, false), &bytes)
}

/// The answer to the SYN from this port: whether it was accepted.
fn answered(frame: &[u8], port: u16) -> Option<bool> {
    let packet = packet_of(frame)?;
    let segment = TcpPacket::new_checked(packet.payload()).ok()?;
    let answer = packet.next_header() == IpProtocol::Tcp && segment.dst_port() == port;
    answer.then(|| segment.syn() && segment.ack())
}

#[test]
fn crowd_port_scan_of_the_guest_leaves_sessions_alone() {
    let lines = Arc::default();
    let mut guest = Guest::new(small(&lines));
    let (mut client, handle) = session(&mut guest);
    says(&mut guest, handle, &mut client, b"first");
    // Half-open connections, as a scan leaves behind it, many times as many as there is room for.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for from in 20_000..20_100 {
        guest.send_raw(&syn(from, port));
    }
    let last = guest.receive_raw(SOON, |frame| answered(frame, 20_099));
    assert_eq!(last, Some(true), "the newest one has its turn");
    says(&mut guest, handle, &mut client, b"still");
    assert!(lines.lock().is_empty());
}

#[test]
fn crowd_of_sessions_keeps_them_all_says_so_once_and_leaves_room_for_a_client() {
    let lines = Arc::default();
    let mut guest = Guest::new(small(&lines));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sessions: Vec<_> = (0..7)
        .map(|_| {
            let handle = guest.connect(port, 4096);
            (handle, listener.accept().unwrap().0)
        })
        .collect();
    for from in 20_000..20_003 {
        guest.send_raw(&syn(from, port));
        let answer = guest.receive_raw(SHORT, |frame| answered(frame, from));
        assert_eq!(answer, None, "neither taken nor refused: it asks again");
    }
    let (mut client, forwarded) = session(&mut guest);
    says(&mut guest, forwarded, &mut client, b"enter");
    for (handle, peer) in &mut sessions {
        says(&mut guest, *handle, peer, b"alive");
    }
    let said = lines.lock().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("7 network connections") && said[0].contains("ulimit -n"));
    // Room again: the SYN that is repeated gets its turn.
    drop((client, sessions.pop()));
    let (handle, _) = sessions[0];
    guest.tcp(handle).abort();
    guest.tcp(forwarded).abort();
    guest.run_for(SHORT);
    guest.send_raw(&syn(20_000, port));
    let answer = guest.receive_raw(SOON, |frame| answered(frame, 20_000));
    assert_eq!(answer, Some(true));
}

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use super::names::parse_resolv_conf;
use super::*;

const SOON: Duration = Duration::from_secs(5);

fn wait(socket: &impl AsSocket, interest: Interest) -> Readiness {
    let mut set = PollSet::default();
    set.add((), socket, interest);
    let now = Instant::now();
    set.at(now + SOON);
    let ready = set.wait(now, false);
    assert_eq!(ready.len(), 1, "nothing happened");
    ready[0].1
}

fn closed_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

#[test]
fn stream_connects_carries_and_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = Stream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    wait(&stream, Interest::WRITE);
    stream.connect_outcome().unwrap();
    assert_eq!(stream.send(b"there").unwrap(), 5);
    stream.finish();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "there");
    let mut buffer = [0; 9];
    let none = stream.receive(&mut [IoSliceMut::new(&mut buffer)]);
    assert_eq!(none.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    peer.write_all(b"back").unwrap();
    wait(&stream, Interest::READ);
    let (first, second) = buffer.split_at_mut(2);
    let parts = &mut [IoSliceMut::new(first), IoSliceMut::new(second)];
    assert_eq!(stream.receive(parts).unwrap(), 4);
    assert_eq!(&buffer[..4], b"back");
}

#[test]
fn stream_to_a_closed_port_is_refused() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let refused = match Stream::connect(closed.unwrap()) {
        Ok(stream) => {
            wait(&stream, Interest::WRITE);
            stream.connect_outcome()
        }
        Err(error) => Err(error),
    };
    assert_eq!(
        refused.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn datagrams_to_a_closed_port_are_reported_and_others_still_arrive() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut socket = Datagrams::open(Family::V4).unwrap();
    let closed = closed_port();
    socket.send(b"lost", closed, 64).unwrap();
    wait(&socket, Interest::READ);
    // The error that stands there does not take the next datagram away.
    socket
        .send(b"kept", peer.local_addr().unwrap(), 64)
        .unwrap();
    let mut buffer = [0; 16];
    assert_eq!(peer.recv_from(&mut buffer).unwrap().0, 4);
    let Some(DatagramNews::Trouble(trouble)) = socket.receive(&mut buffer) else {
        panic!("no news of the datagram to a closed port");
    };
    assert_eq!(trouble.to, closed);
    assert_eq!(trouble.cause, Cause::PortUnreachable);
    assert_eq!(trouble.reporter, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(trouble.data, b"lost");
    assert!(socket.receive(&mut buffer).is_none());
}

#[test]
fn echo_to_this_host_is_answered_by_both_kinds_of_socket() {
    let kinds: [fn(Family) -> io::Result<EchoSocket>; 2] =
        [EchoSocket::open_unprivileged, EchoSocket::open_raw];
    let request = |kind| [kind, 0, 0, 0, 0x12, 0x34, 0, 7, b'x', b'y'];
    let cases = [
        (Family::V4, Ipv4Addr::LOCALHOST.into(), request(8)),
        (Family::V6, Ipv6Addr::LOCALHOST.into(), request(128)),
    ];
    for (number, open) in kinds.into_iter().enumerate() {
        for (family, host, request) in cases {
            let Ok(mut socket) = open(family) else {
                eprintln!("skipped: this host allows no echo socket of kind {number}, {family:?}");
                continue;
            };
            if let Err(error) = socket.send(&request, host, 64) {
                eprintln!("skipped: {host} cannot be reached: {error}");
                continue;
            }
            wait(&socket, Interest::READ);
            let Some(EchoNews::Reply(reply, from)) = socket.receive() else {
                panic!("no reply from {host}");
            };
            assert_eq!(from, host);
            assert_eq!(reply[6..], request[6..]);
        }
    }
}

#[test]
fn wake_pair_wakes_until_cleared() {
    let (waker, mut wakeups) = wake_pair().unwrap();
    for _ in 0..100_000 {
        waker.wake();
    }
    assert!(wait(&wakeups, Interest::READ).read);
    wakeups.clear();
    let mut set = PollSet::default();
    set.read((), &wakeups);
    assert!(set.wait(Instant::now(), true).is_empty());
}

#[test]
fn resolv_conf_lists_servers_of_both_families() {
    let text = "# x\nnameserver 192.0.2.1\n search a b\nnameserver fe80::1%eth0\n\tnameserver ::1 \noptions nameserver 1.2.3.4\n";
    let expected = vec!["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
    assert_eq!(parse_resolv_conf(text), expected);
}

#[test]
fn look_up_tells_addresses_and_missing_ones_apart() {
    let localhost = look_up("localhost", Family::V4).unwrap();
    assert!(localhost.contains(&Ipv4Addr::LOCALHOST.into()));
    // An address is a name of its own family only.
    assert_eq!(look_up("127.0.0.1", Family::V6), Ok(Vec::new()));
    assert_eq!(look_up("a\0b", Family::V4), Err(LookUpError::NoSuchName));
}

#[test]
fn open_files_max_is_what_the_host_allows() {
    assert!(open_files_max() > 2);
}

#[test]
fn cause_tells_unreachable_from_refused() {
    let of = |code: i32| Cause::try_from(&io::Error::from_raw_os_error(code)).ok();
    assert_eq!(of(libc::ENETUNREACH), Some(Cause::NetworkUnreachable));
    assert_eq!(of(libc::ETIMEDOUT), Some(Cause::HostUnreachable));
    assert_eq!(of(libc::ECONNREFUSED), None);
    assert_eq!(of(libc::EMFILE), None);
}

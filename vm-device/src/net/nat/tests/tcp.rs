//! Connections on a good cable.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, State};

use super::guest::{GATEWAY, Guest, pattern_block};
use crate::net::nat::{Forward, Nat, NatConfig, NatError};

/// A server on loopback that treats its only client with `serve`.
pub(super) fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, thread::JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        port,
        thread::spawn(move || serve(listener.accept().unwrap().0)),
    )
}

/// Takes `total` bytes of the pattern and then the end.
pub(super) fn expect_pattern(stream: &mut TcpStream, total: u64) {
    let mut buffer = vec![0; 256 * 1024];
    let mut at = 0;
    loop {
        let bytes = stream.read(&mut buffer).unwrap();
        if bytes == 0 {
            break;
        }
        assert!(
            buffer[..bytes] == pattern_block(at, bytes),
            "wrong bytes behind {at}"
        );
        at += bytes as u64;
    }
    assert_eq!(at, total);
}

pub(super) fn send_pattern(stream: &mut TcpStream, total: u64) {
    let mut at = 0;
    while at < total {
        let bytes = (total - at).min(64 * 1024) as usize;
        stream.write_all(&pattern_block(at, bytes)).unwrap();
        at += bytes as u64;
    }
}

/// The guest sends `total` bytes of the pattern.
pub(super) fn guest_sends(guest: &mut Guest, handle: SocketHandle, total: u64) {
    let mut at = 0;
    guest.until("sending", |guest| {
        let socket = guest.tcp(handle);
        while at < total && socket.can_send() {
            let bytes = (total - at).min(64 * 1024) as usize;
            at += socket.send_slice(&pattern_block(at, bytes)).unwrap() as u64;
        }
        (at == total).then_some(())
    });
}

/// The guest takes `total` bytes of the pattern, then the end.
pub(super) fn guest_takes(guest: &mut Guest, handle: SocketHandle, total: u64) {
    let mut at = 0;
    let mut buffer = vec![0; 64 * 1024];
    guest.until("receiving", |guest| {
        loop {
            match guest.tcp(handle).recv_slice(&mut buffer) {
                Ok(0) => return None,
                Ok(bytes) => {
                    assert!(
                        buffer[..bytes] == pattern_block(at, bytes),
                        "wrong bytes behind {at}"
                    );
                    at += bytes as u64;
                }
                Err(RecvError::Finished) => return Some(()),
                Err(error) => panic!("{error} behind {at}"),
            }
        }
    });
    assert_eq!(at, total);
}

#[test]
fn tcp_echo_comes_back() {
    let (port, server) = server(|mut stream| {
        let mut data = [0; 5];
        stream.read_exact(&mut data).unwrap();
        stream.write_all(&data).unwrap();
    });
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 4096);
    guest.tcp(handle).send_slice(b"hello").unwrap();
    let mut data = [0; 5];
    guest.until("the echo", |guest| {
        let socket = guest.tcp(handle);
        (socket.recv_queue() == 5).then(|| socket.recv_slice(&mut data).unwrap())
    });
    assert_eq!(&data, b"hello");
    server.join().unwrap();
}

#[test]
fn tcp_bulk_to_the_host_arrives_whole() {
    const TOTAL: u64 = 4 << 20;
    let (port, server) = server(|mut stream| expect_pattern(&mut stream, TOTAL));
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 1 << 20);
    guest_sends(&mut guest, handle, TOTAL);
    guest.tcp(handle).close();
    guest.until("closing", |guest| {
        (!guest.tcp(handle).may_send()).then_some(())
    });
    guest.until("the end", |_| server.is_finished().then_some(()));
    server.join().unwrap();
}

#[test]
fn tcp_bulk_to_the_guest_arrives_whole() {
    const TOTAL: u64 = 4 << 20;
    let (port, server) = server(|mut stream| send_pattern(&mut stream, TOTAL));
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 1 << 20);
    guest_takes(&mut guest, handle, TOTAL);
    server.join().unwrap();
}

#[test]
fn tcp_guest_closes_first_and_still_receives() {
    let (port, server) = server(|mut stream| {
        expect_pattern(&mut stream, 1000);
        // The guest's end has come; what follows goes the other way only.
        send_pattern(&mut stream, 500_000);
    });
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 65_536);
    guest_sends(&mut guest, handle, 1000);
    guest.tcp(handle).close();
    guest_takes(&mut guest, handle, 500_000);
    server.join().unwrap();
    guest.until("TIME-WAIT", |guest| {
        (guest.tcp(handle).state() == State::TimeWait).then_some(())
    });
}

#[test]
fn tcp_host_closes_first_and_still_receives() {
    let (port, server) = server(|mut stream| {
        send_pattern(&mut stream, 1000);
        stream.shutdown(Shutdown::Write).unwrap();
        expect_pattern(&mut stream, 500_000);
    });
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 65_536);
    guest_takes(&mut guest, handle, 1000);
    assert_eq!(guest.tcp(handle).state(), State::CloseWait);
    guest_sends(&mut guest, handle, 500_000);
    guest.tcp(handle).close();
    guest.until("CLOSED", |guest| {
        (guest.tcp(handle).state() == State::Closed).then_some(())
    });
    server.join().unwrap();
}

#[test]
fn tcp_guest_that_does_not_read_closes_the_window_and_loses_nothing() {
    const TOTAL: u64 = 3 << 20;
    let (port, server) = server(|mut stream| send_pattern(&mut stream, TOTAL));
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 20_000);
    guest.until("a full buffer", |guest| {
        (guest.tcp(handle).recv_queue() == 20_000).then_some(())
    });
    // Long enough for several probes.
    guest.run_for(Duration::from_millis(900));
    assert_eq!(guest.tcp(handle).state(), State::Established);
    guest_takes(&mut guest, handle, TOTAL);
    server.join().unwrap();
}

#[test]
fn tcp_host_that_does_not_read_stops_the_guest_and_loses_nothing() {
    const TOTAL: u64 = 24 << 20;
    let (go, wait) = std::sync::mpsc::channel();
    let (port, server) = server(move |mut stream| {
        wait.recv().unwrap();
        expect_pattern(&mut stream, TOTAL);
    });
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 65_536);
    let mut at = 0u64;
    let mut stalled = Instant::now();
    guest.until("a stall", |guest| {
        let socket = guest.tcp(handle);
        while at < TOTAL && socket.can_send() {
            at += socket.send_slice(&pattern_block(at, 16_384)).unwrap() as u64;
            stalled = Instant::now();
        }
        (stalled.elapsed() > Duration::from_millis(400)).then_some(())
    });
    assert!(at < TOTAL, "the window never closed");
    go.send(()).unwrap();
    guest.until("the rest", |guest| {
        let socket = guest.tcp(handle);
        while at < TOTAL && socket.can_send() {
            let bytes = (TOTAL - at).min(16_384) as usize;
            at += socket.send_slice(&pattern_block(at, bytes)).unwrap() as u64;
        }
        (at == TOTAL).then(|| socket.close())
    });
    guest.until("the end", |_| server.is_finished().then_some(()));
    server.join().unwrap();
}

#[test]
fn tcp_closed_port_of_the_host_is_refused_at_once() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.tcp_socket(4096);
    let start = Instant::now();
    guest.dial(handle, GATEWAY, unused);
    guest.until("SYN-SENT", |guest| {
        (guest.tcp(handle).state() != State::Closed).then_some(())
    });
    guest.until("the refusal", |guest| {
        (guest.tcp(handle).state() == State::Closed).then_some(())
    });
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn tcp_addresses_that_must_not_be_reached_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let restricted = NatConfig {
        restrict: true,
        ..NatConfig::default()
    };
    for (config, address) in [
        (NatConfig::default(), Ipv4Addr::new(127, 0, 0, 1)),
        (restricted, GATEWAY),
    ] {
        let mut guest = Guest::new(config);
        let handle = guest.tcp_socket(4096);
        guest.dial(handle, address, port);
        guest.until("the refusal", |guest| {
            (guest.tcp(handle).state() == State::Closed).then_some(())
        });
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn tcp_reset_by_the_guest_reaches_the_host() {
    let (port, server) = server(|mut stream| {
        let mut data = [0; 1];
        stream.read_exact(&mut data).unwrap();
        stream.read(&mut data).unwrap_err().kind()
    });
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 4096);
    guest.tcp(handle).send_slice(b"x").unwrap();
    guest.run_for(Duration::from_millis(20));
    guest.tcp(handle).abort();
    guest.until("the end", |_| server.is_finished().then_some(()));
    assert_eq!(server.join().unwrap(), ErrorKind::ConnectionReset);
}

#[test]
fn tcp_reset_by_the_host_reaches_the_guest() {
    let (port, server) = server(|stream| {
        // Closing with unread data is a reset.
        while stream.peek(&mut [0; 8]).unwrap() == 0 {}
    });
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 4096);
    guest.tcp(handle).send_slice(b"unread").unwrap();
    guest.until("the reset", |guest| {
        (guest.tcp(handle).state() == State::Closed).then_some(())
    });
    server.join().unwrap();
}

#[test]
fn tcp_many_connections_at_once_are_kept_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let echo = |mut stream: TcpStream| {
            let mut data = Vec::new();
            stream.read_to_end(&mut data).unwrap();
            stream.write_all(&data).unwrap();
        };
        let clients: Vec<_> = (0..50).map(|_| listener.accept().unwrap().0).collect();
        for client in clients
            .into_iter()
            .map(|client| thread::spawn(move || echo(client)))
        {
            client.join().unwrap();
        }
    });
    let mut guest = Guest::new(NatConfig::default());
    let handles: Vec<_> = (0..50).map(|_| guest.connect(port, 4096)).collect();
    for (i, handle) in handles.iter().enumerate() {
        guest
            .tcp(*handle)
            .send_slice(&pattern_block(i as u64 * 1000, 900))
            .unwrap();
        guest.tcp(*handle).close();
    }
    for (i, handle) in handles.iter().enumerate() {
        let mut data = [0; 1000];
        let bytes = guest.until("an echo", |guest| {
            let socket = guest.tcp(*handle);
            (socket.recv_queue() == 900).then(|| socket.recv_slice(&mut data).unwrap())
        });
        assert_eq!(&data[..bytes], pattern_block(i as u64 * 1000, 900));
    }
    guest.until("the end", |_| server.is_finished().then_some(()));
    server.join().unwrap();
}

/// A restricted guest with a forward, which works all the same.
fn forwarded_guest() -> (Guest, std::net::SocketAddr) {
    let config = NatConfig {
        restrict: true,
        forwards: Forward::parse("tcp::0-:80").unwrap(),
        ..NatConfig::default()
    };
    let guest = Guest::new(config);
    let address = guest.nat.forwarded()[0];
    assert!(address.ip().is_loopback());
    (guest, address)
}

#[test]
fn tcp_forward_leads_to_the_guest() {
    let (mut guest, address) = forwarded_guest();
    let handle = guest.tcp_socket(65_536);
    guest.tcp(handle).listen(80).unwrap();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        send_pattern(&mut stream, 300_000);
        stream.shutdown(Shutdown::Write).unwrap();
        expect_pattern(&mut stream, 200_000);
    });
    guest.until("the client", |guest| {
        guest.tcp(handle).may_recv().then_some(())
    });
    let peer = guest.tcp(handle).remote_endpoint().unwrap();
    assert_eq!(peer.addr, GATEWAY.into());
    guest_takes(&mut guest, handle, 300_000);
    guest_sends(&mut guest, handle, 200_000);
    guest.tcp(handle).close();
    guest.until("the end", |_| client.is_finished().then_some(()));
    client.join().unwrap();
}

#[test]
fn tcp_forward_to_a_closed_guest_port_ends_the_client() {
    let (mut guest, address) = forwarded_guest();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.read(&mut [0; 1]).map_err(|error| error.kind())
    });
    guest.until("the end", |_| client.is_finished().then_some(()));
    assert_eq!(client.join().unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn tcp_forward_port_in_use_is_an_error_with_the_port() {
    let (guest, address) = forwarded_guest();
    let config = NatConfig {
        forwards: Forward::parse(&format!("tcp::{}-:80", address.port())).unwrap(),
        ..NatConfig::default()
    };
    let error = Nat::start(config).err().unwrap();
    assert!(matches!(error, NatError::PortInUse { .. }), "{error}");
    drop(guest);
}

#[test]
fn tcp_stopped_network_ends_connections_and_frees_ports() {
    let (port, server) = server(|mut stream| stream.read(&mut [0; 1]).unwrap_or(0));
    let mut guest = Guest::new(NatConfig {
        forwards: Forward::parse("tcp::0-:80").unwrap(),
        ..NatConfig::default()
    });
    let address = guest.nat.forwarded()[0];
    guest.connect(port, 4096);
    guest.nat.stop();
    assert_eq!(server.join().unwrap(), 0);
    TcpListener::bind(address).unwrap();
}

/// Long: `cargo test --release -p vm-device tcp_gibibyte -- --ignored`.
#[test]
#[ignore = "a gibibyte each way"]
fn tcp_gibibyte_each_way_arrives_whole() {
    const TOTAL: u64 = 1 << 30;
    let (port, sink) = server(|mut stream| expect_pattern(&mut stream, TOTAL));
    let mut guest = Guest::new(NatConfig::default());
    let handle = guest.connect(port, 1 << 20);
    guest_sends(&mut guest, handle, TOTAL);
    guest.tcp(handle).close();
    guest.until("the end", |_| sink.is_finished().then_some(()));
    sink.join().unwrap();
    let (port, source) = server(|mut stream| send_pattern(&mut stream, TOTAL));
    let handle = guest.connect(port, 1 << 20);
    guest_takes(&mut guest, handle, TOTAL);
    source.join().unwrap();
}

//! The built-in NAT, seen from the guest and from a server and a client on the host.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use vm_tests::net::{networked, noise, serve, sha256};
use vm_tests::{Guest, Launch, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
const TRANSFER_BYTES: usize = 4 << 20;

#[test]
fn nat_guest_has_an_address_and_moves_data_both_ways() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = networked(Launch::riscv64_linux(&cache));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    assert!(
        guest.console_text().contains("guest: address 10.0.2.15"),
        "DHCP: {}",
        guest.console_text()
    );
    guest.run_ok("ping -c 1 10.0.2.2", limit(60));

    let data = noise(TRANSFER_BYTES);
    let expected = sha256(&data);
    let (port, server) = serve(move |mut connection| {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            connection.read_exact(&mut byte).expect("a request");
            request.push(byte[0]);
        }
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
        connection.write_all(head.as_bytes()).expect("a reader");
        connection.write_all(&data).expect("a reader");
        String::from_utf8_lossy(&request).into_owned()
    });
    guest.run_ok(
        &format!("wget -q -O /tmp/data http://10.0.2.2:{port}/file"),
        limit(120),
    );
    let request = server.join().expect("the server got a request");
    assert!(request.starts_with("GET /file"), "{request}");
    let down = guest.run_ok("sha256sum < /tmp/data", limit(60));
    assert_eq!(down.split_whitespace().next(), Some(expected.as_str()));

    let (port, server) = serve(|mut connection| {
        let mut data = Vec::new();
        connection.read_to_end(&mut data).expect("the whole file");
        sha256(&data)
    });
    guest.run_ok(&format!("nc 10.0.2.2 {port} < /tmp/data"), limit(120));
    assert_eq!(server.join().expect("the server got the file"), expected);
}

#[test]
fn hostfwd_client_on_the_host_reaches_a_server_in_the_guest() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = free.local_addr().expect("invariant: bound").port();
    drop(free);
    let launch = networked(Launch {
        forwards: vec![format!("tcp:127.0.0.1:{port}-:7000")],
        ..Launch::riscv64_linux(&cache)
    });
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("(nc -l -p 7000 -e sha256sum &) ; sleep 1", limit(60));
    guest.run_ok(
        "i=0; until netstat -ltn | grep -q :7000; do sleep 1; i=$((i+1)); [ $i -lt 30 ] || break; done",
        limit(60),
    );

    let data = noise(TRANSFER_BYTES / 4);
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a forwarded port");
    let patience = Some(limit(120));
    connection.set_read_timeout(patience).expect("a time limit");
    connection.write_all(&data).expect("the guest reads");
    // The guest sees the end of the data and answers over the half that is still open.
    connection.shutdown(Shutdown::Write).expect("connected");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    assert_eq!(
        answer.split_whitespace().next(),
        Some(sha256(&data).as_str())
    );
}

#[test]
fn pcap_file_has_every_frame_of_a_ping() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("frames.pcap");
    let net = format!("user,pcap={}", file.display());
    let launch = Launch::riscv64_linux(&cache)
        .with_words("net=dhcp")
        .with_option("--net", net);
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("ping -c 1 -s 1000 10.0.2.2", limit(60));
    guest.type_line("exit");
    guest.exit_code(limit(60));
    let capture = std::fs::read(file).expect("the capture");
    let mut echoes = [0, 0];
    // 24 bytes of file header; each frame has 16 bytes of its own, the length in the third word.
    let mut rest = &capture[24..];
    while let Some((head, body)) = rest.split_at_checked(16) {
        let bytes = u32::from_le_bytes(head[8..12].try_into().expect("invariant: 4 bytes"));
        let (frame, after) = body.split_at(bytes as usize);
        // Ethernet, IPv4 without options, ICMP: type 8 asks, type 0 answers.
        if frame.len() == 14 + 20 + 8 + 1000 && frame[12..14] == [8, 0] && frame[23] == 1 {
            echoes[usize::from(frame[34] == 0)] += 1;
        }
        rest = after;
    }
    assert_eq!(echoes, [1, 1], "one request and one reply");
}

#[test]
fn nat_connection_to_a_closed_port_is_refused() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = networked(Launch::riscv64_linux(&cache));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = free.local_addr().expect("invariant: bound").port();
    drop(free);
    let asked = Instant::now();
    let (status, said) = guest.run(&format!("nc -w 50 10.0.2.2 {port} < /dev/null"), limit(100));
    assert_ne!(status, 0, "{said}");
    assert!(
        asked.elapsed() < Duration::from_secs(40),
        "refused, not timed out"
    );
}

/// A resolver of the host that says of every name that its address is 10.0.2.2 or its like in `network`.
fn resolver(address: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = socket.local_addr().expect("invariant: bound").port();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..bytes].to_vec();
            answer[2] |= 0x80;
            answer[6..12].fill(0);
            // The question's type is its last but one half-word: A has an answer, others have none.
            if answer.ends_with(&[0, 1, 0, 1]) {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address.octets());
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    port
}

/// A server that says the same to each of its clients.
fn greeter(address: IpAddr) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let port = listener.local_addr().expect("invariant: bound").port();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let _ = client.write_all(b"welcome\n");
        }
    });
    port
}

#[test]
fn network_options_reach_the_guest() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let gateway = Ipv4Addr::new(192, 168, 77, 2);
    let (dns, port) = (resolver(gateway), greeter(Ipv4Addr::LOCALHOST.into()));
    let net = format!("user,net=192.168.77.0/24,mtu=1400,dns=127.0.0.1:{dns},ipv6=off");
    let launch = Launch::riscv64_linux(&cache)
        .with_words("net=dhcp")
        .with_option("--net", net);
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    assert!(
        guest
            .console_text()
            .contains("guest: address 192.168.77.15"),
        "DHCP: {}",
        guest.console_text()
    );
    guest.run_ok("echo nameserver 192.168.77.3 > /etc/resolv.conf", limit(60));
    let said = guest.run_ok("nslookup any.example", limit(60));
    assert!(said.contains("192.168.77.2"), "{said}");
    let said = guest.run_ok(&format!("nc any.example {port} < /dev/null"), limit(60));
    assert_eq!(said, "welcome\n");
    guest.run_ok(
        "printf '#!/bin/sh\nset\n' > /tmp/lease && chmod +x /tmp/lease",
        limit(60),
    );
    let lease = guest.run_ok(
        "udhcpc -i eth0 -f -q -n -O mtu -s /tmp/lease 2>&1 | grep ^mtu=",
        limit(60),
    );
    assert_eq!(lease, "mtu='1400'\n");
    let addresses = guest.run_ok("cat /proc/net/if_inet6", limit(60));
    assert!(!addresses.contains("fec0"), "{addresses}");
}

#[test]
fn ipv6_guest_makes_an_address_and_reaches_the_host_both_ways() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return eprintln!("skipped: this host has no IPv6");
    }
    let port = greeter(Ipv6Addr::LOCALHOST.into());
    let launch = Launch::riscv64_linux(&cache)
        .with_words("net=dhcp")
        .with_option("--net", "user,ipv6=on,mac=52:54:00:00:00:01");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    // DHCP has flushed the card's addresses, those of IPv6 too.
    guest.run_ok("ip link set eth0 down && ip link set eth0 up", limit(60));
    guest.run_ok(
        "i=0; until awk '$1 ~ /^fec0/ && $5 == \"00\" { f = 1 } END { exit !f }' /proc/net/if_inet6; \
         do sleep 1; i=$((i+1)); [ $i -lt 60 ] || break; done",
        limit(90),
    );
    let addresses = guest.run_ok("cat /proc/net/if_inet6", limit(60));
    assert!(
        addresses.contains("fec0000000000000505400fffe000001"),
        "{addresses}"
    );
    guest.run_ok("ping -c 1 fec0::2", limit(60));
    let said = guest.run_ok(&format!("nc fec0::2 {port} < /dev/null"), limit(60));
    assert_eq!(said, "welcome\n");
}

#[test]
fn restricted_guest_reaches_what_is_allowed_and_nothing_else() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let gateway = Ipv4Addr::new(10, 0, 2, 2);
    let host = || greeter(Ipv4Addr::LOCALHOST.into());
    let (dns, named, other) = (resolver(gateway), host(), host());
    let net = format!("user,restrict=on,allow=in.example:{named},dns=127.0.0.1:{dns}");
    let launch = Launch::riscv64_linux(&cache)
        .with_words("net=dhcp")
        .with_option("--net", net);
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("echo nameserver 10.0.2.3 > /etc/resolv.conf", limit(60));
    let mut dial = |target: String| {
        guest
            .run(&format!("nc -w 9 {target} < /dev/null"), limit(60))
            .1
    };
    assert!(
        !dial(format!("10.0.2.2 {named}")).contains("welcome"),
        "before the name was asked for"
    );
    assert!(dial(format!("in.example {named}")).contains("welcome"));
    assert!(
        dial(format!("10.0.2.2 {named}")).contains("welcome"),
        "the address of the name"
    );
    assert!(
        !dial(format!("in.example {other}")).contains("welcome"),
        "another port"
    );
    assert!(
        !dial(format!("out.example {named}")).contains("welcome"),
        "another name"
    );
}

//! The built-in NAT, seen from the guest and from a server and a client on the host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
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

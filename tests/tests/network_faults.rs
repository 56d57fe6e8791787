//! The built-in NAT where the network is bad: frames are lost, one side ends first, a receiver does not read.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use vm_tests::net::{networked, noise, serve, sha256, sha256_of};
use vm_tests::{Guest, Launch, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

/// Memory of the process that is its own, in KiB: the guest's RAM is a memory file and does not count.
fn own_kib(guest: &Guest) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", guest.process_id()));
    let status = status.expect("the process lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok())
        .unwrap_or_else(|| panic!("no RssAnon in {status}"))
}

fn hash(output: &str) -> &str {
    output.split_whitespace().next().unwrap_or_default()
}

#[test]
fn lossy_network_loses_frames_and_no_data() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch::riscv64_linux(&cache)
        .with_words("net=dhcp")
        .with_option("--net", "user,loss=5");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let data = noise(4 << 20);
    let expected = sha256(&data);
    let (port, server) = serve(move |mut connection| {
        connection.write_all(&data).expect("a reader");
        connection.shutdown(Shutdown::Write).expect("connected");
        let mut back = Vec::new();
        connection.read_to_end(&mut back).expect("all of it");
        sha256(&back)
    });
    // It has everything before it sends anything.
    guest.run_ok(
        "printf '#!/bin/sh\\ncat > /tmp/data\\ncat /tmp/data\\n' > /tmp/echo; chmod +x /tmp/echo",
        limit(30),
    );
    guest.run_ok(&format!("nc 10.0.2.2 {port} -e /tmp/echo"), limit(180));
    let down = guest.run_ok("sha256sum < /tmp/data", limit(60));
    assert_eq!(hash(&down), expected);
    assert_eq!(server.join().expect("all of it"), expected);
    let again = guest.run_ok(
        "awk '/^Tcp: [0-9]/ { print $13 }' /proc/net/snmp",
        limit(30),
    );
    let again: u32 = again.trim().parse().expect("a number of segments");
    assert!(again > 0, "the guest had to send nothing again");
}

#[test]
fn half_closed_connection_carries_the_other_direction() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = networked(Launch::riscv64_linux(&cache));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let data = noise(1 << 20);
    let expected = sha256(&data);

    // The guest ends first, and gets everything after its end has been seen.
    let from_host = data.clone();
    let (port, server) = serve(move |mut connection| {
        let mut request = String::new();
        connection.read_to_string(&mut request).expect("an end");
        connection.write_all(&from_host).expect("a reader");
        request
    });
    let got = guest.run_ok(
        &format!("echo please | nc 10.0.2.2 {port} > /tmp/data; sha256sum < /tmp/data"),
        limit(60),
    );
    assert_eq!(hash(&got), expected);
    assert_eq!(server.join().expect("a request"), "please\n");

    // The host ends first, and gets everything after the guest has seen that.
    let (port, server) = serve(|mut connection| {
        connection.write_all(b"please\n").expect("a reader");
        connection.shutdown(Shutdown::Write).expect("connected");
        let mut data = Vec::new();
        connection.read_to_end(&mut data).expect("all of it");
        sha256(&data)
    });
    guest.run_ok(
        "printf '#!/bin/sh\\ncat > /tmp/asked\\ncat /tmp/data\\n' > /tmp/answer; chmod +x /tmp/answer",
        limit(30),
    );
    guest.run_ok(&format!("nc 10.0.2.2 {port} -e /tmp/answer"), limit(60));
    assert_eq!(server.join().expect("all of it"), expected);
    assert_eq!(guest.run_ok("cat /tmp/asked", limit(30)), "please\n");
}

#[test]
fn receiver_that_does_not_read_halts_the_sender_and_loses_nothing() {
    const TOTAL_BYTES: usize = 48 << 20;
    /// Buffers of both kernels and of the NAT together are smaller.
    const MOST_OWN_KIB: u64 = 16 << 10;
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = networked(Launch::riscv64_linux(&cache));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let before_kib = own_kib(&guest);

    // The guest does not read.
    let data = noise(TOTAL_BYTES);
    let expected = sha256(&data);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let (port, server) = serve(move |mut connection| {
        for piece in data.chunks(64 << 10) {
            connection.write_all(piece).expect("a reader");
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    guest.run_ok(
        &format!("mkfifo /tmp/go; nc 10.0.2.2 {port} | (read x < /tmp/go; tee /tmp/data | sha256sum > /tmp/sum) & true"),
        limit(30),
    );
    let mut seen = (0, Instant::now());
    while seen.0 == 0 || seen.1.elapsed() < Duration::from_secs(2) {
        sleep(Duration::from_millis(100));
        let now = sent.load(Ordering::SeqCst);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
    }
    assert!(seen.0 < TOTAL_BYTES, "nothing halted the sender");
    let grown = own_kib(&guest).saturating_sub(before_kib);
    assert!(grown < MOST_OWN_KIB, "{grown} KiB more");
    guest.run_ok("echo go > /tmp/go; wait", limit(120));
    server.join().expect("all was sent");
    assert_eq!(hash(&guest.run_ok("cat /tmp/sum", limit(30))), expected);
    let (go, may_read) = mpsc::channel();
    let (port, server) = serve(move |mut connection| {
        may_read.recv().expect("the test goes on");
        let mut data = Vec::new();
        connection.read_to_end(&mut data).expect("all of it");
        sha256(&data)
    });
    guest.run_ok(
        &format!("(nc 10.0.2.2 {port} < /tmp/data; echo x > /tmp/sent) & true"),
        limit(30),
    );
    sleep(Duration::from_secs(4));
    guest.run_ok("test ! -e /tmp/sent", limit(30));
    let grown = own_kib(&guest).saturating_sub(before_kib);
    assert!(grown < MOST_OWN_KIB, "{grown} KiB more");
    go.send(()).expect("the server waits");
    assert_eq!(server.join().expect("all of it"), expected);
    guest.run_ok("wait; test -e /tmp/sent", limit(60));
}

/// Long: `cargo test --release -p vm-tests --test network_faults gibibyte -- --ignored --nocapture`.
#[test]
#[ignore = "a gibibyte each way"]
fn gibibyte_each_way_arrives_whole() {
    const TIMES: usize = 16;
    const MIB: usize = 1024;
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = networked(Launch::riscv64_linux(&cache));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let data: Arc<[u8]> = noise((MIB << 20) / TIMES).into();
    let expected = sha256_of(std::iter::repeat_n(&*data, TIMES));
    let rate = |what: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        let bytes = (MIB << 20) as f64;
        println!("{what}: {seconds:.1} s, {:.0} MB/s", bytes / 1e6 / seconds);
    };
    let source = |times: usize| {
        let data = data.clone();
        serve(move |mut connection| {
            for _ in 0..times {
                connection.write_all(&data).expect("a reader");
            }
        })
    };
    let sink = || {
        serve(|mut connection| {
            let (mut pieces, mut bytes) = (Vec::new(), vec![0; 1 << 20]);
            while let Ok(count @ 1..) = connection.read(&mut bytes) {
                pieces.push(bytes[..count].to_vec());
            }
            sha256_of(pieces.iter().map(Vec::as_slice))
        })
    };

    let (port, server) = source(1);
    guest.run_ok(&format!("nc 10.0.2.2 {port} > /tmp/data"), limit(120));
    server.join().expect("all was sent");

    let started = Instant::now();
    let (port, server) = source(TIMES);
    guest.run_ok(&format!("nc 10.0.2.2 {port} > /dev/null"), limit(600));
    server.join().expect("all was sent");
    rate("to the guest, thrown away", started);
    let started = Instant::now();
    let (port, server) = source(TIMES);
    let got = guest.run_ok(&format!("nc 10.0.2.2 {port} | sha256sum"), limit(600));
    server.join().expect("all was sent");
    rate("to the guest, hashed there", started);
    assert_eq!(hash(&got), expected);

    let started = Instant::now();
    let (port, server) = sink();
    let files = "/tmp/data ".repeat(TIMES);
    // What nc sends for others it sends by the kilobyte, a segment each, for which the guest takes minutes.
    guest.run_ok(&format!("nc 10.0.2.2 {port} -e cat {files}"), limit(600));
    let got = server.join().expect("all of it");
    rate("from the guest, hashed on the host", started);
    assert_eq!(got, expected);
}

//! What a guest sees of the routers between this host and others. The host, a router and a far host are network namespaces
//! that the test makes; it runs itself once more inside the first.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use smoltcp::wire::{Icmpv4Message, IpProtocol};
use vm_core::Notices;

use super::guest::{GATEWAY, GUEST, Guest, ipv4};
use super::services::{SOON, echo_payload, icmp_of, udp_payload};
use crate::net::nat::NatConfig;

/// Said to the run inside.
const INSIDE: &str = "VM_TEST_INSIDE_NAMESPACE";
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const UNUSED_PORT: u16 = 33_434;

/// Network namespaces, gone with this.
struct Namespaces([String; 3]);

impl Namespaces {
    /// Three in a row: host, router, far host.
    fn make() -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let own = std::process::id();
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let names = ["host", "router", "far"].map(|role| format!("vm-test-{own}-{nth}-{role}"));
        let made = Self(names);
        let [host, router, far] = &made.0;
        for name in &made.0 {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        for (near, near_end, near_address, end, away, address) in [
            (
                host,
                "towards-far",
                "198.51.100.2/24",
                "towards-host",
                router,
                "198.51.100.1/24",
            ),
            (
                router,
                "towards-far",
                "203.0.113.1/24",
                "towards-host",
                far,
                "203.0.113.2/24",
            ),
        ] {
            ip(&format!(
                "-n {near} link add {near_end} type veth peer name {end} netns {away}"
            ))?;
            for (name, end, address) in [(near, near_end, near_address), (away, end, address)] {
                ip(&format!("-n {name} addr add {address} dev {end}"))?;
                ip(&format!("-n {name} link set {end} up"))?;
            }
        }
        ip(&format!("-n {host} route add default via 198.51.100.1"))?;
        ip(&format!("-n {far} route add default via 203.0.113.1"))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        done(
            Command::new("ip")
                .args(["netns", "exec", router, "sh", "-c", forward])
                .output(),
        )?;
        Ok(made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(words: &str) -> Result<(), String> {
    done(Command::new("ip").args(words.split(' ')).output())
}

fn done(output: std::io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| format!("ip cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[test]
fn traceroute_sees_the_routers_behind_the_gateway() {
    inside(&[], trace_the_route);
}

/// Where a network namespace begins, no group may send echo requests: `ping_group_range` is empty.
#[test]
fn ping_that_the_host_forbids_is_told_once_with_the_setting_that_allows_it() {
    let without_raw_sockets = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    inside(&without_raw_sockets, ping_in_vain);
}

/// Runs `test` in the namespace of the host, by the running test once more behind the words of `with`.
fn inside(with: &[&str], test: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let namespaces = match Namespaces::make() {
        Ok(namespaces) => namespaces,
        Err(reason) => return eprintln!("skipped: no network namespaces here: {reason}"),
    };
    let inside = Command::new("ip")
        .args(["netns", "exec", &namespaces.0[0]])
        .args(with)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(std::thread::current().name().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inside.stdout) + String::from_utf8_lossy(&inside.stderr);
    assert!(
        inside.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn trace_the_route() {
    let mut guest = Guest::new(NatConfig::default());
    let datagram = |hops| {
        let payload = udp_payload((GUEST, 3000 + u16::from(hops)), (FAR, UNUSED_PORT), b"hop");
        ipv4((GUEST, FAR), IpProtocol::Udp, hops, (0, false), &payload)
    };
    let echo = |hops| {
        let payload = echo_payload(b"hop");
        ipv4((GUEST, FAR), IpProtocol::Icmp, hops, (0, false), &payload)
    };
    for (hops, from, of_echo, of_datagram) in [
        (
            1,
            GATEWAY,
            Icmpv4Message::TimeExceeded,
            Icmpv4Message::TimeExceeded,
        ),
        (
            2,
            ROUTER,
            Icmpv4Message::TimeExceeded,
            Icmpv4Message::TimeExceeded,
        ),
        (
            3,
            FAR,
            Icmpv4Message::EchoReply,
            Icmpv4Message::DstUnreachable,
        ),
    ] {
        for (frame, kind) in [(echo(hops), of_echo), (datagram(hops), of_datagram)] {
            guest.send_raw(&frame);
            let answer = guest.receive_raw(SOON, icmp_of);
            let answer = answer.map(|(from, kind, _)| (from, kind));
            assert_eq!(answer, Some((from, kind)), "{hops} hops");
        }
    }
}

fn ping_in_vain() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let hear = said.clone();
    let mut guest = Guest::new(NatConfig {
        notices: Notices::to(move |line| hear.lock().push(line.to_owned())),
        ..NatConfig::default()
    });
    let echo = |to| {
        let payload = echo_payload(b"anybody?");
        ipv4((GUEST, to), IpProtocol::Icmp, 64, (0, false), &payload)
    };
    for _ in 0..3 {
        guest.send_raw(&echo(FAR));
    }
    // The gateway answers behind them, by itself.
    guest.send_raw(&echo(GATEWAY));
    let answer = guest.receive_raw(SOON, |frame| {
        icmp_of(frame).filter(|(from, ..)| *from == GATEWAY)
    });
    assert_eq!(answer.map(|it| it.1), Some(Icmpv4Message::EchoReply));
    let said = said.lock();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("sysctl -w net.ipv4.ping_group_range"),
        "{said:?}"
    );
}

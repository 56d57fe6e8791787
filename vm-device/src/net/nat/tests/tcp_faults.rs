//! Connections on a bad cable and with a card that is often full.

use super::guest::{Faults, Guest};
use super::tcp::{expect_pattern, guest_sends, guest_takes, send_pattern, server};
use crate::net::nat::NatConfig;

const TOTAL: u64 = 2 << 20;

fn both_ways(faults: Faults, card_frames: usize) {
    let (port, server) = server(|mut stream| {
        expect_pattern(&mut stream, TOTAL);
        send_pattern(&mut stream, TOTAL);
    });
    let mut guest = Guest::with(NatConfig::default(), card_frames, faults);
    let handle = guest.connect(port, 256 * 1024);
    guest_sends(&mut guest, handle, TOTAL);
    guest.tcp(handle).close();
    guest_takes(&mut guest, handle, TOTAL);
    server.join().unwrap();
}

#[test]
fn tcp_lost_frames_are_repeated() {
    let faults = Faults {
        lose: 20,
        ..Faults::default()
    };
    both_ways(faults, 256);
}

#[test]
fn tcp_doubled_and_swapped_frames_change_nothing() {
    let faults = Faults {
        double: 50,
        swap: 100,
        ..Faults::default()
    };
    both_ways(faults, 256);
}

#[test]
fn tcp_all_faults_together_change_nothing() {
    let faults = Faults {
        lose: 10,
        double: 20,
        swap: 30,
    };
    both_ways(faults, 256);
}

#[test]
fn tcp_tiny_card_delays_but_loses_nothing() {
    both_ways(Faults::default(), 2);
}

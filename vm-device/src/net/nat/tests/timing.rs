//! Single segments against the network without its thread, in a time of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use smoltcp::wire::{IpAddress, IpProtocol, TcpPacket, TcpSeqNumber};

use super::guest::{GATEWAY, GUEST, ipv4, packet_of};
use super::hostile::Bare;

const PORT: u16 = 5000;
const ISN: u32 = u32::MAX - 1;
const MOMENT: Duration = Duration::from_millis(1);

/// A segment as seen on the cable: sequence and acknowledgement numbers, flags, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    seq: u32,
    ack: u32,
    flags: String,
    window: u16,
    data: Vec<u8>,
}

fn seen(frame: &[u8]) -> Option<Seen> {
    let packet = packet_of(frame)?;
    let segment = TcpPacket::new_checked(packet.payload()).ok()?;
    let intact = segment.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into());
    assert!(packet.next_header() == IpProtocol::Tcp && intact);
    let flags = [
        (segment.syn(), 'S'),
        (segment.fin(), 'F'),
        (segment.rst(), 'R'),
        (segment.ack(), 'A'),
    ];
    Some(Seen {
        seq: segment.seq_number().0 as u32,
        ack: segment.ack_number().0 as u32,
        flags: flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, letter)| *letter)
            .collect(),
        window: segment.window_len(),
        data: segment.payload().to_vec(),
    })
}

fn frame(to: u16, from: u16, seq: u32, ack: Option<u32>, flags: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + data.len()];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(from);
    packet.set_dst_port(to);
    packet.set_seq_number(TcpSeqNumber(seq as i32));
    packet.set_ack_number(TcpSeqNumber(ack.unwrap_or(0) as i32));
    packet.set_header_len(20);
    packet.set_syn(flags.contains('S'));
    packet.set_fin(flags.contains('F'));
    packet.set_rst(flags.contains('R'));
    packet.set_ack(ack.is_some());
    packet.set_window_len(10_000);
    packet.payload_mut().copy_from_slice(data);
    packet.fill_checksum(&IpAddress::Ipv4(GUEST), &IpAddress::Ipv4(GATEWAY));
    ipv4((GUEST, GATEWAY), IpProtocol::Tcp, 64, (0, false), &bytes)
}

/// A guest with one connection to a server on loopback.
struct Line {
    bare: Bare,
    listener: TcpListener,
    server: TcpStream,
    port: u16,
    /// Next positions of both directions.
    guest: u32,
    host: u32,
}

impl Line {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut bare = Bare::new();
        bare.frame(&frame(port, PORT, ISN, None, "S", b""), MOMENT);
        let server = listener.accept().unwrap().0;
        let host = settle(&mut bare)[0].seq.wrapping_add(1);
        let mut line = Self {
            bare,
            listener,
            server,
            port,
            guest: ISN.wrapping_add(1),
            host,
        };
        assert_eq!(line.say(0, "", b""), []);
        line
    }

    /// Sends a segment `ahead` of its place; gives what comes back.
    fn say(&mut self, ahead: i32, flags: &str, data: &[u8]) -> Vec<Seen> {
        let seq = self.guest.wrapping_add(ahead as u32);
        let segment = frame(self.port, PORT, seq, Some(self.host), flags, data);
        self.bare.frame(&segment, MOMENT);
        self.seen()
    }

    fn seen(&mut self) -> Vec<Seen> {
        self.bare.idle(MOMENT);
        self.bare
            .frames()
            .iter()
            .filter_map(|frame| seen(frame))
            .collect()
    }
}

/// Runs until something comes back.
fn settle(bare: &mut Bare) -> Vec<Seen> {
    loop {
        bare.idle(MOMENT);
        let seen: Vec<_> = bare
            .frames()
            .iter()
            .filter_map(|frame| seen(frame))
            .collect();
        if !seen.is_empty() {
            return seen;
        }
    }
}

fn flags(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.flags.as_str()).collect()
}

#[test]
fn segment_reset_elsewhere_in_the_window_is_challenged() {
    let mut line = Line::open();
    let answer = line.say(100, "R", b"");
    assert_eq!(flags(&answer), ["A"]);
    assert_eq!((answer[0].seq, answer[0].ack), (line.host, line.guest));
    assert_eq!(line.say(-5, "R", b""), []);
    assert_eq!(line.bare.connections(), 1);
    assert_eq!(line.say(0, "R", b""), []);
    assert_eq!(line.bare.connections(), 0);
    assert!(line.server.read(&mut [0; 1]).is_err());
}

#[test]
fn segment_syn_on_an_open_connection_is_challenged() {
    let mut line = Line::open();
    let seq = line.guest.wrapping_add(9999);
    line.bare
        .frame(&frame(line.port, PORT, seq, None, "S", b""), MOMENT);
    assert_eq!(flags(&line.seen()), ["A"]);
    assert_eq!(line.bare.connections(), 1);
}

#[test]
fn segment_of_no_connection_is_reset() {
    let mut line = Line::open();
    line.bare
        .frame(&frame(line.port, 77, 5, Some(42), "", b"x"), MOMENT);
    let answer = line.seen();
    assert_eq!((flags(&answer), answer[0].seq), (vec!["R"], 42));
    line.bare
        .frame(&frame(line.port, 77, 5, None, "F", b"xyz"), MOMENT);
    let answer = line.seen();
    assert_eq!((flags(&answer), answer[0].ack), (vec!["RA"], 9));
    line.bare
        .frame(&frame(line.port, 77, 5, Some(42), "R", b""), MOMENT);
    assert_eq!(line.seen(), []);
}

#[test]
fn segment_keep_alive_is_answered() {
    let mut line = Line::open();
    for data in [&b""[..], b"x"] {
        let answer = line.say(-1, "", data);
        assert_eq!((flags(&answer), answer[0].ack), (vec!["A"], line.guest));
    }
}

#[test]
fn segment_ahead_of_a_gap_is_acknowledged_each_time() {
    let mut line = Line::open();
    for _ in 0..3 {
        let answer = line.say(3, "", b"def");
        assert_eq!((flags(&answer), answer[0].ack), (vec!["A"], line.guest));
    }
    let answer = line.say(0, "", b"abc");
    assert_eq!(
        (flags(&answer), answer[0].ack),
        (vec!["A"], line.guest.wrapping_add(6))
    );
    let mut data = [0; 6];
    line.server.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"abcdef");
}

#[test]
fn syn_answer_is_repeated_until_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bare = Bare::new();
    bare.frame(&frame(port, PORT, ISN, None, "S", b""), MOMENT);
    assert_eq!(flags(&settle(&mut bare)), ["SA"]);
    // The guest's own repetition is answered at once.
    bare.frame(&frame(port, PORT, ISN, None, "S", b""), MOMENT);
    assert_eq!(flags(&settle(&mut bare)), ["SA"]);
    let mut answers = Vec::new();
    for _ in 0..300 {
        bare.idle(Duration::from_secs(1));
        answers.extend(bare.frames().iter().filter_map(|frame| seen(frame)));
    }
    assert_eq!(flags(&answers), ["SA", "SA", "SA", "SA", "SA", "SA", "RA"]);
    assert_eq!(bare.connections(), 0);
}

#[test]
fn data_to_a_vanished_guest_is_given_up_and_the_host_is_told() {
    let mut line = Line::open();
    line.server.write_all(b"anyone?").unwrap();
    let first = settle(&mut line.bare);
    assert_eq!(first[0].data, b"anyone?");
    let mut copies = 0;
    for _ in 0..1000 {
        line.bare.idle(Duration::from_secs(1));
        let frames = line.bare.frames();
        copies += frames
            .iter()
            .filter_map(|frame| seen(frame))
            .filter(|seen| !seen.data.is_empty())
            .count();
    }
    assert!((5..20).contains(&copies), "{copies}");
    assert_eq!(line.bare.connections(), 0);
    assert!(line.server.read(&mut [0; 1]).is_err());
}

#[test]
fn time_wait_answers_late_copies_ends_and_can_be_reused() {
    let mut line = Line::open();
    line.server.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(flags(&settle(&mut line.bare)), ["FA"]);
    line.host = line.host.wrapping_add(1);
    assert_eq!(flags(&line.say(0, "F", b"")), ["A"]);
    assert_eq!(line.bare.connections(), 1);
    assert_eq!(line.server.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(flags(&line.say(0, "F", b"")), ["A"]);
    // A new SYN behind the old numbers opens the next connection.
    let seq = line.guest.wrapping_add(1000);
    line.bare
        .frame(&frame(line.port, PORT, seq, None, "S", b""), MOMENT);
    assert_eq!(flags(&settle(&mut line.bare)), ["SA"]);
    line.listener.accept().unwrap();
}

#[test]
fn time_wait_ends_by_itself() {
    let mut line = Line::open();
    line.server.shutdown(std::net::Shutdown::Write).unwrap();
    settle(&mut line.bare);
    line.host = line.host.wrapping_add(1);
    line.say(0, "F", b"");
    line.bare.idle(Duration::from_secs(4));
    assert_eq!(line.bare.connections(), 1);
    line.bare.idle(Duration::from_secs(2));
    assert_eq!(line.bare.connections(), 0);
}

#[test]
fn syn_flood_keeps_a_bounded_number_of_connections() {
    let mut line = Line::open();
    for port in 10_000..10_700 {
        line.bare
            .frame(&frame(line.port, port, 7, None, "S", b""), MOMENT);
        line.bare.frames();
        assert!(line.bare.connections() <= 512 - 512 / 8);
    }
    // The one that stands goes on, although the others were used later.
    assert_eq!(flags(&line.say(0, "", b"x")), ["A"]);
}

#[test]
fn data_held_back_by_a_full_card_goes_on_when_there_is_room() {
    let mut line = Line::open();
    let keep_alive = line.guest.wrapping_sub(1);
    for _ in 0..60 {
        let probe = frame(line.port, PORT, keep_alive, Some(line.host), "", b"");
        line.bare.frame(&probe, MOMENT);
    }
    // Ten segments of up to 536 bytes may leave, and the card has room for four.
    line.server.write_all(&[7; 5000]).unwrap();
    let mut bytes = 0;
    for _ in 0..20 {
        line.bare.idle(MOMENT);
    }
    for _ in 0..2 {
        let seen: Vec<_> = line
            .bare
            .frames()
            .iter()
            .filter_map(|frame| seen(frame))
            .collect();
        bytes += seen.iter().map(|seen| seen.data.len()).sum::<usize>();
        if bytes == 4 * 536 {
            // No word of the guest, no timer: room is enough.
            line.bare.idle(MOMENT);
            line.bare.idle(MOMENT);
        }
    }
    assert_eq!(bytes, 5000);
}

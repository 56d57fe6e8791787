//! The name server (RFC 1035): passes questions on to the host's resolvers; where those do not help, the host's own
//! look-up answers for addresses, and everything else fails with SERVFAIL rather than silence.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use smoltcp::wire::{DnsPacket, DnsQueryType, DnsQuestion};

use super::cable::Cable;
use super::poll_set::{PollSet, Token};
use super::udp;
use super::wake::Waker;

pub(super) const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What the C library asks at most.
const RESOLVERS_MAX: usize = 3;
const QUERIES_MAX: usize = 128;
const LOOKUPS_MAX: usize = 8;
/// Patience with each resolver, and with the host's own look-up.
const RESOLVER_WAIT: Duration = Duration::from_millis(1500);
const LOOKUP_WAIT: Duration = Duration::from_secs(5);
/// How often `/etc/resolv.conf` is looked at again.
const REREAD: Duration = Duration::from_secs(2);

const HEADER_BYTES: usize = 12;
/// A message without EDNS over UDP (RFC 1035, 2.3.4).
const UDP_BYTES: usize = 512;
const ANSWER_TTL_SECONDS: u32 = 60;

/// Response codes (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    ServerFailure = 2,
    Refused = 5,
}

/// The host's resolvers, read again when the file changes.
pub(super) struct Resolvers {
    fixed: bool,
    list: Vec<SocketAddr>,
    modified: Option<SystemTime>,
    looked: Option<Instant>,
}

impl Resolvers {
    pub(super) fn new(fixed: Option<Vec<SocketAddr>>) -> Self {
        Self {
            fixed: fixed.is_some(),
            list: fixed.unwrap_or_default(),
            modified: None,
            looked: None,
        }
    }

    pub(super) fn get(&mut self, now: Instant) -> &[SocketAddr] {
        let fresh = self
            .looked
            .is_some_and(|looked| now.saturating_duration_since(looked) < REREAD);
        if !self.fixed && !fresh {
            self.looked = Some(now);
            let modified = fs::metadata(RESOLV_CONF)
                .and_then(|data| data.modified())
                .ok();
            if modified.is_none() || modified != self.modified {
                self.modified = modified;
                self.list = parse_resolv_conf(&fs::read_to_string(RESOLV_CONF).unwrap_or_default());
            }
        }
        &self.list
    }
}

/// The `nameserver` lines of resolv.conf(5). Addresses with a scope (link-local) are left out.
fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, PORT))
    };
    text.lines()
        .filter_map(server)
        .take(RESOLVERS_MAX)
        .collect()
}

struct Query {
    guest: SocketAddrV4,
    message: Vec<u8>,
    /// To the resolver being asked; `None` while the host's own look-up runs.
    socket: Option<UdpSocket>,
    /// Resolvers asked so far.
    asked: usize,
    deadline: Instant,
}

pub(super) struct Dns {
    address: Ipv4Addr,
    refuse: bool,
    pub(super) resolvers: Resolvers,
    queries: HashMap<u32, Query>,
    next: u32,
    /// Look-ups by the host that have not ended.
    lookups: Arc<AtomicUsize>,
    finished: mpsc::Sender<(u32, Vec<u8>)>,
    answers: mpsc::Receiver<(u32, Vec<u8>)>,
    waker: Waker,
    buffer: Vec<u8>,
}

impl Dns {
    /// A server with this address; `refuse`: it answers nothing but "no".
    pub(super) fn new(address: Ipv4Addr, refuse: bool, resolvers: Resolvers, waker: Waker) -> Self {
        let (finished, answers) = mpsc::channel();
        Self {
            address,
            refuse,
            resolvers,
            queries: HashMap::new(),
            next: 0,
            lookups: Arc::default(),
            finished,
            answers,
            waker,
            buffer: vec![0; 65_536],
        }
    }

    fn reply(&self, cable: &mut Cable, guest: SocketAddrV4, message: &[u8]) {
        udp::send(cable, SocketAddrV4::new(self.address, PORT), guest, message);
    }

    /// Takes a message for the server's port.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        guest: SocketAddrV4,
        message: &[u8],
        now: Instant,
    ) {
        if !is_question(message) {
            return;
        }
        if self.refuse {
            return self.reply(
                cable,
                guest,
                &answer(message, Rcode::Refused, &[], UDP_BYTES),
            );
        }
        // A repeated question is already being dealt with.
        let same = |query: &Query| query.guest == guest && query.message[..2] == message[..2];
        if self.queries.values().any(same) {
            return;
        }
        if self.queries.len() >= QUERIES_MAX {
            return self.reply(
                cable,
                guest,
                &answer(message, Rcode::ServerFailure, &[], UDP_BYTES),
            );
        }
        let token = self.next;
        self.next = self.next.wrapping_add(1);
        let query = Query {
            guest,
            message: message.to_vec(),
            socket: None,
            asked: 0,
            deadline: now,
        };
        self.ask_next(cable, token, query, now);
    }

    /// Asks the next resolver, or the host itself behind the last one.
    fn ask_next(&mut self, cable: &mut Cable, token: u32, mut query: Query, now: Instant) {
        while let Some(resolver) = self.resolvers.get(now).get(query.asked).copied() {
            query.asked += 1;
            if let Ok(socket) = ask(resolver, &query.message) {
                query.socket = Some(socket);
                query.deadline = now + RESOLVER_WAIT;
                self.queries.insert(token, query);
                return;
            }
        }
        query.socket = None;
        if self.lookups.load(Ordering::Relaxed) < LOOKUPS_MAX && self.look_up(token, &query.message)
        {
            query.deadline = now + LOOKUP_WAIT;
            self.queries.insert(token, query);
        } else {
            let failure = answer(&query.message, Rcode::ServerFailure, &[], UDP_BYTES);
            self.reply(cable, query.guest, &failure);
        }
    }

    /// The host's look-up blocks, so it has a thread, which nobody waits for; late results are dropped.
    fn look_up(&self, token: u32, message: &[u8]) -> bool {
        let (message, sender, waker) =
            (message.to_vec(), self.finished.clone(), self.waker.clone());
        let running = Arc::clone(&self.lookups);
        running.fetch_add(1, Ordering::Relaxed);
        let spawned = std::thread::Builder::new()
            .name("nat-lookup".into())
            .spawn(move || {
                let result = look_up(&message, UDP_BYTES);
                running.fetch_sub(1, Ordering::Relaxed);
                // The network may be gone by now.
                let _ = sender.send((token, result));
                waker.wake();
            });
        if spawned.is_err() {
            self.lookups.fetch_sub(1, Ordering::Relaxed);
        }
        spawned.is_ok()
    }

    pub(super) fn watch<'a>(&'a self, set: &mut PollSet<'a>) {
        for (token, query) in &self.queries {
            if let Some(socket) = &query.socket {
                set.read(Token::Dns(*token), socket);
            }
            set.at(query.deadline);
        }
    }

    /// A resolver has answered, or cannot be reached.
    pub(super) fn ready(&mut self, cable: &mut Cable, token: u32, now: Instant) {
        let Some(query) = self.queries.get(&token) else {
            return;
        };
        let Some(socket) = &query.socket else {
            return;
        };
        match socket.recv(&mut self.buffer) {
            Ok(bytes) if is_answer_to(&self.buffer[..bytes], &query.message) => {
                let guest = query.guest;
                self.reply(cable, guest, &self.buffer[..bytes]);
                self.queries.remove(&token);
            }
            // Something else (a late or forged message): wait on.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => {
                if let Some(query) = self.queries.remove(&token) {
                    self.ask_next(cable, token, query, now);
                }
            }
        }
    }

    /// Delivers finished look-ups and gives up on what takes too long.
    pub(super) fn run(&mut self, cable: &mut Cable, now: Instant) {
        while let Ok((token, message)) = self.answers.try_recv() {
            if let Some(query) = self.queries.remove(&token) {
                self.reply(cable, query.guest, &message);
            }
        }
        let due = |query: &Query| query.deadline <= now;
        let late: Vec<u32> = self
            .queries
            .iter()
            .filter(|(_, query)| due(query))
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            let Some(query) = self.queries.remove(&token) else {
                continue;
            };
            if query.socket.is_some() {
                self.ask_next(cable, token, query, now);
            } else {
                let failure = answer(&query.message, Rcode::ServerFailure, &[], UDP_BYTES);
                self.reply(cable, query.guest, &failure);
            }
        }
    }
}

fn ask(resolver: SocketAddr, message: &[u8]) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket for each question: its port is as hard to guess as the host can make it.
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(resolver)?;
    socket.send(message)?;
    Ok(socket)
}

fn is_question(message: &[u8]) -> bool {
    message.len() >= HEADER_BYTES && message[2] & 0x80 == 0
}

fn is_answer_to(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= HEADER_BYTES && answer[2] & 0x80 != 0 && answer[..2] == question[..2]
}

/// The first question of a message: its bytes, its name in dots, its type.
fn question(message: &[u8]) -> Option<(&[u8], String, DnsQueryType)> {
    let packet = DnsPacket::new_checked(message).ok()?;
    let body = message.get(HEADER_BYTES..)?;
    let (rest, question) = DnsQuestion::parse(body).ok()?;
    let mut name = String::new();
    for label in packet.parse_name(question.name) {
        let label = std::str::from_utf8(label.ok()?).ok()?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(label);
        if name.len() > 255 {
            return None;
        }
    }
    Some((&body[..body.len() - rest.len()], name, question.type_))
}

/// Builds the response to `message`: its question and `addresses`, as many as fit into `bytes_max`.
fn answer(message: &[u8], rcode: Rcode, addresses: &[IpAddr], bytes_max: usize) -> Vec<u8> {
    let asked = question(message).map_or(&[][..], |(bytes, _, _)| bytes);
    let mut reply = message[..2].to_vec();
    let recursion_desired = message[2] & 1;
    let opcode = message[2] & 0x78;
    // QR, opcode, RD; RA and the code (RFC 1035, 4.1.1).
    reply.extend([0x80 | opcode | recursion_desired, 0x80 | rcode as u8]);
    reply.extend([0, u8::from(!asked.is_empty()), 0, 0, 0, 0, 0, 0]);
    reply.extend(asked);
    let mut count = 0u8;
    for address in addresses {
        let (kind, data) = match address {
            IpAddr::V4(address) => (1u16, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        if reply.len() + 12 + data.len() > bytes_max || count == u8::MAX {
            break;
        }
        count += 1;
        // The name is a pointer to the question's (RFC 1035, 4.1.4).
        reply.extend([0xc0, HEADER_BYTES as u8]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(ANSWER_TTL_SECONDS.to_be_bytes());
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    reply[7] = count;
    reply
}

/// Answers a question by the host's own look-up. Blocks.
pub(super) fn look_up(message: &[u8], bytes_max: usize) -> Vec<u8> {
    let found = match question(message) {
        Some((_, name, kind @ (DnsQueryType::A | DnsQueryType::Aaaa))) if !name.is_empty() => {
            let wants_v4 = kind == DnsQueryType::A;
            (name.as_str(), 0).to_socket_addrs().ok().map(|found| {
                let addresses = found.map(|address| address.ip());
                addresses
                    .filter(|address| address.is_ipv4() == wants_v4)
                    .collect::<Vec<_>>()
            })
        }
        _ => None,
    };
    match found {
        Some(addresses) => answer(message, Rcode::NoError, &addresses, bytes_max),
        None => answer(message, Rcode::ServerFailure, &[], bytes_max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn resolv_conf_lists_servers_of_both_families() {
        let text = "# x\nnameserver 192.0.2.1\n search a b\nnameserver fe80::1%eth0\n\tnameserver ::1 \noptions nameserver 1.2.3.4\n";
        let expected = vec!["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(parse_resolv_conf(text), expected);
    }

    #[test]
    fn answer_has_question_and_addresses() {
        let reply = answer(
            &message("a.example", 1),
            Rcode::NoError,
            &["192.0.2.9".parse().unwrap()],
            512,
        );
        let packet = DnsPacket::new_checked(&reply[..]).unwrap();
        assert_eq!(packet.transaction_id(), 0x1234);
        assert_eq!(
            (packet.question_count(), packet.answer_record_count()),
            (1, 1)
        );
        assert_eq!(&reply[2..4], &[0x81, 0x80]);
        assert!(reply.ends_with(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]));
    }

    #[test]
    fn answer_too_many_addresses_stays_within_the_limit() {
        let addresses = vec!["192.0.2.9".parse().unwrap(); 400];
        let reply = answer(&message("a", 1), Rcode::NoError, &addresses, UDP_BYTES);
        assert!(reply.len() <= UDP_BYTES);
        assert_eq!(
            usize::from(reply[7]),
            (UDP_BYTES - message("a", 1).len()) / 16
        );
    }

    #[test]
    fn look_up_localhost_gives_loopback_and_other_types_fail() {
        assert!(look_up(&message("localhost", 1), 512).ends_with(&[127, 0, 0, 1]));
        let failed = look_up(&message("localhost", 15), 512);
        assert_eq!(failed[3] & 0xf, Rcode::ServerFailure as u8);
    }

    proptest! {
        #[test]
        fn answer_any_message_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES..80),
        ) {
            let reply = answer(&bytes, Rcode::ServerFailure, &[], UDP_BYTES);
            prop_assert!(is_answer_to(&reply, &bytes));
        }
    }
}

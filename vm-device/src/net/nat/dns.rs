//! The name server (RFC 1035): passes questions on to the host's resolvers; where those do not help, the host's own
//! look-up answers for addresses, and everything else fails with SERVFAIL rather than silence.
//!
//! A guest that may not reach everything is told of nothing but the names that it may reach, and nothing but the
//! question itself leaves for them.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use vm_osal::net::{Family, Waker};

use super::allow::AllowList;
use super::cable::Cable;
use super::dns_message::{
    Rcode, UDP_BYTES, addresses, answer, bare_question, is_answer_to, is_failure, is_question,
    look_up, question,
};
use super::token::{Token, Waits};
use super::udp;

pub(super) const PORT: u16 = 53;
const QUERIES_MAX: usize = 128;
const LOOKUPS_MAX: usize = 8;
/// Patience with each resolver, and with the host's own look-up.
const RESOLVER_WAIT: Duration = Duration::from_millis(1500);
const LOOKUP_WAIT: Duration = Duration::from_secs(5);
/// How often the host is asked again for its resolvers.
const REREAD: Duration = Duration::from_secs(2);

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
            if let Some(list) = vm_osal::net::resolvers(&mut self.modified) {
                self.list = list;
            }
        }
        &self.list
    }

    /// Whether the host's own look-up may answer in the end: not when somebody else was named.
    pub(super) fn own_look_up(&self) -> bool {
        !self.fixed || self.list.is_empty()
    }
}

/// A question under way.
struct Query {
    guest: SocketAddr,
    /// The server's address that was asked.
    server: SocketAddr,
    message: Vec<u8>,
    /// To the resolver being asked; `None` while the host's own look-up runs.
    socket: Option<UdpSocket>,
    /// Resolvers asked so far.
    asked: usize,
    /// The answer of a resolver that could not tell, for the case that no other one can.
    failure: Option<Vec<u8>>,
    deadline: Instant,
}

pub(super) struct Dns {
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
    pub(super) fn new(resolvers: Resolvers, waker: Waker) -> Self {
        let (finished, answers) = mpsc::channel();
        Self {
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

    /// Takes a message from the guest's port to the server's.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        access: &AllowList,
        (guest, server): (SocketAddr, SocketAddr),
        message: &[u8],
        now: Instant,
    ) {
        if !is_question(message) {
            return;
        }
        let refuse = |cable: &mut Cable, code| {
            udp::send(cable, server, guest, &answer(message, code, &[], UDP_BYTES));
        };
        let message = match access.is_restricted() {
            false => message.to_vec(),
            true => match question(message).is_some_and(|asked| access.permits_name(&asked.name)) {
                true => bare_question(message).unwrap_or_default(),
                false => return refuse(cable, Rcode::Refused),
            },
        };
        // A repeated question is already being dealt with.
        let same = |query: &Query| query.guest == guest && query.message[..2] == message[..2];
        if self.queries.values().any(same) {
            return;
        }
        if self.queries.len() >= QUERIES_MAX {
            return refuse(cable, Rcode::ServerFailure);
        }
        let token = self.next;
        self.next = self.next.wrapping_add(1);
        let query = Query {
            guest,
            server,
            message,
            socket: None,
            asked: 0,
            failure: None,
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
        let own = query.failure.is_none() && self.resolvers.own_look_up();
        if own
            && self.lookups.load(Ordering::Relaxed) < LOOKUPS_MAX
            && self.look_up(token, &query.message)
        {
            query.deadline = now + LOOKUP_WAIT;
            self.queries.insert(token, query);
        } else {
            give_up(cable, query);
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

    pub(super) fn watch<'a>(&'a self, set: &mut Waits<'a>) {
        for (token, query) in &self.queries {
            if let Some(socket) = &query.socket {
                set.read(Token::Dns(*token), socket);
            }
            set.at(query.deadline);
        }
    }

    /// A resolver has answered, or cannot be reached.
    pub(super) fn ready(
        &mut self,
        cable: &mut Cable,
        access: &mut AllowList,
        token: u32,
        now: Instant,
    ) {
        let Some(query) = self.queries.get(&token) else {
            return;
        };
        let Some(socket) = &query.socket else {
            return;
        };
        let failure = match socket.recv(&mut self.buffer) {
            Ok(bytes) if is_answer_to(&self.buffer[..bytes], &query.message) => {
                let message = &self.buffer[..bytes];
                if !is_failure(message) {
                    deliver(cable, access, query, message);
                    self.queries.remove(&token);
                    return;
                }
                Some(message.to_vec())
            }
            // Something else (a late or forged message): wait on.
            Ok(_) => return,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => None,
        };
        if let Some(mut query) = self.queries.remove(&token) {
            query.failure = query.failure.or(failure);
            self.ask_next(cable, token, query, now);
        }
    }

    /// Delivers finished look-ups and gives up on what takes too long.
    pub(super) fn run(&mut self, cable: &mut Cable, access: &mut AllowList, now: Instant) {
        while let Ok((token, message)) = self.answers.try_recv() {
            if let Some(query) = self.queries.remove(&token) {
                deliver(cable, access, &query, &message);
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
            match self.queries.remove(&token) {
                Some(query) if query.socket.is_some() => self.ask_next(cable, token, query, now),
                Some(query) => give_up(cable, query),
                None => {}
            }
        }
    }
}

/// Tells the guest the answer, and notes what it may reach from now on.
fn deliver(cable: &mut Cable, access: &mut AllowList, query: &Query, message: &[u8]) {
    if access.is_restricted()
        && let Some(asked) = question(&query.message)
    {
        access.pin(&asked.name, addresses(message).into_iter());
    }
    udp::send(cable, query.server, query.guest, message);
}

/// Tells the guest that there is no answer, in a resolver's words if there are any.
fn give_up(cable: &mut Cable, query: Query) {
    let failure = query
        .failure
        .unwrap_or_else(|| answer(&query.message, Rcode::ServerFailure, &[], UDP_BYTES));
    udp::send(cable, query.server, query.guest, &failure);
}

fn ask(resolver: SocketAddr, message: &[u8]) -> std::io::Result<UdpSocket> {
    // A socket for each question: its port is as hard to guess as the host can make it.
    let socket = UdpSocket::bind((Family::of(resolver.ip()).unspecified(), 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(resolver)?;
    socket.send(message)?;
    Ok(socket)
}

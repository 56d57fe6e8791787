//! TCP (RFC 9293): our own end towards the guest, a host socket for each connection on the other side.

mod gaps;
mod host;
mod recv;
mod ring;
mod rto;
mod segment;
mod send;
mod seq;
mod state;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use vm_osal::net::{Cause, Readiness, Stream, is_out_of_sockets};

pub(super) use self::segment::FlowKey;
use self::segment::Segment;
use self::seq::Seq;
use self::state::{Fate, Flow, Phase};
use super::cable::Cable;
use super::icmp;
use super::limits::{Limits, Shortages};
use super::token::{Token, Waits};

/// Buffers of all connections together beyond which none is enlarged.
const BUFFER_BYTES_SOFT_MAX: usize = 64 * 1024 * 1024;

/// Where a connection of the guest leads.
pub(super) enum Target {
    /// A socket address of the host's side.
    Address(SocketAddr),
    /// A service of our own, through this socket.
    Stream(Stream),
    /// Nowhere.
    Refused,
}

pub(super) struct Tcp {
    flows: HashMap<FlowKey, Flow>,
    limits: Limits,
    /// Flows to be pumped at the end of the round.
    dirty: Vec<FlowKey>,
    /// Whether buffers may be enlarged.
    may_grow: bool,
    started: Instant,
    secret: RandomState,
}

impl Tcp {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            flows: HashMap::new(),
            limits,
            dirty: Vec::new(),
            may_grow: true,
            started: now,
            secret: RandomState::new(),
        }
    }

    /// Connections that are held.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// First sequence number of a connection (RFC 6528).
    fn isn(&self, key: FlowKey, now: Instant) -> Seq {
        let clock = now.saturating_duration_since(self.started).as_micros() / 4;
        Seq((self.secret.hash_one(key) as u32).wrapping_add(clock as u32))
    }

    /// Takes a segment of the guest, `target` tells where a new connection leads.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        shortages: &mut Shortages,
        (from, to): (IpAddr, IpAddr),
        bytes: &[u8],
        now: Instant,
        target: impl FnOnce(SocketAddr) -> Target,
    ) {
        let Some((key, segment)) = Segment::parse(from, to, bytes) else {
            return;
        };
        if self
            .flows
            .get(&key)
            .is_some_and(|flow| flow.gives_way_to(&segment))
        {
            self.flows.remove(&key);
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            let fate = flow.segment(cable, &segment, now);
            self.settle(key, fate);
        } else if segment.syn && segment.ack.is_none() && !segment.rst {
            let target = target(key.remote);
            self.begin(cable, shortages, key, &segment, target, now);
        } else {
            segment::refuse(cable, key, &segment);
        }
    }

    /// Begins a connection of the guest. When there are too many its SYN is lost, so that it asks again.
    fn begin(
        &mut self,
        cable: &mut Cable,
        shortages: &mut Shortages,
        key: FlowKey,
        syn: &Segment<'_>,
        target: Target,
        now: Instant,
    ) {
        let address = match target {
            Target::Address(address) => address,
            Target::Stream(stream) => return self.accept_guest(cable, key, stream, syn, now),
            Target::Refused => return segment::refuse(cable, key, syn),
        };
        if self.flows.len() >= self.limits.tcp_of_guest() && !self.make_room(cable, now) {
            return shortages.connections(self.flows.len());
        }
        let mut host = Stream::connect(address);
        if host.as_ref().is_err_and(is_out_of_sockets) {
            if !self.make_room(cable, now) {
                return shortages.connections(self.flows.len());
            }
            host = Stream::connect(address);
        }
        match host {
            Ok(host) => self.accept_guest(cable, key, host, syn, now),
            Err(error) if is_out_of_sockets(&error) => shortages.connections(self.flows.len()),
            Err(error) => match Cause::try_from(&error) {
                Ok(cause) => {
                    let quote = segment::quote(key, syn.seq);
                    icmp::report(cable, key.remote.ip(), cause, &quote);
                }
                Err(()) => segment::refuse(cable, key, syn),
            },
        }
    }

    fn accept_guest(
        &mut self,
        cable: &Cable,
        key: FlowKey,
        host: Stream,
        syn: &Segment<'_>,
        now: Instant,
    ) {
        let isn = self.isn(key, now);
        let mss = segment::mss(cable, key.guest.ip());
        let flow = Flow::from_guest(key, host, isn, mss, syn, now);
        self.flows.insert(key, flow);
    }

    /// Opens a connection to the guest for a client of a forwarded port; `seen` is the client as the guest sees it.
    /// When there are too many, the client's connection is reset.
    pub(super) fn open(
        &mut self,
        cable: &mut Cable,
        shortages: &mut Shortages,
        client: TcpStream,
        (seen, guest): (SocketAddr, SocketAddr),
        now: Instant,
    ) {
        let Ok(client) = Stream::try_from(client) else {
            return;
        };
        if self.flows.len() >= self.limits.tcp && !self.make_room(cable, now) {
            shortages.connections(self.flows.len());
            return client.abort();
        }
        let mut key = FlowKey {
            guest,
            remote: seen,
        };
        // The client's port may be taken by a connection that the guest made to the same port of the host.
        while self.flows.contains_key(&key) {
            let port = key.remote.port().checked_add(1).unwrap_or(1024);
            key.remote.set_port(port);
        }
        let isn = self.isn(key, now);
        let mss = segment::mss(cable, key.guest.ip());
        let mut flow = Flow::from_host(key, client, isn, mss, now);
        flow.send_syn(cable, now);
        self.flows.insert(key, flow);
    }

    /// Ends the connection that can best be done without. False when all of them are in use.
    pub(super) fn make_room(&mut self, cable: &mut Cable, now: Instant) -> bool {
        let worth = |(key, flow): (&FlowKey, &Flow)| Some((flow.expendable(now)?, flow.used, *key));
        let victim = self
            .flows
            .iter()
            .filter_map(worth)
            .min_by_key(|(worth, used, _)| (*worth, *used));
        let Some(mut flow) = victim.and_then(|(_, _, key)| self.flows.remove(&key)) else {
            return false;
        };
        flow.abort(cable);
        true
    }

    fn settle(&mut self, key: FlowKey, fate: Fate) {
        match fate {
            Fate::Dies => {
                self.flows.remove(&key);
            }
            Fate::Lives => {
                if let Some(flow) = self.flows.get_mut(&key)
                    && !std::mem::replace(&mut flow.dirty, true)
                {
                    self.dirty.push(key);
                }
            }
        }
    }

    pub(super) fn watch<'a>(&'a self, set: &mut Waits<'a>, card_ready: bool) {
        for (key, flow) in &self.flows {
            if let Some((host, interest)) = flow.interest(card_ready) {
                set.add(Token::Tcp(*key), host, interest);
            }
            if let Some(deadline) = flow.deadline() {
                set.at(deadline);
            }
        }
    }

    /// The host's socket of a flow is ready.
    pub(super) fn ready(
        &mut self,
        cable: &mut Cable,
        key: FlowKey,
        ready: Readiness,
        now: Instant,
    ) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        if flow.phase() != Phase::Connecting {
            let fate = flow.host_ready(cable, ready, self.may_grow);
            return self.settle(key, fate);
        }
        match flow.connect_outcome() {
            Ok(()) => flow.connected(cable, now),
            Err(error) => {
                if let Some(flow) = self.flows.remove(&key) {
                    flow.connect_failed(cable, Cause::try_from(&error).ok());
                }
            }
        }
    }

    /// A guest address can be reached now: repeat what waited for it.
    pub(super) fn neighbour_found(&mut self, cable: &mut Cable, guest: IpAddr, now: Instant) {
        for (key, flow) in &mut self.flows {
            if key.guest.ip() == guest && flow.phase() == Phase::SynSent {
                flow.send_syn(cable, now);
            }
        }
    }

    /// The card has room again.
    pub(super) fn resume(&mut self) {
        let keys: Vec<_> = self.flows.keys().copied().collect();
        for key in keys {
            self.settle(key, Fate::Lives);
        }
    }

    /// Lets expired timers act and moves what can be moved; the end of a round.
    pub(super) fn run(&mut self, cable: &mut Cable, now: Instant) {
        let due = |flow: &Flow| flow.deadline().is_some_and(|deadline| deadline <= now);
        let expired: Vec<_> = self
            .flows
            .iter()
            .filter(|(_, flow)| due(flow))
            .map(|(key, _)| *key)
            .collect();
        for key in expired {
            if let Some(flow) = self.flows.get_mut(&key) {
                let fate = flow.timeout(cable, now);
                self.settle(key, fate);
            }
        }
        for key in std::mem::take(&mut self.dirty) {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.dirty = false;
                let fate = flow.pump(cable, now, self.may_grow);
                if fate == Fate::Dies {
                    self.flows.remove(&key);
                }
            }
        }
        let buffered: usize = self.flows.values().map(Flow::memory).sum();
        self.may_grow = buffered < BUFFER_BYTES_SOFT_MAX;
    }
}

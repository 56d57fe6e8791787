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
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;

use self::host::HostStream;
pub(super) use self::segment::FlowKey;
use self::segment::Segment;
use self::seq::Seq;
use self::state::{Fate, Flow, Phase};
use super::cable::Cable;
use super::icmp::{self, Trouble};
use super::poll_set::{PollSet, Token};

/// Connections at a time; the one unused for longest gives way to a new one.
const FLOWS_MAX: usize = 512;
/// Buffers of all connections together beyond which none is enlarged.
const BUFFER_BYTES_SOFT_MAX: usize = 64 * 1024 * 1024;

/// Where a connection of the guest leads.
pub(super) enum Target {
    /// A socket address of the host's side.
    Address(SocketAddrV4),
    /// A service of our own, through this socket.
    Stream(OwnedFd),
    /// Nowhere.
    Refused,
}

pub(super) struct Tcp {
    flows: HashMap<FlowKey, Flow>,
    /// Flows to be pumped at the end of the round.
    dirty: Vec<FlowKey>,
    /// Whether buffers may be enlarged.
    may_grow: bool,
    started: Instant,
    secret: RandomState,
}

impl Tcp {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            flows: HashMap::new(),
            dirty: Vec::new(),
            may_grow: true,
            started: now,
            secret: RandomState::new(),
        }
    }

    #[cfg(test)]
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
        (from, to): (Ipv4Addr, Ipv4Addr),
        bytes: &[u8],
        now: Instant,
        target: impl FnOnce(SocketAddrV4) -> Target,
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
            let host = match target(key.remote) {
                Target::Address(address) => HostStream::connect(address),
                Target::Stream(fd) => Ok(HostStream::from(fd)),
                Target::Refused => Err(Errno::CONNREFUSED),
            };
            match host {
                Ok(host) => {
                    let isn = self.isn(key, now);
                    let flow = Flow::from_guest(key, host, isn, segment::mss(cable), &segment, now);
                    self.insert(cable, key, flow);
                }
                Err(error) => match trouble(error) {
                    Some(trouble) => {
                        let quote = segment::quote(key, segment.seq);
                        icmp::report(cable, *key.remote.ip(), trouble, &quote);
                    }
                    None => segment::refuse(cable, key, &segment),
                },
            }
        } else {
            segment::refuse(cable, key, &segment);
        }
    }

    /// Opens a connection to the guest for a client of a forwarded port; `seen` is the client as the guest sees it.
    pub(super) fn open(
        &mut self,
        cable: &mut Cable,
        client: OwnedFd,
        seen: SocketAddrV4,
        guest: SocketAddrV4,
        now: Instant,
    ) {
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
        let flow = Flow::from_host(key, HostStream::from(client), isn, segment::mss(cable), now);
        self.insert(cable, key, flow);
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.send_syn(cable, now);
        }
    }

    fn insert(&mut self, cable: &mut Cable, key: FlowKey, flow: Flow) {
        if self.flows.len() >= FLOWS_MAX {
            let worth = |flow: &Flow| (flow.phase() != Phase::TimeWait, flow.used);
            let victim = self
                .flows
                .iter()
                .min_by_key(|(_, flow)| worth(flow))
                .map(|(key, _)| *key);
            if let Some(mut flow) = victim.and_then(|victim| self.flows.remove(&victim)) {
                flow.abort(cable);
            }
        }
        self.flows.insert(key, flow);
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

    pub(super) fn watch<'a>(&'a self, set: &mut PollSet<'a>, card_ready: bool) {
        use std::os::fd::AsFd;
        for (key, flow) in &self.flows {
            if let Some((host, flags)) = flow.interest(card_ready) {
                set.add(Token::Tcp(*key), host.as_fd(), flags);
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
        flags: PollFlags,
        now: Instant,
    ) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        if flow.phase() != Phase::Connecting {
            let fate = flow.host_ready(cable, flags, self.may_grow);
            return self.settle(key, fate);
        }
        match flow.connect_outcome() {
            Ok(()) => flow.connected(cable, now),
            Err(error) => {
                if let Some(flow) = self.flows.remove(&key) {
                    flow.connect_failed(cable, trouble(error));
                }
            }
        }
    }

    /// A guest address can be reached now: repeat what waited for it.
    pub(super) fn neighbour_found(&mut self, cable: &mut Cable, guest: Ipv4Addr, now: Instant) {
        for (key, flow) in &mut self.flows {
            if *key.guest.ip() == guest && flow.phase() == Phase::SynSent {
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

/// What the guest is told about a connection that the host could not make; `None`: a reset.
fn trouble(error: Errno) -> Option<Trouble> {
    match error {
        Errno::NETUNREACH => Some(Trouble::NetworkUnreachable),
        Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::TIMEDOUT => Some(Trouble::HostUnreachable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_tells_unreachable_from_refused() {
        assert_eq!(
            trouble(Errno::NETUNREACH),
            Some(Trouble::NetworkUnreachable)
        );
        assert_eq!(trouble(Errno::TIMEDOUT), Some(Trouble::HostUnreachable));
        assert_eq!(trouble(Errno::CONNREFUSED), None);
    }
}

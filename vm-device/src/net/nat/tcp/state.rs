//! One connection of the guest: the states of RFC 9293, 3.3.2, between the cable and a host socket.
//!
//! CLOSE-WAIT, FIN-WAIT and the like follow from which FIN was sent, acknowledged and received; they are not spelt out.

use std::io;
use std::time::{Duration, Instant};

use vm_osal::net::{Cause, Interest, Readiness, Stream};

use super::host::{self, Io};
use super::recv::{Arrival, RecvHalf};
use super::segment::{self, FlowKey, Header, Kind, Segment};
use super::send::{Acked, PeerOptions, SendHalf};
use super::seq::Seq;
use crate::net::nat::cable::Cable;
use crate::net::nat::icmp;

/// DEVIATION: RFC 9293, 3.4.2 has four minutes; no segment stays that long on a virtual cable.
const TIME_WAIT: Duration = Duration::from_secs(5);
/// How long a connection without a sign of life is kept in any case (RFC 5382, REQ-5).
const ESTABLISHED_IDLE_MIN: Duration = Duration::from_secs(124 * 60);
/// Blocks read from a socket before others have their turn.
const READS_A_TURN: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The guest's SYN has come, the host's connection is not there yet.
    Connecting,
    /// Our SYN and acknowledgement have left.
    SynReceived,
    /// Our SYN has left: a forwarded connection.
    SynSent,
    /// Established, or in one of the states of closing.
    Open,
    TimeWait,
}

/// What becomes of a flow after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    Dies,
}

/// Flows that may give way to a new one, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expendable {
    /// Both sides have ended it.
    Over,
    /// The guest has begun it; it does not stand yet.
    HalfOpen,
    /// A client of a forwarded port has begun it; the guest has not answered.
    Forwarding,
    /// It stands, but nothing was heard of the guest for long.
    Forgotten,
}

pub(super) struct Flow {
    key: FlowKey,
    phase: Phase,
    send: SendHalf,
    recv: RecvHalf,
    peer: PeerOptions,
    host: Option<Stream>,
    /// The host socket did not take everything.
    host_full: bool,
    /// The guest's end was passed on to the host.
    host_finished: bool,
    /// The host's FIN went to the guest before the guest's came: TIME-WAIT is ours.
    closed_first: bool,
    /// The guest expects an acknowledgement with the next round.
    ack_due: bool,
    time_wait_until: Option<Instant>,
    pub(super) used: Instant,
    /// The flow is in the list of those to be looked after.
    pub(super) dirty: bool,
}

impl Flow {
    /// A connection that the guest opens with `syn`.
    pub(super) fn from_guest(
        key: FlowKey,
        host: Stream,
        isn: Seq,
        mss: usize,
        syn: &Segment<'_>,
        now: Instant,
    ) -> Self {
        let recv = RecvHalf::new(syn.seq, syn.shift.is_some(), mss);
        Self::new(
            key,
            host,
            (SendHalf::new(isn, mss), recv),
            PeerOptions::of(syn),
            Phase::Connecting,
            now,
        )
    }

    /// A connection that the host opens to the guest.
    pub(super) fn from_host(
        key: FlowKey,
        host: Stream,
        isn: Seq,
        mss: usize,
        now: Instant,
    ) -> Self {
        let peer = PeerOptions { mss, shift: 0 };
        let halves = (SendHalf::new(isn, mss), RecvHalf::new(Seq(0), true, mss));
        Self::new(key, host, halves, peer, Phase::SynSent, now)
    }

    fn new(
        key: FlowKey,
        host: Stream,
        (send, recv): (SendHalf, RecvHalf),
        peer: PeerOptions,
        phase: Phase,
        now: Instant,
    ) -> Self {
        Self {
            key,
            phase,
            send,
            recv,
            peer,
            host: Some(host),
            host_full: false,
            host_finished: false,
            closed_first: false,
            ack_due: false,
            time_wait_until: None,
            used: now,
            dirty: false,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Bytes of buffer held.
    pub(super) fn memory(&self) -> usize {
        self.send.capacity() + self.recv.capacity()
    }

    /// What to wait for on the host's socket.
    pub(super) fn interest(&self, card_ready: bool) -> Option<(&Stream, Interest)> {
        let host = self.host.as_ref()?;
        let interest = match self.phase {
            Phase::Connecting => Interest::WRITE,
            Phase::Open => Interest {
                read: card_ready && self.send.has_room(),
                write: self.host_full,
            },
            _ => Interest::default(),
        };
        (!interest.is_empty()).then_some((host, interest))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.time_wait_until.or(self.send.deadline())
    }

    fn header(&mut self, kind: Kind) -> Header {
        let syn = matches!(kind, Kind::Syn { .. });
        let received = self.phase != Phase::SynSent;
        Header {
            seq: if syn {
                self.send.start()
            } else {
                self.send.next_position()
            },
            ack: received.then(|| self.recv.next()),
            window: self.recv.open_window(syn),
            kind,
            push: false,
        }
    }

    fn send_ack(&mut self, cable: &mut Cable) {
        self.ack_due = false;
        let header = self.header(Kind::Plain);
        segment::send(cable, self.key, header, (&[], &[]));
    }

    /// Sends our SYN, with an acknowledgement when the guest's has come.
    pub(super) fn send_syn(&mut self, cable: &mut Cable, now: Instant) {
        let scaled = self.phase == Phase::SynSent || self.recv.scaled();
        let header = self.header(Kind::Syn { scaled });
        segment::send(cable, self.key, header, (&[], &[]));
        self.send.syn_sent(now);
    }

    /// Breaks the connection off on both sides.
    pub(super) fn abort(&mut self, cable: &mut Cable) -> Fate {
        if !matches!(self.phase, Phase::TimeWait | Phase::SynSent) {
            let mut header = self.header(Kind::Reset);
            if self.phase == Phase::Connecting {
                header.seq = Seq(0);
            }
            segment::send(cable, self.key, header, (&[], &[]));
        }
        self.drop_host()
    }

    fn drop_host(&mut self) -> Fate {
        if let Some(host) = self.host.take() {
            host.abort();
        }
        Fate::Dies
    }

    /// The host's connection stands: answer the guest's SYN.
    pub(super) fn connected(&mut self, cable: &mut Cable, now: Instant) {
        self.phase = Phase::SynReceived;
        self.send_syn(cable, now);
    }

    /// Why the host's connection failed, if it did; for a flow that is connecting.
    pub(super) fn connect_outcome(&self) -> io::Result<()> {
        self.host.as_ref().map_or(Ok(()), Stream::connect_outcome)
    }

    /// The host's connection did not come about.
    pub(super) fn connect_failed(mut self, cable: &mut Cable, cause: Option<Cause>) {
        match cause {
            Some(cause) => {
                let syn = Seq(self.recv.next().0.wrapping_sub(1));
                let quote = segment::quote(self.key, syn);
                icmp::report(cable, self.key.remote.ip(), cause, &quote);
            }
            None => {
                self.abort(cable);
            }
        }
    }

    /// Takes a segment of the guest.
    pub(super) fn segment(
        &mut self,
        cable: &mut Cable,
        segment: &Segment<'_>,
        now: Instant,
    ) -> Fate {
        self.used = now;
        match self.phase {
            Phase::Connecting if segment.rst => self.drop_host(),
            Phase::Connecting => Fate::Lives,
            Phase::SynSent => self.segment_syn_sent(cable, segment, now),
            Phase::SynReceived | Phase::Open | Phase::TimeWait => {
                self.segment_synchronised(cable, segment, now)
            }
        }
    }

    /// RFC 9293, 3.10.7.3. Simultaneous opening cannot happen: nobody else knows our port.
    fn segment_syn_sent(&mut self, cable: &mut Cable, segment: &Segment<'_>, now: Instant) -> Fate {
        let acceptable = segment.ack == Some(self.send.start().plus(1));
        match (acceptable, segment.rst, segment.syn) {
            (true, true, _) => self.drop_host(),
            (true, false, true) => {
                let mss = self.send.mss();
                self.peer = PeerOptions::of(segment);
                self.recv = RecvHalf::new(segment.seq, segment.shift.is_some(), mss);
                self.phase = Phase::Open;
                self.send
                    .establish(self.peer, segment.seq, segment.window.into(), now);
                self.ack_due = true;
                Fate::Lives
            }
            (false, false, _) if segment.ack.is_some() => {
                segment::refuse(cable, self.key, segment);
                Fate::Lives
            }
            _ => Fate::Lives,
        }
    }

    /// RFC 9293, 3.10.7.4, with the checks of RFC 5961.
    fn segment_synchronised(
        &mut self,
        cable: &mut Cable,
        segment: &Segment<'_>,
        now: Instant,
    ) -> Fate {
        if segment.rst {
            if segment.seq == self.recv.next() {
                return self.drop_host();
            }
            if self.recv.accepts(segment.seq, segment.length()) {
                self.send_ack(cable);
            }
            return Fate::Lives;
        }
        if segment.syn {
            if self.phase == Phase::SynReceived && segment.seq.plus(1) == self.recv.next() {
                self.send_syn(cable, now);
            } else {
                self.send_ack(cable);
            }
            return Fate::Lives;
        }
        let Some(ack) = segment.ack else {
            return Fate::Lives;
        };
        if self.phase == Phase::SynReceived {
            if ack != self.send.start().plus(1) {
                segment::refuse(cable, self.key, segment);
                return Fate::Lives;
            }
            self.phase = Phase::Open;
            let window = usize::from(segment.window) << self.peer.shift;
            self.send.establish(self.peer, segment.seq, window, now);
        }
        if !self.recv.accepts(segment.seq, segment.length()) {
            // An old copy or a window probe: its acknowledgement still counts, its data does not.
            self.ack_due = true;
        }
        let pure = segment.length() == 0;
        if self
            .send
            .acknowledge(segment.seq, ack, segment.window, pure, now)
            == Acked::Beyond
        {
            self.ack_due = true;
            return Fate::Lives;
        }
        match self.recv.accept(segment.seq, segment.payload, segment.fin) {
            Arrival::Empty => {}
            Arrival::InOrder => self.ack_due = true,
            // Each one is a sign of its own to the sender (RFC 5681, 3.2), with the window as it was.
            Arrival::OutOfOrder => {
                let mut header = self.header_as_promised();
                header.ack = Some(self.recv.next());
                segment::send(cable, self.key, header, (&[], &[]));
                self.ack_due = false;
            }
        }
        Fate::Lives
    }

    fn header_as_promised(&self) -> Header {
        Header {
            seq: self.send.next_position(),
            ack: Some(self.recv.next()),
            window: self.recv.window(false),
            kind: Kind::Plain,
            push: false,
        }
    }

    /// The host's socket is ready.
    pub(super) fn host_ready(
        &mut self,
        cable: &mut Cable,
        ready: Readiness,
        may_grow: bool,
    ) -> Fate {
        if self.phase != Phase::Open {
            return Fate::Lives;
        }
        if ready.write {
            self.host_full = false;
        }
        if !ready.read {
            return Fate::Lives;
        }
        for _ in 0..READS_A_TURN {
            if !self.send.has_room() {
                break;
            }
            let Some(stream) = &self.host else {
                break;
            };
            match host::read(stream, &mut self.send, may_grow) {
                Io::Done => {}
                Io::Full => break,
                Io::End => {
                    self.send.finish();
                    self.closed_first = !self.recv.is_finished();
                }
                Io::Broken => return self.abort(cable),
            }
        }
        Fate::Lives
    }

    /// Moves whatever can be moved: to the host, to the guest, and on to the next state.
    pub(super) fn pump(&mut self, cable: &mut Cable, now: Instant, may_grow: bool) -> Fate {
        if self.phase != Phase::Open {
            if self.ack_due && self.phase == Phase::TimeWait {
                self.send_ack(cable);
            }
            return Fate::Lives;
        }
        if let Some(stream) = self.host.as_ref().filter(|_| !self.host_full) {
            if may_grow {
                self.recv.grow();
            }
            match host::write(stream, &mut self.recv) {
                Io::Broken => return self.abort(cable),
                outcome => self.host_full = outcome == Io::Full,
            }
            if self.recv.is_finished() && self.recv.is_drained() && !self.host_finished {
                stream.finish();
                self.host_finished = true;
            }
        }
        while cable.ready() {
            let Some(outgoing) = self.send.next(now) else {
                break;
            };
            let mut header = self.header(if outgoing.fin { Kind::Fin } else { Kind::Plain });
            header.seq = outgoing.seq;
            header.push = outgoing.push;
            self.ack_due = false;
            segment::send(cable, self.key, header, self.send.data(&outgoing));
        }
        if cable.ready() && (self.ack_due || self.recv.wants_update()) {
            self.send_ack(cable);
        }
        if self.send.fin_acked() && self.host_finished {
            return self.close(now);
        }
        Fate::Lives
    }

    fn close(&mut self, now: Instant) -> Fate {
        self.host = None;
        if !self.closed_first {
            return Fate::Dies;
        }
        self.phase = Phase::TimeWait;
        self.time_wait_until = Some(now + TIME_WAIT);
        self.send.close();
        self.recv.close();
        Fate::Lives
    }

    /// The deadline has passed.
    pub(super) fn timeout(&mut self, cable: &mut Cable, now: Instant) -> Fate {
        match self.phase {
            Phase::TimeWait => Fate::Dies,
            Phase::Connecting => Fate::Lives,
            Phase::SynReceived | Phase::SynSent => {
                if !self.send.syn_timeout() {
                    return self.abort(cable);
                }
                self.send_syn(cable, now);
                Fate::Lives
            }
            Phase::Open if !cable.ready() => {
                self.send.postpone(now);
                Fate::Lives
            }
            Phase::Open if self.send.timeout(now) => Fate::Lives,
            Phase::Open => self.abort(cable),
        }
    }

    /// How readily the flow gives way when there are too many, the lowest first; `None`: not at all.
    ///
    /// Whatever stands goes on, as RFC 5382 (REQ-5) asks: a scan of the guest's must not end a session.
    pub(super) fn expendable(&self, now: Instant) -> Option<Expendable> {
        match self.phase {
            Phase::TimeWait => Some(Expendable::Over),
            Phase::Connecting | Phase::SynReceived => Some(Expendable::HalfOpen),
            Phase::SynSent => Some(Expendable::Forwarding),
            Phase::Open if now.saturating_duration_since(self.used) > ESTABLISHED_IDLE_MIN => {
                Some(Expendable::Forgotten)
            }
            Phase::Open => None,
        }
    }

    /// Whether a SYN may begin a new connection in place of this one (RFC 9293, 3.6.1).
    pub(super) fn gives_way_to(&self, segment: &Segment<'_>) -> bool {
        self.phase == Phase::TimeWait
            && segment.syn
            && segment.ack.is_none()
            && segment.seq.is_after(self.recv.next())
    }
}

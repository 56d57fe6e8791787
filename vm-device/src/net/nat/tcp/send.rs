//! The sending half: cuts the host's bytes into segments within the guest's window, repeats what is lost
//! (RFC 9293, 3.8; RFC 5681 and RFC 6582 for congestion; no SACK: a virtual cable loses little).

use std::time::Instant;

use super::ring::Ring;
use super::rto::Rto;
use super::segment::Segment;
use super::seq::Seq;

const CAPACITY_FIRST: usize = 64 * 1024;
const CAPACITY_MAX: usize = 1024 * 1024;
/// Segments that may leave before the first acknowledgement (RFC 6928).
const FIRST_SEGMENTS: usize = 10;
const CONGESTION_MAX: usize = 16 * 1024 * 1024;
/// Repetitions of the same bytes before the connection is given up (about four minutes).
const RETRIES_MAX: u32 = 11;
/// Repetitions of a SYN (RFC 9293, 3.8.3 R2: at least three minutes is for the wire; a guest answers or is not there).
const SYN_RETRIES_MAX: u32 = 6;

/// A segment to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) seq: Seq,
    /// Where its bytes lie in the ring.
    pub(super) offset: usize,
    pub(super) bytes: usize,
    pub(super) fin: bool,
    /// Nothing follows it for now.
    pub(super) push: bool,
}

/// What an acknowledgement was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    Fine,
    /// It acknowledges what was never sent.
    Beyond,
}

/// What the peer's SYN said about sending to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerOptions {
    pub(super) mss: usize,
    pub(super) shift: u8,
}

impl PeerOptions {
    /// Scaling needs both sides (RFC 7323, 2.2); we always take part.
    pub(super) fn of(syn: &Segment<'_>) -> Self {
        Self {
            mss: syn.mss,
            shift: syn.shift.unwrap_or(0),
        }
    }
}

pub(super) struct SendHalf {
    /// Bytes from `una` on: first those under way, then those never sent.
    ring: Ring,
    /// The oldest position that is not acknowledged, the next to send, and the end of what was ever sent.
    una: Seq,
    nxt: Seq,
    max: Seq,
    fin_queued: bool,
    fin_acked: bool,
    window: usize,
    shift: u8,
    /// The segment that last set the window: its sequence and acknowledgement numbers (RFC 9293, 3.10.7.4).
    window_from: (Seq, Seq),
    mss: usize,
    congestion: usize,
    threshold: usize,
    duplicates: u32,
    /// End of what was under way when a loss was noticed; recovery ends there.
    recovery: Option<Seq>,
    resend: bool,
    probe: bool,
    rto: Rto,
    timer: Option<Instant>,
    /// The segment whose round trip is being measured: its end and when it left.
    timed: Option<(Seq, Instant)>,
    retries: u32,
}

impl SendHalf {
    /// A half whose SYN has the position `start`.
    pub(super) fn new(start: Seq, mss: usize) -> Self {
        Self {
            ring: Ring::default(),
            una: start,
            nxt: start,
            max: start,
            fin_queued: false,
            fin_acked: false,
            window: 0,
            shift: 0,
            window_from: (start, start),
            mss,
            congestion: FIRST_SEGMENTS * mss,
            threshold: CONGESTION_MAX,
            duplicates: 0,
            recovery: None,
            resend: false,
            probe: false,
            rto: Rto::new(),
            timer: None,
            timed: None,
            retries: 0,
        }
    }

    /// The SYN's position.
    pub(super) fn start(&self) -> Seq {
        self.una
    }

    /// Position of the next new byte, which acknowledgements without data carry.
    pub(super) fn next_position(&self) -> Seq {
        self.max
    }

    /// The largest segment that leaves.
    pub(super) fn mss(&self) -> usize {
        self.mss
    }

    pub(super) fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timer
    }

    pub(super) fn has_room(&self) -> bool {
        !self.fin_queued && (self.ring.capacity() == 0 || self.ring.free() > 0)
    }

    pub(super) fn fin_acked(&self) -> bool {
        self.fin_acked
    }

    /// The SYN has left (again).
    pub(super) fn syn_sent(&mut self, now: Instant) {
        let first = self.timer.is_none();
        self.timed = first.then(|| (self.una.plus(1), now));
        self.max = self.una.plus(1);
        self.nxt = self.max;
        self.timer = Some(now + self.rto.wait());
    }

    /// The SYN is acknowledged; `window` is the header's field, unscaled when it came with the peer's own SYN.
    pub(super) fn establish(
        &mut self,
        options: PeerOptions,
        seq: Seq,
        window: usize,
        now: Instant,
    ) {
        self.una = self.una.plus(1);
        self.mss = self.mss.min(options.mss);
        self.shift = options.shift;
        self.congestion = FIRST_SEGMENTS * self.mss;
        self.window = window;
        self.window_from = (seq, self.una);
        if let Some((_, sent)) = self.timed.take() {
            self.rto.measure(now.saturating_duration_since(sent));
        }
        self.rto.relax();
        self.retries = 0;
        self.timer = None;
    }

    /// Room for the host's bytes, in two parts; then [`Self::commit`].
    pub(super) fn room(&mut self) -> (&mut [u8], &mut [u8]) {
        if self.ring.capacity() == 0 {
            self.ring = Ring::new(CAPACITY_FIRST);
        }
        self.ring.free_mut()
    }

    pub(super) fn commit(&mut self, bytes: usize) {
        self.ring.commit(bytes);
    }

    /// Enlarges a buffer that holds less than the guest would take.
    pub(super) fn grow(&mut self) {
        if self.ring.free() == 0 && self.window >= self.ring.capacity() / 2 {
            self.ring.grow((self.ring.capacity() * 4).min(CAPACITY_MAX));
        }
    }

    /// No more bytes come from the host.
    pub(super) fn finish(&mut self) {
        self.fin_queued = true;
    }

    /// Bytes of a segment, in two parts.
    pub(super) fn data(&self, segment: &Outgoing) -> (&[u8], &[u8]) {
        self.ring.range(segment.offset, segment.bytes)
    }

    fn under_way(&self) -> usize {
        self.nxt.bytes_since(self.una)
    }

    /// The next segment that may leave now; it counts as sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<Outgoing> {
        if std::mem::take(&mut self.resend) && self.max != self.una {
            let sent = self.max.bytes_since(self.una);
            let bytes = self.mss.min(self.ring.len()).min(sent);
            let fin = self.fin_queued && bytes == self.ring.len() && sent > bytes;
            self.timed = None;
            self.timer = Some(now + self.rto.wait());
            return Some(self.cut(0, bytes, fin));
        }
        let offset = self.under_way();
        if offset > self.ring.len() || self.fin_acked {
            return None;
        }
        let unsent = self.ring.len() - offset;
        let mut limit = self.window.min(self.congestion).saturating_sub(offset);
        if self.probe {
            limit = limit.max(1);
        }
        let bytes = unsent.min(self.mss).min(limit);
        let fin = self.fin_queued && bytes == unsent && limit > bytes;
        if bytes == 0 && !fin {
            let stuck = offset == 0 && (unsent > 0 || self.fin_queued);
            if stuck && self.timer.is_none() {
                self.timer = Some(now + self.rto.wait());
            }
            return None;
        }
        // A small segment waits while larger ones are under way (RFC 9293, 3.8.6.2.1).
        if bytes < self.mss && bytes < unsent && offset > 0 {
            return None;
        }
        self.probe = false;
        let segment = self.cut(offset, bytes, fin);
        self.nxt = self.nxt.plus(bytes + usize::from(fin));
        if self.nxt.is_after(self.max) {
            self.max = self.nxt;
            self.timed.get_or_insert((self.nxt, now));
        }
        if self.timer.is_none() {
            self.timer = Some(now + self.rto.wait());
        }
        Some(segment)
    }

    fn cut(&self, offset: usize, bytes: usize, fin: bool) -> Outgoing {
        Outgoing {
            seq: self.una.plus(offset),
            offset,
            bytes,
            fin,
            push: bytes > 0 && offset + bytes == self.ring.len(),
        }
    }

    /// Takes an acknowledgement. `field` is the header's window; `pure`: the segment carried nothing else.
    pub(super) fn acknowledge(
        &mut self,
        seq: Seq,
        ack: Seq,
        field: u16,
        pure: bool,
        now: Instant,
    ) -> Acked {
        if ack.is_after(self.max) {
            return Acked::Beyond;
        }
        let window = usize::from(field) << self.shift;
        if ack.is_after(self.una) {
            self.advance(ack, now);
        } else if ack == self.una
            && pure
            && window == self.window
            && window > 0
            && self.max != self.una
        {
            self.duplicate();
        }
        let (last_seq, last_ack) = self.window_from;
        if seq.is_after(last_seq) || (seq == last_seq && !last_ack.is_after(ack)) {
            if self.window == 0 && window > 0 && ack == self.una {
                // Whatever was sent into the closed window is lost; go on at once.
                self.nxt = self.una;
                self.timer = None;
                self.rto.relax();
            }
            self.window = window;
            self.window_from = (seq, ack);
        }
        if window == 0 {
            // A guest that answers is alive, however long it keeps the window shut (RFC 9293, 3.8.6.1).
            self.retries = 0;
        }
        Acked::Fine
    }

    fn advance(&mut self, ack: Seq, now: Instant) {
        let acked = ack.bytes_since(self.una);
        let bytes = acked.min(self.ring.len());
        self.ring.consume(bytes);
        self.fin_acked |= acked > bytes;
        self.una = ack;
        if ack.is_after(self.nxt) {
            self.nxt = ack;
        }
        if let Some((end, sent)) = self.timed
            && !end.is_after(ack)
        {
            self.rto.measure(now.saturating_duration_since(sent));
            self.timed = None;
        }
        self.rto.relax();
        self.retries = 0;
        self.duplicates = 0;
        match self.recovery {
            // RFC 6582, 3.2: a partial acknowledgement shows the next loss.
            Some(end) if end.is_after(ack) => {
                self.resend = true;
                self.congestion = self.congestion.saturating_sub(acked).max(self.mss) + self.mss;
            }
            Some(_) => {
                self.recovery = None;
                self.congestion = self.threshold.max(2 * self.mss);
            }
            None if self.congestion < self.threshold => self.congestion += acked,
            None => self.congestion += (self.mss * self.mss / self.congestion).max(1),
        }
        self.congestion = self.congestion.min(CONGESTION_MAX);
        self.timer = (self.max != self.una).then(|| now + self.rto.wait());
    }

    fn duplicate(&mut self) {
        self.duplicates += 1;
        if self.recovery.is_some() {
            self.congestion = (self.congestion + self.mss).min(CONGESTION_MAX);
        } else if self.duplicates == 3 {
            self.threshold = (self.under_way() / 2).max(2 * self.mss);
            self.congestion = self.threshold + 3 * self.mss;
            self.recovery = Some(self.max);
            self.resend = true;
        }
    }

    /// The timer has run out. False when the guest has not answered for too long.
    pub(super) fn timeout(&mut self, now: Instant) -> bool {
        self.retries += 1;
        self.rto.back_off();
        self.timed = None;
        self.timer = None;
        if self.retries > RETRIES_MAX {
            return false;
        }
        if self.window == 0 {
            self.probe = true;
        } else if self.max != self.una {
            self.threshold = (self.under_way() / 2).max(2 * self.mss);
            self.congestion = self.mss;
        }
        self.recovery = None;
        self.duplicates = 0;
        self.nxt = self.una;
        self.timer = Some(now + self.rto.wait());
        true
    }

    /// The timer of a SYN has run out. False when it was sent often enough.
    pub(super) fn syn_timeout(&mut self) -> bool {
        self.retries += 1;
        self.rto.back_off();
        self.retries <= SYN_RETRIES_MAX
    }

    /// The card takes nothing at present, so silence means nothing: waits on.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.timer = Some(now + self.rto.wait());
    }

    /// Gives the memory back.
    pub(super) fn close(&mut self) {
        self.ring = Ring::default();
        self.timer = None;
    }
}

#[cfg(test)]
mod tests;

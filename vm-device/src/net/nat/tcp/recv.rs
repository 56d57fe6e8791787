//! The receiving half: puts the guest's bytes in order, for the host socket to take (RFC 9293, 3.10.7.4).

use super::gaps::Gaps;
use super::ring::Ring;
use super::seq::Seq;

/// Our window scale (RFC 7323, 2.2): windows up to 2 MiB in steps of 32 bytes.
pub(super) const WINDOW_SHIFT: u8 = 5;
const WINDOW_FIELD_MAX: usize = 0xffff;
const CAPACITY_FIRST: usize = 64 * 1024;
const CAPACITY_MAX: usize = 1024 * 1024;

/// What a segment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It brought nothing and asks for nothing.
    Empty,
    /// It brought the next bytes: acknowledge with the next round.
    InOrder,
    /// It is old, ahead, or fills a gap: acknowledge at once (RFC 5681, 4.2).
    OutOfOrder,
}

pub(super) struct RecvHalf {
    /// Bytes in order; those that came early lie behind its end, noted in `gaps`.
    ring: Ring,
    gaps: Gaps,
    /// The next expected position, that of the ring's end.
    nxt: Seq,
    /// End of the window as promised; it never moves back (RFC 9293, 3.8.6).
    edge: Seq,
    shift: u8,
    mss: usize,
    /// Position of the guest's FIN, once it is known.
    fin: Option<Seq>,
    fin_reached: bool,
    /// Bytes that came in order, to see who needs a larger buffer.
    total: usize,
}

impl RecvHalf {
    /// Starts behind the guest's SYN at `start`; `scaled` when both sides agreed on window scaling.
    pub(super) fn new(start: Seq, scaled: bool, mss: usize) -> Self {
        let nxt = start.plus(1);
        Self {
            ring: Ring::new(CAPACITY_FIRST),
            gaps: Gaps::default(),
            nxt,
            edge: nxt,
            shift: if scaled { WINDOW_SHIFT } else { 0 },
            mss,
            fin: None,
            fin_reached: false,
            total: 0,
        }
    }

    /// What to acknowledge.
    pub(super) fn next(&self) -> Seq {
        self.nxt
    }

    /// Whether windows are scaled.
    pub(super) fn scaled(&self) -> bool {
        self.shift > 0
    }

    pub(super) fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Bytes for the host, in two parts.
    pub(super) fn pending(&self) -> (&[u8], &[u8]) {
        self.ring.range(0, self.ring.len())
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.ring.consume(bytes);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.ring.len() == 0
    }

    /// Whether the guest has finished its direction and every byte before that has come.
    pub(super) fn is_finished(&self) -> bool {
        self.fin_reached
    }

    /// Whether a segment overlaps the window (RFC 9293, 3.10.7.4, table 6).
    pub(super) fn accepts(&self, seq: Seq, bytes: usize) -> bool {
        let room = self.edge.bytes_since(self.nxt) as i64;
        let start = i64::from(seq.since(self.nxt));
        let end = start + bytes as i64;
        match (bytes, room) {
            (0, 0) => start == 0,
            (0, _) => (0..room).contains(&start),
            (_, 0) => false,
            _ => start < room && end > 0,
        }
    }

    /// Takes the data and the end mark of a segment.
    pub(super) fn accept(&mut self, seq: Seq, payload: &[u8], fin: bool) -> Arrival {
        if payload.is_empty() && !fin {
            return Arrival::Empty;
        }
        let before = self.nxt;
        let mut arrival = Arrival::OutOfOrder;
        if !self.fin_reached {
            let end = seq.plus(payload.len());
            if fin && self.fin.is_none() && !self.nxt.is_after(end) && !end.is_after(self.edge) {
                self.fin = Some(end);
            }
            arrival = self.put(seq, payload);
        }
        if self.fin == Some(self.nxt) && !self.fin_reached {
            self.fin_reached = true;
            self.nxt = self.nxt.plus(1);
        }
        match self.nxt == before {
            true => Arrival::OutOfOrder,
            false => arrival,
        }
    }

    fn put(&mut self, seq: Seq, payload: &[u8]) -> Arrival {
        let limit = match self.fin {
            Some(fin) if !fin.is_after(self.edge) => fin,
            _ => self.edge,
        };
        let room = limit.bytes_since(self.nxt).min(self.ring.free());
        let skip = self.nxt.bytes_since(seq);
        let ahead = seq.bytes_since(self.nxt);
        if ahead >= room {
            return Arrival::InOrder;
        }
        let data = payload.get(skip..).unwrap_or_default();
        let data = &data[..data.len().min(room - ahead)];
        if data.is_empty() {
            return Arrival::InOrder;
        }
        if ahead > 0 {
            if self.gaps.insert(ahead, ahead + data.len()) {
                self.ring.write_ahead(ahead, data);
            }
            return Arrival::OutOfOrder;
        }
        let filled_gap = !self.gaps.is_empty();
        self.ring.write_ahead(0, data);
        let reached = self.gaps.advance(data.len());
        self.ring.commit(reached);
        self.nxt = self.nxt.plus(reached);
        self.total = self.total.saturating_add(reached);
        if filled_gap {
            Arrival::OutOfOrder
        } else {
            Arrival::InOrder
        }
    }

    /// How far the window could move on. Steps too small to be useful are held back (RFC 9293, 3.8.6.2.2).
    fn gain(&self) -> usize {
        let window = self.ring.free().min(WINDOW_FIELD_MAX << self.shift);
        let gain = self.nxt.plus(window).bytes_since(self.edge);
        let step = (2 * self.mss).min(self.ring.capacity() / 4);
        if gain >= step { gain } else { 0 }
    }

    /// Moves the window on and gives the header's window field; `with_syn`: unscaled.
    pub(super) fn open_window(&mut self, with_syn: bool) -> u16 {
        self.edge = self.edge.plus(self.gain());
        self.window(with_syn)
    }

    /// The window field for the promise made before.
    pub(super) fn window(&self, with_syn: bool) -> u16 {
        let shift = if with_syn { 0 } else { self.shift };
        (self.edge.bytes_since(self.nxt) >> shift).min(WINDOW_FIELD_MAX) as u16
    }

    /// Whether the guest should hear of new room although it sent nothing.
    pub(super) fn wants_update(&self) -> bool {
        !self.fin_reached
            && self.gain() > 0
            && self.edge.bytes_since(self.nxt) < self.ring.capacity() / 2
    }

    /// Enlarges the buffer of a busy connection.
    pub(super) fn grow(&mut self) {
        if self.shift > 0 && self.total > 2 * self.ring.capacity() {
            self.ring.grow((self.ring.capacity() * 4).min(CAPACITY_MAX));
        }
    }

    /// Gives the memory back; nothing more is taken.
    pub(super) fn close(&mut self) {
        self.ring = Ring::default();
        self.gaps = Gaps::default();
        self.edge = self.nxt;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn half() -> RecvHalf {
        let mut half = RecvHalf::new(Seq(u32::MAX - 1000), true, 1460);
        half.open_window(false);
        half
    }

    fn taken(half: &RecvHalf) -> Vec<u8> {
        let (a, b) = half.pending();
        [a, b].concat()
    }

    #[test]
    fn accept_gap_is_filled_in_order() {
        let mut half = half();
        let start = half.next();
        assert_eq!(
            half.accept(start.plus(3), b"def", true),
            Arrival::OutOfOrder
        );
        assert!(half.is_drained() && !half.is_finished());
        assert_eq!(half.accept(start, b"abcd", false), Arrival::OutOfOrder);
        assert_eq!(taken(&half), b"abcdef");
        assert!(half.is_finished());
        assert_eq!(half.next(), start.plus(7));
        assert_eq!(
            half.accept(start.plus(3), b"def", true),
            Arrival::OutOfOrder
        );
    }

    #[test]
    fn accept_beyond_the_window_is_cut() {
        let mut half = half();
        let start = half.next();
        let data = vec![7; CAPACITY_FIRST + 100];
        half.accept(start, &data, true);
        assert_eq!(taken(&half).len(), CAPACITY_FIRST);
        assert!(!half.is_finished());
        assert_eq!(half.open_window(false), 0);
        assert!(!half.accepts(half.next(), 1));
        assert!(half.accepts(half.next(), 0));
    }

    #[test]
    fn window_opens_only_by_useful_steps() {
        let mut half = half();
        let start = half.next();
        half.accept(start, &vec![7; CAPACITY_FIRST], false);
        half.consume(100);
        assert!(!half.wants_update());
        assert_eq!(half.open_window(false), 0);
        half.consume(2 * 1460);
        assert!(half.wants_update());
        assert_eq!(
            usize::from(half.open_window(false)),
            (2 * 1460 + 100) >> WINDOW_SHIFT
        );
        assert!(!half.wants_update());
    }

    #[test]
    fn grow_enlarges_only_busy_connections() {
        let mut half = half();
        half.grow();
        assert_eq!(half.capacity(), CAPACITY_FIRST);
        for _ in 0..4 {
            let seq = half.next();
            half.open_window(false);
            half.accept(seq, &vec![1; CAPACITY_FIRST], false);
            half.consume(CAPACITY_FIRST);
        }
        half.grow();
        assert_eq!(half.capacity(), 4 * CAPACITY_FIRST);
    }

    proptest! {
        #[test]
        fn accept_any_order_of_overlapping_segments_gives_the_stream(
            cuts in proptest::collection::vec((0usize..5000, 1usize..1500), 1..80),
        ) {
            let stream: Vec<u8> = (0..6500usize).map(|i| (i % 249) as u8).collect();
            let mut half = half();
            let start = half.next();
            let mut got = Vec::new();
            let sweep = (0..13).map(|i| (i * 500, 500));
            for (at, bytes) in cuts.into_iter().chain(sweep) {
                half.accept(start.plus(at), &stream[at..at + bytes], at + bytes == stream.len());
                got.extend(taken(&half));
                half.consume(usize::MAX);
                half.open_window(false);
            }
            prop_assert!(half.is_finished());
            prop_assert_eq!(got, stream);
        }
    }
}

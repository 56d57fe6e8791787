//! The sending half alone, in a time of its own.

use std::time::{Duration, Instant};

use super::*;

const MSS: usize = 1000;
const START: Seq = Seq(u32::MAX - 5000);

struct Bench {
    half: SendHalf,
    now: Instant,
    /// Sequence number of the guest's next acknowledgement.
    seq: Seq,
}

impl Bench {
    /// A half with an open window of `window` bytes and `bytes` to send.
    fn new(window: u16, bytes: usize) -> Self {
        let mut half = SendHalf::new(START, MSS);
        let now = Instant::now();
        half.syn_sent(now);
        let options = PeerOptions {
            mss: 1460,
            shift: 0,
        };
        let now = now + Duration::from_millis(1);
        half.establish(options, Seq(1), window.into(), now);
        let mut bench = Self {
            half,
            now,
            seq: Seq(1),
        };
        bench.fill(bytes);
        bench
    }

    fn fill(&mut self, bytes: usize) {
        assert!(
            bytes <= {
                let (a, b) = self.half.room();
                a.len() + b.len()
            }
        );
        self.half.commit(bytes);
    }

    /// What leaves now: (distance from the first byte, bytes, FIN).
    fn sent(&mut self) -> Vec<(i32, usize, bool)> {
        let origin = START.plus(1);
        std::iter::from_fn(|| self.half.next(self.now))
            .map(|segment| (segment.seq.since(origin), segment.bytes, segment.fin))
            .collect()
    }

    fn ack(&mut self, position: usize, window: u16) -> Acked {
        self.half
            .acknowledge(self.seq, START.plus(1 + position), window, true, self.now)
    }

    fn expire(&mut self) -> bool {
        self.now = self.half.deadline().unwrap();
        self.half.timeout(self.now)
    }
}

#[test]
fn next_stays_within_the_window_of_the_guest() {
    let mut bench = Bench::new(2500, 10_000);
    // A segment of 500 is held back while larger ones are under way.
    assert_eq!(bench.sent(), [(0, 1000, false), (1000, 1000, false)]);
    bench.ack(2000, 2500);
    assert_eq!(bench.sent(), [(2000, 1000, false), (3000, 1000, false)]);
}

#[test]
fn next_starts_with_ten_segments_and_grows_with_acknowledgements() {
    let mut bench = Bench::new(u16::MAX, 60_000);
    assert_eq!(bench.sent().len(), 10);
    bench.ack(2000, u16::MAX);
    assert_eq!(bench.sent().len(), 4);
}

#[test]
fn next_end_follows_the_last_byte_and_is_acknowledged() {
    let mut bench = Bench::new(u16::MAX, 1500);
    bench.half.finish();
    assert_eq!(bench.sent(), [(0, 1000, false), (1000, 500, true)]);
    bench.ack(1500, u16::MAX);
    assert!(!bench.half.fin_acked());
    assert!(bench.expire());
    assert_eq!(bench.sent(), [(1500, 0, true)]);
    bench.ack(1501, u16::MAX);
    assert!(bench.half.fin_acked());
    assert_eq!(bench.half.deadline(), None);
    assert_eq!(bench.sent(), []);
}

#[test]
fn acknowledge_of_unsent_bytes_is_beyond() {
    let mut bench = Bench::new(u16::MAX, 3000);
    assert_eq!(bench.sent().len(), 3);
    assert_eq!(bench.ack(3001, u16::MAX), Acked::Beyond);
    assert_eq!(bench.ack(3000, u16::MAX), Acked::Fine);
}

#[test]
fn acknowledge_three_duplicates_repeat_the_first_segment_at_once() {
    let mut bench = Bench::new(u16::MAX, 8000);
    assert_eq!(bench.sent().len(), 8);
    bench.ack(0, u16::MAX);
    bench.ack(0, u16::MAX);
    assert_eq!(bench.sent(), []);
    bench.ack(0, u16::MAX);
    assert_eq!(bench.sent(), [(0, 1000, false)]);
    bench.ack(0, u16::MAX);
    assert_eq!(bench.sent(), []);
    // A partial acknowledgement shows the next loss; a full one ends the recovery.
    bench.ack(3000, u16::MAX);
    assert_eq!(bench.sent(), [(3000, 1000, false)]);
    bench.ack(8000, u16::MAX);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.half.deadline(), None);
}

#[test]
fn acknowledge_window_changes_and_data_are_no_duplicates() {
    let mut bench = Bench::new(5000, 5000);
    assert_eq!(bench.sent().len(), 5);
    for window in [4999, 4998, 4997, 4996] {
        bench.ack(0, window);
    }
    for _ in 0..5 {
        bench
            .half
            .acknowledge(bench.seq, START.plus(1), 4996, false, bench.now);
    }
    assert_eq!(bench.sent(), []);
}

#[test]
fn timeout_goes_back_and_waits_twice_as_long() {
    let mut bench = Bench::new(u16::MAX, 5000);
    assert_eq!(bench.sent().len(), 5);
    let first = bench.half.deadline().unwrap() - bench.now;
    assert!(bench.expire());
    assert_eq!(bench.half.deadline().unwrap() - bench.now, first * 2);
    assert_eq!(bench.sent(), [(0, 1000, false)]);
    // Everything else had come: the acknowledgement jumps over what would be repeated.
    bench.ack(5000, u16::MAX);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.half.deadline(), None);
}

#[test]
fn timeout_without_any_answer_ends_after_minutes() {
    let mut bench = Bench::new(u16::MAX, 10);
    let start = bench.now;
    bench.sent();
    let mut copies = 0;
    while bench.expire() {
        assert_eq!(bench.sent(), [(0, 10, false)]);
        copies += 1;
    }
    assert_eq!(copies, RETRIES_MAX);
    let lasted = bench.now - start;
    assert!((100..600).contains(&lasted.as_secs()), "{lasted:?}");
}

#[test]
fn timeout_with_a_closed_window_probes_for_ever() {
    let mut bench = Bench::new(0, 3000);
    assert_eq!(bench.sent(), []);
    for _ in 0..100 {
        assert!(bench.expire());
        assert_eq!(bench.sent(), [(0, 1, false)]);
        bench.ack(0, 0);
    }
    // The window opens: everything goes at once, the probed byte too.
    bench.ack(0, 3000);
    assert_eq!(
        bench.sent(),
        [(0, 1000, false), (1000, 1000, false), (2000, 1000, false)]
    );
}

#[test]
fn timeout_with_a_closed_window_and_only_the_end_left_probes_with_it() {
    let mut bench = Bench::new(0, 0);
    bench.half.finish();
    assert_eq!(bench.sent(), []);
    assert!(bench.expire());
    assert_eq!(bench.sent(), [(0, 0, true)]);
}

#[test]
fn acknowledge_old_segment_does_not_move_the_window_back() {
    let mut bench = Bench::new(1000, 5000);
    assert_eq!(bench.sent().len(), 1);
    bench.seq = Seq(10);
    bench.ack(0, 3000);
    bench.seq = Seq(5);
    bench.ack(0, 0);
    assert_eq!(bench.sent().len(), 2);
}

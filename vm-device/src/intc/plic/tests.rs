use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::spec::*;
use super::*;
use crate::testing::Level;
use AccessWidth::Word;

struct Board {
    plic: Plic,
    lines: Vec<Arc<Level>>,
}

impl Board {
    fn new(contexts: usize) -> Self {
        let lines: Vec<Arc<Level>> = (0..contexts).map(|_| Arc::default()).collect();
        let handles = lines
            .iter()
            .map(|line| line.clone() as Arc<dyn IrqLine>)
            .collect();
        Self {
            plic: Plic::new(VIRT_SOURCES, handles),
            lines,
        }
    }
    fn get(&self, offset: u64) -> u32 {
        self.plic.read(offset, Word) as u32
    }
    fn put(&self, offset: u64, value: u32) {
        self.plic.write(offset, Word, u64::from(value));
    }
    fn enable(&self, context: u64, source: u64) {
        let at = ENABLE + context * ENABLE_STRIDE + source / 32 * 4;
        self.put(at, self.get(at) | 1 << (source % 32));
    }
    fn priority(&self, source: u64, priority: u32) {
        self.put(PRIORITY + source * 4, priority);
    }
    fn threshold(&self, context: u64, threshold: u32) {
        self.put(CONTEXT + context * CONTEXT_STRIDE, threshold);
    }
    fn claim(&self, context: u64) -> u32 {
        self.get(CONTEXT + context * CONTEXT_STRIDE + CONTEXT_CLAIM)
    }
    fn complete(&self, context: u64, source: u32) {
        self.put(CONTEXT + context * CONTEXT_STRIDE + CONTEXT_CLAIM, source);
    }
    fn high(&self) -> Vec<bool> {
        self.lines.iter().map(|line| line.high()).collect()
    }
}

#[test]
fn claim_level_held_is_pending_again_after_completion() {
    let board = Board::new(2);
    let source = board.plic.source(10);
    board.priority(10, 1);
    board.enable(1, 10);
    source.set(true);
    assert_eq!(
        board.high(),
        [false, true],
        "only the context that enabled it"
    );
    assert_eq!(board.get(PENDING), 1 << 10);
    assert_eq!(board.claim(1), 10);
    assert_eq!((board.get(PENDING), board.high()), (0, vec![false, false]));
    assert_eq!(board.claim(1), 0, "the gateway is closed until completion");
    board.complete(1, 10);
    assert_eq!(
        (board.get(PENDING), board.high()),
        (1 << 10, vec![false, true])
    );
    assert_eq!(board.claim(1), 10);
    source.set(false);
    board.complete(1, 10);
    assert_eq!((board.get(PENDING), board.high()), (0, vec![false, false]));
}

#[test]
fn source_falling_before_claim_stays_pending() {
    let board = Board::new(1);
    let source = board.plic.source(95);
    board.priority(95, 7);
    board.enable(0, 95);
    source.set(true);
    source.set(false);
    assert_eq!(board.get(PENDING + 8), 1 << 31);
    assert_eq!(board.claim(0), 95);
    board.complete(0, 95);
    assert_eq!(board.claim(0), 0);
    source.set(true);
    assert_eq!(board.claim(0), 95);
}

#[test]
fn source_pulsing_while_claimed_is_forwarded_once_more_only_if_high() {
    let board = Board::new(1);
    let source = board.plic.source(3);
    board.priority(3, 1);
    board.enable(0, 3);
    source.set(true);
    assert_eq!(board.claim(0), 3);
    source.set(false);
    source.set(true);
    assert!(!board.lines[0].high());
    board.complete(0, 3);
    assert!(board.lines[0].high());
}

#[test]
fn claim_order_is_priority_then_lowest_number() {
    let board = Board::new(1);
    for (number, priority) in [(40, 2), (7, 2), (33, 5), (5, 0)] {
        board.priority(number, priority);
        board.enable(0, number);
        board.plic.source(number as u32).set(true);
    }
    assert_eq!(
        [(); 4].map(|()| board.claim(0)),
        [33, 7, 40, 0],
        "priority 0 never interrupts"
    );
}

#[test]
fn threshold_gates_the_line_but_not_the_claim() {
    let board = Board::new(1);
    board.priority(1, 3);
    board.enable(0, 1);
    board.threshold(0, 3);
    board.plic.source(1).set(true);
    assert!(!board.lines[0].high());
    board.threshold(0, 2);
    assert!(board.lines[0].high());
    board.threshold(0, 7);
    assert!(!board.lines[0].high());
    assert_eq!(board.claim(0), 1);
}

#[test]
fn complete_of_a_source_not_enabled_is_ignored() {
    let board = Board::new(2);
    board.priority(4, 1);
    board.enable(0, 4);
    board.plic.source(4).set(true);
    assert_eq!(board.claim(0), 4);
    board.complete(1, 4);
    board.complete(0, 5);
    board.complete(0, 96);
    board.complete(0, 5000);
    assert_eq!(board.get(PENDING), 0);
    board.complete(0, 4);
    assert_eq!(board.get(PENDING), 1 << 4);
}

#[test]
fn registers_keep_only_bits_that_exist() {
    let board = Board::new(1);
    board.priority(0, 7);
    board.priority(95, 0xff);
    board.priority(96, 7);
    board.threshold(0, 0x1f);
    for word in 0..4 {
        board.put(ENABLE + word * 4, u32::MAX);
        board.put(PENDING + word * 4, u32::MAX);
    }
    board.put(ENABLE + ENABLE_STRIDE, u32::MAX);
    assert_eq!([0, 95, 96].map(|n| board.get(n * 4)), [0, 7, 0]);
    assert_eq!(board.get(CONTEXT), 7);
    assert_eq!(
        [0, 4, 8, 12].map(|n| board.get(ENABLE + n)),
        [!1, !0, !0, 0]
    );
    assert_eq!([0, 4, 8, 12].map(|n| board.get(PENDING + n)), [0; 4]);
    assert_eq!(board.get(ENABLE + ENABLE_STRIDE), 0);
    assert_eq!(board.plic.last_source(), 95);
    assert_eq!(board.plic.range_bytes(), 0x20_1000);
    assert_eq!(board.plic.read(PRIORITY + 95 * 4, AccessWidth::Byte), 0);
    assert_eq!(board.plic.read(PRIORITY + 95 * 4 - 2, Word), 0);
}

/// The addresses of the device tree's users, as numbers.
#[test]
fn registers_sit_where_drivers_expect_them() {
    let board = Board::new(4);
    board.put(0x28, 4);
    board.put(0x2180, 1 << 10);
    board.put(0x20_3000, 3);
    board.plic.source(10).set(true);
    assert_eq!(board.get(0x1000), 1 << 10);
    assert_eq!(board.high(), [false, false, false, true]);
    assert_eq!(board.get(0x20_3004), 10);
}

#[test]
fn existing_bits_end_at_the_last_source() {
    let plic = Plic::new(34, vec![Arc::new(Level::default())]);
    plic.write(ENABLE + 4, Word, u64::from(u32::MAX));
    assert_eq!(plic.read(ENABLE + 4, Word), 3);
}

#[test]
fn reset_forgets_registers_but_not_wires() {
    let board = Board::new(1);
    let source = board.plic.source(9);
    board.priority(9, 1);
    board.enable(0, 9);
    board.threshold(0, 1);
    source.set(true);
    assert_eq!(board.claim(0), 9);
    board.plic.reset();
    assert_eq!(
        [board.get(9 * 4), board.get(ENABLE), board.get(CONTEXT)],
        [0, 0, 0]
    );
    assert_eq!(board.get(PENDING), 1 << 9);
    assert_eq!(board.claim(0), 0);
}

#[test]
fn claim_by_racing_contexts_gives_each_interrupt_to_one() {
    const ROUNDS: u32 = 2000;
    let board = Arc::new(Board::new(4));
    for number in 1..=8 {
        board.priority(number, 1);
        (0..4).for_each(|context| board.enable(context, number));
    }
    let claimed: Arc<[AtomicU32]> = (0..9).map(|_| AtomicU32::new(0)).collect();
    let harts: Vec<_> = (0..4)
        .map(|context| {
            let (board, claimed) = (board.clone(), claimed.clone());
            let lines: Vec<_> = (1..=8).map(|n| board.plic.source(n)).collect();
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    lines[((round + context as u32) % 8) as usize].set(round % 2 == 0);
                    let source = board.claim(context);
                    if source != 0 {
                        let busy = claimed[source as usize].fetch_add(1, Ordering::SeqCst);
                        assert_eq!(busy, 0, "source {source} was claimed by two at once");
                        claimed[source as usize].fetch_sub(1, Ordering::SeqCst);
                        board.complete(context, source);
                    }
                }
            })
        })
        .collect();
    harts.into_iter().for_each(|hart| hart.join().unwrap());
}

#[test]
fn restore_of_a_save_continues_alike() {
    let board = Board::new(2);
    let source = board.plic.source(20);
    board.priority(20, 3);
    board.priority(64, 2);
    board.enable(0, 20);
    board.enable(1, 64);
    board.threshold(0, 2);
    source.set(true);
    board.plic.source(64).set(true);
    assert_eq!(board.claim(0), 20);
    let saved = board.plic.save();
    let other = Board::new(2);
    other.plic.restore(saved.clone()).unwrap();
    assert_eq!(other.plic.save(), saved);
    assert_eq!(other.high(), [false, true]);
    other.complete(0, 20);
    assert_eq!(
        other.high(),
        [true, true],
        "the restored level is seen on completion"
    );
    assert!(Board::new(1).plic.restore(saved.clone()).is_err());
    let wild = SavedState {
        pending: vec![1, 0, 0],
        ..saved
    };
    assert!(other.plic.restore(wild).is_err(), "source 0 does not exist");
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_keeps_lines_and_registers_agreeing(
        script in crate::testing::script(),
        levels in proptest::prelude::any::<Vec<(u8, bool)>>(),
    ) {
        let board = Board::new(3);
        let mut levels = levels.into_iter();
        for part in script.chunks(24) {
            crate::fuzzing::drive(&board.plic, range_bytes(3), part);
            if let Some((number, high)) = levels.next() {
                board.plic.source(1 + u32::from(number) % 95).set(high);
            }
            let state = board.plic.state.lock();
            for (context, line) in state.contexts.iter().zip(&board.lines) {
                let wanted = (1..96).any(|n| {
                    let (word, bit) = split(n);
                    state.pending[word] & context.enable[word] & bit != 0
                        && state.priority[n] > context.threshold
                });
                proptest::prop_assert_eq!(line.high(), wanted);
            }
        }
    }
}

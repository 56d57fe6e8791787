use super::*;
use crate::testing::{Level, ManualTime};
use AccessWidth::{Double, Word};

/// 2026-01-01 00:00:00 UTC.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

struct Board {
    rtc: GoldfishRtc,
    time: Arc<ManualTime>,
    irq: Arc<Level>,
}

impl Board {
    fn new() -> Self {
        let (time, irq) = (Arc::new(ManualTime::default()), Arc::new(Level::default()));
        Self {
            rtc: GoldfishRtc::new(EPOCH_NS, time.clone(), &*time, irq.clone()),
            time,
            irq,
        }
    }
    fn get(&self, register: u64) -> u32 {
        self.rtc.read(register, Word) as u32
    }
    fn put(&self, register: u64, value: u32) {
        self.rtc.write(register, Word, u64::from(value));
    }
    fn now(&self) -> u64 {
        let low = self.get(TIME_LOW);
        join(self.get(TIME_HIGH), low)
    }
    fn arm(&self, at: u64) {
        self.put(ALARM_HIGH, high(at));
        self.put(ALARM_LOW, low(at));
    }
}

#[test]
fn time_read_low_then_high_is_one_moment() {
    let board = Board::new();
    let to_carry = (1 << 32) - (EPOCH_NS & 0xffff_ffff);
    board.time.advance_to(to_carry - 1);
    assert_eq!(board.get(TIME_LOW), u32::MAX);
    board.time.advance_to(to_carry);
    assert_eq!(
        board.get(TIME_HIGH),
        high(EPOCH_NS),
        "latched by the low half"
    );
    assert_eq!(board.now(), EPOCH_NS + to_carry);
}

#[test]
fn time_written_goes_on_from_there_and_survives_reset() {
    let board = Board::new();
    board.time.advance_to(1000);
    let low_before = board.get(TIME_LOW);
    board.put(TIME_HIGH, 5);
    assert_eq!(board.now(), join(5, low_before));
    board.put(TIME_LOW, 7);
    board.time.advance_to(1010);
    assert_eq!(board.now(), (5 << 32) + 17);
    board.rtc.reset();
    assert_eq!(board.now(), (5 << 32) + 17);
}

#[test]
fn alarm_interrupts_when_enabled_until_cleared() {
    let board = Board::new();
    board.put(IRQ_ENABLED, 1);
    board.arm(EPOCH_NS + 500);
    assert_eq!(
        (board.get(ALARM_STATUS), board.time.deadlines()),
        (1, vec![Some(500)])
    );
    assert_eq!(board.get(ALARM_LOW), low(EPOCH_NS + 500));
    assert_eq!(board.get(ALARM_HIGH), high(EPOCH_NS));
    board.time.advance_to(499);
    assert!(!board.irq.high());
    board.time.advance_to(500);
    assert!(board.irq.high());
    assert_eq!(board.get(ALARM_STATUS), 0);
    board.put(CLEAR_INTERRUPT, 0);
    assert!(!board.irq.high());
    board.time.advance_to(10_000);
    assert_eq!(board.irq.rises(), 1);
}

/// The registers of Linux `rtc-goldfish.c`, as numbers.
#[test]
fn registers_sit_where_drivers_expect_them() {
    let board = Board::new();
    let at = EPOCH_NS + 100;
    board.put(0x0c, high(at));
    board.put(0x08, low(at));
    board.put(0x10, 1);
    assert_eq!(board.get(0x18), 1);
    board.time.advance_to(100);
    assert!(board.irq.high());
    assert_eq!([board.get(0x00), board.get(0x04)], [low(at), high(at)]);
    board.put(0x1c, 1);
    assert!(!board.irq.high());
    board.put(0x08, low(at + 900));
    board.put(0x14, 1);
    assert_eq!(board.get(0x18), 0);
}

#[test]
fn alarm_masked_waits_for_the_enable() {
    let board = Board::new();
    board.arm(EPOCH_NS);
    assert!(!board.irq.high());
    board.put(IRQ_ENABLED, 1);
    assert!(board.irq.high());
    board.put(IRQ_ENABLED, 2);
    assert!(!board.irq.high());
}

#[test]
fn alarm_cleared_or_reset_stays_silent() {
    let board = Board::new();
    board.put(IRQ_ENABLED, 1);
    board.arm(EPOCH_NS + 500);
    board.put(CLEAR_ALARM, 1);
    assert_eq!(board.get(ALARM_STATUS), 0);
    board.arm(EPOCH_NS + 600);
    board.rtc.reset();
    assert_eq!(board.get(IRQ_ENABLED), 0);
    board.time.advance_to(700);
    assert_eq!(board.irq.rises(), 0);
    assert_eq!(board.time.deadlines(), [None]);
}

#[test]
fn alarm_moves_with_a_clock_that_is_set() {
    let board = Board::new();
    board.put(IRQ_ENABLED, 1);
    board.arm(EPOCH_NS + 500);
    board.put(TIME_LOW, low(EPOCH_NS + 400));
    assert_eq!(board.time.deadlines(), [Some(100)]);
    board.put(TIME_LOW, low(EPOCH_NS + 500));
    assert!(board.irq.high());
}

#[test]
fn access_of_other_widths_is_ignored() {
    let board = Board::new();
    assert_eq!(board.rtc.read(TIME_LOW, Double), 0);
    board.rtc.write(IRQ_ENABLED, AccessWidth::Byte, 1);
    assert_eq!(board.get(IRQ_ENABLED), 0);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let board = Board::new();
    board.put(IRQ_ENABLED, 1);
    board.time.advance_to(9_000);
    board.arm(EPOCH_NS + 10_000);
    board.get(TIME_LOW);
    let saved = board.rtc.save();
    let other = Board::new();
    other.time.advance_to(50);
    other.rtc.restore(saved.clone()).unwrap();
    assert_eq!(other.rtc.save(), saved);
    assert_eq!(other.time.deadlines(), [Some(1050)]);
    assert!(
        other
            .rtc
            .restore(SavedState {
                version: 2,
                ..saved
            })
            .is_err()
    );
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = Board::new();
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&board.rtc, RANGE_BYTES, part);
            board.time.advance_to(step as u64 * 1_000_000_007);
            let state = board.rtc.core.state.lock();
            proptest::prop_assert_eq!(
                board.irq.high(), state.irq_pending && state.irq_enabled
            );
        }
    }
}

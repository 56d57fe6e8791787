use super::*;
use crate::testing::{Level, ManualTime};
use AccessWidth::Byte;

/// 2026-01-01 00:00:00 UTC, a Thursday.
const EPOCH_NS: u64 = 1_767_225_600 * NS;

struct Board {
    rtc: Arc<Mc146818>,
    time: Arc<ManualTime>,
    irq: Arc<Level>,
}

fn board() -> Board {
    let (time, irq) = (Arc::new(ManualTime::default()), Arc::new(Level::default()));
    Board {
        rtc: Mc146818::new(EPOCH_NS, time.clone(), &*time, irq.clone()),
        time,
        irq,
    }
}

impl Board {
    fn get(&self, index: u8) -> u8 {
        self.rtc.write(0, Byte, index.into());
        self.rtc.read(1, Byte) as u8
    }
    fn put(&self, index: u8, value: u8) {
        self.rtc.write(0, Byte, u64::from(index | NMI_MASK));
        self.rtc.write(1, Byte, value.into());
    }
    /// Century, year, month, day, hour, minute, second.
    fn shown(&self) -> [u8; 7] {
        [0x32, 9, 8, 7, 4, 2, 0].map(|index| self.get(index))
    }
}

#[test]
fn time_is_shown_in_each_format() {
    let board = board();
    board.time.advance_to((13 * 3600 + 5 * 60 + 59) * NS);
    assert_eq!(board.shown(), [0x20, 0x26, 1, 1, 0x13, 0x05, 0x59]);
    assert_eq!(board.get(6), 5);
    board.put(0x0b, 0x06);
    assert_eq!(board.shown(), [20, 26, 1, 1, 13, 5, 59]);
    board.put(0x0b, 0x04);
    assert_eq!(board.get(4), 0x81);
    board.put(0x0b, 0x00);
    board.time.advance_to(24 * 3600 * NS);
    assert_eq!(board.shown(), [0x20, 0x26, 1, 2, 0x12, 0, 0]);
}

#[test]
fn time_is_set_while_it_stands_still() {
    let board = board();
    board.put(0x0b, 0x82);
    for (index, value) in [
        (0x32, 0x19),
        (9, 0x99),
        (8, 0x12),
        (7, 0x31),
        (4, 0x23),
        (2, 0x59),
        (0, 0x58),
    ] {
        board.put(index, value);
    }
    board.time.advance_to(10 * NS);
    assert_eq!(board.get(0), 0x58);
    board.put(0x0b, 0x02);
    board.time.advance_to(12 * NS);
    assert_eq!(board.shown(), [0x20, 0, 1, 1, 0, 0, 0]);
    // One register at a time, without standing still.
    board.put(4, 0x07);
    board.time.advance_to(13 * NS);
    assert_eq!(board.shown(), [0x20, 0, 1, 1, 7, 0, 1]);
    board.rtc.reset();
    assert_eq!(board.get(4), 7);
}

#[test]
fn update_is_announced_and_interrupts() {
    let board = board();
    board.time.advance_to(NS - UPDATE_WARNING_NS - 1);
    assert_eq!(board.get(0x0a), 0x26);
    board.time.advance_to(NS - UPDATE_WARNING_NS);
    assert_eq!(board.get(0x0a), 0xa6);
    board.put(0x0b, 0x12);
    assert_eq!(board.time.deadlines(), [Some(NS)]);
    board.time.advance_to(NS);
    assert!(board.irq.high());
    assert_eq!(
        board.time.deadlines(),
        [None],
        "nothing more until it is read"
    );
    board.time.advance_to(5 * NS);
    assert_eq!(board.get(0x0c) & 0x90, 0x90);
    assert!(!board.irq.high());
    assert_eq!(board.get(0x0c), 0);
    assert_eq!(board.time.deadlines(), [Some(6 * NS)]);
}

#[test]
fn periodic_interrupt_comes_at_its_rate() {
    let board = board();
    board.put(0x0a, 0x26);
    board.put(0x0b, 0x42);
    let period = (NS / 1024) + 1;
    assert_eq!(board.time.deadlines(), [Some(period)]);
    board.time.advance_to(period);
    assert!(board.irq.high());
    assert_eq!(board.get(0x0c), 0xc0);
    assert_eq!(board.time.deadlines(), [Some(NS / 512)]);
    // Polled: the flag is set without an interrupt.
    board.put(0x0b, 0x02);
    board.time.advance_to(10 * period);
    assert_eq!(board.get(0x0c), 0x40);
    assert_eq!(board.irq.rises(), 1);
}

#[test]
fn alarm_interrupts_at_its_time_of_day() {
    let board = board();
    board.put(5, 0x01);
    board.put(3, 0xff);
    board.put(1, 0x30);
    board.put(0x0b, 0x22);
    assert_eq!(board.time.deadlines(), [Some((3600 + 30) * NS)]);
    board.time.advance_to((3600 + 29) * NS);
    assert!(!board.irq.high());
    board.time.advance_to((3600 + 30) * NS);
    assert!(board.irq.high());
    assert_eq!(board.get(0x0c), 0xb0 | 0x40);
    assert_eq!(board.time.deadlines(), [Some((3600 + 90) * NS)]);
    board.time.advance_to(2 * 3600 * NS);
    assert_eq!(board.get(0x0c) & 0xa0, 0xa0);
    assert_eq!(
        board.time.deadlines(),
        [Some((25 * 3600 + 30) * NS)],
        "tomorrow"
    );
    board.put(3, 0x99);
    assert_eq!(board.time.deadlines(), [None], "a time that there is not");
}

#[test]
fn memory_tells_of_the_machine() {
    let board = board();
    board.rtc.describe(2 << 30, 5 << 30, 4);
    assert_eq!([board.get(0x15), board.get(0x16)], [0x80, 0x02]);
    assert_eq!([board.get(0x30), board.get(0x31)], [0xff, 0xff]);
    assert_eq!([board.get(0x34), board.get(0x35)], [0x00, 0x7f]);
    let high = [0x5b, 0x5c, 0x5d].map(|index| board.get(index));
    assert_eq!(high, [0x00, 0x40, 0x01]);
    assert_eq!(board.get(0x5f), 3);
    board.put(0x0f, 0x0a);
    board.rtc.reset();
    assert_eq!([board.get(0x0f), board.get(0x0d)], [0x0a, 0x80]);
    assert_eq!(board.rtc.read(0, Byte), 0xff);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.time.advance_to(10 * NS + 700_000_000);
    first.get(0x0c);
    first.put(0x0b, 0x12);
    let other = board();
    other.time.advance_to(100 * NS + 100_000_000);
    other.rtc.restore(first.rtc.save()).unwrap();
    assert_eq!(other.get(0), 0x10);
    assert_eq!(other.time.deadlines(), [Some(100 * NS + 400_000_000)]);
    other.time.advance_to(100 * NS + 400_000_000);
    assert_eq!(other.get(0), 0x11);
    assert!(other.irq.high());
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&*board.rtc, RANGE_BYTES, part);
            for pair in part.chunks_exact(2) {
                board.put(pair[0], pair[1]);
                board.get(pair[1]);
            }
            board.time.advance_to(step as u64 * 1_000_000_007);
        }
        board.rtc.reset();
        proptest::prop_assert!(!board.irq.high());
    }
}

use super::*;
use crate::testing::{Level, ManualTime};
use AccessWidth::Byte;

struct Board {
    pit: Arc<I8254>,
    speaker: Arc<dyn BusDevice>,
    time: Arc<ManualTime>,
    irq: Arc<Level>,
}

fn board() -> Board {
    let (time, irq) = (Arc::new(ManualTime::default()), Arc::new(Level::default()));
    let pit = I8254::new(time.clone(), &*time, irq.clone());
    Board {
        speaker: pit.speaker_port(),
        pit,
        time,
        irq,
    }
}

impl Board {
    fn put(&self, port: u64, value: u8) {
        self.pit.write(port, Byte, value.into());
    }
    fn get(&self, port: u64) -> u8 {
        self.pit.read(port, Byte) as u8
    }
    fn get16(&self, port: u64) -> u16 {
        let low = self.get(port);
        u16::from_le_bytes([low, self.get(port)])
    }
    fn put16(&self, port: u64, value: u16) {
        for byte in value.to_le_bytes() {
            self.put(port, byte);
        }
    }
    /// Goes to the first moment at which the counters have made `counts` counts.
    fn count_to(&self, counts: u64) {
        self.time.advance_to((counts * 1_000_000_000).div_ceil(HZ));
    }
}

#[test]
fn rate_generator_interrupts_every_period() {
    let board = board();
    board.put(3, 0x34);
    board.put16(0, 1000);
    let period = |n: u64| (n * 1000 * 1_000_000_000).div_ceil(HZ);
    assert_eq!(board.time.deadlines(), [Some(period(1))]);
    for n in 1..4 {
        board.time.advance_to(period(n));
        assert_eq!(u64::from(board.irq.rises()), n);
    }
    assert_eq!(board.get16(0), 1000);
    board.count_to(3001);
    assert_eq!(board.get16(0), 999);
    // Periods that nobody noticed count once.
    board.time.advance_to(period(9) + 5);
    assert_eq!(board.irq.rises(), 4);
    assert_eq!(board.time.deadlines(), [Some(period(10))]);
}

#[test]
fn terminal_count_stays_high_until_written() {
    let board = board();
    board.put(3, 0x30);
    assert!(!board.irq.high());
    board.put16(0, 100);
    board.count_to(99);
    assert!(!board.irq.high());
    board.count_to(100);
    assert!(board.irq.high());
    assert_eq!(board.time.deadlines(), [None]);
    board.count_to(101);
    assert_eq!(board.get16(0), 0xffff, "it goes on");
    board.put16(0, 100);
    assert!(!board.irq.high());
    board.put(0, 1);
    assert_eq!(board.time.deadlines(), [None], "the first byte stops it");
}

#[test]
fn square_wave_and_strobe_interrupt() {
    let board = board();
    board.put(3, 0x36);
    board.put16(0, 1001);
    board.count_to(1);
    assert_eq!(board.get16(0), 999, "in steps of two");
    board.count_to(1001);
    assert_eq!(board.irq.rises(), 1);
    board.put(3, 0x38);
    board.put16(0, 50);
    board.count_to(1001 + 51);
    assert_eq!(board.irq.rises(), 2);
    assert_eq!(board.time.deadlines(), [None]);
}

#[test]
fn latch_holds_and_read_back_tells_status() {
    let board = board();
    board.put(3, 0xb4);
    board.put(3, 0xe8);
    assert_eq!(board.get(2), 0xf4, "high, nothing loaded");
    board.put16(2, 0x1234);
    board.speaker.write(0, Byte, 1);
    let loaded = 10;
    board.count_to(loaded);
    board.put(3, 0x80);
    let first = board.get(2);
    board.count_to(5000);
    let latched = u16::from_le_bytes([first, board.get(2)]);
    assert_eq!(latched, 0x1234 - loaded as u16);
    assert_eq!(board.get16(2), (0x1234 - 5000 % 0x1234) as u16);
    // Status and count of counter 2 at once.
    board.put(3, 0xc8);
    assert_eq!(board.get(2), 0xb4);
    assert_eq!(board.get16(2), (0x1234 - 5000 % 0x1234) as u16);
}

#[test]
fn decimal_counter_counts_in_digits() {
    let board = board();
    board.put(3, 0x31);
    board.put16(0, 0x0100);
    board.count_to(1);
    assert_eq!(board.get16(0), 0x0099);
    board.count_to(101);
    assert_eq!(board.get16(0), 0x9999);
    assert_eq!(board.irq.rises(), 1);
}

/// As Linux and SeaBIOS measure time.
#[test]
fn speaker_port_gates_and_shows_counter_two() {
    let board = board();
    board.speaker.write(0, Byte, 0);
    board.put(3, 0xb0);
    board.put16(2, 1000);
    board.count_to(500);
    assert_eq!(board.get16(2), 1000, "the gate is closed");
    board.speaker.write(0, Byte, 1);
    board.count_to(1499);
    assert_eq!(board.speaker.read(0, Byte) as u8 & 0x2f, 0x01);
    board.count_to(1500);
    assert_eq!(board.speaker.read(0, Byte) as u8 & 0x2f, 0x21);
    let refresh = || board.speaker.read(0, Byte) & 0x10;
    board.time.advance_to(10_000_000);
    let before = refresh();
    board.time.advance_to(10_000_000 + REFRESH_NS);
    assert_ne!(before, refresh());
    // Gate stops and goes on in mode 0.
    board.put(3, 0xb0);
    board.put16(2, 1000);
    let now = board.pit.core.time.ticks();
    board.count_to(now + 300);
    board.speaker.write(0, Byte, 0);
    board.count_to(now + 900);
    assert_eq!(board.get16(2), 700);
}

#[test]
fn one_shot_waits_for_the_gate() {
    let board = board();
    board.put(3, 0xb2);
    board.put16(2, 10);
    board.count_to(100);
    assert_eq!(board.speaker.read(0, Byte) & 0x20, 0x20);
    board.speaker.write(0, Byte, 1);
    assert_eq!(board.speaker.read(0, Byte) & 0x20, 0);
    board.count_to(110);
    assert_eq!(board.speaker.read(0, Byte) & 0x20, 0x20);
}

#[test]
fn shortest_periods_do_not_keep_the_host_busy() {
    let board = board();
    board.put(3, 0x34);
    board.put16(0, 2);
    assert_eq!(board.time.deadlines(), [Some(SHORTEST_PERIOD_NS)]);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.put(3, 0x34);
    first.put16(0, 60_000);
    first.count_to(20_000);
    let other = board();
    other.count_to(7_000_000);
    other.pit.restore(first.pit.save()).unwrap();
    assert_eq!(other.get16(0), 40_000);
    other.count_to(7_040_000);
    assert_eq!(other.irq.rises(), 1);
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&*board.pit, RANGE_BYTES, part);
            crate::fuzzing::drive(&*board.speaker, 1, part);
            board.time.advance_to(step as u64 * 1_000_003);
        }
        board.pit.reset();
        proptest::prop_assert!(!board.irq.high());
        proptest::prop_assert_eq!(board.time.deadlines(), [None]);
    }
}

use super::*;
use crate::testing::{Level, ManualTime};
use AccessWidth::{Double, Word};

#[derive(Default)]
struct Messages(Mutex<Vec<(u64, u32)>>);
impl MsiTarget for Messages {
    fn write(&self, address: u64, data: u32) {
        self.0.lock().push((address, data));
    }
}

struct Board {
    hpet: Arc<Hpet>,
    time: Arc<ManualTime>,
    routes: Vec<Arc<Level>>,
    legacy: [Arc<Level>; 2],
    messages: Arc<Messages>,
}

fn board() -> Board {
    let time = Arc::new(ManualTime::default());
    let routes: Vec<Arc<Level>> = (0..24).map(|_| Arc::default()).collect();
    let legacy: [Arc<Level>; 2] = Default::default();
    let messages = Arc::new(Messages::default());
    let lines = HpetLines {
        routes: routes
            .iter()
            .map(|line| line.clone() as Arc<dyn IrqLine>)
            .collect(),
        legacy: legacy.clone().map(|line| line as Arc<dyn IrqLine>),
        messages: messages.clone(),
    };
    Board {
        hpet: Hpet::new(time.clone(), &*time, lines),
        time,
        routes,
        legacy,
        messages,
    }
}

impl Board {
    fn get(&self, offset: u64) -> u64 {
        self.hpet.read(offset, Double)
    }
    fn put(&self, offset: u64, value: u64) {
        self.hpet.write(offset, Double, value);
    }
}

#[test]
fn capabilities_and_counter_are_as_drivers_expect() {
    let board = board();
    assert_eq!(board.get(0), 0x0098_9680_8086_a201);
    assert_eq!(board.hpet.read(4, Word), 10_000_000);
    assert_eq!(board.get(0x100), 0x00ff_ffff_0000_8030);
    board.time.advance_to(1_000);
    assert_eq!(board.get(0xf0), 0);
    board.put(0xf0, 0xffff_ffff);
    board.put(0x10, 1);
    board.time.advance_to(1_020);
    assert_eq!(board.get(0xf0), 0x1_0000_0001);
    board.put(0xf0, 5);
    assert_eq!(board.get(0xf0), 0x1_0000_0001, "it runs");
    board.put(0x10, 0);
    board.time.advance_to(9_000);
    assert_eq!(board.hpet.read(0xf4, Word), 1);
}

#[test]
fn once_interrupts_at_the_comparator() {
    let board = board();
    board.put(0x10, 1);
    board.put(0x140, 20 << 9 | 1 << 2 | 1 << 8);
    board.put(0x148, 500);
    assert_eq!(board.time.deadlines(), [Some(5_000)]);
    board.time.advance_to(5_000);
    assert_eq!((board.routes[20].rises(), board.get(0x20)), (1, 0));
    // The next is a round of 32 bits away.
    assert_eq!(board.time.deadlines(), [Some(5_000 + (10 << 32))]);
}

#[test]
fn level_stays_until_its_status_is_cleared() {
    let board = board();
    board.put(0x10, 1);
    board.put(0x140, 20 << 9 | 1 << 2 | 1 << 1);
    board.put(0x148, 500);
    board.time.advance_to(5_000);
    assert!(board.routes[20].high());
    assert_eq!(board.get(0x20), 4);
    board.put(0x20, 4);
    assert!(!board.routes[20].high());
    assert_eq!(board.get(0x20), 0);
}

/// As Linux sets it up.
#[test]
fn periodic_in_legacy_replacement_cuts_the_8254() {
    let board = board();
    let pit = board.hpet.legacy_input(board.legacy[0].clone());
    pit.set(true);
    assert!(board.legacy[0].high());
    board.put(0x10, 3);
    assert!(!board.legacy[0].high());
    let before = board.legacy[0].rises();
    board.put(0x100, 1 << 2 | 1 << 3 | 1 << 6 | 1 << 8);
    board.put(0x108, 1_000);
    board.put(0x108, 2_000);
    assert_eq!(board.time.deadlines(), [Some(10_000)]);
    for at in [10_000, 30_000, 50_000] {
        board.time.advance_to(at);
    }
    assert_eq!(board.legacy[0].rises() - before, 3);
    assert_eq!(board.get(0x108), 7_000);
    // Three missed periods count once.
    board.time.advance_to(115_000);
    assert_eq!(board.legacy[0].rises() - before, 4);
    assert_eq!(board.time.deadlines(), [Some(130_000)]);
    board.put(0x10, 1);
    assert!(board.legacy[0].high(), "the 8254 is back");
}

#[test]
fn message_is_written_where_the_route_says() {
    let board = board();
    board.put(0x10, 1);
    board.put(0x110, 0xfee0_1000 << 32 | 0x55);
    board.put(0x100, 1 << 14 | 1 << 2);
    board.put(0x108, 100);
    board.time.advance_to(1_000);
    assert_eq!(*board.messages.0.lock(), [(0xfee0_1000, 0x55)]);
}

#[test]
fn shortest_periods_do_not_keep_the_host_busy() {
    let board = board();
    board.put(0x10, 1);
    board.put(0x100, 1 << 2 | 1 << 3 | 1 << 6);
    board.put(0x108, 1);
    board.time.advance_to(1_000_000);
    let next = board.time.deadlines()[0].unwrap();
    assert!(next >= 1_000_000 + SHORTEST_PERIOD_NS);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.put(0x10, 1);
    first.put(0x140, 20 << 9 | 1 << 2);
    first.put(0x148, 500);
    first.time.advance_to(2_000);
    let other = board();
    other.time.advance_to(70_000);
    other.hpet.restore(first.hpet.save()).unwrap();
    assert_eq!(other.get(0xf0), 200);
    assert_eq!(other.time.deadlines(), [Some(73_000)]);
    other.time.advance_to(73_000);
    assert_eq!(other.routes[20].rises(), 1);
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        let pit = board.hpet.legacy_input(board.legacy[0].clone());
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&*board.hpet, RANGE_BYTES, part);
            board.time.advance_to(step as u64 * 1_000_007);
            pit.set(step % 2 == 0);
        }
        pit.set(false);
        board.hpet.reset();
        for line in board.routes.iter().chain(&board.legacy) {
            proptest::prop_assert!(!line.high());
        }
        proptest::prop_assert_eq!(board.time.deadlines(), [None]);
    }
}

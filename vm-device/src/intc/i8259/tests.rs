use super::*;
use crate::testing::Level;
use AccessWidth::Byte;

struct Board {
    pic: Arc<I8259>,
    intr: Arc<Level>,
    ports: [Arc<dyn BusDevice>; 2],
    elcr: Arc<dyn BusDevice>,
}

impl Board {
    /// Set up as firmware and Linux do, with everything unmasked.
    fn new() -> Self {
        Self::with_icw4(0x01)
    }

    fn with_icw4(icw4: u8) -> Self {
        let intr = Arc::new(Level::default());
        let pic = I8259::new(intr.clone());
        let ports = [pic.master(), pic.slave()];
        let elcr = pic.elcr();
        let board = Self {
            pic,
            intr,
            ports,
            elcr,
        };
        for (chip, base, wiring) in [(0, 0x30, 4), (1, 0x38, 2)] {
            for (port, value) in [(0, 0x11), (1, base), (1, wiring), (1, icw4), (1, 0)] {
                board.put(chip, port, value);
            }
        }
        board
    }
    fn put(&self, chip: usize, port: u64, value: u8) {
        self.ports[chip].write(port, Byte, value.into());
    }
    fn get(&self, chip: usize, port: u64) -> u8 {
        self.ports[chip].read(port, Byte) as u8
    }
    fn take(&self) -> u8 {
        assert!(self.intr.high());
        self.pic.acknowledge()
    }
}

#[test]
fn edge_is_taken_once_by_priority() {
    let board = Board::new();
    board.pic.input(4).pulse();
    board.pic.input(1).pulse();
    assert_eq!(board.get(0, 0), 0x12);
    assert_eq!(board.take(), 0x31);
    assert!(!board.intr.high(), "4 waits for 1");
    board.put(0, 0, 0x0b);
    assert_eq!(board.get(0, 0), 0x02);
    board.put(0, 0, 0x20);
    assert_eq!(board.take(), 0x34);
    board.pic.input(0).pulse();
    assert_eq!(board.take(), 0x30, "0 comes between");
    board.put(0, 0, 0x64);
    assert_eq!(board.get(0, 0), 0x01);
    board.put(0, 0, 0x60);
    assert_eq!(board.get(0, 0), 0);
}

#[test]
fn mask_holds_back_and_keeps() {
    let board = Board::new();
    board.put(0, 1, 0xfb);
    assert_eq!(board.get(0, 1), 0xfb);
    board.pic.input(5).pulse();
    assert!(!board.intr.high());
    board.put(0, 1, 0xdf);
    assert_eq!(board.take(), 0x35);
}

#[test]
fn slave_comes_through_the_cascade() {
    let board = Board::new();
    board.pic.input(12).pulse();
    board.pic.input(14).pulse();
    assert_eq!(board.take(), 0x3c);
    board.put(1, 0, 0x20);
    assert!(!board.intr.high(), "the master still serves the cascade");
    board.put(0, 0, 0x20);
    assert_eq!(board.take(), 0x3e);
    board.pic.input(2).pulse();
    board.put(1, 0, 0x20);
    board.put(0, 0, 0x20);
    assert!(!board.intr.high(), "input 2 is the cascade's alone");
}

#[test]
fn level_that_went_away_is_spurious() {
    let board = Board::new();
    board.elcr.write(0, AccessWidth::Half, 0xffff);
    assert_eq!(board.elcr.read(0, AccessWidth::Half), 0xdef8);
    assert_eq!(board.elcr.read(1, Byte), 0xde);
    let line = board.pic.input(10);
    line.set(true);
    assert_eq!(board.take(), 0x3a);
    board.put(1, 0, 0x20);
    board.put(0, 0, 0x20);
    assert!(board.intr.high(), "still high");
    line.set(false);
    assert!(board.intr.high(), "the cascade was an edge");
    assert_eq!(board.pic.acknowledge(), 0x3f);
    board.put(0, 0, 0x20);
    assert!(!board.intr.high());
    assert_eq!(board.pic.acknowledge(), 0x37);
    board.put(0, 0, 0x0b);
    board.put(1, 0, 0x0b);
    assert_eq!([board.get(0, 0), board.get(1, 0)], [0, 0]);
}

#[test]
fn rotation_turns_priorities() {
    let board = Board::new();
    board.put(0, 0, 0xc3);
    board.pic.input(3).pulse();
    board.pic.input(4).pulse();
    assert_eq!(board.take(), 0x34, "3 is the last now");
    board.put(0, 0, 0xa0);
    board.pic.input(4).pulse();
    assert_eq!(board.take(), 0x33, "4 has become the last");
    board.put(0, 0, 0xe3);
    assert_eq!(board.take(), 0x34);
}

#[test]
fn automatic_end_leaves_nothing_in_service() {
    let board = Board::with_icw4(0x03);
    board.put(0, 0, 0x80);
    board.pic.input(3).pulse();
    board.pic.input(6).pulse();
    assert_eq!(board.take(), 0x33);
    board.pic.input(3).pulse();
    assert_eq!(board.take(), 0x36, "3 has become the last");
    assert_eq!(board.take(), 0x33);
}

#[test]
fn special_mask_lets_others_in() {
    let board = Board::new();
    board.pic.input(1).pulse();
    assert_eq!(board.take(), 0x31);
    board.pic.input(5).pulse();
    assert!(!board.intr.high());
    board.put(0, 1, 0x02);
    board.put(0, 0, 0x68);
    assert_eq!(board.take(), 0x35);
    board.put(0, 0, 0x20);
    board.put(0, 0, 0x0b);
    assert_eq!(board.get(0, 0), 0x02, "the end was for 5, not the masked 1");
}

#[test]
fn special_nested_master_lets_the_slave_interrupt_itself() {
    let board = Board::with_icw4(0x11);
    board.pic.input(12).pulse();
    assert_eq!(board.take(), 0x3c);
    board.pic.input(8).pulse();
    assert_eq!(board.take(), 0x38);
}

/// The local APICs know the pair weakly.
#[test]
fn ports_keep_the_controllers() {
    let board = Board::new();
    let external: Arc<dyn ExternalController> = board.pic.clone();
    let weak = Arc::downgrade(&external);
    let line = board.pic.input(1);
    let Board { pic, ports, .. } = board;
    drop((pic, external));
    line.pulse();
    assert_eq!(weak.upgrade().map(|pic| pic.acknowledge()), Some(0x31));
    drop(ports);
}

#[test]
fn poll_acknowledges() {
    let board = Board::new();
    board.put(0, 0, 0x0c);
    assert_eq!(board.get(0, 0), 0);
    board.pic.input(6).pulse();
    board.put(0, 0, 0x0c);
    assert_eq!(board.get(0, 0), 0x86);
    assert!(!board.intr.high());
    board.put(0, 0, 0x0b);
    assert_eq!(board.get(0, 0), 0x40);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let board = Board::new();
    board.pic.input(9).pulse();
    let saved = board.pic.save();
    let other = Board::new();
    other.pic.restore(saved.clone()).unwrap();
    assert_eq!(other.take(), 0x39);
    let mut wrong = saved;
    wrong.version = 9;
    assert!(other.pic.restore(wrong).is_err());
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = Board::new();
        for (step, part) in script.chunks(8).enumerate() {
            for device in board.ports.iter().chain([&board.elcr]) {
                crate::fuzzing::drive(&**device, RANGE_BYTES, part);
            }
            board.pic.input(step as u8).set(step % 3 == 0);
            board.pic.acknowledge();
        }
        board.ports[0].reset();
        board.ports[1].reset();
        board.put(0, 1, 0xff);
        proptest::prop_assert!(!board.intr.high());
    }
}

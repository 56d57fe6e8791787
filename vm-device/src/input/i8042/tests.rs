use super::*;
use crate::power::recorded;
use crate::testing::Level;
use AccessWidth::Byte;

struct Board {
    chip: Arc<I8042>,
    data: Arc<dyn BusDevice>,
    command: Arc<dyn BusDevice>,
    irqs: [Arc<Level>; 2],
    log: Arc<Mutex<Vec<SystemEvent>>>,
}

fn board() -> Board {
    let irqs: [Arc<Level>; 2] = Default::default();
    let (events, log) = recorded();
    let chip = I8042::new(irqs[0].clone(), irqs[1].clone(), events);
    Board {
        data: chip.data_port(),
        command: chip.command_port(),
        chip,
        irqs,
        log,
    }
}

impl Board {
    fn status(&self) -> u8 {
        self.command.read(0, Byte) as u8
    }
    fn command(&self, code: u8) {
        self.command.write(0, Byte, code.into());
    }
    fn send(&self, byte: u8) {
        self.data.write(0, Byte, byte.into());
    }
    /// All bytes that wait.
    fn take(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.status() & 1 != 0 {
            bytes.push(self.data.read(0, Byte) as u8);
        }
        bytes
    }
    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().for_each(|&byte| self.send(byte));
        self.take()
    }
    fn ask_mouse(&self, bytes: &[u8]) -> Vec<u8> {
        for &byte in bytes {
            self.command(0xd4);
            self.send(byte);
        }
        self.take()
    }
}

/// As SeaBIOS and Linux bring it up.
#[test]
fn tests_pass_and_the_command_byte_is_kept() {
    let board = board();
    board.command(0xaa);
    assert_eq!(board.status(), 0x1d);
    assert_eq!(board.take(), [0x55]);
    for line in [0xab, 0xa9] {
        board.command(line);
        assert_eq!(board.take(), [0]);
    }
    board.command(0x60);
    board.send(0x65);
    board.command(0x20);
    assert_eq!(board.take(), [0x65]);
    board.command(0x73);
    board.send(0x12);
    board.command(0x33);
    assert_eq!(board.take(), [0x12]);
    board.command(0xa7);
    board.command(0x20);
    assert_eq!(board.take(), [0x65]);
    board.command(0xa8);
    board.command(0x20);
    assert_eq!(board.take(), [0x45]);
    // Without a test of the mouse's line, as Linux does: what is put there comes back from there.
    board.command(0xd3);
    board.send(0xa5);
    assert_eq!(board.status() & 0x21, 0x21);
    assert_eq!(board.take(), [0xa5]);
}

#[test]
fn keyboard_answers_its_commands() {
    let board = board();
    assert_eq!(board.ask(&[0xff]), [0xfa, 0xaa]);
    assert_eq!(board.ask(&[0xf2]), [0xfa, 0xab, 0x83]);
    assert_eq!(board.ask(&[0xed, 0x02]), [0xfa, 0xfa]);
    assert_eq!(board.chip.lights(), 2);
    assert_eq!(board.ask(&[0xf0, 0x00]), [0xfa, 0xfa, 0x02]);
    assert_eq!(board.ask(&[0xf0, 0x03]), [0xfa, 0xfe]);
    assert_eq!(board.ask(&[0xf3, 0x00]), [0xfa, 0xfa]);
    assert_eq!(board.ask(&[0xf4]), [0xfa]);
    assert_eq!(board.ask(&[0xee]), [0xee]);
    assert_eq!(board.ask(&[0x12]), [0xfe]);
    board.ask(&[0xf5]);
    assert!(!board.chip.key(30, true), "it does not scan");
}

#[test]
fn keys_come_in_each_set_of_codes() {
    let board = board();
    let press = |code| {
        assert!(board.chip.key(code, true));
        board.chip.key(code, false);
        board.take()
    };
    assert_eq!(press(30), [0x1c, 0xf0, 0x1c]);
    assert_eq!(press(103), [0xe0, 0x75, 0xe0, 0xf0, 0x75]);
    assert_eq!(press(65), [0x83, 0xf0, 0x83]);
    board.command(0x60);
    board.send(mode::TRANSLATE | mode::KEYBOARD_INTERRUPT);
    for code in 1..=88 {
        if ![84, 85].contains(&code) {
            assert_eq!(press(code), [code as u8, code as u8 | 0x80], "{code}");
        }
    }
    assert_eq!(press(103), [0xe0, 0x48, 0xe0, 0xc8]);
    assert_eq!(press(119), [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    assert!(!board.chip.key(600, true));
    board.command(0x60);
    board.send(0);
    board.ask(&[0xf0, 1]);
    assert_eq!(press(103), [0xe0, 0x48, 0xe0, 0xc8]);
}

#[test]
fn each_byte_is_an_edge_of_its_interrupt() {
    let board = board();
    board.chip.key(30, true);
    board.chip.key(30, false);
    assert!(board.irqs[0].high() && !board.irqs[1].high());
    board.data.read(0, Byte);
    assert_eq!((board.irqs[0].high(), board.irqs[0].rises()), (true, 2));
    board.take();
    assert!(!board.irqs[0].high());
    assert_eq!(board.data.read(0, Byte), 0x1c, "the last byte again");
    board.command(0xad);
    board.chip.key(30, true);
    assert_eq!(board.take(), []);
    board.command(0xae);
    assert_eq!(board.take(), [0x1c]);
}

#[test]
fn mouse_reports_movement_buttons_and_wheel() {
    let board = board();
    assert_eq!(board.ask_mouse(&[0xff]), [0xfa, 0xaa, 0x00]);
    board.chip.pointer([1, 1, 0], 0);
    assert_eq!(board.take(), []);
    assert_eq!(board.ask_mouse(&[0xf4]), [0xfa]);
    board.chip.pointer([5, -3, 1], 1);
    assert!(board.irqs[1].high());
    assert_eq!(board.take(), [0x29, 5, 0xfd]);
    board.chip.pointer([-300, 0, 0], 0);
    assert_eq!(board.take(), [0x18, 0x01, 0, 0x18, 0xd3, 0]);
    for rate in [200, 100, 80] {
        assert_eq!(board.ask_mouse(&[0xf3, rate]), [0xfa, 0xfa]);
    }
    assert_eq!(board.ask_mouse(&[0xf2]), [0xfa, 3]);
    board.chip.pointer([0, 0, -1], 0);
    assert_eq!(board.take(), [0x08, 0, 0, 0xff]);
    for rate in [200, 200, 80] {
        board.ask_mouse(&[0xf3, rate]);
    }
    assert_eq!(board.ask_mouse(&[0xf2]), [0xfa, 4]);
    board.chip.pointer([0, 0, -1], 0x10);
    assert_eq!(board.take(), [0x08, 0, 0, 0x2f]);
    assert_eq!(board.ask_mouse(&[0xe9]), [0xfa, 0x20, 2, 80]);
    assert_eq!(board.ask_mouse(&[0xee]), [0xfa]);
    assert_eq!(board.ask_mouse(&[0x42]), [0x42]);
    assert_eq!(board.ask_mouse(&[0xec]), [0xfa]);
    // A guest that does not read: nothing is lost, and nothing grows.
    board.ask_mouse(&[0xff]);
    board.ask_mouse(&[0xf4]);
    for _ in 0..1000 {
        board.chip.pointer([100, 0, 0], 0);
    }
    let bytes = board.take();
    let far: u32 = bytes.chunks(3).map(|report| u32::from(report[1])).sum();
    assert_eq!(far, 65_536 + 21 * 100);
}

#[test]
fn reset_by_pulse_or_output_port() {
    let board = board();
    board.command(0xfe);
    board.command(0xff);
    board.command(0xd1);
    board.send(0xdf);
    board.command(0xd1);
    board.send(0xde);
    assert_eq!(*board.log.lock(), [SystemEvent::Reset; 2]);
    board.command(0xdd);
    board.command(0xd0);
    assert_eq!(board.take(), [0xdd]);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.chip.key(30, true);
    let other = board();
    other.chip.restore(first.chip.save()).unwrap();
    assert!(other.irqs[0].high());
    assert_eq!(other.take(), [0x1c]);
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        for (step, part) in script.chunks(8).enumerate() {
            crate::fuzzing::drive(&*board.data, 1, part);
            crate::fuzzing::drive(&*board.command, 1, part);
            board.chip.key(step as u16, step % 2 == 0);
            board.chip.pointer([step as i32 * 77, i32::MIN, i32::MAX], step as u8);
        }
        board.data.reset();
        proptest::prop_assert!(!board.irqs[0].high());
        proptest::prop_assert_eq!(board.ask(&[0xee]), [0xee]);
    }
}

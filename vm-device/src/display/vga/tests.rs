use super::*;
use AccessWidth::{Byte, Double, Half, Word};

struct Board {
    vga: Arc<Vga>,
    ports: Arc<dyn BusDevice>,
    extensions: Arc<dyn BusDevice>,
    window: Arc<dyn BusDevice>,
}

fn board() -> Board {
    let bytes = MEMORY_BYTES as u64;
    let memory = GuestMemory::new(&[(GuestPhysAddr(0), bytes)]).unwrap();
    let vga = Vga::new(memory, Box::new(|_| {}));
    Board {
        ports: vga.ports(),
        extensions: vga.extension_ports(),
        window: vga.window(),
        vga,
    }
}

impl Board {
    fn out(&self, port: u64, value: u8) {
        self.ports.write(port - PORT, Byte, value.into());
    }
    fn read(&self, port: u64) -> u8 {
        self.ports.read(port - PORT, Byte) as u8
    }
    /// Index and data at once, as most software does.
    fn set(&self, port: u64, index: u8, value: u8) {
        self.ports
            .write(port - PORT, Half, u64::from(index) | u64::from(value) << 8);
    }
    fn extension(&self, index: u16, value: u16) {
        self.extensions.write(0, Half, index.into());
        self.extensions.write(1, Half, value.into());
    }
    fn read_extension(&self, index: u16) -> u16 {
        self.extensions.write(0, Half, index.into());
        self.extensions.read(1, Half) as u16
    }
    fn attribute(&self, index: u8, value: u8) {
        self.read(0x3da);
        self.out(0x3c0, index);
        self.out(0x3c0, value);
    }

    /// 80 by 25 characters of 8 by 16, as a VGA BIOS sets mode 3.
    fn text_mode(&self) {
        self.out(0x3c2, 0x67);
        for (index, value) in [(1, 1), (2, 3), (3, 0), (4, 2)] {
            self.set(0x3c4, index, value);
        }
        for (index, value) in [(5, 0x10), (6, 0x0e), (8, 0xff)] {
            self.set(0x3ce, index, value);
        }
        for (index, value) in [
            (1, 79),
            (7, 0x1f),
            (9, 0x4f),
            (0xa, 0x20),
            (0x12, 0x8f),
            (0x13, 40),
        ] {
            self.set(0x3d4, index, value);
        }
        for index in 0..16 {
            self.attribute(index, index);
        }
        self.attribute(0x10, 0x0c);
        self.read(0x3da);
        self.out(0x3c0, 0x20);
        self.out(0x3c8, 7);
        for part in [42, 0, 63] {
            self.out(0x3c9, part);
        }
    }

    /// Puts a character's shape into plane 2, as a VGA BIOS does.
    fn font(&self, code: u64, line: u64, bits: u8) {
        self.set(0x3c4, 2, 4);
        self.set(0x3c4, 4, 7);
        self.set(0x3ce, 5, 0);
        self.set(0x3ce, 6, 0x04);
        self.window.write(code * 32 + line, Byte, bits.into());
        self.set(0x3c4, 2, 3);
        self.set(0x3c4, 4, 2);
        self.set(0x3ce, 5, 0x10);
        self.set(0x3ce, 6, 0x0e);
    }
}

#[test]
fn text_is_written_read_and_shown() {
    let board = board();
    assert_eq!((board.vga.text(), board.vga.frame()), (None, None));
    board.text_mode();
    board.font(b'A'.into(), 3, 0b1100_0001);
    for (at, byte) in b"A\x07B\x07".iter().enumerate() {
        board
            .window
            .write(0x1_8000 + at as u64, Byte, (*byte).into());
    }
    board.window.write(0x1_8000 + 160, Word, 0x0744_0743);
    assert_eq!(board.window.read(0x1_8000, Word), 0x0742_0741);
    assert_eq!(board.window.read(0, Byte), 0xff, "the window is at B8000h");
    let text = board.vga.text().unwrap();
    assert_eq!(text.len(), 25);
    assert_eq!([&text[0], &text[1], &text[2]], ["AB", "CD", ""]);
    let frame = board.vga.frame().unwrap();
    assert_eq!((frame.width, frame.height), (640, 400));
    let pixel = |x: usize, y: usize| &frame.rgb[(y * 640 + x) * 3..][..3];
    let fore = [170, 0, 255];
    assert_eq!([pixel(0, 3), pixel(1, 3), pixel(7, 3)], [fore; 3]);
    assert_eq!([pixel(2, 3), pixel(0, 4)], [[0; 3]; 2]);
}

#[test]
fn planes_are_written_in_each_mode() {
    let board = board();
    board.set(0x3c4, 4, 6);
    board.set(0x3c4, 2, 0x0f);
    board.set(0x3ce, 6, 0x05);
    board.set(0x3ce, 8, 0xff);
    let plane = |plane: u8| {
        board.set(0x3ce, 4, plane);
        board.window.read(5, Byte)
    };
    let planes = || [0, 1, 2, 3].map(plane);
    // Mode 0: rotated data, and set/reset in plane 1.
    board.set(0x3ce, 3, 4);
    board.set(0x3ce, 0, 2);
    board.set(0x3ce, 1, 2);
    board.window.write(5, Byte, 0x12);
    assert_eq!(planes(), [0x21, 0xff, 0x21, 0x21]);
    // Mode 2: a colour under a bit mask, with what was read before.
    board.set(0x3ce, 3, 0);
    board.set(0x3ce, 5, 2);
    board.set(0x3ce, 8, 0x0f);
    board.window.read(5, Byte);
    board.window.write(5, Byte, 0b0101);
    assert_eq!(planes(), [0x2f, 0xf0, 0x2f, 0x20]);
    // Mode 1: a copy of what was read.
    board.set(0x3ce, 5, 1);
    board.window.read(5, Byte);
    board.window.write(9, Byte, 0);
    board.set(0x3ce, 4, 2);
    assert_eq!(board.window.read(9, Byte), 0x2f);
    // Mode 3: set/reset under data and mask.
    board.set(0x3ce, 5, 3);
    board.set(0x3ce, 8, 0xff);
    board.window.read(5, Byte);
    board.window.write(5, Byte, 0x01);
    assert_eq!(planes(), [0x2e, 0xf1, 0x2e, 0x20]);
    // Read mode 1: where the colour is 3 in planes 0 and 1.
    board.set(0x3ce, 5, 8);
    board.set(0x3ce, 2, 3);
    board.set(0x3ce, 7, 3);
    assert_eq!(board.window.read(5, Byte), 0x2e & 0xf1);
    // Logical operation: exclusive or.
    board.set(0x3ce, 5, 0);
    board.set(0x3ce, 1, 0);
    board.set(0x3ce, 3, 0x18);
    board.set(0x3c4, 2, 1);
    board.window.read(5, Byte);
    board.window.write(5, Byte, 0xff);
    assert_eq!(planes(), [0xd1, 0xf1, 0x2e, 0x20]);
}

#[test]
fn extensions_give_a_linear_framebuffer() {
    let board = board();
    assert_eq!(board.read_extension(0), 0xb0c5);
    assert_eq!(board.read_extension(10), 256);
    board.extension(4, 2);
    assert_eq!(
        [1, 2, 3].map(|index| board.read_extension(index)),
        [2560, 1600, 32]
    );
    board.extension(4, 0);
    for (index, value) in [(1, 640), (2, 480), (3, 32), (4, 0x41)] {
        board.extension(index, value);
    }
    assert_eq!(board.read_extension(6), 640);
    assert_eq!(board.read_extension(7), 6553);
    board.vga.write_bar(0, 4, Word, 0x0001_0203);
    board
        .vga
        .write_bar(0, 640 * 4, Double, 0x0005_0607_000a_0b0c);
    assert_eq!(board.vga.read_bar(0, 4, Word), 0x0001_0203);
    let frame = board.vga.frame().unwrap();
    assert_eq!((frame.width, frame.height), (640, 480));
    assert_eq!(frame.rgb[..6], [0, 0, 0, 1, 2, 3]);
    assert_eq!(frame.rgb[640 * 3..][..6], [10, 11, 12, 5, 6, 7]);
    // The first line is another, the window shows a bank, and the registers are in memory, too.
    board.extension(9, 1);
    assert_eq!(board.vga.frame().unwrap().rgb[..3], [10, 11, 12]);
    board.extension(5, 1);
    board.window.write(3, Byte, 0x77);
    assert_eq!(board.vga.read_bar(0, 0x1_0003, Byte), 0x77);
    assert_eq!(board.vga.read_bar(2, 0x502, Half), 640);
    board.vga.write_bar(2, 0x508, Half, 0);
    assert_eq!(board.read_extension(4), 0);
    // Cleared at the next start, unless asked not to.
    board.extension(4, 0xc1);
    assert_eq!(board.vga.read_bar(0, 4, Word), 0x0001_0203);
    board.extension(4, 0);
    board.extension(3, 16);
    board.extension(4, 0x41);
    assert_eq!(board.vga.read_bar(0, 4, Word), 0);
    board.vga.write_bar(0, 0, Half, 0xf81f);
    assert_eq!(board.vga.frame().unwrap().rgb[..3], [255, 0, 255]);
}

#[test]
fn palette_and_status_answer_as_software_waits_for() {
    let board = board();
    board.out(0x3c2, 1);
    board.out(0x3c8, 0xff);
    for value in 1..=6 {
        board.out(0x3c9, value);
    }
    board.out(0x3c7, 0xff);
    let read = || board.read(0x3c9);
    assert_eq!(
        [read(), read(), read(), read(), read(), read()],
        [1, 2, 3, 4, 5, 6]
    );
    let first = board.read(0x3da);
    assert_eq!(first ^ board.read(0x3da), 9);
    assert_eq!(board.read(0x3ba), 0xff, "monochrome ports are hidden");
    board.set(0x3d4, 0x11, 0x80);
    board.set(0x3d4, 1, 5);
    board.out(0x3d4, 1);
    assert_eq!(board.read(0x3d5), 0, "protected");
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.text_mode();
    first.window.write(0x1_8000, Half, 0x0758);
    let other = board();
    other.vga.restore(first.vga.save()).unwrap();
    assert_eq!(other.vga.text().unwrap()[0], "X");
    other.vga.reset();
    assert_eq!(other.vga.text(), None);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script(), extensions: Vec<(u8, u16)>) {
        let board = board();
        board.text_mode();
        crate::fuzzing::drive(&*board.ports, RANGE_BYTES, &script);
        crate::fuzzing::drive(&*board.window, WINDOW_BYTES, &script);
        crate::fuzzing::drive(&*board.extensions, EXTENSION_RANGE_BYTES, &script);
        board.vga.text();
        board.vga.frame();
        for (index, value) in extensions {
            board.extension(u16::from(index % 12), value % 64);
            board.vga.write_bar(index, value.into(), Word, value.into());
            board.vga.read_bar(index, value.into(), Byte);
            board.window.write(value.into(), Double, value.into());
            board.window.read(value.into(), Byte);
        }
        board.vga.text();
        board.vga.frame();
        board.vga.reset();
        proptest::prop_assert_eq!(board.read_extension(0), 0xb0c5);
    }
}

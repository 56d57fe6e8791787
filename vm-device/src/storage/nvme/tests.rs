use std::io as host_io;
use std::time::{Duration, Instant};

use super::*;
use crate::pci::Mailbox;
use crate::testing::Level;
use AccessWidth::{Byte, Double, Half, Word};
use vm_core::GuestPhysAddr;

const ADMIN_SQ: u64 = 0x1000;
const ADMIN_CQ: u64 = 0x2000;
const SQ: u64 = 0x3000;
const CQ: u64 = 0x4000;
const LIST: u64 = 0x5000;
const DATA: u64 = 0x1_0000;

/// A disk in memory.
struct Bytes(Mutex<Vec<u8>>);
impl BlockBackend for Bytes {
    fn len(&self) -> u64 {
        self.0.lock().len() as u64
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> host_io::Result<()> {
        into.copy_from_slice(&self.0.lock()[offset as usize..][..into.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> host_io::Result<()> {
        self.0.lock()[offset as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }
    fn flush(&self) -> host_io::Result<()> {
        Ok(())
    }
}

struct Board {
    nvme: Arc<Nvme>,
    memory: GuestMemory,
    irq: Arc<Level>,
    mailbox: Arc<Mailbox>,
    disk: Arc<Bytes>,
    /// Commands sent to, and completions taken from, both pairs of queues.
    sent: [u32; 2],
    taken: [u32; 2],
}

const ENTRIES: u32 = 4;

fn board() -> Board {
    let memory = GuestMemory::new(&[(GuestPhysAddr(0), 0x4_0000)]).unwrap();
    let irq = Arc::new(Level::default());
    let mailbox = Arc::new(Mailbox::default());
    let bytes = (0..2000 * 512).map(|at| (at / 512) as u8).collect();
    let disk = Arc::new(Bytes(Mutex::new(bytes)));
    let messages: Arc<dyn MsiTarget> = mailbox.clone();
    let nvme = Nvme::new(
        disk.clone(),
        "serial",
        HostRoom::unwatched(),
        memory.clone(),
        irq.clone(),
        Some(messages),
    )
    .unwrap();
    nvme.write_config(4, Half, 6);
    Board {
        nvme,
        memory,
        irq,
        mailbox,
        disk,
        sent: [0; 2],
        taken: [0; 2],
    }
}

impl Board {
    fn get(&self, offset: u64) -> u32 {
        self.nvme.read_bar(0, offset, Word) as u32
    }
    fn put(&self, offset: u64, value: u32) {
        self.nvme.write_bar(0, offset, Word, value.into());
    }
    fn ram<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(GuestPhysAddr(at), &mut bytes).unwrap();
        bytes
    }
    fn fill(&self, at: u64, bytes: &[u8]) {
        self.memory.write(GuestPhysAddr(at), bytes).unwrap();
    }

    fn start(&mut self) {
        self.put(reg::ADMIN_SIZES, (ENTRIES - 1) << 16 | (ENTRIES - 1));
        self.nvme
            .write_bar(0, reg::ADMIN_SUBMISSION, Double, ADMIN_SQ);
        self.nvme
            .write_bar(0, reg::ADMIN_COMPLETION, Double, ADMIN_CQ);
        self.fill(ADMIN_CQ, &[0; 64]);
        self.fill(CQ, &[0; 64]);
        (self.sent, self.taken) = ([0; 2], [0; 2]);
        self.put(reg::CONFIGURATION, 0x46_0001);
        assert_eq!(self.get(reg::STATUS), READY);
    }

    /// Sends a command by its double words and waits for its end: (result, status).
    fn command(&mut self, pair: usize, words: &[(usize, u32)]) -> (u32, u16) {
        let mut command = [0u32; 16];
        for &(at, value) in words {
            command[at] = value;
        }
        command[0] |= (self.sent[pair] + 7) << 16;
        let bytes: Vec<u8> = command.iter().flat_map(|word| word.to_le_bytes()).collect();
        let [sq, cq] = [[ADMIN_SQ, ADMIN_CQ], [SQ, CQ]][pair];
        self.fill(sq + u64::from(self.sent[pair] % ENTRIES) * 64, &bytes);
        self.sent[pair] += 1;
        let doorbell = reg::DOORBELLS + 8 * pair as u64;
        self.put(doorbell, self.sent[pair] % ENTRIES);
        let place = cq + u64::from(self.taken[pair] % ENTRIES) * 16;
        let phase = (self.taken[pair] / ENTRIES).is_multiple_of(2);
        let start = Instant::now();
        loop {
            let words = self.ram::<16>(place);
            let word =
                |at: usize| u32::from_le_bytes(words[at * 4..at * 4 + 4].try_into().unwrap());
            if (word(3) >> 16 & 1 != 0) == phase {
                assert_eq!(word(3) as u16, (self.sent[pair] + 6) as u16);
                assert_eq!(word(2), ((pair as u32) << 16) | (self.sent[pair] % ENTRIES));
                self.taken[pair] += 1;
                self.put(doorbell + 4, self.taken[pair] % ENTRIES);
                return (word(0), (word(3) >> 17) as u16);
            }
            assert!(start.elapsed() < Duration::from_secs(10), "never ended");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn admin(&mut self, words: &[(usize, u32)]) -> (u32, u16) {
        self.command(0, words)
    }

    fn with_queues(&mut self) {
        self.start();
        let create = |opcode, base: u64, flags| {
            [
                (0, opcode),
                (6, base as u32),
                (10, (ENTRIES - 1) << 16 | 1),
                (11, flags),
            ]
        };
        assert_eq!(self.admin(&create(5, CQ, 3)), (0, 0));
        assert_eq!(self.admin(&create(1, SQ, 1 << 16 | 1)), (0, 0));
    }

    fn io(&mut self, opcode: u32, pages: [u64; 2], block: u32, blocks: u32) -> u16 {
        let words = [
            (0, opcode),
            (1, 1),
            (6, pages[0] as u32),
            (8, pages[1] as u32),
            (10, block),
            (12, blocks.wrapping_sub(1)),
        ];
        self.command(1, &words).1
    }
}

#[test]
fn controller_identifies_itself() {
    let mut board = board();
    assert_eq!(board.nvme.read_config(0, Word), 0x0010_1b36);
    assert_eq!(
        board.nvme.read_bar(0, 0, Double),
        0x20_1401_03ff,
        "capabilities"
    );
    board.start();
    assert_eq!(board.admin(&[(0, 6), (6, DATA as u32), (10, 1)]), (0, 0));
    let data = board.ram::<4096>(DATA);
    assert_eq!(&data[4..14], b"serial    ");
    assert_eq!((data[77], data[516]), (7, 1));
    assert_eq!(board.admin(&[(0, 6), (1, 1), (6, DATA as u32)]), (0, 0));
    let data = board.ram::<4096>(DATA);
    assert_eq!(data[..8], 2000u64.to_le_bytes());
    assert_eq!(data[130], 9);
    assert_eq!(board.admin(&[(0, 6), (6, DATA as u32), (10, 2)]), (0, 0));
    assert_eq!(board.ram::<8>(DATA), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(board.admin(&[(0, 6), (1, 2)]).1, 0x0b);
    assert_eq!(
        board.admin(&[(0, 9), (10, 7), (11, 0xff_00ff)]),
        (0x000f_000f, 0)
    );
    assert_eq!(board.admin(&[(0, 10), (10, 6)]), (1, 0));
    assert_eq!(board.admin(&[(0, 0x7f)]).1, 1);
    assert_eq!(
        board.admin(&[(0, 2), (6, DATA as u32), (10, 127 << 16 | 2)]),
        (0, 0)
    );
    assert_eq!(board.ram::<4>(DATA)[1..3], [0x2c, 1]);
}

#[test]
fn queues_are_made_only_as_they_can_be() {
    let mut board = board();
    board.start();
    let create = |opcode, number: u32, size: u32, flags, base| {
        [
            (0, opcode),
            (6, base),
            (10, size << 16 | number),
            (11, flags),
        ]
    };
    for (words, status) in [
        (create(5, 0, 3, 1, CQ as u32), 0x101),
        (create(5, 17, 3, 1, CQ as u32), 0x101),
        (create(5, 1, 0, 1, CQ as u32), 0x102),
        (create(5, 1, 2000, 1, CQ as u32), 0x102),
        (create(5, 1, 3, 0, CQ as u32), 0x02),
        (create(5, 1, 3, 1, 8), 0x02),
        (create(5, 1, 3, 5 << 16 | 3, CQ as u32), 0x108),
        (create(1, 1, 3, 1 << 16 | 1, SQ as u32), 0x100),
        (create(5, 1, 3, 1, CQ as u32), 0),
        (create(5, 1, 3, 1, CQ as u32), 0x101),
        (create(1, 1, 3, 1 << 16 | 1, SQ as u32), 0),
        (create(4, 1, 0, 0, 0), 0x10c),
        (create(0, 1, 0, 0, 0), 0),
        (create(4, 1, 0, 0, 0), 0),
        (create(4, 1, 0, 0, 0), 0x101),
    ] {
        assert_eq!(board.admin(&words).1, status, "{words:x?}");
    }
}

#[test]
fn blocks_are_read_and_written_through_pages() {
    let mut board = board();
    board.with_queues();
    // One page, from its middle into the next.
    assert_eq!(board.io(2, [DATA + 0xe00, DATA + 0x3000], 7, 3), 0);
    let first = |board: &Board, at| board.ram::<1>(at)[0];
    assert_eq!(first(&board, DATA + 0xe00), 7);
    assert_eq!(
        [first(&board, DATA + 0x3000), first(&board, DATA + 0x33ff)],
        [8, 9]
    );
    // A list: three pages, in any order.
    for (at, page) in [(0, 0x5000u64), (8, 0x4000)] {
        board.fill(LIST + at, &(DATA + page).to_le_bytes());
    }
    assert_eq!(board.io(2, [DATA + 0x8000, LIST], 100, 24), 0);
    assert_eq!(
        [
            first(&board, DATA + 0x8000),
            first(&board, DATA + 0x5000),
            first(&board, DATA + 0x4000)
        ],
        [100, 108, 116]
    );
    board.fill(DATA, &[0xaa; 512]);
    assert_eq!(board.io(1, [DATA, 0], 50, 1), 0);
    assert_eq!(board.disk.0.lock()[50 * 512..51 * 512], [0xaa; 512]);
    assert_eq!(board.io(8, [0, 0], 50, 1), 0);
    assert_eq!(board.disk.0.lock()[50 * 512..51 * 512], [0; 512]);
    assert_eq!(board.io(0, [0, 0], 0, 1), 0);
    assert_eq!(board.io(2, [DATA, 0], 1999, 2), 0x80);
    assert_eq!(board.io(2, [1 << 31, 0], 0, 1), 0x04);
    assert_eq!(board.io(2, [DATA, DATA + 8], 0, 9), 0x13);
    assert_eq!(board.io(0x55, [0, 0], 0, 1), 0x01);
}

#[test]
fn completions_interrupt_by_pin_or_message() {
    let mut board = board();
    board.with_queues();
    let masked = |board: &Board, mask| {
        board.put(reg::MASK_CLEAR, u32::MAX);
        board.put(reg::MASK_SET, mask);
    };
    assert!(!board.irq.high(), "all were taken");
    let rises = board.irq.rises();
    assert!(rises >= 2);
    masked(&board, 1);
    board.io(0, [0, 0], 0, 1);
    assert_eq!(board.irq.rises(), rises);
    // Messages: the capability is the first.
    let at = board.nvme.read_config(0x34, Byte) as u16;
    assert_eq!(board.nvme.read_config(at, Byte), 0x11);
    for (field, value) in [(0, 0xfee0_0000), (8, 0x61), (12, 0)] {
        board.nvme.write_bar(MESSAGES_BAR, field, Word, value);
    }
    board.nvme.write_config(at + 2, Half, 0x8000);
    board.io(0, [0, 0], 0, 1);
    let start = Instant::now();
    let mut got = Vec::new();
    while got.is_empty() && start.elapsed() < Duration::from_secs(10) {
        got = board.mailbox.take();
    }
    assert_eq!(got, [(0xfee0_0000, 0x61)]);
}

#[test]
fn reset_forgets_queues_and_starts_again() {
    let mut board = board();
    board.with_queues();
    board.put(reg::CONFIGURATION, 0);
    assert_eq!(board.get(reg::STATUS), 0);
    board.with_queues();
    assert_eq!(board.io(2, [DATA, 0], 3, 1), 0);
    board.put(reg::CONFIGURATION, 0x46_4001);
    assert_eq!(board.get(reg::STATUS), READY | SHUTDOWN_DONE);
    board.nvme.reset();
    assert_eq!(
        (board.get(reg::STATUS), board.get(reg::ADMIN_SIZES)),
        (0, 0)
    );
    board.put(reg::CONFIGURATION, 1);
    assert_eq!(board.get(reg::STATUS), FATAL, "queues of one entry");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn random_accesses_and_commands_never_panic(
        script: Vec<(u16, u32)>,
        commands in proptest::collection::vec((0u32..12, proptest::prelude::any::<[u32; 6]>()), 0..30),
    ) {
        let mut board = board();
        board.with_queues();
        for (opcode, [a, b, c, d, e, f]) in commands {
            if opcode != 12 {
                board.io(opcode, [a.into(), b.into()], c % 2100, d % 3000);
            }
            if !matches!(opcode, 0 | 1 | 4 | 5 | 12) {
                board.admin(&[(0, opcode), (1, e % 3), (6, a), (8, b), (10, c), (11, f)]);
            }
        }
        for (at, value) in script {
            let offset = u64::from(at) % 0x1100;
            board.nvme.write_bar(0, offset & !3, if value & 1 == 0 { Word } else { Double }, value.into());
            board.nvme.read_bar(0, offset, Byte);
            board.nvme.write_bar(MESSAGES_BAR, offset & !3, Word, value.into());
            board.nvme.read_bar(MESSAGES_BAR, offset & !7, Double);
        }
        board.nvme.reset();
        board.nvme.write_config(4, Half, 6);
        board.start();
        proptest::prop_assert_eq!(board.admin(&[(0, 10), (10, 6)]), (1, 0));
    }
}

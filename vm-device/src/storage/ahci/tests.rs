use std::io;
use std::time::{Duration, Instant};

use super::*;
use crate::testing::Level;
use AccessWidth::{Byte, Double, Half, Word};
use vm_core::GuestPhysAddr;

const RAM_BYTES: u64 = 0x10_0000;
const LIST: u64 = 0x1000;
const FIS: u64 = 0x2000;
const TABLE: u64 = 0x3000;
const DATA: u64 = 0x1_0000;

/// A disk in memory; reads of its last sector fail.
struct Bytes(Mutex<Vec<u8>>);
impl BlockBackend for Bytes {
    fn len(&self) -> u64 {
        self.0.lock().len() as u64
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock();
        let end = offset as usize + into.len();
        if end == bytes.len() {
            return Err(io::ErrorKind::Other.into());
        }
        into.copy_from_slice(&bytes[offset as usize..end]);
        Ok(())
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.lock()[offset as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Every sector of 512 bytes is full of its number.
fn bytes(sectors: usize) -> Arc<Bytes> {
    let bytes = (0..sectors * 512).map(|at| (at / 512) as u8);
    Arc::new(Bytes(Mutex::new(bytes.collect())))
}

struct Board {
    ahci: Arc<Ahci>,
    memory: GuestMemory,
    irq: Arc<Level>,
    disk: Arc<Bytes>,
}

fn board() -> Board {
    let memory = GuestMemory::new(&[(GuestPhysAddr(0), RAM_BYTES)]).unwrap();
    let irq = Arc::new(Level::default());
    let disk = bytes(200);
    let drives = vec![
        Some(SataDrive::Disk {
            backend: disk.clone(),
            serial: "one".into(),
            room: HostRoom::unwatched(),
        }),
        Some(SataDrive::Optical {
            medium: Some(bytes(400)),
            serial: "two".into(),
        }),
    ];
    let ahci = Ahci::new(drives, memory.clone(), irq.clone()).unwrap();
    ahci.write_config(4, Half, 6);
    Board {
        ahci,
        memory,
        irq,
        disk,
    }
}

impl Board {
    fn get(&self, offset: u64) -> u32 {
        self.ahci.read_bar(BAR, offset, Word) as u32
    }
    fn put(&self, offset: u64, value: u32) {
        self.ahci.write_bar(BAR, offset, Word, value.into());
    }
    fn port(port: u64, register: u64) -> u64 {
        PORT_BASE + port * PORT_BYTES + register
    }
    fn ram<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(GuestPhysAddr(at), &mut bytes).unwrap();
        bytes
    }
    fn fill(&self, at: u64, bytes: &[u8]) {
        self.memory.write(GuestPhysAddr(at), bytes).unwrap();
    }

    /// Brings a port up as drivers do.
    fn start(&self, port: u64) {
        self.put(0x04, 0x8000_0002);
        self.put(Self::port(port, 0x00), LIST as u32);
        self.put(Self::port(port, 0x08), FIS as u32);
        self.put(Self::port(port, 0x14), u32::MAX);
        self.put(Self::port(port, 0x18), 0x17);
    }

    fn wait(&self, port: u64) {
        let start = Instant::now();
        let busy = |this: &Self| {
            let failed = this.get(Self::port(port, 0x10)) & 1 << 30 != 0;
            this.get(Self::port(port, 0x38)) & 1 != 0 && !failed
        };
        while busy(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "never ended");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Issues a command with two regions, the first of 512 bytes; gives (status, error, bytes moved).
    fn issue(
        &self,
        port: u64,
        fis: [u8; 16],
        packet: Option<[u8; 12]>,
        bytes: u32,
    ) -> (u8, u8, u32) {
        let flags = 5 | 2 << 16 | if packet.is_some() { 1 << 5 } else { 0 };
        let mut header = [0; 16];
        header[..4].copy_from_slice(&u32::to_le_bytes(flags));
        header[8..12].copy_from_slice(&(TABLE as u32).to_le_bytes());
        self.fill(LIST, &header);
        self.fill(TABLE, &fis);
        self.fill(TABLE + 0x40, &packet.unwrap_or_default());
        let rest = bytes.saturating_sub(512).max(2);
        for (at, (to, length)) in [(DATA, 512), (DATA + 0x1000, rest)].into_iter().enumerate() {
            let mut region = [0; 16];
            region[..8].copy_from_slice(&to.to_le_bytes());
            region[12..].copy_from_slice(&(length - 1u32).to_le_bytes());
            self.fill(TABLE + 0x80 + 16 * at as u64, &region);
        }
        self.put(Self::port(port, 0x10), u32::MAX);
        self.put(Self::port(port, 0x38), 1);
        self.wait(port);
        let [status, error, ..] = self.get(Self::port(port, 0x20)).to_le_bytes();
        if status & 1 != 0 {
            self.put(Self::port(port, 0x18), 0x16);
            self.put(Self::port(port, 0x18), 0x17);
        }
        (status, error, u32::from_le_bytes(self.ram(LIST + 4)))
    }

    fn ata(&self, command: u8, lba: u32, count: u8, bytes: u32) -> (u8, u8, u32) {
        let [a, b, c, d] = lba.to_le_bytes();
        let fis = [
            0x27, 0x80, command, 1, a, b, c, 0x40, d, 0, 0, 0, count, 0, 0, 0,
        ];
        self.issue(0, fis, None, bytes)
    }

    fn packet(&self, packet: &[u8], bytes: u32) -> (u8, u8, u32) {
        let mut whole = [0; 12];
        whole[..packet.len()].copy_from_slice(packet);
        let fis = [0x27, 0x80, 0xa0, 1, 0, 0, 0, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.issue(1, fis, Some(whole), bytes)
    }
}

#[test]
fn controller_shows_ports_and_signatures() {
    let board = board();
    assert_eq!(board.ahci.read_config(0, Word), 0x2922_8086);
    assert_eq!(board.ahci.read_config(8, Word) >> 8, 0x01_0601);
    assert_eq!([board.get(0x0c), board.get(0x10)], [0x3f, 0x1_0300]);
    assert_eq!(board.get(Board::port(0, 0x28)), 0x133);
    assert_eq!(board.get(Board::port(0, 0x24)), 0x101);
    assert_eq!(board.get(Board::port(1, 0x24)), 0xeb14_0101);
    assert_eq!(board.get(Board::port(2, 0x28)), 0);
    assert_eq!(board.get(Board::port(2, 0x20)), 0x7f);
    board.put(Board::port(0, 0x08), FIS as u32);
    board.put(Board::port(0, 0x18), 0x16);
    assert_eq!(board.get(Board::port(0, 0x18)), 0x4016);
    assert_eq!(board.ram::<4>(FIS + 0x40), [0x34, 0, 0x50, 1]);
    // The link is reset.
    board.put(Board::port(0, 0x2c), 1);
    assert_eq!(board.get(Board::port(0, 0x28)), 0);
    board.put(Board::port(0, 0x2c), 0);
    assert_eq!(board.get(Board::port(0, 0x28)), 0x133);
    assert_eq!(board.get(Board::port(0, 0x30)), 1 << 26);
    assert_eq!(board.get(Board::port(0, 0x10)), 1 << 6);
}

#[test]
fn disk_identifies_reads_and_writes() {
    let board = board();
    board.start(0);
    assert_eq!(board.ata(0xec, 0, 0, 512), (0x50, 0, 512));
    let words = board.ram::<512>(DATA);
    assert_eq!(&words[20..24], b"no e");
    assert_eq!(words[120..124], 200u32.to_le_bytes());
    assert_eq!(words[200..204], 200u32.to_le_bytes());
    let sum = words.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    assert_eq!(sum, 0);
    assert!(board.irq.high());
    assert_eq!(board.get(0x08), 1);
    assert_eq!(board.get(Board::port(0, 0x10)), 2, "by PIO");
    assert_eq!(board.ram::<3>(FIS + 0x20), [0x5f, 0x60, 0x58]);
    board.put(Board::port(0, 0x10), 2);
    assert!(!board.irq.high());
    // By DMA, over two regions.
    assert_eq!(board.ata(0x25, 7, 3, 1536), (0x50, 0, 1536));
    assert_eq!(board.get(Board::port(0, 0x10)), 1);
    assert_eq!(
        [
            board.ram(DATA + 511),
            board.ram(DATA + 0x1000),
            board.ram(DATA + 0x13ff)
        ],
        [[7], [8], [9]]
    );
    board.fill(DATA, &[0xaa; 512]);
    assert_eq!(board.ata(0xca, 20, 1, 512), (0x50, 0, 512));
    assert_eq!(board.disk.0.lock()[20 * 512..21 * 512], [0xaa; 512]);
    assert_eq!(board.ata(0xea, 0, 0, 0), (0x50, 0, 0));
}

#[test]
fn disk_errors_stop_the_list_until_it_is_restarted() {
    let board = board();
    board.start(0);
    assert_eq!(board.ata(0x25, 198, 3, 1536).1, 0x14, "past the end");
    assert_eq!(board.ata(0x25, 199, 1, 512).1, 0x40, "unreadable");
    assert_eq!(board.ata(0xb0, 0, 0, 0), (0x51, 4, 0));
    // Regions that are too short, and one that is no RAM.
    let mut region = [0xff; 16];
    region[12..].copy_from_slice(&511u32.to_le_bytes());
    assert_eq!(board.ata(0x35, 1, 199, 512).1, 0x04);
    board.put(Board::port(0, 0x10), u32::MAX);
    board.fill(
        TABLE,
        &[0x27, 0x80, 0x25, 0, 1, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0, 0],
    );
    board.fill(TABLE + 0x80, &region);
    board.put(Board::port(0, 0x38), 1);
    board.wait(0);
    assert_ne!(board.get(Board::port(0, 0x10)) & 1 << 29, 0);
    assert_eq!(board.get(Board::port(0, 0x38)), 1, "it stays");
    board.put(0x04, 1);
    assert_eq!(board.get(Board::port(0, 0x38)), 0);
    assert!(!board.irq.high());
}

#[test]
fn software_reset_gives_the_signature() {
    let board = board();
    board.start(1);
    let fis = |control| [0x27, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, control];
    board.issue(1, fis(4), None, 0);
    board.fill(FIS + 0x40, &[0; 20]);
    board.issue(1, fis(0), None, 0);
    assert_eq!(
        board.ram::<8>(FIS + 0x40),
        [0x34, 0x40, 0x50, 1, 1, 0x14, 0xeb, 0]
    );
}

#[test]
fn optical_drive_reads_and_tells_what_it_is() {
    let board = board();
    board.start(1);
    assert_eq!(board.packet(&[0x00], 0), (0x50, 0, 0));
    assert_eq!(board.packet(&[0x12, 0, 0, 0, 36], 512), (0x50, 0, 36));
    assert_eq!(&board.ram::<36>(DATA)[8..22], b"VIRTUAL CD-ROM");
    assert_eq!(board.packet(&[0x25], 512), (0x50, 0, 8));
    assert_eq!(board.ram(DATA), [0, 0, 0, 99, 0, 0, 8, 0]);
    assert_eq!(
        board.packet(&[0x28, 0, 0, 0, 0, 5, 0, 0, 1], 2048),
        (0x50, 0, 2048)
    );
    assert_eq!([board.ram(DATA), board.ram(DATA + 0x1000)], [[20], [21]]);
    assert_eq!(board.packet(&[0x43, 0, 0, 0, 0, 0, 0, 0, 20], 512).2, 20);
    assert_eq!(board.ram::<20>(DATA)[14..], [0xaa, 0, 0, 0, 0, 100]);
    assert_eq!(board.packet(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8], 512).2, 8);
    assert_eq!(board.ram::<8>(DATA)[7], 8);
    assert_eq!(board.packet(&[0x28, 0, 0, 0, 0, 99, 0, 0, 2], 4096).0, 0x51);
    assert_eq!(board.packet(&[0x03, 0, 0, 0, 18], 512).2, 18);
    let sense = board.ram::<18>(DATA);
    assert_eq!([sense[2], sense[12]], [5, 0x21]);
    // Not a disk.
    let identify = [0x27, 0x80, 0xec, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(board.issue(1, identify, None, 512).1, 4);
    assert_eq!(board.ram::<8>(FIS + 0x40)[4..7], [1, 0x14, 0xeb]);
}

#[test]
fn medium_that_changes_is_told() {
    let board = board();
    board.start(1);
    assert_eq!(board.packet(&[0x1e, 0, 0, 0, 1], 0).0, 0x50);
    assert!(!board.ahci.set_medium(1, None, false), "it is locked");
    assert!(!board.ahci.set_medium(0, None, true), "a disk");
    assert!(board.ahci.set_medium(1, None, true));
    assert_eq!(board.packet(&[0x00], 0).1, 0x64, "unit attention");
    assert_eq!(board.packet(&[0x00], 0).1, 0x24, "no medium");
    assert!(board.ahci.set_medium(1, Some(bytes(40)), true));
    assert_eq!(board.packet(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 512).2, 8);
    assert_eq!(board.ram::<8>(DATA)[4..6], [2, 2]);
    assert_eq!(board.packet(&[0x25], 0).1, 0x64);
    assert_eq!(board.packet(&[0x25], 512).2, 8);
    assert_eq!(board.ram::<4>(DATA), [0, 0, 0, 9]);
}

#[test]
fn nothing_is_done_without_bus_mastering() {
    let board = board();
    board.start(0);
    board.ahci.write_config(4, Half, 2);
    board.fill(
        TABLE,
        &[0x27, 0x80, 0xec, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    board.put(Board::port(0, 0x38), 1);
    // Long enough for the thread to misbehave.
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(board.get(Board::port(0, 0x38)), 1);
    board.ahci.write_config(4, Half, 6);
    board.wait(0);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.start(0);
    first.ata(0xec, 0, 0, 512);
    let saved = first.ahci.save();
    let other = board();
    other.ahci.restore(saved.clone()).unwrap();
    assert!(other.irq.high());
    assert_eq!(other.ahci.save(), saved);
    let none = Ahci::new(Vec::new(), other.memory.clone(), Arc::new(Level::default())).unwrap();
    assert!(none.restore(saved).is_err());
    other.ahci.reset();
    assert!(!other.irq.high());
    assert_eq!(other.ahci.read_config(4, Byte), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn random_accesses_and_commands_never_panic(
        script: Vec<(u16, u32)>,
        commands in proptest::collection::vec((proptest::prelude::any::<[u8; 12]>(), 0u32..5000), 0..40),
        junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0x300),
    ) {
        let board = board();
        board.start(0);
        board.start(1);
        for (bytes, length) in commands {
            board.packet(&bytes, length);
            let [command, lba, count, ..] = bytes;
            board.ata(command, lba.into(), count, length);
        }
        board.fill(LIST, &junk);
        board.fill(TABLE, &junk);
        for (at, value) in script {
            let offset = u64::from(at) % 0x300;
            board.ahci.write_bar(BAR, offset & !3, if value & 1 == 0 { Word } else { Double }, value.into());
            board.ahci.read_bar(BAR, offset, Byte);
            board.ahci.write_config(at & 0xfc, Word, value | 4);
        }
        board.ahci.reset();
        board.ahci.write_config(4, Half, 6);
        board.start(0);
        proptest::prop_assert_eq!(board.ata(0xec, 0, 0, 512), (0x50, 0, 512));
    }
}

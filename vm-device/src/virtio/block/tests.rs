use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vm_core::config::OnFull;
use vm_core::{AccessWidth, Notices};

use super::*;
use crate::BusDevice;
use crate::virtio::VirtioMmio;
use crate::virtio::driver::*;
use crate::virtio::spec::{feature as core_feature, isr, status as device_status};

const HEADER: u64 = BUFFERS;
const DATA: u64 = BUFFERS + 0x1000;
const STATUS: u64 = BUFFERS + 0x10_0000;

/// A disk in memory that counts flushes.
struct RamDisk {
    bytes: Mutex<Vec<u8>>,
    flushes: AtomicU32,
    read_only: bool,
    /// Whether there is no room for what is written.
    full: AtomicBool,
    /// Ranges that were discarded.
    discarded: Mutex<Vec<(u64, u64)>>,
}

impl RamDisk {
    fn new(sectors: usize, read_only: bool) -> Arc<Self> {
        let bytes = (0..sectors * 512).map(|i| (i / 512) as u8).collect();
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            flushes: AtomicU32::new(0),
            read_only,
            full: AtomicBool::new(false),
            discarded: Mutex::default(),
        })
    }
}

impl BlockBackend for RamDisk {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        into.copy_from_slice(&self.bytes.lock().unwrap()[at..at + into.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = offset as usize;
        self.bytes.lock().unwrap()[at..at + from.len()].copy_from_slice(from);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn discard(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.discarded.lock().unwrap().push((offset, bytes));
        Ok(())
    }
    fn physical_block_bytes(&self) -> u64 {
        4096
    }
}

fn rig(disk: &Arc<RamDisk>) -> Rig<Arc<VirtioMmio>> {
    Rig::mmio(VirtioBlock::new(
        disk.clone(),
        "serial-0123456789-too-long",
        HostRoom::unwatched(),
    ))
}

fn header<R: Registers>(rig: &Rig<R>, kind: u32, sector: u64) -> Piece {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    rig.put(HEADER, &bytes);
    rig.put(STATUS, &[0xee]);
    readable(HEADER, 16)
}

/// Sends a request with one data buffer; returns (status, bytes written).
fn request<R: Registers>(
    rig: &mut Rig<R>,
    kind: u32,
    sector: u64,
    data: Option<Piece>,
) -> (u8, u32) {
    let mut pieces = vec![header(rig, kind, sector)];
    pieces.extend(data);
    pieces.push(writable(STATUS, 1));
    let written = rig.roundtrip(0, &pieces);
    (rig.get(STATUS, 1)[0], written)
}

#[test]
fn requests_reach_the_last_sector_and_none_behind_it() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    for (kind, sector, sectors, fits) in [
        (request::IN, 63, 1, true),
        (request::IN, 63, 2, false),
        (request::IN, 64, 1, false),
        (request::OUT, 63, 1, true),
        (request::OUT, 63, 2, false),
        (request::OUT, 64, 1, false),
    ] {
        let data = match kind {
            request::IN => writable(DATA, sectors * 512),
            _ => readable(DATA, sectors * 512),
        };
        let (status, _) = request(&mut rig, kind, sector, Some(data));
        let expected = if fits { Status::Ok } else { Status::IoError };
        assert_eq!(
            status, expected as u8,
            "{kind}: {sectors} sectors at {sector}"
        );
    }
    assert_eq!(rig.get(DATA, 1), [63]);
}

/// A huge, slow disk that counts accesses.
#[derive(Default)]
struct Slow(AtomicU32);

impl BlockBackend for Slow {
    fn len(&self) -> u64 {
        1 << 40
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(30));
        Ok(())
    }
    fn write_at(&self, offset: u64, _: &[u8]) -> io::Result<()> {
        self.read_at(offset, &mut [])
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn requests_for_the_same_memory_over_and_over_end_with_a_reset() {
    for kind in [request::IN, request::OUT] {
        let slow = Arc::new(Slow::default());
        let mut rig = Rig::mmio(VirtioBlock::new(slow.clone(), "", HostRoom::unwatched()));
        rig.start(u64::MAX);
        let mut pieces = vec![header(&rig, kind, 0)];
        let all = match kind {
            request::IN => writable(DATA, 0x8_0000),
            _ => readable(RAM_BASE, RAM_BYTES as u32),
        };
        pieces.resize(250, all);
        pieces.push(writable(STATUS, 1));
        rig.rings[0].add(&pieces);
        rig.registers.notify(0);
        eventually("it begins", || slow.0.load(Ordering::SeqCst) > 0);
        let registers = rig.registers.clone();
        let reset = std::thread::spawn(move || registers.set_status(0));
        eventually("the reset is done", || reset.is_finished());
    }
}

#[test]
fn read_of_sectors_returns_them_and_interrupts() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    assert_eq!(rig.registers.config(0, AccessWidth::Double), 64);
    assert_eq!(rig.registers.config(20, AccessWidth::Word), 512);
    assert_eq!(
        request(&mut rig, 0, 3, Some(writable(DATA, 1024))),
        (0, 1025)
    );
    let data = rig.get(DATA, 1024);
    assert!(data[..512].iter().all(|&b| b == 3) && data[512..].iter().all(|&b| b == 4));
    eventually("an interrupt", || rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), isr::QUEUE);
    assert!(!rig.irq.high());
}

#[test]
fn write_scattered_and_indirect_lands_in_order() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let head = header(&rig, 1, 8);
    rig.put(DATA, &[0xaa; 100]);
    rig.put(DATA + 0x2000, &[0xbb; 412]);
    let pieces = [
        head,
        readable(DATA, 100),
        readable(DATA + 0x2000, 412),
        writable(STATUS, 1),
    ];
    rig.rings[0].add_indirect(BUFFERS + 0x800, &pieces);
    rig.registers.notify(0);
    assert_eq!(rig.rings[0].wait_used().1, 1);
    assert_eq!(rig.get(STATUS, 1), [0]);
    let bytes = disk.bytes.lock().unwrap();
    assert!(bytes[4096..4196].iter().all(|&b| b == 0xaa));
    assert!(bytes[4196..4608].iter().all(|&b| b == 0xbb));
    assert_eq!(bytes[4608], 9);
}

#[test]
fn flush_reaches_the_backend_and_write_alone_does_not() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    assert_eq!(request(&mut rig, 1, 0, Some(readable(DATA, 512))).0, 0);
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 0);
    assert_eq!(request(&mut rig, 4, 0, None), (0, 1));
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 1);
    // Write-through: durable when the request returns.
    rig.registers.set_config(32, AccessWidth::Byte, 0);
    assert_eq!(rig.registers.config(32, AccessWidth::Byte), 0);
    assert_eq!(request(&mut rig, 1, 0, Some(readable(DATA, 512))).0, 0);
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 2);
}

#[test]
fn write_without_flush_feature_is_durable_at_once() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(0);
    assert_eq!(request(&mut rig, 1, 0, Some(readable(DATA, 512))).0, 0);
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn get_id_returns_the_first_twenty_bytes() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    assert_eq!(request(&mut rig, 8, 0, Some(writable(DATA, 20))), (0, 21));
    assert_eq!(rig.get(DATA, 20), b"serial-0123456789-to");
}

#[test]
fn write_zeroes_clears_the_range() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let mut segment = [0; 16];
    segment[0] = 5;
    segment[8] = 2;
    rig.put(DATA, &segment);
    assert_eq!(request(&mut rig, 13, 0, Some(readable(DATA, 16))).0, 0);
    let bytes = disk.bytes.lock().unwrap().clone();
    assert!(bytes[5 * 512..7 * 512].iter().all(|&b| b == 0));
    assert_eq!((bytes[5 * 512 - 1], bytes[7 * 512]), (4, 7));
    segment[12] = 2;
    rig.put(DATA, &segment);
    assert_eq!(
        request(&mut rig, 13, 0, Some(readable(DATA, 16))).0,
        Status::Unsupported as u8
    );
}

/// A segment of a discard or write-zeroes request (VIRTIO 1.3, 5.2.6).
fn segment(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sector.to_le_bytes());
    bytes[8..12].copy_from_slice(&sectors.to_le_bytes());
    bytes[12..].copy_from_slice(&flags.to_le_bytes());
    bytes
}

#[test]
fn discard_reaches_the_backend_range_by_range() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let discard = |rig: &mut Rig<_>, segments: &[[u8; 16]]| {
        rig.put(DATA, &segments.concat());
        let data = readable(DATA, 16 * segments.len() as u32);
        request(rig, request::DISCARD, 0, Some(data)).0
    };
    assert_eq!(
        discard(&mut rig, &[segment(8, 8, 0), segment(40, 24, 0)]),
        0
    );
    let ranges = [(8 * 512, 8 * 512), (40 * 512, 24 * 512)];
    assert_eq!(*disk.discarded.lock().unwrap(), ranges);
    // Past the end, with the flag of the other request, more segments than allowed, half a segment.
    let bad = Status::IoError as u8;
    assert_eq!(discard(&mut rig, &[segment(60, 5, 0)]), bad);
    assert_eq!(discard(&mut rig, &[segment(u64::MAX, 1, 0)]), bad);
    assert_eq!(discard(&mut rig, &[segment(0, u32::MAX, 0)]), bad);
    let unsupported = Status::Unsupported as u8;
    assert_eq!(discard(&mut rig, &[segment(0, 1, 1)]), unsupported);
    let many = vec![segment(0, 1, 0); 17];
    assert_eq!(discard(&mut rig, &many), bad);
    let half = readable(DATA, 8);
    assert_eq!(request(&mut rig, request::DISCARD, 0, Some(half)).0, bad);
}

#[test]
fn geometry_topology_and_limits_are_told() {
    let disk = RamDisk::new(16 * 63 * 5 + 7, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let told = feature::GEOMETRY | feature::TOPOLOGY | feature::DISCARD | feature::WRITE_ZEROES;
    assert_eq!(rig.features & told, told);
    let half = |at| rig.registers.config(at, AccessWidth::Half);
    let byte = |at| rig.registers.config(at, AccessWidth::Byte);
    let word = |at| rig.registers.config(at, AccessWidth::Word);
    assert_eq!((half(16), byte(18), byte(19)), (5, 16, 63));
    // 4096 bytes are eight blocks of 512.
    assert_eq!((byte(24), byte(25), half(26)), (3, 0, 8));
    assert_eq!((word(36), word(40), word(44)), (0x20_0000, 16, 8));
    assert_eq!((word(48), word(52), byte(56)), (0x8000, 1, 1));
}

/// A rig whose disk waits or fails without room, and what the user was told.
fn watched(disk: &Arc<RamDisk>, policy: OnFull) -> (Rig<Arc<VirtioMmio>>, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    let notices = Notices::to(move |line| telling.lock().unwrap().push(line.to_owned()));
    let room = HostRoom::new("disk d", policy, notices);
    (Rig::mmio(VirtioBlock::new(disk.clone(), "", room)), told)
}

/// Starts a write of 512 bytes of 0xaa to sector 5 and waits until the user is told that there is no room.
fn write_without_room(
    disk: &Arc<RamDisk>,
    rig: &mut Rig<Arc<VirtioMmio>>,
    told: &Mutex<Vec<String>>,
) {
    disk.full.store(true, Ordering::SeqCst);
    rig.put(DATA, &[0xaa; 512]);
    let head = header(rig, request::OUT, 5);
    rig.rings[0].add(&[head, readable(DATA, 512), writable(STATUS, 1)]);
    rig.registers.notify(0);
    eventually("the user is told", || !told.lock().unwrap().is_empty());
}

#[test]
fn write_without_room_waits_until_there_is_room() {
    let disk = RamDisk::new(64, false);
    let (mut rig, told) = watched(&disk, OnFull::Pause);
    rig.start(u64::MAX);
    write_without_room(&disk, &mut rig, &told);
    assert_eq!(rig.rings[0].take_used(), None);
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(rig.rings[0].wait_used().1, 1);
    assert_eq!(rig.get(STATUS, 1), [Status::Ok as u8]);
    assert_eq!(disk.bytes.lock().unwrap()[5 * 512], 0xaa);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("full") && told[1].contains("room again"));
}

#[test]
fn write_without_room_fails_when_that_is_wanted() {
    let disk = RamDisk::new(64, false);
    let (mut rig, told) = watched(&disk, OnFull::Report);
    rig.start(u64::MAX);
    write_without_room(&disk, &mut rig, &told);
    rig.rings[0].wait_used();
    assert_eq!(rig.get(STATUS, 1), [Status::IoError as u8]);
}

#[test]
fn write_without_room_holds_up_no_reset_and_is_not_lost_by_a_save() {
    let disk = RamDisk::new(64, false);
    let (mut rig, told) = watched(&disk, OnFull::Pause);
    rig.start(u64::MAX);
    write_without_room(&disk, &mut rig, &told);
    let started = Instant::now();
    let state = rig.registers.save();
    // The request is still to be done.
    assert_eq!(state.control.queues[0].next_used, 0);
    assert_eq!(state.control.queues[0].next_avail, 0);
    disk.full.store(false, Ordering::SeqCst);
    rig.registers.set_status(0);
    assert!(started.elapsed() < Duration::from_secs(5));
    let device = VirtioBlock::new(disk.clone(), "", HostRoom::unwatched());
    rig.registers = VirtioMmio::new("restored", device, rig.memory.clone(), rig.irq.clone());
    rig.registers.restore(&state).unwrap();
    rig.rings[0].wait_used();
    assert_eq!(rig.get(STATUS, 1), [Status::Ok as u8]);
    assert_eq!(disk.bytes.lock().unwrap()[5 * 512], 0xaa);
}

#[test]
fn request_out_of_range_or_odd_fails_alone() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let bad = Status::IoError as u8;
    assert_eq!(
        request(&mut rig, 0, 63, Some(writable(DATA, 1024))),
        (bad, 1)
    );
    assert_eq!(
        request(&mut rig, 0, u64::MAX, Some(writable(DATA, 512))),
        (bad, 1)
    );
    assert_eq!(
        request(&mut rig, 1, 64, Some(readable(DATA, 512))),
        (bad, 1)
    );
    assert_eq!(request(&mut rig, 0, 0, Some(writable(DATA, 100))), (bad, 1));
    // Not RAM: 0x1000 is below it.
    assert_eq!(request(&mut rig, 1, 0, Some(readable(0x1000, 512))).0, bad);
    assert_eq!(
        request(&mut rig, 0, 0, Some(writable(u64::MAX - 10, 512))).0,
        bad
    );
    assert_eq!(
        request(&mut rig, 99, 0, None),
        (Status::Unsupported as u8, 1)
    );
    assert_eq!(request(&mut rig, 0, 1, Some(writable(DATA, 512))), (0, 513));
    assert_eq!(rig.registers.status() & device_status::NEEDS_RESET, 0);
}

#[test]
fn write_to_read_only_disk_fails() {
    let disk = RamDisk::new(64, true);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    assert_ne!(rig.features & feature::RO, 0);
    assert_eq!(
        rig.features & (feature::WRITE_ZEROES | feature::DISCARD | feature::CONFIG_WCE),
        0
    );
    let before = disk.bytes.lock().unwrap().clone();
    assert_eq!(
        request(&mut rig, 1, 0, Some(readable(DATA, 512))).0,
        Status::IoError as u8
    );
    assert_eq!(*disk.bytes.lock().unwrap(), before);
}

#[test]
fn request_without_status_byte_needs_reset_and_reset_recovers() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let head = header(&rig, 4, 0);
    rig.rings[0].add(&[head]);
    rig.registers.notify(0);
    let needs_reset = || rig.registers.status() & device_status::NEEDS_RESET != 0;
    eventually("the demand for a reset", needs_reset);
    eventually("an interrupt", || rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), isr::CONFIG);
    rig.start(u64::MAX);
    assert_eq!(request(&mut rig, 0, 1, Some(writable(DATA, 512))).0, 0);
}

#[test]
fn save_and_restore_between_requests_continues_the_rings() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    assert_eq!(request(&mut rig, 0, 1, Some(writable(DATA, 512))).0, 0);
    let state = rig.registers.save();
    assert_eq!(
        (
            state.control.queues[0].next_avail,
            state.control.queues[0].next_used
        ),
        (1, 1)
    );
    // The device goes on after the save.
    assert_eq!(request(&mut rig, 0, 2, Some(writable(DATA, 512))).0, 0);
    rig.registers.set_config(32, AccessWidth::Byte, 0);
    let state_later = rig.registers.save();
    let device = VirtioBlock::new(disk.clone(), "x", HostRoom::unwatched());
    let other = VirtioMmio::new("restored", device, rig.memory.clone(), rig.irq.clone());
    other.restore(&state_later).unwrap();
    rig.registers = other;
    assert_eq!(request(&mut rig, 0, 7, Some(writable(DATA, 512))).0, 0);
    assert_eq!(rig.get(DATA, 1), [7]);
    assert_eq!(rig.registers.config(32, AccessWidth::Byte), 0);
    let mut other_kind = state.clone();
    other_kind.control.device = DeviceState::Entropy;
    assert!(rig.registers.restore(&other_kind).is_err());
    let mut wrong = state;
    wrong.control.queues.push(wrong.control.queues[0].clone());
    assert!(rig.registers.restore(&wrong).is_err());
}

#[test]
fn interrupts_suppressed_by_flag_stay_away() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(!core_feature::EVENT_IDX);
    rig.rings[0].suppress_interrupts(true);
    assert_eq!(request(&mut rig, 0, 1, Some(writable(DATA, 512))).0, 0);
    // The reset joins the device's thread, so an interrupt would have come by now.
    let state = rig.registers.save();
    assert_eq!((state.interrupt_status, rig.irq.high()), (0, false));
    rig.rings[0].suppress_interrupts(false);
    assert_eq!(request(&mut rig, 0, 1, Some(writable(DATA, 512))).0, 0);
    eventually("an interrupt", || rig.irq.high());
}

#[test]
fn interrupts_by_event_index_come_at_the_index() {
    let disk = RamDisk::new(64, false);
    let mut rig = rig(&disk);
    rig.start(u64::MAX);
    let head = header(&rig, 0, 1);
    let pieces = [head, writable(DATA, 512), writable(STATUS, 1)];
    rig.rings[0].set_used_event(2);
    for used in 1..=3 {
        rig.rings[0].add(&pieces);
        rig.registers.notify(0);
        eventually("a used buffer", || rig.rings[0].used_index() == used);
        // Saving waits for the device's thread.
        assert_eq!(rig.registers.save().interrupt_status != 0, used == 3);
    }
}

/// Anything a driver could put into a descriptor, biased to what goes past the first checks.
fn hostile_descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let addr = prop_oneof![
        4 => (0u64..0x40_0000).prop_map(|offset| RAM_BASE + offset),
        1 => Just(HEADER),
        1 => any::<u64>(),
        1 => Just(RAM_BASE + RAM_BYTES - 8),
    ];
    let bytes =
        prop_oneof![4 => 0u32..0x2000, 1 => any::<u32>(), 1 => Just(16u32), 1 => Just(64u32)];
    (
        addr,
        bytes,
        prop_oneof![6 => 0u16..8, 1 => any::<u16>()],
        prop_oneof![6 => 0u16..8, 1 => any::<u16>()],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hostile_rings_never_wedge_the_device(
        descriptors in prop::collection::vec(hostile_descriptor(), 8),
        indirect in prop::collection::vec(hostile_descriptor(), 4),
        heads in prop::collection::vec(prop_oneof![8 => 0u16..8, 1 => any::<u16>()], 1..12),
        kind in prop::sample::select(vec![0u32, 1, 4, 8, 11, 13]),
        skip in prop_oneof![9 => Just(0u16), 1 => any::<u16>()],
    ) {
        let disk = RamDisk::new(64, false);
        let mut rig = rig(&disk);
        rig.start(u64::MAX);
        let piece = header(&rig, kind, 0);
        let place = |table, index, (addr, bytes, flags, next): (u64, u32, u16, u16)| {
            rig.rings[0].descriptor(table, index, Piece { addr, bytes, writable: false }, flags, next);
        };
        for (index, &descriptor) in indirect.iter().enumerate() {
            place(RAM_BASE, index as u16, descriptor);
        }
        let table = rig.rings[0].areas[0];
        for (index, &descriptor) in descriptors.iter().enumerate() {
            place(table, index as u16, descriptor);
        }
        // One descriptor always leads to the table and one to a good header.
        place(table, 0, (HEADER, piece.bytes, DESC_NEXT, 1));
        place(table, 7, (RAM_BASE, 64, DESC_INDIRECT, 0));
        for &head in &heads {
            rig.rings[0].publish(head);
        }
        if skip != 0 {
            rig.put(rig.rings[0].areas[1] + 2, &skip.to_le_bytes());
        }
        // First to the end on this thread: this hangs if the device loops. Then through the registers.
        let device = VirtioBlock::new(disk.clone(), "", HostRoom::unwatched());
        let _ = serve_once(&*device, &rig.memory, &rig.rings, rig.features);
        rig.registers.notify(0);
        // And after a reset it works as if nothing had been.
        rig.start(u64::MAX);
        prop_assert_eq!(request(&mut rig, 0, 3, Some(writable(DATA, 512))), (0, 513));
    }

    #[test]
    fn random_register_scripts_never_wedge_the_device(
        script in prop::collection::vec(
            (0u64..0x140, prop::sample::select(vec![1u64, 2, 4, 8]), prop_oneof![0u64..16, any::<u64>()], any::<bool>()),
            1..200,
        ),
    ) {
        let disk = RamDisk::new(64, false);
        let mut rig = rig(&disk);
        for (offset, width, value, write) in script {
            let width = AccessWidth::from_bytes(width).unwrap();
            match write {
                true => rig.registers.write(offset, width, value),
                false => { rig.registers.read(offset, width); }
            }
        }
        rig.start(u64::MAX);
        prop_assert_eq!(request(&mut rig, 0, 3, Some(writable(DATA, 512))), (0, 513));
    }
}

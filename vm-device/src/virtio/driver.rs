//! A tiny driver for tests: sets devices up through their registers and rings as Linux does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use virtio_queue::QueueState;
use vm_core::{AccessWidth, GuestPhysAddr, IrqLine, NoIrq};
use vm_mem::GuestMemory;

use super::mmio::VirtioMmio;
use super::spec::{feature, status};
use super::{
    Activation, Doorbell, GuestSignal, LevelInterrupt, QUEUE_EVENTS, RingError, VirtQueue,
    VirtioDevice,
};
use crate::BusDevice;

pub(crate) const RAM_BASE: u64 = 0x8000_0000;
pub(crate) const RAM_BYTES: u64 = 0x40_0000;
/// Rings lie here, 64 KiB for each queue.
const RINGS: u64 = RAM_BASE + 0x10_0000;
/// Buffers that tests use.
pub(crate) const BUFFERS: u64 = RAM_BASE + 0x20_0000;

pub(crate) fn guest_ram() -> GuestMemory {
    GuestMemory::new(&[(GuestPhysAddr(RAM_BASE), RAM_BYTES)]).unwrap()
}

/// A line that remembers its level.
#[derive(Default)]
pub(crate) struct Wire(AtomicBool);

impl Wire {
    pub(crate) fn high(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl IrqLine for Wire {
    fn set(&self, high: bool) {
        self.0.store(high, Ordering::SeqCst);
    }
}

/// Waits until `done`, failing the test after ten seconds.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "never happened: {what}"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The registers a driver works with, whatever the transport.
pub(crate) trait Registers {
    fn status(&self) -> u8;
    fn set_status(&self, value: u8);
    fn device_features(&self) -> u64;
    fn set_driver_features(&self, features: u64);
    fn queue_max(&self, queue: u16) -> u16;
    fn enable_queue(&self, queue: u16, size: u16, areas: [u64; 3]);
    fn notify(&self, queue: u16);
    /// Reads and clears the interrupt status.
    fn take_interrupt(&self) -> u8;
    fn config(&self, offset: u64, width: AccessWidth) -> u64;
    fn set_config(&self, offset: u64, width: AccessWidth, value: u64);
}

impl Registers for Arc<VirtioMmio> {
    fn status(&self) -> u8 {
        self.read(0x70, AccessWidth::Word) as u8
    }
    fn set_status(&self, value: u8) {
        self.write(0x70, AccessWidth::Word, value.into());
    }
    fn device_features(&self) -> u64 {
        [0, 1].iter().fold(0, |features, &sel| {
            self.write(0x14, AccessWidth::Word, sel);
            features | self.read(0x10, AccessWidth::Word) << (32 * sel)
        })
    }
    fn set_driver_features(&self, features: u64) {
        for sel in [0, 1] {
            self.write(0x24, AccessWidth::Word, sel);
            self.write(
                0x20,
                AccessWidth::Word,
                features >> (32 * sel) & 0xffff_ffff,
            );
        }
    }
    fn queue_max(&self, queue: u16) -> u16 {
        self.write(0x30, AccessWidth::Word, queue.into());
        self.read(0x34, AccessWidth::Word) as u16
    }
    fn enable_queue(&self, queue: u16, size: u16, areas: [u64; 3]) {
        self.write(0x30, AccessWidth::Word, queue.into());
        self.write(0x38, AccessWidth::Word, size.into());
        for (at, area) in [0x80, 0x90, 0xa0].into_iter().zip(areas) {
            self.write(at, AccessWidth::Word, area & 0xffff_ffff);
            self.write(at + 4, AccessWidth::Word, area >> 32);
        }
        self.write(0x44, AccessWidth::Word, 1);
    }
    fn notify(&self, queue: u16) {
        self.write(0x50, AccessWidth::Word, queue.into());
    }
    fn take_interrupt(&self) -> u8 {
        let pending = self.read(0x60, AccessWidth::Word);
        self.write(0x64, AccessWidth::Word, pending);
        pending as u8
    }
    fn config(&self, offset: u64, width: AccessWidth) -> u64 {
        self.read(0x100 + offset, width)
    }
    fn set_config(&self, offset: u64, width: AccessWidth, value: u64) {
        self.write(0x100 + offset, width, value);
    }
}

/// One buffer of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) addr: u64,
    pub(crate) bytes: u32,
    pub(crate) writable: bool,
}

pub(crate) fn readable(addr: u64, bytes: u32) -> Piece {
    Piece {
        addr,
        bytes,
        writable: false,
    }
}

pub(crate) fn writable(addr: u64, bytes: u32) -> Piece {
    Piece {
        addr,
        bytes,
        writable: true,
    }
}

pub(crate) const DESC_NEXT: u16 = 1;
pub(crate) const DESC_WRITE: u16 = 2;
pub(crate) const DESC_INDIRECT: u16 = 4;

/// The driver's side of one split ring.
pub(crate) struct Ring {
    memory: GuestMemory,
    pub(crate) size: u16,
    pub(crate) areas: [u64; 3],
    next_descriptor: u16,
    next_avail: u16,
    next_used: u16,
    event_idx: bool,
}

impl Ring {
    pub(crate) fn new(memory: &GuestMemory, queue: u16, size: u16, event_idx: bool) -> Self {
        let base = RINGS + u64::from(queue) * 0x1_0000;
        memory.write(GuestPhysAddr(base), &[0; 0x1_0000]).unwrap();
        let areas = [base, base + 0x8000, base + 0xc000];
        let memory = memory.clone();
        Self {
            memory,
            size,
            areas,
            next_descriptor: 0,
            next_avail: 0,
            next_used: 0,
            event_idx,
        }
    }

    fn put(&self, addr: u64, bytes: &[u8]) {
        self.memory.write(GuestPhysAddr(addr), bytes).unwrap();
    }

    fn get<const N: usize>(&self, addr: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(GuestPhysAddr(addr), &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn descriptor(&self, table: u64, index: u16, piece: Piece, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&piece.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&piece.bytes.to_le_bytes());
        let write = if piece.writable { DESC_WRITE } else { 0 };
        bytes[12..14].copy_from_slice(&(flags | write).to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.put(table + u64::from(index) * 16, &bytes);
    }

    fn chain(&self, table: u64, first: u16, modulus: u16, pieces: &[Piece]) {
        for (at, &piece) in pieces.iter().enumerate() {
            let index = (first + at as u16) % modulus;
            let last = at + 1 == pieces.len();
            let flags = if last { 0 } else { DESC_NEXT };
            self.descriptor(table, index, piece, flags, (index + 1) % modulus);
        }
    }

    /// Makes a chain available; returns its head. The caller keeps the number of chains in flight small.
    pub(crate) fn add(&mut self, pieces: &[Piece]) -> u16 {
        let head = self.next_descriptor;
        self.chain(self.areas[0], head, self.size, pieces);
        self.next_descriptor = (head + pieces.len() as u16) % self.size;
        self.publish(head);
        head
    }

    /// The same through an indirect table at `table`.
    pub(crate) fn add_indirect(&mut self, table: u64, pieces: &[Piece]) -> u16 {
        let head = self.next_descriptor;
        self.chain(table, 0, u16::MAX, pieces);
        let bytes = pieces.len() as u32 * 16;
        self.descriptor(
            self.areas[0],
            head,
            readable(table, bytes),
            DESC_INDIRECT,
            0,
        );
        self.next_descriptor = (head + 1) % self.size;
        self.publish(head);
        head
    }

    /// Puts `head` into the available ring.
    pub(crate) fn publish(&mut self, head: u16) {
        let slot = self.areas[1] + 4 + u64::from(self.next_avail % self.size) * 2;
        self.put(slot, &head.to_le_bytes());
        self.next_avail = self.next_avail.wrapping_add(1);
        fence(Ordering::SeqCst);
        self.put(self.areas[1] + 2, &self.next_avail.to_le_bytes());
        fence(Ordering::SeqCst);
    }

    /// Sets when the device is to interrupt (EVENT_IDX), or whether at all.
    pub(crate) fn set_used_event(&self, index: u16) {
        self.put(
            self.areas[1] + 4 + u64::from(self.size) * 2,
            &index.to_le_bytes(),
        );
    }

    pub(crate) fn suppress_interrupts(&self, suppress: bool) {
        self.put(self.areas[1], &u16::from(suppress).to_le_bytes());
    }

    pub(crate) fn used_index(&self) -> u16 {
        u16::from_le_bytes(self.get(self.areas[2] + 2))
    }

    /// Takes the next used element: (head, bytes written).
    pub(crate) fn take_used(&mut self) -> Option<(u16, u32)> {
        if self.used_index() == self.next_used {
            return None;
        }
        fence(Ordering::SeqCst);
        let slot = self.areas[2] + 4 + u64::from(self.next_used % self.size) * 8;
        let id = u32::from_le_bytes(self.get(slot));
        let written = u32::from_le_bytes(self.get(slot + 4));
        self.next_used = self.next_used.wrapping_add(1);
        if self.event_idx {
            self.set_used_event(self.next_used);
        }
        Some((id as u16, written))
    }

    pub(crate) fn wait_used(&mut self) -> (u16, u32) {
        let mut used = None;
        eventually("a used buffer", || {
            used = self.take_used();
            used.is_some()
        });
        used.unwrap()
    }
}

/// Lets a device serve its rings once, on this thread: returns only when the device has done all it will.
pub(crate) fn serve_once(
    device: &dyn VirtioDevice,
    memory: &GuestMemory,
    rings: &[Ring],
    features: u64,
) -> Result<(), RingError> {
    let signal = GuestSignal::new(LevelInterrupt::new(Arc::new(NoIrq)));
    let doorbell = Arc::new(Doorbell::default());
    let queues = rings.iter().zip(0..).map(|(ring, index)| {
        let [desc_table, avail_ring, used_ring] = ring.areas;
        let state = QueueState {
            max_size: ring.size,
            size: ring.size,
            ready: true,
            event_idx_enabled: ring.event_idx,
            desc_table,
            avail_ring,
            used_ring,
            ..QueueState::default()
        };
        VirtQueue::new(
            state,
            index,
            memory.map().clone(),
            signal.clone(),
            doorbell.clone(),
        )
    });
    let activation = Activation {
        features,
        memory: memory.map().clone(),
        queues: queues.collect(),
        signal: signal.clone(),
        doorbell: doorbell.clone(),
    };
    device.activate(activation).work((1 << QUEUE_EVENTS) - 1)
}

/// A device behind a transport, with RAM and rings.
pub(crate) struct Rig<R> {
    pub(crate) memory: GuestMemory,
    pub(crate) irq: Arc<Wire>,
    pub(crate) registers: R,
    pub(crate) rings: Vec<Ring>,
    pub(crate) features: u64,
    /// Features that the driver does not take although it must.
    pub(crate) refused: u64,
}

impl Rig<Arc<VirtioMmio>> {
    pub(crate) fn mmio(device: Arc<dyn VirtioDevice>) -> Self {
        Self::with_memory(device, guest_ram())
    }

    /// The same with RAM that the device knows of already.
    pub(crate) fn with_memory(device: Arc<dyn VirtioDevice>, memory: GuestMemory) -> Self {
        let irq = Arc::new(Wire::default());
        let registers = VirtioMmio::new("test-device", device, memory.clone(), irq.clone());
        Self {
            memory,
            irq,
            registers,
            rings: Vec::new(),
            features: 0,
            refused: 0,
        }
    }
}

impl<R: Registers> Rig<R> {
    /// Brings the device up (VIRTIO 1.3, 3.1.1), accepting what it offers of `wanted`.
    pub(crate) fn start(&mut self, wanted: u64) {
        self.negotiate(wanted);
        self.rings.clear();
        let event_idx = self.features & feature::EVENT_IDX != 0;
        for queue in 0.. {
            let max = self.registers.queue_max(queue);
            if max == 0 {
                break;
            }
            let ring = Ring::new(&self.memory, queue, max, event_idx);
            self.registers.enable_queue(queue, max, ring.areas);
            self.rings.push(ring);
        }
        self.registers
            .set_status(self.registers.status() | status::DRIVER_OK);
        assert_ne!(self.registers.status() & status::DRIVER_OK, 0);
    }

    pub(crate) fn negotiate(&mut self, wanted: u64) {
        self.registers.set_status(0);
        assert_eq!(self.registers.status(), 0);
        self.registers.set_status(status::ACKNOWLEDGE);
        self.registers
            .set_status(status::ACKNOWLEDGE | status::DRIVER);
        self.features = self.registers.device_features() & wanted | feature::VERSION_1;
        self.features &= !self.refused;
        self.registers.set_driver_features(self.features);
        let bits = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.registers.set_status(bits);
        assert_eq!(self.registers.status(), bits);
    }

    pub(crate) fn put(&self, addr: u64, bytes: &[u8]) {
        self.memory.write(GuestPhysAddr(addr), bytes).unwrap();
    }

    pub(crate) fn get(&self, addr: u64, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        self.memory.read(GuestPhysAddr(addr), &mut out).unwrap();
        out
    }

    /// Sends one chain and waits until it is used; returns the bytes the device says it wrote.
    pub(crate) fn roundtrip(&mut self, queue: u16, pieces: &[Piece]) -> u32 {
        let head = self.rings[usize::from(queue)].add(pieces);
        self.registers.notify(queue);
        let (used, written) = self.rings[usize::from(queue)].wait_used();
        assert_eq!(used, head);
        written
    }
}

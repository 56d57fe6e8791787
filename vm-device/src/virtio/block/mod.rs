//! The virtio block device (VIRTIO 1.3, 5.2).

pub mod spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vm_mem::GuestRamMap;

use self::spec::{ID_BYTES, Status, config, feature, request};
use super::chain::{Chain, ChainReader, ChainWriter};
use super::device::{Activation, QueueWorker, VirtioDevice};
use super::queue::{RingError, VirtQueue};
use super::save::DeviceState;
use super::spec::DeviceType;
use super::worker::Doorbell;
use crate::block::{BlockBackend, SECTOR_BYTES, Storage};
use crate::host_room::HostRoom;

const QUEUE_SIZE: u16 = 256;
/// Two descriptors of a request are its header and its status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// Writing zeros may mean to write them all; longer ranges come as several requests.
const WRITE_ZEROES_LIMIT: RangeLimit = RangeLimit {
    sectors: 0x8000,
    segments: 1,
};
/// Discarding is a matter of the host's tables.
const DISCARD_LIMIT: RangeLimit = RangeLimit {
    sectors: 0x20_0000,
    segments: 16,
};
/// The geometry that BIOSes show for disks that have none, for guests that still count cylinders.
const HEADS: u8 = 16;
const TRACK_SECTORS: u8 = 63;
/// Bytes that move between host and guest at once.
const BOUNCE_BYTES: usize = 0x4_0000;

/// What a request about ranges may name.
struct RangeLimit {
    /// Sectors in a segment.
    sectors: u32,
    segments: u32,
}

/// A disk.
pub struct VirtioBlock {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn BlockBackend>,
    /// Of what the backend writes to.
    room: HostRoom,
    id: [u8; ID_BYTES],
    /// The `writeback` field: whether writes may stay volatile until a flush.
    writeback: AtomicBool,
}

impl VirtioBlock {
    /// A disk of `backend`'s bytes. Of `serial`, the first 20 bytes are its serial number. `room` decides what becomes of
    /// writes when the host has no room for them.
    pub fn new(backend: Arc<dyn BlockBackend>, serial: &str, room: HostRoom) -> Arc<Self> {
        let mut id = [0; ID_BYTES];
        let used = serial.len().min(ID_BYTES);
        id[..used].copy_from_slice(&serial.as_bytes()[..used]);
        let shared = Shared {
            backend,
            room,
            id,
            writeback: AtomicBool::new(true),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
        })
    }

    fn config(&self) -> [u8; config::BYTES] {
        let mut bytes = [0; config::BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let sectors = self.shared.backend.len() / SECTOR_BYTES;
        put(config::CAPACITY, &sectors.to_le_bytes());
        put(config::SEG_MAX, &SEG_MAX.to_le_bytes());
        let cylinders = sectors / (u64::from(HEADS) * u64::from(TRACK_SECTORS));
        let cylinders = u16::try_from(cylinders).unwrap_or(u16::MAX);
        put(config::CYLINDERS, &cylinders.to_le_bytes());
        put(config::HEADS, &[HEADS]);
        put(config::TRACK_SECTORS, &[TRACK_SECTORS]);
        put(config::BLK_SIZE, &(SECTOR_BYTES as u32).to_le_bytes());
        let block_sectors = self.shared.backend.physical_block_bytes() / SECTOR_BYTES;
        let exponent = block_sectors.ilog2() as u8;
        put(config::PHYSICAL_BLOCK_EXP, &[exponent]);
        put(config::MIN_IO_SIZE, &(block_sectors as u16).to_le_bytes());
        put(
            config::WRITEBACK,
            &[u8::from(self.shared.writeback.load(Ordering::Relaxed))],
        );
        if !self.shared.backend.read_only() {
            for (at, value) in [
                (config::MAX_DISCARD_SECTORS, DISCARD_LIMIT.sectors),
                (config::MAX_DISCARD_SEG, DISCARD_LIMIT.segments),
                (config::DISCARD_SECTOR_ALIGNMENT, block_sectors as u32),
                (config::MAX_WRITE_ZEROES_SECTORS, WRITE_ZEROES_LIMIT.sectors),
                (config::MAX_WRITE_ZEROES_SEG, WRITE_ZEROES_LIMIT.segments),
            ] {
                put(at, &value.to_le_bytes());
            }
            put(config::WRITE_ZEROES_MAY_UNMAP, &[1]);
        }
        bytes
    }
}

impl VirtioDevice for VirtioBlock {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn features(&self) -> u64 {
        let both = feature::SEG_MAX
            | feature::GEOMETRY
            | feature::BLK_SIZE
            | feature::FLUSH
            | feature::TOPOLOGY;
        both | match self.shared.backend.read_only() {
            true => feature::RO,
            false => feature::CONFIG_WCE | feature::DISCARD | feature::WRITE_ZEROES,
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, into: &mut [u8]) {
        copy_config(&self.config(), offset, into);
    }

    fn write_config(&self, offset: u64, from: &[u8]) {
        if offset == config::WRITEBACK as u64
            && let [value] = from
        {
            self.shared
                .writeback
                .store(value & 1 != 0, Ordering::Relaxed);
        }
    }

    fn activate(&self, activation: Activation) -> Box<dyn QueueWorker> {
        Box::new(Worker {
            shared: self.shared.clone(),
            can_flush: activation.features & (feature::FLUSH | feature::CONFIG_WCE) != 0,
            queues: activation.queues,
            chain: Chain::new(),
            bounce: vec![0; BOUNCE_BYTES],
            doorbell: activation.doorbell,
        })
    }

    fn reset(&self) {
        self.shared.writeback.store(true, Ordering::Relaxed);
    }

    fn save(&self) -> DeviceState {
        DeviceState::Block {
            writeback: self.shared.writeback.load(Ordering::Relaxed),
        }
    }

    fn restore(&self, state: &DeviceState) {
        if let DeviceState::Block { writeback } = *state {
            self.shared.writeback.store(writeback, Ordering::Relaxed);
        }
    }
}

/// Reads part of a configuration space; zero past its end.
pub(super) fn copy_config(config: &[u8], offset: u64, into: &mut [u8]) {
    for (at, byte) in into.iter_mut().enumerate() {
        let at = offset.saturating_add(at as u64);
        *byte = usize::try_from(at)
            .ok()
            .and_then(|at| config.get(at))
            .copied()
            .unwrap_or(0);
    }
}

struct Worker {
    shared: Arc<Shared>,
    /// Without flush requests every write must be durable at once (5.2.6.2).
    can_flush: bool,
    queues: Vec<Option<VirtQueue>>,
    chain: Chain,
    bounce: Vec<u8>,
    doorbell: Arc<Doorbell>,
}

impl QueueWorker for Worker {
    fn work(&mut self, _events: u64) -> Result<(), RingError> {
        let Self {
            shared,
            can_flush,
            queues,
            chain,
            bounce,
            doorbell,
        } = self;
        let mut disk = Disk {
            shared,
            can_flush: *can_flush,
            bounce,
            doorbell,
        };
        for queue in queues.iter_mut().flatten() {
            queue.drain_while(chain, |chain, memory| disk.serve(chain, memory))?;
        }
        Ok(())
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        self.queues
    }
}

/// Why a request is not done.
#[derive(Debug)]
enum Undone {
    /// The driver is told so.
    Failed(Status),
    /// The device is being stopped. The request stays in its ring, to be done from its start later.
    Stopped,
}

const IO_ERROR: Undone = Undone::Failed(Status::IoError);

/// A ring error is the twin of the host's I/O error: a buffer that is not RAM.
impl From<RingError> for Undone {
    fn from(_: RingError) -> Self {
        IO_ERROR
    }
}

impl From<std::io::Error> for Undone {
    fn from(_: std::io::Error) -> Self {
        IO_ERROR
    }
}

struct Disk<'a> {
    shared: &'a Shared,
    can_flush: bool,
    bounce: &'a mut [u8],
    doorbell: &'a Doorbell,
}

impl Disk<'_> {
    /// Serves one request; returns the bytes written to the chain, the status byte among them, or `None` when the
    /// device is to stop before the request is done.
    fn serve(&mut self, chain: &Chain, memory: &GuestRamMap) -> Result<Option<u32>, RingError> {
        let mut status = chain.writer(memory);
        let Some(data_bytes) = status.left().checked_sub(1) else {
            return Err(RingError::MalformedRequest(chain.head));
        };
        let mut written = 0;
        let outcome = match self.execute(chain, memory, data_bytes, &mut written) {
            Ok(()) => Status::Ok,
            Err(Undone::Failed(status)) => status,
            Err(Undone::Stopped) => return Ok(None),
        };
        status.skip(data_bytes);
        status.write(&[outcome as u8])?;
        Ok(Some(u32::try_from(written + 1).unwrap_or(u32::MAX)))
    }

    fn execute(
        &mut self,
        chain: &Chain,
        memory: &GuestRamMap,
        data_bytes: u64,
        written: &mut u64,
    ) -> Result<(), Undone> {
        let mut reader = chain.reader(memory);
        let Some(header) = reader.read_array::<{ request::HEADER_BYTES }>()? else {
            return Err(IO_ERROR);
        };
        let [kind, _] = [0, 4].map(|at| u32::from_le_bytes(field(&header, at)));
        let sector = u64::from_le_bytes(field(&header, 8));
        let mut writer = chain.writer(memory);
        match kind {
            request::IN => self.read(sector, &mut writer, data_bytes, written),
            request::OUT => self.write(sector, &mut reader),
            request::FLUSH => Ok(self.shared.backend.flush()?),
            request::GET_ID => {
                // The driver may ask for less than the whole (5.2.6.1 gives it 20 bytes).
                let bytes = data_bytes.min(ID_BYTES as u64) as usize;
                *written = writer.write(&self.shared.id[..bytes])? as u64;
                Ok(())
            }
            request::WRITE_ZEROES if !self.shared.backend.read_only() => {
                self.write_zeroes(&mut reader)
            }
            request::DISCARD if !self.shared.backend.read_only() => self.discard(&mut reader),
            _ => Err(Undone::Failed(Status::Unsupported)),
        }
    }

    /// Byte offset of a range of whole sectors on the disk.
    fn range(&self, sector: u64, bytes: u64) -> Result<u64, Undone> {
        let start = sector.checked_mul(SECTOR_BYTES);
        let fits = start
            .and_then(|start| start.checked_add(bytes))
            .is_some_and(|end| end <= self.shared.backend.len());
        match start {
            Some(start) if fits && bytes.is_multiple_of(SECTOR_BYTES) => Ok(start),
            _ => Err(IO_ERROR),
        }
    }

    /// Leaves a very long request when the device is being stopped.
    fn go_on(&self, moved: u64) -> Result<(), Undone> {
        match self.doorbell.may_go_on(moved) {
            true => Ok(()),
            false => Err(Undone::Stopped),
        }
    }

    /// Changes the disk, when there is room for it.
    fn change(&self, work: impl FnMut() -> std::io::Result<()>) -> Result<(), Undone> {
        let mut stopped = false;
        let wait = |time| {
            stopped = !self.doorbell.pause(time);
            !stopped
        };
        match self.shared.room.await_room(wait, work) {
            Err(_) if stopped => Err(Undone::Stopped),
            done => Ok(done?),
        }
    }

    fn read(
        &mut self,
        sector: u64,
        writer: &mut ChainWriter<'_>,
        bytes: u64,
        written: &mut u64,
    ) -> Result<(), Undone> {
        let start = self.range(sector, bytes)?;
        while *written < bytes {
            self.go_on(*written)?;
            let here = (bytes - *written).min(self.bounce.len() as u64) as usize;
            let piece = &mut self.bounce[..here];
            self.shared.backend.read_at(start + *written, piece)?;
            writer.write(piece)?;
            *written += here as u64;
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, reader: &mut ChainReader<'_>) -> Result<(), Undone> {
        let mut at = self.range(sector, reader.left())?;
        if self.shared.backend.read_only() {
            return Err(IO_ERROR);
        }
        let mut moved = 0;
        while reader.left() > 0 {
            self.go_on(moved)?;
            let here = reader.read(self.bounce)?;
            let piece = &self.bounce[..here];
            self.change(|| self.shared.backend.write_at(at, piece))?;
            at += here as u64;
            moved += here as u64;
        }
        self.settle()
    }

    fn write_zeroes(&mut self, reader: &mut ChainReader<'_>) -> Result<(), Undone> {
        let (disk, flags) = (&self.shared.backend, request::SEGMENT_UNMAP);
        self.each_range(
            reader,
            &WRITE_ZEROES_LIMIT,
            flags,
            |offset, bytes, flags| {
                let storage = match flags & request::SEGMENT_UNMAP {
                    0 => Storage::Keep,
                    _ => Storage::Release,
                };
                disk.write_zeroes(offset, bytes, storage)
            },
        )?;
        self.settle()
    }

    fn discard(&mut self, reader: &mut ChainReader<'_>) -> Result<(), Undone> {
        let disk = &self.shared.backend;
        // The flag is for write-zeroes alone (5.2.6.2).
        self.each_range(reader, &DISCARD_LIMIT, 0, |offset, bytes, _| {
            disk.discard(offset, bytes)
        })
    }

    /// Changes each range that a request names: (byte offset, bytes, flags), of which `allowed` may be set.
    fn each_range(
        &self,
        reader: &mut ChainReader<'_>,
        limit: &RangeLimit,
        allowed: u32,
        change: impl Fn(u64, u64, u32) -> std::io::Result<()>,
    ) -> Result<(), Undone> {
        let (mut segments, mut changed) = (0, 0);
        while reader.left() > 0 {
            let Some(segment) = reader.read_array::<{ request::SEGMENT_BYTES }>()? else {
                return Err(IO_ERROR);
            };
            let sector = u64::from_le_bytes(field(&segment, 0));
            let [sectors, flags] = [8, 12].map(|at| u32::from_le_bytes(field(&segment, at)));
            segments += 1;
            if flags & !allowed != 0 {
                return Err(Undone::Failed(Status::Unsupported));
            }
            if segments > limit.segments || sectors > limit.sectors {
                return Err(IO_ERROR);
            }
            let bytes = u64::from(sectors) * SECTOR_BYTES;
            let offset = self.range(sector, bytes)?;
            self.go_on(changed)?;
            self.change(|| change(offset, bytes, flags))?;
            changed += bytes;
        }
        Ok(())
    }

    /// Makes a finished write durable when the driver has asked for write-through.
    fn settle(&self) -> Result<(), Undone> {
        if !self.can_flush || !self.shared.writeback.load(Ordering::Relaxed) {
            self.shared.backend.flush()?;
        }
        Ok(())
    }
}

/// `N` bytes of a header at `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests;

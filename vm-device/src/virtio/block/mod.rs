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
use crate::block::{BlockBackend, SECTOR_BYTES};

const QUEUE_SIZE: u16 = 256;
/// Two descriptors of a request are its header and its status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// A write-zeroes request is one call to the host; longer ranges come as several requests.
const MAX_WRITE_ZEROES_SECTORS: u32 = 0x8000;
const MAX_WRITE_ZEROES_SEGMENTS: u32 = 1;
/// Bytes that move between host and guest at once.
const BOUNCE_BYTES: usize = 0x4_0000;

/// A disk.
pub struct VirtioBlock {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn BlockBackend>,
    id: [u8; ID_BYTES],
    /// The `writeback` field: whether writes may stay volatile until a flush.
    writeback: AtomicBool,
}

impl VirtioBlock {
    /// A disk of `backend`'s bytes. Of `serial`, the first 20 bytes are its serial number.
    pub fn new(backend: Arc<dyn BlockBackend>, serial: &str) -> Arc<Self> {
        let mut id = [0; ID_BYTES];
        let used = serial.len().min(ID_BYTES);
        id[..used].copy_from_slice(&serial.as_bytes()[..used]);
        let shared = Shared {
            backend,
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
        put(config::BLK_SIZE, &(SECTOR_BYTES as u32).to_le_bytes());
        put(
            config::WRITEBACK,
            &[u8::from(self.shared.writeback.load(Ordering::Relaxed))],
        );
        if !self.shared.backend.read_only() {
            put(
                config::MAX_WRITE_ZEROES_SECTORS,
                &MAX_WRITE_ZEROES_SECTORS.to_le_bytes(),
            );
            put(
                config::MAX_WRITE_ZEROES_SEG,
                &MAX_WRITE_ZEROES_SEGMENTS.to_le_bytes(),
            );
        }
        bytes
    }
}

impl VirtioDevice for VirtioBlock {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn features(&self) -> u64 {
        let both = feature::SEG_MAX | feature::BLK_SIZE | feature::FLUSH;
        both | match self.shared.backend.read_only() {
            true => feature::RO,
            false => feature::CONFIG_WCE | feature::WRITE_ZEROES,
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
            queue.drain(chain, |chain, memory| disk.serve(chain, memory))?;
        }
        Ok(())
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        self.queues
    }
}

/// Why a request fails; a ring error is the host's I/O error's twin: a buffer that is not RAM.
#[derive(Debug)]
struct Failed(Status);

impl From<RingError> for Failed {
    fn from(_: RingError) -> Self {
        Self(Status::IoError)
    }
}

impl From<std::io::Error> for Failed {
    fn from(_: std::io::Error) -> Self {
        Self(Status::IoError)
    }
}

struct Disk<'a> {
    shared: &'a Shared,
    can_flush: bool,
    bounce: &'a mut [u8],
    doorbell: &'a Doorbell,
}

impl Disk<'_> {
    /// Serves one request; returns the bytes written to the chain, the status byte among them.
    fn serve(&mut self, chain: &Chain, memory: &GuestRamMap) -> Result<u32, RingError> {
        let mut status = chain.writer(memory);
        let Some(data_bytes) = status.left().checked_sub(1) else {
            return Err(RingError::MalformedRequest(chain.head));
        };
        let mut written = 0;
        let outcome = self.execute(chain, memory, data_bytes, &mut written);
        status.skip(data_bytes);
        status.write(&[outcome.err().map_or(Status::Ok, |failed| failed.0) as u8])?;
        Ok(u32::try_from(written + 1).unwrap_or(u32::MAX))
    }

    fn execute(
        &mut self,
        chain: &Chain,
        memory: &GuestRamMap,
        data_bytes: u64,
        written: &mut u64,
    ) -> Result<(), Failed> {
        let mut reader = chain.reader(memory);
        let Some(header) = reader.read_array::<{ request::HEADER_BYTES }>()? else {
            return Err(Failed(Status::IoError));
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
            _ => Err(Failed(Status::Unsupported)),
        }
    }

    /// Byte offset of a range of whole sectors on the disk.
    fn range(&self, sector: u64, bytes: u64) -> Result<u64, Failed> {
        let start = sector.checked_mul(SECTOR_BYTES);
        let fits = start
            .and_then(|start| start.checked_add(bytes))
            .is_some_and(|end| end <= self.shared.backend.len());
        match start {
            Some(start) if fits && bytes.is_multiple_of(SECTOR_BYTES) => Ok(start),
            _ => Err(Failed(Status::IoError)),
        }
    }

    /// Fails a very long request when the device is being stopped.
    fn go_on(&self, moved: u64) -> Result<(), Failed> {
        match self.doorbell.may_go_on(moved) {
            true => Ok(()),
            false => Err(Failed(Status::IoError)),
        }
    }

    fn read(
        &mut self,
        sector: u64,
        writer: &mut ChainWriter<'_>,
        bytes: u64,
        written: &mut u64,
    ) -> Result<(), Failed> {
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

    fn write(&mut self, sector: u64, reader: &mut ChainReader<'_>) -> Result<(), Failed> {
        let mut at = self.range(sector, reader.left())?;
        if self.shared.backend.read_only() {
            return Err(Failed(Status::IoError));
        }
        let mut moved = 0;
        while reader.left() > 0 {
            self.go_on(moved)?;
            let here = reader.read(self.bounce)?;
            self.shared.backend.write_at(at, &self.bounce[..here])?;
            at += here as u64;
            moved += here as u64;
        }
        self.settle()
    }

    fn write_zeroes(&mut self, reader: &mut ChainReader<'_>) -> Result<(), Failed> {
        let mut segments = 0;
        while reader.left() > 0 {
            let Some(segment) = reader.read_array::<{ request::SEGMENT_BYTES }>()? else {
                return Err(Failed(Status::IoError));
            };
            let sector = u64::from_le_bytes(field(&segment, 0));
            let [sectors, flags] = [8, 12].map(|at| u32::from_le_bytes(field(&segment, at)));
            segments += 1;
            if flags & !request::SEGMENT_UNMAP != 0 {
                return Err(Failed(Status::Unsupported));
            }
            if segments > MAX_WRITE_ZEROES_SEGMENTS || sectors > MAX_WRITE_ZEROES_SECTORS {
                return Err(Failed(Status::IoError));
            }
            let bytes = u64::from(sectors) * SECTOR_BYTES;
            self.shared
                .backend
                .write_zeroes(self.range(sector, bytes)?, bytes)?;
        }
        self.settle()
    }

    /// Makes a finished write durable when the driver has asked for write-through.
    fn settle(&self) -> Result<(), Failed> {
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

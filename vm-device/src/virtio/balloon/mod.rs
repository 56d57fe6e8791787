//! The virtio memory balloon (VIRTIO 1.3, 5.5): memory that the guest does not use goes back to the host.
//!
//! Two ways lead there. A guest that knows free-page reporting tells by itself which memory it has free; that memory
//! stays its own and reads as zero when it is used again. And a device that wants pages (`num_pages`) is given some: the
//! guest puts them into the balloon and leaves them alone until it takes them out again.
//!
//! What it refuses to do: free-page hinting. A device may give back a hinted page only if it knows that the guest has
//! not written to it since (5.5.6.6.2), and nobody here records what a guest writes.

pub mod spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use vm_core::{GuestPhysAddr, PAGE_BYTES};
use vm_mem::GuestMemory;

use self::spec::{PAGE_NUMBER_SHIFT, QUEUES, config, feature};
use super::block::copy_config;
use super::chain::{Buffer, Chain, ChainReader};
use super::device::{Activation, QueueWorker, VirtioDevice};
use super::queue::{RingError, VirtQueue};
use super::save::DeviceState;
use super::signal::GuestSignal;
use super::spec::DeviceType;
use super::worker::Doorbell;

const QUEUE_SIZE: u16 = 128;
/// Page numbers that are looked at together, so that neighbours are given back with one call. Linux sends 256.
const BATCH_PAGES: usize = 256;

/// A memory balloon.
pub struct VirtioBalloon {
    shared: Arc<Shared>,
}

struct Shared {
    memory: GuestMemory,
    target_pages: AtomicU32,
    actual_pages: AtomicU32,
    poison: AtomicU32,
    /// To the driver that runs now.
    signal: Mutex<Option<Arc<GuestSignal>>>,
}

impl VirtioBalloon {
    /// An empty balloon for the machine that has `memory`.
    pub fn new(memory: GuestMemory) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                memory,
                target_pages: AtomicU32::new(0),
                actual_pages: AtomicU32::new(0),
                poison: AtomicU32::new(0),
                signal: Mutex::new(None),
            }),
        })
    }

    /// Asks the guest to have that many bytes in the balloon. It does so as far as it can, in its own time.
    pub fn set_target_bytes(&self, bytes: u64) {
        let pages = u32::try_from(bytes >> PAGE_NUMBER_SHIFT).unwrap_or(u32::MAX);
        self.shared.target_pages.store(pages, Ordering::SeqCst);
        if let Some(signal) = &*self.shared.signal.lock() {
            signal.config_changed();
        }
    }

    /// Bytes that the guest says are in the balloon.
    pub fn actual_bytes(&self) -> u64 {
        u64::from(self.shared.actual_pages.load(Ordering::SeqCst)) << PAGE_NUMBER_SHIFT
    }
}

impl VirtioDevice for VirtioBalloon {
    fn device_type(&self) -> DeviceType {
        DeviceType::Balloon
    }

    fn features(&self) -> u64 {
        feature::DEFLATE_ON_OOM | feature::PAGE_POISON | feature::PAGE_REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE; QUEUES]
    }

    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let mut bytes = [0; config::BYTES];
        for (at, value) in [
            (config::NUM_PAGES, &self.shared.target_pages),
            (config::ACTUAL, &self.shared.actual_pages),
            (config::POISON_VAL, &self.shared.poison),
        ] {
            let value = value.load(Ordering::SeqCst).to_le_bytes();
            bytes[at as usize..][..value.len()].copy_from_slice(&value);
        }
        copy_config(&bytes, offset, into);
    }

    fn write_config(&self, offset: u64, from: &[u8]) {
        let field = match offset {
            config::ACTUAL => &self.shared.actual_pages,
            config::POISON_VAL => &self.shared.poison,
            _ => return,
        };
        if let Ok(value) = from.try_into() {
            field.store(u32::from_le_bytes(value), Ordering::SeqCst);
        }
    }

    fn activate(&self, activation: Activation) -> Box<dyn QueueWorker> {
        *self.shared.signal.lock() = Some(activation.signal);
        Box::new(Worker {
            shared: self.shared.clone(),
            roles: Role::of(activation.features),
            queues: activation.queues,
            chain: Chain::new(),
            doorbell: activation.doorbell,
        })
    }

    fn reset(&self) {
        *self.shared.signal.lock() = None;
        self.shared.actual_pages.store(0, Ordering::SeqCst);
        self.shared.poison.store(0, Ordering::SeqCst);
    }

    fn save(&self) -> DeviceState {
        DeviceState::Balloon {
            target_pages: self.shared.target_pages.load(Ordering::SeqCst),
            actual_pages: self.shared.actual_pages.load(Ordering::SeqCst),
            poison: self.shared.poison.load(Ordering::SeqCst),
        }
    }

    fn restore(&self, state: &DeviceState) {
        if let DeviceState::Balloon {
            target_pages,
            actual_pages,
            poison,
        } = *state
        {
            let shared = &self.shared;
            shared.target_pages.store(target_pages, Ordering::SeqCst);
            shared.actual_pages.store(actual_pages, Ordering::SeqCst);
            shared.poison.store(poison, Ordering::SeqCst);
        }
    }
}

/// What a queue is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Inflate,
    Deflate,
    Report,
}

impl Role {
    /// The queues that a driver with these features has, in the order of their numbers.
    ///
    /// DEVIATION: which number a queue has is not looked at. By the standard a feature that was not negotiated leaves
    /// a gap (5.5.2), but Linux closes it, as QEMU's device does.
    fn of(features: u64) -> Vec<Self> {
        let mut roles = vec![Self::Inflate, Self::Deflate];
        if features & feature::PAGE_REPORTING != 0 {
            roles.push(Self::Report);
        }
        roles
    }
}

struct Worker {
    shared: Arc<Shared>,
    roles: Vec<Role>,
    queues: Vec<Option<VirtQueue>>,
    chain: Chain,
    doorbell: Arc<Doorbell>,
}

impl QueueWorker for Worker {
    fn work(&mut self, _events: u64) -> Result<(), RingError> {
        let Self {
            shared,
            roles,
            queues,
            chain,
            doorbell,
        } = self;
        for (queue, role) in queues.iter_mut().flatten().zip(roles) {
            queue.drain(chain, |chain, memory| {
                match role {
                    Role::Inflate => shared.inflate(chain.reader(memory), doorbell)?,
                    // What is taken out of the balloon is there when it is touched.
                    Role::Deflate => {}
                    Role::Report => shared.reported(&chain.writable, doorbell),
                }
                Ok(0)
            })?;
        }
        Ok(())
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        self.queues
    }
}

impl Shared {
    /// Gives back the pages whose numbers the driver sends.
    fn inflate(&self, mut reader: ChainReader<'_>, doorbell: &Doorbell) -> Result<(), RingError> {
        let mut bytes = [0; BATCH_PAGES * size_of::<u32>()];
        let mut seen = 0;
        while reader.left() > 0 && doorbell.may_go_on(seen * PAGE_BYTES) {
            let count = match reader.read(&mut bytes) {
                Ok(count) => count / size_of::<u32>(),
                // A buffer that is not RAM names no pages.
                Err(_) => return Ok(()),
            };
            if count == 0 {
                return Ok(());
            }
            seen += count as u64;
            let (numbers, _) = bytes.as_chunks();
            let mut pages = [0; BATCH_PAGES];
            for (page, number) in pages.iter_mut().zip(numbers) {
                *page = u32::from_le_bytes(*number);
            }
            let pages = &mut pages[..count];
            pages.sort_unstable();
            for run in pages.chunk_by(|page, next| next - page <= 1) {
                let first = u64::from(run[0]) << PAGE_NUMBER_SHIFT;
                let last = u64::from(run[run.len() - 1]) << PAGE_NUMBER_SHIFT;
                self.give_back(GuestPhysAddr(first), last - first + PAGE_BYTES);
            }
        }
        Ok(())
    }

    /// Gives back what the driver reports as free. It must not touch it before the report is returned (5.5.6.7).
    fn reported(&self, buffers: &[Buffer], doorbell: &Doorbell) {
        // Given back, pages read as zero; a driver that expects to find its pattern keeps them (5.5.6.7.1).
        if self.poison.load(Ordering::SeqCst) != 0 {
            return;
        }
        let mut seen = 0;
        for buffer in buffers {
            if !doorbell.may_go_on(seen) {
                return;
            }
            seen += u64::from(buffer.bytes);
            self.give_back(buffer.addr, u64::from(buffer.bytes));
        }
    }

    /// Gives the whole pages of a range back to the host. Nothing depends on it: what is not RAM, or what the host does
    /// not take, stays as it is.
    fn give_back(&self, addr: GuestPhysAddr, bytes: u64) {
        let first = addr.raw().checked_next_multiple_of(PAGE_BYTES);
        let last = addr.checked_add(bytes).map(GuestPhysAddr::page_base);
        if let (Some(first), Some(last)) = (first, last)
            && first < last.raw()
        {
            let _ = self
                .memory
                .discard(GuestPhysAddr(first), last.raw() - first);
        }
    }
}

#[cfg(test)]
mod tests;

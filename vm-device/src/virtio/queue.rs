//! A split virtqueue as a device uses it (VIRTIO 1.3, 2.7), on top of the `virtio-queue` crate.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_core::GuestPhysAddr;
use vm_mem::GuestRamMap;
use vm_memory::{Address, Bytes, GuestAddress};

use super::chain::{Buffer, Chain};
use super::signal::{Cause, GuestSignal};
use super::spec::{AVAIL_NO_INTERRUPT, MAX_CHAIN};
use super::worker::Doorbell;

/// Flags and index come before a ring's elements (VIRTIO 1.3, 2.7.6 and 2.7.8).
const RING_HEADER_BYTES: u64 = 4;
/// Where a ring's index lies.
const RING_INDEX: u64 = 2;

/// How a driver broke the rules of the rings. The device stops with DEVICE_NEEDS_RESET, except for
/// [`RingError::NotRam`], which may fail just the request.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The ring itself is wrong.
    #[error("virtqueue: {0}; the driver must reset the device")]
    Ring(#[from] virtio_queue::Error),
    /// A descriptor chain loops, leaves its table, is too long, or puts readable after writable buffers.
    #[error("malformed descriptor chain {0}; the driver must reset the device")]
    MalformedChain(u16),
    /// A buffer is not guest RAM.
    #[error("{bytes} bytes at {addr} are not guest RAM")]
    NotRam {
        /// First address.
        addr: GuestPhysAddr,
        /// Length in bytes.
        bytes: u64,
    },
    /// A request has not the parts its device's chapter of the standard demands.
    #[error("malformed request {0}; the driver must reset the device")]
    MalformedRequest(u16),
}

/// A running queue. Owned by one thread at a time.
pub struct VirtQueue {
    queue: Queue,
    index: u16,
    /// Next used entry when the driver was last considered for an interrupt.
    signalled: u16,
    memory: Arc<GuestRamMap>,
    signal: Arc<GuestSignal>,
    doorbell: Arc<Doorbell>,
}

impl VirtQueue {
    /// Makes a queue from its registers, or `None` when size, alignment or addresses are wrong.
    pub(crate) fn new(
        state: QueueState,
        index: u16,
        memory: Arc<GuestRamMap>,
        signal: Arc<GuestSignal>,
        doorbell: Arc<Doorbell>,
    ) -> Option<Self> {
        let queue = Queue::try_from(state).ok()?;
        let signalled = queue.next_used();
        let valid = queue.is_valid(&*memory);
        valid.then_some(Self {
            queue,
            index,
            signalled,
            memory,
            signal,
            doorbell,
        })
    }

    /// Ring positions: (next available, next used).
    pub(crate) fn positions(&self) -> (u16, u16) {
        (self.queue.next_avail(), self.queue.next_used())
    }

    /// Number of the queue within its device.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The guest's RAM.
    pub fn memory(&self) -> &Arc<GuestRamMap> {
        &self.memory
    }

    /// Takes the next chain the driver made available. False when there is none, or when the device must not touch
    /// memory now (it is being stopped, or bus mastering is off).
    ///
    /// # Errors
    /// When ring or chain are malformed.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, RingError> {
        chain.readable.clear();
        chain.writable.clear();
        if !self.doorbell.may_work() {
            return Ok(false);
        }
        let Some(mut descriptors) = self.queue.iter(&*self.memory)?.next() else {
            return Ok(false);
        };
        chain.head = descriptors.head_index();
        let malformed = RingError::MalformedChain(chain.head);
        // The crate ends its iteration silently on loops, bad indices and bad tables; all of these leave a chain
        // without a descriptor that says it is the last.
        let mut complete = false;
        for descriptor in &mut descriptors {
            let buffer = Buffer {
                addr: GuestPhysAddr(descriptor.addr().0),
                bytes: descriptor.len(),
            };
            complete = !descriptor.has_next();
            if chain.readable.len() + chain.writable.len() == MAX_CHAIN {
                return Err(malformed);
            }
            if descriptor.is_write_only() {
                chain.writable.push(buffer);
            } else if chain.writable.is_empty() {
                chain.readable.push(buffer);
            } else {
                return Err(malformed);
            }
        }
        if complete { Ok(true) } else { Err(malformed) }
    }

    /// Gives the last `chains` popped chains back, to be popped again.
    pub fn unpop(&mut self, chains: u16) {
        self.queue
            .set_next_avail(self.queue.next_avail().wrapping_sub(chains));
    }

    /// Takes the next chain; when there is none, asks the driver to notify and returns false.
    ///
    /// # Errors
    /// When ring or chain are malformed.
    pub fn pop_or_wait(&mut self, chain: &mut Chain) -> Result<bool, RingError> {
        loop {
            if self.pop(chain)? {
                return Ok(true);
            }
            if !self.enable_notification()? {
                return Ok(false);
            }
        }
    }

    /// Returns a chain to the driver: the device wrote `written` bytes of it. Interrupts nobody; see
    /// [`VirtQueue::signal`].
    ///
    /// # Errors
    /// When the ring is not RAM any more.
    pub fn push_used(&mut self, head: u16, written: u32) -> Result<(), RingError> {
        self.push_used_all(&[(head, written)])
    }

    /// Returns several chains (head, bytes written) so that the driver sees all or none of them.
    ///
    /// # Errors
    /// When the ring is not RAM any more.
    pub fn push_used_all(&mut self, used: &[(u16, u32)]) -> Result<(), RingError> {
        let ring = GuestAddress(self.queue.used_ring());
        let mut next = self.queue.next_used();
        for &(head, written) in used {
            let mut element = [0; 8];
            element[..2].copy_from_slice(&head.to_le_bytes());
            element[4..].copy_from_slice(&written.to_le_bytes());
            let slot = u64::from(next % self.queue.size());
            let at = ring.unchecked_add(RING_HEADER_BYTES + slot * element.len() as u64);
            self.memory
                .write_slice(&element, at)
                .map_err(virtio_queue::Error::GuestMemory)?;
            next = next.wrapping_add(1);
        }
        self.queue.set_next_used(next);
        let index = ring.unchecked_add(RING_INDEX);
        Ok(self
            .memory
            .store(next.to_le(), index, Ordering::Release)
            .map_err(virtio_queue::Error::GuestMemory)?)
    }

    /// Interrupts the driver for what was pushed, unless it asked not to be (VIRTIO 1.3, 2.7.7.2).
    ///
    /// # Errors
    /// When the ring is not RAM any more.
    pub fn signal(&mut self) -> Result<(), RingError> {
        // What was pushed must be visible before the driver's wish is read.
        fence(Ordering::SeqCst);
        let new = self.queue.next_used();
        let old = std::mem::replace(&mut self.signalled, new);
        let wanted = if self.queue.event_idx_enabled() {
            let offset = RING_HEADER_BYTES + 2 * u64::from(self.queue.size());
            let event = self.avail_word(offset)?;
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            new != old && self.avail_word(0)? & AVAIL_NO_INTERRUPT == 0
        };
        if wanted {
            self.signal.raise(Cause::Queue(self.index));
        }
        Ok(())
    }

    /// Stops the device: the driver has to reset it.
    pub(crate) fn fail(&self) {
        self.signal.require_reset();
    }

    /// The 16 bits at `offset` in the available ring.
    fn avail_word(&self, offset: u64) -> Result<u16, RingError> {
        let at = GuestAddress(self.queue.avail_ring()).unchecked_add(offset);
        let word: u16 = self
            .memory
            .load(at, Ordering::Relaxed)
            .map_err(virtio_queue::Error::GuestMemory)?;
        Ok(u16::from_le(word))
    }

    /// Asks the driver to notify when it adds chains. True when some are there already: pop them first, no
    /// notification comes for them.
    ///
    /// # Errors
    /// When the ring is not RAM any more.
    pub fn enable_notification(&mut self) -> Result<bool, RingError> {
        Ok(self.queue.enable_notification(&*self.memory)? && self.doorbell.may_work())
    }

    /// Tells the driver that it need not notify.
    ///
    /// # Errors
    /// When the ring is not RAM any more.
    pub fn disable_notification(&mut self) -> Result<(), RingError> {
        Ok(self.queue.disable_notification(&*self.memory)?)
    }

    /// Serves every available chain: `serve` returns the bytes it wrote. Each is returned as used, and the driver
    /// signalled, before the next is taken.
    ///
    /// # Errors
    /// When the ring, a chain, or what `serve` says of it, is malformed.
    pub fn drain(
        &mut self,
        chain: &mut Chain,
        mut serve: impl FnMut(&Chain, &GuestRamMap) -> Result<u32, RingError>,
    ) -> Result<(), RingError> {
        self.drain_while(chain, |chain, memory| serve(chain, memory).map(Some))
    }

    /// The same, but `serve` may say `None` of a chain that it has not finished: it stays available, and nothing more
    /// is served now.
    ///
    /// # Errors
    /// As [`VirtQueue::drain`].
    pub fn drain_while(
        &mut self,
        chain: &mut Chain,
        mut serve: impl FnMut(&Chain, &GuestRamMap) -> Result<Option<u32>, RingError>,
    ) -> Result<(), RingError> {
        loop {
            self.disable_notification()?;
            while self.pop(chain)? {
                let Some(written) = serve(chain, &self.memory)? else {
                    self.unpop(1);
                    return Ok(());
                };
                self.push_used(chain.head, written)?;
                self.signal()?;
            }
            if !self.enable_notification()? {
                return Ok(());
            }
        }
    }
}

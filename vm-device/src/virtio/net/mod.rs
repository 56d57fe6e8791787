//! The virtio network card (VIRTIO 1.3, 5.1): one pair of queues, mergeable receive buffers, checksums; large segments
//! of the guest where the back end takes them.

mod offload;
pub mod spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use self::spec::{
    FRAME_BYTES, FRAME_MIN_BYTES, HEADER_BYTES, RECEIVE, TRANSMIT, config, feature, header,
};
use super::block::copy_config;
use super::chain::Chain;
use super::device::{Activation, QueueWorker, VirtioDevice};
use super::inbound::Inbound;
use super::queue::{RingError, VirtQueue};
use super::save::DeviceState;
use super::signal::GuestSignal;
use super::spec::DeviceType;
use crate::net::{FrameSink, NetBackend};

const QUEUE_SIZE: u16 = 256;

struct Shared {
    backend: Arc<dyn NetBackend>,
    mac: [u8; 6],
    receive: Inbound,
    /// Features in use.
    features: AtomicU64,
    link_up: AtomicBool,
    signal: Mutex<Option<Arc<GuestSignal>>>,
}

/// A network card.
pub struct VirtioNet {
    shared: Arc<Shared>,
}

impl VirtioNet {
    /// A card with address `mac`, cabled to `backend`.
    pub fn new(backend: Arc<dyn NetBackend>, mac: [u8; 6]) -> Arc<Self> {
        let shared = Arc::new(Shared {
            backend: backend.clone(),
            mac,
            receive: Inbound::default(),
            features: AtomicU64::new(0),
            link_up: AtomicBool::new(true),
            signal: Mutex::new(None),
        });
        backend.connect(Arc::new(CableEnd(Arc::downgrade(&shared))));
        Arc::new(Self { shared })
    }

    /// Plugs the cable in or pulls it. Frames are lost while it is out.
    pub fn set_link(&self, up: bool) {
        let signal = self.shared.signal.lock().clone();
        if self.shared.link_up.swap(up, Ordering::SeqCst) != up
            && let Some(signal) = signal
        {
            signal.config_changed();
        }
    }
}

/// What the back end holds of a card: it must not keep it alive, the card keeps the back end.
struct CableEnd(std::sync::Weak<Shared>);

impl FrameSink for CableEnd {
    fn receive(&self, frame: &[u8]) -> bool {
        match self.0.upgrade() {
            Some(card) if card.link_up.load(Ordering::SeqCst) => card.receive(frame),
            // Nobody is there: lost, as on a real wire.
            _ => true,
        }
    }
}

impl Shared {
    fn receive(&self, frame: &[u8]) -> bool {
        if !(FRAME_MIN_BYTES..=FRAME_BYTES).contains(&frame.len()) {
            return true;
        }
        let features = self.features.load(Ordering::SeqCst);
        let mergeable = features & feature::MRG_RXBUF != 0;
        let mut header = [0; HEADER_BYTES];
        if features & feature::GUEST_CSUM != 0 && self.backend.delivers_checked_frames() {
            header[header::FLAGS] = header::CHECKSUM_VALID;
        }
        let header = &header[..spec::header_bytes(features)];
        let delivered = self
            .receive
            .deliver(|queue, chain| receive_frame(queue, chain, (header, frame), mergeable));
        delivered.is_some()
    }
}

/// Puts a frame into as many buffers as it takes (VIRTIO 1.3, 5.1.6.4). `None` when there are too few.
fn receive_frame(
    queue: &mut VirtQueue,
    chain: &mut Chain,
    (header, frame): (&[u8], &[u8]),
    mergeable: bool,
) -> Result<Option<()>, RingError> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut room = 0;
    let wanted = (header.len() + frame.len()) as u64;
    while room < wanted {
        let full = if mergeable {
            chains.len() == usize::from(QUEUE_SIZE)
        } else {
            room > 0
        };
        if full {
            // One buffer too small for the frame: dropped, the buffer stays.
            queue.unpop(chains.len() as u16);
            return Ok(Some(()));
        }
        if !queue.pop_or_wait(chain)? {
            queue.unpop(chains.len() as u16);
            return Ok(None);
        }
        let here = chain.writer(queue.memory()).left();
        // The header must not be split; a buffer without room for it breaks 5.1.6.3.1.
        if here < header.len() as u64 {
            return Err(RingError::MalformedRequest(chain.head));
        }
        room += here;
        chains.push(std::mem::take(chain));
    }
    let mut bytes = Vec::with_capacity(header.len() + frame.len());
    bytes.extend_from_slice(header);
    if let Some(buffers) = bytes.get_mut(header::BUFFERS..HEADER_BYTES) {
        buffers.copy_from_slice(&(chains.len() as u16).to_le_bytes());
    }
    bytes.extend_from_slice(frame);
    let mut rest = &bytes[..];
    let mut used = Vec::with_capacity(chains.len());
    for chain in &chains {
        let mut writer = chain.writer(queue.memory());
        let here = writer.left().min(rest.len() as u64) as usize;
        // In a buffer that is not RAM the frame is lost; the driver gets its buffer back.
        let _ = writer.write(&rest[..here]);
        rest = &rest[here..];
        used.push((chain.head, here as u32));
    }
    queue.push_used_all(&used)?;
    queue.signal()?;
    *chain = chains.pop().unwrap_or_default();
    Ok(Some(()))
}

impl VirtioDevice for VirtioNet {
    fn device_type(&self) -> DeviceType {
        DeviceType::Net
    }

    fn features(&self) -> u64 {
        let offloads = match self.shared.backend.takes_large_frames() {
            true => feature::HOST_TSO4,
            false => 0,
        };
        let checksums = feature::CSUM | feature::GUEST_CSUM;
        feature::MAC | feature::STATUS | feature::MRG_RXBUF | checksums | offloads
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let mut bytes = [0; config::BYTES];
        bytes[config::MAC..][..6].copy_from_slice(&self.shared.mac);
        let up = self.shared.link_up.load(Ordering::SeqCst);
        bytes[config::STATUS] = if up { config::LINK_UP } else { 0 };
        copy_config(&bytes, offset, into);
    }

    fn activate(&self, mut activation: Activation) -> Box<dyn QueueWorker> {
        let features = activation.features;
        self.shared.features.store(features, Ordering::SeqCst);
        *self.shared.signal.lock() = Some(activation.signal);
        self.shared.receive.open(activation.queues[RECEIVE].take());
        Box::new(Worker {
            shared: self.shared.clone(),
            transmit: activation.queues[TRANSMIT].take(),
            chain: Chain::new(),
            frame: vec![0; FRAME_BYTES],
            header_bytes: spec::header_bytes(features),
        })
    }

    fn reset(&self) {
        self.shared.receive.close();
        *self.shared.signal.lock() = None;
    }

    fn save(&self) -> DeviceState {
        DeviceState::Net {
            link_up: self.shared.link_up.load(Ordering::SeqCst),
        }
    }

    fn restore(&self, state: &DeviceState) {
        if let DeviceState::Net { link_up } = *state {
            self.shared.link_up.store(link_up, Ordering::SeqCst);
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    transmit: Option<VirtQueue>,
    chain: Chain,
    frame: Vec<u8>,
    /// Bytes of the header before each frame.
    header_bytes: usize,
}

impl QueueWorker for Worker {
    fn work(&mut self, events: u64) -> Result<(), RingError> {
        if events & (1 << RECEIVE) != 0 && self.shared.receive.take_room() {
            self.shared.backend.resume();
        }
        let Self {
            shared,
            transmit,
            chain,
            frame,
            header_bytes,
        } = self;
        let header_bytes = *header_bytes;
        let Some(transmit) = transmit else {
            return Ok(());
        };
        transmit.drain(chain, |chain, memory| {
            let mut reader = chain.reader(memory);
            if reader.left() < header_bytes as u64 {
                return Err(RingError::MalformedRequest(chain.head));
            }
            // Frames that are too long, not in RAM or under a header that does not fit them are lost.
            let bytes = reader.left() - header_bytes as u64;
            let mut header = [0; HEADER_BYTES];
            let valid = (FRAME_MIN_BYTES as u64..=FRAME_BYTES as u64).contains(&bytes);
            if valid
                && reader.read(&mut header[..header_bytes]).is_ok()
                && let Ok(bytes) = reader.read(frame)
                && shared.link_up.load(Ordering::SeqCst)
                && offload::complete(&header, &mut frame[..bytes])
            {
                shared.backend.transmit(&frame[..bytes]);
            }
            Ok(0)
        })
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        vec![self.shared.receive.close(), self.transmit]
    }
}

#[cfg(test)]
mod tests;

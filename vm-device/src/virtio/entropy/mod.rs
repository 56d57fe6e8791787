//! The virtio entropy device (VIRTIO 1.3, 5.4).

use std::io;
use std::sync::Arc;

use super::chain::Chain;
use super::device::{Activation, QueueWorker, VirtioDevice};
use super::queue::{RingError, VirtQueue};
use super::save::DeviceState;
use super::spec::DeviceType;

const QUEUE_SIZE: u16 = 64;
/// Bytes for one request, at most: the device may fill less than the buffer (5.4.6.2), and a hostile driver shall
/// not keep it busy for long with one request.
const REQUEST_BYTES: usize = 0x1_0000;

/// Where random bytes come from.
pub trait EntropySource: Send + Sync {
    /// Fills `into` with random bytes. Called on the device's thread.
    ///
    /// # Errors
    /// What the host says.
    fn fill(&self, into: &mut [u8]) -> io::Result<()>;
}

/// The host's cryptographic random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostEntropy;

impl EntropySource for HostEntropy {
    fn fill(&self, into: &mut [u8]) -> io::Result<()> {
        getrandom::fill(into).map_err(io::Error::from)
    }
}

/// A source of random bytes for the guest.
pub struct VirtioEntropy {
    source: Arc<dyn EntropySource>,
}

impl VirtioEntropy {
    /// A device that hands out `source`'s bytes.
    pub fn new(source: Arc<dyn EntropySource>) -> Arc<Self> {
        Arc::new(Self { source })
    }
}

impl VirtioDevice for VirtioEntropy {
    fn device_type(&self) -> DeviceType {
        DeviceType::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, into: &mut [u8]) {
        into.fill(0);
    }

    fn save(&self) -> DeviceState {
        DeviceState::Entropy
    }

    fn restore(&self, _state: &DeviceState) {}

    fn activate(&self, activation: Activation) -> Box<dyn QueueWorker> {
        Box::new(Worker {
            source: self.source.clone(),
            queues: activation.queues,
            chain: Chain::new(),
            bytes: vec![0; REQUEST_BYTES],
        })
    }
}

struct Worker {
    source: Arc<dyn EntropySource>,
    queues: Vec<Option<VirtQueue>>,
    chain: Chain,
    bytes: Vec<u8>,
}

impl QueueWorker for Worker {
    fn work(&mut self, _events: u64) -> Result<(), RingError> {
        let Self {
            source,
            queues,
            chain,
            bytes,
        } = self;
        for queue in queues.iter_mut().flatten() {
            queue.drain(chain, |chain, memory| {
                let mut writer = chain.writer(memory);
                let wanted = writer.left().min(bytes.len() as u64) as usize;
                // A driver takes no bytes as "not now" and asks again.
                if source.fill(&mut bytes[..wanted]).is_err() {
                    return Ok(0);
                }
                Ok(writer.write(&bytes[..wanted]).unwrap_or(0) as u32)
            })?;
        }
        Ok(())
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        self.queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::driver::*;
    use crate::virtio::spec::status;

    struct Counter;
    impl EntropySource for Counter {
        fn fill(&self, into: &mut [u8]) -> io::Result<()> {
            into.iter_mut()
                .zip(1..)
                .for_each(|(byte, n)| *byte = n as u8);
            Ok(())
        }
    }

    #[test]
    fn request_is_filled_across_buffers() {
        let mut rig = Rig::mmio(VirtioEntropy::new(Arc::new(Counter)));
        rig.start(u64::MAX);
        let pieces = [writable(BUFFERS, 3), writable(BUFFERS + 0x100, 5)];
        assert_eq!(rig.roundtrip(0, &pieces), 8);
        assert_eq!(rig.get(BUFFERS, 4), [1, 2, 3, 0]);
        assert_eq!(rig.get(BUFFERS + 0x100, 6), [4, 5, 6, 7, 8, 0]);
    }

    #[test]
    fn request_of_megabytes_is_cut() {
        let mut rig = Rig::mmio(VirtioEntropy::new(Arc::new(Counter)));
        rig.start(u64::MAX);
        assert_eq!(rig.roundtrip(0, &[writable(BUFFERS, 0x10_0000)]), 0x1_0000);
        assert_eq!(rig.roundtrip(0, &[writable(0x10, 16)]), 0);
        assert_eq!(rig.registers.status() & status::NEEDS_RESET, 0);
    }

    #[test]
    fn host_entropy_differs_between_calls() {
        let mut bytes = [[0; 32]; 2];
        HostEntropy.fill(&mut bytes[0]).unwrap();
        HostEntropy.fill(&mut bytes[1]).unwrap();
        assert_ne!(bytes[0], bytes[1]);
    }
}

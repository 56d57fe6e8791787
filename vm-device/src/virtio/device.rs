//! What a virtio device model implements.

use std::sync::Arc;

use vm_mem::GuestRamMap;

use super::queue::{RingError, VirtQueue};
use super::save::DeviceState;
use super::signal::GuestSignal;
use super::spec::DeviceType;
use super::worker::Doorbell;

/// A virtio device without its transport (VIRTIO 1.3, 2 and 5). All methods are called on virtual CPU threads and
/// must not block on I/O; that is the [`QueueWorker`]'s job.
pub trait VirtioDevice: Send + Sync {
    /// Which device it is.
    fn device_type(&self) -> DeviceType;

    /// Feature bits it offers beside those of the core ([`super::spec::feature::CORE`]).
    fn features(&self) -> u64;

    /// Largest size of each queue, powers of two.
    fn queue_sizes(&self) -> &[u16];

    /// Reads the device-specific configuration; bytes past its end read as zero.
    fn read_config(&self, offset: u64, into: &mut [u8]);

    /// Writes the device-specific configuration; bytes that cannot be written are left alone.
    fn write_config(&self, _offset: u64, _from: &[u8]) {}

    /// The driver is ready (DRIVER_OK): makes the worker that serves the queues from now on.
    fn activate(&self, activation: Activation) -> Box<dyn QueueWorker>;

    /// The device was reset; its worker has ended already.
    fn reset(&self) {}

    /// What the device remembers beside the registers of its transport. Its worker does not run.
    fn save(&self) -> DeviceState;

    /// Puts back what was saved; the state is of this type of device. Its worker does not run.
    fn restore(&self, state: &DeviceState);
}

/// What a device gets when its driver is ready.
pub struct Activation {
    /// Negotiated features.
    pub features: u64,
    /// The guest's RAM.
    pub memory: Arc<GuestRamMap>,
    /// The queues, by number; `None` for those the driver did not enable.
    pub queues: Vec<Option<VirtQueue>>,
    /// To tell the driver of configuration changes.
    pub signal: Arc<GuestSignal>,
    /// To wake the worker from the host's side, with [`super::device_event`] bits.
    pub doorbell: Arc<Doorbell>,
}

/// The part of a device that runs on its own thread.
pub trait QueueWorker: Send {
    /// Serves what `events` names: bit n for queue n, [`super::device_event`] bits for the device's own events.
    /// Called with all queue bits once at the start.
    ///
    /// # Errors
    /// When the driver broke the rings: the device gets DEVICE_NEEDS_RESET and this worker no more calls.
    fn work(&mut self, events: u64) -> Result<(), RingError>;

    /// Ends the work and gives the queues back, so that their positions can be saved.
    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>>;
}

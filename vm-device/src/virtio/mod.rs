//! Virtio devices (VIRTIO 1.3): what all of them share, the two transports, and one folder per device.
//!
//! What it is: [`VirtioDevice`] (what a device model implements), [`VirtQueue`] and [`Chain`] (its view of the
//! rings), [`DeviceControl`] (status, feature negotiation, queue set-up and the device's I/O thread, shared by the
//! transports), [`VirtioMmio`] and [`VirtioPci`].
//!
//! What it refuses to do: packed rings, legacy interfaces, I/O on a virtual CPU's thread.
//!
//! Data flow: virtual CPU writes a notify register -> [`Doorbell`] -> the device's thread, a [`QueueWorker`], takes
//! [`Chain`]s from its [`VirtQueue`]s, works, returns them as used -> [`GuestSignal`] -> interrupt line.
//!
//! A driver that breaks the rules of the rings gets DEVICE_NEEDS_RESET (VIRTIO 1.3, 2.1.2); a buffer outside RAM
//! fails the request that named it.

pub mod balloon;
pub mod block;
mod chain;
pub mod console;
mod control;
mod device;
mod empty;
pub mod entropy;
mod inbound;
mod mmio;
pub mod net;
pub mod pci;
mod queue;
pub mod save;
mod signal;
pub mod spec;
mod worker;

#[cfg(test)]
mod driver;
#[cfg(test)]
mod tests;

pub use chain::{Buffer, Chain, ChainReader, ChainWriter};
pub use control::DeviceControl;
pub use device::{Activation, QueueWorker, VirtioDevice};
pub use empty::EmptySlot;
pub use mmio::VirtioMmio;
pub use pci::VirtioPci;
pub use queue::{RingError, VirtQueue};
pub use signal::{Cause, GuestSignal, InterruptSink, LevelInterrupt};
pub use worker::{Doorbell, QUEUE_EVENTS, device_event};

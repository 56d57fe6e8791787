//! Device models and the buses they sit on.
//!
//! What it is: the [`Bus`] that routes a virtual CPU's access to a device, and one folder per class of device.
//!
//! What it refuses to do: decide where a device sits (that is `vm-platform`), or call the operating system other
//! than through `vm-osal`.
//!
//! Data flow: virtual CPU -> [`Bus::read`]/[`Bus::write`] -> [`BusDevice`] -> [`vm_core::IrqLine`] towards an
//! interrupt controller. A guest's mistakes are values (reads of all zeros, ignored writes, device error bits),
//! never panics.

pub mod block;
pub mod bus;
pub mod chardev;
pub mod debug;
pub mod display;
pub mod firmware;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod host_room;
pub mod input;
pub mod intc;
pub mod movable;
pub mod net;
pub mod pci;
pub mod power;
pub mod serial;
pub mod state;
pub mod storage;
pub mod timer;
pub mod virtio;
pub mod watchdog;

#[cfg(test)]
mod testing;

pub use bus::{Bus, BusDevice, BusError};

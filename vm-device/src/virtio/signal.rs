//! From a device to its driver: interrupts, configuration changes, the request to be reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use vm_core::IrqLine;

use super::spec::isr;

/// What an interrupt is about. A transport with message-signalled interrupts has a vector for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Buffers of this queue were used.
    Queue(u16),
    /// The configuration space or the device status changed.
    Config,
}

/// A transport's way to interrupt the driver.
pub trait InterruptSink: Send + Sync {
    /// Interrupts the driver. Called on device threads; must not block.
    fn raise(&self, cause: Cause);
}

/// The signals of one device.
pub struct GuestSignal {
    sink: Arc<dyn InterruptSink>,
    needs_reset: AtomicBool,
    generation: AtomicU32,
}

impl GuestSignal {
    /// Signals over `sink`.
    pub fn new(sink: Arc<dyn InterruptSink>) -> Arc<Self> {
        Arc::new(Self {
            sink,
            needs_reset: AtomicBool::new(false),
            generation: AtomicU32::new(0),
        })
    }

    /// Interrupts the driver.
    pub fn raise(&self, cause: Cause) {
        self.sink.raise(cause);
    }

    /// Tells the driver that the configuration space has changed (VIRTIO 1.3, 2.5).
    pub fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.raise(Cause::Config);
    }

    /// Counts changes of the configuration space, so that a driver can read wide fields in pieces (VIRTIO 1.3,
    /// 2.5.1).
    pub fn config_generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Sets DEVICE_NEEDS_RESET and tells the driver (VIRTIO 1.3, 2.1.2).
    pub fn require_reset(&self) {
        if !self.needs_reset.swap(true, Ordering::SeqCst) {
            self.raise(Cause::Config);
        }
    }

    /// Whether DEVICE_NEEDS_RESET is set.
    pub fn needs_reset(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    pub(crate) fn clear_needs_reset(&self) {
        self.needs_reset.store(false, Ordering::SeqCst);
    }
}

/// The interrupt status register and the level-triggered line behind it.
pub struct LevelInterrupt {
    status: Mutex<u8>,
    line: Arc<dyn IrqLine>,
}

impl LevelInterrupt {
    /// A quiet interrupt on `line`.
    pub fn new(line: Arc<dyn IrqLine>) -> Arc<Self> {
        Arc::new(Self {
            status: Mutex::new(0),
            line,
        })
    }

    /// Changes the status bits; returns those before. The line moves under the lock: a device raising while the
    /// driver acknowledges must not end with a bit set and the line low.
    fn update(&self, change: impl FnOnce(u8) -> u8) -> u8 {
        let mut status = self.status.lock();
        let before = *status;
        *status = change(before);
        if (before == 0) != (*status == 0) {
            self.line.set(*status != 0);
        }
        before
    }

    /// The status bits ([`isr`]).
    pub fn pending(&self) -> u8 {
        self.update(|status| status)
    }

    /// Clears status bits; the line falls when none is left.
    pub fn acknowledge(&self, bits: u8) {
        self.update(|status| status & !bits);
    }

    /// Returns the status bits and clears them (VIRTIO 1.3, 4.1.4.5).
    pub fn take(&self) -> u8 {
        self.update(|_| 0)
    }

    /// Replaces the status bits, as when a saved state is restored.
    pub(crate) fn restore(&self, bits: u8) {
        self.update(|_| bits & (isr::QUEUE | isr::CONFIG));
    }
}

impl InterruptSink for LevelInterrupt {
    fn raise(&self, cause: Cause) {
        let bit = match cause {
            Cause::Queue(_) => isr::QUEUE,
            Cause::Config => isr::CONFIG,
        };
        self.update(|status| status | bit);
    }
}

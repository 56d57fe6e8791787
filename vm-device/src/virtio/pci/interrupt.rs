//! How a function interrupts its driver: by its pin, or by messages (VIRTIO 1.3, 4.1.5.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use vm_core::AccessWidth;

use super::super::save::NO_VECTOR;
use super::super::signal::{Cause, InterruptSink, LevelInterrupt};
use super::spec::{MESSAGES_BAR, MESSAGES_PENDING};
use crate::pci::{ConfigSpace, IntxPin, Msix, SavedMessages};

/// A function's table of messages, and which vector is for what. Vectors are apart from the device's registers, whose
/// lock may be held by whoever interrupts.
pub(super) struct Messages {
    pub(super) table: Arc<Msix>,
    control: u16,
    config_vector: AtomicU16,
    queue_vectors: Vec<AtomicU16>,
}

impl Messages {
    /// Adds the capability for `table` to the configuration space of a device with `queues` queues.
    pub(super) fn new(table: Arc<Msix>, config: &mut ConfigSpace, queues: usize) -> Self {
        let control = table.add_capability(config, MESSAGES_BAR, 0, MESSAGES_PENDING as u32);
        Self {
            table,
            control,
            config_vector: AtomicU16::new(NO_VECTOR),
            queue_vectors: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
        }
    }

    fn vector(&self, cause: Cause) -> Option<&AtomicU16> {
        match cause {
            Cause::Config => Some(&self.config_vector),
            Cause::Queue(queue) => self.queue_vectors.get(usize::from(queue)),
        }
    }

    /// The vector of a cause, as its register reads.
    pub(super) fn get(&self, cause: Cause) -> u16 {
        self.vector(cause)
            .map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire))
    }

    /// Maps a cause to a vector, or to none if there is no such vector (4.1.5.1.2.1); gives what it is mapped to.
    pub(super) fn set(&self, cause: Cause, vector: u16) -> u16 {
        let mapped = if vector < self.table.vectors() {
            vector
        } else {
            NO_VECTOR
        };
        if let Some(own) = self.vector(cause) {
            own.store(mapped, Ordering::Release);
        }
        mapped
    }

    /// The device was reset: nothing is mapped.
    pub(super) fn unmap(&self) {
        let queues = self.queue_vectors.iter();
        for vector in queues.chain([&self.config_vector]) {
            vector.store(NO_VECTOR, Ordering::Release);
        }
    }

    /// Applies the capability's control register.
    pub(super) fn apply(&self, config: &ConfigSpace) {
        self.table.set_control(config.read_u16(self.control));
    }

    pub(super) fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match offset.checked_sub(MESSAGES_PENDING) {
            None => self.table.read_table(offset, width),
            Some(offset) => self.table.read_pending(offset, width),
        }
    }

    pub(super) fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if offset < MESSAGES_PENDING {
            self.table.write_table(offset, width, value);
        }
    }

    pub(super) fn save(&self) -> (u16, SavedMessages) {
        (self.get(Cause::Config), self.table.save())
    }
}

/// The way to the driver: messages while they are on, else the interrupt status and the pin.
pub(super) struct Interrupt {
    pub(super) level: Arc<LevelInterrupt>,
    pub(super) pin: Arc<IntxPin>,
    pub(super) messages: Option<Messages>,
}

impl InterruptSink for Interrupt {
    fn raise(&self, cause: Cause) {
        let Some(messages) = self
            .messages
            .as_ref()
            .filter(|messages| messages.table.is_enabled())
        else {
            return self.level.raise(cause);
        };
        if cause == Cause::Config {
            // The status says so all the same (4.1.4.5.1); the pin is off.
            self.level.raise(cause);
        }
        messages.table.raise(messages.get(cause));
    }
}

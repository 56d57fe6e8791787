//! What the device and the driver tell each other about the port (VIRTIO 1.3, 5.3.6.2).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::spec::{CONTROL_BYTES, F_MULTIPORT, event};

/// The only port.
const PORT: u32 = 0;
/// Messages that may wait for the driver's buffers before its own wait, too.
const MOST_PENDING: usize = 16;

/// Columns and rows of a terminal; both zero while they are not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What has been said so far; everything that a saved console remembers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortState {
    /// The terminal's size.
    pub size: TerminalSize,
    /// The driver is ready for messages about the port.
    ready: bool,
    /// The guest has opened the port.
    open: bool,
    /// Messages on their way to the driver.
    pending: VecDeque<Vec<u8>>,
}

impl PortState {
    /// The driver was reset: nothing of what it said holds any more.
    pub(super) fn reset(&mut self) {
        *self = Self {
            size: self.size,
            ..Self::default()
        };
    }

    /// Whether the guest takes input, given the features that it has accepted. A driver that knows nothing of ports
    /// takes it as soon as it gives buffers; of the others Linux throws away what comes before the port is open.
    pub(super) fn takes_input(&self, features: u64) -> bool {
        self.open || features & F_MULTIPORT == 0
    }

    /// Whether another of the driver's messages can be answered.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < MOST_PENDING
    }

    /// The next message for the driver.
    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        self.pending.pop_front()
    }

    /// Whether there is one.
    pub(super) fn has_message(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes a message of the driver's. True when input may flow from now on.
    pub(super) fn hear(&mut self, message: [u8; CONTROL_BYTES]) -> bool {
        let [p0, p1, p2, p3, e0, e1, v0, v1] = message;
        let port = u32::from_le_bytes([p0, p1, p2, p3]);
        let value = u16::from_le_bytes([v0, v1]);
        match u16::from_le_bytes([e0, e1]) {
            event::DEVICE_READY if value == 1 => self.say(event::DEVICE_ADD, 0),
            event::PORT_READY if port == PORT && value == 1 => {
                self.ready = true;
                self.say(event::CONSOLE_PORT, 1);
                self.say(event::PORT_OPEN, 1);
                self.say_size();
            }
            event::PORT_OPEN if port == PORT => {
                self.open = value == 1;
                return self.open;
            }
            // Other ports and other messages do not exist.
            _ => {}
        }
        false
    }

    /// The terminal has another size; true when it has.
    pub(super) fn resize(&mut self, size: TerminalSize) -> bool {
        let changed = std::mem::replace(&mut self.size, size) != size;
        if changed && self.ready {
            let old = |message: &Vec<u8>| message[4..6] == event::RESIZE.to_le_bytes();
            self.pending.retain(|message| !old(message));
            self.say_size();
        }
        changed
    }

    /// The columns come first. Older Linux, before that was mended in 2025, and OpenBSD read the rows first.
    fn say_size(&mut self) {
        let TerminalSize { columns, rows } = self.size;
        if self.size != TerminalSize::default() {
            let size = [columns.to_le_bytes(), rows.to_le_bytes()].concat();
            self.push(event::RESIZE, 0, &size);
        }
    }

    fn say(&mut self, event: u16, value: u16) {
        self.push(event, value, &[]);
    }

    fn push(&mut self, event: u16, value: u16, more: &[u8]) {
        let mut message = PORT.to_le_bytes().to_vec();
        message.extend(event.to_le_bytes());
        message.extend(value.to_le_bytes());
        message.extend(more);
        self.pending.push_back(message);
    }
}

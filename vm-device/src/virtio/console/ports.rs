//! What the device and the driver tell each other about ports (VIRTIO 1.3, 5.3.6.2).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::spec::{CONTROL_BYTES, F_MULTIPORT, event};

/// The port that is the console.
const CONSOLE: usize = 0;
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

/// What a port is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Not there: the number of the console in a device without one.
    Absent,
    /// A console.
    Console,
    /// A stream of bytes that programs in the guest find by this name.
    Named(String),
}

/// What the driver has said of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Said {
    /// It is ready for messages about the port.
    ready: bool,
    /// The guest has opened the port.
    open: bool,
}

/// What has been said so far; everything that a saved console remembers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortsState {
    /// The terminal's size.
    pub size: TerminalSize,
    /// By port; those that are not here have not been spoken of.
    said: Vec<Said>,
    /// Messages on their way to the driver.
    pending: VecDeque<Vec<u8>>,
}

impl PortsState {
    /// The driver was reset: nothing of what it said holds any more.
    pub(super) fn reset(&mut self) {
        *self = Self {
            size: self.size,
            ..Self::default()
        };
    }

    fn said(&self, port: usize) -> Said {
        self.said.get(port).copied().unwrap_or_default()
    }

    fn say_of(&mut self, port: usize) -> &mut Said {
        if self.said.len() <= port {
            self.said.resize(port + 1, Said::default());
        }
        &mut self.said[port]
    }

    /// Whether the guest takes input at a port, given the features that it has accepted. A driver that knows nothing of
    /// ports takes it at the console as soon as it gives buffers; of the others Linux throws away what comes before the
    /// port is open.
    pub(super) fn takes_input(&self, port: usize, features: u64) -> bool {
        self.said(port).open || features & F_MULTIPORT == 0 && port == CONSOLE
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

    /// Takes a message of the driver's to a device with ports of these kinds. A port, when its input may flow from now on.
    pub(super) fn hear<'a>(
        &mut self,
        message: [u8; CONTROL_BYTES],
        mut kinds: impl Iterator<Item = &'a Kind>,
    ) -> Option<usize> {
        let [p0, p1, p2, p3, e0, e1, v0, v1] = message;
        let value = u16::from_le_bytes([v0, v1]);
        let event = u16::from_le_bytes([e0, e1]);
        if event == event::DEVICE_READY {
            if value == 1 {
                let there = kinds.enumerate().filter(|(_, kind)| **kind != Kind::Absent);
                there.for_each(|(port, _)| self.say(port, event::DEVICE_ADD, 0));
            }
            return None;
        }
        let port = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        // Other ports and other messages do not exist.
        let kind = kinds.nth(port).filter(|kind| **kind != Kind::Absent)?;
        match event {
            event::PORT_READY if value == 1 => {
                self.say_of(port).ready = true;
                match kind {
                    Kind::Named(name) => self.push(port, event::PORT_NAME, 0, name.as_bytes()),
                    _ => self.say(port, event::CONSOLE_PORT, 1),
                }
                self.say(port, event::PORT_OPEN, 1);
                if *kind == Kind::Console {
                    self.say_size();
                }
                None
            }
            event::PORT_OPEN => {
                self.say_of(port).open = value == 1;
                (value == 1).then_some(port)
            }
            _ => None,
        }
    }

    /// The terminal has another size; true when it has.
    pub(super) fn resize(&mut self, size: TerminalSize) -> bool {
        let changed = std::mem::replace(&mut self.size, size) != size;
        if changed && self.said(CONSOLE).ready {
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
            self.push(CONSOLE, event::RESIZE, 0, &size);
        }
    }

    fn say(&mut self, port: usize, event: u16, value: u16) {
        self.push(port, event, value, &[]);
    }

    fn push(&mut self, port: usize, event: u16, value: u16, more: &[u8]) {
        let mut message = (port as u32).to_le_bytes().to_vec();
        message.extend(event.to_le_bytes());
        message.extend(value.to_le_bytes());
        message.extend(more);
        self.pending.push_back(message);
    }
}

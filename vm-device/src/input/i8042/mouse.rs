//! The mouse behind the controller, with a wheel and five buttons for whoever asks.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::spec::{answer, aux as command};

/// Bytes that wait to be sent; movements are summed up while there is no room.
const ROOM: usize = 64;
/// Most that one report can tell.
const REACH: i32 = 255;

/// A PS/2 mouse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Mouse {
    queue: VecDeque<u8>,
    awaits: Option<u8>,
    reports: bool,
    remote: bool,
    wraps: bool,
    scale_2: bool,
    resolution: u8,
    rate: u8,
    /// The last rates that were set, which may be a knock.
    rates: [u8; 3],
    id: u8,
    buttons: u8,
    reported_buttons: u8,
    moved: [i32; 3],
}

impl Mouse {
    pub(super) fn power_on() -> Self {
        Self {
            queue: VecDeque::new(),
            awaits: None,
            reports: false,
            remote: false,
            wraps: false,
            scale_2: false,
            resolution: command::DEFAULT_RESOLUTION,
            rate: command::DEFAULT_RATE,
            rates: [0; 3],
            id: 0,
            buttons: 0,
            reported_buttons: 0,
            moved: [0; 3],
        }
    }

    pub(super) fn pop(&mut self) -> Option<u8> {
        let byte = self.queue.pop_front()?;
        self.report_what_is_new();
        Some(byte)
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.queue.len() + bytes.len() <= ROOM {
            self.queue.extend(bytes);
        }
    }

    /// Moves it and sets its buttons; see [`super::I8042::pointer`].
    pub(super) fn update(&mut self, moved: [i32; 3], buttons: u8) {
        for (sum, by) in self.moved.iter_mut().zip(moved) {
            *sum = sum.saturating_add(by).clamp(-0x1_0000, 0x1_0000);
        }
        self.buttons = buttons & 0x1f;
        self.report_what_is_new();
    }

    fn report_what_is_new(&mut self) {
        let news = |mouse: &Self| {
            let wheel = mouse.id != 0 && mouse.moved[2] != 0;
            mouse.moved[..2] != [0, 0] || wheel || mouse.buttons != mouse.reported_buttons
        };
        while self.reports && !self.remote && self.queue.len() + 4 <= ROOM && news(self) {
            self.report();
        }
        if !self.reports || self.id == 0 {
            self.moved[2] = 0;
        }
        if !self.reports {
            self.moved = [0; 3];
        }
    }

    /// Queues one report: buttons and signs, both movements, and what the extensions have.
    fn report(&mut self) {
        let [x, y] = [0, 1].map(|at| self.moved[at].clamp(-REACH, REACH));
        let wheel = self.moved[2].clamp(-8, 7);
        self.moved[0] -= x;
        self.moved[1] -= y;
        self.moved[2] -= wheel;
        self.reported_buttons = self.buttons;
        let sign = |value: i32, bit: u8| if value < 0 { bit } else { 0 };
        let first = 1 << 3 | self.buttons & 7 | sign(x, 1 << 4) | sign(y, 1 << 5);
        let bytes = [first, x as u8, y as u8];
        self.queue.extend(bytes);
        match self.id {
            3 => self.queue.push_back(wheel as u8),
            4 => self
                .queue
                .push_back(wheel as u8 & 0xf | (self.buttons >> 3 & 3) << 4),
            _ => {}
        }
    }

    fn status(&self) -> [u8; 3] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        // Left, middle and right are in another order here.
        let [left, right, middle] = [0, 1, 2].map(|bit| self.buttons >> bit & 1);
        let buttons = left << 2 | middle << 1 | right;
        let first = buttons
            | flag(self.scale_2, 1 << 4)
            | flag(self.reports, 1 << 5)
            | flag(self.remote, 1 << 6);
        [first, self.resolution, self.rate]
    }

    fn defaults(&mut self) {
        *self = Self {
            id: self.id,
            buttons: self.buttons,
            reported_buttons: self.buttons,
            ..Self::power_on()
        };
    }

    /// Takes a byte that the guest sends.
    pub(super) fn write(&mut self, byte: u8) {
        if let Some(awaited) = self.awaits.take() {
            return self.argument(awaited, byte);
        }
        if self.wraps && !matches!(byte, command::WRAP_OFF | command::RESET) {
            return self.send(&[byte]);
        }
        // What is sent makes it forget what it was about to say.
        self.queue.clear();
        self.send(&[answer::ACK]);
        match byte {
            command::SCALE_1 | command::SCALE_2 => self.scale_2 = byte == command::SCALE_2,
            command::RESOLUTION | command::RATE => self.awaits = Some(byte),
            command::STATUS => self.send(&self.status()),
            command::STREAM => self.remote = false,
            command::POLL => self.report(),
            command::WRAP_OFF => self.wraps = false,
            command::WRAP => self.wraps = true,
            command::REMOTE => self.remote = true,
            command::IDENTIFY => self.send(&[self.id]),
            command::ENABLE => self.reports = true,
            command::DISABLE => self.reports = false,
            command::DEFAULTS => {
                self.defaults();
                self.send(&[answer::ACK]);
            }
            command::RESET => {
                self.id = 0;
                self.defaults();
                self.send(&[answer::ACK, answer::PASSED, self.id]);
            }
            _ => {
                self.queue.clear();
                self.send(&[answer::RESEND]);
            }
        }
    }

    fn argument(&mut self, awaited: u8, byte: u8) {
        if awaited == command::RESOLUTION {
            self.resolution = byte & 3;
        } else {
            self.rate = byte;
            self.rates = [self.rates[1], self.rates[2], byte];
            for (knock, id) in [command::KNOCK_WHEEL, command::KNOCK_BUTTONS] {
                if self.rates == knock {
                    self.id = id;
                }
            }
        }
        self.send(&[answer::ACK]);
    }
}

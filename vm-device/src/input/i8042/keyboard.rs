//! The keyboard behind the controller.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::codes_table::{EXTENDED, LAST_PLAIN, PAUSE, SET2_TO_SET1};
use super::spec::{answer, keyboard as command};

/// Bytes that wait to be sent; a key that does not fit is lost, as in a real keyboard.
const ROOM: usize = 64;

/// A keyboard with scan code sets 1 and 2.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Keyboard {
    queue: VecDeque<u8>,
    /// The command whose argument is to come.
    awaits: Option<u8>,
    set: u8,
    scans: bool,
    lights: u8,
    last: u8,
}

/// The code of set 2 that becomes `code` of set 1.
fn to_set2(code: u8) -> Option<u8> {
    match code {
        0x41 => Some(0x83),
        0x54 => Some(0x84),
        _ => SET2_TO_SET1
            .iter()
            .position(|&one| one == code)
            .map(|two| two as u8),
    }
}

/// The byte that the controller makes of one of set 2.
pub(super) fn translate(byte: u8) -> u8 {
    match byte {
        0x83 => 0x41,
        0x84 => 0x54,
        _ => SET2_TO_SET1.get(usize::from(byte)).copied().unwrap_or(byte),
    }
}

impl Keyboard {
    pub(super) fn power_on() -> Self {
        Self {
            queue: VecDeque::new(),
            awaits: None,
            set: 2,
            scans: true,
            lights: 0,
            last: 0,
        }
    }

    fn defaults(&mut self, scans: bool) {
        *self = Self {
            scans,
            lights: self.lights,
            ..Self::power_on()
        };
    }

    pub(super) fn pop(&mut self) -> Option<u8> {
        let byte = self.queue.pop_front()?;
        self.last = byte;
        Some(byte)
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.queue.len() + bytes.len() <= ROOM {
            self.queue.extend(bytes);
        }
    }

    /// The lights: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub(super) fn lights(&self) -> u8 {
        self.lights
    }

    /// Whether it takes a key with `code`; see [`super::I8042::key`].
    pub(super) fn key(&mut self, code: u16, down: bool) -> bool {
        if !self.scans {
            return false;
        }
        if code == PAUSE {
            // Its release has no code.
            if down {
                let codes: &[u8] = match self.set {
                    1 => &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5],
                    _ => &[0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77],
                };
                self.send(codes);
            }
            return true;
        }
        let extended = EXTENDED.iter().find(|&&(key, _)| key == code);
        let one = match extended {
            Some(&(_, one)) => one,
            None if (1..=LAST_PLAIN).contains(&code) => code as u8,
            None => return false,
        };
        let mut codes = Vec::with_capacity(3);
        codes.extend(extended.map(|_| 0xe0));
        if self.set == 1 {
            codes.push(one | if down { 0 } else { 0x80 });
        } else {
            let Some(two) = to_set2(one) else {
                return false;
            };
            codes.extend((!down).then_some(0xf0));
            codes.push(two);
        }
        self.send(&codes);
        true
    }

    /// Takes a byte that the guest sends.
    pub(super) fn write(&mut self, byte: u8) {
        if let Some(awaited) = self.awaits.take() {
            return self.argument(awaited, byte);
        }
        match byte {
            command::LIGHTS | command::SCAN_SET | command::TYPEMATIC => {
                self.awaits = Some(byte);
                self.send(&[answer::ACK]);
            }
            command::ECHO => self.send(&[answer::ECHO]),
            command::IDENTIFY => {
                let [first, second] = command::IDENTITY;
                self.send(&[answer::ACK, first, second]);
            }
            command::ENABLE => {
                self.scans = true;
                self.queue.clear();
                self.send(&[answer::ACK]);
            }
            command::DISABLE | command::DEFAULTS => {
                self.defaults(byte == command::DEFAULTS);
                self.send(&[answer::ACK]);
            }
            command::ALL_KEYS_FIRST..=command::ALL_KEYS_LAST => self.send(&[answer::ACK]),
            command::RESEND => self.send(&[self.last]),
            command::RESET => {
                *self = Self::power_on();
                self.send(&[answer::ACK, answer::PASSED]);
            }
            _ => self.send(&[answer::RESEND]),
        }
    }

    fn argument(&mut self, awaited: u8, byte: u8) {
        match (awaited, byte) {
            (command::LIGHTS, _) => self.lights = byte & 7,
            (command::SCAN_SET, 0) => return self.send(&[answer::ACK, self.set]),
            (command::SCAN_SET, 1 | 2) => self.set = byte,
            // There is no set 3.
            (command::SCAN_SET, _) => return self.send(&[answer::RESEND]),
            // Whoever feeds keys repeats them.
            _ => {}
        }
        self.send(&[answer::ACK]);
    }
}

//! One counter of the 8254. What it shows follows from when it was loaded; nothing ticks.

use serde::{Deserialize, Serialize};

use super::spec::{STATUS_NULL, STATUS_OUT};

/// Which bytes of a count are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Bytes {
    Low,
    High,
    Both,
}

/// Registers of a counter. Times are counts of its clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Counter {
    /// 0 to 5.
    mode: u8,
    bcd: bool,
    bytes: Bytes,
    /// What it counts from, 1 to 65536; zero while nothing was loaded.
    count: u32,
    /// When it began to count; for a counter whose gate stopped it, how far it had come.
    from: u64,
    stopped: bool,
    gate: bool,
    /// The low byte of a count whose high byte is to come.
    low: Option<u8>,
    /// The next read is of the high byte.
    high_next: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
    /// Waiting for the gate to rise.
    untriggered: bool,
}

impl Counter {
    pub(super) const fn power_on(gate: bool) -> Self {
        Self {
            mode: 3,
            bcd: false,
            bytes: Bytes::Both,
            count: 0,
            from: 0,
            stopped: false,
            gate,
            low: None,
            high_next: false,
            latched: None,
            latched_status: None,
            untriggered: false,
        }
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    /// Counts since it was loaded or triggered.
    fn gone(&self, now: u64) -> u64 {
        if self.stopped {
            self.from
        } else {
            now.saturating_sub(self.from)
        }
    }

    fn runs(&self) -> bool {
        self.count != 0 && !self.untriggered
    }

    pub(super) fn out(&self, now: u64) -> bool {
        if !self.runs() {
            // A control word sets the output high in all modes but 0.
            return self.mode != 0;
        }
        let (gone, count) = (self.gone(now), u64::from(self.count));
        match self.mode {
            0 | 1 => gone >= count,
            _ if self.is_periodic() && self.stopped => true,
            2 => gone % count != count - 1,
            3 => gone % count < count.div_ceil(2),
            _ => gone != count,
        }
    }

    /// The value of the counting element.
    fn value(&self, now: u64) -> u16 {
        if self.count == 0 {
            return 0;
        }
        let (gone, count) = (self.gone(now), u64::from(self.count));
        let gone = if self.untriggered { 0 } else { gone };
        let modulus = if self.bcd { 10_000 } else { 0x1_0000 };
        let value = match self.mode {
            2 => count - gone % count,
            3 => count - (2 * gone) % count,
            _ => (count + modulus - gone % modulus) % modulus,
        };
        self.to_register(value)
    }

    fn to_register(self, value: u64) -> u16 {
        if !self.bcd {
            return value as u16;
        }
        (0..4).fold(0, |digits, at| {
            digits | ((value / 10u64.pow(at) % 10) as u16) << (4 * at)
        })
    }

    fn to_count(self, register: u16) -> u32 {
        if !self.bcd {
            return if register == 0 {
                0x1_0000
            } else {
                register.into()
            };
        }
        let count = (0..4).rev().fold(0, |count, digit| {
            count * 10 + u32::from(register >> (4 * digit) & 0xf)
        });
        if count == 0 { 10_000 } else { count }
    }

    /// When the output next rises, if it will: an interrupt.
    pub(super) fn next_rise(&self, now: u64) -> Option<u64> {
        if !self.runs() || self.stopped {
            return None;
        }
        let (gone, count) = (self.gone(now), u64::from(self.count));
        let ahead = match self.mode {
            2 | 3 => count - gone % count,
            // The strobe ends one count after it began.
            4 | 5 => (count + 1).checked_sub(gone).filter(|&left| left != 0)?,
            _ => count.checked_sub(gone).filter(|&left| left != 0)?,
        };
        Some(now.saturating_add(ahead))
    }

    /// Whether its output stays high once it has risen.
    pub(super) fn stays_high(&self) -> bool {
        matches!(self.mode, 0 | 1)
    }

    /// Counts between two rises, for a counter that goes round.
    pub(super) fn period(&self) -> Option<u64> {
        self.is_periodic().then_some(u64::from(self.count))
    }

    /// Takes a control word's bits 5:0.
    pub(super) fn control(&mut self, word: u8, now: u64) {
        let bytes = match word >> 4 & 3 {
            0 => return self.latch(now),
            1 => Bytes::Low,
            2 => Bytes::High,
            _ => Bytes::Both,
        };
        // Modes 6 and 7 are 2 and 3: bit 2 does not matter in them.
        let mode = word >> 1 & 7;
        *self = Self {
            mode: if mode > 5 { mode - 4 } else { mode },
            bcd: word & 1 != 0,
            bytes,
            ..Self::power_on(self.gate)
        };
    }

    fn latch(&mut self, now: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.value(now));
            self.high_next = false;
        }
    }

    /// Takes a read-back command's part for this counter.
    pub(super) fn read_back(&mut self, count: bool, status: bool, now: u64) {
        if status && self.latched_status.is_none() {
            let bytes = match self.bytes {
                Bytes::Low => 1,
                Bytes::High => 2,
                Bytes::Both => 3,
            };
            let out = if self.out(now) { STATUS_OUT } else { 0 };
            let null = if self.count == 0 { STATUS_NULL } else { 0 };
            let status = out | null | bytes << 4 | self.mode << 1 | u8::from(self.bcd);
            self.latched_status = Some(status);
        }
        if count {
            self.latch(now);
        }
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let value = self.latched.unwrap_or_else(|| self.value(now));
        let (byte, last) = match self.bytes {
            Bytes::Low => (value as u8, true),
            Bytes::High => ((value >> 8) as u8, true),
            Bytes::Both if self.high_next => ((value >> 8) as u8, true),
            Bytes::Both => (value as u8, false),
        };
        self.high_next = !last;
        if last {
            self.latched = None;
        }
        byte
    }

    /// Takes a byte of a count.
    ///
    /// DEVIATION: a count for modes 2 and 3 is loaded at once, not at the end of the period that is under way; software
    /// writes the control word first, after which there is none.
    pub(super) fn write(&mut self, byte: u8, now: u64) {
        let register = match (self.bytes, self.low) {
            (Bytes::Low, _) => byte.into(),
            (Bytes::High, _) => u16::from(byte) << 8,
            (Bytes::Both, None) => {
                self.low = Some(byte);
                if self.mode == 0 {
                    // The first byte stops it and sets the output low.
                    self.count = 0;
                }
                return;
            }
            (Bytes::Both, Some(low)) => u16::from(byte) << 8 | u16::from(low),
        };
        self.low = None;
        self.count = self.to_count(register);
        self.load(now);
        // Modes 1 and 5 wait for the gate.
        self.untriggered = matches!(self.mode, 1 | 5);
    }

    fn load(&mut self, now: u64) {
        self.stopped = !self.gate && !matches!(self.mode, 1 | 5);
        self.from = if self.stopped { 0 } else { now };
    }

    /// Drives the gate.
    pub(super) fn set_gate(&mut self, gate: bool, now: u64) {
        if self.gate == gate {
            return;
        }
        let gone = self.gone(now);
        self.gate = gate;
        match (self.mode, gate) {
            (0 | 4, false) => (self.stopped, self.from) = (true, gone),
            (0 | 4, true) if self.stopped => {
                (self.stopped, self.from) = (false, now.saturating_sub(gone));
            }
            (2 | 3, false) => (self.stopped, self.from) = (true, 0),
            (2 | 3, true) => self.load(now),
            (1 | 5, true) => {
                self.untriggered = false;
                self.load(now);
            }
            _ => {}
        }
    }

    /// Moves it to another clock that is `by` counts ahead, modulo 2^64.
    pub(super) fn rebase(&mut self, by: u64) {
        if !self.stopped {
            self.from = self.from.wrapping_add(by);
        }
    }
}

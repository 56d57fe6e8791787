//! The 8254 interval timer of a PC, with port 61h, which has the gate and the output of its third counter.

mod counter;
pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine, TimeBase};

use super::SHORTEST_PERIOD_NS;
use crate::BusDevice;
use crate::state::{RestoreError, Saved};
use counter::Counter;
use spec::*;

const DEVICE: &str = "i8254";
const VERSION: u32 = 1;

/// Its counters and port 61h.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registers {
    counters: [Counter; COUNTERS],
    speaker: u8,
    /// When counter 0 next interrupts.
    next: Option<u64>,
    /// What the clock showed when this was saved.
    now: u64,
}

impl Registers {
    const POWER_ON: Self = Self {
        counters: [
            Counter::power_on(true),
            Counter::power_on(true),
            Counter::power_on(false),
        ],
        speaker: 0,
        next: None,
        now: 0,
    };
}

struct Core {
    registers: Mutex<Registers>,
    clock: Arc<dyn Clock>,
    time: TimeBase,
    alarm: Arc<dyn Alarm>,
    irq: Arc<dyn IrqLine>,
}

impl Core {
    /// Interrupts if counter 0 is due, and sets the alarm for its next interrupt.
    fn drive(&self, registers: &mut Registers) {
        let now = self.time.ticks();
        let counter = &registers.counters[0];
        let due = registers.next.is_some_and(|at| at <= now);
        if due {
            self.irq.set(true);
        }
        if !(counter.stays_high() && counter.out(now)) {
            self.irq.set(false);
        }
        registers.next = counter.next_rise(now);
        let deadline = registers.next.and_then(|at| self.time.deadline_ns(at));
        let earliest = self.clock.now_ns().saturating_add(SHORTEST_PERIOD_NS);
        let hurried = counter.period().is_some_and(|counts| {
            let ns = counts.saturating_mul(1_000_000_000) / HZ;
            ns < SHORTEST_PERIOD_NS
        });
        self.alarm
            .arm(deadline.map(|at| if hurried { at.max(earliest) } else { at }));
    }

    /// Makes a change to a counter; one of counter 0 moves its interrupts.
    fn change(&self, number: usize, change: impl FnOnce(&mut Counter, u64)) {
        let mut registers = self.registers.lock();
        change(&mut registers.counters[number], self.time.ticks());
        if number == 0 {
            registers.next = None;
            self.drive(&mut registers);
        }
    }

    fn control(&self, word: u8) {
        let number = word >> 6;
        if number != READ_BACK {
            let counting = word >> 4 & 3 != 0;
            if counting {
                return self.change(number.into(), |counter, now| counter.control(word, now));
            }
            // Latching moves nothing.
            let mut registers = self.registers.lock();
            let now = self.time.ticks();
            return registers.counters[usize::from(number)].control(word, now);
        }
        let mut registers = self.registers.lock();
        let now = self.time.ticks();
        for (at, counter) in registers.counters.iter_mut().enumerate() {
            if word >> (at + 1) & 1 != 0 {
                counter.read_back(word & NO_COUNT == 0, word & NO_STATUS == 0, now);
            }
        }
    }
}

/// An 8254. It answers at [`PORT`], for [`RANGE_BYTES`]; [`I8254::speaker_port`] is apart.
pub struct I8254 {
    core: Arc<Core>,
}

impl I8254 {
    /// A timer that counts by `clock`, which `alarms` must follow. `irq` is interrupt 0; while the HPET replaces the
    /// legacy timers it must be cut ([`super::hpet::Hpet::legacy_input`]).
    pub fn new(clock: Arc<dyn Clock>, alarms: &dyn Alarms, irq: Arc<dyn IrqLine>) -> Arc<Self> {
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let weak = weak.clone();
            let fire = move || {
                if let Some(core) = weak.upgrade() {
                    core.drive(&mut core.registers.lock());
                }
            };
            Core {
                registers: Mutex::new(Registers::POWER_ON),
                time: TimeBase::new(clock.clone(), HZ),
                clock,
                alarm: alarms.alarm(Box::new(fire)),
                irq,
            }
        });
        Arc::new(Self { core })
    }

    /// Port 61h, one byte at [`SPEAKER_PORT`].
    pub fn speaker_port(&self) -> Arc<dyn BusDevice> {
        Arc::new(SpeakerPort(self.core.clone()))
    }

    /// Everything that a guest could tell apart.
    pub fn save(&self) -> Saved<Registers> {
        let mut registers = self.core.registers.lock().clone();
        registers.now = self.core.time.ticks();
        Saved::new(VERSION, self.core.clock.now_ns(), registers)
    }

    /// Takes a saved state over; the counters go on from where they stood.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: Saved<Registers>) -> Result<(), RestoreError> {
        let (registers, _) = saved.open(DEVICE, VERSION, self.core.clock.now_ns())?;
        let mut own = self.core.registers.lock();
        *own = registers;
        let by = self.core.time.ticks().wrapping_sub(own.now);
        own.counters
            .iter_mut()
            .for_each(|counter| counter.rebase(by));
        own.next = None;
        self.core.drive(&mut own);
        Ok(())
    }
}

impl BusDevice for I8254 {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if width != AccessWidth::Byte {
            return width.mask();
        }
        let mut registers = self.core.registers.lock();
        let now = self.core.time.ticks();
        match registers.counters.get_mut(offset as usize) {
            Some(counter) => counter.read(now).into(),
            // The control word cannot be read.
            None => 0,
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if width != AccessWidth::Byte {
            return;
        }
        match offset as usize {
            number if number < COUNTERS => self
                .core
                .change(number, |counter, now| counter.write(value as u8, now)),
            _ => self.core.control(value as u8),
        }
    }

    fn reset(&self) {
        let mut registers = self.core.registers.lock();
        *registers = Registers::POWER_ON;
        self.core.drive(&mut registers);
    }
}

struct SpeakerPort(Arc<Core>);

impl BusDevice for SpeakerPort {
    fn read(&self, _offset: u64, _width: AccessWidth) -> u64 {
        let registers = self.0.registers.lock();
        let refreshes = self.0.clock.now_ns() / REFRESH_NS;
        let refresh = if refreshes & 1 == 0 {
            0
        } else {
            speaker::REFRESH
        };
        let out = registers.counters[2].out(self.0.time.ticks());
        let out = if out { speaker::OUT } else { 0 };
        u64::from(registers.speaker | refresh | out)
    }

    fn write(&self, _offset: u64, _width: AccessWidth, value: u64) {
        let mut registers = self.0.registers.lock();
        registers.speaker = value as u8 & speaker::WRITABLE;
        let gate = registers.speaker & speaker::GATE != 0;
        registers.counters[2].set_gate(gate, self.0.time.ticks());
    }

    /// The timer does it.
    fn reset(&self) {}
}

#[cfg(test)]
mod tests;

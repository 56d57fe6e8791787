//! The Goldfish real-time clock of the RISC-V `virt` machine (Linux `rtc-goldfish`).

mod save;
pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine};

pub use save::SavedState;

use crate::BusDevice;
use spec::*;

struct State {
    /// Wall-clock time less virtual time, in ns, modulo 2^64.
    offset_ns: u64,
    /// High half of the time when the low half was last read.
    time_high: u32,
    alarm_ns: u64,
    armed: bool,
    irq_enabled: bool,
    irq_pending: bool,
}

impl State {
    fn power_on(offset_ns: u64) -> Self {
        Self {
            offset_ns,
            time_high: 0,
            alarm_ns: 0,
            armed: false,
            irq_enabled: false,
            irq_pending: false,
        }
    }
}

const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

struct Core {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
    irq: Arc<dyn IrqLine>,
}

impl Core {
    fn time_ns(&self, state: &State) -> u64 {
        self.clock.now_ns().wrapping_add(state.offset_ns)
    }

    /// Lets a due alarm go off and sets the host's alarm for one to come. Called under the lock, so that
    /// levels reach the line in order.
    fn drive(&self, state: &mut State) {
        let now = self.time_ns(state);
        if state.armed && state.alarm_ns <= now {
            state.armed = false;
            state.irq_pending = true;
        }
        let wait = state.armed.then(|| state.alarm_ns - now);
        self.alarm
            .arm(wait.and_then(|ns| self.clock.now_ns().checked_add(ns)));
        self.irq.set(state.irq_pending && state.irq_enabled);
    }

    fn read(&self, register: u64) -> u32 {
        let mut state = self.state.lock();
        match register {
            TIME_LOW => {
                let now = self.time_ns(&state);
                state.time_high = high(now);
                low(now)
            }
            TIME_HIGH => state.time_high,
            ALARM_LOW => low(state.alarm_ns),
            ALARM_HIGH => high(state.alarm_ns),
            IRQ_ENABLED => u32::from(state.irq_enabled),
            ALARM_STATUS => u32::from(state.armed),
            _ => 0,
        }
    }

    fn write(&self, register: u64, value: u32) {
        let mut state = self.state.lock();
        let now = self.time_ns(&state);
        let set_time = |state: &mut State, to: u64| {
            state.offset_ns = state.offset_ns.wrapping_add(to.wrapping_sub(now));
        };
        match register {
            TIME_LOW => set_time(&mut state, join(high(now), value)),
            TIME_HIGH => set_time(&mut state, join(value, low(now))),
            ALARM_LOW => {
                state.alarm_ns = join(high(state.alarm_ns), value);
                state.armed = true;
            }
            ALARM_HIGH => state.alarm_ns = join(value, low(state.alarm_ns)),
            IRQ_ENABLED => state.irq_enabled = value & 1 != 0,
            CLEAR_ALARM => state.armed = false,
            CLEAR_INTERRUPT => state.irq_pending = false,
            _ => return,
        }
        self.drive(&mut state);
    }
}

/// A Goldfish RTC. Registers answer aligned four-byte accesses; others read as zero and are ignored.
pub struct GoldfishRtc {
    core: Arc<Core>,
}

impl GoldfishRtc {
    /// A clock that shows `epoch_ns_at_zero` (ns since 1970-01-01 UTC) when `clock` shows zero. `alarms` must
    /// follow `clock`.
    pub fn new(
        epoch_ns_at_zero: u64,
        clock: Arc<dyn Clock>,
        alarms: &dyn Alarms,
        irq: Arc<dyn IrqLine>,
    ) -> Self {
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let weak = weak.clone();
            let fire = move || {
                if let Some(core) = weak.upgrade() {
                    core.drive(&mut core.state.lock());
                }
            };
            Core {
                state: Mutex::new(State::power_on(epoch_ns_at_zero)),
                clock,
                alarm: alarms.alarm(Box::new(fire)),
                irq,
            }
        });
        Self { core }
    }
}

impl BusDevice for GoldfishRtc {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if width == AccessWidth::Word {
            u64::from(self.core.read(offset))
        } else {
            0
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if width == AccessWidth::Word {
            self.core.write(offset, value as u32);
        }
    }

    /// Disarms the alarm; the time goes on, as a clock with a battery.
    fn reset(&self) {
        let mut state = self.core.state.lock();
        *state = State::power_on(state.offset_ns);
        self.core.drive(&mut state);
    }
}

#[cfg(test)]
mod tests;

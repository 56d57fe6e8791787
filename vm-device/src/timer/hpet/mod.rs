//! The high precision event timers of a PC: one counter, three comparators.

pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine, TimeBase};

use super::SHORTEST_PERIOD_NS;
use crate::BusDevice;
use crate::intc::MsiTarget;
use crate::state::{RestoreError, Saved};
use spec::*;

const DEVICE: &str = "hpet";
const VERSION: u32 = 1;

/// Registers of one timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Timer {
    configuration: u64,
    comparator: u64,
    period: u64,
    message: u64,
    /// The value of the main counter at which it next matches.
    next: Option<u64>,
}

impl Timer {
    const POWER_ON: Self = Self {
        configuration: timer::CAPABILITIES,
        comparator: u64::MAX,
        period: 0,
        message: 0,
        next: None,
    };

    fn is(&self, bit: u64) -> bool {
        self.configuration & bit != 0
    }

    /// The bits that are compared.
    fn mask(&self) -> u64 {
        if self.is(timer::NARROW) {
            0xffff_ffff
        } else {
            u64::MAX
        }
    }

    fn aim(&mut self, counter: u64) {
        let ahead = self.comparator.wrapping_sub(counter) & self.mask();
        self.next = counter.checked_add(ahead);
    }

    /// Lets it match if it has come to that; true when it has. Matches that nobody noticed count once.
    fn expire(&mut self, counter: u64) -> bool {
        let Some(at) = self.next.filter(|&at| at <= counter) else {
            return false;
        };
        let period = self.period & self.mask();
        if self.is(timer::PERIODIC) && period != 0 {
            let periods = (counter - at) / period + 1;
            let step = periods.wrapping_mul(period);
            self.comparator = self.comparator.wrapping_add(step) & self.mask();
            self.next = at.checked_add(step);
        } else {
            // The next match is a whole round away.
            self.next = self.mask().checked_add(1).and_then(|round| {
                let rounds = (counter - at) / round + 1;
                at.checked_add(rounds.checked_mul(round)?)
            });
        }
        true
    }
}

/// All registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registers {
    configuration: u64,
    status: u64,
    /// The main counter while it stands, else what to add to the ticks of the clock.
    counter: u64,
    timers: [Timer; TIMERS],
}

impl Registers {
    const POWER_ON: Self = Self {
        configuration: 0,
        status: 0,
        counter: 0,
        timers: [Timer::POWER_ON; TIMERS],
    };

    fn runs(&self) -> bool {
        self.configuration & configuration::ENABLE != 0
    }

    fn is_legacy(&self) -> bool {
        self.configuration & configuration::LEGACY != 0
    }
}

/// A line that is cut while the timers replace the legacy ones.
struct Gate {
    line: Arc<dyn IrqLine>,
    /// (driven high, cut)
    state: Mutex<(bool, bool)>,
}

impl Gate {
    fn update(&self, change: impl FnOnce(&mut (bool, bool))) {
        let mut state = self.state.lock();
        change(&mut state);
        self.line.set(state.0 && !state.1);
    }
}

impl IrqLine for Gate {
    fn set(&self, high: bool) {
        self.update(|state| state.0 = high);
    }
}

/// Where the timers' interrupts go.
pub struct HpetLines {
    /// The inputs of the I/O APIC by number, [`ROUTES`] at most.
    pub routes: Vec<Arc<dyn IrqLine>>,
    /// Interrupts 0 and 8 of the ISA bus.
    pub legacy: [Arc<dyn IrqLine>; 2],
    /// Who takes messages.
    pub messages: Arc<dyn MsiTarget>,
}

struct Core {
    registers: Mutex<Registers>,
    time: TimeBase,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
    lines: HpetLines,
    gates: Mutex<Vec<Arc<Gate>>>,
}

impl Core {
    fn counter(&self, registers: &Registers) -> u64 {
        if registers.runs() {
            self.time.ticks().wrapping_add(registers.counter)
        } else {
            registers.counter
        }
    }

    fn line(&self, registers: &Registers, number: usize) -> Option<&Arc<dyn IrqLine>> {
        if registers.is_legacy()
            && let Some(line) = self.lines.legacy.get(number)
        {
            return Some(line);
        }
        let route = registers.timers[number].configuration >> timer::ROUTE_SHIFT & 0x1f;
        self.lines.routes.get(route as usize)
    }

    /// Interrupts for a timer that matched.
    fn interrupt(&self, registers: &mut Registers, number: usize) {
        let own = registers.timers[number];
        if own.is(timer::LEVEL) {
            registers.status |= 1 << number;
        }
        if !own.is(timer::ENABLE) {
            return;
        }
        if own.is(timer::MESSAGE) && !(registers.is_legacy() && number < 2) {
            let (address, data) = (own.message >> 32, own.message as u32);
            self.lines.messages.write(address, data);
        } else if let Some(line) = self.line(registers, number) {
            if own.is(timer::LEVEL) {
                line.set(true);
            } else {
                line.pulse();
            }
        }
    }

    /// Puts the line of a level-triggered timer where its status says.
    fn settle(&self, registers: &Registers, number: usize) {
        let own = &registers.timers[number];
        let high =
            registers.status >> number & 1 != 0 && own.is(timer::LEVEL) && own.is(timer::ENABLE);
        if !high && let Some(line) = self.line(registers, number) {
            line.set(false);
        }
    }

    /// Lets timers catch up with the counter.
    fn catch_up(&self, registers: &mut Registers) {
        if !registers.runs() {
            return;
        }
        let counter = self.counter(registers);
        for number in 0..TIMERS {
            if registers.timers[number].expire(counter) {
                self.interrupt(registers, number);
            }
        }
    }

    /// Sets the host's alarm for the next match that interrupts.
    fn arm(&self, registers: &Registers) {
        let heard = registers.timers.iter().filter(|own| own.is(timer::ENABLE));
        let earliest = self.clock.now_ns().saturating_add(SHORTEST_PERIOD_NS);
        let deadline = |own: &Timer| {
            let ticks = own.next?.wrapping_sub(registers.counter);
            let at = self.time.deadline_ns(ticks)?;
            let short = own.is(timer::PERIODIC) && own.period < SHORTEST_PERIOD_NS / 10;
            Some(if short { at.max(earliest) } else { at })
        };
        let next = heard.filter_map(deadline).min();
        self.alarm.arm(next.filter(|_| registers.runs()));
    }

    fn on_alarm(&self) {
        let mut registers = self.registers.lock();
        self.catch_up(&mut registers);
        self.arm(&registers);
    }

    fn read(&self, offset: u64) -> u64 {
        let mut registers = self.registers.lock();
        match offset {
            CAPABILITIES => CAPABILITIES_VALUE,
            CONFIGURATION => registers.configuration,
            COUNTER => self.counter(&registers),
            STATUS => {
                self.catch_up(&mut registers);
                self.arm(&registers);
                registers.status
            }
            TIMER.. => {
                self.catch_up(&mut registers);
                let number = ((offset - TIMER) / TIMER_BYTES) as usize;
                let Some(own) = registers.timers.get(number) else {
                    return 0;
                };
                match (offset - TIMER) % TIMER_BYTES {
                    TIMER_CONFIGURATION => own.configuration,
                    TIMER_COMPARATOR => own.comparator & own.mask(),
                    TIMER_MESSAGE => own.message,
                    _ => 0,
                }
            }
            _ => 0,
        }
    }

    /// Writes the bits of `mask` of a register.
    fn write(&self, offset: u64, mask: u64, value: u64) {
        let mut registers = self.registers.lock();
        self.catch_up(&mut registers);
        match offset {
            CONFIGURATION => self.configure(&mut registers, mask, value),
            STATUS => {
                registers.status &= !(value & mask);
                (0..TIMERS).for_each(|number| self.settle(&registers, number));
            }
            // Written while it stands; what is written while it runs is lost (2.3.7).
            COUNTER if !registers.runs() => {
                registers.counter = registers.counter & !mask | value & mask;
            }
            TIMER.. => {
                let number = ((offset - TIMER) / TIMER_BYTES) as usize;
                if number < TIMERS {
                    let register = (offset - TIMER) % TIMER_BYTES;
                    self.write_timer(&mut registers, number, register, mask, value);
                }
            }
            _ => {}
        }
        self.arm(&registers);
    }

    fn configure(&self, registers: &mut Registers, mask: u64, value: u64) {
        let mask = mask & (configuration::ENABLE | configuration::LEGACY);
        let counter = self.counter(registers);
        let before = registers.configuration;
        for number in 0..TIMERS {
            // Whoever held a line does not hold it any more; the new one follows below.
            if let Some(line) = self.line(registers, number)
                && registers.status >> number & 1 != 0
            {
                line.set(false);
            }
        }
        registers.configuration = before & !mask | value & mask;
        match (before & configuration::ENABLE != 0, registers.runs()) {
            (false, true) => {
                registers.counter = counter.wrapping_sub(self.time.ticks());
                registers.timers.iter_mut().for_each(|own| own.aim(counter));
            }
            (true, false) => registers.counter = counter,
            _ => {}
        }
        let legacy = registers.is_legacy();
        for gate in self.gates.lock().iter() {
            gate.update(|state| state.1 = legacy);
        }
        self.raise_levels(registers);
    }

    fn raise_levels(&self, registers: &Registers) {
        for (number, own) in registers.timers.iter().enumerate() {
            let wanted = registers.status >> number & 1 != 0;
            if wanted
                && own.is(timer::LEVEL)
                && own.is(timer::ENABLE)
                && let Some(line) = self.line(registers, number)
            {
                line.set(true);
            }
        }
    }

    fn write_timer(
        &self,
        registers: &mut Registers,
        number: usize,
        register: u64,
        mask: u64,
        value: u64,
    ) {
        let counter = self.counter(registers);
        match register {
            TIMER_CONFIGURATION => {
                let before = registers.timers[number];
                if before.is(timer::LEVEL)
                    && registers.status >> number & 1 != 0
                    && let Some(line) = self.line(registers, number)
                {
                    line.set(false);
                }
                let own = &mut registers.timers[number];
                let mask = mask & timer::WRITABLE;
                own.configuration = own.configuration & !mask | value & mask;
                own.comparator &= own.mask();
                own.aim(counter);
                self.raise_levels(registers);
            }
            TIMER_COMPARATOR => {
                let own = &mut registers.timers[number];
                let mask = mask & own.mask();
                if !own.is(timer::PERIODIC) || own.is(timer::SET_VALUE) {
                    own.comparator = own.comparator & !mask | value & mask;
                }
                // What was written last is added at each match (2.3.9.2).
                if own.is(timer::PERIODIC) {
                    own.period = own.period & !mask | value & mask;
                }
                own.configuration &= !timer::SET_VALUE;
                own.aim(counter);
            }
            TIMER_MESSAGE => {
                let own = &mut registers.timers[number];
                own.message = own.message & !mask | value & mask;
            }
            _ => {}
        }
    }
}

/// The timers. They answer at [`DEFAULT_BASE`], for [`RANGE_BYTES`], to aligned accesses of four and eight bytes.
pub struct Hpet {
    core: Arc<Core>,
}

impl Hpet {
    /// Timers that count by `clock`, which `alarms` must follow. Lines that others drive, too, are given as inputs of
    /// an [`OrGate`](crate::intc::OrGate) ([`crate::intc::isa::IsaIrqs::line`]).
    pub fn new(clock: Arc<dyn Clock>, alarms: &dyn Alarms, lines: HpetLines) -> Arc<Self> {
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let weak = weak.clone();
            let fire = move || {
                if let Some(core) = weak.upgrade() {
                    core.on_alarm();
                }
            };
            Core {
                registers: Mutex::new(Registers::POWER_ON),
                time: TimeBase::new(clock.clone(), HZ),
                clock,
                alarm: alarms.alarm(Box::new(fire)),
                lines,
                gates: Mutex::default(),
            }
        });
        Arc::new(Self { core })
    }

    /// What a legacy timer (8254, real-time clock) is to drive instead of `line`: it is cut while the timers here replace
    /// its interrupt.
    pub fn legacy_input(&self, line: Arc<dyn IrqLine>) -> Arc<dyn IrqLine> {
        let gate = Arc::new(Gate {
            line,
            state: Mutex::new((false, self.core.registers.lock().is_legacy())),
        });
        self.core.gates.lock().push(gate.clone());
        gate
    }

    /// Everything that a guest could tell apart.
    pub fn save(&self) -> Saved<Registers> {
        let mut registers = self.core.registers.lock().clone();
        // As if it stood: what it shows now.
        registers.counter = self.core.counter(&registers);
        Saved::new(VERSION, self.core.clock.now_ns(), registers)
    }

    /// Takes a saved state over; the counter goes on from what it was.
    ///
    /// # Errors
    /// When it is of another version.
    pub fn restore(&self, saved: Saved<Registers>) -> Result<(), RestoreError> {
        let (mut registers, _) = saved.open(DEVICE, VERSION, self.core.clock.now_ns())?;
        if registers.runs() {
            registers.counter = registers.counter.wrapping_sub(self.core.time.ticks());
        }
        let mut own = self.core.registers.lock();
        *own = registers;
        let legacy = own.is_legacy();
        for gate in self.core.gates.lock().iter() {
            gate.update(|state| state.1 = legacy);
        }
        self.core.raise_levels(&own);
        self.core.arm(&own);
        Ok(())
    }
}

impl BusDevice for Hpet {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if width < AccessWidth::Word || !offset.is_multiple_of(width.bytes()) {
            return 0;
        }
        self.core.read(offset & !7) >> (8 * (offset & 7)) & width.mask()
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if width < AccessWidth::Word || !offset.is_multiple_of(width.bytes()) {
            return;
        }
        let shift = 8 * (offset & 7);
        self.core
            .write(offset & !7, width.mask() << shift, value << shift);
    }

    fn reset(&self) {
        let mut registers = self.core.registers.lock();
        self.core.configure(&mut registers, u64::MAX, 0);
        registers.status = 0;
        (0..TIMERS).for_each(|number| self.core.settle(&registers, number));
        *registers = Registers::POWER_ON;
        self.core.arm(&registers);
    }
}

#[cfg(test)]
mod tests;

//! The MC146818 real-time clock of a PC and its memory ("CMOS").
//!
//! Time follows the virtual clock; nothing ticks. An alarm of the host is set only while an enabled interrupt is to come
//! and the line is low, so a guest that does not read register C costs nothing.

mod calendar;
pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine};

use crate::BusDevice;
use crate::state::{RestoreError, Saved, check_shape};
use calendar::{Civil, DAY_SECONDS};
use spec::*;

const DEVICE: &str = "mc146818";
const VERSION: u32 = 1;
const NS: u64 = 1_000_000_000;

/// Cells, and how time stands to the virtual clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registers {
    index: u8,
    /// All cells; those of the time hold what it is set to while it stands still.
    cells: Vec<u8>,
    /// Seconds since 1970-01-01 when the sum of virtual clock and `sub_ns` is zero.
    base_s: i64,
    /// Below a second.
    sub_ns: u64,
    /// Until when (ns of the virtual clock with `sub_ns`) events were looked for.
    seen_ns: u64,
}

/// The part of a second that is one period of the periodic interrupt, in ticks of the crystal.
fn period_ticks(rate: u8) -> Option<u64> {
    match rate & a::RATE {
        0 => None,
        // The two fastest rates are those of 8 and 9 with this crystal.
        rate @ 1..3 => Some(1 << (rate + 6)),
        rate => Some(1 << (rate - 1)),
    }
}

fn ticks(ns: u64) -> u64 {
    (u128::from(ns) * u128::from(CRYSTAL_HZ) / u128::from(NS)) as u64
}

impl Registers {
    fn cell(&self, index: u8) -> u8 {
        self.cells[usize::from(index) % CELLS]
    }

    fn put(&mut self, index: u8, value: u8) {
        self.cells[usize::from(index) % CELLS] = value;
    }

    fn is_set(&self, bit: u8) -> bool {
        self.cell(reg::B) & bit != 0
    }

    fn encode(&self, value: u8) -> u8 {
        if self.is_set(b::BINARY) {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    fn decode(&self, value: u8) -> u8 {
        if self.is_set(b::BINARY) {
            value
        } else {
            (value >> 4).wrapping_mul(10).wrapping_add(value & 0xf)
        }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.is_set(b::HOURS_24) {
            return self.encode(hour);
        }
        let twelve = if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        };
        self.encode(twelve) | if hour >= 12 { 0x80 } else { 0 }
    }

    fn decode_hour(&self, value: u8) -> u8 {
        if self.is_set(b::HOURS_24) {
            return self.decode(value);
        }
        self.decode(value & 0x7f) % 12 + if value & 0x80 != 0 { 12 } else { 0 }
    }

    /// Seconds since 1970-01-01 at a moment of the virtual clock with `sub_ns`.
    fn seconds(&self, at_ns: u64) -> i64 {
        self.base_s.wrapping_add((at_ns / NS) as i64)
    }

    /// Puts the time into its cells.
    fn show(&mut self, at_ns: u64) {
        let civil = Civil::of(self.seconds(at_ns));
        let hour = self.encode_hour(civil.hour);
        self.put(reg::HOURS, hour);
        let century = (civil.year.div_euclid(100)).rem_euclid(100) as u8;
        for (index, value) in [
            (reg::SECONDS, civil.second),
            (reg::MINUTES, civil.minute),
            (reg::WEEKDAY, civil.weekday),
            (reg::DAY, civil.day),
            (reg::MONTH, civil.month),
            (reg::YEAR, civil.year.rem_euclid(100) as u8),
            (reg::CENTURY, century),
        ] {
            let value = self.encode(value);
            self.put(index, value);
        }
    }

    /// Takes the time from its cells.
    fn take(&mut self, at_ns: u64) {
        let of = |index| self.decode(self.cell(index));
        let civil = Civil {
            year: i64::from(of(reg::CENTURY)) * 100 + i64::from(of(reg::YEAR)),
            month: of(reg::MONTH),
            day: of(reg::DAY),
            hour: self.decode_hour(self.cell(reg::HOURS)),
            minute: of(reg::MINUTES),
            second: of(reg::SECONDS),
            weekday: 1,
        };
        self.base_s = civil.seconds().wrapping_sub((at_ns / NS) as i64);
    }

    /// The first second of the day after `after` at which the alarm goes off, wrapping to the next day; `None` when its
    /// registers have a time that there is not.
    fn alarm_after(&self, after: i64) -> Option<i64> {
        let wanted = |index: u8, decode: fn(&Self, u8) -> u8, range: u8| {
            let value = self.cell(index);
            let any = value & ANY == ANY;
            let value = decode(self, value);
            (0..range).filter(move |&at| any || at == value)
        };
        let of_day = |from: i64| {
            for hour in wanted(reg::HOURS_ALARM, Self::decode_hour, 24).map(i64::from) {
                if hour * 3600 + 3599 < from {
                    continue;
                }
                for minute in wanted(reg::MINUTES_ALARM, Self::decode, 60).map(i64::from) {
                    if hour * 3600 + minute * 60 + 59 < from {
                        continue;
                    }
                    let seconds = wanted(reg::SECONDS_ALARM, Self::decode, 60).map(i64::from);
                    let mut seconds = seconds.map(|second| hour * 3600 + minute * 60 + second);
                    if let Some(found) = seconds.find(|&second| second >= from) {
                        return Some(found);
                    }
                }
            }
            None
        };
        let day = after.div_euclid(DAY_SECONDS) * DAY_SECONDS;
        let today = of_day(after - day + 1).map(|second| day + second);
        today.or_else(|| of_day(0).map(|second| day + DAY_SECONDS + second))
    }

    /// When the next event of each enabled source comes: ns of the virtual clock with `sub_ns`.
    fn next_ns(&self) -> Option<u64> {
        let seen_s = self.seen_ns / NS;
        let second = |at: u64| at.checked_mul(NS);
        let periodic = self.is_set(b::PERIODIC).then(|| {
            let period = period_ticks(self.cell(reg::A))?;
            let tick = (ticks(self.seen_ns) / period + 1).checked_mul(period)?;
            u64::try_from((u128::from(tick) * u128::from(NS)).div_ceil(u128::from(CRYSTAL_HZ))).ok()
        });
        let update = self.is_set(b::UPDATE).then(|| second(seen_s + 1));
        let alarm = self.is_set(b::ALARM).then(|| {
            let now = self.seconds(self.seen_ns);
            let ahead = self.alarm_after(now)?.checked_sub(now)?;
            second(seen_s.checked_add(ahead as u64)?)
        });
        let still = self.is_set(b::SET);
        let times = [
            periodic,
            update.filter(|_| !still),
            alarm.filter(|_| !still),
        ];
        times.into_iter().flatten().flatten().min()
    }

    /// Sets the flags of what happened since the last look.
    fn catch_up(&mut self, now_ns: u64) {
        let mut flags = 0;
        if let Some(period) = period_ticks(self.cell(reg::A))
            && ticks(now_ns) / period != ticks(self.seen_ns) / period
        {
            flags |= b::PERIODIC;
        }
        if !self.is_set(b::SET) && now_ns / NS != self.seen_ns / NS {
            flags |= b::UPDATE;
            let before = self.seconds(self.seen_ns);
            if self
                .alarm_after(before)
                .is_some_and(|at| at <= self.seconds(now_ns))
            {
                flags |= b::ALARM;
            }
        }
        self.seen_ns = now_ns;
        let flags = self.cell(reg::C) | flags;
        self.put(reg::C, flags);
    }

    fn interrupts(&self) -> bool {
        self.cell(reg::C) & self.cell(reg::B) & c::SOURCES != 0
    }
}

const TIME: [u8; 7] = [
    reg::SECONDS,
    reg::MINUTES,
    reg::HOURS,
    reg::WEEKDAY,
    reg::DAY,
    reg::MONTH,
    reg::YEAR,
];

fn is_time(index: u8) -> bool {
    TIME.contains(&index) || index == reg::CENTURY
}

struct Core {
    registers: Mutex<Registers>,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
    irq: Arc<dyn IrqLine>,
}

impl Core {
    /// The virtual clock as seconds of this clock begin.
    fn now_ns(&self, registers: &Registers) -> u64 {
        self.clock.now_ns().saturating_add(registers.sub_ns)
    }

    fn drive(&self, registers: &mut Registers) {
        let now = self.now_ns(registers);
        registers.catch_up(now);
        let high = registers.interrupts();
        let next = if high { None } else { registers.next_ns() };
        self.alarm
            .arm(next.map(|ns| ns.saturating_sub(registers.sub_ns)));
        self.irq.set(high);
    }

    fn read(&self) -> u8 {
        let mut registers = self.registers.lock();
        let index = registers.index;
        let now = self.now_ns(&registers);
        let moves = !registers.is_set(b::SET);
        match index {
            _ if is_time(index) => {
                if moves {
                    registers.show(now);
                }
                registers.cell(index)
            }
            reg::A => {
                let soon = moves && now % NS >= NS - UPDATE_WARNING_NS;
                let flag = if soon { a::UPDATE_IN_PROGRESS } else { 0 };
                registers.cell(reg::A) | flag
            }
            reg::C => {
                registers.catch_up(now);
                let any = registers.interrupts();
                let flags = registers.cell(reg::C) | if any { c::INTERRUPT } else { 0 };
                registers.put(reg::C, 0);
                self.drive(&mut registers);
                flags
            }
            _ => registers.cell(index),
        }
    }

    fn write(&self, value: u8) {
        let mut registers = self.registers.lock();
        let index = registers.index;
        let now = self.now_ns(&registers);
        registers.catch_up(now);
        match index {
            reg::C | reg::D => {}
            reg::A => registers.put(reg::A, value & !a::UPDATE_IN_PROGRESS),
            reg::B => {
                let (before, after) = (registers.cell(reg::B) & b::SET, value & b::SET);
                if before == 0 && after != 0 {
                    registers.show(now);
                }
                // Setting time ends update interrupts.
                let cleared = if after != 0 { b::UPDATE } else { 0 };
                registers.put(reg::B, value & !cleared);
                if before != 0 && after == 0 {
                    registers.take(now);
                }
            }
            _ if is_time(index) && !registers.is_set(b::SET) => {
                registers.show(now);
                registers.put(index, value);
                registers.take(now);
            }
            _ => registers.put(index, value),
        }
        self.drive(&mut registers);
    }
}

/// An MC146818. It answers at [`PORT`], for [`RANGE_BYTES`].
pub struct Mc146818 {
    core: Arc<Core>,
}

impl Mc146818 {
    /// A clock that shows `epoch_ns_at_zero` (ns since 1970-01-01, UTC or local as the guest expects) when `clock`, which
    /// `alarms` must follow, shows zero. `irq` is interrupt 8; while the HPET replaces the legacy timers it must be cut
    /// ([`super::hpet::Hpet::legacy_input`]).
    pub fn new(
        epoch_ns_at_zero: u64,
        clock: Arc<dyn Clock>,
        alarms: &dyn Alarms,
        irq: Arc<dyn IrqLine>,
    ) -> Arc<Self> {
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let weak = weak.clone();
            let fire = move || {
                if let Some(core) = weak.upgrade() {
                    core.drive(&mut core.registers.lock());
                }
            };
            let sub_ns = epoch_ns_at_zero % NS;
            let mut registers = Registers {
                index: 0,
                cells: vec![0; CELLS],
                base_s: (epoch_ns_at_zero / NS) as i64,
                sub_ns,
                seen_ns: clock.now_ns().saturating_add(sub_ns),
            };
            registers.put(reg::A, a::RESET);
            registers.put(reg::B, b::HOURS_24);
            registers.put(reg::D, D_VALID);
            Core {
                registers: Mutex::new(registers),
                clock,
                alarm: alarms.alarm(Box::new(fire)),
                irq,
            }
        });
        Arc::new(Self { core })
    }

    /// Sets a cell of the memory, as whoever built the machine does: before it runs.
    pub fn set_cell(&self, index: u8, value: u8) {
        self.core.registers.lock().put(index, value);
    }

    /// Tells firmware of the machine's memory, in bytes below 4 GiB (from 0 without a gap) and above it, and of the
    /// number of its virtual CPUs (SeaBIOS `src/fw/paravirt.c`, OVMF `PlatformInitLib`).
    pub fn describe(&self, low_bytes: u64, high_bytes: u64, cpus: u32) {
        const MIB: u64 = 1 << 20;
        let mut registers = self.core.registers.lock();
        let mut put = |index: u8, bytes: usize, value: u64| {
            for (at, byte) in (index..).zip(&value.to_le_bytes()[..bytes]) {
                registers.put(at, *byte);
            }
        };
        put(cell::BASE_MEMORY, 2, 640);
        let extended = low_bytes.saturating_sub(MIB) / 1024;
        for index in cell::EXTENDED_MEMORY {
            put(index, 2, extended.min(0xffff));
        }
        let above_16m = low_bytes.saturating_sub(16 * MIB) >> 16;
        put(cell::MEMORY_ABOVE_16M, 2, above_16m.min(0xffff));
        put(cell::MEMORY_ABOVE_4G, 3, (high_bytes >> 16).min(0xff_ffff));
        put(cell::CPUS, 1, u64::from(cpus.saturating_sub(1).min(0xff)));
        // A coprocessor and a PS/2 mouse.
        put(cell::EQUIPMENT, 1, 0x06);
    }

    /// Everything that a guest could tell apart.
    pub fn save(&self) -> Saved<Registers> {
        let registers = self.core.registers.lock().clone();
        Saved::new(VERSION, self.core.clock.now_ns(), registers)
    }

    /// Takes a saved state over. The time goes on from what it was.
    ///
    /// # Errors
    /// When it is of another version or damaged.
    pub fn restore(&self, saved: Saved<Registers>) -> Result<(), RestoreError> {
        let now_ns = self.core.clock.now_ns();
        let (mut registers, by_ns) = saved.open(DEVICE, VERSION, now_ns)?;
        check_shape(DEVICE, "cells", registers.cells.len() == CELLS)?;
        let then_ns = now_ns.wrapping_sub(by_ns);
        let of_second = then_ns.wrapping_add(registers.sub_ns);
        let shown = registers.seconds(of_second);
        // The same part of a second at the new moment, and the same second.
        registers.sub_ns = (of_second % NS + NS - now_ns % NS) % NS;
        let at = now_ns.saturating_add(registers.sub_ns);
        registers.base_s = shown.wrapping_sub((at / NS) as i64);
        registers.seen_ns = at;
        let mut own = self.core.registers.lock();
        *own = registers;
        self.core.drive(&mut own);
        Ok(())
    }
}

impl BusDevice for Mc146818 {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match (offset, width) {
            (1, AccessWidth::Byte) => self.core.read().into(),
            // The index cannot be read.
            _ => width.mask(),
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        match (offset, width) {
            (0, AccessWidth::Byte) => {
                self.core.registers.lock().index = value as u8 & !NMI_MASK;
            }
            (1, AccessWidth::Byte) => self.core.write(value as u8),
            _ => {}
        }
    }

    /// Ends interrupts; time and memory stay, as there is a battery.
    fn reset(&self) {
        let mut registers = self.core.registers.lock();
        let kept = registers.cell(reg::B) & !(c::SOURCES | 1 << 3);
        registers.put(reg::B, kept);
        registers.put(reg::C, 0);
        registers.index = 0;
        self.core.drive(&mut registers);
    }
}

#[cfg(test)]
mod tests;

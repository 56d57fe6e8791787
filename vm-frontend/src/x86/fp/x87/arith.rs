//! Arithmetic and comparison (Intel SDM 1, 8.3.5 and 8.3.6).

use std::cmp::Ordering;

use vm_softfloat::{
    Env, F32, F64, F80, Flags, add, compare_quiet, compare_signaling, convert, div, from_int,
    is_nan, mul, sub,
};

use super::{Answer, INDEFINITE, Unit, status};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;

/// Operations of two operands, by number.
pub(in crate::x86::fp) mod operation {
    pub(crate) const ADD: i64 = 0;
    pub(crate) const MUL: i64 = 1;
    pub(crate) const SUB: i64 = 2;
    pub(crate) const SUB_REVERSED: i64 = 3;
    pub(crate) const DIV: i64 = 4;
    pub(crate) const DIV_REVERSED: i64 = 5;
}

/// Formats of operands in memory, by number.
pub(in crate::x86::fp) mod memory {
    pub(crate) const SINGLE: i64 = 0;
    pub(crate) const DOUBLE: i64 = 1;
    pub(crate) const WORD: i64 = 2;
    pub(crate) const DOUBLEWORD: i64 = 3;
    pub(crate) const QUADWORD: i64 = 4;
}

/// A number in memory to the format of registers. Loads of all formats are exact.
pub(super) fn widen(kind: u64, value: u64, env: &Env, flags: &mut Flags) -> u128 {
    match kind as i64 {
        memory::SINGLE => convert::<F32, F80>(value as u32, env, flags),
        memory::DOUBLE => convert::<F64, F80>(value, env, flags),
        memory::WORD => from_int::<F80, i64>((value as i16).into(), env, flags),
        memory::DOUBLEWORD => from_int::<F80, i64>((value as i32).into(), env, flags),
        _ => from_int::<F80, i64>(value as i64, env, flags),
    }
}

/// The same as an operand of arithmetic: a signalling NaN stays one, as the operation prefers a quiet one to it (Intel SDM
/// 1, 4.8.3.5).
fn operand(kind: u64, value: u64, env: &Env, flags: &mut Flags) -> u128 {
    let signalling = |sign: u64, fraction: u64| {
        u128::from((sign & 1) << 15 | 0x7fff) << 64 | u128::from(1 << 63 | fraction)
    };
    let (single, double) = (value & 0x003f_ffff, value & 0x0007_ffff_ffff_ffff);
    match kind as i64 {
        memory::SINGLE if single != 0 && value >> 22 & 0x1ff == 0x1fe => {
            signalling(value >> 31, single << 40)
        }
        memory::DOUBLE if double != 0 && value >> 51 & 0xfff == 0xffe => {
            signalling(value >> 63, double << 11)
        }
        _ => widen(kind, value, env, flags),
    }
}

/// What an operation and the load of its operand raise together: of a subnormal operand nothing, when the operation is not
/// valid, divides by zero or has a NaN.
fn with_load(own: Flags, load: Flags, nan: bool) -> Flags {
    let first = nan || own.contains(Flags::INVALID) || own.contains(Flags::DIVZERO);
    match load == Flags::DENORMAL && first {
        true => own,
        false => own | load,
    }
}

type Operation = fn(u128, u128, &Env, &mut Flags) -> u128;

fn operation(number: u64) -> Operation {
    match number as i64 {
        operation::ADD => add::<F80>,
        operation::MUL => mul::<F80>,
        operation::SUB => sub::<F80>,
        operation::SUB_REVERSED => |a, b, env, flags| sub::<F80>(b, a, env, flags),
        operation::DIV => div::<F80>,
        _ => |a, b, env, flags| div::<F80>(b, a, env, flags),
    }
}

impl Unit<'_> {
    /// ST(destination) becomes the result of an operation on it and another.
    fn compute(
        &mut self,
        number: u64,
        destination: usize,
        other: Option<u128>,
        before: Flags,
    ) -> Answer {
        let (Some(a), Some(b)) = (self.get(destination), other) else {
            let answer = self.stack_fault(false);
            if answer == Answer::Store {
                self.set(destination, INDEFINITE);
            }
            return answer;
        };
        let env = self.env();
        let mut flags = Flags::NONE;
        let result = operation(number)(a, b, &env, &mut flags);
        let answer = self.finish(with_load(flags, before, is_nan::<F80>(result)));
        if answer == Answer::Store {
            self.set(destination, result);
        }
        answer
    }

    /// Sets the conditions as a comparison of ST(0) and another says.
    fn compare(
        &mut self,
        other: Option<u128>,
        signals: bool,
        before: Flags,
    ) -> (Answer, Option<Ordering>) {
        let (Some(a), Some(b)) = (self.get(0), other) else {
            return (self.stack_fault(false), None);
        };
        let env = self.env();
        let mut flags = Flags::NONE;
        let order = match signals {
            true => compare_signaling::<F80>(a, b, &env, &mut flags),
            false => compare_quiet::<F80>(a, b, &env, &mut flags),
        };
        let flags = with_load(flags, before, order.is_none());
        (self.finish(flags), order)
    }

    fn condition_codes(&mut self, order: Option<Ordering>) {
        let bits = match order {
            None => status::C0 | status::C2 | status::C3,
            Some(Ordering::Less) => status::C0,
            Some(Ordering::Equal) => status::C3,
            Some(Ordering::Greater) => 0,
        };
        let c1 = self.state.x87_status & status::C1;
        self.set_conditions(bits | c1);
    }
}

/// Helper: operation (bits 0 to 7) on ST(bits 8 to 11) and ST(bits 12 to 15), to the first; pops when bit 16 is set.
pub(in crate::x86::fp) fn registers(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let other = unit.get((word >> 12 & 7) as usize);
    let answer = unit.compute(word & 0xff, (word >> 8 & 7) as usize, other, Flags::NONE);
    if answer == Answer::Store {
        unit.pop((word >> 16 & 1) as usize);
    }
    Ok(0)
}

/// Helper: operation (bits 0 to 7) on ST(0) and a value in format (bits 8 to 15) of memory, at an offset in the segment
/// (bits 28 on).
pub(in crate::x86::fp) fn with_memory(
    cpu: &mut Cpu<'_>,
    [word, value, offset]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::with_operand(cpu, offset, word >> 28);
    let mut flags = Flags::NONE;
    let value = operand(word >> 8 & 0xff, value, &unit.env(), &mut flags);
    unit.compute(word & 0xff, 0, Some(value), flags);
    Ok(0)
}

/// Helper: compares ST(0) with ST(bits 0 to 3) to condition codes; quietly when bit 4 is set; pops bits 8 on.
pub(in crate::x86::fp) fn compare_registers(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let other = unit.get((word & 7) as usize);
    let (answer, order) = unit.compare(other, word & 16 == 0, Flags::NONE);
    if answer == Answer::Store {
        unit.condition_codes(order);
        unit.pop((word >> 8 & 3) as usize);
    }
    Ok(0)
}

/// Helper: compares ST(0) with a value in format (bits 8 to 15) of memory; pops when bit 16 is set.
pub(in crate::x86::fp) fn compare_memory(
    cpu: &mut Cpu<'_>,
    [word, value, offset]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::with_operand(cpu, offset, word >> 28);
    let mut flags = Flags::NONE;
    let value = widen(word >> 8 & 0xff, value, &unit.env(), &mut flags);
    let (answer, order) = unit.compare(Some(value), true, flags);
    if answer == Answer::Store {
        unit.condition_codes(order);
        unit.pop((word >> 16 & 1) as usize);
    }
    Ok(0)
}

/// Helper: compares as [`compare_registers`] does and gives flags Z, P and C; bit 32 when they stay as they are.
pub(in crate::x86::fp) fn compare_flags(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let other = unit.get((word & 7) as usize);
    // C1 stays but for stack faults.
    let c1 = unit.state.x87_status & status::C1;
    let faults = unit.get(0).is_none() || other.is_none();
    let (answer, order) = unit.compare(other, word & 16 == 0, Flags::NONE);
    if !faults {
        unit.set_c1(c1 != 0);
    }
    if answer == Answer::Keep {
        return Ok(1 << 32);
    }
    unit.pop((word >> 8 & 3) as usize);
    Ok(match order {
        None => 0x45,
        Some(Ordering::Less) => 1,
        Some(Ordering::Equal) => 0x40,
        Some(Ordering::Greater) => 0,
    })
}

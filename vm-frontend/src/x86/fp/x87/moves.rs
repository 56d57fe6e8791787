//! Loads, stores and moves on the stack (Intel SDM 1, 8.3.3 and 8.3.4).

use vm_core::{AccessWidth, GuestVirtAddr};
use vm_softfloat::{Env, F32, F64, F80, Flags, RoundingDirection, convert, to_int};

use super::arith::{memory, widen};
use super::{Answer, INDEFINITE, ONE, Unit, bcd};
use crate::guest::{Access, Exception, View};
use crate::x86::helpers::Cpu;

/// Formats beyond those of [`memory`].
pub(in crate::x86::fp) mod extended {
    /// 80 bits.
    pub(crate) const EXTENDED: i64 = 5;
    /// 18 decimal digits.
    pub(crate) const DECIMAL: i64 = 6;
}

/// Helper: pushes a value in format (bits 0 to 7) of memory, at an offset in the segment (bits 28 on).
pub(in crate::x86::fp) fn load(
    cpu: &mut Cpu<'_>,
    [word, value, offset]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::with_operand(cpu, offset, word >> 28);
    if unit.is_full() {
        unit.push(0, Answer::Store);
        return Ok(0);
    }
    let mut flags = Flags::NONE;
    let value = widen(word & 0xff, value, &unit.env(), &mut flags);
    let answer = unit.finish(flags);
    unit.push(value, answer);
    Ok(0)
}

/// Helper: pushes 80 bits as they are, or (bit 0) decimal digits: the low 64 bits, then the high 16 with the offset in the
/// segment (bits 28 on) above them.
pub(in crate::x86::fp) fn load_long(
    cpu: &mut Cpu<'_>,
    [word, low, high]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::with_operand(cpu, high >> 16, word >> 28);
    unit.set_c1(false);
    let bits = u128::from(high & 0xffff) << 64 | u128::from(low);
    let value = if word & 1 != 0 { bcd::load(bits) } else { bits };
    unit.push(value, Answer::Store);
    Ok(0)
}

/// Helper: pushes ST(bits 0 to 2).
pub(in crate::x86::fp) fn load_register(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    unit.set_c1(false);
    match unit.get((word & 7) as usize) {
        Some(value) => unit.push(value, Answer::Store),
        None => {
            let answer = unit.stack_fault(false);
            if answer == Answer::Store {
                unit.rotate(7);
                unit.set(0, INDEFINITE);
            }
        }
    }
    Ok(0)
}

/// The constants of FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2 and FLDZ cut to 64 bits, and which of them are below the
/// number by more than half a unit, so that they round up to nearest (Intel SDM 1, 8.3.8).
const CONSTANTS: [(u128, bool, bool); 7] = [
    (ONE, false, true),
    (0x4000 << 64 | 0xd49a_784b_cd1b_8afe, false, false),
    (0x3fff << 64 | 0xb8aa_3b29_5c17_f0bb, true, false),
    (0x4000 << 64 | 0xc90f_daa2_2168_c234, true, false),
    (0x3ffd << 64 | 0x9a20_9a84_fbcf_f798, true, false),
    (0x3ffe << 64 | 0xb172_17f7_d1cf_79ab, true, false),
    (0, false, true),
];

/// Helper: pushes constant number `word`.
pub(in crate::x86::fp) fn load_constant(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let (value, above_half, exact) = CONSTANTS[(word as usize).min(6)];
    let up = match unit.env().rounding {
        RoundingDirection::Up => !exact,
        RoundingDirection::NearestEven => above_half,
        _ => false,
    };
    unit.set_c1(false);
    unit.push(value + u128::from(up), Answer::Store);
    Ok(0)
}

/// What ST(0) is in a format of memory; `None` for an empty register's.
fn narrow(kind: u64, value: Option<u128>, truncates: bool, env: &Env, flags: &mut Flags) -> u128 {
    let env = match truncates {
        true => &env.with_rounding(RoundingDirection::TowardZero),
        false => env,
    };
    match (kind as i64, value) {
        (memory::SINGLE, Some(value)) => convert::<F80, F32>(value, env, flags).into(),
        (memory::SINGLE, None) => 0xffc0_0000,
        (memory::DOUBLE, Some(value)) => convert::<F80, F64>(value, env, flags).into(),
        (memory::DOUBLE, None) => 0xfff8 << 48,
        (memory::WORD, Some(value)) => to_int::<F80, i16>(value, env, flags) as u16 as u128,
        (memory::WORD, None) => 0x8000,
        (memory::DOUBLEWORD, Some(value)) => to_int::<F80, i32>(value, env, flags) as u32 as u128,
        (memory::DOUBLEWORD, None) => 0x8000_0000,
        (memory::QUADWORD, Some(value)) => to_int::<F80, i64>(value, env, flags) as u64 as u128,
        (memory::QUADWORD, None) => 1 << 63,
        (extended::DECIMAL, Some(value)) => bcd::store(value, env, flags),
        (extended::DECIMAL, None) => bcd::INDEFINITE,
        (_, value) => value.unwrap_or(INDEFINITE),
    }
}

const fn bytes(kind: u64) -> u64 {
    match kind as i64 {
        memory::WORD => 2,
        memory::SINGLE | memory::DOUBLEWORD => 4,
        memory::DOUBLE | memory::QUADWORD => 8,
        _ => 10,
    }
}

/// Helper: stores ST(0) in format (bits 0 to 7) at a linear address, pops when bit 8 is set, truncates when bit 9 is; the
/// operand is at an offset in the segment (bits 28 on).
pub(in crate::x86::fp) fn store(
    cpu: &mut Cpu<'_>,
    [word, address, offset]: [u64; 3],
) -> Result<u64, Exception> {
    let kind = word & 0xff;
    let (value, env) = {
        let unit = Unit { state: cpu.state };
        (unit.get(0), unit.env())
    };
    let mut flags = Flags::NONE;
    let stored = narrow(kind, value, word & 0x200 != 0, &env, &mut flags);
    let control = cpu.state.x87_control;
    let unmasked = match value {
        Some(_) => u64::from(flags.x86()) & 0x1f,
        None => 1,
    } & !control;
    if unmasked == 0 {
        write(cpu, address, bytes(kind), stored)?;
    }
    let mut unit = Unit::with_operand(cpu, offset, word >> 28);
    let answer = match value {
        Some(_) => unit.finish_store(flags),
        None => unit.stack_fault(false),
    };
    if answer == Answer::Store {
        unit.pop((word >> 8 & 1) as usize);
    }
    Ok(0)
}

/// Stores up to ten bytes, all or none.
fn write(cpu: &mut Cpu<'_>, address: u64, bytes: u64, value: u128) -> Result<(), Exception> {
    let width = match bytes {
        2 => AccessWidth::Half,
        4 => AccessWidth::Word,
        _ => AccessWidth::Double,
    };
    if bytes > 8 {
        let behind = address.wrapping_add(8);
        for at in [behind, behind.wrapping_add(1)] {
            cpu.env
                .probe(cpu.state, GuestVirtAddr(at), 1, Access::Write)?;
        }
        cpu.env
            .store(cpu.state, address, width, value as u64, View::Current)?;
        let high = (value >> 64) as u64;
        return cpu
            .env
            .store(cpu.state, behind, AccessWidth::Half, high, View::Current);
    }
    cpu.env
        .store(cpu.state, address, width, value as u64, View::Current)
}

/// Helper: copies ST(0) to ST(bits 0 to 2); pops when bit 8 is set; an empty one stays where it is, without a stack fault, when bit 9 is.
pub(in crate::x86::fp) fn store_register(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    unit.set_c1(false);
    let (value, answer) = match unit.get(0) {
        Some(value) => (value, Answer::Store),
        None if word & 0x200 != 0 => {
            unit.pop(1);
            return Ok(0);
        }
        None => (INDEFINITE, unit.stack_fault(false)),
    };
    if answer == Answer::Store {
        unit.set((word & 7) as usize, value);
        unit.pop((word >> 8 & 1) as usize);
    }
    Ok(0)
}

/// Helper: exchanges ST(0) and ST(bits 0 to 2).
pub(in crate::x86::fp) fn exchange(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let other = (word & 7) as usize;
    unit.set_c1(false);
    let values = [unit.get(0), unit.get(other)];
    if values.contains(&None) && unit.stack_fault(false) == Answer::Keep {
        return Ok(0);
    }
    let [a, b] = values.map(|value| value.unwrap_or(INDEFINITE));
    unit.set(0, b);
    unit.set(other, a);
    Ok(0)
}

/// Helper: copies ST(bits 0 to 2) to ST(0) when the second argument is not zero (FCMOVcc).
pub(in crate::x86::fp) fn move_if(
    cpu: &mut Cpu<'_>,
    [word, holds, _]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    match (unit.get(0), unit.get((word & 7) as usize)) {
        (Some(_), Some(value)) => {
            if holds != 0 {
                unit.set(0, value);
            }
        }
        _ => {
            if unit.stack_fault(false) == Answer::Store {
                unit.set(0, INDEFINITE);
            }
        }
    }
    Ok(0)
}

/// Helper: empties ST(bits 0 to 2); pops when bit 8 is set (FFREE, FFREEP).
pub(in crate::x86::fp) fn free(cpu: &mut Cpu<'_>, [word, ..]: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    unit.set_c1(false);
    unit.free((word & 7) as usize);
    if word & 0x100 != 0 {
        unit.pop(1);
    }
    Ok(0)
}

/// Helper: moves the top of the stack (FINCSTP by 1, FDECSTP by 7; FNOP by 0).
pub(in crate::x86::fp) fn rotate(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    if word != 0 {
        unit.set_c1(false);
    }
    unit.rotate((word & 7) as usize);
    Ok(0)
}

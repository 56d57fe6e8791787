//! Functions of the top of the stack: signs, classes, roots, rounding, remainders, exponents (Intel SDM 1, 8.3.5).

use std::cmp::Ordering;

use vm_softfloat::{
    F80, Flags, QuotientRounding, RoundingDirection, compare_signaling, from_int, is_nan, mul,
    remainder, round_to_integral, scale, sqrt, to_int,
};

use super::{Answer, INDEFINITE, ONE, SIGN, Unit, status};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;

/// Helper: the sign of ST(0): inverted (0) or cleared (1).
pub(in crate::x86::fp) fn sign(cpu: &mut Cpu<'_>, [word, ..]: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    unit.set_c1(false);
    let (value, answer) = match unit.get(0) {
        Some(value) if word == 0 => (value ^ SIGN, Answer::Store),
        Some(value) => (value & !SIGN, Answer::Store),
        None => (INDEFINITE, unit.stack_fault(false)),
    };
    if answer == Answer::Store {
        unit.set(0, value);
    }
    Ok(0)
}

/// Helper: the class of ST(0) to condition codes (FXAM; Intel SDM 2A).
pub(in crate::x86::fp) fn examine(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let physical = unit.physical(0);
    let negative = unit.state.x87[physical][1] >> 15 & 1 != 0;
    let codes = match unit.get(0) {
        None => status::C3 | status::C0,
        Some(value) => match class(value) {
            Kind::Unsupported => 0,
            Kind::Nan => status::C0,
            Kind::Normal => status::C2,
            Kind::Infinity => status::C2 | status::C0,
            Kind::Zero => status::C3,
            Kind::Denormal => status::C3 | status::C2,
        },
    };
    let c1 = if negative { status::C1 } else { 0 };
    unit.set_conditions(codes | c1);
    Ok(0)
}

/// Classes that FXAM and the full tag word tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Unsupported,
    Nan,
    Normal,
    Infinity,
    Zero,
    Denormal,
}

/// The class of a value (Intel SDM 1, 4.8.3 and 8.2.2).
pub(super) fn class(value: u128) -> Kind {
    let (exponent, significand) = ((value >> 64) as u32 & 0x7fff, value as u64);
    let integer_bit = significand >> 63 != 0;
    match (exponent, integer_bit) {
        (0, _) if significand == 0 => Kind::Zero,
        (0, _) => Kind::Denormal,
        (_, false) => Kind::Unsupported,
        (0x7fff, true) if significand << 1 == 0 => Kind::Infinity,
        (0x7fff, true) => Kind::Nan,
        _ => Kind::Normal,
    }
}

impl Unit<'_> {
    /// ST(0) becomes a function of itself.
    fn apply(&mut self, function: impl FnOnce(&Self, u128, &mut Flags) -> u128) {
        let Some(value) = self.get(0) else {
            if self.stack_fault(false) == Answer::Store {
                self.set(0, INDEFINITE);
            }
            return;
        };
        let mut flags = Flags::NONE;
        let result = function(self, value, &mut flags);
        if self.finish(flags) == Answer::Store {
            self.set(0, result);
        }
    }
}

/// Helper: the square root of ST(0).
pub(in crate::x86::fp) fn root(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Unit::of(cpu).apply(|unit, value, flags| sqrt::<F80>(value, &unit.env(), flags));
    Ok(0)
}

/// Helper: ST(0) rounded to an integer.
pub(in crate::x86::fp) fn round(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Unit::of(cpu).apply(|unit, value, flags| {
        if class(value) == Kind::Denormal {
            *flags |= Flags::DENORMAL;
        }
        round_to_integral::<F80>(value, true, &unit.env(), flags)
    });
    Ok(0)
}

/// Helper: compares ST(0) with zero (FTST).
pub(in crate::x86::fp) fn test(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let (answer, order) = match unit.get(0) {
        None => (unit.stack_fault(false), None),
        Some(value) => {
            let mut flags = Flags::NONE;
            let order = compare_signaling::<F80>(value, 0, &unit.env(), &mut flags);
            (unit.finish(flags), order)
        }
    };
    if answer == Answer::Store {
        let codes = match order {
            None => status::C0 | status::C2 | status::C3,
            Some(Ordering::Less) => status::C0,
            Some(Ordering::Equal) => status::C3,
            Some(Ordering::Greater) => 0,
        };
        unit.set_conditions(codes);
    }
    Ok(0)
}

/// Helper: ST(0) scaled by ST(1) cut to an integer (FSCALE).
pub(in crate::x86::fp) fn scale_by(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let (Some(_), Some(by)) = (unit.get(0), unit.get(1)) else {
        if unit.stack_fault(false) == Answer::Store {
            unit.set(0, INDEFINITE);
        }
        return Ok(0);
    };
    unit.apply(|unit, value, flags| {
        let env = unit.env();
        let (kind, by_kind) = (class(value), class(by));
        let bad = |kind| matches!(kind, Kind::Nan | Kind::Unsupported);
        if bad(kind) || bad(by_kind) {
            return mul::<F80>(value, by, &env, flags);
        }
        if kind == Kind::Denormal || by_kind == Kind::Denormal {
            *flags |= Flags::DENORMAL;
        }
        if by_kind == Kind::Infinity {
            // 2^inf is infinity and 2^-inf zero.
            let power = if by & SIGN != 0 { 0 } else { by };
            let mut own = Flags::NONE;
            let result = mul::<F80>(value, power, &env, &mut own);
            *flags |= own;
            return result;
        }
        let mut ignored = Flags::NONE;
        let power = to_int::<F80, i32>(
            by,
            &env.with_rounding(RoundingDirection::TowardZero),
            &mut ignored,
        );
        let power = match ignored.contains(Flags::INVALID) {
            true if by & SIGN == 0 => i32::MAX,
            _ => power,
        };
        // Precision control does not count here.
        let env = vm_softfloat::Env {
            precision: vm_softfloat::X87Precision::Extended,
            ..env
        };
        scale::<F80>(value, power.clamp(-0x1_0000, 0x1_0000), &env, flags)
    });
    Ok(0)
}

/// Helper: ST(0) becomes its exponent, and its significand is pushed (FXTRACT).
pub(in crate::x86::fp) fn extract(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let (value, full) = (unit.get(0), unit.is_full());
    let Some(value) = value.filter(|_| !full) else {
        if unit.stack_fault(full && value.is_some()) == Answer::Store {
            unit.set(0, INDEFINITE);
            unit.rotate(7);
            unit.set(0, INDEFINITE);
        }
        return Ok(0);
    };
    let env = unit.env();
    let mut flags = Flags::NONE;
    let (exponent, significand) = match class(value) {
        Kind::Nan | Kind::Unsupported => {
            let nan = mul::<F80>(value, ONE, &env, &mut flags);
            (nan, nan)
        }
        Kind::Infinity => (value & !SIGN, value),
        Kind::Zero => {
            flags |= Flags::DIVZERO;
            (SIGN | 0x7fff << 64 | 1 << 63, value)
        }
        kind => {
            if kind == Kind::Denormal {
                flags |= Flags::DENORMAL;
            }
            let field = (value >> 64) as i64 & 0x7fff;
            let shift = (value as u64).leading_zeros();
            let power = field.max(1) - 0x3fff - i64::from(shift);
            let exact = &mut Flags::default();
            let exponent = from_int::<F80, i64>(power, &env, exact);
            let significand = value & SIGN | 0x3fff << 64 | u128::from((value as u64) << shift);
            (exponent, significand)
        }
    };
    if unit.finish(flags) == Answer::Store {
        unit.set(0, exponent);
        unit.rotate(7);
        unit.set(0, significand);
    }
    Ok(0)
}

/// Helper: ST(0) becomes its remainder by ST(1): by a quotient cut (0, FPREM) or rounded to nearest (1, FPREM1). Of
/// numbers that are far apart it takes part of the quotient off and sets C2, for the program to go on (Intel SDM 2A,
/// "FPREM").
pub(in crate::x86::fp) fn remainder_by(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    // Without a remainder C0 and C3 stay.
    unit.state.x87_status &= !(status::C1 | status::C2);
    let (Some(a), Some(b)) = (unit.get(0), unit.get(1)) else {
        if unit.stack_fault(false) == Answer::Store {
            unit.set(0, INDEFINITE);
        }
        return Ok(0);
    };
    let env = unit.env();
    let mut flags = Flags::NONE;
    let far = match (exponent(a), exponent(b)) {
        (Some(of_a), Some(of_b)) if of_a - of_b >= 64 => of_a - of_b,
        _ => 0,
    };
    let (result, quotient) = match far {
        0 => {
            let rounding = match word {
                0 => QuotientRounding::Truncated,
                _ => QuotientRounding::Nearest,
            };
            remainder::<F80>(a, b, rounding, &env, &mut flags)
        }
        _ => {
            // Between 32 and 63 bits of the quotient, so that the rest is a multiple of 32 away.
            let power = far - (far % 32 + 32);
            let multiple = scale::<F80>(b, power, &env, &mut Flags::default());
            let denormal = class(a) == Kind::Denormal || class(b) == Kind::Denormal;
            if denormal {
                flags |= Flags::DENORMAL;
            }
            let truncated = QuotientRounding::Truncated;
            remainder::<F80>(a, multiple, truncated, &env, &mut flags)
        }
    };
    let answer = unit.finish(flags);
    let bits = match far {
        0 => {
            ((quotient >> 2 & 1) * status::C0)
                | ((quotient >> 1 & 1) * status::C3)
                | ((quotient & 1) * status::C1)
        }
        _ => status::C2,
    };
    if !is_nan::<F80>(result) {
        unit.set_conditions(bits);
    }
    if answer == Answer::Store {
        unit.set(0, result);
    }
    Ok(0)
}

/// The exponent of a finite number other than zero.
pub(super) fn exponent(value: u128) -> Option<i32> {
    match class(value) {
        Kind::Normal | Kind::Denormal => {
            let field = ((value >> 64) as i32 & 0x7fff).max(1);
            Some(field - 0x3fff - (value as u64).leading_zeros() as i32)
        }
        _ => None,
    }
}

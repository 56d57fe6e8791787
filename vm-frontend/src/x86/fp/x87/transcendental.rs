//! Transcendental functions (Intel SDM 1, 8.3.7 and 8.3.10): to 64 bits, of which the last may be one off.
//!
//! Each is a series in numbers of 128 bits, after the argument has been made small. Trigonometric arguments are reduced by
//! the processor's own pi of 66 bits (Intel SDM 1, 8.3.8).

use std::cmp::Ordering;
use std::sync::LazyLock;

use vm_softfloat::{Env, F80, Flags, mul};

use super::special::{Kind, class};
use super::wide::Wide;
use super::{Answer, INDEFINITE, ONE, SIGN, Unit, status};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;

/// Pi cut to 66 bits, times 2^66.
const PI_66: u128 = 0xc_90fd_aa22_168c_234c;
/// Pi.
const PI: Wide = Wide::new(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
/// The natural logarithm of 2.
const LN_2: Wide = Wide::new(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
/// The square root of 2, as 64 bits of a significand.
const ROOT_2: u64 = 0xb504_f333_f9de_6484;
/// Infinity.
const INFINITY: u128 = 0x7fff << 64 | 1 << 63;

/// `1 + x/d1 (1 + x/d2 (1 + ...))`.
fn horner(x: Wide, divisors: impl DoubleEndedIterator<Item = u32>) -> Wide {
    divisors.rev().fold(Wide::ONE, |sum, divisor| {
        Wide::ONE.add(x.mul(sum).div_by(divisor))
    })
}

/// Sine of at most pi/4.
fn sine(x: Wide) -> Wide {
    let square = x.mul(x).negate();
    x.mul(horner(square, (1..14).map(|n| 2 * n * (2 * n + 1))))
}

/// Cosine of at most pi/4.
fn cosine(x: Wide) -> Wide {
    let square = x.mul(x).negate();
    horner(square, (1..14).map(|n| (2 * n - 1) * 2 * n))
}

/// The inverse hyperbolic tangent (`negative` false) or the inverse tangent of a small number.
fn inverse_tangent(x: Wide, circular: bool) -> Wide {
    let square = x.mul(x);
    let square = if circular { square.negate() } else { square };
    let sum = (0..24_u32).rev().fold(Wide::ZERO, |sum, n| {
        Wide::ONE.div_by(2 * n + 1).add(square.mul(sum))
    });
    x.mul(sum)
}

/// The logarithm to base 2 of `1 + x`, where that is between half the square root of 2 and the root.
fn log_of_one_plus(x: Wide) -> Wide {
    let ratio = x.div(x.add(Wide::integer(2)));
    inverse_tangent(ratio, false).scaled(1).div(LN_2)
}

/// The logarithm to base 2 of a positive number.
fn log(x: Wide) -> Wide {
    let root = Wide::new(0, u128::from(ROOT_2) << 64);
    let mut power = x.exponent();
    let mut rest = x.scaled(-power);
    if rest.compare_magnitude(root) == Ordering::Greater {
        power += 1;
        rest = rest.scaled(-1);
    }
    let fraction = log_of_one_plus(rest.sub(Wide::ONE));
    Wide::integer(power.into()).add(fraction)
}

/// `2^x - 1` for magnitudes up to 1.
fn power_minus_one(x: Wide) -> Wide {
    let x = x.mul(LN_2);
    x.mul(horner(x, 2..30))
}

/// Inverse tangents of eighths up to 1.
static TANGENTS_OF_EIGHTHS: LazyLock<[Wide; 9]> = LazyLock::new(|| {
    let mut table = [Wide::ZERO; 9];
    for n in 1..9_i64 {
        // The difference of two arguments by the addition theorem.
        let step = Wide::integer(8).div(Wide::integer(64 + n * (n - 1)));
        table[n as usize] = table[n as usize - 1].add(inverse_tangent(step, true));
    }
    table
});

/// The inverse tangent of `y / x` for positive numbers.
fn angle(y: Wide, x: Wide) -> Wide {
    let steep = y.compare_magnitude(x) == Ordering::Greater;
    let ratio = if steep { x.div(y) } else { y.div(x) };
    // The nearest eighth.
    let eighths = (1..9_i64)
        .filter(|n| ratio.compare_magnitude(Wide::integer(2 * n - 1).scaled(-4)) != Ordering::Less)
        .count();
    let base = Wide::integer(eighths as i64).scaled(-3);
    let rest = match eighths {
        0 => ratio,
        _ => ratio.sub(base).div(Wide::ONE.add(ratio.mul(base))),
    };
    let flat = TANGENTS_OF_EIGHTHS[eighths].add(inverse_tangent(rest, true));
    match steep {
        true => PI.scaled(-1).sub(flat),
        false => flat,
    }
}

/// The argument less the nearest multiple of pi/2, and that multiple's number modulo 4. Of magnitudes below 2^63.
fn reduce(value: u128) -> (Wide, u32) {
    let x = Wide::from_f80(value);
    let exponent = x.exponent();
    if x.is_zero() || exponent < -1 {
        return (x, 0);
    }
    // In units of 2^-67, of which pi/2 has PI_66.
    let mut rest = u128::from(value as u64);
    let mut quotient = rest / PI_66;
    rest %= PI_66;
    for _ in 0..exponent + 4 {
        rest <<= 1;
        quotient <<= 1;
        if rest >= PI_66 {
            rest -= PI_66;
            quotient |= 1;
        }
    }
    let mut below = false;
    if rest > PI_66 / 2 {
        rest = PI_66 - rest;
        below = true;
        quotient += 1;
    }
    let shift = rest.leading_zeros();
    let reduced = match rest {
        0 => Wide::ZERO,
        _ => Wide::new(127 - shift as i32 - 67, rest << shift),
    };
    let quarter = (quotient & 3) as u32;
    match (x.is_negative(), below) {
        (false, false) => (reduced, quarter),
        (false, true) => (reduced.negate(), quarter),
        (true, false) => (reduced.negate(), quarter.wrapping_neg() & 3),
        (true, true) => (reduced, quarter.wrapping_neg() & 3),
    }
}

/// Sine and cosine.
fn sine_and_cosine(value: u128) -> [Wide; 2] {
    let (x, quarter) = reduce(value);
    let (sine, cosine) = (sine(x), cosine(x));
    match quarter {
        0 => [sine, cosine],
        1 => [cosine, sine.negate()],
        2 => [sine.negate(), cosine.negate()],
        _ => [cosine.negate(), sine],
    }
}

/// Whether a trigonometric argument is too large.
fn is_too_large(value: u128) -> bool {
    (value >> 64) as u32 & 0x7fff >= 0x3fff + 63 && class(value) == Kind::Normal
}

/// Trigonometric functions by number.
pub(in crate::x86::fp) mod function {
    pub(crate) const SINE: i64 = 0;
    pub(crate) const COSINE: i64 = 1;
    pub(crate) const BOTH: i64 = 2;
    pub(crate) const TANGENT: i64 = 3;
}

/// What becomes of arguments that are NaNs (`None` for others), infinite or subnormal.
fn examine(value: u128, env: &Env, flags: &mut Flags) -> Option<u128> {
    match class(value) {
        Kind::Nan | Kind::Unsupported => Some(mul::<F80>(value, ONE, env, flags)),
        Kind::Infinity => {
            *flags |= Flags::INVALID;
            Some(INDEFINITE)
        }
        Kind::Denormal => {
            *flags |= Flags::DENORMAL;
            None
        }
        _ => None,
    }
}

/// Helper: FSIN, FCOS, FSINCOS, FPTAN by number.
pub(in crate::x86::fp) fn trigonometric(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let which = word as i64;
    let pushes = matches!(which, function::BOTH | function::TANGENT);
    unit.set_conditions(unit.state.x87_status & status::CONDITIONS & !(status::C1 | status::C2));
    let full = pushes && unit.is_full();
    let Some(value) = unit.get(0).filter(|_| !full) else {
        let overflow = full && unit.get(0).is_some();
        if unit.stack_fault(overflow) == Answer::Store {
            unit.set(0, INDEFINITE);
            if pushes {
                unit.rotate(7);
                unit.set(0, INDEFINITE);
            }
        }
        return Ok(0);
    };
    if is_too_large(value) {
        unit.state.x87_status |= status::C2;
        return Ok(0);
    }
    let env = unit.env();
    let mut flags = Flags::NONE;
    let [first, second] = match examine(value, &env, &mut flags) {
        Some(nan) => [nan, nan],
        None if class(value) == Kind::Zero => match which {
            function::COSINE => [ONE, ONE],
            _ => [value, ONE],
        },
        None => {
            let [sine, cosine] = sine_and_cosine(value);
            let mut round = |x: Wide| x.to_f80(&env, &mut flags);
            match which {
                function::SINE => [round(sine); 2],
                function::COSINE => [round(cosine); 2],
                function::BOTH => [round(sine), round(cosine)],
                _ => [round(sine.div(cosine)), ONE],
            }
        }
    };
    if unit.finish(flags) == Answer::Store {
        unit.set(0, first);
        if pushes {
            unit.rotate(7);
            unit.set(0, second);
        }
    }
    Ok(0)
}

/// Helper: F2XM1.
pub(in crate::x86::fp) fn power(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let Some(value) = unit.get(0) else {
        if unit.stack_fault(false) == Answer::Store {
            unit.set(0, INDEFINITE);
        }
        return Ok(0);
    };
    let env = unit.env();
    let mut flags = Flags::NONE;
    let result = match class(value) {
        Kind::Infinity if value & SIGN != 0 => SIGN | ONE,
        Kind::Infinity | Kind::Zero => value,
        _ => match examine(value, &env, &mut flags) {
            Some(nan) => nan,
            None => {
                let x = Wide::from_f80(value);
                match x.magnitude().compare_magnitude(Wide::ONE) {
                    Ordering::Less => power_minus_one(x).to_f80(&env, &mut flags),
                    Ordering::Equal if x.is_negative() => SIGN | 0x3ffe << 64 | 1 << 63,
                    Ordering::Equal => ONE,
                    // What comes of larger arguments is not defined.
                    Ordering::Greater => value,
                }
            }
        },
    };
    if unit.finish(flags) == Answer::Store {
        unit.set(0, result);
    }
    Ok(0)
}

/// Functions of two operands by number.
pub(in crate::x86::fp) mod function_of_two {
    pub(crate) const LOGARITHM: i64 = 0;
    pub(crate) const LOGARITHM_PLUS_ONE: i64 = 1;
    pub(crate) const ANGLE: i64 = 2;
}

/// Helper: FYL2X, FYL2XP1, FPATAN by number: a function of ST(1) and ST(0) to ST(1), then a pop.
pub(in crate::x86::fp) fn of_two(
    cpu: &mut Cpu<'_>,
    [word, ..]: [u64; 3],
) -> Result<u64, Exception> {
    let mut unit = Unit::of(cpu);
    let (Some(x), Some(y)) = (unit.get(0), unit.get(1)) else {
        if unit.stack_fault(false) == Answer::Store {
            unit.set(1, INDEFINITE);
            unit.pop(1);
        }
        return Ok(0);
    };
    let env = unit.env();
    let mut flags = Flags::NONE;
    let bad = |value| matches!(class(value), Kind::Nan | Kind::Unsupported);
    let result = if bad(x) || bad(y) {
        mul::<F80>(y, x, &env, &mut flags)
    } else {
        let denormal = [x, y].map(class).contains(&Kind::Denormal);
        let result = match word as i64 {
            function_of_two::ANGLE => arc_tangent(y, x, &env, &mut flags),
            which => logarithm(y, x, which, &env, &mut flags),
        };
        if denormal && !flags.contains(Flags::INVALID) && !flags.contains(Flags::DIVZERO) {
            flags |= Flags::DENORMAL;
        }
        result
    };
    if unit.finish(flags) == Answer::Store {
        unit.set(1, result);
        unit.pop(1);
    }
    Ok(0)
}

fn invalid(flags: &mut Flags) -> u128 {
    *flags |= Flags::INVALID;
    INDEFINITE
}

/// `y log2(x)`, or of `x + 1` (Intel SDM 2A, "FYL2X" and "FYL2XP1").
fn logarithm(y: u128, x: u128, which: i64, env: &Env, flags: &mut Flags) -> u128 {
    let plus_one = which == function_of_two::LOGARITHM_PLUS_ONE;
    let negative_y = y & SIGN;
    let (of_x, of_y) = (class(x), class(y));
    let argument = match (of_x, plus_one) {
        (Kind::Infinity, _) => Wide::ONE,
        (Kind::Zero, true) => Wide::ONE,
        (_, true) => Wide::from_f80(x).add(Wide::ONE),
        (_, false) => Wide::from_f80(x),
    };
    let minus = x & SIGN != 0;
    if of_x == Kind::Infinity {
        return match (minus, of_y) {
            (true, _) | (_, Kind::Zero) => invalid(flags),
            _ => negative_y | INFINITY,
        };
    }
    let below_domain = if plus_one {
        argument.is_negative()
    } else {
        minus && of_x != Kind::Zero
    };
    if below_domain {
        return invalid(flags);
    }
    if argument.is_zero() {
        return match of_y {
            Kind::Zero => invalid(flags),
            Kind::Infinity => negative_y ^ SIGN | INFINITY,
            _ => {
                *flags |= Flags::DIVZERO;
                negative_y ^ SIGN | INFINITY
            }
        };
    }
    let is_one = if plus_one {
        of_x == Kind::Zero
    } else {
        x == ONE
    };
    if is_one {
        let sign = if plus_one { minus } else { false };
        return match of_y {
            Kind::Infinity => invalid(flags),
            _ => negative_y ^ u128::from(sign) << 79,
        };
    }
    let less_than_one = match plus_one {
        true => minus,
        false => argument.exponent() < 0,
    };
    let sign = negative_y ^ u128::from(less_than_one) << 79;
    match of_y {
        Kind::Infinity => return sign | INFINITY,
        Kind::Zero => return sign,
        _ => {}
    }
    let power_of_two = !plus_one && x as u64 == 1 << 63;
    if power_of_two {
        // Exact but for the product's own rounding.
        let exact = &mut Flags::default();
        let exponent = vm_softfloat::from_int::<F80, i64>(argument.exponent().into(), env, exact);
        let env = Env {
            precision: vm_softfloat::X87Precision::Extended,
            ..*env
        };
        return mul::<F80>(y, exponent, &env, flags);
    }
    let small = plus_one && Wide::from_f80(x).exponent() < -1;
    let log = if small {
        log_of_one_plus(Wide::from_f80(x))
    } else {
        log(argument)
    };
    Wide::from_f80(y).mul(log).to_f80(env, flags)
}

/// The angle of the point `(x, y)` (Intel SDM 2A, "FPATAN").
fn arc_tangent(y: u128, x: u128, env: &Env, flags: &mut Flags) -> u128 {
    let (of_x, of_y) = (class(x), class(y));
    let left = x & SIGN != 0;
    let quarter_turns = match (of_y, of_x) {
        (Kind::Zero, _) => Some(if left { 4 } else { 0 }),
        (Kind::Infinity, Kind::Infinity) => Some(if left { 3 } else { 1 }),
        (Kind::Infinity, _) | (_, Kind::Zero) => Some(2),
        (_, Kind::Infinity) => Some(if left { 4 } else { 0 }),
        _ => None,
    };
    let angle = match quarter_turns {
        Some(0) => return y & SIGN,
        Some(eighths) => PI.mul(Wide::integer(eighths)).scaled(-2),
        None => {
            let first = angle(Wide::from_f80(y).magnitude(), Wide::from_f80(x).magnitude());
            if left { PI.sub(first) } else { first }
        }
    };
    let signed = if y & SIGN != 0 { angle.negate() } else { angle };
    signed.to_f80(env, flags)
}

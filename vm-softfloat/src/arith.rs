//! Addition, subtraction, multiplication, division, square root (IEEE 754-2019, 5.4.1).

use crate::env::{Env, RoundingDirection};
use crate::flags::Flags;
use crate::format::{Format, Kind, Parts, infinity, unpack, zero};
use crate::nan::{invalid, propagate};
use crate::round::round_pack_arithmetic;
use crate::significand::{Significand, Word};

/// `a + b`.
#[inline]
pub fn add<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> F::Bits {
    add_or_sub::<F>(a, b, false, env, flags)
}

/// `a - b`.
#[inline]
pub fn sub<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> F::Bits {
    add_or_sub::<F>(a, b, true, env, flags)
}

fn add_or_sub<F: Format>(
    a: F::Bits,
    b: F::Bits,
    negate: bool,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    let y_sign = y.sign ^ negate;
    if x.kind == Kind::Finite && y.kind == Kind::Finite {
        note(&[x, y], flags);
        return match sum((x.sign, x.exp, x.sig), (y_sign, y.exp, y.sig)) {
            Some((sign, exp, sig)) => round_pack_arithmetic::<F>(sign, exp, sig, env, flags),
            None => zero::<F>(env.rounding == RoundingDirection::Down),
        };
    }
    if x.is_nan() || y.is_nan() {
        return propagate::<F>(&[x, y], env, flags);
    }
    match (x.kind, y.kind) {
        (Kind::Infinite, Kind::Infinite) if x.sign != y_sign => invalid::<F>(env, flags),
        (Kind::Infinite, _) | (_, Kind::Infinite) => {
            note(&[x, y], flags);
            infinity::<F>(if x.kind == Kind::Infinite {
                x.sign
            } else {
                y_sign
            })
        }
        (Kind::Zero, Kind::Zero) => zero::<F>(sum_of_zeros(x.sign, y_sign, env.rounding)),
        (Kind::Zero, _) => {
            note(&[y], flags);
            round_pack_arithmetic::<F>(y_sign, y.exp, y.sig, env, flags)
        }
        _ => {
            note(&[x], flags);
            round_pack_arithmetic::<F>(x.sign, x.exp, x.sig, env, flags)
        }
    }
}

/// Raises DENORMAL if an operand asked for it.
#[inline]
pub(crate) fn note<W: Word>(operands: &[Parts<W>], flags: &mut Flags) {
    if operands.iter().any(|operand| operand.noted) {
        *flags |= Flags::DENORMAL;
    }
}

/// The sign of a sum of zeros (IEEE 754-2019, 6.3).
pub(crate) fn sum_of_zeros(a: bool, b: bool, rounding: RoundingDirection) -> bool {
    if a == b {
        a
    } else {
        rounding == RoundingDirection::Down
    }
}

/// Sign, exponent, normalised significand.
pub(crate) type Number<S> = (bool, i32, S);

/// The jammed sum of two normalised numbers; `None` if they cancel. At least two bits below the precision of either are
/// free in their words.
#[inline]
pub(crate) fn sum<S: Significand>(a: Number<S>, b: Number<S>) -> Option<Number<S>> {
    let (large, small) = if (a.1, a.2) >= (b.1, b.2) {
        (a, b)
    } else {
        (b, a)
    };
    let distance = large.1.abs_diff(small.1);
    let (total, exp) = if large.0 == small.0 {
        (
            large.2.right_jam(1).plus(small.2.right_jam(distance + 1)),
            large.1 + 1,
        )
    } else {
        (large.2.minus(small.2.right_jam(distance)), large.1)
    };
    if total == S::ZERO {
        return None;
    }
    let zeros = total.zeros_above();
    Some((large.0, exp - zeros as i32, total.left(zeros)))
}

/// `a * b`.
pub fn mul<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> F::Bits {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    let sign = x.sign ^ y.sign;
    if x.kind == Kind::Finite && y.kind == Kind::Finite {
        note(&[x, y], flags);
        let product = F::Word::from_wide(x.sig.times(y.sig));
        let zeros = product.zeros_above();
        let exp = x.exp + y.exp + 1 - zeros as i32;
        return round_pack_arithmetic::<F>(sign, exp, product.left(zeros), env, flags);
    }
    if x.is_nan() || y.is_nan() {
        return propagate::<F>(&[x, y], env, flags);
    }
    match (x.kind, y.kind) {
        (Kind::Zero, Kind::Infinite) | (Kind::Infinite, Kind::Zero) => invalid::<F>(env, flags),
        (Kind::Infinite, _) | (_, Kind::Infinite) => {
            note(&[x, y], flags);
            infinity::<F>(sign)
        }
        _ => {
            note(&[x, y], flags);
            zero::<F>(sign)
        }
    }
}

/// `a / b`.
pub fn div<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> F::Bits {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    let sign = x.sign ^ y.sign;
    if x.kind == Kind::Finite && y.kind == Kind::Finite {
        note(&[x, y], flags);
        let exp = x.exp - y.exp - i32::from(x.sig < y.sig);
        let sig = F::Word::quotient(x.sig, y.sig, F::PRECISION);
        return round_pack_arithmetic::<F>(sign, exp, sig, env, flags);
    }
    if x.is_nan() || y.is_nan() {
        return propagate::<F>(&[x, y], env, flags);
    }
    match (x.kind, y.kind) {
        (Kind::Zero, Kind::Zero) | (Kind::Infinite, Kind::Infinite) => invalid::<F>(env, flags),
        (Kind::Infinite, _) => {
            note(&[y], flags);
            infinity::<F>(sign)
        }
        (_, Kind::Zero) => {
            *flags |= Flags::DIVZERO;
            infinity::<F>(sign)
        }
        _ => {
            note(&[x, y], flags);
            zero::<F>(sign)
        }
    }
}

/// The square root of `a`; that of -0 is -0.
pub fn sqrt<F: Format>(a: F::Bits, env: &Env, flags: &mut Flags) -> F::Bits {
    let x = unpack::<F>(a, env, flags);
    match x.kind {
        Kind::QuietNan | Kind::SignalingNan | Kind::Unsupported => propagate::<F>(&[x], env, flags),
        Kind::Zero => zero::<F>(x.sign),
        Kind::Finite | Kind::Infinite if x.sign => invalid::<F>(env, flags),
        Kind::Infinite => infinity::<F>(false),
        Kind::Finite => {
            note(&[x], flags);
            let sig = x.sig.root(x.exp & 1 != 0, F::PRECISION);
            round_pack_arithmetic::<F>(false, x.exp >> 1, sig, env, flags)
        }
    }
}

//! Comparisons (IEEE 754-2019, 5.11), minimum and maximum in the flavours guests have.

use core::cmp::Ordering;

use crate::arith::note;
use crate::env::Env;
use crate::flags::Flags;
use crate::format::{Format, Kind, Parts, unpack, zero};
use crate::nan::propagate;
use crate::significand::Word;

/// Order of `a` and `b`, `None` if unordered; only a signalling NaN is invalid. RISC-V `feq`, Arm `FCMP`, x86 `UCOMIS`.
#[inline]
pub fn compare_quiet<F: Format>(
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> Option<Ordering> {
    compare::<F>(a, b, false, env, flags)
}

/// Order of `a` and `b`, `None` if unordered; every NaN is invalid. RISC-V `flt` and `fle`, Arm `FCMPE`, x86 `COMIS`.
#[inline]
pub fn compare_signaling<F: Format>(
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> Option<Ordering> {
    compare::<F>(a, b, true, env, flags)
}

/// `a == b`, quiet (RISC-V `feq`).
#[inline]
pub fn eq<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> bool {
    compare_quiet::<F>(a, b, env, flags) == Some(Ordering::Equal)
}

/// `a < b`, signalling (RISC-V `flt`).
#[inline]
pub fn lt<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> bool {
    compare_signaling::<F>(a, b, env, flags) == Some(Ordering::Less)
}

/// `a <= b`, signalling (RISC-V `fle`).
#[inline]
pub fn le<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> bool {
    matches!(
        compare_signaling::<F>(a, b, env, flags),
        Some(Ordering::Less | Ordering::Equal)
    )
}

/// `a < b`, quiet (RISC-V Zfa `fltq`).
#[inline]
pub fn lt_quiet<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> bool {
    compare_quiet::<F>(a, b, env, flags) == Some(Ordering::Less)
}

/// `a <= b`, quiet (RISC-V Zfa `fleq`).
#[inline]
pub fn le_quiet<F: Format>(a: F::Bits, b: F::Bits, env: &Env, flags: &mut Flags) -> bool {
    matches!(
        compare_quiet::<F>(a, b, env, flags),
        Some(Ordering::Less | Ordering::Equal)
    )
}

fn compare<F: Format>(
    a: F::Bits,
    b: F::Bits,
    signaling: bool,
    env: &Env,
    flags: &mut Flags,
) -> Option<Ordering> {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    if x.is_nan() || y.is_nan() {
        if signaling || x.signals() || y.signals() {
            *flags |= Flags::INVALID;
        }
        return None;
    }
    note(&[x, y], flags);
    Some(order(&x, &y))
}

/// Order of two numbers; zeros are equal.
fn order<W: Word>(x: &Parts<W>, y: &Parts<W>) -> Ordering {
    let magnitude = |parts: &Parts<W>| match parts.kind {
        Kind::Zero => (0, 0, W::ZERO),
        Kind::Finite => (1, parts.exp, parts.sig),
        _ => (2, 0, W::ZERO),
    };
    match (x.sign, y.sign) {
        _ if x.kind == Kind::Zero && y.kind == Kind::Zero => Ordering::Equal,
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => magnitude(x).cmp(&magnitude(y)),
        (true, true) => magnitude(y).cmp(&magnitude(x)),
    }
}

/// Which of two values is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extremum {
    /// The lesser.
    Min,
    /// The greater.
    Max,
}

/// What to do with NaNs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NanOperand {
    /// A number beats any NaN.
    Loses,
    /// A number beats a quiet NaN.
    QuietLoses,
    /// Any NaN beats a number.
    Wins,
}

/// IEEE 754-2019 `minimumNumber` and `maximumNumber` (9.6): a number beats any NaN, -0 < +0; a signalling NaN is
/// invalid all the same. RISC-V `fmin` and `fmax`.
pub fn extremum_number<F: Format>(
    which: Extremum,
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    extremum::<F>(which, NanOperand::Loses, a, b, env, flags)
}

/// IEEE 754-2008 `minNum` and `maxNum` (5.3.1): a number beats a quiet NaN, a signalling NaN is invalid and propagates;
/// -0 < +0. Arm `FMINNM` and `FMAXNM`.
pub fn extremum_num_2008<F: Format>(
    which: Extremum,
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    extremum::<F>(which, NanOperand::QuietLoses, a, b, env, flags)
}

/// IEEE 754-2019 `minimum` and `maximum` (9.6): any NaN propagates, -0 < +0. RISC-V Zfa `fminm` and `fmaxm`, Arm `FMIN`
/// and `FMAX`.
pub fn extremum_propagating<F: Format>(
    which: Extremum,
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    extremum::<F>(which, NanOperand::Wins, a, b, env, flags)
}

/// `a < b ? a : b`, for the maximum `a > b ? a : b`: the second operand if either is a NaN, which is invalid, or both
/// are zeros. x86 `MINSS` and `MAXSS` (Intel SDM 2).
pub fn extremum_second<F: Format>(
    which: Extremum,
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let order = compare_signaling::<F>(a, b, env, flags);
    let first_wins = order == Some(which.wanted());
    let chosen = if first_wins { a } else { b };
    as_used::<F>(chosen, &unpack::<F>(chosen, env, &mut Flags::NONE.clone()))
}

impl Extremum {
    /// The order in which the first operand is the result.
    const fn wanted(self) -> Ordering {
        match self {
            Self::Min => Ordering::Less,
            Self::Max => Ordering::Greater,
        }
    }
}

fn extremum<F: Format>(
    which: Extremum,
    nan: NanOperand,
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    if x.is_nan() || y.is_nan() {
        let any_signals = x.signals() || y.signals();
        let number_wins = match nan {
            NanOperand::Loses => true,
            NanOperand::QuietLoses => !any_signals,
            NanOperand::Wins => false,
        };
        if !number_wins || (x.is_nan() && y.is_nan()) {
            return propagate::<F>(&[x, y], env, flags);
        }
        if any_signals {
            *flags |= Flags::INVALID;
        }
        return if x.is_nan() {
            as_used::<F>(b, &y)
        } else {
            as_used::<F>(a, &x)
        };
    }
    note(&[x, y], flags);
    let order = order(&x, &y).then_with(|| y.sign.cmp(&x.sign));
    if order == which.wanted() {
        as_used::<F>(a, &x)
    } else {
        as_used::<F>(b, &y)
    }
}

/// An operand that is the result: itself, or the zero it was taken for.
fn as_used<F: Format>(bits: F::Bits, parts: &Parts<F::Word>) -> F::Bits {
    if parts.kind == Kind::Zero {
        zero::<F>(parts.sign)
    } else {
        bits
    }
}

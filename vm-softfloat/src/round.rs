//! RoundingDirection and encoding of results (IEEE 754-2019, 4.3 and 7.4 to 7.6).

use crate::env::{Env, FlushResults, RoundingDirection, Tininess, X87Precision};
use crate::flags::Flags;
use crate::format::{Format, assemble, infinity, zero};
use crate::significand::{Significand, Word};

/// A significand cut to fewer bits.
pub(crate) struct Cut<W> {
    /// The kept bits, perhaps with a carry above them.
    pub(crate) kept: W,
    pub(crate) inexact: bool,
    pub(crate) increased: bool,
}

/// Rounds away the low `drop` bits of `sig`, `1 <= drop < width`.
#[inline]
pub(crate) fn cut<W: Word>(sig: W, drop: u32, sign: bool, rounding: RoundingDirection) -> Cut<W> {
    let half = W::ONE << (drop - 1);
    let rest = sig & ((W::ONE << drop) - W::ONE);
    let kept = sig >> drop;
    let inexact = rest != W::ZERO;
    let increased = match rounding {
        RoundingDirection::NearestEven => rest > half || (rest == half && kept.low_u32() & 1 != 0),
        RoundingDirection::NearestAway => rest >= half,
        RoundingDirection::TowardZero => false,
        RoundingDirection::Down => sign && inexact,
        RoundingDirection::Up => !sign && inexact,
        RoundingDirection::Odd => inexact && kept.low_u32() & 1 == 0,
    };
    Cut {
        kept: if increased { kept + W::ONE } else { kept },
        inexact,
        increased,
    }
}

/// Rounds `sig / 2^(width - 1) * 2^exp`, `sig` normalised, to `F` and encodes it.
#[inline]
pub(crate) fn round_pack<F: Format>(
    sign: bool,
    exp: i32,
    sig: F::Word,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    round_to_precision::<F>(sign, exp, sig, F::PRECISION, env, flags)
}

/// As [`round_pack`], but honours the x87 rounding precision.
#[inline]
pub(crate) fn round_pack_arithmetic<F: Format>(
    sign: bool,
    exp: i32,
    sig: F::Word,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let precision = match env.precision {
        X87Precision::Single if F::EXPLICIT_INTEGER_BIT => 24,
        X87Precision::Double if F::EXPLICIT_INTEGER_BIT => 53,
        _ => F::PRECISION,
    };
    round_to_precision::<F>(sign, exp, sig, precision, env, flags)
}

#[inline]
fn round_to_precision<F: Format>(
    sign: bool,
    exp: i32,
    sig: F::Word,
    precision: u32,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    if exp < F::EMIN {
        return round_tiny::<F>(sign, exp, sig, precision, env, flags);
    }
    let Cut {
        kept,
        inexact,
        increased,
    } = cut(sig, F::Word::BITS - precision, sign, env.rounding);
    // A carry leaves a power of two, whose low bits are zero either way.
    let carry = (kept >> precision).low_u32();
    let exp = exp + carry as i32;
    if exp > F::EMAX {
        return overflow::<F>(sign, precision, env.rounding, flags);
    }
    if inexact {
        *flags |= Flags::INEXACT;
        if increased {
            *flags |= Flags::ROUNDED_UP;
        }
    }
    let significand = (kept >> carry) << (F::PRECISION - precision);
    assemble::<F>(sign, (exp + F::EMAX) as u32, significand)
}

/// The result for a value beyond the largest finite one (IEEE 754-2019, 7.4).
#[cold]
fn overflow<F: Format>(
    sign: bool,
    precision: u32,
    rounding: RoundingDirection,
    flags: &mut Flags,
) -> F::Bits {
    *flags |= Flags::OVERFLOW | Flags::INEXACT;
    let to_infinity = match rounding {
        RoundingDirection::NearestEven | RoundingDirection::NearestAway => true,
        RoundingDirection::TowardZero | RoundingDirection::Odd => false,
        RoundingDirection::Down => sign,
        RoundingDirection::Up => !sign,
    };
    if to_infinity {
        *flags |= Flags::ROUNDED_UP;
        return infinity::<F>(sign);
    }
    let ones = (F::Word::ONE << precision) - F::Word::ONE;
    assemble::<F>(
        sign,
        F::EXPONENT_ONES - 1,
        ones << (F::PRECISION - precision),
    )
}

/// The result for a value below the smallest normal one (IEEE 754-2019, 7.5).
#[cold]
fn round_tiny<F: Format>(
    sign: bool,
    exp: i32,
    sig: F::Word,
    precision: u32,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    if env.flush == FlushResults::BeforeRounding {
        *flags |= Flags::UNDERFLOW;
        return zero::<F>(sign);
    }
    let drop = F::Word::BITS - precision;
    // Only a value just below the threshold can reach it by rounding with an unbounded exponent.
    let reaches_normal =
        exp == F::EMIN - 1 && cut(sig, drop, sign, env.rounding).kept >> precision != F::Word::ZERO;
    let tiny = env.tininess == Tininess::BeforeRounding || !reaches_normal;
    if env.flush == FlushResults::AfterRounding && !reaches_normal {
        *flags |= Flags::UNDERFLOW | Flags::INEXACT;
        return zero::<F>(sign);
    }
    let shifted = sig.right_jam(F::EMIN.abs_diff(exp));
    let Cut {
        kept,
        inexact,
        increased,
    } = cut(shifted, drop, sign, env.rounding);
    if inexact {
        *flags |= Flags::INEXACT;
        if increased {
            *flags |= Flags::ROUNDED_UP;
        }
    }
    if tiny && (inexact || env.underflow_when_exact) {
        *flags |= Flags::UNDERFLOW;
    }
    let biased = (kept >> (precision - 1)).low_u32();
    assemble::<F>(sign, biased, kept << (F::PRECISION - precision))
}

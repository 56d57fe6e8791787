//! Between floating point and integers (IEEE 754-2019, 5.4.1, 5.8 and 5.9).

use crate::arith::note;
use crate::env::{Env, IntegerRule, RoundingDirection};
use crate::flags::Flags;
use crate::format::{Format, Kind, Parts, infinity, unpack, zero};
use crate::nan::propagate;
use crate::round::{Cut, cut, round_pack};
use crate::significand::{Significand, Word};

/// An integer type of a guest.
pub trait Integer: Copy + sealed::Sealed {
    /// Smallest value.
    const LOWEST: Self;
    /// Largest value.
    const HIGHEST: Self;
    /// What x86 delivers for an invalid conversion.
    const INDEFINITE: Self;
    /// Zero.
    const ZERO: Self;
    /// Largest magnitude of a negative value, then of a positive one.
    const LIMITS: [u64; 2];
    /// From sign and magnitude, which is within the limits.
    fn from_magnitude(negative: bool, magnitude: u64) -> Self;
    /// To sign and magnitude.
    fn magnitude(self) -> (bool, u64);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! integers {
    ($($type:ty, $indefinite:expr;)*) => {$(
        impl sealed::Sealed for $type {}

        impl Integer for $type {
            const LOWEST: Self = Self::MIN;
            const HIGHEST: Self = Self::MAX;
            const INDEFINITE: Self = $indefinite;
            const ZERO: Self = 0;
            const LIMITS: [u64; 2] = [(Self::MIN as i128).unsigned_abs() as u64, Self::MAX as u64];

            #[inline]
            fn from_magnitude(negative: bool, magnitude: u64) -> Self {
                (if negative { magnitude.wrapping_neg() } else { magnitude }) as Self
            }

            #[inline]
            fn magnitude(self) -> (bool, u64) {
                let value = i128::from(self);
                (value < 0, value.unsigned_abs() as u64)
            }
        }
    )*};
}

integers! {
    i16, i16::MIN;
    u16, u16::MAX;
    i32, i32::MIN;
    u32, u32::MAX;
    i64, i64::MIN;
    u64, u64::MAX;
}

/// The integer nearest to `a` in the environment's rounding direction.
///
/// NaNs, infinities and what rounds to a value outside `T` raise INVALID alone and give what [`Env::integer`] says;
/// otherwise an inexact conversion raises INEXACT. A subnormal never raises DENORMAL by
/// [`crate::Subnormals::KeepAndFlag`], as x86 has it.
#[inline]
pub fn to_int<F: Format, T: Integer>(a: F::Bits, env: &Env, flags: &mut Flags) -> T {
    to_fixed::<F, T>(a, 0, env, flags)
}

/// As [`to_int`], of `a * 2^fraction_bits` (Arm `FCVTZS` to fixed point).
pub fn to_fixed<F: Format, T: Integer>(
    a: F::Bits,
    fraction_bits: u32,
    env: &Env,
    flags: &mut Flags,
) -> T {
    let x = unpack::<F>(a, env, flags);
    match x.kind {
        Kind::Zero => return T::ZERO,
        Kind::Finite => {}
        _ => return out_of_range::<F, T>(&x, env, flags),
    }
    let exp = x.exp + fraction_bits as i32;
    if exp > 63 {
        return out_of_range::<F, T>(&x, env, flags);
    }
    let fixed = x.sig.to_top128().right_jam(63u32.wrapping_sub_signed(exp));
    let Cut {
        kept,
        inexact,
        increased,
    } = cut(fixed, 64, x.sign, env.rounding);
    let limit = T::LIMITS[usize::from(!x.sign)];
    if kept > u128::from(limit) {
        return out_of_range::<F, T>(&x, env, flags);
    }
    if inexact {
        *flags |= Flags::INEXACT;
        if increased {
            *flags |= Flags::ROUNDED_UP;
        }
    }
    T::from_magnitude(x.sign, kept as u64)
}

#[cold]
fn out_of_range<F: Format, T: Integer>(x: &Parts<F::Word>, env: &Env, flags: &mut Flags) -> T {
    *flags |= Flags::INVALID;
    match env.integer {
        IntegerRule::Indefinite => T::INDEFINITE,
        IntegerRule::SaturateNanZero if x.is_nan() => T::ZERO,
        IntegerRule::SaturateNanHigh if x.is_nan() => T::HIGHEST,
        _ if x.sign => T::LOWEST,
        _ => T::HIGHEST,
    }
}

/// `a` truncated to an integer, modulo 2^32; NaN and infinity give zero. Flags as [`to_int`] to `i32` towards zero
/// raises them. RISC-V Zfa `fcvtmod.w.d`, Arm `FJCVTZS`.
pub fn to_i32_modular<F: Format>(a: F::Bits, env: &Env, flags: &mut Flags) -> i32 {
    to_int::<F, i32>(a, &env.with_rounding(RoundingDirection::TowardZero), flags);
    let x = unpack::<F>(a, env, &mut Flags::NONE.clone());
    if x.kind != Kind::Finite {
        return 0;
    }
    let sig = x.sig.to_top128();
    let magnitude = match x.exp {
        ..0 => 0,
        0..128 => (sig >> (127 - x.exp)) as u32,
        128..160 => (sig << (x.exp - 127)) as u32,
        _ => 0,
    };
    (if x.sign {
        magnitude.wrapping_neg()
    } else {
        magnitude
    }) as i32
}

/// The floating-point value nearest to `value`.
#[inline]
pub fn from_int<F: Format, T: Integer>(value: T, env: &Env, flags: &mut Flags) -> F::Bits {
    from_fixed::<F, T>(value, 0, env, flags)
}

/// The floating-point value nearest to `value / 2^fraction_bits` (Arm `SCVTF` from fixed point).
pub fn from_fixed<F: Format, T: Integer>(
    value: T,
    fraction_bits: u32,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let (sign, magnitude) = value.magnitude();
    if magnitude == 0 {
        return zero::<F>(false);
    }
    let zeros = magnitude.leading_zeros();
    let sig = F::Word::from_top128(u128::from(magnitude << zeros) << 64);
    let exp = 63u32.wrapping_sub(zeros).wrapping_sub(fraction_bits) as i32;
    round_pack::<F>(sign, exp, sig, env, flags)
}

/// `a` rounded to an integral value in the environment's direction; the sign survives. INEXACT is raised only if
/// `raise_inexact`. RISC-V Zfa `fround` and `froundnx`, Arm `FRINT*`, x86 `ROUNDSD` and `FRNDINT`.
///
/// By [`crate::Subnormals::KeepAndFlag`] a subnormal raises DENORMAL only if it is an [`crate::F80`]: `FRNDINT` does,
/// `ROUNDSD` does not (Intel SDM 2).
pub fn round_to_integral<F: Format>(
    a: F::Bits,
    raise_inexact: bool,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let x = unpack::<F>(a, env, flags);
    match x.kind {
        Kind::Zero => return zero::<F>(x.sign),
        Kind::Infinite => return infinity::<F>(x.sign),
        Kind::Finite => {}
        _ => return propagate::<F>(&[x], env, flags),
    }
    if x.exp >= F::PRECISION as i32 - 1 {
        return a;
    }
    if F::EXPLICIT_INTEGER_BIT {
        note(&[x], flags);
    }
    // Two to the power `drop` units of the word's last place are one.
    let (sig, drop) = if x.exp < 0 {
        // Below one: half, or a trace, of a unit in a place that the word has.
        (x.sig.right_jam(x.exp.unsigned_abs()), F::Word::BITS - 1)
    } else {
        (x.sig, F::Word::BITS - 1 - x.exp.unsigned_abs())
    };
    let Cut {
        kept,
        inexact,
        increased,
    } = cut(sig, drop, x.sign, env.rounding);
    if inexact && raise_inexact {
        *flags |= Flags::INEXACT;
        if increased {
            *flags |= Flags::ROUNDED_UP;
        }
    }
    if kept == F::Word::ZERO {
        return zero::<F>(x.sign);
    }
    let zeros = kept.zeros_above();
    let exp = F::Word::BITS as i32 - 1 - zeros as i32;
    round_pack::<F>(x.sign, exp, kept.left(zeros), env, &mut Flags::NONE.clone())
}

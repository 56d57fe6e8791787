//! Fused multiply-add (IEEE 754-2019, 5.4.1): one rounding.

use crate::arith::{note, sum, sum_of_zeros};
use crate::env::{Env, NanRule, RoundingDirection};
use crate::flags::Flags;
use crate::format::{Format, Kind, Parts, infinity, unpack, zero};
use crate::nan::{default_nan, invalid, propagate};
use crate::round::round_pack_arithmetic;
use crate::significand::{Significand, Word};

/// Negations inside a fused multiply-add. They leave NaN operands alone; a guest that negates those too (Arm) flips the
/// operands' signs instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Negate {
    /// Negate the product.
    pub product: bool,
    /// Negate the addend.
    pub addend: bool,
}

/// `a * b + c`.
///
/// Infinity times zero is invalid even if `c` is a quiet NaN, except by [`NanRule::FirstOperand`] and
/// [`NanRule::LargerSignificand`], where `c` then comes out silently.
#[inline]
pub fn mul_add<F: Format>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    mul_add_negated::<F>(a, b, c, Negate::default(), env, flags)
}

/// `±(a * b) ± c`, as `negate` says.
pub fn mul_add_negated<F: Format>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    negate: Negate,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    let mut z = unpack::<F>(c, env, flags);
    if x.is_nan() || y.is_nan() || z.is_nan() {
        return nan::<F>(x, y, z, env, flags);
    }
    let sign = x.sign ^ y.sign ^ negate.product;
    z.sign ^= negate.addend;
    if x.kind == Kind::Infinite || y.kind == Kind::Infinite {
        let undefined = x.kind == Kind::Zero
            || y.kind == Kind::Zero
            || (z.kind == Kind::Infinite && z.sign != sign);
        if undefined {
            return invalid::<F>(env, flags);
        }
        note(&[x, y, z], flags);
        return infinity::<F>(sign);
    }
    note(&[x, y, z], flags);
    let product_is_zero = x.kind == Kind::Zero || y.kind == Kind::Zero;
    match z.kind {
        Kind::Infinite => infinity::<F>(z.sign),
        Kind::Zero if product_is_zero => zero::<F>(sum_of_zeros(sign, z.sign, env.rounding)),
        _ if product_is_zero => round_pack_arithmetic::<F>(z.sign, z.exp, z.sig, env, flags),
        _ => {
            let wide = x.sig.times(y.sig);
            let zeros = wide.zeros_above();
            let product = (sign, x.exp + y.exp + 1 - zeros as i32, wide.left(zeros));
            let total = if z.kind == Kind::Zero {
                Some(product)
            } else {
                sum(product, (z.sign, z.exp, z.sig.widen()))
            };
            match total {
                Some((sign, exp, sig)) => {
                    let sig = F::Word::from_wide(sig);
                    round_pack_arithmetic::<F>(sign, exp, sig, env, flags)
                }
                None => zero::<F>(env.rounding == RoundingDirection::Down),
            }
        }
    }
}

#[cold]
fn nan<F: Format>(
    x: Parts<F::Word>,
    y: Parts<F::Word>,
    z: Parts<F::Word>,
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let undefined_product = matches!(
        (x.kind, y.kind),
        (Kind::Infinite, Kind::Zero) | (Kind::Zero, Kind::Infinite)
    );
    match env.nan {
        NanRule::Canonical | NanRule::SignalingFirst => {
            if undefined_product {
                *flags |= Flags::INVALID;
                if !z.signals() {
                    return default_nan::<F>(env);
                }
            }
            propagate::<F>(&[z, x, y], env, flags)
        }
        NanRule::FirstOperand | NanRule::LargerSignificand => {
            propagate::<F>(&[x, y, z], env, flags)
        }
    }
}

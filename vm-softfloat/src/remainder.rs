//! Remainders (IEEE 754-2019, 5.3.1) and scaling by powers of two (5.3.3).

use crate::arith::note;
use crate::env::Env;
use crate::flags::Flags;
use crate::format::{Format, Kind, unpack, zero};
use crate::nan::{invalid, propagate};
use crate::round::round_pack;
use crate::significand::Significand;

/// Which integer quotient a remainder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotientRounding {
    /// The one towards zero: C `fmod`, x87 `FPREM`.
    Truncated,
    /// The nearest one, ties to even: IEEE `remainder`, x87 `FPREM1`.
    Nearest,
}

/// `a - b * n` for the integer `n` that `rounding` chooses, exactly, and the low 64 bits of `|n|`. A zero has the sign
/// of `a`.
///
/// It takes one step for each power of two between the operands: a guest instruction that must not take 32 thousand of
/// them (`FPREM`) scales `b` up first.
pub fn remainder<F: Format>(
    a: F::Bits,
    b: F::Bits,
    rounding: QuotientRounding,
    env: &Env,
    flags: &mut Flags,
) -> (F::Bits, u64) {
    let (x, y) = (unpack::<F>(a, env, flags), unpack::<F>(b, env, flags));
    if x.is_nan() || y.is_nan() {
        return (propagate::<F>(&[x, y], env, flags), 0);
    }
    if x.kind == Kind::Infinite || y.kind == Kind::Zero {
        return (invalid::<F>(env, flags), 0);
    }
    note(&[x, y], flags);
    if x.kind == Kind::Zero {
        return (zero::<F>(x.sign), 0);
    }
    let distance = x.exp - y.exp;
    if y.kind == Kind::Infinite || distance < -1 {
        return (round_pack::<F>(x.sign, x.exp, x.sig, env, flags), 0);
    }
    // Guard bits make room for one doubling, and for halving the lesser operand.
    let divisor = y.sig >> 2;
    let mut rest = if distance < 0 { x.sig >> 3 } else { x.sig >> 2 };
    let mut quotient = 0u64;
    for step in 0..=distance.max(0) {
        if step > 0 {
            rest = rest << 1;
        }
        quotient <<= 1;
        if rest >= divisor {
            rest = rest - divisor;
            quotient |= 1;
        }
    }
    let mut sign = x.sign;
    if rounding == QuotientRounding::Nearest {
        let twice = rest << 1;
        if twice > divisor || (twice == divisor && quotient & 1 != 0) {
            rest = divisor - rest;
            sign = !sign;
            quotient = quotient.wrapping_add(1);
        }
    }
    if rest == F::Word::ZERO {
        return (zero::<F>(x.sign), quotient);
    }
    let zeros = rest.zeros_above();
    let exp = y.exp + 2 - zeros as i32;
    (
        round_pack::<F>(sign, exp, rest.left(zeros), env, flags),
        quotient,
    )
}

/// `a * 2^power`, rounded once (x87 `FSCALE` by a truncated operand).
pub fn scale<F: Format>(a: F::Bits, power: i32, env: &Env, flags: &mut Flags) -> F::Bits {
    let x = unpack::<F>(a, env, flags);
    if x.is_nan() {
        return propagate::<F>(&[x], env, flags);
    }
    if x.kind != Kind::Finite {
        return a;
    }
    note(&[x], flags);
    // Further away than any format reaches, every power gives the same result.
    let exp = x.exp + power.clamp(-0x2_0000, 0x2_0000);
    round_pack::<F>(x.sign, exp, x.sig, env, flags)
}

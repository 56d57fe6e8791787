//! Which NaN comes out (IEEE 754-2019, 6.2).

use crate::env::{Env, NanRule};
use crate::flags::Flags;
use crate::format::{Format, Kind, Parts, assemble};
use crate::significand::Word;

/// The NaN of an operation that has none among its operands.
pub(crate) fn default_nan<F: Format>(env: &Env) -> F::Bits {
    let negative = matches!(env.nan, NanRule::FirstOperand | NanRule::LargerSignificand);
    let (one, top) = (F::Word::ONE, F::PRECISION - 1);
    assemble::<F>(negative, F::EXPONENT_ONES, one << top | one << (top - 1))
}

/// Raises INVALID and delivers the default NaN.
#[cold]
pub(crate) fn invalid<F: Format>(env: &Env, flags: &mut Flags) -> F::Bits {
    *flags |= Flags::INVALID;
    default_nan::<F>(env)
}

/// The operand itself with its quiet bit set.
pub(crate) fn quieted<F: Format>(nan: &Parts<F::Word>) -> F::Bits {
    let quiet = F::Word::ONE << (F::PRECISION - 2);
    assemble::<F>(nan.sign, F::EXPONENT_ONES, nan.sig >> F::GUARD_BITS | quiet)
}

/// The NaN for `operands`, at least one of which is a NaN. A rule that goes by order takes the slice's order.
#[cold]
pub(crate) fn propagate<F: Format>(
    operands: &[Parts<F::Word>],
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    if operands.iter().any(Parts::signals) {
        *flags |= Flags::INVALID;
    }
    if operands
        .iter()
        .any(|operand| operand.kind == Kind::Unsupported)
    {
        return default_nan::<F>(env);
    }
    let mut nans = operands.iter().filter(|operand| operand.is_nan());
    let chosen = match env.nan {
        NanRule::Canonical => None,
        NanRule::FirstOperand => nans.next(),
        NanRule::SignalingFirst => operands
            .iter()
            .find(|nan| nan.signals())
            .or_else(|| nans.next()),
        NanRule::LargerSignificand => nans.reduce(larger::<F>),
    };
    chosen.map_or_else(|| default_nan::<F>(env), quieted::<F>)
}

/// The x87 choice: quiet before signalling, then the larger significand, then the positive one.
fn larger<'a, F: Format>(a: &'a Parts<F::Word>, b: &'a Parts<F::Word>) -> &'a Parts<F::Word> {
    let rank = |nan: &Parts<F::Word>| (nan.kind == Kind::QuietNan, nan.sig, !nan.sign);
    if rank(b) > rank(a) { b } else { a }
}

/// NaN `nan` of format `F` as one of format `G`: quieted, the payload aligned at its top.
#[cold]
pub(crate) fn convert_nan<F: Format, G: Format>(
    nan: &Parts<F::Word>,
    env: &Env,
    flags: &mut Flags,
) -> G::Bits {
    if nan.signals() {
        *flags |= Flags::INVALID;
    }
    if env.nan == NanRule::Canonical || nan.kind == Kind::Unsupported {
        return default_nan::<G>(env);
    }
    // What the narrower format lacks, a jammed bit included, falls out below.
    let sig = G::Word::from_top128(nan.sig.to_top128());
    let quiet = G::Word::ONE << (G::PRECISION - 2);
    assemble::<G>(nan.sign, G::EXPONENT_ONES, sig >> G::GUARD_BITS | quiet)
}

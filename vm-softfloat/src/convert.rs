//! Between formats (IEEE 754-2019, 5.4.2).

use crate::arith::note;
use crate::env::Env;
use crate::flags::Flags;
use crate::format::{Format, Kind, infinity, unpack, zero};
use crate::nan::convert_nan;
use crate::round::round_pack;
use crate::significand::Word;

/// `a` of format `F` as a value of format `G`, rounded if it must be. A NaN keeps the top of its payload unless the rule
/// is [`crate::NanRule::Canonical`], and becomes quiet, a signalling one raising INVALID.
///
/// By [`crate::Subnormals::KeepAndFlag`] a subnormal raises DENORMAL unless it is an [`crate::F80`]: x87 loads do,
/// stores do not (Intel SDM 2, FLD and FST). F16C ignores FTZ, DAZ and DE where half precision is concerned: give it
/// [`crate::Subnormals::Keep`] for half operands and [`crate::FlushResults::Never`] for half results.
pub fn convert<F: Format, G: Format>(a: F::Bits, env: &Env, flags: &mut Flags) -> G::Bits {
    let x = unpack::<F>(a, env, flags);
    match x.kind {
        Kind::Finite => {
            if !F::EXPLICIT_INTEGER_BIT {
                note(&[x], flags);
            }
            round_pack::<G>(
                x.sign,
                x.exp,
                G::Word::from_top128(x.sig.to_top128()),
                env,
                flags,
            )
        }
        Kind::Zero => zero::<G>(x.sign),
        Kind::Infinite => infinity::<G>(x.sign),
        _ => convert_nan::<F, G>(&x, env, flags),
    }
}

//! The formats, and taking their encodings apart.

use crate::env::{Env, Subnormals};
use crate::flags::Flags;
use crate::significand::{Significand, Word};

/// A binary floating-point format. Its values travel as encodings in [`Format::Bits`].
pub trait Format: sealed::Sealed {
    /// Integer that holds an encoding.
    type Bits: Copy + Eq + core::fmt::Debug + core::fmt::LowerHex;
    /// Word that arithmetic on this format computes in.
    type Word: Word;
    /// Width of the exponent field.
    const EXPONENT_BITS: u32;
    /// Significant bits, the integer bit included.
    const PRECISION: u32;
    /// The integer bit is stored (x87).
    const EXPLICIT_INTEGER_BIT: bool;

    /// Encoding to word.
    fn widen(bits: Self::Bits) -> Self::Word;
    /// Word to encoding.
    fn narrow(word: Self::Word) -> Self::Bits;

    /// Largest exponent of a finite value.
    const EMAX: i32 = (1 << (Self::EXPONENT_BITS - 1)) - 1;
    /// Exponent of the smallest normal value.
    const EMIN: i32 = 1 - Self::EMAX;
    /// Width of the significand field.
    const FIELD_BITS: u32 = Self::PRECISION - 1 + Self::EXPLICIT_INTEGER_BIT as u32;
    /// Biased exponent of infinities and NaNs.
    const EXPONENT_ONES: u32 = (1 << Self::EXPONENT_BITS) - 1;
    /// Guard bits below a significand aligned to the top of its word.
    const GUARD_BITS: u32 = <Self::Word as Significand>::BITS - Self::PRECISION;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident: $bits:ty, $word:ty, $exponent:literal, $precision:literal, $explicit:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl Format for $name {
            type Bits = $bits;
            type Word = $word;
            const EXPONENT_BITS: u32 = $exponent;
            const PRECISION: u32 = $precision;
            const EXPLICIT_INTEGER_BIT: bool = $explicit;

            #[inline]
            fn widen(bits: $bits) -> $word {
                <$word>::from(bits)
            }

            #[inline]
            fn narrow(word: $word) -> $bits {
                word as $bits
            }
        }
    )*};
}

formats! {
    /// binary16 (IEEE 754-2019, 3.6).
    F16: u16, u64, 5, 11, false;
    /// bfloat16: the upper half of a binary32.
    Bf16: u16, u64, 8, 8, false;
    /// binary32.
    F32: u32, u64, 8, 24, false;
    /// binary64.
    F64: u64, u64, 11, 53, false;
    /// x87 double extended in the low 80 bits of its encoding; the others are ignored and come out as zero (Intel SDM 1,
    /// 4.2.2). Unnormals, pseudo-NaNs and pseudo-infinities are invalid operands, pseudo-denormals are valid ones.
    F80: u128, u128, 15, 64, true;
    /// binary128.
    F128: u128, u128, 15, 113, false;
}

/// What an encoding stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Zero,
    /// Nonzero, with its significand normalised even if the encoding is subnormal.
    Finite,
    Infinite,
    QuietNan,
    SignalingNan,
    /// An x87 encoding that no operation accepts.
    Unsupported,
}

/// An encoding taken apart. A finite value is `sig / 2^(width - 1) * 2^exp`; a NaN's `sig` is laid out the same way, its
/// quiet bit second from the top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<W> {
    pub(crate) kind: Kind,
    pub(crate) sign: bool,
    /// Subnormal, and the environment wants that noted.
    pub(crate) noted: bool,
    pub(crate) exp: i32,
    pub(crate) sig: W,
}

impl<W: Word> Parts<W> {
    pub(crate) fn is_nan(&self) -> bool {
        matches!(
            self.kind,
            Kind::QuietNan | Kind::SignalingNan | Kind::Unsupported
        )
    }

    /// Whether computing with it is an invalid operation whatever the others are (IEEE 754-2019, 7.2 a).
    pub(crate) fn signals(&self) -> bool {
        matches!(self.kind, Kind::SignalingNan | Kind::Unsupported)
    }
}

/// Takes `bits` apart, flushing subnormals as `env` says.
#[inline]
pub(crate) fn unpack<F: Format>(bits: F::Bits, env: &Env, flags: &mut Flags) -> Parts<F::Word> {
    let word = F::widen(bits);
    let one = F::Word::ONE;
    let sign = word >> (F::FIELD_BITS + F::EXPONENT_BITS) & one != F::Word::ZERO;
    let biased = (word >> F::FIELD_BITS).low_u32() & F::EXPONENT_ONES;
    let field = word & ((one << F::FIELD_BITS) - one);
    let integer = one << (F::PRECISION - 1);
    let fraction = field & (integer - one);
    let mut parts = Parts {
        kind: Kind::Finite,
        sign,
        noted: false,
        exp: biased as i32 - F::EMAX,
        sig: (fraction | integer) << F::GUARD_BITS,
    };
    if biased == 0 {
        if field == F::Word::ZERO {
            parts.kind = Kind::Zero;
        } else {
            unpack_subnormal::<F>(&mut parts, field, env, flags);
        }
    } else if F::EXPLICIT_INTEGER_BIT && field & integer == F::Word::ZERO {
        parts.kind = Kind::Unsupported;
    } else if biased == F::EXPONENT_ONES {
        parts.kind = if fraction == F::Word::ZERO {
            Kind::Infinite
        } else if fraction & integer >> 1 != F::Word::ZERO {
            Kind::QuietNan
        } else {
            Kind::SignalingNan
        };
    }
    parts
}

#[cold]
fn unpack_subnormal<F: Format>(
    parts: &mut Parts<F::Word>,
    field: F::Word,
    env: &Env,
    flags: &mut Flags,
) {
    let aligned = field << F::GUARD_BITS;
    parts.exp = F::EMIN - aligned.zeros_above() as i32;
    parts.sig = aligned.left(aligned.zeros_above());
    match env.subnormals {
        Subnormals::Keep => {}
        Subnormals::KeepAndFlag => parts.noted = true,
        Subnormals::Zero => parts.kind = Kind::Zero,
        Subnormals::ZeroAndFlag => {
            parts.kind = Kind::Zero;
            *flags |= Flags::DENORMAL;
        }
    }
}

/// Puts fields together. `significand` has the format's precision, the integer bit included.
#[inline]
pub(crate) fn assemble<F: Format>(sign: bool, biased: u32, significand: F::Word) -> F::Bits {
    let sign = F::Word::from_u32(sign.into()) << (F::FIELD_BITS + F::EXPONENT_BITS);
    let field = significand & ((F::Word::ONE << F::FIELD_BITS) - F::Word::ONE);
    F::narrow(sign | F::Word::from_u32(biased) << F::FIELD_BITS | field)
}

/// A zero.
#[inline]
pub(crate) fn zero<F: Format>(sign: bool) -> F::Bits {
    assemble::<F>(sign, 0, F::Word::ZERO)
}

/// An infinity.
#[inline]
pub(crate) fn infinity<F: Format>(sign: bool) -> F::Bits {
    assemble::<F>(sign, F::EXPONENT_ONES, F::Word::ONE << (F::PRECISION - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<F: Format>(bits: F::Bits) -> Kind {
        unpack::<F>(bits, &Env::default(), &mut Flags::NONE.clone()).kind
    }

    #[test]
    fn unpack_f80_tells_the_odd_encodings_apart() {
        const INTEGER: u128 = 1 << 63;
        for (exponent, field, expected) in [
            (0, 0, Kind::Zero),
            (0, 1, Kind::Finite),
            (0, INTEGER, Kind::Finite),
            (1, 0, Kind::Unsupported),
            (1, INTEGER, Kind::Finite),
            (0x7ffe, INTEGER - 1, Kind::Unsupported),
            (0x7fff, 0, Kind::Unsupported),
            (0x7fff, 1, Kind::Unsupported),
            (0x7fff, INTEGER, Kind::Infinite),
            (0x7fff, INTEGER | 1, Kind::SignalingNan),
            (0x7fff, INTEGER | 1 << 62, Kind::QuietNan),
        ] {
            assert_eq!(
                kind::<F80>(exponent << 64 | field),
                expected,
                "{exponent:x} {field:x}"
            );
        }
    }

    #[test]
    fn unpack_f80_pseudo_denormal_equals_the_normal_of_exponent_one() {
        let env = Env::default();
        let pseudo = unpack::<F80>(1 << 63, &env, &mut Flags::NONE.clone());
        let normal = unpack::<F80>(1 << 64 | 1 << 63, &env, &mut Flags::NONE.clone());
        assert_eq!((pseudo.exp, pseudo.sig), (normal.exp, normal.sig));
    }

    #[test]
    fn unpack_ignores_bits_above_an_f80() {
        assert_eq!(kind::<F80>(0xffff << 80), Kind::Zero);
    }
}

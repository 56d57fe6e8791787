//! Classification (IEEE 754-2019, 5.7.2).

use crate::env::Env;
use crate::flags::Flags;
use crate::format::{Format, Kind, unpack};
use crate::significand::Word;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Zero, by sign.
    Zero(bool),
    /// Subnormal, by sign; x87 pseudo-denormals too.
    Subnormal(bool),
    /// Normal, by sign.
    Normal(bool),
    /// Infinity, by sign.
    Infinite(bool),
    /// Signalling NaN.
    SignalingNan,
    /// Quiet NaN.
    QuietNan,
    /// An x87 encoding that is no operand (Intel SDM 1, 8.2.2).
    Unsupported,
}

impl Class {
    /// The result of RISC-V `fclass`: one bit of ten (RISC-V Unprivileged, F, "Floating-Point Classify Instruction").
    /// Zero for [`Class::Unsupported`], which no RISC-V format has.
    #[must_use]
    pub const fn riscv(self) -> u16 {
        match self {
            Self::Infinite(true) => 1 << 0,
            Self::Normal(true) => 1 << 1,
            Self::Subnormal(true) => 1 << 2,
            Self::Zero(true) => 1 << 3,
            Self::Zero(false) => 1 << 4,
            Self::Subnormal(false) => 1 << 5,
            Self::Normal(false) => 1 << 6,
            Self::Infinite(false) => 1 << 7,
            Self::SignalingNan => 1 << 8,
            Self::QuietNan => 1 << 9,
            Self::Unsupported => 0,
        }
    }
}

/// The class of `a`, whatever the environment. No exception.
#[must_use]
pub fn classify<F: Format>(a: F::Bits) -> Class {
    let x = unpack::<F>(a, &Env::default(), &mut Flags::NONE.clone());
    let biased = (F::widen(a) >> F::FIELD_BITS).low_u32() & F::EXPONENT_ONES;
    match x.kind {
        Kind::Zero => Class::Zero(x.sign),
        Kind::Finite if biased == 0 => Class::Subnormal(x.sign),
        Kind::Finite => Class::Normal(x.sign),
        Kind::Infinite => Class::Infinite(x.sign),
        Kind::QuietNan => Class::QuietNan,
        Kind::SignalingNan => Class::SignalingNan,
        Kind::Unsupported => Class::Unsupported,
    }
}

/// True for any NaN.
#[must_use]
pub fn is_nan<F: Format>(a: F::Bits) -> bool {
    matches!(classify::<F>(a), Class::QuietNan | Class::SignalingNan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{F32, F80};

    #[test]
    fn classify_f32_gives_each_fclass_bit() {
        for (bits, bit) in [
            (0xff80_0000, 0),
            (0xbf80_0000, 1),
            (0x807f_ffff, 2),
            (0x8000_0000, 3),
            (0x0000_0000, 4),
            (0x0000_0001, 5),
            (0x0080_0000, 6),
            (0x7f80_0000, 7),
            (0x7f80_0001, 8),
            (0xffc0_0000, 9),
        ] {
            assert_eq!(classify::<F32>(bits).riscv(), 1 << bit, "{bits:#x}");
        }
    }

    #[test]
    fn classify_f80_knows_pseudo_denormals_and_unnormals() {
        assert_eq!(classify::<F80>(1 << 63), Class::Subnormal(false));
        assert_eq!(classify::<F80>(1 << 64), Class::Unsupported);
    }
}

//! The environment of an operation: everything a control register decides.

/// How a result that does not fit is rounded (IEEE 754-2019, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum RoundingDirection {
    /// To the nearest, ties to even (RNE).
    #[default]
    NearestEven,
    /// Towards zero (RTZ).
    TowardZero,
    /// Towards negative infinity (RDN).
    Down,
    /// Towards positive infinity (RUP).
    Up,
    /// To the nearest, ties away from zero (RMM).
    NearestAway,
    /// Truncate, then set the last bit if anything was lost (Arm `FCVTXN`); never overflows to infinity.
    Odd,
}

impl RoundingDirection {
    /// RISC-V `rm` or `frm`; `None` for the reserved values and for DYN (RISC-V Unprivileged, F, "rounding modes").
    #[must_use]
    pub const fn from_riscv(rm: u8) -> Option<Self> {
        match rm {
            0 => Some(Self::NearestEven),
            1 => Some(Self::TowardZero),
            2 => Some(Self::Down),
            3 => Some(Self::Up),
            4 => Some(Self::NearestAway),
            _ => None,
        }
    }

    /// Arm `FPCR.RMode`, its low two bits (Arm ARM DDI 0487, FPCR).
    #[must_use]
    pub const fn from_arm(rmode: u8) -> Self {
        [Self::NearestEven, Self::Up, Self::Down, Self::TowardZero][(rmode & 3) as usize]
    }

    /// x86 rounding control `RC`, its low two bits (Intel SDM 1, 4.8.4).
    #[must_use]
    pub const fn from_x86(rc: u8) -> Self {
        [Self::NearestEven, Self::Down, Self::Up, Self::TowardZero][(rc & 3) as usize]
    }
}

/// When a result counts as tiny (IEEE 754-2019, 7.5 leaves the choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Tininess {
    /// Before rounding: Arm.
    BeforeRounding,
    /// After rounding as if the exponent had no bounds: RISC-V, x86.
    #[default]
    AfterRounding,
}

/// Which NaN an operation delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum NanRule {
    /// Always the positive default NaN: RISC-V (F, "NaN Generation and Propagation"), Arm with `FPCR.DN` = 1.
    #[default]
    Canonical,
    /// The first signalling operand, else the first quiet one, quieted (Arm ARM DDI 0487, `FPProcessNaNs`); in a fused
    /// multiply-add the addend comes first.
    SignalingFirst,
    /// The first operand that is a NaN, quieted; the default NaN is negative (Intel SDM 1, 4.8.3.5, SSE).
    FirstOperand,
    /// The NaN with the larger significand, a quiet one before a signalling one; the default NaN is negative (Intel SDM
    /// 1, 4.8.3.5, x87).
    LargerSignificand,
}

/// What becomes of subnormal operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Subnormals {
    /// Used as they are: RISC-V, Arm with `FPCR.FZ` = 0.
    #[default]
    Keep,
    /// Used as they are; arithmetic, comparisons and conversions between formats raise
    /// [`crate::Flags::DENORMAL`] unless a NaN operand, another invalid operation or a division by zero came first: x86
    /// with `DAZ` = 0 and x87 (Intel SDM 1, 4.9.2).
    KeepAndFlag,
    /// Taken for zero of the same sign, silently: x86 with `DAZ` = 1, Arm half precision with `FPCR.FZ16` = 1.
    Zero,
    /// Taken for zero of the same sign, raising [`crate::Flags::DENORMAL`]: Arm with `FPCR.FZ` = 1.
    ZeroAndFlag,
}

/// Whether tiny results become zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum FlushResults {
    /// Subnormal results are delivered.
    #[default]
    Never,
    /// Tiny before rounding: zero, UNDERFLOW alone (Arm ARM DDI 0487, `FPRound` with `FPCR.FZ` or `FZ16`).
    BeforeRounding,
    /// Tiny after rounding: zero, UNDERFLOW and INEXACT (Intel SDM 1, 10.2.3.3).
    AfterRounding,
}

/// What a conversion to integer delivers along with INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum IntegerRule {
    /// The nearest bound; NaN counts as positive infinity (RISC-V Unprivileged, F, "Domains of float-to-integer
    /// conversions").
    #[default]
    SaturateNanHigh,
    /// The nearest bound; NaN gives zero (Arm ARM DDI 0487, `FPToFixed`).
    SaturateNanZero,
    /// The integer indefinite: top bit alone if signed, all ones if unsigned (Intel SDM 1, 4.8.3.7; AVX-512).
    Indefinite,
}

/// RoundingDirection precision of x87 arithmetic, the `PC` field (Intel SDM 1, 8.1.5.2). Only [`crate::F80`] results of add,
/// sub, mul, div and sqrt look at it; the exponent range stays that of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum X87Precision {
    /// 24 bits.
    Single,
    /// 53 bits.
    Double,
    /// 64 bits.
    #[default]
    Extended,
}

/// Everything besides the operands that decides a result. [`Env::riscv`], [`Env::arm`], [`Env::sse`] and [`Env::x87`]
/// give each guest's rules after reset; adjust the fields to what its control register says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Env {
    /// Direction of rounding.
    pub rounding: RoundingDirection,
    /// Detection of tininess.
    pub tininess: Tininess,
    /// Choice of the NaN to deliver.
    pub nan: NanRule,
    /// Treatment of subnormal operands.
    pub subnormals: Subnormals,
    /// Treatment of tiny results.
    pub flush: FlushResults,
    /// Result of invalid conversions to integer.
    pub integer: IntegerRule,
    /// RoundingDirection precision of x87 arithmetic.
    pub precision: X87Precision,
    /// Raise UNDERFLOW for tiny results even if exact, as a guest that unmasked the underflow trap sees it (IEEE
    /// 754-2019, 7.5 and 8).
    pub underflow_when_exact: bool,
}

impl Env {
    /// RISC-V F, D, Q and Zfh rules (RISC-V Unprivileged, F).
    #[must_use]
    pub const fn riscv(rounding: RoundingDirection) -> Self {
        Self {
            rounding,
            tininess: Tininess::AfterRounding,
            nan: NanRule::Canonical,
            subnormals: Subnormals::Keep,
            flush: FlushResults::Never,
            integer: IntegerRule::SaturateNanHigh,
            precision: X87Precision::Extended,
            underflow_when_exact: false,
        }
    }

    /// AArch64 rules with `FPCR` DN, FZ, FZ16 and AH clear (Arm ARM DDI 0487, A1.5).
    #[must_use]
    pub const fn arm(rounding: RoundingDirection) -> Self {
        Self {
            tininess: Tininess::BeforeRounding,
            nan: NanRule::SignalingFirst,
            integer: IntegerRule::SaturateNanZero,
            ..Self::riscv(rounding)
        }
    }

    /// SSE and AVX rules with `MXCSR` FTZ and DAZ clear and all exceptions masked (Intel SDM 1, 11.5).
    #[must_use]
    pub const fn sse(rounding: RoundingDirection) -> Self {
        Self {
            nan: NanRule::FirstOperand,
            subnormals: Subnormals::KeepAndFlag,
            integer: IntegerRule::Indefinite,
            ..Self::riscv(rounding)
        }
    }

    /// x87 rules with all exceptions masked (Intel SDM 1, 8.5).
    #[must_use]
    pub const fn x87(rounding: RoundingDirection, precision: X87Precision) -> Self {
        Self {
            nan: NanRule::LargerSignificand,
            precision,
            ..Self::sse(rounding)
        }
    }

    /// The same rules with another rounding direction.
    #[must_use]
    pub const fn with_rounding(self, rounding: RoundingDirection) -> Self {
        Self { rounding, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_from_riscv_refuses_reserved_and_dynamic() {
        assert_eq!(
            RoundingDirection::from_riscv(4),
            Some(RoundingDirection::NearestAway)
        );
        assert_eq!((5..8).find_map(RoundingDirection::from_riscv), None);
    }

    #[test]
    fn rounding_from_arm_and_x86_differ_in_order() {
        assert_eq!(
            [0, 1, 2, 3].map(RoundingDirection::from_arm)[1],
            RoundingDirection::Up
        );
        assert_eq!(
            [0, 1, 2, 3].map(RoundingDirection::from_x86)[1],
            RoundingDirection::Down
        );
        assert_eq!(
            RoundingDirection::from_arm(3),
            RoundingDirection::from_x86(3)
        );
    }
}

//! Numbers of 128 significant bits, for functions whose results are rounded to 64.
//!
//! Operations cut; each keeps at least a hundred of the 128 bits.

use std::cmp::Ordering;

use vm_softfloat::{Env, F80, F128, Flags, convert};

/// A number: `significand / 2^127 * 2^exponent`, the significand's top bit set; or zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wide {
    negative: bool,
    exponent: i32,
    significand: u128,
}

impl Wide {
    pub(super) const ZERO: Self = Self::new(0, 0);
    pub(super) const ONE: Self = Self::new(0, 1 << 127);

    /// A positive number by its parts.
    pub(super) const fn new(exponent: i32, significand: u128) -> Self {
        Self {
            negative: false,
            exponent,
            significand,
        }
    }

    /// An integer.
    pub(super) const fn integer(value: i64) -> Self {
        let magnitude = value.unsigned_abs() as u128;
        Self {
            negative: value < 0,
            ..Self::normal(127, magnitude)
        }
    }

    /// A positive number whose significand has its top bit anywhere.
    const fn normal(exponent: i32, significand: u128) -> Self {
        if significand == 0 {
            return Self::ZERO;
        }
        let shift = significand.leading_zeros();
        Self::new(exponent - shift as i32, significand << shift)
    }

    /// A finite number of the format of registers, exactly.
    pub(super) fn from_f80(value: u128) -> Self {
        let field = ((value >> 64) as i32 & 0x7fff).max(1);
        Self {
            negative: value >> 79 & 1 != 0,
            ..Self::normal(field - 0x3fff, (value & u128::from(u64::MAX)) << 64)
        }
    }

    /// The number rounded to the format of registers, as one that lies a little beyond what is known of it.
    pub(super) fn to_f80(self, env: &Env, flags: &mut Flags) -> u128 {
        if self.significand == 0 {
            return u128::from(self.negative) << 79;
        }
        // The quadruple format has the same exponents, but not those of subnormal results: those are scaled.
        let sign = u128::from(self.negative) << 127;
        let fraction = self.significand << 1 >> 16 | 1;
        let biased = self.exponent + 0x3fff;
        if biased > 0 {
            let quadruple = sign | u128::from(biased.min(0x7ffe) as u32) << 112 | fraction;
            return convert::<F128, F80>(quadruple, env, flags);
        }
        let shift = (1 - biased).min(126) as u32;
        let subnormal = (1 << 112 | fraction >> 1 << 1) >> shift | 1;
        // Its own conversion must not count as that of a subnormal operand.
        let env = &Env {
            subnormals: vm_softfloat::Subnormals::Keep,
            ..*env
        };
        convert::<F128, F80>(sign | subnormal, env, flags)
    }

    pub(super) const fn is_zero(self) -> bool {
        self.significand == 0
    }

    pub(super) const fn is_negative(self) -> bool {
        self.negative
    }

    pub(super) const fn exponent(self) -> i32 {
        self.exponent
    }

    pub(super) const fn negate(self) -> Self {
        Self {
            negative: !self.negative,
            ..self
        }
    }

    pub(super) const fn magnitude(self) -> Self {
        Self {
            negative: false,
            ..self
        }
    }

    /// Times a power of two.
    pub(super) const fn scaled(self, power: i32) -> Self {
        Self {
            exponent: self.exponent + power,
            ..self
        }
    }

    pub(super) fn compare_magnitude(self, other: Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => (self.exponent, self.significand).cmp(&(other.exponent, other.significand)),
        }
    }

    pub(super) fn mul(self, other: Self) -> Self {
        let negative = self.negative != other.negative;
        if self.is_zero() || other.is_zero() {
            return Self {
                negative,
                ..Self::ZERO
            };
        }
        let high = high_product(self.significand, other.significand);
        Self {
            negative,
            ..Self::normal(self.exponent + other.exponent + 1, high)
        }
    }

    pub(super) fn add(self, other: Self) -> Self {
        let (large, small) = match self.compare_magnitude(other) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        let distance = (large.exponent - small.exponent) as u32;
        if small.is_zero() || distance > 127 {
            return large;
        }
        let aligned = small.significand >> distance;
        let sum = if large.negative == small.negative {
            let (sum, carry) = large.significand.overflowing_add(aligned);
            match carry {
                true => Self::new(large.exponent + 1, sum >> 1 | 1 << 127),
                false => Self::new(large.exponent, sum),
            }
        } else {
            Self::normal(large.exponent, large.significand - aligned)
        };
        Self {
            negative: large.negative && !sum.is_zero(),
            ..sum
        }
    }

    pub(super) fn sub(self, other: Self) -> Self {
        self.add(other.negate())
    }

    /// The quotient; the divisor is not zero.
    pub(super) fn div(self, other: Self) -> Self {
        let negative = self.negative != other.negative;
        if self.is_zero() {
            return Self { negative, ..self };
        }
        // One bit of the quotient a step.
        let (mut rest, divisor) = (self.significand >> 1, other.significand >> 1);
        let mut quotient = 0_u128;
        for _ in 0..128 {
            quotient <<= 1;
            if rest >= divisor {
                rest -= divisor;
                quotient |= 1;
            }
            rest <<= 1;
        }
        Self {
            negative,
            ..Self::normal(self.exponent - other.exponent, quotient)
        }
    }

    /// Divided by a small integer.
    pub(super) fn div_by(self, divisor: u32) -> Self {
        Self {
            negative: self.negative,
            ..Self::normal(self.exponent, self.significand / u128::from(divisor))
        }
    }
}

/// The high half of a product.
fn high_product(a: u128, b: u128) -> u128 {
    let (a1, a0) = (a >> 64, a & u128::from(u64::MAX));
    let (b1, b0) = (b >> 64, b & u128::from(u64::MAX));
    let middle =
        ((a0 * b0) >> 64) + ((a1 * b0) & u128::from(u64::MAX)) + ((a0 * b1) & u128::from(u64::MAX));
    a1 * b1 + ((a1 * b0) >> 64) + ((a0 * b1) >> 64) + (middle >> 64)
}

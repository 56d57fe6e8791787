//! Unsigned words that carry significands.
//!
//! A nonzero significand is kept with its leading one in the top bit; what lies below the format's precision is guard
//! bits. Every right shift "jams": bits that fall out set the lowest one, which keeps all later roundings correct.

use core::cmp::Ordering;
use core::ops::{Add, BitAnd, BitOr, Shl, Shr, Sub};

/// What addition with alignment needs, in single or double width.
pub trait Significand: Copy + Ord {
    /// Width.
    const BITS: u32;
    /// Nothing.
    const ZERO: Self;
    /// Number of zeros above the leading one.
    fn zeros_above(self) -> u32;
    /// `self + other`; the caller leaves room for the carry.
    fn plus(self, other: Self) -> Self;
    /// `self - other`, which is not negative.
    fn minus(self, other: Self) -> Self;
    /// Shift left by less than the width, losing only zeros.
    fn left(self, count: u32) -> Self;
    /// Shift right by any amount; lost ones set the lowest bit.
    fn right_jam(self, count: u32) -> Self;
}

/// A word a format computes in.
pub trait Word:
    Significand
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// The type of exact products.
    type Wide: Significand;
    /// One, the lowest bit.
    const ONE: Self;
    /// A small number.
    fn from_u32(value: u32) -> Self;
    /// The low 32 bits.
    fn low_u32(self) -> u32;
    /// Moved to the top of the double width.
    fn widen(self) -> Self::Wide;
    /// Top half of a wide value, jamming the lower one.
    fn from_wide(wide: Self::Wide) -> Self;
    /// The exact product.
    fn times(self, other: Self) -> Self::Wide;
    /// `numerator / divisor` as a fraction with its leading one in the top bit, jammed; both normalised and
    /// `numerator >= divisor`, or else the quotient is taken of `2 * numerator`. At least `bits` + 2 bits are exact.
    fn quotient(numerator: Self, divisor: Self, bits: u32) -> Self;
    /// Square root of `self`, or of `2 * self` if `doubled`, with its leading one in the top bit, jammed. `self` is a
    /// normalised fraction in [1, 2). At least `bits` + 2 bits are exact.
    fn root(self, doubled: bool, bits: u32) -> Self;
    /// Moved to the top of 128 bits.
    fn to_top128(self) -> u128;
    /// From the top of 128 bits, jammed.
    fn from_top128(value: u128) -> Self;
}

macro_rules! significand {
    ($type:ty) => {
        impl Significand for $type {
            const BITS: u32 = <$type>::BITS;
            const ZERO: Self = 0;

            #[inline]
            fn zeros_above(self) -> u32 {
                self.leading_zeros()
            }

            #[inline]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            #[inline]
            fn minus(self, other: Self) -> Self {
                self - other
            }

            #[inline]
            fn left(self, count: u32) -> Self {
                self << count
            }

            #[inline]
            fn right_jam(self, count: u32) -> Self {
                match count {
                    0 => self,
                    1..Self::BITS => self >> count | Self::from(self << (Self::BITS - count) != 0),
                    _ => Self::from(self != 0),
                }
            }
        }
    };
}

significand!(u64);
significand!(u128);

/// Formats up to this precision divide and take roots in 64 bits instead of 128.
const HALF_WIDTH_PRECISION: u32 = 30;

impl Word for u64 {
    type Wide = u128;
    const ONE: Self = 1;

    #[inline]
    fn from_u32(value: u32) -> Self {
        value.into()
    }

    #[inline]
    fn low_u32(self) -> u32 {
        self as u32
    }

    #[inline]
    fn widen(self) -> u128 {
        u128::from(self) << 64
    }

    #[inline]
    fn from_wide(wide: u128) -> Self {
        (wide >> 64) as u64 | u64::from(wide as u64 != 0)
    }

    #[inline]
    fn times(self, other: Self) -> u128 {
        u128::from(self) * u128::from(other)
    }

    #[inline]
    fn quotient(numerator: Self, divisor: Self, bits: u32) -> Self {
        let doubled = u32::from(numerator < divisor);
        if bits <= HALF_WIDTH_PRECISION {
            // The operands have at most 30 bits, so their upper halves are all of them.
            let (top, bottom) = ((numerator >> 32) << (31 + doubled), divisor >> 32);
            (top / bottom) << 32 | u64::from(top % bottom != 0)
        } else {
            let (top, bottom) = (u128::from(numerator) << (63 + doubled), u128::from(divisor));
            let quotient = (top / bottom) as u64;
            let exact = u128::from(quotient) * bottom == top;
            quotient | u64::from(!exact)
        }
    }

    #[inline]
    fn root(self, doubled: bool, bits: u32) -> Self {
        let doubled = u32::from(doubled);
        if bits <= HALF_WIDTH_PRECISION {
            let radicand = (self >> 32) << (31 + doubled);
            let root = radicand.isqrt();
            root << 32 | u64::from(root * root != radicand)
        } else {
            let radicand = u128::from(self) << (63 + doubled);
            let root = radicand.isqrt();
            root as u64 | u64::from(root * root != radicand)
        }
    }

    #[inline]
    fn to_top128(self) -> u128 {
        self.widen()
    }

    #[inline]
    fn from_top128(value: u128) -> Self {
        Self::from_wide(value)
    }
}

impl Word for u128 {
    type Wide = U256;
    const ONE: Self = 1;

    #[inline]
    fn from_u32(value: u32) -> Self {
        value.into()
    }

    #[inline]
    fn low_u32(self) -> u32 {
        self as u32
    }

    #[inline]
    fn widen(self) -> U256 {
        U256 { high: self, low: 0 }
    }

    #[inline]
    fn from_wide(wide: U256) -> Self {
        wide.high | u128::from(wide.low != 0)
    }

    fn times(self, other: Self) -> U256 {
        const LOW: u128 = u64::MAX as u128;
        let (a1, a0, b1, b0) = (self >> 64, self & LOW, other >> 64, other & LOW);
        let (low, cross) = (a0 * b0, a1 * b0);
        let middle = a0 * b1 + (low >> 64) + (cross & LOW);
        U256 {
            high: a1 * b1 + (cross >> 64) + (middle >> 64),
            low: middle << 64 | (low & LOW),
        }
    }

    fn quotient(numerator: Self, divisor: Self, _bits: u32) -> Self {
        // The lowest bit of a numerator is a guard bit and clear, so halving is exact.
        let first = if numerator < divisor {
            numerator
        } else {
            numerator >> 1
        };
        let (high, remainder) = quotient_digit(first, divisor);
        let (low, remainder) = quotient_digit(remainder, divisor);
        high << 64 | low | u128::from(remainder != 0)
    }

    fn root(self, doubled: bool, bits: u32) -> Self {
        // One root bit for every two of the radicand, which starts with the two bits before its point.
        let mut radicand = if doubled { self } else { self >> 1 };
        let (mut root, mut remainder) = (0u128, 0u128);
        let wanted = bits + 2;
        for _ in 0..wanted {
            remainder = remainder << 2 | radicand >> 126;
            radicand <<= 2;
            let trial = root << 2 | 1;
            root <<= 1;
            if remainder >= trial {
                remainder -= trial;
                root |= 1;
            }
        }
        root << (Self::BITS - wanted) | u128::from((remainder | radicand) != 0)
    }

    #[inline]
    fn to_top128(self) -> u128 {
        self
    }

    #[inline]
    fn from_top128(value: u128) -> Self {
        value
    }
}

/// `(remainder << 64) / divisor` and its remainder; `remainder < divisor`, whose top bit is set (Knuth, TAOCP 2,
/// 4.3.1, algorithm D).
fn quotient_digit(remainder: u128, divisor: u128) -> (u128, u128) {
    let (d1, d0) = (divisor >> 64, divisor & u128::from(u64::MAX));
    let mut digit = (remainder / d1).min(u64::MAX.into());
    let mut rest = remainder - digit * d1;
    while rest >> 64 == 0 && digit * d0 > rest << 64 {
        digit -= 1;
        rest += d1;
    }
    (
        digit,
        (remainder << 64).wrapping_sub(digit.wrapping_mul(divisor)),
    )
}

/// Products of 128-bit words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct U256 {
    high: u128,
    low: u128,
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.high, self.low).cmp(&(other.high, other.low))
    }
}

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Significand for U256 {
    const BITS: u32 = 256;
    const ZERO: Self = Self { high: 0, low: 0 };

    fn zeros_above(self) -> u32 {
        if self.high == 0 {
            128 + self.low.leading_zeros()
        } else {
            self.high.leading_zeros()
        }
    }

    fn plus(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        Self {
            high: self.high + other.high + u128::from(carry),
            low,
        }
    }

    fn minus(self, other: Self) -> Self {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        Self {
            high: self.high - other.high - u128::from(borrow),
            low,
        }
    }

    fn left(self, count: u32) -> Self {
        match count {
            0 => self,
            1..128 => Self {
                high: self.high << count | self.low >> (128 - count),
                low: self.low << count,
            },
            _ => Self {
                high: self.low << (count - 128),
                low: 0,
            },
        }
    }

    fn right_jam(self, count: u32) -> Self {
        match count {
            0 => self,
            1..128 => {
                let lost = self.low << (128 - count) != 0;
                let low = self.low >> count | self.high << (128 - count);
                Self {
                    high: self.high >> count,
                    low: low | u128::from(lost),
                }
            }
            _ => {
                let low = self.high.right_jam(count - 128);
                Self {
                    high: 0,
                    low: low | u128::from(self.low != 0),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u128 = 1 << 127;

    #[test]
    fn right_jam_keeps_a_trace_of_lost_ones() {
        assert_eq!(0b1000u64.right_jam(3), 1);
        assert_eq!(0b1001u64.right_jam(3), 1);
        assert_eq!(0b10001u64.right_jam(3), 0b11);
        assert_eq!(1u64.right_jam(u32::MAX), 1);
        assert_eq!(0u64.right_jam(64), 0);
        let wide = U256 { high: 1, low: 0 };
        assert_eq!(wide.right_jam(128), U256 { high: 0, low: 1 });
        assert_eq!(wide.right_jam(1), U256 { high: 0, low: TOP });
        assert_eq!(wide.right_jam(129), U256 { high: 0, low: 1 });
        assert_eq!(wide.right_jam(400), U256 { high: 0, low: 1 });
    }

    proptest! {
        #[test]
        fn quotient_digit_satisfies_division(remainder: u128, divisor: u128) {
            let divisor = divisor | TOP;
            let remainder = remainder % divisor;
            let (digit, rest) = quotient_digit(remainder, divisor);
            prop_assert!(digit >> 64 == 0 && rest < divisor);
            let sum = digit.times(divisor).plus(U256 { high: 0, low: rest });
            prop_assert_eq!(sum, U256 { high: remainder >> 64, low: remainder << 64 });
        }

        #[test]
        fn root_brackets_the_radicand(value: u128, doubled: bool) {
            // Precision 113: 115 root bits, the rest is the trace.
            let value = (value | TOP) >> 15 << 15;
            let root = value.root(doubled, 113);
            let (truncated, unit) = (root >> 13 << 13, 1u128 << 13);
            let radicand = U256 { high: value, low: 0 }.right_jam(if doubled { 0 } else { 1 });
            prop_assert!(truncated.times(truncated) <= radicand);
            if let Some(above) = truncated.checked_add(unit) {
                prop_assert!(above.times(above) > radicand);
            }
            prop_assert_eq!(truncated.times(truncated) == radicand, root & 1 == 0);
        }

        #[test]
        fn wide_minus_undoes_plus(a: u128, b: u128, c: u128, d: u128) {
            let (x, y) = (U256 { high: a >> 1, low: b }, U256 { high: c >> 1, low: d });
            prop_assert_eq!(x.plus(y).minus(y), x);
        }

        #[test]
        fn wide_left_undoes_right(a: u128, count in 0u32..256) {
            let wide = U256 { high: a, low: 0 };
            let cleared = wide.right_jam(count).left(count);
            prop_assert!(count > 128 || cleared == wide);
        }
    }
}

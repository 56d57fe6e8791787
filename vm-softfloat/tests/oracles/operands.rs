//! Operands where the trouble is.

use proptest::prelude::*;
use proptest::test_runner::Config;
use vm_softfloat::{Bf16, Env, F16, F32, F64, F80, F128, Flags, Format, RoundingDirection};

/// The five directions that every oracle knows.
pub(crate) const DIRECTIONS: [RoundingDirection; 5] = [
    RoundingDirection::NearestEven,
    RoundingDirection::TowardZero,
    RoundingDirection::Down,
    RoundingDirection::Up,
    RoundingDirection::NearestAway,
];

/// A format whose encodings pass through `u128`.
pub(crate) trait Encoded: Format {
    fn bits(value: u128) -> Self::Bits;
    fn value(bits: Self::Bits) -> u128;
}

macro_rules! encoded {
    ($($format:ty),*) => {$(
        impl Encoded for $format {
            fn bits(value: u128) -> Self::Bits {
                value as Self::Bits
            }

            fn value(bits: Self::Bits) -> u128 {
                bits.into()
            }
        }
    )*};
}

encoded!(Bf16, F16, F32, F64, F80, F128);

/// Fresh flags for one operation, and what it delivered with them.
pub(crate) fn run<T>(operation: impl FnOnce(&mut Flags) -> T) -> (T, Flags) {
    let mut flags = Flags::NONE;
    let result = operation(&mut flags);
    (result, flags)
}

pub(crate) fn riscv(rounding: RoundingDirection) -> Env {
    Env::riscv(rounding)
}

/// Enough cases to hit every pair of classes below many times.
pub(crate) fn cases(count: u32) -> Config {
    Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    }
}

/// Encodings of `F`: all exponents, with those near zero, one and infinity preferred, and significands that tie, carry
/// and cancel. No encoding that only x87 has.
pub(crate) fn operand<F: Format>() -> impl Strategy<Value = u128> + Clone {
    let fraction_bits = F::PRECISION - 1;
    let mask = (1u128 << fraction_bits) - 1;
    let (bias, ones) = (F::EMAX as u32, F::EXPONENT_ONES);
    let near = (F::PRECISION + 3).min(bias - 1);
    let exponent = prop_oneof![
        2 => Just(0),
        1 => 1..4u32,
        4 => bias - near..=bias + near,
        1 => Just(bias),
        1 => bias / 2 - 2..bias / 2 + 2,
        1 => bias + bias / 2 - 2..bias + bias / 2 + 2,
        1 => ones - 3..ones,
        1 => Just(ones),
        2 => 0..=ones,
    ];
    let significand = prop_oneof![
        2 => Just(0),
        1 => Just(1),
        1 => Just(mask),
        1 => Just(mask - 1),
        1 => Just(1 << (fraction_bits - 1)),
        2 => (0..fraction_bits).prop_map(|bit| 1u128 << bit),
        2 => (0..fraction_bits).prop_map(move |bit| mask >> bit),
        2 => (0..fraction_bits).prop_map(move |bit| mask << bit & mask),
        1 => (any::<u128>(), 0..fraction_bits).prop_map(move |(value, bit)| value << bit & mask),
        4 => any::<u128>().prop_map(move |value| value & mask),
    ];
    (any::<bool>(), exponent, significand).prop_map(|(sign, exponent, significand)| {
        let integer = u128::from(F::EXPLICIT_INTEGER_BIT && exponent != 0);
        u128::from(sign) << (F::FIELD_BITS + F::EXPONENT_BITS)
            | u128::from(exponent) << F::FIELD_BITS
            | integer << (F::PRECISION - 1)
            | significand
    })
}

/// An integer with a preference for the ends of ranges and for few significant bits.
pub(crate) fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value >> shift),
        (0..64u32, -2..3i64).prop_map(|(bit, offset)| (1u64 << bit).wrapping_add_signed(offset)),
        (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value << shift),
    ]
}

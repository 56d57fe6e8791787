//! Packed decimal integers of 18 digits (Intel SDM 1, 4.7).

use vm_softfloat::{Env, F80, Flags, from_int, to_int};

/// What FBSTP stores for what does not fit (Intel SDM 1, 4.8.3.7).
pub(super) const INDEFINITE: u128 = 0xffff_c000_0000_0000_0000;
/// The first integer that has too many digits.
const BOUND: i64 = 1_000_000_000_000_000_000;

/// The number. Digits above nine count as what they are.
pub(super) fn load(bits: u128) -> u128 {
    let magnitude = (0..18).rev().fold(0_i64, |number, digit| {
        number * 10 + (bits >> (4 * digit) & 15) as i64
    });
    let env = Env::default();
    let value = from_int::<F80, i64>(magnitude, &env, &mut Flags::default());
    value | (bits >> 79 & 1) << 79
}

/// The digits of a number, rounded to an integer.
pub(super) fn store(value: u128, env: &Env, flags: &mut Flags) -> u128 {
    let mut raised = Flags::NONE;
    let integer = to_int::<F80, i64>(value, env, &mut raised);
    if raised.contains(Flags::INVALID) || integer.unsigned_abs() >= BOUND as u64 {
        *flags |= Flags::INVALID;
        return INDEFINITE;
    }
    *flags |= raised;
    let (mut rest, mut digits) = (u128::from(integer.unsigned_abs()), 0);
    for digit in 0..18 {
        digits |= (rest % 10) << (4 * digit);
        rest /= 10;
    }
    digits | (value >> 79 & 1) << 79
}

use super::*;
use vm_softfloat as soft;
use vm_softfloat::{Env, F32, F64, F128, RoundingDirection};

const NEAREST: Env = Env::riscv(RoundingDirection::NearestEven);
const F64_ONE: u64 = 0x3ff0 << 48;

#[test]
fn exact_cancellation_is_plus_zero_except_downwards() {
    for (rounding, expected) in [
        (RoundingDirection::NearestEven, 0),
        (RoundingDirection::TowardZero, 0),
        (RoundingDirection::Up, 0),
        (RoundingDirection::NearestAway, 0),
        (RoundingDirection::Down, F32_NEGATIVE),
    ] {
        let env = Env::riscv(rounding);
        assert_eq!(
            run(|f| soft::sub::<F32>(F32_ONE, F32_ONE, &env, f)).0,
            expected
        );
        assert_eq!(
            run(|f| soft::add::<F32>(0, F32_NEGATIVE, &env, f)).0,
            expected
        );
        let fused =
            run(|f| soft::mul_add::<F32>(F32_ONE, F32_ONE, F32_ONE | F32_NEGATIVE, &env, f));
        assert_eq!(fused, (expected, Flags::NONE), "{rounding:?}");
        let zeros = run(|f| soft::mul_add::<F32>(0, F32_NEGATIVE, 0, &env, f));
        assert_eq!(zeros.0, expected);
    }
    let minus_zeros = run(|f| soft::add::<F32>(F32_NEGATIVE, F32_NEGATIVE, &NEAREST, f));
    assert_eq!(minus_zeros.0, F32_NEGATIVE);
}

#[test]
fn overflow_goes_where_the_direction_points() {
    const LARGEST: u32 = 0x7f7f_ffff;
    for (rounding, positive, negative) in [
        (RoundingDirection::NearestEven, F32_INFINITY, F32_INFINITY),
        (RoundingDirection::NearestAway, F32_INFINITY, F32_INFINITY),
        (RoundingDirection::TowardZero, LARGEST, LARGEST),
        (RoundingDirection::Odd, LARGEST, LARGEST),
        (RoundingDirection::Up, F32_INFINITY, LARGEST),
        (RoundingDirection::Down, LARGEST, F32_INFINITY),
    ] {
        let env = Env::riscv(rounding);
        for (sign, expected) in [(0, positive), (F32_NEGATIVE, negative)] {
            let (sum, flags) = run(|f| soft::add::<F32>(LARGEST | sign, LARGEST | sign, &env, f));
            assert_eq!(
                (sum, flags.riscv()),
                (expected | sign, 0x05),
                "{rounding:?}"
            );
        }
    }
    // Half a unit above the largest number ties away to infinity; anything less does not reach it.
    let tie = 0x47ef_ffff_f000_0000;
    let narrow = |a| run(|f| soft::convert::<F64, F32>(a, &NEAREST, f)).0;
    assert_eq!(narrow(tie), F32_INFINITY);
    assert_eq!(narrow(tie - 1), LARGEST);
}

#[test]
fn ties_split_nearest_even_from_nearest_away() {
    let half_unit = 0x3ca0 << 48; // 2^-53
    for (a, even, away) in [
        (F64_ONE, F64_ONE, F64_ONE + 1),
        (F64_ONE + 1, F64_ONE + 2, F64_ONE + 2),
    ] {
        let sum = |rounding| run(|f| soft::add::<F64>(a, half_unit, &Env::riscv(rounding), f)).0;
        assert_eq!(
            (
                sum(RoundingDirection::NearestEven),
                sum(RoundingDirection::NearestAway)
            ),
            (even, away)
        );
    }
    // Just past the tie, by one part in 2^1000.
    let fused = run(|f| soft::mul_add::<F64>(half_unit, F64_ONE + 1, F64_ONE, &NEAREST, f));
    assert_eq!(fused.0, F64_ONE + 1);
}

#[test]
fn subnormal_exact_results_do_not_underflow() {
    let (half, flags) = run(|f| soft::mul::<F32>(F32_MIN_NORMAL, 0x3f00_0000, &NEAREST, f));
    assert_eq!((half, flags), (0x0040_0000, Flags::NONE));
    let trapping = Env {
        underflow_when_exact: true,
        ..NEAREST
    };
    let (half, flags) = run(|f| soft::mul::<F32>(F32_MIN_NORMAL, 0x3f00_0000, &trapping, f));
    assert_eq!((half, flags), (0x0040_0000, Flags::UNDERFLOW));
}

#[test]
fn fused_multiply_add_sees_what_two_roundings_lose() {
    // (1 + u)(1 - u) - 1 = -u^2 exactly.
    let (a, b) = (F64_ONE + 1, F64_ONE - 2);
    let fused = run(|f| soft::mul_add::<F64>(a, b, F64_ONE | 1 << 63, &NEAREST, f));
    assert_eq!(fused, (0xb970_0000_0000_0000, Flags::NONE)); // -2^-104
    let product = soft::mul::<F64>(a, b, &NEAREST, &mut Flags::default());
    assert_eq!(product, F64_ONE);
    // The smallest subnormal as addend still decides a direction.
    let up = Env::riscv(RoundingDirection::Up);
    assert_eq!(
        run(|f| soft::mul_add::<F64>(F64_ONE, F64_ONE, 1, &up, f)).0,
        F64_ONE + 1
    );
    let down = Env::riscv(RoundingDirection::Down);
    assert_eq!(
        run(|f| soft::mul_add::<F64>(F64_ONE, F64_ONE, 1 | 1 << 63, &down, f)).0,
        F64_ONE - 1
    );
}

#[test]
fn division_by_zero_and_of_zero_differ() {
    let div = |a, b| run(|f| soft::div::<F32>(a, b, &NEAREST, f));
    assert_eq!(
        div(F32_ONE, F32_NEGATIVE),
        (F32_INFINITY | F32_NEGATIVE, Flags::DIVZERO)
    );
    assert_eq!(div(0, 0), (F32_QNAN, Flags::INVALID));
    assert_eq!(div(F32_INFINITY, 0), (F32_INFINITY, Flags::NONE));
    assert_eq!(div(F32_INFINITY, F32_INFINITY), (F32_QNAN, Flags::INVALID));
    assert_eq!(div(F32_QNAN, 0), (F32_QNAN, Flags::NONE));
}

#[test]
fn sqrt_of_minus_zero_is_minus_zero_and_of_less_invalid() {
    let sqrt = |a| run(|f| soft::sqrt::<F32>(a, &NEAREST, f));
    assert_eq!(sqrt(F32_NEGATIVE), (F32_NEGATIVE, Flags::NONE));
    assert_eq!(sqrt(F32_NEGATIVE | 1), (F32_QNAN, Flags::INVALID));
    assert_eq!(sqrt(0x4080_0000), (0x4000_0000, Flags::NONE));
    assert_eq!(sqrt(F32_INFINITY), (F32_INFINITY, Flags::NONE));
}

#[test]
fn f128_keeps_every_bit_of_a_product_of_64_bit_integers() {
    let wide = |value: u64| soft::from_int::<F128, u64>(value, &NEAREST, &mut Flags::default());
    let (product, flags) =
        run(|f| soft::mul::<F128>(wide(u64::MAX), wide(1 << 40 | 1), &NEAREST, f));
    assert_eq!(flags, Flags::NONE);
    let back = soft::div::<F128>(product, wide(1 << 40 | 1), &NEAREST, &mut Flags::default());
    assert_eq!(
        run(|f| soft::to_int::<F128, u64>(back, &NEAREST, f)),
        (u64::MAX, Flags::NONE)
    );
}

#[test]
fn scale_rounds_once_at_the_bottom_and_saturates_in_distance() {
    let scale = |a, power| run(|f| soft::scale::<F64>(a, power, &NEAREST, f));
    assert_eq!(
        scale(F64_ONE + 1, -1074),
        (1, Flags::INEXACT | Flags::UNDERFLOW)
    );
    assert_eq!(
        scale(F64_ONE, i32::MIN),
        (0, Flags::INEXACT | Flags::UNDERFLOW)
    );
    assert_eq!(scale(1, i32::MAX).0, 0x7ff0 << 48);
    assert_eq!(scale(1, 1074), (F64_ONE, Flags::NONE));
}

#[test]
fn round_to_integral_leaves_large_values_and_ties_to_even() {
    let round = |value: f64, rounding| {
        let env = Env::riscv(rounding);
        f64::from_bits(run(|f| soft::round_to_integral::<F64>(value.to_bits(), true, &env, f)).0)
    };
    for (value, even, away, up, down) in [
        (0.5, 0.0, 1.0, 1.0, 0.0),
        (1.5, 2.0, 2.0, 2.0, 1.0),
        (2.5, 2.0, 3.0, 3.0, 2.0),
        (-2.5, -2.0, -3.0, -2.0, -3.0),
        (0.49999999999999994, 0.0, 0.0, 1.0, 0.0),
        (
            4503599627370495.5,
            4503599627370496.0,
            4503599627370496.0,
            4503599627370496.0,
            4503599627370495.0,
        ),
        (
            9007199254740993.0,
            9007199254740992.0,
            9007199254740992.0,
            9007199254740992.0,
            9007199254740992.0,
        ),
    ] {
        let ours = [
            RoundingDirection::NearestEven,
            RoundingDirection::NearestAway,
            RoundingDirection::Up,
            RoundingDirection::Down,
        ]
        .map(|rounding| round(value, rounding));
        assert_eq!(ours, [even, away, up, down], "{value}");
    }
}

//! Results and flags as an x86-64 processor delivers them.

use super::*;
use core::cmp::Ordering;
use vm_softfloat as soft;
use vm_softfloat::{
    Env, Extremum, F16, F32, F64, F80, FlushResults, Negate, QuotientRounding, RoundingDirection,
    Subnormals, X87Precision,
};

const ENV: Env = Env::sse(RoundingDirection::NearestEven);
const FTZ: Env = Env {
    flush: FlushResults::AfterRounding,
    ..ENV
};
const DAZ: Env = Env {
    subnormals: Subnormals::Zero,
    ..ENV
};
const IE: u8 = 0x01;
const DE: u8 = 0x02;
const ZE: u8 = 0x04;
const OE: u8 = 0x08;
const UE: u8 = 0x10;
const PE: u8 = 0x20;

const INDEFINITE: u32 = 0xffc0_0000;

type Binary = fn(u32, u32, &Env, &mut Flags) -> u32;

#[test]
fn sse_arithmetic_matches_hardware() {
    const ADD: Binary = soft::add::<F32>;
    const SUB: Binary = soft::sub::<F32>;
    const MUL: Binary = soft::mul::<F32>;
    const DIV: Binary = soft::div::<F32>;
    const SQRT: Binary = |a, _, env, flags| soft::sqrt::<F32>(a, env, flags);
    let both = Env {
        flush: FlushResults::AfterRounding,
        ..DAZ
    };
    let table: [(Binary, u32, u32, Env, u32, u8); 21] = [
        (ADD, 0x7f80_0001, 0x7fc0_0000, ENV, 0x7fc0_0001, IE),
        (ADD, 0x7fc0_0000, 0x7f80_0001, ENV, 0x7fc0_0000, IE),
        (ADD, 0xffd5_4321, 0x7f80_0001, ENV, 0xffd5_4321, IE),
        (ADD, 0x3f80_0000, 0xff81_2345, ENV, 0xffc1_2345, IE),
        (SUB, 0x7f80_0000, 0x7f80_0000, ENV, INDEFINITE, IE),
        (SUB, 0x3f80_0000, 0x7fc0_0000, ENV, 0x7fc0_0000, 0),
        (ADD, 0x0000_0001, 0x7f80_0000, ENV, 0x7f80_0000, DE),
        (MUL, 0x0000_0001, 0x7f80_0000, ENV, 0x7f80_0000, DE),
        (DIV, 0x0000_0001, 0x0000_0000, ENV, 0x7f80_0000, ZE),
        (DIV, 0x0000_0001, 0x7fc0_0000, ENV, 0x7fc0_0000, 0),
        (SQRT, 0x8000_0001, 0, ENV, INDEFINITE, IE),
        (SQRT, 0x0000_0001, 0, ENV, 0x1a35_04f3, PE | DE),
        (MUL, 0x3f00_0000, 0x0080_0000, ENV, 0x0040_0000, 0),
        (MUL, 0x3f00_0000, 0x0080_0000, FTZ, 0, PE | UE),
        (MUL, 0x3f00_0000, 0x0000_0001, FTZ, 0, PE | UE | DE),
        (ADD, 0x0000_0001, 0x0000_0000, FTZ, 0, PE | UE | DE),
        (SUB, 0x0080_0000, 0x0000_0001, FTZ, 0, PE | UE | DE),
        (ADD, 0x0000_0001, 0x0000_0000, both, 0, 0),
        (ADD, 0x0000_0001, 0x3f80_0000, DAZ, 0x3f80_0000, 0),
        (MUL, 0x3f80_0000, 0x807f_ffff, DAZ, 0x8000_0000, 0),
        (SUB, 0x0080_0000, 0x0000_0001, ENV, 0x007f_ffff, DE),
    ];
    for (operation, a, b, env, expected, raised) in table {
        let (result, flags) = run(|f| operation(a, b, &env, f));
        assert_eq!(
            (result, flags.x86()),
            (expected, raised),
            "{a:#x} {b:#x} {env:?}"
        );
    }
}

#[test]
fn sse_min_max_deliver_the_second_operand_unquieted() {
    let min = |a, b, env: &Env| {
        let (result, flags) = run(|f| soft::extremum_second::<F32>(Extremum::Min, a, b, env, f));
        (result, flags.x86())
    };
    assert_eq!(min(F32_QNAN, F32_ONE, &ENV), (F32_ONE, IE));
    assert_eq!(min(F32_ONE, F32_SNAN, &ENV), (F32_SNAN, IE));
    assert_eq!(min(0, F32_NEGATIVE, &ENV), (F32_NEGATIVE, 0));
    assert_eq!(min(F32_NEGATIVE, 0, &ENV), (0, 0));
    assert_eq!(min(1, F32_ONE, &ENV), (1, DE));
    assert_eq!(min(1, F32_ONE, &DAZ), (0, 0));
    let max = run(|f| soft::extremum_second::<F32>(Extremum::Max, 0, F32_NEGATIVE, &ENV, f));
    assert_eq!(max.0, F32_NEGATIVE);
}

#[test]
fn sse_fused_multiply_add_takes_nans_in_operand_order() {
    let fma = |a, b, c| {
        let (result, flags) = run(|f| soft::mul_add::<F32>(a, b, c, &ENV, f));
        (result, flags.x86())
    };
    assert_eq!(fma(0, F32_INFINITY, F32_QNAN), (F32_QNAN, 0));
    assert_eq!(fma(0, F32_INFINITY, F32_SNAN), (0x7fc0_0001, IE));
    assert_eq!(fma(0, F32_INFINITY, F32_ONE), (INDEFINITE, IE));
    assert_eq!(fma(F32_SNAN, F32_QNAN, 0xffd5_4321), (0x7fc0_0001, IE));
    let negate = Negate {
        product: true,
        addend: false,
    };
    let (result, flags) =
        run(|f| soft::mul_add_negated::<F32>(F32_ONE, 0xffd5_4321, F32_ONE, negate, &ENV, f));
    assert_eq!((result, flags), (0xffd5_4321, Flags::NONE));
    let (result, _) =
        run(|f| soft::mul_add_negated::<F32>(F32_ONE, F32_ONE, F32_ONE, negate, &ENV, f));
    assert_eq!(result, 0);
}

#[test]
fn sse_comparisons_and_conversions_match_hardware() {
    let quiet = |a, b, env: &Env| {
        let (order, flags) = run(|f| soft::compare_quiet::<F32>(a, b, env, f));
        (order, flags.x86())
    };
    assert_eq!(quiet(F32_QNAN, 0, &ENV), (None, 0));
    assert_eq!(quiet(1, F32_SNAN, &ENV), (None, IE));
    assert_eq!(quiet(1, 0, &ENV), (Some(Ordering::Greater), DE));
    assert_eq!(quiet(1, 0, &DAZ), (Some(Ordering::Equal), 0));
    let (order, flags) = run(|f| soft::compare_signaling::<F32>(F32_QNAN, 0, &ENV, f));
    assert_eq!((order, flags.x86()), (None, IE));

    let int = |a| {
        let (value, flags) = run(|f| soft::to_int::<F32, i32>(a, &ENV, f));
        (value, flags.x86())
    };
    assert_eq!(int(0x4f00_0000), (i32::MIN, IE));
    assert_eq!(int(F32_QNAN), (i32::MIN, IE));
    assert_eq!(int(1), (0, PE));
    assert_eq!(
        run(|f| soft::to_int::<F32, u64>(F32_NEGATIVE | F32_ONE, &ENV, f)).0,
        u64::MAX
    );

    let wide = run(|f| soft::convert::<F32, F64>(0xff81_2345, &ENV, f));
    assert_eq!(wide, (0xfff8_2468_a000_0000, Flags::INVALID));
    assert_eq!(
        run(|f| soft::convert::<F32, F64>(1, &ENV, f)),
        (0x36a0 << 48, Flags::DENORMAL)
    );
    assert_eq!(
        run(|f| soft::convert::<F32, F16>(0x3380_0000, &ENV, f)),
        (1, Flags::NONE)
    );

    let up = Env::sse(RoundingDirection::Up);
    let (result, flags) = run(|f| soft::round_to_integral::<F32>(1, true, &up, f));
    assert_eq!((result, flags.x86()), (F32_ONE, PE));
    let (result, flags) = run(|f| soft::round_to_integral::<F32>(1, false, &up, f));
    assert_eq!((result, flags.x86()), (F32_ONE, 0));
}

const C1: u16 = 0x200;

const fn extended(exponent: u16, significand: u64) -> u128 {
    (exponent as u128) << 64 | significand as u128
}

/// What x87 delivers, with C1 above the exception bits of its status word.
fn x87(operation: impl FnOnce(&mut Flags) -> u128) -> (u128, u16) {
    let (result, flags) = run(operation);
    let c1 = if flags.contains(Flags::ROUNDED_UP) {
        C1
    } else {
        0
    };
    (result, u16::from(flags.x86()) | c1)
}

const TOP: u64 = 1 << 63;
const X87_INDEFINITE: u128 = extended(0xffff, 3 << 62);

#[test]
fn x87_sums_match_hardware() {
    use X87Precision::{Double, Extended, Single};
    let one = extended(0x3fff, TOP);
    let odd = extended(0x4010, 0xfedc_ba98_7654_3210);
    for (a, b, precision, expected, status) in [
        (one, extended(1, 0), Extended, X87_INDEFINITE, u16::from(IE)),
        (
            one,
            extended(0x7fff, 0),
            Extended,
            X87_INDEFINITE,
            u16::from(IE),
        ),
        (
            extended(0x7fff, TOP | 1),
            extended(0x7fff, 3 << 62),
            Extended,
            extended(0x7fff, 3 << 62),
            u16::from(IE),
        ),
        (
            extended(0x7fff, TOP | 1),
            extended(0xffff, TOP | 0x100),
            Extended,
            extended(0xffff, 3 << 62 | 0x100),
            u16::from(IE),
        ),
        (
            extended(0xffff, 3 << 62 | 0x4321),
            extended(0x7fff, 3 << 62 | 0x4321),
            Extended,
            extended(0x7fff, 3 << 62 | 0x4321),
            0,
        ),
        (
            extended(0, TOP),
            0,
            Extended,
            extended(1, TOP),
            u16::from(DE),
        ),
        (
            extended(0, TOP),
            extended(0, TOP | 5),
            Extended,
            extended(2, TOP | 2),
            u16::from(PE | DE),
        ),
        (
            one,
            odd,
            Single,
            extended(0x4010, 0xfedc_fb00_0000_0000),
            u16::from(PE) | C1,
        ),
        (
            one,
            extended(0x403e, TOP | 1),
            Double,
            extended(0x403e, TOP),
            u16::from(PE),
        ),
    ] {
        let env = Env::x87(RoundingDirection::NearestEven, precision);
        let sum = x87(|f| soft::add::<F80>(a, b, &env, f));
        assert_eq!(sum, (expected, status), "{a:#x} {b:#x} {precision:?}");
    }
}

#[test]
fn x87_limits_match_hardware() {
    use X87Precision::{Double, Extended, Single};
    let one = extended(0x3fff, TOP);
    let odd = extended(0x4010, 0xfedc_ba98_7654_3210);
    let largest = extended(0x7ffe, u64::MAX);
    let below_one = extended(0x3ffe, u64::MAX);
    let smallest_normal = extended(1, TOP);
    let infinity = extended(0x7fff, TOP);
    for (a, b, rounding, precision, expected, status) in [
        (
            largest,
            one,
            RoundingDirection::NearestEven,
            Single,
            infinity,
            u16::from(PE | OE) | C1,
        ),
        (
            largest,
            odd,
            RoundingDirection::TowardZero,
            Extended,
            largest,
            u16::from(PE | OE),
        ),
        (
            largest,
            odd,
            RoundingDirection::Down,
            Double,
            extended(0x7ffe, 0xffff_ffff_ffff_f800),
            u16::from(PE | OE),
        ),
        (
            smallest_normal,
            below_one,
            RoundingDirection::NearestEven,
            Extended,
            smallest_normal,
            u16::from(PE | UE) | C1,
        ),
        (
            smallest_normal,
            below_one,
            RoundingDirection::NearestEven,
            Single,
            smallest_normal,
            u16::from(PE) | C1,
        ),
        (
            1,
            below_one,
            RoundingDirection::NearestEven,
            Extended,
            1,
            u16::from(PE | UE | DE) | C1,
        ),
    ] {
        let env = Env::x87(rounding, precision);
        let product = x87(|f| soft::mul::<F80>(a, b, &env, f));
        assert_eq!(
            product,
            (expected, status),
            "{a:#x} {b:#x} {rounding:?} {precision:?}"
        );
    }
}

#[test]
fn x87_denormal_operands_are_noted_by_loads_and_frndint_not_by_stores() {
    let env = Env::x87(RoundingDirection::Up, X87Precision::Extended);
    let integral = x87(|f| soft::round_to_integral::<F80>(1, true, &env, f));
    assert_eq!(integral, (extended(0x3fff, TOP), u16::from(PE | DE) | C1));
    let nearest = env.with_rounding(RoundingDirection::NearestEven);
    let (stored, flags) = run(|f| soft::convert::<F80, F32>(1, &nearest, f));
    assert_eq!((stored, flags.x86()), (0, PE | UE));
    let (loaded, flags) = run(|f| soft::convert::<F32, F80>(1, &nearest, f));
    assert_eq!((loaded, flags.x86()), (extended(0x3f6a, TOP), DE));
    let (stored, flags) = run(|f| soft::to_int::<F80, i64>(1, &nearest, f));
    assert_eq!((stored, flags.x86()), (0, PE));
    let (unnormal, flags) = run(|f| soft::convert::<F80, F32>(extended(1, 0), &nearest, f));
    assert_eq!((unnormal, flags.x86()), (INDEFINITE, IE));
}

#[test]
fn x87_remainders_tell_the_quotient() {
    let env = Env::x87(RoundingDirection::NearestEven, X87Precision::Extended);
    let number = |value: i32| soft::from_int::<F80, i32>(value, &env, &mut Flags::default());
    for (a, b, rounding, rest, quotient) in [
        (17, 5, QuotientRounding::Truncated, 2, 3),
        (18, 5, QuotientRounding::Truncated, 3, 3),
        (18, 5, QuotientRounding::Nearest, -2, 4),
        (-18, 5, QuotientRounding::Truncated, -3, 3),
        (5, 2, QuotientRounding::Nearest, 1, 2),
        (7, 2, QuotientRounding::Nearest, -1, 4),
        (3, 4, QuotientRounding::Nearest, -1, 1),
        (1, 4, QuotientRounding::Nearest, 1, 0),
    ] {
        let ours = run(|f| soft::remainder::<F80>(number(a), number(b), rounding, &env, f));
        assert_eq!(
            ours,
            ((number(rest), quotient), Flags::NONE),
            "{a} {b} {rounding:?}"
        );
    }
    let minus_zero = run(|f| {
        soft::remainder::<F80>(number(-6), number(3), QuotientRounding::Truncated, &env, f)
    });
    assert_eq!(minus_zero.0, (extended(0x8000, 0), 2));
}

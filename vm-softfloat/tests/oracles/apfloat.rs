//! LLVM's APFloat: all formats, all directions, and flags where it has them right.

use crate::operands::{DIRECTIONS, Encoded, cases, integer, operand, riscv, run};
use proptest::prelude::*;
use rustc_apfloat::ieee::{BFloat, Double, Half, Quad, Single, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};
use vm_softfloat as soft;
use vm_softfloat::{
    Bf16, Class, Env, F16, F32, F64, F80, F128, Flags, IntegerRule, QuotientRounding,
    RoundingDirection, Tininess, classify,
};

/// A format and its counterpart.
trait Known: Encoded {
    type Ap: Float;
}

macro_rules! known {
    ($($ours:ty: $theirs:ty),*) => {$(impl Known for $ours { type Ap = $theirs; })*};
}

known!(Bf16: BFloat, F16: Half, F32: Single, F64: Double, F80: X87DoubleExtended, F128: Quad);

fn direction(rounding: RoundingDirection) -> Round {
    match rounding {
        RoundingDirection::NearestEven => Round::NearestTiesToEven,
        RoundingDirection::TowardZero | RoundingDirection::Odd => Round::TowardZero,
        RoundingDirection::Down => Round::TowardNegative,
        RoundingDirection::Up => Round::TowardPositive,
        RoundingDirection::NearestAway => Round::NearestTiesToAway,
    }
}

fn flags_of(status: Status) -> Flags {
    [
        (Status::INVALID_OP, Flags::INVALID),
        (Status::DIV_BY_ZERO, Flags::DIVZERO),
        (Status::OVERFLOW, Flags::OVERFLOW),
        (Status::UNDERFLOW, Flags::UNDERFLOW),
        (Status::INEXACT, Flags::INEXACT),
    ]
    .into_iter()
    .filter(|(theirs, _)| status.contains(*theirs))
    .fold(Flags::NONE, |flags, (_, ours)| flags | ours)
}

/// Compares a result and its flags. NaNs count as equal: their choice is no concern of APFloat's. Two flags it raises
/// otherwise and are not looked at: UNDERFLOW where the result is the smallest normal number, which it never counts as
/// tiny, and OVERFLOW where it is the largest one (IEEE 754-2019, 7.4 raises it whatever the direction).
fn agree<F: Known>(
    what: &str,
    (ours, flags): (F::Bits, Flags),
    theirs: StatusAnd<F::Ap>,
) -> Result<(), TestCaseError> {
    let expected = theirs.value.to_bits();
    if soft::is_nan::<F>(ours) && theirs.value.is_nan() {
        prop_assert_eq!(classify::<F>(ours), Class::QuietNan, "{}", what);
    } else {
        prop_assert_eq!(
            F::value(ours),
            expected,
            "{}: {:x} not {:x}",
            what,
            ours,
            expected
        );
    }
    let mask = if theirs.value.is_smallest_normalized() {
        !Flags::UNDERFLOW.riscv()
    } else if theirs.value.is_largest() {
        !Flags::OVERFLOW.riscv()
    } else {
        !0
    };
    let status = flags_of(theirs.status);
    prop_assert_eq!(
        flags.riscv() & mask,
        status.riscv() & mask,
        "{} {:?} {:?}",
        what,
        flags,
        status
    );
    Ok(())
}

fn arithmetic<F: Known>(a: u128, b: u128, c: u128) -> Result<(), TestCaseError> {
    let [x, y, z] = [a, b, c].map(F::Ap::from_bits);
    let (p, q, r) = (F::bits(a), F::bits(b), F::bits(c));
    let signals = classify::<F>(p) == Class::SignalingNan;
    for rounding in DIRECTIONS {
        let (env, theirs) = (riscv(rounding), direction(rounding));
        let what = |name: &str| format!("{name} {a:#x} {b:#x} {c:#x} {rounding:?}");
        agree::<F>(
            &what("add"),
            run(|f| soft::add::<F>(p, q, &env, f)),
            x.add_r(y, theirs),
        )?;
        agree::<F>(
            &what("sub"),
            run(|f| soft::sub::<F>(p, q, &env, f)),
            x.sub_r(y, theirs),
        )?;
        agree::<F>(
            &what("mul"),
            run(|f| soft::mul::<F>(p, q, &env, f)),
            x.mul_r(y, theirs),
        )?;
        agree::<F>(
            &what("div"),
            run(|f| soft::div::<F>(p, q, &env, f)),
            x.div_r(y, theirs),
        )?;
        let fused = run(|f| soft::mul_add::<F>(p, q, r, &env, f));
        agree::<F>(&what("fma"), fused, x.mul_add_r(y, z, theirs))?;
        let round = run(|f| soft::round_to_integral::<F>(p, true, &env, f));
        agree::<F>(&what("round"), round, x.round_to_integral(theirs))?;
        let silent = run(|f| soft::round_to_integral::<F>(p, false, &env, f));
        let kept = if signals { Flags::INVALID } else { Flags::NONE };
        prop_assert_eq!(silent, (round.0, kept));
    }
    Ok(())
}

fn remainder_both_ways<F: Known>(p: F::Bits, q: F::Bits, env: &Env) -> Result<(), TestCaseError> {
    let [x, y] = [p, q].map(|bits| F::Ap::from_bits(F::value(bits)));
    let what = |name: &str| format!("{name} {p:#x} {q:#x}");
    let ours = run(|f| soft::remainder::<F>(p, q, QuotientRounding::Truncated, env, f));
    agree::<F>(&what("fmod"), (ours.0.0, ours.1), x.c_fmod(y))?;
    let ours = run(|f| soft::remainder::<F>(p, q, QuotientRounding::Nearest, env, f));
    agree::<F>(&what("remainder"), (ours.0.0, ours.1), x.ieee_rem(y))
}

fn remainders<F: Known>(a: u128, b: u128, power: i32) -> Result<(), TestCaseError> {
    let x = F::Ap::from_bits(a);
    let (p, q, env) = (
        F::bits(a),
        F::bits(b),
        riscv(RoundingDirection::NearestEven),
    );
    // Far apart, the wide formats take APFloat tens of thousands of long divisions: one pair in eight will do.
    if F::EXPONENT_BITS < 15 || power % 8 == 0 {
        remainder_both_ways::<F>(p, q, &env)?;
    }
    for rounding in DIRECTIONS {
        let ours = run(|f| soft::scale::<F>(p, power, &riscv(rounding), f));
        let theirs = x.scalbn_r(power, direction(rounding));
        if !soft::is_nan::<F>(ours.0) {
            prop_assert_eq!(
                F::value(ours.0),
                theirs.to_bits(),
                "scale {:#x} {} {:?}",
                a,
                power,
                rounding
            );
        }
    }
    Ok(())
}

fn to_integers<F: Known>(a: u128) -> Result<(), TestCaseError> {
    let (p, x) = (F::bits(a), F::Ap::from_bits(a));
    for rounding in DIRECTIONS {
        let env = Env {
            integer: IntegerRule::SaturateNanZero,
            ..riscv(rounding)
        };
        let (round, exact) = (direction(rounding), &mut false);
        macro_rules! check {
            ($type:ty, $function:ident, $width:literal) => {
                let (ours, flags) = run(|f| soft::to_int::<F, $type>(p, &env, f));
                let theirs = x.$function($width, round, exact);
                prop_assert_eq!(ours, theirs.value as $type, "{:#x} {:?}", a, rounding);
                prop_assert_eq!(
                    flags.riscv(),
                    flags_of(theirs.status).riscv(),
                    "{:#x} {:?}",
                    a,
                    rounding
                );
            };
        }
        check!(i16, to_i128_r, 16);
        check!(u16, to_u128_r, 16);
        check!(i32, to_i128_r, 32);
        check!(u32, to_u128_r, 32);
        check!(i64, to_i128_r, 64);
        check!(u64, to_u128_r, 64);
    }
    Ok(())
}

fn from_integers<F: Known>(value: u64) -> Result<(), TestCaseError> {
    for rounding in DIRECTIONS {
        let (env, round) = (riscv(rounding), direction(rounding));
        let what = format!("{value:#x} {rounding:?}");
        let ours = run(|f| soft::from_int::<F, u64>(value, &env, f));
        agree::<F>(&what, ours, F::Ap::from_u128_r(value.into(), round))?;
        let ours = run(|f| soft::from_int::<F, i64>(value as i64, &env, f));
        agree::<F>(
            &what,
            ours,
            F::Ap::from_i128_r((value as i64).into(), round),
        )?;
        let ours = run(|f| soft::from_int::<F, u32>(value as u32, &env, f));
        agree::<F>(
            &what,
            ours,
            F::Ap::from_u128_r((value as u32).into(), round),
        )?;
        let ours = run(|f| soft::from_int::<F, i32>(value as i32, &env, f));
        agree::<F>(
            &what,
            ours,
            F::Ap::from_i128_r((value as i32).into(), round),
        )?;
    }
    Ok(())
}

fn conversion<F: Known, G: Known>(a: u128) -> Result<(), TestCaseError>
where
    F::Ap: FloatConvert<G::Ap>,
{
    for rounding in DIRECTIONS {
        let ours = run(|f| soft::convert::<F, G>(F::bits(a), &riscv(rounding), f));
        let theirs = F::Ap::from_bits(a).convert_r(direction(rounding), &mut false);
        agree::<G>(&format!("convert {a:#x} {rounding:?}"), ours, theirs)?;
    }
    Ok(())
}

macro_rules! per_format {
    ($($format:ty: $arithmetic:ident $to:ident $from:ident;)*) => {proptest! {
        #![proptest_config(cases(6_000))]
        $(
            #[test]
            fn $arithmetic(
                a in operand::<$format>(), b in operand::<$format>(), c in operand::<$format>(),
                power in -600..600i32,
            ) {
                arithmetic::<$format>(a, b, c)?;
                remainders::<$format>(a, b, power)?;
            }

            #[test]
            fn $to(a in operand::<$format>()) {
                to_integers::<$format>(a)?;
            }

            #[test]
            fn $from(value in integer()) {
                from_integers::<$format>(value)?;
            }
        )*
    }};
}

per_format! {
    Bf16: arithmetic_bf16_matches_apfloat to_int_bf16_matches_apfloat from_int_bf16_matches_apfloat;
    F16: arithmetic_f16_matches_apfloat to_int_f16_matches_apfloat from_int_f16_matches_apfloat;
    F32: arithmetic_f32_matches_apfloat to_int_f32_matches_apfloat from_int_f32_matches_apfloat;
    F64: arithmetic_f64_matches_apfloat to_int_f64_matches_apfloat from_int_f64_matches_apfloat;
    F80: arithmetic_f80_matches_apfloat to_int_f80_matches_apfloat from_int_f80_matches_apfloat;
    F128: arithmetic_f128_matches_apfloat to_int_f128_matches_apfloat from_int_f128_matches_apfloat;
}

macro_rules! conversions {
    ($($from:ty: $test:ident to $($to:ty)*;)*) => {proptest! {
        #![proptest_config(cases(6_000))]
        $(
            #[test]
            fn $test(a in operand::<$from>()) {
                $(conversion::<$from, $to>(a)?;)*
            }
        )*
    }};
}

conversions! {
    Bf16: convert_bf16_matches_apfloat to F16 F32 F64 F80 F128;
    F16: convert_f16_matches_apfloat to Bf16 F32 F64 F80 F128;
    F32: convert_f32_matches_apfloat to Bf16 F16 F64 F80 F128;
    F64: convert_f64_matches_apfloat to Bf16 F16 F32 F80 F128;
    F80: convert_f80_matches_apfloat to Bf16 F16 F32 F64 F128;
    F128: convert_f128_matches_apfloat to Bf16 F16 F32 F64 F80;
}

/// A root in binary128 rounded to odd keeps all that a second rounding to a format of at most 111 bits needs.
fn root_through_f128<F: Encoded>(a: u128) -> Result<(), TestCaseError> {
    for rounding in DIRECTIONS {
        let env = Env {
            tininess: Tininess::AfterRounding,
            ..riscv(rounding)
        };
        let ours = run(|f| soft::sqrt::<F>(F::bits(a), &env, f));
        let through = run(|f| {
            let odd = env.with_rounding(RoundingDirection::Odd);
            let wide = soft::convert::<F, F128>(F::bits(a), &env, f);
            let root = soft::sqrt::<F128>(wide, &odd, f);
            soft::convert::<F128, F>(root, &env, f)
        });
        prop_assert_eq!(ours.0, through.0, "sqrt {:#x} {:?}", a, rounding);
        prop_assert_eq!(
            ours.1.riscv(),
            through.1.riscv(),
            "sqrt {:#x} {:?}",
            a,
            rounding
        );
    }
    Ok(())
}

/// Squares bracket the root of a binary128, computed by APFloat in all directions.
fn root_of_f128_brackets(a: u128) -> Result<(), TestCaseError> {
    let x = Quad::from_bits(a);
    let root = |rounding| {
        let (bits, flags) = run(|f| soft::sqrt::<F128>(x.to_bits(), &riscv(rounding), f));
        (Quad::from_bits(bits), flags)
    };
    let ((down, flags), (up, _)) = (root(RoundingDirection::Down), root(RoundingDirection::Up));
    // square - x, rounded once, has the sign of the exact difference.
    let excess = |root: Quad| root.mul_add_r(root, -x, Round::NearestTiesToEven).value;
    if flags == Flags::NONE {
        prop_assert!(down.bitwise_eq(up) && excess(down).is_zero());
    } else {
        prop_assert_eq!(flags, Flags::INEXACT);
        prop_assert!(down.next_up().value.bitwise_eq(up));
        prop_assert!(excess(down) < Quad::ZERO && excess(up) > Quad::ZERO);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(6_000))]

    #[test]
    fn sqrt_of_narrower_formats_equals_the_one_through_f128(
        a in operand::<Bf16>(), b in operand::<F16>(), c in operand::<F32>(), d in operand::<F64>(),
        e in operand::<F80>(),
    ) {
        root_through_f128::<Bf16>(a)?;
        root_through_f128::<F16>(b)?;
        root_through_f128::<F32>(c)?;
        root_through_f128::<F64>(d)?;
        root_through_f128::<F80>(e)?;
    }

    #[test]
    fn sqrt_f128_is_bracketed_by_exact_squares(a in operand::<F128>()) {
        // Positive, finite, and so large that no square loses bits below the subnormal threshold.
        let exponent = (a >> 112 & 0x7fff).clamp(0x300, 0x7ffe);
        root_of_f128_brackets(a & ((1 << 112) - 1) | exponent << 112)?;
    }
}

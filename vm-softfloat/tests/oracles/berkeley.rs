//! Berkeley SoftFloat 3 with its RISC-V rules: results and flags, bit for bit.

use core::cmp::Ordering;

use crate::operands::{DIRECTIONS, Encoded, cases, integer, operand, riscv, run};
use proptest::prelude::*;
use softfloat_wrapper as berkeley;
use softfloat_wrapper::{ExceptionFlags, Float, RoundingMode};
use vm_softfloat as soft;
use vm_softfloat::{F16, F32, F64, F128, Flags, QuotientRounding, RoundingDirection};

trait Known: Encoded {
    type Theirs: Float;
    fn theirs(value: u128) -> Self::Theirs;
    fn back(theirs: Self::Theirs) -> u128;
}

macro_rules! known {
    ($($format:ident),*) => {$(
        impl Known for $format {
            type Theirs = berkeley::$format;

            fn theirs(value: u128) -> Self::Theirs {
                Float::from_bits(value as _)
            }

            fn back(theirs: Self::Theirs) -> u128 {
                theirs.to_bits().into()
            }
        }
    )*};
}

known!(F16, F32, F64, F128);

fn direction(rounding: RoundingDirection) -> RoundingMode {
    match rounding {
        RoundingDirection::NearestEven => RoundingMode::TiesToEven,
        RoundingDirection::TowardZero | RoundingDirection::Odd => RoundingMode::TowardZero,
        RoundingDirection::Down => RoundingMode::TowardNegative,
        RoundingDirection::Up => RoundingMode::TowardPositive,
        RoundingDirection::NearestAway => RoundingMode::TiesToAway,
    }
}

/// Their result and flags, the latter laid out as RISC-V has them.
fn theirs<T>(operation: impl FnOnce() -> T) -> (T, u8) {
    let mut flags = ExceptionFlags::default();
    flags.set();
    let result = operation();
    flags.get();
    (result, flags.to_bits())
}

fn agree<F: Known>(
    what: &str,
    (ours, flags): (F::Bits, Flags),
    (theirs, their_flags): (F::Theirs, u8),
) -> Result<(), TestCaseError> {
    let expected = F::back(theirs);
    prop_assert_eq!(
        F::value(ours),
        expected,
        "{}: {:#x} not {:#x}",
        what,
        ours,
        expected
    );
    prop_assert_eq!(flags.riscv(), their_flags, "{}: {:?}", what, flags);
    Ok(())
}

fn arithmetic<F: Known>(a: u128, b: u128, c: u128) -> Result<(), TestCaseError> {
    let (x, y, z) = (F::theirs(a), F::theirs(b), F::theirs(c));
    let (p, q, r) = (F::bits(a), F::bits(b), F::bits(c));
    for rounding in DIRECTIONS {
        let (env, mode) = (riscv(rounding), || direction(rounding));
        let what = |name: &str| format!("{name} {a:#x} {b:#x} {c:#x} {rounding:?}");
        let sum = theirs(|| x.add(&y, mode()));
        agree::<F>(&what("add"), run(|f| soft::add::<F>(p, q, &env, f)), sum)?;
        let difference = theirs(|| x.sub(&y, mode()));
        agree::<F>(
            &what("sub"),
            run(|f| soft::sub::<F>(p, q, &env, f)),
            difference,
        )?;
        let product = theirs(|| x.mul(&y, mode()));
        agree::<F>(
            &what("mul"),
            run(|f| soft::mul::<F>(p, q, &env, f)),
            product,
        )?;
        let quotient = theirs(|| x.div(&y, mode()));
        agree::<F>(
            &what("div"),
            run(|f| soft::div::<F>(p, q, &env, f)),
            quotient,
        )?;
        let fused = theirs(|| x.fused_mul_add(&y, &z, mode()));
        agree::<F>(
            &what("fma"),
            run(|f| soft::mul_add::<F>(p, q, r, &env, f)),
            fused,
        )?;
        let root = theirs(|| x.sqrt(mode()));
        agree::<F>(&what("sqrt"), run(|f| soft::sqrt::<F>(p, &env, f)), root)?;
        // The wrapper asks for no inexact exception.
        let integral = theirs(|| x.round_to_integral(mode()));
        let ours = run(|f| soft::round_to_integral::<F>(p, false, &env, f));
        agree::<F>(&what("round"), ours, integral)?;
    }
    Ok(())
}

fn remainders<F: Known>(a: u128, b: u128) -> Result<(), TestCaseError> {
    let (x, y, env) = (
        F::theirs(a),
        F::theirs(b),
        riscv(RoundingDirection::NearestEven),
    );
    let rest = theirs(|| x.rem(&y, RoundingMode::TiesToEven));
    let nearest = QuotientRounding::Nearest;
    let (ours, flags) = run(|f| soft::remainder::<F>(F::bits(a), F::bits(b), nearest, &env, f));
    agree::<F>(&format!("rem {a:#x} {b:#x}"), (ours.0, flags), rest)
}

fn comparisons<F: Known>(a: u128, b: u128) -> Result<(), TestCaseError> {
    let (x, y, env) = (
        F::theirs(a),
        F::theirs(b),
        riscv(RoundingDirection::NearestEven),
    );
    let (p, q) = (F::bits(a), F::bits(b));
    macro_rules! check {
        ($($ours:ident $theirs:ident)*) => {$(
            let (result, flags) = run(|f| soft::$ours::<F>(p, q, &env, f));
            prop_assert_eq!((result, flags.riscv()), theirs(|| x.$theirs(&y)), "{:#x} {:#x}", a, b);
        )*};
    }
    check!(eq eq lt lt le le lt_quiet lt_quiet le_quiet le_quiet);
    let (order, flags) = run(|f| soft::compare_signaling::<F>(p, q, &env, f));
    let equal = theirs(|| x.eq_signaling(&y));
    prop_assert_eq!((order == Some(Ordering::Equal), flags.riscv()), equal);
    Ok(())
}

fn integers<F: Known>(a: u128, value: u64) -> Result<(), TestCaseError> {
    let (p, x) = (F::bits(a), F::theirs(a));
    for rounding in DIRECTIONS {
        let (env, mode) = (riscv(rounding), || direction(rounding));
        let what = format!("{a:#x} {value:#x} {rounding:?}");
        macro_rules! check {
            ($($type:ty, $to:ident, $from:ident;)*) => {$(
                let (ours, flags) = run(|f| soft::to_int::<F, $type>(p, &env, f));
                prop_assert_eq!((ours, flags.riscv()), theirs(|| x.$to(mode(), true)), "{}", what);
                let ours = run(|f| soft::from_int::<F, $type>(value as $type, &env, f));
                agree::<F>(&what, ours, theirs(|| F::Theirs::$from(value as $type, mode())))?;
            )*};
        }
        check! {
            i32, to_i32, from_i32;
            u32, to_u32, from_u32;
            i64, to_i64, from_i64;
            u64, to_u64, from_u64;
        }
    }
    Ok(())
}

fn conversions<F: Known>(a: u128) -> Result<(), TestCaseError> {
    let x = F::theirs(a);
    for rounding in DIRECTIONS {
        let (env, mode) = (riscv(rounding), || direction(rounding));
        macro_rules! check {
            ($($to:ident $function:ident)*) => {$(
                if F::PRECISION != <$to as soft::Format>::PRECISION {
                    let what = format!("{a:#x} to {} {rounding:?}", stringify!($to));
                    let ours = run(|f| soft::convert::<F, $to>(F::bits(a), &env, f));
                    agree::<$to>(&what, ours, theirs(|| x.$function(mode())))?;
                }
            )*};
        }
        check!(F16 to_f16 F32 to_f32 F64 to_f64 F128 to_f128);
    }
    Ok(())
}

macro_rules! per_format {
    ($($format:ty: $arithmetic:ident $rest:ident;)*) => {proptest! {
        #![proptest_config(cases(20_000))]
        $(
            #[test]
            fn $arithmetic(
                a in operand::<$format>(), b in operand::<$format>(), c in operand::<$format>(),
            ) {
                arithmetic::<$format>(a, b, c)?;
                remainders::<$format>(a, b)?;
                comparisons::<$format>(a, b)?;
            }

            #[test]
            fn $rest(a in operand::<$format>(), value in integer()) {
                integers::<$format>(a, value)?;
                conversions::<$format>(a)?;
            }
        )*
    }};
}

per_format! {
    F16: arithmetic_f16_matches_berkeley conversions_f16_match_berkeley;
    F32: arithmetic_f32_matches_berkeley conversions_f32_match_berkeley;
    F64: arithmetic_f64_matches_berkeley conversions_f64_match_berkeley;
    F128: arithmetic_f128_matches_berkeley conversions_f128_match_berkeley;
}

//! The host's floating point, which rounds to nearest even: results only.

use crate::operands::{cases, operand, riscv, run};
use proptest::prelude::*;
use vm_softfloat as soft;
use vm_softfloat::{F32, F64, Format, RoundingDirection};

const CANONICAL_F32: u32 = 0x7fc0_0000;
const CANONICAL_F64: u64 = 0x7ff8 << 48;

macro_rules! against_host {
    ($test:ident, $format:ty, $bits:ty, $float:ty, $canonical:expr) => {
        proptest! {
            #![proptest_config(cases(40_000))]
            #[test]
            fn $test(
                a in operand::<$format>(), b in operand::<$format>(), c in operand::<$format>(),
            ) {
                let (a, b, c) = (a as $bits, b as $bits, c as $bits);
                let [x, y, z] = [a, b, c].map(<$float>::from_bits);
                let env = riscv(RoundingDirection::NearestEven);
                let expect = |value: $float| if value.is_nan() { $canonical } else { value.to_bits() };
                type Binary = fn(
                    <$format as Format>::Bits, <$format as Format>::Bits, &soft::Env, &mut soft::Flags,
                ) -> <$format as Format>::Bits;
                let table: [(&str, Binary, $float); 4] = [
                    ("add", soft::add::<$format>, x + y),
                    ("sub", soft::sub::<$format>, x - y),
                    ("mul", soft::mul::<$format>, x * y),
                    ("div", soft::div::<$format>, x / y),
                ];
                for (name, operation, value) in table {
                    let (ours, _) = run(|flags| operation(a, b, &env, flags));
                    prop_assert_eq!(ours, expect(value), "{} {:#x} {:#x}", name, a, b);
                }
                let (root, _) = run(|flags| soft::sqrt::<$format>(a, &env, flags));
                prop_assert_eq!(root, expect(x.sqrt()), "sqrt {:#x}", a);
                let (fused, _) = run(|flags| soft::mul_add::<$format>(a, b, c, &env, flags));
                prop_assert_eq!(fused, expect(x.mul_add(y, z)), "fma {:#x} {:#x} {:#x}", a, b, c);
                prop_assert_eq!(run(|flags| soft::compare_quiet::<$format>(a, b, &env, flags)).0, x.partial_cmp(&y));
            }
        }
    };
}

against_host!(
    arithmetic_f32_matches_the_host,
    F32,
    u32,
    f32,
    CANONICAL_F32
);
against_host!(
    arithmetic_f64_matches_the_host,
    F64,
    u64,
    f64,
    CANONICAL_F64
);

proptest! {
    #![proptest_config(cases(40_000))]

    #[test]
    fn convert_f64_to_f32_and_back_matches_the_host(a in operand::<F64>()) {
        let a = a as u64;
        let env = riscv(RoundingDirection::NearestEven);
        let (ours, _) = run(|flags| soft::convert::<F64, F32>(a, &env, flags));
        let theirs = f64::from_bits(a) as f32;
        prop_assert_eq!(ours, if theirs.is_nan() { CANONICAL_F32 } else { theirs.to_bits() });
        let (back, flags) = run(|flags| soft::convert::<F32, F64>(ours, &env, flags));
        let theirs = f64::from(theirs);
        prop_assert_eq!(back, if theirs.is_nan() { CANONICAL_F64 } else { theirs.to_bits() });
        prop_assert_eq!(flags.riscv(), 0);
    }

    #[test]
    fn to_i32_modular_f64_matches_wide_integers(a in operand::<F64>()) {
        let a = a as u64;
        let env = riscv(RoundingDirection::NearestEven);
        let (ours, flags) = run(|flags| soft::to_i32_modular::<F64>(a, &env, flags));
        let value = f64::from_bits(a);
        // Beyond 2^84 an f64 is a multiple of 2^32.
        let expected = if value.abs() < 2f64.powi(84) { value as i128 as i32 } else { 0 };
        prop_assert_eq!(ours, expected);
        let (_, direct) = run(|flags| {
            soft::to_int::<F64, i32>(a, &riscv(RoundingDirection::TowardZero), flags)
        });
        prop_assert_eq!(flags, direct);
    }
}

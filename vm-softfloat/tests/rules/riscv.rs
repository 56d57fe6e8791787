use super::*;
use vm_softfloat as soft;
use vm_softfloat::{Env, Extremum, F32, F64, RoundingDirection};

const ENV: Env = Env::riscv(RoundingDirection::NearestEven);
const NV: u8 = 0x10;
const NX: u8 = 0x01;

#[test]
fn riscv_to_int_saturates_with_nan_high() {
    const NAN: u64 = 0xfff8 << 48;
    const TOO_HIGH: u64 = 0x43f0 << 48; // 2^64
    const TOO_LOW: u64 = 0xc3f0 << 48;
    const MINUS_HALF: u64 = 0xbfe0 << 48;
    const MINUS_ONE: u64 = 0xbff0 << 48;
    let int = |a| {
        let (w, flags) = run(|f| soft::to_int::<F64, i32>(a, &ENV, f));
        let (l, _) = run(|f| soft::to_int::<F64, i64>(a, &ENV, f));
        (w, l, flags.riscv())
    };
    let uint = |a| {
        let (w, flags) = run(|f| soft::to_int::<F64, u32>(a, &ENV, f));
        let (l, _) = run(|f| soft::to_int::<F64, u64>(a, &ENV, f));
        (w, l, flags.riscv())
    };
    assert_eq!(int(NAN), (i32::MAX, i64::MAX, NV));
    assert_eq!(uint(NAN), (u32::MAX, u64::MAX, NV));
    assert_eq!(int(TOO_HIGH), (i32::MAX, i64::MAX, NV));
    assert_eq!(uint(TOO_HIGH), (u32::MAX, u64::MAX, NV));
    assert_eq!(int(TOO_LOW), (i32::MIN, i64::MIN, NV));
    assert_eq!(uint(TOO_LOW), (0, 0, NV));
    assert_eq!(uint(MINUS_HALF), (0, 0, NX));
    assert_eq!(uint(MINUS_ONE), (0, 0, NV));
}

#[test]
fn riscv_to_int_judges_range_after_rounding() {
    const MINUS_0_9: u64 = 0xbfec_cccc_cccc_cccd;
    const I32_MAX_AND_HALF: u64 = 0x41df_ffff_ffe0_0000;
    for (rounding, unsigned, signed) in [
        (RoundingDirection::TowardZero, (0, NX), (i32::MAX, NX)),
        (RoundingDirection::Up, (0, NX), (i32::MAX, NV)),
        (RoundingDirection::Down, (0, NV), (i32::MAX, NX)),
        (RoundingDirection::NearestEven, (0, NV), (i32::MAX, NV)),
        (RoundingDirection::NearestAway, (0, NV), (i32::MAX, NV)),
    ] {
        let env = Env::riscv(rounding);
        let (value, flags) = run(|f| soft::to_int::<F64, u64>(MINUS_0_9, &env, f));
        assert_eq!((value, flags.riscv()), unsigned, "{rounding:?}");
        let (value, flags) = run(|f| soft::to_int::<F64, i32>(I32_MAX_AND_HALF, &env, f));
        assert_eq!((value, flags.riscv()), signed, "{rounding:?}");
    }
}

#[test]
fn riscv_mul_add_inf_times_zero_is_invalid_even_with_a_quiet_addend() {
    for addend in [F32_QNAN, 0, F32_INFINITY] {
        let (result, flags) = run(|f| soft::mul_add::<F32>(F32_INFINITY, 0, addend, &ENV, f));
        assert_eq!((result, flags.riscv()), (F32_QNAN, NV), "{addend:#x}");
    }
    let (result, flags) = run(|f| soft::mul_add::<F32>(F32_ONE, 0, F32_QNAN | 5, &ENV, f));
    assert_eq!((result, flags.riscv()), (F32_QNAN, 0));
}

#[test]
fn riscv_min_max_prefer_numbers_and_order_zeros() {
    const MINUS_ZERO: u32 = F32_NEGATIVE;
    let number = |which, a, b| {
        let (result, flags) = run(|f| soft::extremum_number::<F32>(which, a, b, &ENV, f));
        (result, flags.riscv())
    };
    let zfa = |which, a, b| {
        let (result, flags) = run(|f| soft::extremum_propagating::<F32>(which, a, b, &ENV, f));
        (result, flags.riscv())
    };
    for (a, b) in [(0, MINUS_ZERO), (MINUS_ZERO, 0)] {
        assert_eq!(number(Extremum::Min, a, b), (MINUS_ZERO, 0));
        assert_eq!(number(Extremum::Max, a, b), (0, 0));
        assert_eq!(zfa(Extremum::Min, a, b), (MINUS_ZERO, 0));
        assert_eq!(zfa(Extremum::Max, a, b), (0, 0));
    }
    for which in [Extremum::Min, Extremum::Max] {
        assert_eq!(number(which, F32_QNAN | 7, F32_ONE), (F32_ONE, 0));
        assert_eq!(number(which, F32_ONE, F32_SNAN), (F32_ONE, NV));
        assert_eq!(number(which, F32_QNAN | 7, F32_QNAN), (F32_QNAN, 0));
        assert_eq!(number(which, F32_SNAN, F32_QNAN), (F32_QNAN, NV));
        assert_eq!(zfa(which, F32_QNAN | 7, F32_ONE), (F32_QNAN, 0));
        assert_eq!(zfa(which, F32_ONE, F32_SNAN), (F32_QNAN, NV));
    }
    assert_eq!(number(Extremum::Min, F32_ONE, F32_INFINITY), (F32_ONE, 0));
    assert_eq!(
        number(Extremum::Max, F32_ONE | F32_NEGATIVE, F32_ONE),
        (F32_ONE, 0)
    );
}

#[test]
fn riscv_fcvtmod_wraps_and_flags_as_fcvt() {
    for (a, value, flags) in [
        (0x41e0_0000_0000_0000, i32::MIN, NV), // 2^31
        (0x41f0_0000_0010_0000, 1, NV),        // 2^32 + 1
        (0xc1f0_0000_0010_0000, -1, NV),       // -(2^32 + 1)
        (0x4340_0000_0000_0001, 2, NV),        // 2^53 + 2
        (0x43d0_0000_0000_0001, 1 << 10, NV),  // 2^62 + 2^10
        (0x4520_0000_0000_0001, i32::MIN, NV), // 2^83 + 2^31
        (0x4530_0000_0000_0001, 0, NV),        // 2^84 + 2^32
        (0xc1e0_0000_0000_0000, i32::MIN, 0),  // -2^31
        (0xc1e0_0000_001f_ffff, i32::MIN, NX), // just below -2^31, truncates to it
        (0x3fe0_0000_0000_0000, 0, NX),        // 0.5
        (0xbff8_0000_0000_0000, -1, NX),       // -1.5
        (0x7ff0_0000_0000_0000, 0, NV),
        (0x7ff8_0000_0000_0000, 0, NV),
        (0x8000_0000_0000_0000, 0, 0),
    ] {
        let (ours, raised) = run(|f| soft::to_i32_modular::<F64>(a, &ENV, f));
        assert_eq!((ours, raised.riscv()), (value, flags), "{a:#x}");
    }
}

#[test]
fn riscv_fround_keeps_signs_and_fcvt_narrowing_forgets_payloads() {
    let round =
        |a, rounding| run(|f| soft::round_to_integral::<F32>(a, true, &Env::riscv(rounding), f));
    const MINUS_HALF: u32 = 0xbf00_0000;
    assert_eq!(
        round(MINUS_HALF, RoundingDirection::NearestEven),
        (F32_NEGATIVE, Flags::INEXACT)
    );
    assert_eq!(
        round(MINUS_HALF, RoundingDirection::Down).0,
        F32_NEGATIVE | F32_ONE
    );
    assert_eq!(
        round(MINUS_HALF, RoundingDirection::NearestAway).0,
        F32_NEGATIVE | F32_ONE
    );
    assert_eq!(
        round(F32_SNAN, RoundingDirection::NearestEven),
        (F32_QNAN, Flags::INVALID)
    );
    let wide = run(|f| soft::convert::<F32, F64>(0xffd5_4321, &ENV, f));
    assert_eq!(wide, (0x7ff8 << 48, Flags::NONE));
}

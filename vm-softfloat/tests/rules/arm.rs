use super::*;
use vm_softfloat as soft;
use vm_softfloat::{Env, Extremum, F32, F64, FlushResults, NanRule, RoundingDirection, Subnormals};

const ENV: Env = Env::arm(RoundingDirection::NearestEven);
const FLUSHING: Env = Env {
    subnormals: Subnormals::ZeroAndFlag,
    flush: FlushResults::BeforeRounding,
    ..ENV
};
const IDC: u8 = 0x80;
const IXC: u8 = 0x10;
const UFC: u8 = 0x08;
const IOC: u8 = 0x01;

#[test]
fn arm_nan_is_the_first_signalling_then_the_first_quiet() {
    const QUIET: u32 = 0xffd5_4321;
    const SIGNALLING: u32 = 0xff81_2345;
    let add = |a, b| run(|f| soft::add::<F32>(a, b, &ENV, f));
    assert_eq!(
        add(QUIET, SIGNALLING),
        (SIGNALLING | 1 << 22, Flags::INVALID)
    );
    assert_eq!(add(QUIET, F32_QNAN), (QUIET, Flags::NONE));
    assert_eq!(add(F32_SNAN, SIGNALLING).0, F32_SNAN | 1 << 22);
    assert_eq!(
        soft::sub::<F32>(F32_INFINITY, F32_INFINITY, &ENV, &mut Flags::default()),
        F32_QNAN
    );
    // FMADD looks at the addend first.
    let fma = |a, b, c| run(|f| soft::mul_add::<F32>(a, b, c, &ENV, f));
    assert_eq!(
        fma(QUIET, F32_QNAN | 1, F32_QNAN | 2),
        (F32_QNAN | 2, Flags::NONE)
    );
    assert_eq!(
        fma(SIGNALLING, F32_ONE, F32_QNAN | 2),
        (SIGNALLING | 1 << 22, Flags::INVALID)
    );
    assert_eq!(fma(F32_INFINITY, 0, QUIET), (F32_QNAN, Flags::INVALID));
    assert_eq!(
        fma(F32_INFINITY, 0, SIGNALLING),
        (SIGNALLING | 1 << 22, Flags::INVALID)
    );
    let default_nan = Env {
        nan: NanRule::Canonical,
        ..ENV
    };
    assert_eq!(
        run(|f| soft::add::<F32>(QUIET, F32_ONE, &default_nan, f)).0,
        F32_QNAN
    );
}

#[test]
fn arm_tininess_is_found_before_rounding() {
    // (1 - 2^-24) * 2^-126 rounds up to the smallest normal number.
    let operands = (0x3f7f_ffff, F32_MIN_NORMAL);
    let (result, flags) = run(|f| soft::mul::<F32>(operands.0, operands.1, &ENV, f));
    assert_eq!((result, flags.arm()), (F32_MIN_NORMAL, IXC | UFC));
    let riscv = Env::riscv(RoundingDirection::NearestEven);
    let (result, flags) = run(|f| soft::mul::<F32>(operands.0, operands.1, &riscv, f));
    assert_eq!(
        (result, flags),
        (
            F32_MIN_NORMAL,
            Flags::INEXACT | Flags::UNDERFLOW | Flags::ROUNDED_UP
        )
    );
    // With one bit more it would have done so with an unbounded exponent too.
    let narrow = |env: &Env| run(|f| soft::convert::<F64, F32>(0x380f_ffff_f000_0000, env, f));
    assert_eq!(narrow(&ENV).0, F32_MIN_NORMAL);
    assert_eq!(narrow(&ENV).1.arm(), IXC | UFC);
    assert_eq!(narrow(&riscv).1.riscv(), 0x01);
}

#[test]
fn arm_flush_to_zero_raises_idc_and_ufc_alone() {
    let (result, flags) = run(|f| soft::add::<F32>(1, F32_ONE, &FLUSHING, f));
    assert_eq!((result, flags.arm()), (F32_ONE, IDC));
    let (result, flags) = run(|f| soft::add::<F32>(1, F32_SNAN, &FLUSHING, f));
    assert_eq!((result, flags.arm()), (F32_SNAN | 1 << 22, IDC | IOC));
    const MINUS_HALF: u32 = 0xbf00_0000;
    let (result, flags) = run(|f| soft::mul::<F32>(F32_MIN_NORMAL, MINUS_HALF, &FLUSHING, f));
    assert_eq!((result, flags.arm()), (F32_NEGATIVE, UFC));
    let (result, flags) = run(|f| soft::mul::<F32>(F32_MIN_NORMAL, 0x3f7f_ffff, &FLUSHING, f));
    assert_eq!((result, flags.arm()), (0, UFC));
    let (result, flags) = run(|f| soft::to_int::<F32, i32>(1, &FLUSHING, f));
    assert_eq!((result, flags.arm()), (0, IDC));
}

#[test]
fn arm_fminnm_beats_quiet_nans_only() {
    let minnm = |a, b| run(|f| soft::extremum_num_2008::<F32>(Extremum::Min, a, b, &ENV, f));
    assert_eq!(minnm(F32_QNAN, F32_ONE), (F32_ONE, Flags::NONE));
    assert_eq!(
        minnm(F32_SNAN, F32_ONE),
        (F32_SNAN | 1 << 22, Flags::INVALID)
    );
    assert_eq!(minnm(F32_QNAN | 3, F32_QNAN), (F32_QNAN | 3, Flags::NONE));
    let min = |a, b| run(|f| soft::extremum_propagating::<F32>(Extremum::Min, a, b, &ENV, f));
    assert_eq!(min(F32_QNAN | 3, F32_ONE), (F32_QNAN | 3, Flags::NONE));
}

#[test]
fn arm_fcvt_to_fixed_point_saturates_with_nan_zero() {
    let fixed = |a, bits| run(|f| soft::to_fixed::<F32, i32>(a, bits, &ENV, f));
    assert_eq!(fixed(0x3fa0_0000, 2), (5, Flags::NONE)); // 1.25
    assert_eq!(fixed(F32_ONE, 31), (i32::MAX, Flags::INVALID));
    assert_eq!(fixed(F32_QNAN, 4), (0, Flags::INVALID));
    let (result, flags) = run(|f| soft::from_fixed::<F32, i32>(-5, 2, &ENV, f));
    assert_eq!((result, flags), (0xbfa0_0000, Flags::NONE));
}

#[test]
fn arm_fcvtxn_rounds_to_odd_and_never_to_infinity() {
    let odd = ENV.with_rounding(RoundingDirection::Odd);
    let narrow = |a| run(|f| soft::convert::<F64, F32>(a, &odd, f)).0;
    assert_eq!(narrow(0x3ff0_0000_0000_0001), F32_ONE | 1);
    assert_eq!(narrow(0x3ff0_0000_3fff_ffff), F32_ONE | 1);
    assert_eq!(narrow(0x3ff0_0000_4000_0001), F32_ONE | 3);
    assert_eq!(narrow(0x7fe0 << 48), 0x7f7f_ffff);
    assert_eq!(narrow(1), 1);
}

//! Conversions between formats and integers, and rounding to integers (Intel SDM 1, 11.4.1.6, 12.6.7, 14.4).

use vm_ir::eval::FpControl;
use vm_ir::{Rounding, Vector};
use vm_softfloat::{F16, F32, F64, Format, convert, from_int, round_to_integral, to_int};

use super::encoding::{F16C, NARROW, UNARY, UNARY_IMM, WIDEN, needs, number, word};
use super::{Lane, rows};

/// Lane `n` of a vector as bits of a format.
fn single(a: &Vector, n: usize) -> u32 {
    u32::split(a)[n]
}

/// Four singles to integers.
fn singles_to_int(fp: &mut FpControl, a: &Vector, rounding: Rounding) -> Vector {
    fp.run(rounding, |env, flags| {
        u32::map(a, |a| to_int::<F32, i32>(a, env, flags) as u32)
    })
}

/// Four doubles, two of `a` and two of `b`, to integers.
fn doubles_to_int(fp: &mut FpControl, a: &Vector, b: &Vector, rounding: Rounding) -> Vector {
    let from = [a[0], a[1], b[0], b[1]];
    fp.run(rounding, |env, flags| {
        i32::build(|n| to_int::<F64, i32>(from[n], env, flags))
    })
}

/// Rounding as the low three bits of a constant say (Intel SDM 2B, "ROUNDPD", figure 4-24).
fn rounding(imm: u8) -> Rounding {
    match imm & 7 {
        0 => Rounding::NearestEven,
        1 => Rounding::Down,
        2 => Rounding::Up,
        3 => Rounding::Zero,
        _ => Rounding::Dynamic,
    }
}

/// Rounds a number to an integer of the same format, by a constant.
fn round<F: Format>(fp: &mut FpControl, a: F::Bits, imm: u8) -> F::Bits {
    fp.run(rounding(imm), |env, flags| {
        round_to_integral::<F>(a, imm & 8 == 0, env, flags)
    })
}

/// Eight singles, four of each operand, to halves.
fn singles_to_half(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    // Subnormal results stay whatever MXCSR.FTZ says (Intel SDM 2C, "VCVTPS2PH").
    let rules = fp.rules;
    fp.rules.flush = vm_softfloat::FlushResults::Never;
    let halves: [u16; 8] = fp.run(rounding(imm), |env, flags| {
        std::array::from_fn(|n| {
            let from = if n < 4 {
                single(a, n)
            } else {
                single(b, n - 4)
            };
            convert::<F32, F16>(from, env, flags)
        })
    });
    fp.rules = rules;
    u16::join(halves)
}

/// Four halves to singles: subnormal operands count for what they are, without exception (Intel SDM 2C, "VCVTPH2PS").
fn half_to_singles(fp: &mut FpControl, a: &Vector, part: u8) -> Vector {
    let rules = fp.rules;
    fp.rules.subnormals = vm_softfloat::Subnormals::Keep;
    let halves = u16::split(a);
    let first = 4 * usize::from(part & 1);
    let result = fp.run(Rounding::NearestEven, |env, flags| {
        u32::build(|n| convert::<F16, F32>(halves[first + n], env, flags))
    });
    fp.rules = rules;
    result
}

rows! {
    Cvtdq2ps Vcvtdq2ps Unary, word(0, 0x0f, 0x5b, UNARY), fp |fp, a, _, _, _| {
        fp.run(Rounding::Dynamic, |env, flags| {
            u32::map(a, |a| from_int::<F32, i32>(a as i32, env, flags))
        })
    };
    Cvtps2dq Vcvtps2dq Unary, word(0x66, 0x0f, 0x5b, UNARY), fp |fp, a, _, _, _| {
        singles_to_int(fp, a, Rounding::Dynamic)
    };
    Cvttps2dq Vcvttps2dq Unary, word(0xf3, 0x0f, 0x5b, UNARY), fp |fp, a, _, _, _| {
        singles_to_int(fp, a, Rounding::Zero)
    };
    Cvtdq2pd Vcvtdq2pd Widen, number(word(0xf3, 0x0f, 0xe6, WIDEN), 8), fp |fp, a, _, _, part| {
        fp.run(Rounding::Dynamic, |env, flags| {
            let first = 2 * usize::from(part & 1);
            u64::build(|n| from_int::<F64, i32>(single(a, first + n) as i32, env, flags))
        })
    };
    Cvtps2pd Vcvtps2pd Widen, number(word(0, 0x0f, 0x5a, WIDEN), 8), fp |fp, a, _, _, part| {
        fp.run(Rounding::Dynamic, |env, flags| {
            let first = 2 * usize::from(part & 1);
            u64::build(|n| convert::<F32, F64>(single(a, first + n), env, flags))
        })
    };
    Cvtpd2ps Vcvtpd2ps Narrow, word(0x66, 0x0f, 0x5a, NARROW), fp |fp, a, b, _, _| {
        let from = [a[0], a[1], b[0], b[1]];
        fp.run(Rounding::Dynamic, |env, flags| {
            u32::build(|n| convert::<F64, F32>(from[n], env, flags))
        })
    };
    Cvtpd2dq Vcvtpd2dq Narrow, word(0xf2, 0x0f, 0xe6, NARROW), fp |fp, a, b, _, _| doubles_to_int(fp, a, b, Rounding::Dynamic);
    Cvttpd2dq Vcvttpd2dq Narrow, word(0x66, 0x0f, 0xe6, NARROW), fp |fp, a, b, _, _| doubles_to_int(fp, a, b, Rounding::Zero);
    INVALID Vcvtph2ps Widen, number(needs(word(0x66, 0x38, 0x13, WIDEN), F16C), 8), fp |fp, a, _, _, part| {
        half_to_singles(fp, a, part)
    };
    INVALID Vcvtps2ph Special, 0, fp |fp, a, b, _, imm| singles_to_half(fp, a, b, imm);
    Roundps Vroundps Unary, word(0x66, 0x3a, 0x08, UNARY_IMM), fp |fp, a, _, _, imm| {
        u32::map(a, |a| round::<F32>(fp, a, imm))
    };
    Roundpd Vroundpd Unary, word(0x66, 0x3a, 0x09, UNARY_IMM), fp |fp, a, _, _, imm| {
        u64::map(a, |a| round::<F64>(fp, a, imm))
    };
    Roundss Vroundss Scalar, word(0x66, 0x3a, 0x0a, super::encoding::BINARY_IMM), fp |fp, a, b, _, imm| {
        [a[0] >> 32 << 32 | u64::from(round::<F32>(fp, b[0] as u32, imm)), a[1]]
    };
    Roundsd Vroundsd Scalar, word(0x66, 0x3a, 0x0b, super::encoding::BINARY_IMM), fp |fp, a, b, _, imm| {
        [round::<F64>(fp, b[0], imm), a[1]]
    };
}

//! Lanes chosen: comparisons, extrema, blends by a mask, tests (Intel SDM 1, 10.4.2, 12.6).

use std::cmp::Ordering;

use vm_ir::eval::FpControl;
use vm_ir::{Rounding, Vector};
use vm_softfloat::{Env, Extremum, F32, F64, Flags, Format, compare_quiet, compare_signaling};

use super::encoding::{BINARY, BINARY_IMM, FLAGS, SELECT, word};
use super::{Lane, rows};

/// Outcomes of a comparison as bits of a set.
const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
const UNORDERED: u8 = 8;

/// For each predicate below 16 the outcomes that it holds for, and whether quiet NaNs are invalid; beyond, the latter is
/// the other way round (Intel SDM 2A, "CMPPD", table 3-1).
const PREDICATES: [(u8, bool); 16] = [
    (EQUAL, false),
    (LESS, true),
    (LESS | EQUAL, true),
    (UNORDERED, false),
    (LESS | GREATER | UNORDERED, false),
    (EQUAL | GREATER | UNORDERED, true),
    (GREATER | UNORDERED, true),
    (LESS | EQUAL | GREATER, false),
    (EQUAL | UNORDERED, false),
    (LESS | UNORDERED, true),
    (LESS | EQUAL | UNORDERED, true),
    (0, false),
    (LESS | GREATER, false),
    (EQUAL | GREATER, true),
    (GREATER, true),
    (LESS | EQUAL | GREATER | UNORDERED, false),
];

fn holds<F: Format>(a: F::Bits, b: F::Bits, imm: u8, env: &Env, flags: &mut Flags) -> bool {
    let (outcomes, signals) = PREDICATES[usize::from(imm & 15)];
    let order = if signals != (imm & 16 != 0) {
        compare_signaling::<F>(a, b, env, flags)
    } else {
        compare_quiet::<F>(a, b, env, flags)
    };
    let outcome = match order {
        Some(Ordering::Less) => LESS,
        Some(Ordering::Equal) => EQUAL,
        Some(Ordering::Greater) => GREATER,
        None => UNORDERED,
    };
    outcomes & outcome != 0
}

fn compare_singles(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    fp.run(Rounding::Dynamic, |env, flags| {
        u32::zip(a, b, |a, b| {
            u32::from(holds::<F32>(a, b, imm, env, flags)).wrapping_neg()
        })
    })
}

fn compare_doubles(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    fp.run(Rounding::Dynamic, |env, flags| {
        u64::zip(a, b, |a, b| {
            u64::from(holds::<F64>(a, b, imm, env, flags)).wrapping_neg()
        })
    })
}

fn compare_single(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    let holds = fp.run(Rounding::Dynamic, |env, flags| {
        holds::<F32>(a[0] as u32, b[0] as u32, imm, env, flags)
    });
    let lane = u64::from(u32::from(holds).wrapping_neg());
    [a[0] >> 32 << 32 | lane, a[1]]
}

fn compare_double(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    let holds = fp.run(Rounding::Dynamic, |env, flags| {
        holds::<F64>(a[0], b[0], imm, env, flags)
    });
    [u64::from(holds).wrapping_neg(), a[1]]
}

/// Flags Z, P and C as COMISS sets them, for every quiet NaN with an invalid operation.
fn ordered<F: Format>(fp: &mut FpControl, a: F::Bits, b: F::Bits) -> Vector {
    let order = fp.run(Rounding::Dynamic, |env, flags| {
        compare_signaling::<F>(a, b, env, flags)
    });
    let bits = match order {
        None => 0x45,
        Some(Ordering::Less) => 1,
        Some(Ordering::Equal) => 0x40,
        Some(Ordering::Greater) => 0,
    };
    [bits, 0]
}

fn extremum_singles(fp: &mut FpControl, which: Extremum, a: &Vector, b: &Vector) -> Vector {
    fp.run(Rounding::Dynamic, |env, flags| {
        u32::zip(a, b, |a, b| {
            vm_softfloat::extremum_second::<F32>(which, a, b, env, flags)
        })
    })
}

fn extremum_doubles(fp: &mut FpControl, which: Extremum, a: &Vector, b: &Vector) -> Vector {
    fp.run(Rounding::Dynamic, |env, flags| {
        u64::zip(a, b, |a, b| {
            vm_softfloat::extremum_second::<F64>(which, a, b, env, flags)
        })
    })
}

/// Lanes of `b` where the top bit of the mask's lane is set, else of `a`.
macro_rules! by_mask {
    ($signed:ty) => {
        |a: &Vector, b: &Vector, mask: &Vector| {
            let (a, b, mask) = (
                <$signed>::split(a),
                <$signed>::split(b),
                <$signed>::split(mask),
            );
            <$signed>::build(|n| if mask[n] < 0 { b[n] } else { a[n] })
        }
    };
}

/// Z when no bit that `keep` has is in both, C when none is in `b` but not in `a` (`ptest`).
fn test(a: &Vector, b: &Vector, keep: u64) -> Vector {
    let both = (a[0] & b[0] | a[1] & b[1]) & keep;
    let only = (!a[0] & b[0] | !a[1] & b[1]) & keep;
    [u64::from(both == 0) << 6 | u64::from(only == 0), 0]
}

const fn ps(opcode: u8) -> u32 {
    word(0, 0x0f, opcode, BINARY)
}

const fn pd(opcode: u8) -> u32 {
    word(0x66, 0x0f, opcode, BINARY)
}

rows! {
    Cmpps Vcmpps Compare, word(0, 0x0f, 0xc2, BINARY_IMM), fp |fp, a, b, _, imm| compare_singles(fp, a, b, imm);
    Cmppd Vcmppd Compare, word(0x66, 0x0f, 0xc2, BINARY_IMM), fp |fp, a, b, _, imm| compare_doubles(fp, a, b, imm);
    Cmpss Vcmpss CompareScalar, word(0xf3, 0x0f, 0xc2, BINARY_IMM), fp |fp, a, b, _, imm| compare_single(fp, a, b, imm);
    Cmpsd Vcmpsd CompareScalar, word(0xf2, 0x0f, 0xc2, BINARY_IMM), fp |fp, a, b, _, imm| compare_double(fp, a, b, imm);
    Comiss Vcomiss Flags, word(0, 0x0f, 0x2f, FLAGS), fp |fp, a, b, _, _| ordered::<F32>(fp, a[0] as u32, b[0] as u32);
    Comisd Vcomisd Flags, word(0x66, 0x0f, 0x2f, FLAGS), fp |fp, a, b, _, _| ordered::<F64>(fp, a[0], b[0]);
    Minps Vminps Binary, ps(0x5d), fp |fp, a, b, _, _| extremum_singles(fp, Extremum::Min, a, b);
    Minpd Vminpd Binary, pd(0x5d), fp |fp, a, b, _, _| extremum_doubles(fp, Extremum::Min, a, b);
    Maxps Vmaxps Binary, ps(0x5f), fp |fp, a, b, _, _| extremum_singles(fp, Extremum::Max, a, b);
    Maxpd Vmaxpd Binary, pd(0x5f), fp |fp, a, b, _, _| extremum_doubles(fp, Extremum::Max, a, b);

    Pblendvb Vpblendvb Select, word(0x66, 0x3a, 0x4c, SELECT), plain |a, b, mask, _| by_mask!(i8)(a, b, mask);
    Blendvps Vblendvps Select, word(0x66, 0x3a, 0x4a, SELECT), plain |a, b, mask, _| by_mask!(i32)(a, b, mask);
    Blendvpd Vblendvpd Select, word(0x66, 0x3a, 0x4b, SELECT), plain |a, b, mask, _| {
        by_mask!(i64)(a, b, mask)
    };
    Ptest Vptest Flags, word(0x66, 0x38, 0x17, FLAGS), plain |a, b, _, _| test(a, b, u64::MAX);
    INVALID Vtestps Flags, word(0x66, 0x38, 0x0e, FLAGS), plain |a, b, _, _| test(a, b, 0x8000_0000_8000_0000);
    INVALID Vtestpd Flags, word(0x66, 0x38, 0x0f, FLAGS), plain |a, b, _, _| test(a, b, 1 << 63);
}

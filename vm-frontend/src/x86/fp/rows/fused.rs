//! Fused multiply-add on all lanes (Intel SDM 1, 14.5).

use vm_ir::eval::FpControl;
use vm_ir::{Rounding, Vector};
use vm_softfloat::{F32, F64, Negate, mul_add_negated};

use super::encoding::{FMA, FUSED, needs, wide, word};
use super::{Lane, rows};

/// The encoding of singles; `opcode` is that of the order 231.
const fn ps(opcode: u8) -> u32 {
    needs(word(0x66, 0x38, opcode, FUSED), FMA)
}

const fn pd(opcode: u8) -> u32 {
    wide(ps(opcode))
}

/// What is negated, in lanes with even numbers and in the others.
type Negated = [Negate; 2];

const fn negated(product: bool, even: bool, odd: bool) -> Negated {
    [
        Negate {
            product,
            addend: even,
        },
        Negate {
            product,
            addend: odd,
        },
    ]
}

/// `a * b + c`.
const ADD: Negated = negated(false, false, false);
/// `a * b - c`.
const SUB: Negated = negated(false, true, true);
/// `-(a * b) + c`.
const NEG_ADD: Negated = negated(true, false, false);
/// `-(a * b) - c`.
const NEG_SUB: Negated = negated(true, true, true);
/// `a * b - c` in even lanes, `a * b + c` in odd ones.
const ADD_SUB: Negated = negated(false, true, false);
/// The other way round.
const SUB_ADD: Negated = negated(false, false, true);

fn singles(fp: &mut FpControl, [a, b, c]: [&Vector; 3], negated: Negated) -> Vector {
    let [a, b, c] = [a, b, c].map(u32::split);
    fp.run(Rounding::Dynamic, |env, flags| {
        u32::build(|n| mul_add_negated::<F32>(a[n], b[n], c[n], negated[n % 2], env, flags))
    })
}

fn doubles(fp: &mut FpControl, [a, b, c]: [&Vector; 3], negated: Negated) -> Vector {
    fp.run(Rounding::Dynamic, |env, flags| {
        u64::build(|n| mul_add_negated::<F64>(a[n], b[n], c[n], negated[n % 2], env, flags))
    })
}

rows! {
    INVALID Vfmadd132ps Fused(132), ps(0xb8), fp |fp, a, b, c, _| singles(fp, [a, b, c], ADD);
    INVALID Vfmadd213ps Fused(213), ps(0xb8), fp |fp, a, b, c, _| singles(fp, [a, b, c], ADD);
    INVALID Vfmadd231ps Fused(231), ps(0xb8), fp |fp, a, b, c, _| singles(fp, [a, b, c], ADD);
    INVALID Vfmadd132pd Fused(132), pd(0xb8), fp |fp, a, b, c, _| doubles(fp, [a, b, c], ADD);
    INVALID Vfmadd213pd Fused(213), pd(0xb8), fp |fp, a, b, c, _| doubles(fp, [a, b, c], ADD);
    INVALID Vfmadd231pd Fused(231), pd(0xb8), fp |fp, a, b, c, _| doubles(fp, [a, b, c], ADD);
    INVALID Vfmsub132ps Fused(132), ps(0xba), fp |fp, a, b, c, _| singles(fp, [a, b, c], SUB);
    INVALID Vfmsub213ps Fused(213), ps(0xba), fp |fp, a, b, c, _| singles(fp, [a, b, c], SUB);
    INVALID Vfmsub231ps Fused(231), ps(0xba), fp |fp, a, b, c, _| singles(fp, [a, b, c], SUB);
    INVALID Vfmsub132pd Fused(132), pd(0xba), fp |fp, a, b, c, _| doubles(fp, [a, b, c], SUB);
    INVALID Vfmsub213pd Fused(213), pd(0xba), fp |fp, a, b, c, _| doubles(fp, [a, b, c], SUB);
    INVALID Vfmsub231pd Fused(231), pd(0xba), fp |fp, a, b, c, _| doubles(fp, [a, b, c], SUB);
    INVALID Vfnmadd132ps Fused(132), ps(0xbc), fp |fp, a, b, c, _| singles(fp, [a, b, c], NEG_ADD);
    INVALID Vfnmadd213ps Fused(213), ps(0xbc), fp |fp, a, b, c, _| singles(fp, [a, b, c], NEG_ADD);
    INVALID Vfnmadd231ps Fused(231), ps(0xbc), fp |fp, a, b, c, _| singles(fp, [a, b, c], NEG_ADD);
    INVALID Vfnmadd132pd Fused(132), pd(0xbc), fp |fp, a, b, c, _| doubles(fp, [a, b, c], NEG_ADD);
    INVALID Vfnmadd213pd Fused(213), pd(0xbc), fp |fp, a, b, c, _| doubles(fp, [a, b, c], NEG_ADD);
    INVALID Vfnmadd231pd Fused(231), pd(0xbc), fp |fp, a, b, c, _| doubles(fp, [a, b, c], NEG_ADD);
    INVALID Vfnmsub132ps Fused(132), ps(0xbe), fp |fp, a, b, c, _| singles(fp, [a, b, c], NEG_SUB);
    INVALID Vfnmsub213ps Fused(213), ps(0xbe), fp |fp, a, b, c, _| singles(fp, [a, b, c], NEG_SUB);
    INVALID Vfnmsub231ps Fused(231), ps(0xbe), fp |fp, a, b, c, _| singles(fp, [a, b, c], NEG_SUB);
    INVALID Vfnmsub132pd Fused(132), pd(0xbe), fp |fp, a, b, c, _| doubles(fp, [a, b, c], NEG_SUB);
    INVALID Vfnmsub213pd Fused(213), pd(0xbe), fp |fp, a, b, c, _| doubles(fp, [a, b, c], NEG_SUB);
    INVALID Vfnmsub231pd Fused(231), pd(0xbe), fp |fp, a, b, c, _| doubles(fp, [a, b, c], NEG_SUB);
    INVALID Vfmaddsub132ps Fused(132), ps(0xb6), fp |fp, a, b, c, _| singles(fp, [a, b, c], ADD_SUB);
    INVALID Vfmaddsub213ps Fused(213), ps(0xb6), fp |fp, a, b, c, _| singles(fp, [a, b, c], ADD_SUB);
    INVALID Vfmaddsub231ps Fused(231), ps(0xb6), fp |fp, a, b, c, _| singles(fp, [a, b, c], ADD_SUB);
    INVALID Vfmaddsub132pd Fused(132), pd(0xb6), fp |fp, a, b, c, _| doubles(fp, [a, b, c], ADD_SUB);
    INVALID Vfmaddsub213pd Fused(213), pd(0xb6), fp |fp, a, b, c, _| doubles(fp, [a, b, c], ADD_SUB);
    INVALID Vfmaddsub231pd Fused(231), pd(0xb6), fp |fp, a, b, c, _| doubles(fp, [a, b, c], ADD_SUB);
    INVALID Vfmsubadd132ps Fused(132), ps(0xb7), fp |fp, a, b, c, _| singles(fp, [a, b, c], SUB_ADD);
    INVALID Vfmsubadd213ps Fused(213), ps(0xb7), fp |fp, a, b, c, _| singles(fp, [a, b, c], SUB_ADD);
    INVALID Vfmsubadd231ps Fused(231), ps(0xb7), fp |fp, a, b, c, _| singles(fp, [a, b, c], SUB_ADD);
    INVALID Vfmsubadd132pd Fused(132), pd(0xb7), fp |fp, a, b, c, _| doubles(fp, [a, b, c], SUB_ADD);
    INVALID Vfmsubadd213pd Fused(213), pd(0xb7), fp |fp, a, b, c, _| doubles(fp, [a, b, c], SUB_ADD);
    INVALID Vfmsubadd231pd Fused(231), pd(0xb7), fp |fp, a, b, c, _| doubles(fp, [a, b, c], SUB_ADD);
}

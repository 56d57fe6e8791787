//! IEEE arithmetic, by `vm-softfloat`.

use std::cmp::Ordering;

use vm_softfloat::{Env, Extremum, F16, F32, F64, Flags, Format, IntegerRule, Negate};

use super::{FpControl, Outcome, flags};
use crate::attr::{Attr, FlagKind, FpToIntRule, MinMaxRule, Rounding};
use crate::inst::Inst;
use crate::op::Op;
use crate::slot::Type;

/// Runs a body with `$F` as the format of a type; `None` when it is not a format.
macro_rules! with_format {
    ($ty:expr, $F:ident => $body:expr) => {
        match $ty {
            Type::F16 => {
                type $F = F16;
                $body
            }
            Type::F32 => {
                type $F = F32;
                $body
            }
            Type::F64 => {
                type $F = F64;
                $body
            }
            _ => None,
        }
    };
}
pub(super) use with_format;

/// Operations on scalars.
pub(super) fn evaluate(inst: &Inst, args: [u64; 4], fp: &mut FpControl) -> Option<Outcome> {
    match inst.op {
        Op::FpToInt => return to_int(inst, args[0], fp),
        Op::IntToFp => return from_int(inst, args[0], fp),
        Op::FpToFp => return to_fp(inst, args[0], fp),
        Op::FpUnbox => return Outcome::bits(unbox(inst.ty, args[0]), inst.ty.bits()),
        Op::FpCmpFlags => return compare_to_flags(inst, args, fp),
        _ => {}
    }
    with_format!(inst.ty, F => {
        if let Some(value) = predicate::<F>(inst.op, args, fp) {
            return Outcome::bits(value, 64);
        }
        let value = arithmetic::<F>(inst, args, fp).or_else(|| sign(inst, args))?;
        Outcome::bits(value, inst.ty.bits())
    })
}

/// The value when the bits above it are all ones, else the canonical NaN (RISC-V Unpriv 20240411, 21.2).
fn unbox(ty: Type, a: u64) -> u64 {
    match ty {
        Type::F16 if a >> 16 != u64::MAX >> 16 => 0x7e00,
        Type::F32 if a >> 32 != u64::MAX >> 32 => 0x7fc0_0000,
        _ => a,
    }
}

fn arithmetic<F: Format<Word = u64>>(
    inst: &Inst,
    args: [u64; 4],
    fp: &mut FpControl,
) -> Option<u64> {
    let [a, b, c, _] = args.map(F::narrow);
    let result = match inst.attr {
        Attr::Fp(rounding) => fp.run(rounding, |env, flags| {
            rounded::<F>(inst.op, [a, b, c], env, flags)
        })?,
        Attr::MinMax(rule) => fp.run(Rounding::NearestEven, |env, flags| {
            extremum::<F>(inst.op, rule, a, b, env, flags)
        })?,
        Attr::Integral { rounding, exact } if inst.op == Op::FpRound => fp
            .run(rounding, |env, flags| {
                vm_softfloat::round_to_integral::<F>(a, exact, env, flags)
            }),
        _ => return None,
    };
    Some(F::widen(result))
}

/// Operations that round.
pub(super) fn rounded<F: Format>(
    op: Op,
    [a, b, c]: [F::Bits; 3],
    env: &Env,
    flags: &mut Flags,
) -> Option<F::Bits> {
    let mut fused = |product, addend| {
        let negate = Negate { product, addend };
        vm_softfloat::mul_add_negated::<F>(a, b, c, negate, env, flags)
    };
    Some(match op {
        Op::FpMulAdd => fused(false, false),
        Op::FpMulSub => fused(false, true),
        Op::FpNegMulAdd => fused(true, true),
        Op::FpNegMulSub => fused(true, false),
        Op::FpAdd | Op::VecFpAdd => vm_softfloat::add::<F>(a, b, env, flags),
        Op::FpSub | Op::VecFpSub => vm_softfloat::sub::<F>(a, b, env, flags),
        Op::FpMul | Op::VecFpMul => vm_softfloat::mul::<F>(a, b, env, flags),
        Op::FpDiv => vm_softfloat::div::<F>(a, b, env, flags),
        Op::FpSqrt => vm_softfloat::sqrt::<F>(a, env, flags),
        _ => return None,
    })
}

fn extremum<F: Format>(
    op: Op,
    rule: MinMaxRule,
    a: F::Bits,
    b: F::Bits,
    env: &Env,
    flags: &mut Flags,
) -> Option<F::Bits> {
    let which = match op {
        Op::FpMin => Extremum::Min,
        Op::FpMax => Extremum::Max,
        _ => return None,
    };
    let choose = match rule {
        MinMaxRule::Number => vm_softfloat::extremum_number::<F>,
        MinMaxRule::Propagate => vm_softfloat::extremum_propagating::<F>,
        MinMaxRule::Second => vm_softfloat::extremum_second::<F>,
    };
    Some(choose(which, a, b, env, flags))
}

fn sign(inst: &Inst, [a, b, ..]: [u64; 4]) -> Option<u64> {
    let top = 1_u64 << (inst.ty.bits() - 1);
    let sign = match inst.op {
        Op::FpSign => b,
        Op::FpSignNot => !b,
        Op::FpSignXor => a ^ b,
        _ => return None,
    };
    Some(a & !top | sign & top)
}

/// Operations with an integer result that does not depend on the format's size.
fn predicate<F: Format<Word = u64>>(op: Op, args: [u64; 4], fp: &mut FpControl) -> Option<u64> {
    let [a, b, ..] = args.map(F::narrow);
    let compare = match op {
        Op::FpClass => return Some(vm_softfloat::classify::<F>(a).riscv().into()),
        Op::FpEq => vm_softfloat::eq::<F>,
        Op::FpLt => vm_softfloat::lt::<F>,
        Op::FpLe => vm_softfloat::le::<F>,
        Op::FpLtQuiet => vm_softfloat::lt_quiet::<F>,
        Op::FpLeQuiet => vm_softfloat::le_quiet::<F>,
        _ => return None,
    };
    Some(
        fp.run(Rounding::NearestEven, |env, flags| {
            compare(a, b, env, flags)
        })
        .into(),
    )
}

/// Z, P and C as x86 `ucomisd` sets them (Intel SDM 2, UCOMISD).
fn compare_to_flags(inst: &Inst, args: [u64; 4], fp: &mut FpControl) -> Option<Outcome> {
    let order = with_format!(inst.ty, F => {
        let [a, b, ..] = args.map(F::narrow);
        Some(fp.run(Rounding::NearestEven, |env, flags| {
            vm_softfloat::compare_quiet::<F>(a, b, env, flags)
        }))
    })?;
    let bits = match order {
        None => flags::Z | flags::P | flags::C,
        Some(Ordering::Less) => flags::C,
        Some(Ordering::Equal) => flags::Z,
        Some(Ordering::Greater) => 0,
    };
    Some(Outcome::Group(flags::set(
        FlagKind::Bits,
        Type::I64,
        [bits, 0, 0],
        [0; 5],
    )))
}

fn to_int(inst: &Inst, a: u64, fp: &mut FpControl) -> Option<Outcome> {
    let Attr::Convert {
        from,
        rounding,
        signed,
        rule,
    } = inst.attr
    else {
        return None;
    };
    let integer = match rule {
        FpToIntRule::SaturateNanMax | FpToIntRule::Modulo => IntegerRule::SaturateNanHigh,
        FpToIntRule::SaturateNanZero => IntegerRule::SaturateNanZero,
        FpToIntRule::Indefinite => IntegerRule::Indefinite,
    };
    let value = with_format!(from, F => {
        let a = F::narrow(a);
        fp.run(rounding, |env, flags| {
            let env = &Env { integer, ..*env };
            if rule == FpToIntRule::Modulo {
                return Some(vm_softfloat::to_i32_modular::<F>(a, env, flags) as u64);
            }
            Some(match (inst.ty, signed) {
                (Type::I16, true) => vm_softfloat::to_int::<F, i16>(a, env, flags) as u64,
                (Type::I16, false) => vm_softfloat::to_int::<F, u16>(a, env, flags).into(),
                (Type::I32, true) => vm_softfloat::to_int::<F, i32>(a, env, flags) as u64,
                (Type::I32, false) => vm_softfloat::to_int::<F, u32>(a, env, flags).into(),
                (Type::I64, true) => vm_softfloat::to_int::<F, i64>(a, env, flags) as u64,
                (Type::I64, false) => vm_softfloat::to_int::<F, u64>(a, env, flags),
                _ => return None,
            })
        })
    })?;
    Outcome::bits(value, inst.ty.bits())
}

fn from_int(inst: &Inst, a: u64, fp: &mut FpControl) -> Option<Outcome> {
    let Attr::Convert {
        from,
        rounding,
        signed,
        ..
    } = inst.attr
    else {
        return None;
    };
    let value = with_format!(inst.ty, F => fp.run(rounding, |env, flags| {
        Some(F::widen(match (from, signed) {
            (Type::I16, true) => vm_softfloat::from_int::<F, i16>(a as i16, env, flags),
            (Type::I16, false) => vm_softfloat::from_int::<F, u16>(a as u16, env, flags),
            (Type::I32, true) => vm_softfloat::from_int::<F, i32>(a as i32, env, flags),
            (Type::I32, false) => vm_softfloat::from_int::<F, u32>(a as u32, env, flags),
            (Type::I64, true) => vm_softfloat::from_int::<F, i64>(a as i64, env, flags),
            (Type::I64, false) => vm_softfloat::from_int::<F, u64>(a, env, flags),
            _ => return None,
        }))
    }))?;
    Outcome::bits(value, inst.ty.bits())
}

fn to_fp(inst: &Inst, a: u64, fp: &mut FpControl) -> Option<Outcome> {
    let Attr::Convert { from, rounding, .. } = inst.attr else {
        return None;
    };
    let value = with_format!(from, F => with_format!(inst.ty, G => {
        let a = F::narrow(a);
        let b = fp.run(rounding, |env, flags| vm_softfloat::convert::<F, G>(a, env, flags));
        Some(G::widen(b))
    }))?;
    Outcome::bits(value, inst.ty.bits())
}

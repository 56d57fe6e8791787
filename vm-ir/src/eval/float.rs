//! IEEE arithmetic, by `vm-softfloat`.

use std::cmp::Ordering;

use vm_softfloat::{Env, Extremum, F16, F32, F64, Flags, Format, IntegerRule, Negate};

use super::{FpControl, Outcome, flags};
use crate::attr::{Attr, FpToIntRule, MinMaxRule, Rounding};
use crate::inst::Inst;
use crate::op::family::{FpArith, FpCompare, FpConvert, FpExtremum, FpOther, FpSign};
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

/// The value when the bits above it are all ones, else the canonical NaN (RISC-V Unpriv 20240411, 21.2).
fn unbox(ty: Type, a: u64) -> u64 {
    match ty {
        Type::F16 if a >> 16 != u64::MAX >> 16 => 0x7e00,
        Type::F32 if a >> 32 != u64::MAX >> 32 => 0x7fc0_0000,
        _ => a,
    }
}

pub(super) fn arithmetic(
    op: FpArith,
    inst: &Inst,
    args: [u64; 4],
    fp: &mut FpControl,
) -> Option<Outcome> {
    let Attr::Fp(rounding) = inst.attr else {
        return None;
    };
    let value = with_format!(inst.ty, F => {
        let [a, b, c, _] = args.map(F::narrow);
        let result = fp.run(rounding, |env, flags| rounded::<F>(op, [a, b, c], env, flags));
        Some(F::widen(result))
    })?;
    Outcome::bits(value, inst.ty.bits())
}

/// Operations that round.
pub(super) fn rounded<F: Format>(
    op: FpArith,
    [a, b, c]: [F::Bits; 3],
    env: &Env,
    flags: &mut Flags,
) -> F::Bits {
    let mut fused = |product, addend| {
        let negate = Negate { product, addend };
        vm_softfloat::mul_add_negated::<F>(a, b, c, negate, env, flags)
    };
    match op {
        FpArith::FpMulAdd => fused(false, false),
        FpArith::FpMulSub => fused(false, true),
        FpArith::FpNegMulAdd => fused(true, true),
        FpArith::FpNegMulSub => fused(true, false),
        FpArith::FpAdd => vm_softfloat::add::<F>(a, b, env, flags),
        FpArith::FpSub => vm_softfloat::sub::<F>(a, b, env, flags),
        FpArith::FpMul => vm_softfloat::mul::<F>(a, b, env, flags),
        FpArith::FpDiv => vm_softfloat::div::<F>(a, b, env, flags),
        FpArith::FpSqrt => vm_softfloat::sqrt::<F>(a, env, flags),
    }
}

pub(super) fn extremum(
    op: FpExtremum,
    inst: &Inst,
    args: [u64; 4],
    fp: &mut FpControl,
) -> Option<Outcome> {
    let Attr::MinMax(rule) = inst.attr else {
        return None;
    };
    let which = match op {
        FpExtremum::FpMin => Extremum::Min,
        FpExtremum::FpMax => Extremum::Max,
    };
    let value = with_format!(inst.ty, F => {
        let [a, b, ..] = args.map(F::narrow);
        let choose = match rule {
            MinMaxRule::Number => vm_softfloat::extremum_number::<F>,
            MinMaxRule::Propagate => vm_softfloat::extremum_propagating::<F>,
            MinMaxRule::Second => vm_softfloat::extremum_second::<F>,
        };
        let result = fp.run(Rounding::NearestEven, |env, flags| choose(which, a, b, env, flags));
        Some(F::widen(result))
    })?;
    Outcome::bits(value, inst.ty.bits())
}

pub(super) fn sign(op: FpSign, ty: Type, [a, b, ..]: [u64; 4]) -> Option<Outcome> {
    if !ty.is_fp() {
        return None;
    }
    let top = 1_u64 << (ty.bits() - 1);
    let sign = match op {
        FpSign::FpSign => b,
        FpSign::FpSignNot => !b,
        FpSign::FpSignXor => a ^ b,
    };
    Outcome::bits(a & !top | sign & top, ty.bits())
}

/// Zero or one, as wide as the destination.
pub(super) fn compare(
    op: FpCompare,
    ty: Type,
    args: [u64; 4],
    fp: &mut FpControl,
) -> Option<Outcome> {
    let holds = with_format!(ty, F => {
        let [a, b, ..] = args.map(F::narrow);
        let compare = match op {
            FpCompare::FpEq => vm_softfloat::eq::<F>,
            FpCompare::FpLt => vm_softfloat::lt::<F>,
            FpCompare::FpLe => vm_softfloat::le::<F>,
            FpCompare::FpLtQuiet => vm_softfloat::lt_quiet::<F>,
            FpCompare::FpLeQuiet => vm_softfloat::le_quiet::<F>,
        };
        Some(fp.run(Rounding::NearestEven, |env, flags| compare(a, b, env, flags)))
    })?;
    Outcome::bits(holds.into(), 64)
}

pub(super) fn other(
    op: FpOther,
    inst: &Inst,
    args: [u64; 4],
    fp: &mut FpControl,
) -> Option<Outcome> {
    match op {
        FpOther::FpUnbox => Outcome::bits(unbox(inst.ty, args[0]), inst.ty.bits()),
        FpOther::FpCmpFlags => compare_to_flags(inst, args, fp),
        FpOther::FpClass => {
            let class = with_format!(inst.ty, F => {
                Some(vm_softfloat::classify::<F>(F::narrow(args[0])).riscv())
            })?;
            Outcome::bits(class.into(), 64)
        }
        FpOther::FpRound => {
            let Attr::Integral { rounding, exact } = inst.attr else {
                return None;
            };
            let value = with_format!(inst.ty, F => {
                let a = F::narrow(args[0]);
                let result = fp.run(rounding, |env, flags| {
                    vm_softfloat::round_to_integral::<F>(a, exact, env, flags)
                });
                Some(F::widen(result))
            })?;
            Outcome::bits(value, inst.ty.bits())
        }
    }
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
    Outcome::bits(flags::word(bits), Type::Flags.bits())
}

pub(super) fn convert(op: FpConvert, inst: &Inst, a: u64, fp: &mut FpControl) -> Option<Outcome> {
    match op {
        FpConvert::FpToFp => to_fp(inst, a, fp),
        FpConvert::FpToInt => to_int(inst, a, fp),
        FpConvert::IntToFp => from_int(inst, a, fp),
    }
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

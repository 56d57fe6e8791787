//! Arithmetic and conversion of one number (Intel SDM 1, 10.4, 11.4, 14.5).

use iced_x86::{Mnemonic, Register};
use vm_ir::{Attr, Ext, FpToIntRule, MinMaxRule, Op, Operand, Rounding, Slot, Type};

use super::operand::{Aligned, halves};
use super::{is_vex, mmx};
use crate::x86::lift::Flow;
use crate::x86::lift::context::{Context, FL, register_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Arithmetic of two operands, or, for the square root, of the second.
    Arith(Op, Type),
    /// Minimum, maximum.
    Extremum(Op, Type),
    /// Fused multiply-add by the order of its operands.
    Fused(Op, Type, u8),
    /// Comparison to flags, silent for quiet NaNs.
    Compare(Type),
    /// From the other format.
    FromFloat(Type),
    /// From an integer.
    FromInt(Type),
    /// To an integer; whether it truncates.
    ToInt(Type, bool),
    /// Two integers in an MMX register or memory to two numbers.
    FromMmx(Type),
    /// Two numbers to integers in an MMX register; whether it truncates.
    ToMmx(Type, bool),
}

use Rule::*;
use Type::{F32, F64};

macro_rules! fused {
    ($($op:ident $order:literal $single:ident $double:ident)*) => {
        [$((Mnemonic::$single, Fused(Op::$op, F32, $order)), (Mnemonic::$double, Fused(Op::$op, F64, $order)),)*]
    };
}

const FUSED: [(Mnemonic, Rule); 24] = fused! {
    FpMulAdd 132 Vfmadd132ss Vfmadd132sd
    FpMulAdd 213 Vfmadd213ss Vfmadd213sd
    FpMulAdd 231 Vfmadd231ss Vfmadd231sd
    FpMulSub 132 Vfmsub132ss Vfmsub132sd
    FpMulSub 213 Vfmsub213ss Vfmsub213sd
    FpMulSub 231 Vfmsub231ss Vfmsub231sd
    FpNegMulSub 132 Vfnmadd132ss Vfnmadd132sd
    FpNegMulSub 213 Vfnmadd213ss Vfnmadd213sd
    FpNegMulSub 231 Vfnmadd231ss Vfnmadd231sd
    FpNegMulAdd 132 Vfnmsub132ss Vfnmsub132sd
    FpNegMulAdd 213 Vfnmsub213ss Vfnmsub213sd
    FpNegMulAdd 231 Vfnmsub231ss Vfnmsub231sd
};

const OTHERS: [(Mnemonic, Rule); 46] = [
    (Mnemonic::Addss, Arith(Op::FpAdd, F32)),
    (Mnemonic::Addsd, Arith(Op::FpAdd, F64)),
    (Mnemonic::Subss, Arith(Op::FpSub, F32)),
    (Mnemonic::Subsd, Arith(Op::FpSub, F64)),
    (Mnemonic::Mulss, Arith(Op::FpMul, F32)),
    (Mnemonic::Mulsd, Arith(Op::FpMul, F64)),
    (Mnemonic::Divss, Arith(Op::FpDiv, F32)),
    (Mnemonic::Divsd, Arith(Op::FpDiv, F64)),
    (Mnemonic::Sqrtss, Arith(Op::FpSqrt, F32)),
    (Mnemonic::Sqrtsd, Arith(Op::FpSqrt, F64)),
    (Mnemonic::Vaddss, Arith(Op::FpAdd, F32)),
    (Mnemonic::Vaddsd, Arith(Op::FpAdd, F64)),
    (Mnemonic::Vsubss, Arith(Op::FpSub, F32)),
    (Mnemonic::Vsubsd, Arith(Op::FpSub, F64)),
    (Mnemonic::Vmulss, Arith(Op::FpMul, F32)),
    (Mnemonic::Vmulsd, Arith(Op::FpMul, F64)),
    (Mnemonic::Vdivss, Arith(Op::FpDiv, F32)),
    (Mnemonic::Vdivsd, Arith(Op::FpDiv, F64)),
    (Mnemonic::Vsqrtss, Arith(Op::FpSqrt, F32)),
    (Mnemonic::Vsqrtsd, Arith(Op::FpSqrt, F64)),
    (Mnemonic::Minss, Extremum(Op::FpMin, F32)),
    (Mnemonic::Minsd, Extremum(Op::FpMin, F64)),
    (Mnemonic::Maxss, Extremum(Op::FpMax, F32)),
    (Mnemonic::Maxsd, Extremum(Op::FpMax, F64)),
    (Mnemonic::Vminss, Extremum(Op::FpMin, F32)),
    (Mnemonic::Vminsd, Extremum(Op::FpMin, F64)),
    (Mnemonic::Vmaxss, Extremum(Op::FpMax, F32)),
    (Mnemonic::Vmaxsd, Extremum(Op::FpMax, F64)),
    (Mnemonic::Ucomiss, Compare(F32)),
    (Mnemonic::Ucomisd, Compare(F64)),
    (Mnemonic::Vucomiss, Compare(F32)),
    (Mnemonic::Vucomisd, Compare(F64)),
    (Mnemonic::Cvtss2sd, FromFloat(F64)),
    (Mnemonic::Cvtsd2ss, FromFloat(F32)),
    (Mnemonic::Vcvtss2sd, FromFloat(F64)),
    (Mnemonic::Vcvtsd2ss, FromFloat(F32)),
    (Mnemonic::Cvtsi2ss, FromInt(F32)),
    (Mnemonic::Cvtsi2sd, FromInt(F64)),
    (Mnemonic::Vcvtsi2ss, FromInt(F32)),
    (Mnemonic::Vcvtsi2sd, FromInt(F64)),
    (Mnemonic::Cvtpi2ps, FromMmx(F32)),
    (Mnemonic::Cvtpi2pd, FromMmx(F64)),
    (Mnemonic::Cvtps2pi, ToMmx(F32, false)),
    (Mnemonic::Cvtpd2pi, ToMmx(F64, false)),
    (Mnemonic::Cvttps2pi, ToMmx(F32, true)),
    (Mnemonic::Cvttpd2pi, ToMmx(F64, true)),
];

const TO_INT: [(Mnemonic, Rule); 8] = [
    (Mnemonic::Cvtss2si, ToInt(F32, false)),
    (Mnemonic::Cvtsd2si, ToInt(F64, false)),
    (Mnemonic::Cvttss2si, ToInt(F32, true)),
    (Mnemonic::Cvttsd2si, ToInt(F64, true)),
    (Mnemonic::Vcvtss2si, ToInt(F32, false)),
    (Mnemonic::Vcvtsd2si, ToInt(F64, false)),
    (Mnemonic::Vcvttss2si, ToInt(F32, true)),
    (Mnemonic::Vcvttsd2si, ToInt(F64, true)),
];

pub(super) const TABLE: &[(Mnemonic, Rule)] = &{
    let mut all = [OTHERS[0]; 78];
    let mut n = 0;
    while n < all.len() {
        all[n] = match n {
            0..46 => OTHERS[n],
            46..54 => TO_INT[n - 46],
            _ => FUSED[n - 54],
        };
        n += 1;
    }
    all
};

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let register = c.insn.op_register(0);
    match rule {
        Arith(op, ty) => {
            let [x, y] = sources(c);
            let dynamic = Attr::Fp(Rounding::Dynamic);
            merge(c, [x, y], |c, to, y| {
                let (op, attr) = (op, dynamic);
                match op {
                    Op::FpSqrt => c.b.op_with(op, ty, Ext::Keep, Some(to), [y.into()], attr),
                    _ => {
                        c.b.op_with(op, ty, Ext::Keep, Some(to), [x.into(), y.into()], attr)
                    }
                }
            });
        }
        Extremum(op, ty) => {
            let [x, y] = sources(c);
            let attr = Attr::MinMax(MinMaxRule::Second);
            merge(c, [x, y], |c, to, y| {
                let operands = [x.into(), y.into()];
                c.b.op_with(op, ty, Ext::Keep, Some(to), operands, attr);
            });
        }
        Fused(op, ty, order) => {
            let [first, second] = [0, 1].map(|n| halves(c.insn.op_register(n))[0]);
            let [third, _] = c.source(2, Aligned::No);
            let [a, b, addend] = match order {
                132 => [first, third, second],
                213 => [second, first, third],
                _ => [second, third, first],
            };
            c.begin_float(register);
            let operands = [a.into(), b.into(), addend.into()];
            let attr = Attr::Fp(Rounding::Dynamic);
            c.b.op_with(op, ty, Ext::Keep, Some(first), operands, attr);
            c.clear_high(register);
            c.end_float(register);
        }
        Compare(ty) => {
            let [x, _] = halves(register);
            let [y, _] = c.source(1, Aligned::No);
            c.begin_float(register);
            let flags = c.b.temp(Type::Flags);
            c.b.op(Op::FpCmpFlags, ty, Ext::Zero, flags, [x.into(), y.into()]);
            c.end_float(register);
            c.b.op(Op::Mov, Type::Flags, Ext::Zero, FL, [flags.into()]);
        }
        FromFloat(ty) => {
            let from = if ty == F32 { F64 } else { F32 };
            let [x, y] = sources(c);
            let attr = convert(from, Rounding::Dynamic);
            merge(c, [x, y], |c, to, y| {
                c.b.op_with(Op::FpToFp, ty, Ext::Keep, Some(to), [y.into()], attr);
            });
        }
        FromInt(ty) => from_int(c, ty),
        ToInt(from, truncates) => {
            let to = register_slot(register);
            let ty = c.ty(0);
            let [y, _] = c.source(1, Aligned::No);
            let rounding = if truncates {
                Rounding::Zero
            } else {
                Rounding::Dynamic
            };
            c.begin_float(Register::XMM0);
            let value = c.b.temp64();
            let attr = convert(from, rounding);
            c.b.op_with(Op::FpToInt, ty, Ext::Zero, Some(value), [y.into()], attr);
            c.end_float(Register::XMM0);
            c.b.mov(to, value);
        }
        FromMmx(ty) => from_mmx(c, ty),
        ToMmx(from, truncates) => to_mmx(c, from, truncates),
    }
    Flow::Next
}

const fn convert(from: Type, rounding: Rounding) -> Attr {
    Attr::Convert {
        from,
        rounding,
        signed: true,
        rule: FpToIntRule::Indefinite,
    }
}

/// The operand that the upper lanes come from, and the other.
fn sources(c: &mut Context<'_>) -> [Slot; 2] {
    let (x, y) = if is_vex(c) { (1, 2) } else { (0, 1) };
    let [x, _] = halves(c.insn.op_register(x));
    let [y, _] = c.source(y, Aligned::No);
    [x, y]
}

/// Makes the destination a copy of `x`, of which `compute` replaces the lowest lane, given `y`.
fn merge(
    c: &mut Context<'_>,
    [x, y]: [Slot; 2],
    compute: impl FnOnce(&mut Context<'_>, Slot, Slot),
) {
    let register = c.insn.op_register(0);
    let [to, _] = halves(register);
    c.begin_float(register);
    let y = match to == y && to != x {
        true => {
            let temp = c.vector_temp();
            c.mov_vector(temp, y);
            temp
        }
        false => y,
    };
    c.mov_vector(to, x);
    compute(c, to, y);
    c.clear_high(register);
    c.end_float(register);
}

fn from_int(c: &mut Context<'_>, ty: Type) {
    let register = c.insn.op_register(0);
    let (rest, operand) = if is_vex(c) { (1, 2) } else { (0, 1) };
    let from = c.ty(operand);
    let value = c.value(operand);
    let [x, _] = halves(c.insn.op_register(rest));
    let [to, _] = halves(register);
    c.begin_float(register);
    c.mov_vector(to, x);
    let attr = convert(from, Rounding::Dynamic);
    c.b.op_with(Op::IntToFp, ty, Ext::Keep, Some(to), [value], attr);
    c.clear_high(register);
    c.end_float(register);
}

/// `cvtpi2ps`, `cvtpi2pd`: with memory they leave the x87 unit alone.
fn from_mmx(c: &mut Context<'_>, ty: Type) {
    let register = c.insn.op_register(0);
    let uses_unit = !c.in_memory(1);
    if uses_unit {
        mmx::check(c);
    }
    let from = mmx::source(c, 1);
    if uses_unit {
        mmx::enter(c);
    }
    let lanes = [0, 1].map(|index| extract(c, from, Type::I32, index));
    let [to, _] = halves(register);
    c.begin_float(register);
    let attr = convert(Type::I32, Rounding::Dynamic);
    let values = lanes.map(|lane| {
        let value = c.b.temp(ty);
        let operands = [lane.into()];
        c.b.op_with(Op::IntToFp, ty, Ext::Zero, Some(value), operands, attr);
        let bits = c.b.temp64();
        let int = if ty == F32 { Type::I32 } else { Type::I64 };
        c.b.op(Op::Mov, int, Ext::Zero, bits, [value.into()]);
        bits
    });
    let int = if ty == F32 { Type::I32 } else { Type::I64 };
    for (index, value) in values.into_iter().enumerate() {
        let attr = Attr::Lane {
            ty: int,
            index: index as u8,
        };
        let operands = [to.into(), value.into()];
        c.b.op_with(
            Op::VecInsert,
            Type::V128,
            Ext::Zero,
            Some(to),
            operands,
            attr,
        );
    }
    c.end_float(register);
}

fn extract(c: &mut Context<'_>, from: Slot, ty: Type, index: u8) -> Slot {
    let temp = c.b.temp64();
    let attr = Attr::Lane { ty, index };
    c.b.op_with(
        Op::VecExtract,
        Type::I64,
        Ext::Zero,
        Some(temp),
        [from.into()],
        attr,
    );
    temp
}

fn to_mmx(c: &mut Context<'_>, from: Type, truncates: bool) {
    let register = c.insn.op_register(0);
    mmx::check(c);
    let aligned = if from == F64 {
        Aligned::Legacy
    } else {
        Aligned::No
    };
    let [y, _] = c.source(1, aligned);
    let rounding = if truncates {
        Rounding::Zero
    } else {
        Rounding::Dynamic
    };
    let int = if from == F32 { Type::I32 } else { Type::I64 };
    c.begin_float(Register::XMM0);
    let attr = convert(from, rounding);
    let lanes = [0, 1].map(|index| {
        let bits = extract(c, y, int, index);
        let number = c.b.temp(from);
        c.b.op(Op::Mov, int, Ext::Zero, number, [bits.into()]);
        let value = c.b.temp64();
        let operands = [number.into()];
        c.b.op_with(
            Op::FpToInt,
            Type::I32,
            Ext::Zero,
            Some(value),
            operands,
            attr,
        );
        value
    });
    c.end_float(Register::XMM0);
    let [low, high] = lanes.map(Operand::from);
    let both = c.deposit(low, 32, 32, high);
    mmx::enter(c);
    mmx::write(c, register, both);
}

//! Floating-point conversions and rounding to integral values (RISC-V Unpriv 20240411, chapters "F", "D", "Zfh" and
//! "Zfa").

use vm_ir::{Attr, Ext, FpToIntRule, Op as Ir, Rounding, Type};

use super::Flow;
use super::context::Context;
use super::float::rounding;
use super::integer::extension;
use crate::riscv::decode::{Insn, Op};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Format to integer.
    ToInt { from: Type, to: Type, signed: bool },
    /// `fcvtmod.w.d`.
    ToIntModulo,
    /// Integer to format.
    FromInt { from: Type, to: Type, signed: bool },
    /// Format to format.
    Format { from: Type, to: Type },
    /// To an integral value, with or without Inexact.
    Integral { ty: Type, exact: bool },
}

use Rule::*;
use Type::{F16, F32, F64, I32, I64};

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::FcvtWS, to_integer(F32, I32, true)),
    (Op::FcvtWuS, to_integer(F32, I32, false)),
    (Op::FcvtLS, to_integer(F32, I64, true)),
    (Op::FcvtLuS, to_integer(F32, I64, false)),
    (Op::FcvtSW, from_integer(I32, F32, true)),
    (Op::FcvtSWu, from_integer(I32, F32, false)),
    (Op::FcvtSL, from_integer(I64, F32, true)),
    (Op::FcvtSLu, from_integer(I64, F32, false)),
    (Op::FcvtWD, to_integer(F64, I32, true)),
    (Op::FcvtWuD, to_integer(F64, I32, false)),
    (Op::FcvtLD, to_integer(F64, I64, true)),
    (Op::FcvtLuD, to_integer(F64, I64, false)),
    (Op::FcvtDW, from_integer(I32, F64, true)),
    (Op::FcvtDWu, from_integer(I32, F64, false)),
    (Op::FcvtDL, from_integer(I64, F64, true)),
    (Op::FcvtDLu, from_integer(I64, F64, false)),
    (Op::FcvtWH, to_integer(F16, I32, true)),
    (Op::FcvtWuH, to_integer(F16, I32, false)),
    (Op::FcvtLH, to_integer(F16, I64, true)),
    (Op::FcvtLuH, to_integer(F16, I64, false)),
    (Op::FcvtHW, from_integer(I32, F16, true)),
    (Op::FcvtHWu, from_integer(I32, F16, false)),
    (Op::FcvtHL, from_integer(I64, F16, true)),
    (Op::FcvtHLu, from_integer(I64, F16, false)),
    (Op::FcvtmodWD, ToIntModulo),
    (Op::FcvtSD, Format { from: F64, to: F32 }),
    (Op::FcvtDS, Format { from: F32, to: F64 }),
    (Op::FcvtSH, Format { from: F16, to: F32 }),
    (Op::FcvtHS, Format { from: F32, to: F16 }),
    (Op::FcvtDH, Format { from: F16, to: F64 }),
    (Op::FcvtHD, Format { from: F64, to: F16 }),
    (Op::FroundS, integral(F32, false)),
    (Op::FroundnxS, integral(F32, true)),
    (Op::FroundD, integral(F64, false)),
    (Op::FroundnxD, integral(F64, true)),
    (Op::FroundH, integral(F16, false)),
    (Op::FroundnxH, integral(F16, true)),
];

const fn to_integer(from: Type, to: Type, signed: bool) -> Rule {
    ToInt { from, to, signed }
}

const fn from_integer(from: Type, to: Type, signed: bool) -> Rule {
    FromInt { from, to, signed }
}

const fn integral(ty: Type, exact: bool) -> Rule {
    Integral { ty, exact }
}

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    if !c.fp_is_on() {
        return Flow::Illegal;
    }
    let Some(rounding) = rounding(c, insn) else {
        return Flow::Illegal;
    };
    c.fp_written();
    let convert = |from, signed, rule| Attr::Convert {
        from,
        rounding,
        signed,
        rule,
    };
    match rule {
        ToInt { from, to, signed } => {
            to_int(
                c,
                from,
                to,
                insn,
                convert(from, signed, FpToIntRule::SaturateNanMax),
            );
        }
        ToIntModulo => {
            let rounding = Rounding::Zero;
            let rule = FpToIntRule::Modulo;
            to_int(
                c,
                F64,
                I32,
                insn,
                Attr::Convert {
                    from: F64,
                    rounding,
                    signed: true,
                    rule,
                },
            );
        }
        FromInt { from, to, signed } => {
            let source = c.x(insn.rs1);
            let (dst, ext) = c.f_dst(to, insn.rd);
            let attr = convert(from, signed, FpToIntRule::SaturateNanMax);
            c.b.op_with(Ir::IntToFp, to, ext, Some(dst), [source], attr);
        }
        Format { from, to } => {
            let source = c.f_src(from, insn.rs1);
            let (dst, ext) = c.f_dst(to, insn.rd);
            let attr = convert(from, true, FpToIntRule::SaturateNanMax);
            c.b.op_with(Ir::FpToFp, to, ext, Some(dst), [source], attr);
        }
        Integral { ty, exact } => {
            let source = c.f_src(ty, insn.rs1);
            let (dst, ext) = c.f_dst(ty, insn.rd);
            let attr = Attr::Integral { rounding, exact };
            c.b.op_with(Ir::FpRound, ty, ext, Some(dst), [source], attr);
        }
    }
    Flow::Next
}

/// 32-bit results are sign-extended, unsigned ones too.
fn to_int(c: &mut Context, from: Type, to: Type, insn: &Insn, attr: Attr) {
    let source = c.f_src(from, insn.rs1);
    let dst = c.x_dst(insn.rd);
    let ext: Ext = extension(to);
    c.b.op_with(Ir::FpToInt, to, ext, dst, [source], attr);
}

//! Floating-point arithmetic, comparison and moves (RISC-V Unpriv 20240411, chapters "F", "D", "Zfh" and "Zfa").

use vm_ir::{Attr, Ext, MinMaxRule, Op as Ir, Operand, Rounding, Type};

use super::Flow;
use super::context::Context;
use crate::riscv::decode::{Insn, Op};
use crate::riscv::sys::mode;

/// How an instruction is lifted; the type is its format.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Rounded arithmetic of one to three operands.
    Arith(Ir, Type, u8),
    /// `fmin` and the like.
    MinMax(Ir, Type, MinMaxRule),
    /// Sign injection.
    Sign(Ir, Type),
    /// Comparison into an integer register.
    Compare(Ir, Type),
    /// `fclass`.
    Class(Type),
    /// The bits to an integer register.
    ToBits(Type),
    /// The bits from an integer register.
    FromBits(Type),
    /// `fli`.
    Constant(Type),
}

use MinMaxRule::{Number, Propagate};
use Rule::*;
use Type::{F16, F32, F64};

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::FmaddS, Arith(Ir::FpMulAdd, F32, 3)),
    (Op::FmsubS, Arith(Ir::FpMulSub, F32, 3)),
    (Op::FnmsubS, Arith(Ir::FpNegMulSub, F32, 3)),
    (Op::FnmaddS, Arith(Ir::FpNegMulAdd, F32, 3)),
    (Op::FaddS, Arith(Ir::FpAdd, F32, 2)),
    (Op::FsubS, Arith(Ir::FpSub, F32, 2)),
    (Op::FmulS, Arith(Ir::FpMul, F32, 2)),
    (Op::FdivS, Arith(Ir::FpDiv, F32, 2)),
    (Op::FsqrtS, Arith(Ir::FpSqrt, F32, 1)),
    (Op::FsgnjS, Sign(Ir::FpSign, F32)),
    (Op::FsgnjnS, Sign(Ir::FpSignNot, F32)),
    (Op::FsgnjxS, Sign(Ir::FpSignXor, F32)),
    (Op::FminS, MinMax(Ir::FpMin, F32, Number)),
    (Op::FmaxS, MinMax(Ir::FpMax, F32, Number)),
    (Op::FminmS, MinMax(Ir::FpMin, F32, Propagate)),
    (Op::FmaxmS, MinMax(Ir::FpMax, F32, Propagate)),
    (Op::FeqS, Compare(Ir::FpEq, F32)),
    (Op::FltS, Compare(Ir::FpLt, F32)),
    (Op::FleS, Compare(Ir::FpLe, F32)),
    (Op::FltqS, Compare(Ir::FpLtQuiet, F32)),
    (Op::FleqS, Compare(Ir::FpLeQuiet, F32)),
    (Op::FclassS, Class(F32)),
    (Op::FmvXW, ToBits(F32)),
    (Op::FmvWX, FromBits(F32)),
    (Op::FliS, Constant(F32)),
    (Op::FmaddD, Arith(Ir::FpMulAdd, F64, 3)),
    (Op::FmsubD, Arith(Ir::FpMulSub, F64, 3)),
    (Op::FnmsubD, Arith(Ir::FpNegMulSub, F64, 3)),
    (Op::FnmaddD, Arith(Ir::FpNegMulAdd, F64, 3)),
    (Op::FaddD, Arith(Ir::FpAdd, F64, 2)),
    (Op::FsubD, Arith(Ir::FpSub, F64, 2)),
    (Op::FmulD, Arith(Ir::FpMul, F64, 2)),
    (Op::FdivD, Arith(Ir::FpDiv, F64, 2)),
    (Op::FsqrtD, Arith(Ir::FpSqrt, F64, 1)),
    (Op::FsgnjD, Sign(Ir::FpSign, F64)),
    (Op::FsgnjnD, Sign(Ir::FpSignNot, F64)),
    (Op::FsgnjxD, Sign(Ir::FpSignXor, F64)),
    (Op::FminD, MinMax(Ir::FpMin, F64, Number)),
    (Op::FmaxD, MinMax(Ir::FpMax, F64, Number)),
    (Op::FminmD, MinMax(Ir::FpMin, F64, Propagate)),
    (Op::FmaxmD, MinMax(Ir::FpMax, F64, Propagate)),
    (Op::FeqD, Compare(Ir::FpEq, F64)),
    (Op::FltD, Compare(Ir::FpLt, F64)),
    (Op::FleD, Compare(Ir::FpLe, F64)),
    (Op::FltqD, Compare(Ir::FpLtQuiet, F64)),
    (Op::FleqD, Compare(Ir::FpLeQuiet, F64)),
    (Op::FclassD, Class(F64)),
    (Op::FmvXD, ToBits(F64)),
    (Op::FmvDX, FromBits(F64)),
    (Op::FliD, Constant(F64)),
    (Op::FmaddH, Arith(Ir::FpMulAdd, F16, 3)),
    (Op::FmsubH, Arith(Ir::FpMulSub, F16, 3)),
    (Op::FnmsubH, Arith(Ir::FpNegMulSub, F16, 3)),
    (Op::FnmaddH, Arith(Ir::FpNegMulAdd, F16, 3)),
    (Op::FaddH, Arith(Ir::FpAdd, F16, 2)),
    (Op::FsubH, Arith(Ir::FpSub, F16, 2)),
    (Op::FmulH, Arith(Ir::FpMul, F16, 2)),
    (Op::FdivH, Arith(Ir::FpDiv, F16, 2)),
    (Op::FsqrtH, Arith(Ir::FpSqrt, F16, 1)),
    (Op::FsgnjH, Sign(Ir::FpSign, F16)),
    (Op::FsgnjnH, Sign(Ir::FpSignNot, F16)),
    (Op::FsgnjxH, Sign(Ir::FpSignXor, F16)),
    (Op::FminH, MinMax(Ir::FpMin, F16, Number)),
    (Op::FmaxH, MinMax(Ir::FpMax, F16, Number)),
    (Op::FminmH, MinMax(Ir::FpMin, F16, Propagate)),
    (Op::FmaxmH, MinMax(Ir::FpMax, F16, Propagate)),
    (Op::FeqH, Compare(Ir::FpEq, F16)),
    (Op::FltH, Compare(Ir::FpLt, F16)),
    (Op::FleH, Compare(Ir::FpLe, F16)),
    (Op::FltqH, Compare(Ir::FpLtQuiet, F16)),
    (Op::FleqH, Compare(Ir::FpLeQuiet, F16)),
    (Op::FclassH, Class(F16)),
    (Op::FliH, Constant(F16)),
    (Op::FmvXH, ToBits(F16)),
    (Op::FmvHX, FromBits(F16)),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    if !c.fp_is_on() {
        return Flow::Illegal;
    }
    match rule {
        Arith(op, ty, operands) => {
            let Some(rounding) = rounding(c, insn) else {
                return Flow::Illegal;
            };
            arithmetic(c, op, ty, operands, insn, Attr::Fp(rounding));
        }
        MinMax(op, ty, rule) => arithmetic(c, op, ty, 2, insn, Attr::MinMax(rule)),
        Sign(op, ty) => sign(c, op, ty, insn),
        Compare(op, ty) => {
            c.fp_written();
            let operands = [c.f_src(ty, insn.rs1), c.f_src(ty, insn.rs2)];
            let dst = c.x_dst(insn.rd);
            c.b.op_with(op, ty, Ext::Zero, dst, operands, Attr::None);
        }
        Class(ty) => {
            if insn.rd != 0 {
                let operand = c.f_src(ty, insn.rs1);
                let dst = c.x_dst(insn.rd);
                c.b.op_with(Ir::FpClass, ty, Ext::Zero, dst, [operand], Attr::None);
            }
        }
        ToBits(ty) => {
            let from = c.f(insn.rs1);
            if let Some(dst) = c.x_dst(insn.rd) {
                let ext = if ty == F64 { Ext::Zero } else { Ext::Sign };
                c.b.op(Ir::Mov, integer_of(ty), ext, dst, [from.into()]);
            }
        }
        FromBits(ty) => {
            c.fp_written();
            let from = c.x(insn.rs1);
            let (dst, ext) = c.f_dst(ty, insn.rd);
            c.b.op(Ir::Mov, integer_of(ty), ext, dst, [from]);
        }
        Constant(ty) => {
            c.fp_written();
            let (dst, ext) = c.f_dst(ty, insn.rd);
            let value = Operand::Imm(constant(ty, insn.rs1));
            c.b.op(Ir::Mov, integer_of(ty), ext, dst, [value]);
        }
    }
    Flow::Next
}

/// The rounding that the instruction asks for; `None` if it is illegal, being dynamic while `frm` is reserved.
pub(super) fn rounding(c: &Context, insn: &Insn) -> Option<Rounding> {
    match insn.rm {
        0..=4 => Some(Rounding::ALL[usize::from(insn.rm)]),
        _ if mode::dynamic_rounding_is_illegal(c.mode) => None,
        _ => Some(Rounding::Dynamic),
    }
}

/// The integer type of the same size.
const fn integer_of(ty: Type) -> Type {
    match ty {
        F16 => Type::I16,
        F32 => Type::I32,
        _ => Type::I64,
    }
}

fn arithmetic(c: &mut Context, op: Ir, ty: Type, operands: u8, insn: &Insn, attr: Attr) {
    c.fp_written();
    let registers = [insn.rs1, insn.rs2, insn.rs3];
    let mut sources = [Operand::None; 4];
    for (source, &register) in sources.iter_mut().zip(&registers[..usize::from(operands)]) {
        *source = c.f_src(ty, register);
    }
    let (dst, ext) = c.f_dst(ty, insn.rd);
    c.b.op_with(op, ty, ext, Some(dst), sources, attr);
}

fn sign(c: &mut Context, op: Ir, ty: Type, insn: &Insn) {
    c.fp_written();
    let a = c.f_src(ty, insn.rs1);
    if op == Ir::FpSign && insn.rs1 == insn.rs2 {
        let (dst, ext) = c.f_dst(ty, insn.rd);
        return c.b.op(Ir::Mov, ty, ext, dst, [a]);
    }
    let b = if insn.rs1 == insn.rs2 {
        a
    } else {
        c.f_src(ty, insn.rs2)
    };
    let (dst, ext) = c.f_dst(ty, insn.rd);
    c.b.op(op, ty, ext, dst, [a, b]);
}

/// The constants of `fli` (RISC-V Unpriv 20240411, chapter "Zfa", "Load-Immediate Instructions"). Number 1 is the smallest positive normal one of the
/// format, 31 the canonical NaN.
fn constant(ty: Type, number: u8) -> i64 {
    const VALUES: [f64; 32] = [
        -1.0,
        f64::MIN_POSITIVE,
        1.0 / 65536.0,
        1.0 / 32768.0,
        1.0 / 256.0,
        1.0 / 128.0,
        0.0625,
        0.125,
        0.25,
        0.3125,
        0.375,
        0.4375,
        0.5,
        0.625,
        0.75,
        0.875,
        1.0,
        1.25,
        1.5,
        1.75,
        2.0,
        2.5,
        3.0,
        4.0,
        8.0,
        16.0,
        128.0,
        256.0,
        32768.0,
        65536.0,
        f64::INFINITY,
        f64::NAN,
    ];
    // No type of the language holds halves. Two are subnormal, and 65536 becomes infinity.
    const HALVES: [u16; 32] = [
        0xbc00, 0x0400, 0x0100, 0x0200, 0x1c00, 0x2000, 0x2c00, 0x3000, 0x3400, 0x3500, 0x3600,
        0x3700, 0x3800, 0x3900, 0x3a00, 0x3b00, 0x3c00, 0x3d00, 0x3e00, 0x3f00, 0x4000, 0x4100,
        0x4200, 0x4400, 0x4800, 0x4c00, 0x5800, 0x5c00, 0x7800, 0x7c00, 0x7c00, 0x7e00,
    ];
    const SINGLE_NAN: u32 = 0x7fc0_0000;
    const DOUBLE_NAN: u64 = 0x7ff8_0000_0000_0000;
    match (ty, number) {
        (F16, _) => HALVES[usize::from(number & 31)].into(),
        (F32, 1) => f32::MIN_POSITIVE.to_bits().into(),
        (F32, 31) => SINGLE_NAN.into(),
        (F32, _) => (VALUES[usize::from(number & 31)] as f32).to_bits().into(),
        (_, 31) => DOUBLE_NAN as i64,
        _ => VALUES[usize::from(number & 31)].to_bits() as i64,
    }
}

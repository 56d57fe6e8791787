//! Integer computation of the base, and may-be-operations (RISC-V Unpriv 20240411, 2.4, 4.2 and chapter "Zimop").

use vm_ir::{Cond, Ext, Op as Ir, Operand, Slot, Type};

use super::Flow;
use super::context::{Context, Known};
use crate::riscv::decode::{Insn, Op};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `rd = rs1 op rs2`.
    Register(Ir, Type),
    /// `rd = rs1 op immediate`.
    Immediate(Ir, Type),
    /// `rd = rs1 + immediate`.
    AddImmediate(Type),
    /// `rd = rs1 < rs2`.
    Compare(Cond),
    /// `rd = rs1 < immediate`.
    CompareImmediate(Cond),
    /// `lui`.
    Upper,
    /// `auipc`.
    UpperPc,
    /// `rd = 0`: a may-be-operation that is none.
    Zero,
}

use Rule::*;
use Type::{I32, I64};

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::Lui, Upper),
    (Op::Auipc, UpperPc),
    (Op::Addi, AddImmediate(I64)),
    (Op::Addiw, AddImmediate(I32)),
    (Op::Slti, CompareImmediate(Cond::LtS)),
    (Op::Sltiu, CompareImmediate(Cond::LtU)),
    (Op::Xori, Immediate(Ir::Xor, I64)),
    (Op::Ori, Immediate(Ir::Or, I64)),
    (Op::Andi, Immediate(Ir::And, I64)),
    (Op::Slli, Immediate(Ir::Shl, I64)),
    (Op::Srli, Immediate(Ir::Shr, I64)),
    (Op::Srai, Immediate(Ir::Sar, I64)),
    (Op::Slliw, Immediate(Ir::Shl, I32)),
    (Op::Srliw, Immediate(Ir::Shr, I32)),
    (Op::Sraiw, Immediate(Ir::Sar, I32)),
    (Op::Add, Register(Ir::Add, I64)),
    (Op::Sub, Register(Ir::Sub, I64)),
    (Op::Sll, Register(Ir::Shl, I64)),
    (Op::Slt, Compare(Cond::LtS)),
    (Op::Sltu, Compare(Cond::LtU)),
    (Op::Xor, Register(Ir::Xor, I64)),
    (Op::Srl, Register(Ir::Shr, I64)),
    (Op::Sra, Register(Ir::Sar, I64)),
    (Op::Or, Register(Ir::Or, I64)),
    (Op::And, Register(Ir::And, I64)),
    (Op::Addw, Register(Ir::Add, I32)),
    (Op::Subw, Register(Ir::Sub, I32)),
    (Op::MopR, Zero),
    (Op::MopRr, Zero),
    (Op::Sllw, Register(Ir::Shl, I32)),
    (Op::Srlw, Register(Ir::Shr, I32)),
    (Op::Sraw, Register(Ir::Sar, I32)),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    let imm = i64::from(insn.imm);
    match rule {
        Register(op, ty) => register(c, op, ty, insn),
        Immediate(op, ty) => binary(c, op, ty, insn.rd, c.x(insn.rs1), Operand::Imm(imm)),
        AddImmediate(ty) => add_immediate(c, ty, insn),
        Compare(cond) => compare(c, cond, insn.rd, c.x(insn.rs1), c.x(insn.rs2)),
        CompareImmediate(cond) => compare(c, cond, insn.rd, c.x(insn.rs1), Operand::Imm(imm)),
        Zero => c.set_known(insn.rd, Known::Constant(0)),
        Upper => c.set_known(insn.rd, Known::Constant(imm)),
        UpperPc => c.set_known(insn.rd, Known::PageRelative(c.here().wrapping_add(imm))),
    }
    Flow::Next
}

/// How the results of an instruction that works in `ty` fill a register: narrow ones are sign-extended.
pub(super) const fn extension(ty: Type) -> Ext {
    match ty {
        Type::I8 | Type::I16 | Type::I32 => Ext::Sign,
        _ => Ext::Zero,
    }
}

/// `rd = a op b`.
pub(super) fn binary(c: &mut Context, op: Ir, ty: Type, rd: u8, a: Operand, b: Operand) {
    if let Some(dst) = c.x_dst(rd) {
        c.b.op(op, ty, extension(ty), dst, [a, b]);
    }
}

/// Moves, or sign-extends the low half, for sums with zero.
fn copy(c: &mut Context, ty: Type, dst: Slot, from: Operand) {
    match ty {
        Type::I32 => super::bits::field(c, dst, from, 32, true),
        _ => c.b.mov(dst, from),
    }
}

fn register(c: &mut Context, op: Ir, ty: Type, insn: &Insn) {
    let (a, b) = (c.x(insn.rs1), c.x(insn.rs2));
    let same = match (op, a, b) {
        (Ir::Add | Ir::Or | Ir::Xor, Operand::Imm(0), other) => Some(other),
        (Ir::Add | Ir::Or | Ir::Xor | Ir::Sub, other, Operand::Imm(0)) => Some(other),
        _ => None,
    };
    match (same, insn.rd) {
        (None, rd) => binary(c, op, ty, rd, a, b),
        (Some(Operand::Imm(zero)), rd) => c.set_known(rd, Known::Constant(zero)),
        (Some(from), rd) => {
            if let Some(dst) = c.x_dst(rd) {
                copy(c, ty, dst, from);
            }
        }
    }
}

/// `addi` and `addiw`: also loads of constants and, after `auipc`, of addresses.
fn add_immediate(c: &mut Context, ty: Type, insn: &Insn) {
    let imm = i64::from(insn.imm);
    match (c.known(insn.rs1), ty) {
        (Known::Constant(value), Type::I32) => {
            let sum = i64::from(value.wrapping_add(imm) as i32);
            c.set_known(insn.rd, Known::Constant(sum));
        }
        (Known::Constant(value), _) => {
            c.set_known(insn.rd, Known::Constant(value.wrapping_add(imm)));
        }
        (Known::PageRelative(offset), Type::I64) => {
            c.set_known(insn.rd, Known::PageRelative(offset.wrapping_add(imm)));
        }
        _ => {
            let from = c.x(insn.rs1);
            let Some(dst) = c.x_dst(insn.rd) else { return };
            match imm {
                0 => copy(c, ty, dst, from),
                _ => {
                    c.b.op(Ir::Add, ty, extension(ty), dst, [from, Operand::Imm(imm)])
                }
            }
        }
    }
}

/// Comparisons; those with zero and one that stand for equality become it.
fn compare(c: &mut Context, cond: Cond, rd: u8, a: Operand, b: Operand) {
    let (cond, a, b) = match (cond, a, b) {
        (Cond::LtU, a, Operand::Imm(1)) => (Cond::Eq, a, Operand::Imm(0)),
        (Cond::LtU, Operand::Imm(0), b) => (Cond::Ne, b, Operand::Imm(0)),
        other => other,
    };
    if let Some(dst) = c.x_dst(rd) {
        c.b.cmp(cond, dst, a, b);
    }
}

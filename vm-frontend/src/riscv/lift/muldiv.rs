//! Multiplication and division (RISC-V Unpriv 20240411, chapter "M").

use vm_ir::{Op as Ir, Type};

use super::Flow;
use super::context::Context;
use super::integer::binary;
use crate::riscv::decode::{Insn, Op};

/// `rd = rs1 op rs2` in a type.
pub(super) type Rule = (Ir, Type);

use Type::{I32, I64};

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::Mul, (Ir::Mul, I64)),
    (Op::Mulh, (Ir::MulHS, I64)),
    (Op::Mulhsu, (Ir::MulHSU, I64)),
    (Op::Mulhu, (Ir::MulHU, I64)),
    (Op::Div, (Ir::DivS, I64)),
    (Op::Divu, (Ir::DivU, I64)),
    (Op::Rem, (Ir::RemS, I64)),
    (Op::Remu, (Ir::RemU, I64)),
    (Op::Mulw, (Ir::Mul, I32)),
    (Op::Divw, (Ir::DivS, I32)),
    (Op::Divuw, (Ir::DivU, I32)),
    (Op::Remw, (Ir::RemS, I32)),
    (Op::Remuw, (Ir::RemU, I32)),
];

pub(super) fn lift(c: &mut Context, (op, ty): Rule, insn: &Insn) -> Flow {
    binary(c, op, ty, insn.rd, c.x(insn.rs1), c.x(insn.rs2));
    Flow::Next
}

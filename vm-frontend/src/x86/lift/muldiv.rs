//! Multiplication and division (Intel SDM 1, 7.3.2).

use iced_x86::Mnemonic;
use vm_ir::{Cond, FlagKind, Op, Operand, Slot, Type};

use super::context::{Context, Use};
use super::{Flow, exception};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `mul`.
    Multiply,
    /// `imul` of one, two or three operands.
    MultiplySigned,
    /// `mulx`.
    MultiplyTo,
    /// `div`, `idiv`: whether signed.
    Divide(bool),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Mul, Multiply),
    (Mnemonic::Imul, MultiplySigned),
    (Mnemonic::Mulx, MultiplyTo),
    (Mnemonic::Div, Divide(false)),
    (Mnemonic::Idiv, Divide(true)),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let ty = c.ty(0);
    match rule {
        Multiply => one_operand(c, ty, false),
        MultiplySigned => match c.insn.op_count() {
            1 => one_operand(c, ty, true),
            2 => {
                let b = c.value(1);
                let a = c.value(0);
                multiply_low(c, ty, a, b);
            }
            _ => {
                let a = c.value(1);
                let b = c.value(2);
                multiply_low(c, ty, a, b);
            }
        },
        MultiplyTo => {
            let b = c.value(2);
            let a = gpr_slot(gpr::RDX).into();
            let high = c.op(Op::MulHU, ty, [a, b]);
            let low = c.op(Op::Mul, ty, [a, b]);
            // The high half wins when both go to one register.
            let place = c.place(1, Use::Write);
            c.put(place, ty, low.into());
            let place = c.place(0, Use::Write);
            c.put(place, ty, high.into());
        }
        Divide(signed) => divide(c, ty, signed),
    }
    Flow::Next
}

/// The double-width product of RAX and the operand, in RDX and RAX, or in AX.
fn one_operand(c: &mut Context<'_>, ty: Type, signed: bool) {
    let b = c.value(0);
    let a = gpr_slot(gpr::RAX).into();
    let op = if signed { Op::MulHS } else { Op::MulHU };
    let high = c.op(op, ty, [a, b]);
    let low = c.op(Op::Mul, ty, [a, b]);
    product_flags(c, ty, low, high, signed);
    if ty == Type::I8 {
        let both = c.deposit(low, 8, 8, high);
        let ax = c.gpr(gpr::RAX);
        c.put(ax, Type::I16, both.into());
        return;
    }
    let (rax, rdx) = (c.gpr(gpr::RAX), c.gpr(gpr::RDX));
    c.put(rax, ty, low.into());
    c.put(rdx, ty, high.into());
}

/// Carry and overflow say that the high half is more than the extension of the low one.
fn product_flags(c: &mut Context<'_>, ty: Type, low: Slot, high: Slot, signed: bool) {
    let extension: Operand = if signed {
        let top = i64::from(ty.bits()) - 1;
        c.op(Op::Sar, ty, [low.into(), top.into()]).into()
    } else {
        Operand::Imm(0)
    };
    let matters = c.cmp(Cond::Ne, ty, high, extension);
    c.set_flags(
        FlagKind::Mul,
        ty,
        [low.into(), matters.into(), Operand::Imm(0)],
    );
}

fn multiply_low(c: &mut Context<'_>, ty: Type, a: Operand, b: Operand) {
    let high = c.op(Op::MulHS, ty, [a, b]);
    let low = c.op(Op::Mul, ty, [a, b]);
    product_flags(c, ty, low, high, true);
    let place = c.place(0, Use::Write);
    c.put(place, ty, low.into());
}

/// Divides RDX:RAX, or AX, by the operand; #DE when that is zero or the quotient does not fit.
fn divide(c: &mut Context<'_>, ty: Type, signed: bool) {
    let divisor = c.value(0);
    let (rax, rdx) = (c.gpr(gpr::RAX), c.gpr(gpr::RDX));
    let low = gpr_slot(gpr::RAX).into();
    let high = match ty {
        Type::I8 => c.extract(low, 8, 8, false).into(),
        _ => gpr_slot(gpr::RDX).into(),
    };
    let zero = Operand::Imm(0);
    let (div, rem) = if signed {
        let beyond = c.op(Op::DivSOverflows, ty, [low, high, divisor]);
        c.raise_if(Cond::Ne, ty, [beyond.into(), zero], exception::DIVIDE);
        (Op::DivSWide, Op::RemSWide)
    } else {
        c.raise_if(Cond::GeU, ty, [high, divisor], exception::DIVIDE);
        (Op::DivUWide, Op::RemUWide)
    };
    let quotient = c.op(div, ty, [low, high, divisor]);
    if ty == Type::I8 {
        let remainder = c.op(rem, ty, [low, high, divisor]);
        let both = c.deposit(quotient, 8, 8, remainder);
        c.put(rax, Type::I16, both.into());
    } else {
        c.compute(rdx, rem, ty, [low, high, divisor]);
        c.put(rax, ty, quotient.into());
    }
}

//! Multiplication and division (Intel SDM 1, 7.3.2).

use iced_x86::Mnemonic;
use vm_ir::{Cond, FlagKind, Op, Operand, Slot, Type};

use super::context::{Context, Use};
use super::{Flow, exception, helper};
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
    let (low, high) = (gpr_slot(gpr::RAX), gpr_slot(gpr::RDX));
    if ty == Type::I64 {
        let id = if signed {
            helper::DIVIDE_SIGNED
        } else {
            helper::DIVIDE
        };
        c.b.call(id, None, [divisor]);
        return;
    }
    let zero = Operand::Imm(0);
    c.raise_if(Cond::Eq, ty, [divisor, zero], exception::DIVIDE);
    let bits = ty.bits() as u8;
    let dividend: Slot = match ty {
        Type::I8 => c.extract(low, 0, 16, signed),
        _ => {
            let low = c.op(Op::Mov, ty, [low.into()]);
            let both = c.deposit(low, bits, bits, high);
            match (ty, signed) {
                (Type::I16, true) => c.extract(both, 0, 32, true),
                _ => both,
            }
        }
    };
    let divisor = if signed {
        c.sign_extend(divisor, ty)
    } else {
        c.zero_extend(divisor, ty)
    };
    let (div, rem) = if signed {
        (Op::DivS, Op::RemS)
    } else {
        (Op::DivU, Op::RemU)
    };
    let quotient = c.op64(div, dividend, divisor);
    let remainder = c.op64(rem, dividend, divisor);
    if signed {
        let fits = c.sign_extend(quotient.into(), ty);
        // The most negative dividend by -1 gives itself, which does not fit either.
        c.raise_if(
            Cond::Ne,
            Type::I64,
            [fits, quotient.into()],
            exception::DIVIDE,
        );
    } else {
        let beyond = c.op64(Op::Shr, quotient, i64::from(bits));
        c.raise_if(
            Cond::Ne,
            Type::I64,
            [beyond.into(), zero],
            exception::DIVIDE,
        );
    }
    if ty == Type::I8 {
        let both = c.deposit(quotient, 8, 8, remainder);
        c.put(rax, Type::I16, both.into());
    } else {
        c.put(rax, ty, quotient.into());
        c.put(rdx, ty, remainder.into());
    }
}

//! Bitwise logic (Intel SDM 1, 7.3.4).

use iced_x86::Mnemonic;
use vm_ir::{Op, Operand, Type};

use super::context::{Context, Place, Use};
use super::{Flow, INVALID, atomic};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `and`, `or`, `xor`.
    Plain(Op),
    /// `test`.
    Test,
    /// `not`.
    Not,
    /// `andn` (Intel SDM 2A, "ANDN"): the first operand inverted.
    AndNot,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::And, Plain(Op::And)),
    (Mnemonic::Or, Plain(Op::Or)),
    (Mnemonic::Xor, Plain(Op::Xor)),
    (Mnemonic::Test, Test),
    (Mnemonic::Not, Not),
    (Mnemonic::Andn, AndNot),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let ty = c.ty(0);
    if c.insn.has_lock_prefix() {
        return match rule {
            Plain(op) => atomic::logic(c, ty, op),
            Not => atomic::invert(c, ty),
            Test | AndNot => INVALID,
        };
    }
    match rule {
        Plain(op) => plain(c, op, ty),
        Test => {
            let a = c.value(0);
            let b = c.value(1);
            let result = if a == b {
                a
            } else {
                c.op(Op::And, ty, [a, b]).into()
            };
            c.logic_flags(ty, result);
        }
        Not => {
            let place = c.place(0, Use::Modify);
            let a = c.get(place, ty);
            c.compute(place, Op::Not, ty, [a]);
        }
        AndNot => {
            let b = c.value(2);
            let a = c.value(1);
            let place = c.place(0, Use::Write);
            c.compute(place, Op::AndNot, ty, [b, a]);
            let result = c.get(place, ty);
            c.logic_flags(ty, result);
        }
    }
    Flow::Next
}

fn plain(c: &mut Context<'_>, op: Op, ty: Type) {
    let zeroes = op == Op::Xor
        && !c.in_memory(0)
        && !c.in_memory(1)
        && c.insn.op0_register() == c.insn.op1_register();
    if zeroes {
        let place = c.place(0, Use::Write);
        c.put(place, ty, Operand::Imm(0));
        c.logic_flags(ty, Operand::Imm(0));
        return;
    }
    let b = c.value(1);
    let place = c.place(0, Use::Modify);
    let a = c.get(place, ty);
    match place {
        Place::Register(_) => {
            c.compute(place, op, ty, [a, b]);
            c.logic_flags(ty, a);
        }
        _ => {
            let result = c.op(op, ty, [a, b]).into();
            c.put(place, ty, result);
            c.logic_flags(ty, result);
        }
    }
}

//! Sign extension of the accumulator (Intel SDM 1, 7.3.1.7).

use iced_x86::Mnemonic;
use vm_ir::{Attr, Op, Type};

use super::Flow;
use super::context::{Context, extension};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `cbw`, `cwde`, `cdqe`: to a type from half as many bits, in RAX.
    Widen(Type),
    /// `cwd`, `cdq`, `cqo`: the sign of RAX to RDX.
    Sign(Type),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Cbw, Widen(Type::I16)),
    (Mnemonic::Cwde, Widen(Type::I32)),
    (Mnemonic::Cdqe, Widen(Type::I64)),
    (Mnemonic::Cwd, Sign(Type::I16)),
    (Mnemonic::Cdq, Sign(Type::I32)),
    (Mnemonic::Cqo, Sign(Type::I64)),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let (rax, rdx) = (gpr_slot(gpr::RAX), gpr_slot(gpr::RDX));
    match rule {
        Widen(ty) => {
            let len = ty.bits() as u8 / 2;
            let (pos, signed) = (0, true);
            let attr = Attr::Field { pos, len, signed };
            c.b.op_with(
                Op::Extract,
                ty,
                extension(ty),
                Some(rax),
                [rax.into()],
                attr,
            );
        }
        Sign(ty) => {
            let count = i64::from(ty.bits()) - 1;
            c.b.op(Op::Sar, ty, extension(ty), rdx, [rax.into(), count.into()]);
        }
    }
    Flow::Next
}

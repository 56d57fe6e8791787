//! Comparison of strings (Intel SDM 1, 12.10.1).

use iced_x86::{Mnemonic, Register};
use vm_ir::{Attr, Ext, FlagKind, Op, Operand, Slot, Type, VectorId};

use super::operand::{Aligned, halves, xmm};
use crate::x86::fp::rows;
use crate::x86::lift::Flow;
use crate::x86::lift::context::{Context, register_slot};

/// Lengths: none, or in registers of a type.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    lengths: Option<Type>,
    /// Whether the result is a number in ECX, not a mask in XMM0.
    index: bool,
}

const fn rule(lengths: Option<Type>, index: bool) -> Rule {
    Rule { lengths, index }
}

const SHORT: Option<Type> = Some(Type::I32);
const LONG: Option<Type> = Some(Type::I64);

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Pcmpistri, rule(None, true)),
    (Mnemonic::Pcmpistrm, rule(None, false)),
    (Mnemonic::Pcmpestri, rule(SHORT, true)),
    (Mnemonic::Pcmpestrm, rule(SHORT, false)),
    (Mnemonic::Pcmpestri64, rule(LONG, true)),
    (Mnemonic::Pcmpestrm64, rule(LONG, false)),
    (Mnemonic::Vpcmpistri, rule(None, true)),
    (Mnemonic::Vpcmpistrm, rule(None, false)),
    (Mnemonic::Vpcmpestri, rule(SHORT, true)),
    (Mnemonic::Vpcmpestrm, rule(SHORT, false)),
    (Mnemonic::Vpcmpestri64, rule(LONG, true)),
    (Mnemonic::Vpcmpestrm64, rule(LONG, false)),
];

const IMPLICIT_INDEX: VectorId = rows::named("Pcmpistri");
const IMPLICIT_MASK: VectorId = rows::named("Pcmpistrm");
const EXPLICIT_INDEX: VectorId = rows::named("Pcmpestri");
const EXPLICIT_MASK: VectorId = rows::named("Pcmpestrm");

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let imm = c.imm8();
    let [a, _] = halves(c.insn.op_register(0));
    let [b, _] = c.source(1, Aligned::No);
    let lengths = rule.lengths.map(|ty| lengths(c, ty));
    // Flags come with the number, whatever the instruction gives.
    let index = c.vector_temp();
    match lengths {
        None => c.row(IMPLICIT_INDEX, imm, index, [a, b]),
        Some(lengths) => c.row(EXPLICIT_INDEX, imm, index, [a, b, lengths]),
    }
    if rule.index {
        let to = register_slot(Register::ECX);
        c.b.op(Op::Mov, Type::I32, Ext::Zero, to, [index.into()]);
    } else {
        match lengths {
            None => c.row(IMPLICIT_MASK, imm, xmm(0), [a, b]),
            Some(lengths) => c.row(EXPLICIT_MASK, imm, xmm(0), [a, b, lengths]),
        }
        c.clear_high(Register::XMM0);
    }
    let flags = c.b.temp64();
    let attr = Attr::Lane {
        ty: Type::I64,
        index: 1,
    };
    let operands = [index.into()];
    c.b.op_with(
        Op::VecExtract,
        Type::I64,
        Ext::Zero,
        Some(flags),
        operands,
        attr,
    );
    let zero = Operand::Imm(0);
    c.set_flags(FlagKind::Bits, Type::I64, [flags.into(), zero, zero]);
    Flow::Next
}

/// EAX and EDX, sign-extended, in a vector.
fn lengths(c: &mut Context<'_>, ty: Type) -> Slot {
    let [first, second] = [Register::RAX, Register::RDX]
        .map(|register| c.sign_extend(register_slot(register).into(), ty));
    let low = c.vector_temp();
    c.b.op(Op::Mov, Type::I64, Ext::Zero, low, [first]);
    let both = c.vector_temp();
    let attr = Attr::Lane {
        ty: Type::I64,
        index: 1,
    };
    let operands = [low.into(), second];
    c.b.op_with(
        Op::VecInsert,
        Type::V128,
        Ext::Zero,
        Some(both),
        operands,
        attr,
    );
    both
}

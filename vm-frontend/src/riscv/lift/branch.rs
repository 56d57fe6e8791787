//! Control transfer (RISC-V Unpriv 20240411, 2.5).

use vm_ir::{Attr, Cond, Ext, JumpKind, Op as Ir, Operand, Terminator, Type};

use super::Flow;
use super::context::{Context, Known};
use crate::riscv::decode::{Insn, Op};
use crate::riscv::sys::fields::cause;

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// A conditional branch.
    If(Cond),
    /// `jal`.
    Jump,
    /// `jalr`.
    JumpRegister,
}

use Rule::*;

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::Beq, If(Cond::Eq)),
    (Op::Bne, If(Cond::Ne)),
    (Op::Blt, If(Cond::LtS)),
    (Op::Bge, If(Cond::GeS)),
    (Op::Bltu, If(Cond::LtU)),
    (Op::Bgeu, If(Cond::GeU)),
    (Op::Jal, Jump),
    (Op::Jalr, JumpRegister),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    Flow::End(match rule {
        If(cond) => match branch(c, cond, insn) {
            Some(terminator) => terminator,
            None => return Flow::Next,
        },
        Jump => {
            let target = c.here() + i64::from(insn.imm);
            jump_to(c, insn, target)
        }
        JumpRegister => match direct(c, insn) {
            Some(target) => jump_to(c, insn, target),
            None => indirect(c, insn),
        },
    })
}

/// Where a `jalr` goes if the block itself says so, as after `auipc`. Blocks name no targets beyond 2 GiB.
fn direct(c: &Context, insn: &Insn) -> Option<i64> {
    let Known::PageRelative(base) = c.known(insn.rs1) else {
        return None;
    };
    let target = base.wrapping_add(insn.imm.into()) & !1;
    i32::try_from(target).is_ok().then_some(target)
}

/// Whether the hart cannot execute at this offset (or address), having no C extension.
fn misaligned(c: &Context, offset: i64) -> bool {
    !c.compressed && offset & 2 != 0
}

fn plain(offset: i64) -> Terminator {
    Terminator::Jump {
        offset,
        kind: JumpKind::Plain,
    }
}

/// A forward branch leaves the block on its way when it is taken; `None` then: the block goes on behind it.
fn branch(c: &mut Context, cond: Cond, insn: &Insn) -> Option<Terminator> {
    let (taken, fallthrough) = (c.here() + i64::from(insn.imm), c.next());
    let (a, b) = (c.x(insn.rs1), c.x(insn.rs2));
    if misaligned(c, taken) {
        let target = c.b.temp64();
        c.b.pc_rel(target, taken);
        raise_if(c, cond, [a, b], target.into());
        return Some(plain(fallthrough));
    }
    if insn.rs1 == insn.rs2 {
        let holds = matches!(cond, Cond::Eq | Cond::GeS | Cond::GeU);
        return Some(plain(if holds { taken } else { fallthrough }));
    }
    if insn.imm > 0 && c.extend() {
        let operands = [a, b, Operand::Imm(taken), Operand::None];
        c.b.op_with(
            Ir::ExitIf,
            Type::I64,
            Ext::Zero,
            None,
            operands,
            Attr::Cond(cond),
        );
        return None;
    }
    Some(Terminator::Branch {
        cond,
        ty: Type::I64,
        a,
        b,
        taken,
        fallthrough,
    })
}

/// Raises "instruction address misaligned" with `target` when the comparison holds.
fn raise_if(c: &mut Context, cond: Cond, [a, b]: [Operand; 2], target: Operand) {
    let code = Operand::Imm(cause::FETCH_MISALIGNED.into());
    let operands = [a, b, code, target];
    c.b.op_with(
        Ir::RaiseIf,
        Type::I64,
        Ext::Zero,
        None,
        operands,
        Attr::Cond(cond),
    );
}

fn link(c: &mut Context, rd: u8) {
    let next = c.next();
    c.set_known(rd, Known::PageRelative(next));
}

/// What the registers say about calls and returns (RISC-V Unpriv 20240411, table 2.1).
fn kind(c: &Context, rd: u8, rs1: Option<u8>) -> JumpKind {
    let is_link = |register| matches!(register, 1 | 5);
    match rs1 {
        _ if is_link(rd) => JumpKind::Call {
            return_offset: c.next(),
        },
        Some(rs1) if is_link(rs1) => JumpKind::Return,
        _ => JumpKind::Plain,
    }
}

/// `jal`, and `jalr` after the `auipc` that says where to.
fn jump_to(c: &mut Context, insn: &Insn, offset: i64) -> Terminator {
    if misaligned(c, offset) {
        let target = c.b.temp64();
        c.b.pc_rel(target, offset);
        return Terminator::Exception {
            code: vm_ir::ExceptionCode(cause::FETCH_MISALIGNED),
            value: target.into(),
        };
    }
    link(c, insn.rd);
    Terminator::Jump {
        offset,
        kind: kind(c, insn.rd, None),
    }
}

fn indirect(c: &mut Context, insn: &Insn) -> Terminator {
    let target = c.b.temp64();
    let base = match insn.imm {
        0 => c.x(insn.rs1),
        imm => {
            c.b.op64(Ir::Add, target, c.x(insn.rs1), i64::from(imm));
            target.into()
        }
    };
    c.b.op64(Ir::And, target, base, !1);
    if !c.compressed {
        let bit = c.b.temp64();
        c.b.op64(Ir::And, bit, target, 2);
        raise_if(c, Cond::Ne, [bit.into(), Operand::Imm(0)], target.into());
    }
    link(c, insn.rd);
    let kind = kind(c, insn.rd, Some(insn.rs1));
    Terminator::Indirect {
        target: target.into(),
        kind,
    }
}

//! String instructions (Intel SDM 1, 7.3.9). Repeated ones and those that reach ports are helpers, which move whole pieces
//! and say whether the instruction is done; the others are operations.

use iced_x86::{Code, Mnemonic};
use vm_ir::{Attr, Cond, Ext, FlagKind, Op, Operand, Slot, Terminator, Type};

use super::address::{Address, segment_number};
use super::context::{Context, DIRECTION, Use, bytes, extension, int_type};
use super::{Flow, helper};
use crate::x86::integer::string::{Kind, Repeat, Request};
use crate::x86::mode;
use crate::x86::state::{gpr, gpr_slot, seg};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) struct Rule(Kind, Type);

use Type::{I8, I16, I32, I64};

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Movsb, Rule(Kind::Move, I8)),
    (Mnemonic::Movsw, Rule(Kind::Move, I16)),
    (Mnemonic::Movsd, Rule(Kind::Move, I32)),
    (Mnemonic::Movsq, Rule(Kind::Move, I64)),
    (Mnemonic::Stosb, Rule(Kind::Store, I8)),
    (Mnemonic::Stosw, Rule(Kind::Store, I16)),
    (Mnemonic::Stosd, Rule(Kind::Store, I32)),
    (Mnemonic::Stosq, Rule(Kind::Store, I64)),
    (Mnemonic::Lodsb, Rule(Kind::Load, I8)),
    (Mnemonic::Lodsw, Rule(Kind::Load, I16)),
    (Mnemonic::Lodsd, Rule(Kind::Load, I32)),
    (Mnemonic::Lodsq, Rule(Kind::Load, I64)),
    (Mnemonic::Cmpsb, Rule(Kind::Compare, I8)),
    (Mnemonic::Cmpsw, Rule(Kind::Compare, I16)),
    (Mnemonic::Cmpsd, Rule(Kind::Compare, I32)),
    (Mnemonic::Cmpsq, Rule(Kind::Compare, I64)),
    (Mnemonic::Scasb, Rule(Kind::Scan, I8)),
    (Mnemonic::Scasw, Rule(Kind::Scan, I16)),
    (Mnemonic::Scasd, Rule(Kind::Scan, I32)),
    (Mnemonic::Scasq, Rule(Kind::Scan, I64)),
    (Mnemonic::Insb, Rule(Kind::In, I8)),
    (Mnemonic::Insw, Rule(Kind::In, I16)),
    (Mnemonic::Insd, Rule(Kind::In, I32)),
    (Mnemonic::Outsb, Rule(Kind::Out, I8)),
    (Mnemonic::Outsw, Rule(Kind::Out, I16)),
    (Mnemonic::Outsd, Rule(Kind::Out, I32)),
];

/// Whether the instruction is a string instruction: two mnemonics are SSE2's, too.
pub(super) fn is_string(code: Code) -> bool {
    !matches!(
        code,
        Code::Movsd_xmm_xmmm64 | Code::Movsd_xmmm64_xmm | Code::Cmpsd_xmm_xmmm64_imm8
    )
}

pub(super) fn lift(c: &mut Context<'_>, Rule(kind, ty): Rule) -> Flow {
    let at = address_type(c);
    let repeat = repeat(c, kind);
    let ports = matches!(kind, Kind::In | Kind::Out);
    if repeat == Repeat::No && !ports {
        once(c, kind, ty, at);
        return Flow::Next;
    }
    let request = Request {
        kind,
        repeat,
        bytes: bytes(ty) as u8,
        address_bytes: bytes(at) as u8,
        source: source_segment(c) as u8,
        flat: c.is_64()
            || c.has(mode::FLAT) && source_segment(c) < seg::FS && source_segment(c) != seg::CS,
        is_64: c.is_64(),
        single: c.stands_alone(),
    };
    let helper = if ports {
        helper::PORT_STRING
    } else {
        helper::STRING
    };
    let done = c.call(helper, [Operand::Imm(request.pack())]);
    if c.stands_alone() {
        return Flow::End(Terminator::Branch {
            cond: Cond::Ne,
            ty: I64,
            a: done.into(),
            b: Operand::Imm(0),
            taken: c.next(),
            fallthrough: c.here(),
        });
    }
    let operands = [done.into(), Operand::Imm(0), Operand::Imm(c.here())];
    let attr = Attr::Cond(Cond::Eq);
    c.b.op_with(Op::ExitIf, Type::I64, Ext::Zero, None, operands, attr);
    Flow::Next
}

/// Which prefix repeats: either of those that do not compare (Intel SDM 2B, "REP/REPE/REPZ/REPNE/REPNZ").
fn repeat(c: &Context<'_>, kind: Kind) -> Repeat {
    let compares = matches!(kind, Kind::Compare | Kind::Scan);
    match (c.insn.has_rep_prefix(), c.insn.has_repne_prefix()) {
        (false, false) => Repeat::No,
        _ if !compares => Repeat::Count,
        (_, true) => Repeat::WhileNotEqual,
        _ => Repeat::WhileEqual,
    }
}

/// The type of RSI and RDI, by the operand kinds.
fn address_type(c: &Context<'_>) -> Type {
    use iced_x86::OpKind::*;
    let kinds = [c.insn.op0_kind(), c.insn.op1_kind()];
    let has = |wanted: &[iced_x86::OpKind]| kinds.iter().any(|kind| wanted.contains(kind));
    int_type(if has(&[MemorySegSI, MemoryESDI]) {
        2
    } else if has(&[MemorySegESI, MemoryESEDI]) {
        4
    } else {
        8
    })
}

fn source_segment(c: &Context<'_>) -> usize {
    match segment_number(c.insn.memory_segment()) {
        n @ 0..=5 => n,
        _ => seg::DS,
    }
}

/// Where RSI or RDI leads.
fn at(
    c: &mut Context<'_>,
    segment: usize,
    register: usize,
    ty: Type,
    at: Type,
    how: Use,
) -> Address {
    let offset = c.zero_extend(gpr_slot(register).into(), at);
    c.in_segment(segment, offset, bytes(ty), how)
}

fn source(c: &mut Context<'_>, ty: Type, wide: Type) -> Address {
    let segment = source_segment(c);
    at(c, segment, gpr::RSI, ty, wide, Use::Read)
}

fn destination(c: &mut Context<'_>, ty: Type, wide: Type, how: Use) -> Address {
    at(c, seg::ES, gpr::RDI, ty, wide, how)
}

/// By how much RSI and RDI move.
fn step(c: &mut Context<'_>, ty: Type) -> Slot {
    c.op64(Op::Shl, DIRECTION, i64::from(bytes(ty).ilog2()))
}

fn advance(c: &mut Context<'_>, register: usize, wide: Type, by: Slot) {
    let slot = gpr_slot(register);
    c.b.op(
        Op::Add,
        wide,
        extension(wide),
        slot,
        [slot.into(), by.into()],
    );
}

fn once(c: &mut Context<'_>, kind: Kind, ty: Type, wide: Type) {
    let rax = gpr_slot(gpr::RAX);
    let zero = Operand::Imm(0);
    match kind {
        Kind::Move => {
            let from = source(c, ty, wide);
            let to = destination(c, ty, wide, Use::Write);
            let value = c.load(from, ty);
            c.store(to, ty, value.into());
            let by = step(c, ty);
            advance(c, gpr::RSI, wide, by);
            advance(c, gpr::RDI, wide, by);
        }
        Kind::Store => {
            let to = destination(c, ty, wide, Use::Write);
            c.store(to, ty, rax.into());
            let by = step(c, ty);
            advance(c, gpr::RDI, wide, by);
        }
        Kind::Load => {
            let from = source(c, ty, wide);
            let value = c.load(from, ty);
            let to = c.gpr(gpr::RAX);
            c.put(to, ty, value.into());
            let by = step(c, ty);
            advance(c, gpr::RSI, wide, by);
        }
        Kind::Compare => {
            let from = source(c, ty, wide);
            let with = destination(c, ty, wide, Use::Read);
            // Processors read the second operand first, which shows when both fault.
            let b = c.load(with, ty);
            let a = c.load(from, ty);
            c.set_flags(FlagKind::Sub, ty, [a.into(), b.into(), zero]);
            let by = step(c, ty);
            advance(c, gpr::RSI, wide, by);
            advance(c, gpr::RDI, wide, by);
        }
        Kind::Scan => {
            let with = destination(c, ty, wide, Use::Read);
            let b = c.load(with, ty);
            c.set_flags(FlagKind::Sub, ty, [rax.into(), b.into(), zero]);
            let by = step(c, ty);
            advance(c, gpr::RDI, wide, by);
        }
        Kind::In | Kind::Out => {}
    }
}

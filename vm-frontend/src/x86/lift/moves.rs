//! Data movement between registers and memory (Intel SDM 1, 7.3.1).

use iced_x86::{Mnemonic, OpKind, Register};
use vm_ir::{Attr, Cond, Ext, FlagCond, Op, Operand, Slot, Type};

use super::context::{Context, Place, Use, bytes, extension};
use super::{Flow, atomic, segments, system};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `mov`, of any registers.
    Move,
    /// `movzx`, `movsx`, `movsxd`: whether signed.
    Extend(bool),
    /// `lea`.
    Address,
    /// `xchg`.
    Exchange,
    /// `bswap`.
    Swap,
    /// `movbe`.
    MoveSwapped,
    /// `cmovcc`.
    If(FlagCond),
    /// `setcc`.
    Set(FlagCond),
    /// `xlatb`.
    Translate,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Mov, Move),
    (Mnemonic::Movnti, Move),
    (Mnemonic::Movzx, Extend(false)),
    (Mnemonic::Movsx, Extend(true)),
    (Mnemonic::Movsxd, Extend(true)),
    (Mnemonic::Lea, Address),
    (Mnemonic::Xchg, Exchange),
    (Mnemonic::Bswap, Swap),
    (Mnemonic::Movbe, MoveSwapped),
    (Mnemonic::Xlatb, Translate),
    (Mnemonic::Cmovo, If(FlagCond::V)),
    (Mnemonic::Cmovno, If(FlagCond::NotV)),
    (Mnemonic::Cmovb, If(FlagCond::C)),
    (Mnemonic::Cmovae, If(FlagCond::NotC)),
    (Mnemonic::Cmove, If(FlagCond::Z)),
    (Mnemonic::Cmovne, If(FlagCond::NotZ)),
    (Mnemonic::Cmovbe, If(FlagCond::COrZ)),
    (Mnemonic::Cmova, If(FlagCond::NotCNotZ)),
    (Mnemonic::Cmovs, If(FlagCond::N)),
    (Mnemonic::Cmovns, If(FlagCond::NotN)),
    (Mnemonic::Cmovp, If(FlagCond::P)),
    (Mnemonic::Cmovnp, If(FlagCond::NotP)),
    (Mnemonic::Cmovl, If(FlagCond::Lt)),
    (Mnemonic::Cmovge, If(FlagCond::Ge)),
    (Mnemonic::Cmovle, If(FlagCond::Le)),
    (Mnemonic::Cmovg, If(FlagCond::Gt)),
    (Mnemonic::Seto, Set(FlagCond::V)),
    (Mnemonic::Setno, Set(FlagCond::NotV)),
    (Mnemonic::Setb, Set(FlagCond::C)),
    (Mnemonic::Setae, Set(FlagCond::NotC)),
    (Mnemonic::Sete, Set(FlagCond::Z)),
    (Mnemonic::Setne, Set(FlagCond::NotZ)),
    (Mnemonic::Setbe, Set(FlagCond::COrZ)),
    (Mnemonic::Seta, Set(FlagCond::NotCNotZ)),
    (Mnemonic::Sets, Set(FlagCond::N)),
    (Mnemonic::Setns, Set(FlagCond::NotN)),
    (Mnemonic::Setp, Set(FlagCond::P)),
    (Mnemonic::Setnp, Set(FlagCond::NotP)),
    (Mnemonic::Setl, Set(FlagCond::Lt)),
    (Mnemonic::Setge, Set(FlagCond::Ge)),
    (Mnemonic::Setle, Set(FlagCond::Le)),
    (Mnemonic::Setg, Set(FlagCond::Gt)),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Move => return mov(c),
        Extend(signed) => extend(c, signed),
        Address => c.load_address(),
        Exchange => return exchange(c),
        Swap => {
            let ty = c.ty(0);
            let place = c.place(0, Use::Modify);
            let value = c.get(place, ty);
            if ty == Type::I16 {
                // Undefined by the manual; processors give zero (Intel SDM 2A, "BSWAP").
                c.put(place, ty, Operand::Imm(0));
            } else {
                c.compute(place, Op::ByteSwap, ty, [value]);
            }
        }
        MoveSwapped => {
            let ty = c.ty(0);
            let value = c.value(1);
            let swapped = c.op(Op::ByteSwap, ty, [value]);
            let place = c.place(0, Use::Write);
            c.put(place, ty, swapped.into());
        }
        If(cond) => conditional(c, cond),
        Set(cond) => {
            let holds = c.flag(cond);
            let place = c.place(0, Use::Write);
            c.put(place, Type::I8, holds.into());
        }
        Translate => {
            let index = c.extract(gpr_slot(gpr::RAX), 0, 8, false);
            let ty = c.address_type();
            let offset = c.op(Op::Add, ty, [gpr_slot(gpr::RBX).into(), index.into()]);
            let segment = super::address::segment_number(c.insn.memory_segment());
            let address = c.in_segment(segment, offset.into(), 1, Use::Read);
            c.load_to(
                gpr_slot(gpr::RAX),
                Type::I8,
                Ext::Keep,
                address,
                Type::I8,
                false,
            );
        }
    }
    Flow::Next
}

fn is_system(register: Register) -> bool {
    register.is_cr() || register.is_dr() || register.is_tr()
}

fn mov(c: &mut Context<'_>) -> Flow {
    let of = |operand| match c.insn.op_kind(operand) {
        OpKind::Register => c.insn.op_register(operand),
        _ => Register::None,
    };
    let (to, from) = (of(0), of(1));
    if to.is_segment_register() || from.is_segment_register() {
        return segments::mov(c);
    }
    if is_system(to) || is_system(from) {
        return system::mov(c);
    }
    let ty = c.ty(0);
    if c.in_memory(1) {
        return load(c, ty);
    }
    let value = c.value(1);
    let place = c.place(0, Use::Write);
    c.put(place, ty, value);
    Flow::Next
}

/// A load goes to its register directly.
fn load(c: &mut Context<'_>, ty: Type) -> Flow {
    let address = c.address(bytes(ty), Use::Read);
    match c.place(0, Use::Write) {
        Place::Register(slot) if ty == Type::I32 => {
            c.load_to(slot, Type::I64, Ext::Zero, address, ty, false);
        }
        Place::Register(slot) => c.load_to(slot, ty, extension(ty), address, ty, false),
        place => {
            let value = c.load(address, ty);
            c.put(place, ty, value.into());
        }
    }
    Flow::Next
}

fn extend(c: &mut Context<'_>, signed: bool) {
    let (to, from) = (c.ty(0), c.ty(1));
    let Place::Register(dst) = c.place(0, Use::Write) else {
        return;
    };
    let ext = extension(to);
    if c.in_memory(1) {
        let address = c.address(bytes(from), Use::Read);
        c.load_to(dst, to, ext, address, from, signed);
        return;
    }
    match c.place(1, Use::Read) {
        Place::High(slot) => field(c, to, ext, dst, slot, 8, 8, signed),
        Place::Register(slot) => field(c, to, ext, dst, slot, 0, from.bits() as u8, signed),
        Place::Memory(_) => {}
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "they are the parts of one operation"
)]
fn field(
    c: &mut Context<'_>,
    ty: Type,
    ext: Ext,
    dst: Slot,
    from: Slot,
    pos: u8,
    len: u8,
    signed: bool,
) {
    if u32::from(len) == ty.bits() {
        // MOVSXD of 16 or 32 bits to as many moves (Intel SDM 2B, "MOVSX/MOVSXD").
        c.b.op(Op::Mov, ty, ext, dst, [from.into()]);
        return;
    }
    let attr = Attr::Field { pos, len, signed };
    c.b.op_with(Op::Extract, ty, ext, Some(dst), [from.into()], attr);
}

fn exchange(c: &mut Context<'_>) -> Flow {
    let ty = c.ty(0);
    if c.in_memory(0) || c.in_memory(1) {
        return atomic::exchange(c, ty);
    }
    let (a, b) = (c.place(0, Use::Modify), c.place(1, Use::Modify));
    let old = c.get(a, ty);
    let old = c.zero_extend(old, ty);
    let old = if ty == Type::I64 {
        c.copy(old).into()
    } else {
        old
    };
    let new = c.get(b, ty);
    c.put(a, ty, new);
    c.put(b, ty, old);
    Flow::Next
}

/// The source is read, and may fault, in any case; 32 bits clear the upper half in any case.
fn conditional(c: &mut Context<'_>, cond: FlagCond) {
    let ty = c.ty(0);
    let value = c.value(1);
    let holds = c.flag(cond).into();
    let Place::Register(dst) = c.place(0, Use::Modify) else {
        return;
    };
    let operands = [value, dst.into(), holds, Operand::Imm(0)];
    let attr = Attr::Cond(Cond::Ne);
    c.b.op_with(Op::Select, ty, extension(ty), Some(dst), operands, attr);
}

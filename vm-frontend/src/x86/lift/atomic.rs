//! Locked and exchanging instructions (Intel SDM 3A, 9.1.2): single operations of the IR, whatever their alignment.

use iced_x86::Mnemonic;
use vm_ir::{Cond, Ext, FlagKind, MemAttr, MemOrder, Op, Operand, Slot, Terminator, Type};

use super::context::{Context, FL, Place, Use, bytes};
use super::{Flow, bits};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `xadd`.
    ExchangeAdd,
    /// `cmpxchg`.
    CompareExchange,
    /// `cmpxchg8b`.
    CompareExchange8,
    /// `cmpxchg16b`.
    CompareExchange16,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Xadd, ExchangeAdd),
    (Mnemonic::Cmpxchg, CompareExchange),
    (Mnemonic::Cmpxchg8b, CompareExchange8),
    (Mnemonic::Cmpxchg16b, CompareExchange16),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        ExchangeAdd => exchange_add(c),
        CompareExchange => compare_exchange(c),
        CompareExchange8 => compare_exchange_8(c),
        CompareExchange16 => compare_exchange_16(c),
    }
    Flow::Next
}

fn attr(ty: Type) -> MemAttr {
    MemAttr::plain((ty.bits() / 8).ilog2() as u8).ordered(MemOrder::SeqCst)
}

/// The address of the instruction's operand in memory, in one operand.
fn target(c: &mut Context<'_>, size: u32) -> Operand {
    let address = c.address(size, Use::Modify);
    c.flatten(address)
}

/// An atomic operation on the operand in memory; a new temporary with what that held, zero-extended.
fn modify(c: &mut Context<'_>, op: Op, ty: Type, value: Operand) -> Slot {
    let address = target(c, bytes(ty));
    apply(c, op, ty, address, value)
}

fn apply(c: &mut Context<'_>, op: Op, ty: Type, address: Operand, value: Operand) -> Slot {
    let held = c.b.temp64();
    c.b.atomic(op, attr(ty), ty, Ext::Zero, Some(held), [address, value]);
    held
}

/// The number to add for an addition or subtraction of a value.
fn addend(c: &mut Context<'_>, op: Op, value: Operand) -> Operand {
    match (op, value) {
        (Op::Add | Op::AddCarry, _) => value,
        (_, Operand::Imm(n)) => Operand::Imm(n.wrapping_neg()),
        _ => c.op(Op::Neg, Type::I64, [value]).into(),
    }
}

/// `lock add`, `lock sub`.
pub(super) fn add(c: &mut Context<'_>, ty: Type, op: Op, kind: FlagKind) -> Flow {
    let b = c.value(1);
    let by = addend(c, op, b);
    let held = modify(c, Op::AtomicAdd, ty, by);
    c.set_flags(kind, ty, [held.into(), b, Operand::Imm(0)]);
    Flow::Next
}

/// `lock adc`, `lock sbb`.
pub(super) fn with_carry(c: &mut Context<'_>, ty: Type, op: Op, kind: FlagKind) -> Flow {
    let b = c.value(1);
    let carry = c.flag(vm_ir::FlagCond::C);
    let both = c.op64(Op::Add, b, carry);
    let by = addend(c, op, both.into());
    let held = modify(c, Op::AtomicAdd, ty, by);
    c.set_flags(kind, ty, [held.into(), b, carry.into()]);
    Flow::Next
}

/// `lock inc`, `lock dec`.
pub(super) fn step(c: &mut Context<'_>, ty: Type, op: Op, kind: FlagKind) -> Flow {
    let by = addend(c, op, Operand::Imm(1));
    let held = modify(c, Op::AtomicAdd, ty, by);
    let zero = Operand::Imm(0);
    c.set_flags(kind, ty, [held.into(), zero, zero]);
    Flow::Next
}

/// `lock and`, `lock or`, `lock xor`.
pub(super) fn logic(c: &mut Context<'_>, ty: Type, op: Op) -> Flow {
    let atomic = match op {
        Op::And => Op::AtomicAnd,
        Op::Or => Op::AtomicOr,
        _ => Op::AtomicXor,
    };
    let b = c.value(1);
    let held = modify(c, atomic, ty, b);
    let result = c.op(op, ty, [held.into(), b]);
    c.logic_flags(ty, result.into());
    Flow::Next
}

/// `lock not`.
pub(super) fn invert(c: &mut Context<'_>, ty: Type) -> Flow {
    modify(c, Op::AtomicXor, ty, Operand::Imm(-1));
    Flow::Next
}

/// `lock neg`: tried until nobody has changed the memory in between.
pub(super) fn negate(c: &mut Context<'_>, ty: Type) -> Flow {
    let address = target(c, bytes(ty));
    let seen = c.load(super::address::Address::at(address), ty);
    let new = c.op(Op::Neg, ty, [seen.into()]);
    let held = c.b.temp64();
    let operands = [address, seen.into(), new.into()];
    c.b.atomic(Op::Cas, attr(ty), ty, Ext::Zero, Some(held), operands);
    let temp = c.b.temp(Type::Flags);
    let zero = Operand::Imm(0);
    let values = [seen.into(), zero, zero];
    c.b.setflags(FlagKind::Neg, ty, temp, values, None);
    let [old, new] = [FL, temp].map(|group| c.op(Op::FlagBits, Type::I64, [group.into()]));
    let done = [held.into(), seen.into()];
    let all = c.select(Cond::Eq, [new.into(), old.into()], done);
    c.set_flag_bits(all);
    Flow::End(Terminator::Branch {
        cond: Cond::Eq,
        ty: Type::I64,
        a: held.into(),
        b: seen.into(),
        taken: c.next(),
        fallthrough: c.here(),
    })
}

/// `lock bts`, `lock btr`, `lock btc`: what the memory held.
pub(super) fn change_bit(c: &mut Context<'_>, place: Place, ty: Type, op: Op, bit: Slot) -> Slot {
    let Place::Memory(address) = place else {
        return bit;
    };
    let address = c.flatten(address);
    let (atomic, value) = match op {
        Op::Or => (Op::AtomicOr, bit),
        Op::Xor => (Op::AtomicXor, bit),
        _ => (Op::AtomicAnd, c.op(Op::Not, Type::I64, [bit.into()])),
    };
    apply(c, atomic, ty, address, value.into())
}

/// `xchg` with memory, which is locked with and without the prefix.
pub(super) fn exchange(c: &mut Context<'_>, ty: Type) -> Flow {
    let register = if c.in_memory(0) { 1 } else { 0 };
    let value = c.value(register);
    let held = modify(c, Op::AtomicSwap, ty, value);
    let place = c.place(register, Use::Write);
    c.put(place, ty, held.into());
    Flow::Next
}

fn exchange_add(c: &mut Context<'_>) {
    let ty = c.ty(0);
    let b = c.value(1);
    let zero = Operand::Imm(0);
    if c.insn.has_lock_prefix() {
        let held = modify(c, Op::AtomicAdd, ty, b);
        c.set_flags(FlagKind::Add, ty, [held.into(), b, zero]);
        let to = c.place(1, Use::Write);
        c.put(to, ty, held.into());
        return;
    }
    let place = c.place(0, Use::Modify);
    let held = c.get(place, ty);
    let held = c.copy(held);
    let sum = c.op(Op::Add, ty, [held.into(), b]);
    match place {
        Place::Memory(_) => {
            c.put(place, ty, sum.into());
            c.set_flags(FlagKind::Add, ty, [held.into(), b, zero]);
            let to = c.place(1, Use::Write);
            c.put(to, ty, held.into());
        }
        _ => {
            // With one register as both operands the sum wins.
            c.set_flags(FlagKind::Add, ty, [held.into(), b, zero]);
            let to = c.place(1, Use::Write);
            c.put(to, ty, held.into());
            c.put(place, ty, sum.into());
        }
    }
}

fn compare_exchange(c: &mut Context<'_>) {
    let ty = c.ty(0);
    let new = c.value(1);
    let rax = gpr_slot(gpr::RAX);
    let zero = Operand::Imm(0);
    if c.insn.has_lock_prefix() {
        let address = target(c, bytes(ty));
        let held = c.b.temp64();
        let operands = [address, rax.into(), new];
        c.b.atomic(Op::Cas, attr(ty), ty, Ext::Zero, Some(held), operands);
        c.set_flags(FlagKind::Sub, ty, [rax.into(), held.into(), zero]);
        keep_or_load(c, ty, held);
        return;
    }
    let place = c.place(0, Use::Modify);
    let held = c.get(place, ty);
    let held = c.zero_extend(held, ty);
    let held = c.copy(held);
    let expected = c.zero_extend(rax.into(), ty);
    let compared = [held.into(), expected];
    let flags = [rax.into(), held.into(), zero];
    match place {
        Place::Memory(_) => {
            // Memory is written in any case, and faults so.
            let stored = c.select(Cond::Eq, [new, held.into()], compared);
            c.put(place, ty, stored.into());
            c.set_flags(FlagKind::Sub, ty, flags);
            keep_or_load(c, ty, held);
        }
        Place::High(_) => {
            let stored = c.select(Cond::Eq, [new, held.into()], compared);
            c.set_flags(FlagKind::Sub, ty, flags);
            keep_or_load(c, ty, held);
            c.put(place, ty, stored.into());
        }
        Place::Register(slot) => {
            // A register is not written when it differs, not even its upper half.
            let new = match ty {
                Type::I8 | Type::I16 => c.deposit(slot, 0, ty.bits() as u8, new).into(),
                _ => c.zero_extend(new, ty),
            };
            let stored = c.select(Cond::Eq, [new, slot.into()], compared);
            c.set_flags(FlagKind::Sub, ty, flags);
            keep_or_load(c, ty, held);
            // RAX as destination equals itself.
            c.b.mov(slot, stored);
        }
    }
}

/// RAX takes what the destination held, unless that equalled it: then RAX is not written at all.
fn keep_or_load(c: &mut Context<'_>, ty: Type, held: Slot) {
    let rax = gpr_slot(gpr::RAX);
    let expected = c.zero_extend(rax.into(), ty);
    let loaded: Operand = match ty {
        Type::I8 | Type::I16 => c.deposit(rax, 0, ty.bits() as u8, held).into(),
        _ => held.into(),
    };
    c.b.select(Cond::Eq, rax, [rax.into(), loaded], [expected, held.into()]);
}

/// EDX:EAX against eight bytes; atomic with and without the prefix.
fn compare_exchange_8(c: &mut Context<'_>) {
    let [rax, rdx] = [gpr::RAX, gpr::RDX].map(gpr_slot);
    let address = target(c, 8);
    let expected = c.deposit(rax, 32, 32, rdx);
    let new = c.deposit(gpr_slot(gpr::RBX), 32, 32, gpr_slot(gpr::RCX));
    let held = c.b.temp64();
    let operands = [address, expected.into(), new.into()];
    let ty = Type::I64;
    c.b.atomic(Op::Cas, attr(ty), ty, Ext::Zero, Some(held), operands);
    let differ = c.op64(Op::Xor, held, expected);
    bits::set_zero(c, ty, differ);
    let low = c.op(Op::Mov, Type::I32, [held.into()]);
    let high = c.op64(Op::Shr, held, 32_i64);
    for (register, half) in [(rax, low), (rdx, high)] {
        let compared = [differ.into(), Operand::Imm(0)];
        c.b.select(Cond::Eq, register, [register.into(), half.into()], compared);
    }
}

/// RDX:RAX against sixteen bytes, which must be aligned (Intel SDM 2A, "CMPXCHG8B/CMPXCHG16B").
fn compare_exchange_16(c: &mut Context<'_>) {
    let [rax, rcx, rdx, rbx] = [gpr::RAX, gpr::RCX, gpr::RDX, gpr::RBX].map(gpr_slot);
    let address = target(c, 16);
    let wide = |c: &mut Context<'_>, low: Slot, high: Slot| {
        let both = c.b.temp(Type::I128);
        let operands = [low.into(), high.into()];
        c.b.op(Op::Pair, Type::I128, Ext::Zero, both, operands);
        both
    };
    let expected = wide(c, rax, rdx);
    let new = wide(c, rbx, rcx);
    let held = c.b.temp(Type::I128);
    let operands = [address, expected.into(), new.into()];
    let attr = attr(Type::I128).aligned();
    c.b.atomic(Op::Cas, attr, Type::I128, Ext::Zero, Some(held), operands);
    let low = c.op(Op::Low, Type::I64, [held.into()]);
    let high = c.op(Op::High, Type::I64, [held.into()]);
    let a = c.op64(Op::Xor, low, rax);
    let b = c.op64(Op::Xor, high, rdx);
    let differ = c.op64(Op::Or, a, b);
    bits::set_zero(c, Type::I64, differ);
    c.b.mov(rax, low);
    c.b.mov(rdx, high);
}

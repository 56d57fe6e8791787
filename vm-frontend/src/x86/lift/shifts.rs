//! Shifts and rotations (Intel SDM 1, 7.3.5 and 7.3.6).

use iced_x86::Mnemonic;
use vm_ir::{Cond, FlagCond, FlagKind, Op, Operand, Slot, Type};

use super::Flow;
use super::context::{Context, FL, Place, Use};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `shl`, `shr`, `sar`.
    Shift(Op, FlagKind),
    /// `rol`, `ror`.
    Rotate(Op),
    /// `rcl`: true, `rcr`: false.
    ThroughCarry(bool),
    /// `shld`: true, `shrd`: false.
    Double(bool),
    /// `shlx`, `shrx`, `sarx`, `rorx`.
    WithoutFlags(Op),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Shl, Shift(Op::Shl, FlagKind::Shl)),
    (Mnemonic::Sal, Shift(Op::Shl, FlagKind::Shl)),
    (Mnemonic::Shr, Shift(Op::Shr, FlagKind::Shr)),
    (Mnemonic::Sar, Shift(Op::Sar, FlagKind::Sar)),
    (Mnemonic::Rol, Rotate(Op::Rol)),
    (Mnemonic::Ror, Rotate(Op::Ror)),
    (Mnemonic::Rcl, ThroughCarry(true)),
    (Mnemonic::Rcr, ThroughCarry(false)),
    (Mnemonic::Shld, Double(true)),
    (Mnemonic::Shrd, Double(false)),
    (Mnemonic::Shlx, WithoutFlags(Op::Shl)),
    (Mnemonic::Shrx, WithoutFlags(Op::Shr)),
    (Mnemonic::Sarx, WithoutFlags(Op::Sar)),
    (Mnemonic::Rorx, WithoutFlags(Op::Ror)),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let ty = c.ty(0);
    match rule {
        Shift(op, kind) => shift(c, op, kind, ty),
        Rotate(op) => rotate(c, op, ty),
        ThroughCarry(left) => through_carry(c, left, ty),
        Double(left) => double(c, left, ty),
        WithoutFlags(op) => {
            let value = c.value(1);
            let count = c.value(2);
            let place = c.place(0, Use::Write);
            c.compute(place, op, ty, [value, count]);
        }
    }
    Flow::Next
}

/// The count in operand number `operand`: a constant, masked by 31, of 64-bit shifts by 63, or RCX as it is (Intel SDM 2B,
/// "SAL/SAR/SHL/SHR").
fn count(c: &mut Context<'_>, operand: u32, ty: Type) -> Operand {
    match c.value(operand) {
        Operand::Imm(count) => Operand::Imm(count & most(ty)),
        _ => gpr_slot(gpr::RCX).into(),
    }
}

/// The largest count.
fn most(ty: Type) -> i64 {
    if ty == Type::I64 { 63 } else { 31 }
}

/// A count, masked.
fn masked(c: &mut Context<'_>, count: Operand, ty: Type) -> Operand {
    match count {
        Operand::Imm(_) => count,
        _ => c.op64(Op::And, count, most(ty)).into(),
    }
}

/// A shift by a constant zero changes nothing, but clears the upper half of a 32-bit register.
fn is_idle(c: &mut Context<'_>, place: Place, ty: Type, count: Operand, a: Operand) -> bool {
    let idle = count == Operand::Imm(0);
    if idle {
        c.put(place, ty, a);
    }
    idle
}

fn shift(c: &mut Context<'_>, op: Op, kind: FlagKind, ty: Type) {
    let count = count(c, 1, ty);
    let place = c.place(0, Use::Modify);
    let a = c.get(place, ty);
    if is_idle(c, place, ty, count, a) {
        return;
    }
    let (wide, from, by) = widened(c, op, ty, a, count);
    let flags = [a, count, Operand::Imm(0)];
    match place {
        Place::Register(_) if wide == ty => {
            c.set_flags(kind, ty, flags);
            c.compute(place, op, ty, [from, by]);
        }
        Place::Memory(_) => {
            let result = c.op(op, wide, [from, by]);
            c.put(place, ty, result.into());
            c.set_flags(kind, ty, flags);
        }
        _ => {
            let result = c.op(op, wide, [from, by]);
            c.set_flags(kind, ty, flags);
            c.put(place, ty, result.into());
        }
    }
}

/// Counts of 8- and 16-bit shifts can exceed the width, which the IR takes them modulo: they are done in 32 bits, or,
/// arithmetic ones, by the width less one at most. Type, value and count.
fn widened(
    c: &mut Context<'_>,
    op: Op,
    ty: Type,
    a: Operand,
    count: Operand,
) -> (Type, Operand, Operand) {
    let bits = i64::from(ty.bits());
    match (ty, op, count) {
        (Type::I32 | Type::I64, ..) => (ty, a, count),
        (_, _, Operand::Imm(n)) if n < bits => (ty, a, count),
        (_, Op::Sar, Operand::Imm(_)) => (ty, a, Operand::Imm(bits - 1)),
        (_, Op::Sar, _) => {
            let count = masked(c, count, ty);
            (ty, a, c.op64(Op::MinU, count, bits - 1).into())
        }
        _ => (Type::I32, c.zero_extend(a, ty), count),
    }
}

/// Puts carry and overflow into the flags, unless the count is zero.
fn set_carry_overflow(
    c: &mut Context<'_>,
    count: Operand,
    carry: impl Into<Operand>,
    overflow: impl Into<Operand>,
) {
    let mut flags = [carry.into(), overflow.into()];
    if !matches!(count, Operand::Imm(_)) {
        let old = [c.flag(FlagCond::C), c.flag(FlagCond::V)];
        for (new, old) in flags.iter_mut().zip(old) {
            let compared = [count, Operand::Imm(0)];
            *new = c.select(Cond::Eq, [old.into(), *new], compared).into();
        }
    }
    let values = [flags[0], flags[1], Operand::Imm(0)];
    c.set_flags(FlagKind::CarryOverflow, Type::I64, values);
}

fn top_bit(c: &mut Context<'_>, value: impl Into<Operand>, ty: Type) -> Slot {
    c.extract(value, ty.bits() as u8 - 1, 1, false)
}

/// Overflow is carry and top bit differing after a left rotation, the two top bits differing after a right one
/// (Intel SDM 2B, "RCL/RCR/ROL/ROR"). Bit 0 says it.
fn overflow(c: &mut Context<'_>, left: bool, result: Slot, carry: Slot, ty: Type) -> Slot {
    let top = top_bit(c, result, ty);
    let other = if left {
        carry
    } else {
        c.extract(result, ty.bits() as u8 - 2, 1, false)
    };
    c.op64(Op::Xor, top, other)
}

fn rotate(c: &mut Context<'_>, op: Op, ty: Type) {
    let count = count(c, 1, ty);
    let place = c.place(0, Use::Modify);
    let a = c.get(place, ty);
    if is_idle(c, place, ty, count, a) {
        return;
    }
    let count = masked(c, count, ty);
    let result = c.op(op, ty, [a, count]);
    c.put(place, ty, result.into());
    let left = op == Op::Rol;
    let carry = if left { result } else { top_bit(c, result, ty) };
    let overflow = overflow(c, left, result, carry, ty);
    set_carry_overflow(c, count, carry, overflow);
}

fn through_carry(c: &mut Context<'_>, left: bool, ty: Type) {
    let bits = i64::from(ty.bits());
    let count = count(c, 1, ty);
    let count = masked(c, count, ty);
    let count = match (ty, count) {
        (Type::I32 | Type::I64, count) => count,
        (_, Operand::Imm(n)) => Operand::Imm(n % (bits + 1)),
        (_, count) => c.op64(Op::RemU, count, bits + 1).into(),
    };
    let place = c.place(0, Use::Modify);
    let a = c.get(place, ty);
    if is_idle(c, place, ty, count, a) {
        return;
    }
    let carry = c.flag(FlagCond::C).into();
    // The bit that becomes carry.
    let last: Operand = match (left, count) {
        (true, Operand::Imm(n)) => (bits - n).into(),
        (false, Operand::Imm(n)) => (n - 1).into(),
        (true, _) => c.op64(Op::Sub, bits, count).into(),
        (false, _) => c.op64(Op::Sub, count, 1_i64).into(),
    };
    let out = c.op(Op::BitExtract, ty, [a, last]);
    let op = if left { Op::RolCarry } else { Op::RorCarry };
    let result = c.op(op, ty, [a, count, carry]);
    c.put(place, ty, result.into());
    let overflow = overflow(c, left, result, out, ty);
    set_carry_overflow(c, count, out, overflow);
}

/// Shifts with bits of another register coming in (Intel SDM 2B, "SHLD", "SHRD"). Counts above 16 of 16-bit operands
/// are undefined.
fn double(c: &mut Context<'_>, left: bool, ty: Type) {
    let count = count(c, 2, ty);
    let count = masked(c, count, ty);
    let fill = c.value(1);
    let place = c.place(0, Use::Modify);
    let a = c.get(place, ty);
    if is_idle(c, place, ty, count, a) {
        return;
    }
    let a = c.zero_extend(a, ty);
    let a: Operand = if ty == Type::I64 { c.copy(a).into() } else { a };
    let bits = i64::from(ty.bits());
    // What the last bit to go out is taken from, and at which place it is.
    let (result, from, out): (Slot, Operand, Slot) = match (ty, left) {
        (Type::I16, left) => {
            // Counts above the width bring in the operand itself again, as processors do.
            let both = c.deposit(a, 16, 16, fill);
            let both = c.deposit(both, 32, 16, a);
            let (shift, pos) = if left { (Op::Shl, 32) } else { (Op::Shr, 0) };
            let shifted = c.op64(shift, both, count);
            let result = c.extract(shifted, pos, 16, false);
            let out = if left {
                c.op64(Op::Sub, 3 * bits, count)
            } else {
                c.op64(Op::Sub, count, 1_i64)
            };
            (result, both.into(), out)
        }
        (_, false) => {
            let result = c.op(Op::FunnelShr, ty, [a, fill, count]);
            (result, a, c.op64(Op::Sub, count, 1_i64))
        }
        (_, true) => {
            let back = c.op64(Op::Sub, bits, count);
            let shifted = c.op(Op::FunnelShr, ty, [fill, a, back.into()]);
            let result = match count {
                Operand::Imm(_) => shifted,
                _ => c.select(Cond::Eq, [a, shifted.into()], [count, Operand::Imm(0)]),
            };
            (result, a, back)
        }
    };
    c.put(place, ty, result.into());
    let out = c.op64(Op::Shr, from, out);
    let carry = c.op64(Op::And, out, 1_i64);
    let before = top_bit(c, a, ty);
    let after = top_bit(c, result, ty);
    let overflow = c.op64(Op::Xor, before, after);
    let zero = Operand::Imm(0);
    let of_result = [result.into(), zero, zero];
    let of_bits = [carry.into(), overflow.into(), zero];
    if let Operand::Imm(_) = count {
        c.set_flags(FlagKind::Logic, ty, of_result);
        c.set_flags(FlagKind::CarryOverflow, Type::I64, of_bits);
        return;
    }
    let temp = c.b.temp(Type::Flags);
    c.b.setflags(FlagKind::Logic, ty, temp, of_result, None);
    c.b.setflags(
        FlagKind::CarryOverflow,
        Type::I64,
        temp,
        of_bits,
        Some(temp),
    );
    let [new, old] = [temp, FL].map(|group| c.op(Op::FlagBits, Type::I64, [group.into()]));
    let all = c.select(Cond::Eq, [old.into(), new.into()], [count, zero]);
    c.set_flag_bits(all);
}

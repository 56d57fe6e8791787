//! Bits and bit fields: tests, scans, counts, BMI1 and BMI2 (Intel SDM 1, 7.3.7, 7.3.8 and 7.3.15).

use iced_x86::{Mnemonic, OpKind};
use vm_ir::{Cond, FlagKind, Op, Operand, Slot, Type};

use super::address::Address;
use super::context::{Context, Place, Use, bytes, mask};
use super::{Flow, atomic};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `bt`.
    Test,
    /// `bts`, `btr`, `btc`: the operation on the bit.
    Change(Op),
    /// `bsf`, `bsr`: whether forward.
    Scan(bool),
    /// `tzcnt`, `lzcnt`: counts that are carry when they are all bits.
    Count(Op),
    /// `popcnt`.
    Population,
    /// `blsr`, `blsmsk`, `blsi`.
    Lowest(Lowest),
    /// `bextr`.
    Field,
    /// `bzhi`.
    ZeroHigh,
    /// `pdep`, `pext`.
    Spread(Op),
    /// `crc32`.
    Crc,
}

/// What becomes of the lowest bit that is set.
#[derive(Clone, Copy)]
pub(super) enum Lowest {
    /// It is reset.
    Reset,
    /// It and those below are set, the rest clear.
    Mask,
    /// The rest is clear.
    Isolate,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Bt, Test),
    (Mnemonic::Bts, Change(Op::Or)),
    (Mnemonic::Btr, Change(Op::AndNot)),
    (Mnemonic::Btc, Change(Op::Xor)),
    (Mnemonic::Bsf, Scan(true)),
    (Mnemonic::Bsr, Scan(false)),
    (Mnemonic::Tzcnt, Count(Op::Ctz)),
    (Mnemonic::Lzcnt, Count(Op::Clz)),
    (Mnemonic::Popcnt, Population),
    (Mnemonic::Blsr, Rule::Lowest(Lowest::Reset)),
    (Mnemonic::Blsmsk, Rule::Lowest(Lowest::Mask)),
    (Mnemonic::Blsi, Rule::Lowest(Lowest::Isolate)),
    (Mnemonic::Bextr, Field),
    (Mnemonic::Bzhi, ZeroHigh),
    (Mnemonic::Pdep, Spread(Op::ScatterBits)),
    (Mnemonic::Pext, Spread(Op::GatherBits)),
    (Mnemonic::Crc32, Crc),
];

/// Place of Z in flag bits.
const ZERO: u8 = 6;

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let ty = c.ty(0);
    match rule {
        Test => {
            let (place, number) = bit(c, ty, Use::Read);
            let value = c.get(place, ty);
            set_carry_to_bit(c, value, number);
        }
        Change(op) => {
            let (place, number) = bit(c, ty, Use::Modify);
            let one = c.op64(Op::Shl, 1_i64, number);
            let old = if c.insn.has_lock_prefix() {
                atomic::change_bit(c, place, ty, op, one)
            } else {
                let old = c.get(place, ty);
                let old = c.copy(old);
                c.compute(place, op, ty, [old.into(), one.into()]);
                old
            };
            set_carry_to_bit(c, old.into(), number);
        }
        Scan(forward) => scan(c, forward, ty),
        Count(op) => {
            let value = c.value(1);
            let none = c.cmp(Cond::Eq, ty, value, 0_i64);
            let result = c.op(op, ty, [value]);
            finish(c, ty, result, none.into());
        }
        Population => {
            let value = c.value(1);
            let result = c.op(Op::Popcnt, ty, [value]);
            let place = c.place(0, Use::Write);
            c.put(place, ty, result.into());
            let zero = c.cmp(Cond::Eq, ty, result, 0_i64);
            let all = c.op64(Op::Shl, zero, i64::from(ZERO));
            c.set_flag_bits(all);
        }
        Rule::Lowest(what) => lowest(c, what, ty),
        Field => field(c, ty),
        ZeroHigh => zero_high(c, ty),
        Spread(op) => {
            let mask = c.value(2);
            let value = c.value(1);
            let place = c.place(0, Use::Write);
            c.compute(place, op, ty, [value, mask]);
        }
        Crc => {
            let size = Operand::Imm(bytes(c.ty(1)).into());
            let data = c.value(1);
            let place = c.place(0, Use::Modify);
            let sum = c.get(place, Type::I32);
            let result = c.op(Op::Crc32c, Type::I64, [sum, data, size]);
            // The result has 32 bits, whatever the destination's size is.
            c.put(place, Type::I32, result.into());
        }
    }
    Flow::Next
}

/// Where the bit is, and its number there below the type's bits. A register as number reaches beyond the operand in
/// memory (Intel SDM 2A, "BT").
fn bit(c: &mut Context<'_>, ty: Type, how: Use) -> (Place, Operand) {
    let low = i64::from(ty.bits()) - 1;
    if c.insn.op_kind(1) != OpKind::Register {
        let number = c.insn.immediate(1) as i64 & low;
        return (c.place(0, how), Operand::Imm(number));
    }
    let number = c.value(1);
    let below = c.op64(Op::And, number, low).into();
    if !c.in_memory(0) {
        return (c.place(0, how), below);
    }
    let number = c.sign_extend(number, ty);
    let shift = i64::from(ty.bits().ilog2());
    let units = c.op64(Op::Sar, number, shift);
    let further = c.op64(Op::Shl, units, i64::from(bytes(ty).ilog2()));
    let address = if c.is_64() && c.address_type() == Type::I64 {
        let address = c.address(bytes(ty), how);
        let linear = c.flatten(address);
        Address::at(c.op64(Op::Add, linear, further))
    } else {
        let at = c.address_type();
        let offset = c.offset();
        let offset = c.op(Op::Add, at, [offset, further.into()]);
        let segment = super::address::segment_number(c.insn.memory_segment());
        c.in_segment(segment, offset.into(), bytes(ty), how)
    };
    (Place::Memory(address), below)
}

/// C becomes the bit; the manual leaves V, N, A and P open, and keeps Z.
fn set_carry_to_bit(c: &mut Context<'_>, value: Operand, number: Operand) {
    let bit = match number {
        Operand::Imm(n) => c.extract(value, n as u8, 1, false),
        _ => c.op(Op::BitExtract, Type::I64, [value, number]),
    };
    set_carry(c, bit.into());
}

/// Sets C to bit 0 of a value, and keeps the others.
pub(super) fn set_carry(c: &mut Context<'_>, carry: Operand) {
    let zero = Operand::Imm(0);
    c.set_flags(FlagKind::Carry, Type::I64, [carry, zero, zero]);
}

/// Of zero the destination stays, and Z is set (Intel SDM 2A, "BSF": undefined; every processor keeps it, all 64 bits).
fn scan(c: &mut Context<'_>, forward: bool, ty: Type) {
    let value = c.value(1);
    let found = if forward {
        c.op(Op::Ctz, ty, [value])
    } else {
        let zeros = c.op(Op::Clz, ty, [value]);
        c.op64(Op::Sub, i64::from(ty.bits()) - 1, zeros)
    };
    let value = c.zero_extend(value, ty);
    let none = c.cmp(Cond::Eq, Type::I64, value, 0_i64);
    let place = c.place(0, Use::Modify);
    // Only Z is defined. The source may be the destination.
    let source = c.copy(value);
    if let Place::Register(dst) = place {
        let found = if ty == Type::I16 {
            c.deposit(dst, 0, 16, found)
        } else {
            found
        };
        c.b.select(
            Cond::Ne,
            dst,
            [dst.into(), found.into()],
            [none.into(), Operand::Imm(0)],
        );
    }
    c.logic_flags(ty, source.into());
}

fn lowest(c: &mut Context<'_>, what: Lowest, ty: Type) {
    let value = c.value(1);
    let value = c.zero_extend(value, ty);
    let value = c.copy(value);
    let less = c.op(Op::Sub, ty, [value.into(), Operand::Imm(1)]);
    let none = c.cmp(Cond::Eq, Type::I64, value, 0_i64);
    let (result, carry) = match what {
        Lowest::Reset => (c.op64(Op::And, value, less), none),
        Lowest::Mask => (c.op64(Op::Xor, value, less), none),
        Lowest::Isolate => {
            let some = c.op64(Op::Xor, none, 1_i64);
            let negative = c.op(Op::Neg, ty, [value.into()]);
            (c.op64(Op::And, value, negative), some)
        }
    };
    finish(c, ty, result, carry.into());
}

/// Writes a result; the flags are the result's, and the carry.
fn finish(c: &mut Context<'_>, ty: Type, result: Slot, carry: Operand) {
    let place = c.place(0, Use::Write);
    c.put(place, ty, result.into());
    c.logic_flags(ty, result.into());
    if carry != Operand::Imm(0) {
        set_carry(c, carry);
    }
}

/// A field whose start and length are the low bytes of the third operand.
fn field(c: &mut Context<'_>, ty: Type) {
    let value = c.value(1);
    let value = c.zero_extend(value, ty);
    let control = c.value(2);
    let start = c.extract(control, 0, 8, false);
    let len = c.extract(control, 8, 8, false);
    let bits = i64::from(ty.bits());
    let moved = c.op64(Op::Shr, value, start);
    let far = [start.into(), Operand::Imm(bits)];
    let moved = c.select(Cond::GeU, [Operand::Imm(0), moved.into()], far);
    let result = low_bits(c, moved.into(), len, bits);
    finish(c, ty, result, Operand::Imm(0));
}

/// As many low bits of a value as `len` says; all, if it says that or more.
fn low_bits(c: &mut Context<'_>, value: Operand, len: Slot, bits: i64) -> Slot {
    let ones = c.op64(Op::Shl, -1_i64, len);
    let some = c.op64(Op::AndNot, value, ones);
    let all = [len.into(), Operand::Imm(bits)];
    c.select(Cond::GeU, [value, some.into()], all)
}

fn zero_high(c: &mut Context<'_>, ty: Type) {
    let bits = i64::from(ty.bits());
    let value = c.value(1);
    let value = c.zero_extend(value, ty);
    let value = c.op64(Op::And, value, mask(ty));
    let len = c.value(2);
    let len = c.extract(len, 0, 8, false);
    let beyond = c.cmp(Cond::GeU, Type::I64, len, bits);
    let result = low_bits(c, value.into(), len, bits);
    finish(c, ty, result, beyond.into());
}

/// Sets Z to whether a value is zero, and keeps the others.
pub(super) fn set_zero(c: &mut Context<'_>, ty: Type, value: impl Into<Operand>) {
    let zero = Operand::Imm(0);
    c.set_flags(FlagKind::Zero, ty, [value.into(), zero, zero]);
}

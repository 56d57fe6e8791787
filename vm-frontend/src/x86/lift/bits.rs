//! Bits and bit fields: tests, scans, counts, BMI1 and BMI2 (Intel SDM 1, 7.3.7, 7.3.8 and 7.3.15).

use iced_x86::{Mnemonic, OpKind};
use vm_ir::{Cond, FlagKind, Op, Operand, Slot, Type};

use super::address::Address;
use super::context::{Context, Place, Use, bytes, mask};
use super::{Flow, atomic, helper};

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
    Helper(vm_ir::HelperId),
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
    (Mnemonic::Pdep, Helper(helper::DEPOSIT_BITS)),
    (Mnemonic::Pext, Helper(helper::EXTRACT_BITS)),
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
            let place = c.place(0, Use::Write);
            c.put(place, ty, result.into());
            let zero = c.cmp(Cond::Eq, ty, result, 0_i64);
            let all = c.deposit(none, ZERO, 1, zero);
            c.set_flag_bits(all);
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
        Helper(helper) => {
            let mask = c.value(2);
            let mask = c.zero_extend(mask, ty);
            let value = c.value(1);
            let result = c.call(helper, [value, mask]);
            let place = c.place(0, Use::Write);
            c.put(place, ty, result.into());
        }
        Crc => {
            let from = c.ty(1);
            let data = c.value(1);
            let place = c.place(0, Use::Modify);
            let sum = c.get(place, Type::I32);
            let size = Operand::Imm(bytes(from).into());
            let result = c.call(helper::CRC32, [sum, data, size]);
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
        _ => {
            let moved = c.op64(Op::Shr, value, number);
            c.op64(Op::And, moved, 1_i64)
        }
    };
    let all = c.flag_bits();
    let all = c.deposit(all, 0, 1, bit);
    c.set_flag_bits(all);
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
    let all = c.op64(Op::Shl, none, i64::from(ZERO));
    let place = c.place(0, Use::Modify);
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
    c.set_flag_bits(all);
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
    let temp = c.b.temp(Type::Flags);
    let zero = Operand::Imm(0);
    c.b.setflags(FlagKind::Logic, ty, temp, [result.into(), zero, zero], None);
    let all = c.op(Op::FlagBits, Type::I64, [temp.into()]);
    let all = c.deposit(all, 0, 1, carry);
    c.set_flag_bits(all);
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

/// Sets Z of all flags, and keeps the others.
pub(super) fn set_zero(c: &mut Context<'_>, zero: Slot) {
    let all = c.flag_bits();
    let all = c.deposit(all, ZERO, 1, zero);
    c.set_flag_bits(all);
}

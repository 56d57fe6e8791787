//! Moves, insertion and extraction (Intel SDM 1, 10.4.1.1, 11.4.1.1, 11.4.2, 12.6).

use iced_x86::{Mnemonic, Register};
use vm_ir::{Attr, Ext, Op, Operand, Slot, Type, VectorId};

use super::operand::{Aligned, halves};
use super::{is_vex, mmx, uses_mmx};
use crate::x86::fp::rows;
use crate::x86::lift::Flow;
use crate::x86::lift::context::{Context, Place, Use, register_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// The whole vector; memory aligned or anyhow.
    Whole(bool),
    /// `movss`, `movsd`.
    Scalar(Type),
    /// `movd`, `movq`: between general registers, memory and the low end of a vector.
    Integer,
    /// `movlps` and its kin: the half in memory.
    Half(u8),
    /// `movhlps`: the other's high half to the low one.
    HighToLow,
    /// `movlhps`: the other's low half to the high one.
    LowToHigh,
    /// `pinsrb` and its kin.
    Insert(Type),
    /// `pextrb` and its kin, `extractps`.
    Extract(Type),
    /// `insertps`.
    InsertSingle,
    /// `movdq2q`, `movq2dq`.
    BetweenUnits,
    /// `pshufw`.
    ShuffleWords,
    /// `vzeroall`, `vzeroupper`: whether the low halves, too.
    Zero(bool),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Movaps, Whole(true)),
    (Mnemonic::Movapd, Whole(true)),
    (Mnemonic::Movdqa, Whole(true)),
    (Mnemonic::Movups, Whole(false)),
    (Mnemonic::Movupd, Whole(false)),
    (Mnemonic::Movdqu, Whole(false)),
    (Mnemonic::Lddqu, Whole(false)),
    (Mnemonic::Movntps, Whole(true)),
    (Mnemonic::Movntpd, Whole(true)),
    (Mnemonic::Movntdq, Whole(true)),
    (Mnemonic::Movntdqa, Whole(true)),
    (Mnemonic::Vmovaps, Whole(true)),
    (Mnemonic::Vmovapd, Whole(true)),
    (Mnemonic::Vmovdqa, Whole(true)),
    (Mnemonic::Vmovups, Whole(false)),
    (Mnemonic::Vmovupd, Whole(false)),
    (Mnemonic::Vmovdqu, Whole(false)),
    (Mnemonic::Vlddqu, Whole(false)),
    (Mnemonic::Vmovntps, Whole(true)),
    (Mnemonic::Vmovntpd, Whole(true)),
    (Mnemonic::Vmovntdq, Whole(true)),
    (Mnemonic::Vmovntdqa, Whole(true)),
    (Mnemonic::Movss, Scalar(Type::I32)),
    (Mnemonic::Movsd, Scalar(Type::I64)),
    (Mnemonic::Vmovss, Scalar(Type::I32)),
    (Mnemonic::Vmovsd, Scalar(Type::I64)),
    (Mnemonic::Movd, Integer),
    (Mnemonic::Movq, Integer),
    (Mnemonic::Movntq, Integer),
    (Mnemonic::Vmovd, Integer),
    (Mnemonic::Vmovq, Integer),
    (Mnemonic::Movlps, Half(0)),
    (Mnemonic::Movlpd, Half(0)),
    (Mnemonic::Movhps, Half(1)),
    (Mnemonic::Movhpd, Half(1)),
    (Mnemonic::Vmovlps, Half(0)),
    (Mnemonic::Vmovlpd, Half(0)),
    (Mnemonic::Vmovhps, Half(1)),
    (Mnemonic::Vmovhpd, Half(1)),
    (Mnemonic::Movhlps, HighToLow),
    (Mnemonic::Vmovhlps, HighToLow),
    (Mnemonic::Movlhps, LowToHigh),
    (Mnemonic::Vmovlhps, LowToHigh),
    (Mnemonic::Pinsrb, Insert(Type::I8)),
    (Mnemonic::Pinsrw, Insert(Type::I16)),
    (Mnemonic::Pinsrd, Insert(Type::I32)),
    (Mnemonic::Pinsrq, Insert(Type::I64)),
    (Mnemonic::Vpinsrb, Insert(Type::I8)),
    (Mnemonic::Vpinsrw, Insert(Type::I16)),
    (Mnemonic::Vpinsrd, Insert(Type::I32)),
    (Mnemonic::Vpinsrq, Insert(Type::I64)),
    (Mnemonic::Pextrb, Extract(Type::I8)),
    (Mnemonic::Pextrw, Extract(Type::I16)),
    (Mnemonic::Pextrd, Extract(Type::I32)),
    (Mnemonic::Pextrq, Extract(Type::I64)),
    (Mnemonic::Vpextrb, Extract(Type::I8)),
    (Mnemonic::Vpextrw, Extract(Type::I16)),
    (Mnemonic::Vpextrd, Extract(Type::I32)),
    (Mnemonic::Vpextrq, Extract(Type::I64)),
    (Mnemonic::Extractps, Extract(Type::I32)),
    (Mnemonic::Vextractps, Extract(Type::I32)),
    (Mnemonic::Insertps, InsertSingle),
    (Mnemonic::Vinsertps, InsertSingle),
    (Mnemonic::Movdq2q, BetweenUnits),
    (Mnemonic::Movq2dq, BetweenUnits),
    (Mnemonic::Pshufw, ShuffleWords),
    (Mnemonic::Vzeroupper, Zero(false)),
    (Mnemonic::Vzeroall, Zero(true)),
];

const SHUFFLE_WORDS: VectorId = rows::named("Pshuflw");
const INSERT_SINGLE: VectorId = rows::named("Insertps");

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Whole(aligned) => whole(c, aligned),
        Scalar(ty) => scalar(c, ty),
        Integer => integer(c),
        Half(n) => half(c, n),
        HighToLow | LowToHigh => across(c, rule),
        Insert(ty) => insert(c, ty),
        Extract(ty) => extract(c, ty),
        InsertSingle => insert_single(c),
        BetweenUnits => between_units(c),
        ShuffleWords => return mmx::lift(c, SHUFFLE_WORDS, rows::Shape::Unary),
        Zero(all) => zero(c, all),
    }
    Flow::Next
}

fn whole(c: &mut Context<'_>, aligned: bool) {
    let aligned = if aligned { Aligned::Yes } else { Aligned::No };
    let register = c.insn.op_register(if c.in_memory(0) { 1 } else { 0 });
    let [low, high] = halves(register);
    let wide = register.is_ymm();
    let bytes = if wide { 32 } else { 16 };
    let each = !wide && aligned == Aligned::Yes;
    if c.in_memory(0) {
        let address = c.vector_address(bytes, Use::Write, aligned);
        if wide {
            c.probe_vector(address.plus(16), 16);
        }
        c.store_vector(address, 16, each, low);
        if wide {
            c.store_vector(address.plus(16), 16, false, high);
        }
        return;
    }
    if c.in_memory(1) && !wide {
        let address = c.vector_address(bytes, Use::Read, aligned);
        c.load_to_vector(low, address, 16, each);
    } else {
        let [from, from_high] = c.source(1, aligned);
        if wide {
            c.mov_vector(high, from_high);
        }
        c.mov_vector(low, from);
    }
    if !wide {
        c.clear_high(register);
    }
}

/// Writes the low bits of a slot into the low end of a vector, the rest of which stays.
fn write_low(c: &mut Context<'_>, to: Slot, ty: Type, from: Slot) {
    c.b.op(Op::Mov, ty, Ext::Keep, to, [from.into()]);
}

/// Makes `to` a copy of `from` but for what the caller writes next, and gives `value` as it was before.
fn prepare(c: &mut Context<'_>, to: Slot, from: Slot, value: Slot) -> Slot {
    if to == from {
        return value;
    }
    let value = match value == to {
        true => {
            let temp = c.vector_temp();
            c.mov_vector(temp, value);
            temp
        }
        false => value,
    };
    c.mov_vector(to, from);
    value
}

fn scalar(c: &mut Context<'_>, ty: Type) {
    let bytes = ty.bits() / 8;
    if c.in_memory(0) {
        let [from, _] = halves(c.insn.op_register(1));
        let address = c.address(bytes, Use::Write);
        c.store_vector(address, bytes, false, from);
        return;
    }
    let register = c.insn.op_register(0);
    let [to, _] = halves(register);
    if c.in_memory(1) {
        let address = c.address(bytes, Use::Read);
        c.load_to_vector(to, address, bytes, false);
    } else {
        let last = c.insn.op_count() - 1;
        let [rest, _] = halves(c.insn.op_register(last - 1));
        let [low, _] = halves(c.insn.op_register(last));
        let low = prepare(c, to, rest, low);
        write_low(c, to, ty, low);
    }
    c.clear_high(register);
}

fn integer(c: &mut Context<'_>) {
    if uses_mmx(c) {
        return mmx::move_integer(c);
    }
    let register = |n| c.insn.op_register(n);
    let vector = |register: Register| register.is_xmm();
    if vector(register(0)) {
        let to = register(0);
        let [low, _] = halves(to);
        if c.in_memory(1) {
            let bytes = c.insn.memory_size().size() as u32;
            let address = c.address(bytes, Use::Read);
            c.load_to_vector(low, address, bytes, false);
        } else {
            let (from, ty) = match vector(register(1)) {
                true => (halves(register(1))[0], Type::I64),
                false => (register_slot(register(1)), c.ty(1)),
            };
            c.b.op(Op::Mov, ty, Ext::Zero, low, [from.into()]);
        }
        c.clear_high(to);
        return;
    }
    let [from, _] = halves(register(1));
    let ty = c.ty(0);
    if c.in_memory(0) {
        let bytes = ty.bits() / 8;
        let address = c.address(bytes, Use::Write);
        c.store_vector(address, bytes, false, from);
    } else {
        let to = register_slot(c.insn.op_register(0));
        c.b.op(Op::Mov, ty, Ext::Zero, to, [from.into()]);
    }
}

/// A quadword of a vector to a temporary.
fn quadword(c: &mut Context<'_>, from: Slot, index: u8) -> Slot {
    lane(c, from, Type::I64, index)
}

fn lane(c: &mut Context<'_>, from: Slot, ty: Type, index: u8) -> Slot {
    let temp = c.b.temp64();
    let attr = Attr::Lane { ty, index };
    c.b.op_with(
        Op::VecExtract,
        Type::I64,
        Ext::Zero,
        Some(temp),
        [from.into()],
        attr,
    );
    temp
}

/// A vector with a lane replaced.
fn with_lane(
    c: &mut Context<'_>,
    to: Slot,
    from: Slot,
    ty: Type,
    index: u8,
    value: impl Into<Operand>,
) {
    let attr = Attr::Lane { ty, index };
    let operands = [from.into(), value.into()];
    c.b.op_with(
        Op::VecInsert,
        Type::V128,
        Ext::Zero,
        Some(to),
        operands,
        attr,
    );
}

fn half(c: &mut Context<'_>, n: u8) {
    if c.in_memory(0) {
        let [from, _] = halves(c.insn.op_register(1));
        let value = quadword(c, from, n);
        let address = c.address(8, Use::Write);
        c.store(address, Type::I64, value.into());
        return;
    }
    let register = c.insn.op_register(0);
    let [to, _] = halves(register);
    let last = c.insn.op_count() - 1;
    let [rest, _] = halves(c.insn.op_register(last - 1));
    let address = c.address(8, Use::Read);
    let value = c.load(address, Type::I64);
    with_lane(c, to, rest, Type::I64, n, value);
    c.clear_high(register);
}

fn across(c: &mut Context<'_>, rule: Rule) {
    let register = c.insn.op_register(0);
    let [to, _] = halves(register);
    let last = c.insn.op_count() - 1;
    let [rest, _] = halves(c.insn.op_register(last - 1));
    let [from, _] = halves(c.insn.op_register(last));
    let (taken, put) = match rule {
        HighToLow => (1, 0),
        _ => (0, 1),
    };
    let value = quadword(c, from, taken);
    with_lane(c, to, rest, Type::I64, put, value);
    c.clear_high(register);
}

fn insert(c: &mut Context<'_>, ty: Type) {
    if uses_mmx(c) {
        return mmx::insert(c);
    }
    let register = c.insn.op_register(0);
    let [to, _] = halves(register);
    let (rest, from) = if is_vex(c) { (1, 2) } else { (0, 1) };
    let [rest, _] = halves(c.insn.op_register(rest));
    let value = match c.in_memory(from) {
        true => {
            let address = c.address(ty.bits() / 8, Use::Read);
            c.load(address, ty)
        }
        false => register_slot(c.insn.op_register(from)),
    };
    let index = c.imm8() & (128 / ty.bits() - 1) as u8;
    with_lane(c, to, rest, ty, index, value);
    c.clear_high(register);
}

fn extract(c: &mut Context<'_>, ty: Type) {
    if uses_mmx(c) {
        return mmx::extract(c);
    }
    let [from, _] = halves(c.insn.op_register(1));
    let index = c.imm8() & (128 / ty.bits() - 1) as u8;
    let value = lane(c, from, ty, index);
    if c.in_memory(0) {
        let address = c.address(ty.bits() / 8, Use::Write);
        c.store(address, ty, value.into());
    } else {
        let to = Place::Register(register_slot(c.insn.op_register(0)));
        c.put(to, Type::I64, value.into());
    }
}

fn insert_single(c: &mut Context<'_>) {
    let register = c.insn.op_register(0);
    let [to, _] = halves(register);
    let (rest, from) = if is_vex(c) { (1, 2) } else { (0, 1) };
    let [rest, _] = halves(c.insn.op_register(rest));
    // The single in memory is the only one there.
    let imm = c.imm8() & if c.in_memory(from) { 0x3f } else { 0xff };
    let [from, _] = c.source(from, Aligned::No);
    c.row(INSERT_SINGLE, imm, to, [rest, from]);
    c.clear_high(register);
}

fn between_units(c: &mut Context<'_>) {
    let (to, from) = (c.insn.op_register(0), c.insn.op_register(1));
    mmx::enter(c);
    if to.is_mm() {
        let [from, _] = halves(from);
        mmx::write(c, to, from);
    } else {
        let [to, _] = halves(to);
        c.b.op(Op::Mov, Type::I64, Ext::Zero, to, [mmx::slot(from).into()]);
    }
}

fn zero(c: &mut Context<'_>, all: bool) {
    let count = if c.is_64() { 16 } else { 8 };
    for n in 0..count {
        c.zero_vector(super::operand::high(n));
        if all {
            c.zero_vector(super::operand::xmm(n));
        }
    }
}

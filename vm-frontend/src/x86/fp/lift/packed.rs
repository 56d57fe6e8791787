//! Instructions that are one row of the table, once or for each half.

use iced_x86::{OpKind, Register};
use vm_ir::{Ext, FlagKind, Op, Operand, Slot, Type, VectorId};

use super::operand::{Aligned, halves, xmm};
use super::{is_vex, is_wide};
use crate::x86::fp::rows::Shape;
use crate::x86::lift::Flow;
use crate::x86::lift::context::{Context, register_slot};

/// Places of the sources among the operands.
#[derive(Clone, Copy)]
struct Sources {
    x: u32,
    y: u32,
}

pub(super) fn lift(c: &mut Context<'_>, row: VectorId, shape: Shape) -> Flow {
    if super::uses_mmx(c) {
        return super::mmx::lift(c, row, shape);
    }
    let destination = c.insn.op_register(0);
    let (imm, wide) = (c.imm8(), is_wide(c));
    let sources = match is_vex(c) {
        true => Sources { x: 1, y: 2 },
        false => Sources { x: 0, y: 1 },
    };
    match shape {
        Shape::Binary => binary(c, row, sources, [imm; 2]),
        Shape::BinaryHalves(bits) => binary(c, row, sources, [imm, imm >> bits]),
        Shape::BinaryOrImm(bits) => match c.insn.op_kind(2) {
            OpKind::Immediate8 => unary(c, after(row), [imm, imm >> bits]),
            _ => binary(c, row, sources, [0; 2]),
        },
        Shape::Compare => binary(c, row, sources, [predicate(c, imm); 2]),
        Shape::Unary => unary(c, row, [imm; 2]),
        Shape::Scalar => scalar(c, row, sources, imm),
        Shape::CompareScalar => scalar(c, row, sources, predicate(c, imm)),
        Shape::Shift | Shape::ShiftImm => shift(c, row, shape, sources),
        Shape::Select => {
            let x = c.source(sources.x, Aligned::No);
            let y = c.source(sources.y, Aligned::Legacy);
            let mask = match is_vex(c) {
                true => halves(c.insn.op_register(3)),
                false => [xmm(0); 2],
            };
            write_halves(c, destination, row, |c, n, to| {
                c.row(row, imm, to, [x[n], y[n], mask[n]]);
            });
        }
        Shape::Fused(order) => {
            let [first, second] = [0, 1].map(|n| halves(c.insn.op_register(n)));
            let third = c.source(2, Aligned::No);
            let [a, b, addend] = match order {
                132 => [first, third, second],
                213 => [second, first, third],
                _ => [second, third, first],
            };
            write_halves(c, destination, row, |c, n, to| {
                c.row(row, 0, to, [a[n], b[n], addend[n]]);
            });
        }
        Shape::Widen => {
            let [y, _] = c.source(1, Aligned::No);
            write_halves(c, destination, row, |c, n, to| c.row(row, n as u8, to, [y]));
        }
        Shape::Narrow => {
            let y = c.source(1, Aligned::Legacy);
            // What the instruction reads decides, not what it writes.
            let two = wide || c.insn.memory_size().size() == 32;
            c.around_row(row, destination, |c| {
                let [to, _] = halves(destination);
                match two {
                    true => c.row(row, imm, to, y),
                    false => c.row(row, imm, to, [y[0]]),
                }
                c.clear_high(destination);
            });
        }
        Shape::Mask => mask(c, row, wide),
        Shape::Flags => flags(c, row, wide),
        Shape::Special => return super::INVALID,
    }
    Flow::Next
}

/// The row after one.
fn after(row: VectorId) -> VectorId {
    VectorId(row.0 + 1)
}

/// A comparison's predicate: legacy encodings look at three bits (Intel SDM 2A, "CMPPD").
fn predicate(c: &Context<'_>, imm: u8) -> u8 {
    imm & if is_vex(c) { 31 } else { 7 }
}

/// Computes each half of the destination, as many as there are, the high one first.
fn write_halves(
    c: &mut Context<'_>,
    destination: Register,
    row: VectorId,
    mut compute: impl FnMut(&mut Context<'_>, usize, Slot),
) {
    c.around_row(row, destination, |c| {
        let [low, high] = halves(destination);
        if destination.is_ymm() {
            compute(c, 1, high);
        }
        compute(c, 0, low);
        if !destination.is_ymm() {
            c.clear_high(destination);
        }
    });
}

fn binary(c: &mut Context<'_>, row: VectorId, sources: Sources, imm: [u8; 2]) {
    let x = c.source(sources.x, Aligned::No);
    let y = c.source(sources.y, Aligned::Legacy);
    write_halves(c, c.insn.op_register(0), row, |c, n, to| {
        c.row(row, imm[n], to, [x[n], y[n]]);
    });
}

fn unary(c: &mut Context<'_>, row: VectorId, imm: [u8; 2]) {
    let y = c.source(1, Aligned::Legacy);
    write_halves(c, c.insn.op_register(0), row, |c, n, to| {
        c.row(row, imm[n], to, [y[n]]);
    });
}

fn scalar(c: &mut Context<'_>, row: VectorId, sources: Sources, imm: u8) {
    let [x, _] = c.source(sources.x, Aligned::No);
    let [y, _] = c.source(sources.y, Aligned::No);
    write_halves(c, c.insn.op_register(0), row, |c, _, to| {
        c.row(row, imm, to, [x, y]);
    });
}

fn shift(c: &mut Context<'_>, row: VectorId, shape: Shape, sources: Sources) {
    let destination = c.insn.op_register(0);
    let x = c.source(sources.x, Aligned::No);
    if c.insn.op_kind(sources.y) == OpKind::Immediate8 {
        let row = if shape == Shape::Shift {
            after(row)
        } else {
            row
        };
        let imm = c.insn.immediate8();
        write_halves(c, destination, row, |c, n, to| c.row(row, imm, to, [x[n]]));
        return;
    }
    let [count, _] = c.source(sources.y, Aligned::Legacy);
    write_halves(c, destination, row, |c, n, to| {
        c.row(row, 0, to, [x[n], count]);
    });
}

/// Top bits of lanes to a general register.
fn mask(c: &mut Context<'_>, row: VectorId, wide: bool) {
    let from = halves(c.insn.op_register(1));
    let to = register_slot(c.insn.op_register(0));
    let lanes = match c.insn.mnemonic() {
        iced_x86::Mnemonic::Vmovmskps => 4,
        iced_x86::Mnemonic::Vmovmskpd => 2,
        _ => 16_i64,
    };
    let bits = |c: &mut Context<'_>, from| {
        let vector = c.vector_temp();
        c.row(row, 0, vector, [from]);
        let bits = c.b.temp64();
        c.b.op(Op::Mov, Type::I64, Ext::Zero, bits, [vector.into()]);
        bits
    };
    let low = bits(c, from[0]);
    let all = match wide {
        false => low,
        true => {
            let high = bits(c, from[1]);
            let high = c.op64(Op::Shl, high, lanes);
            c.op64(Op::Or, low, high)
        }
    };
    c.b.mov(to, all);
}

/// Flags from a comparison or test.
fn flags(c: &mut Context<'_>, row: VectorId, wide: bool) {
    let destination = c.insn.op_register(0);
    let x = c.source(0, Aligned::No);
    let y = c.source(1, Aligned::Legacy);
    let mut bits = Operand::Imm(0);
    c.around_row(row, destination, |c| {
        bits = low_word(c, row, [x[0], y[0]]).into();
        if wide {
            let high = low_word(c, row, [x[1], y[1]]);
            bits = c.op64(Op::And, bits, high).into();
        }
    });
    let zero = Operand::Imm(0);
    c.set_flags(FlagKind::Bits, Type::I64, [bits, zero, zero]);
}

fn low_word(c: &mut Context<'_>, row: VectorId, from: [Slot; 2]) -> Slot {
    let vector = c.vector_temp();
    c.row(row, 0, vector, from);
    let word = c.b.temp64();
    c.b.op(Op::Mov, Type::I64, Ext::Zero, word, [vector.into()]);
    word
}

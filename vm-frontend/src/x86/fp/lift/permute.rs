//! AVX's own: broadcasts, halves, permutations across halves, masked moves, gathers (Intel SDM 1, 14.6 to 14.8).

use iced_x86::{Mnemonic, OpKind, Register};
use vm_ir::{HelperId, Op, Operand, Slot, Type, VectorId};

use super::operand::{Aligned, halves};
use super::{mmx, number, uses_mmx};
use crate::x86::fp::memory::{Gather, Masked};
use crate::x86::fp::{helper, rows};
use crate::x86::lift::Flow;
use crate::x86::lift::address::segment_number;
use crate::x86::lift::context::{Context, Use, register_slot};
use crate::x86::state::{gpr, gpr_slot, segment_base_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// The lowest lane to all, by a row.
    Broadcast(&'static str),
    /// 16 bytes to both halves.
    BroadcastHalf,
    /// `vinsertf128`.
    InsertHalf,
    /// `vextractf128`.
    ExtractHalf,
    /// `vperm2f128`.
    Halves,
    /// `vpermq`, `vpermpd`.
    Quadwords,
    /// `vpermd`, `vpermps`.
    Doublewords,
    /// `vcvtps2ph`.
    ToHalf,
    /// Lanes of so many bytes, by the top bits of a mask.
    Masked(u8),
    /// Bytes to where RDI points.
    MaskedBytes,
    /// Lanes of so many bytes from addresses by indices of so many bytes.
    Gathered(u8, u8),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Vpbroadcastb, Broadcast("Vpbroadcastb")),
    (Mnemonic::Vpbroadcastw, Broadcast("Vpbroadcastw")),
    (Mnemonic::Vpbroadcastd, Broadcast("Vpbroadcastd")),
    (Mnemonic::Vpbroadcastq, Broadcast("Movddup")),
    (Mnemonic::Vbroadcastss, Broadcast("Vpbroadcastd")),
    (Mnemonic::Vbroadcastsd, Broadcast("Movddup")),
    (Mnemonic::Vbroadcastf128, BroadcastHalf),
    (Mnemonic::Vbroadcasti128, BroadcastHalf),
    (Mnemonic::Vinsertf128, InsertHalf),
    (Mnemonic::Vinserti128, InsertHalf),
    (Mnemonic::Vextractf128, ExtractHalf),
    (Mnemonic::Vextracti128, ExtractHalf),
    (Mnemonic::Vperm2f128, Halves),
    (Mnemonic::Vperm2i128, Halves),
    (Mnemonic::Vpermq, Quadwords),
    (Mnemonic::Vpermpd, Quadwords),
    (Mnemonic::Vpermd, Doublewords),
    (Mnemonic::Vpermps, Doublewords),
    (Mnemonic::Vcvtps2ph, ToHalf),
    (Mnemonic::Vmaskmovps, Masked(4)),
    (Mnemonic::Vmaskmovpd, Masked(8)),
    (Mnemonic::Vpmaskmovd, Masked(4)),
    (Mnemonic::Vpmaskmovq, Masked(8)),
    (Mnemonic::Maskmovdqu, MaskedBytes),
    (Mnemonic::Vmaskmovdqu, MaskedBytes),
    (Mnemonic::Maskmovq, MaskedBytes),
    (Mnemonic::Vgatherdps, Gathered(4, 4)),
    (Mnemonic::Vgatherdpd, Gathered(8, 4)),
    (Mnemonic::Vgatherqps, Gathered(4, 8)),
    (Mnemonic::Vgatherqpd, Gathered(8, 8)),
    (Mnemonic::Vpgatherdd, Gathered(4, 4)),
    (Mnemonic::Vpgatherdq, Gathered(8, 4)),
    (Mnemonic::Vpgatherqd, Gathered(4, 8)),
    (Mnemonic::Vpgatherqq, Gathered(8, 8)),
];

const MASK_LOAD: HelperId = helper("mask_load");
const MASK_STORE: HelperId = helper("mask_store");
const GATHER: HelperId = helper("gather");
const QUADWORDS: VectorId = rows::named("Vpermq");
const DOUBLEWORDS: VectorId = rows::named("Vpermd");
const TO_HALF: VectorId = rows::named("Vcvtps2ph");

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let register = c.insn.op_register(0);
    match rule {
        Broadcast(name) => {
            let [from, _] = c.source(1, Aligned::No);
            let [low, _] = halves(register);
            c.row(rows::named(name), 0, low, [from]);
            copy_up(c, register);
        }
        BroadcastHalf => {
            let [low, high] = halves(register);
            let [from, _] = c.source(1, Aligned::No);
            c.mov_vector(low, from);
            c.mov_vector(high, from);
        }
        InsertHalf => {
            let to = halves(register);
            let rest = halves(c.insn.op_register(1));
            let [from, _] = c.source(2, Aligned::No);
            let put = usize::from(c.imm8() & 1);
            // The one written first is not the source, but when the low half goes to the high one, which is then first.
            let order = if put == 1 { [1, 0] } else { [0, 1] };
            for n in order {
                c.mov_vector(to[n], if n == put { from } else { rest[n] });
            }
        }
        ExtractHalf => {
            let from = halves(c.insn.op_register(1))[usize::from(c.imm8() & 1)];
            if c.in_memory(0) {
                let address = c.address(16, Use::Write);
                c.store_vector(address, 16, false, from);
            } else {
                let [low, _] = halves(register);
                c.mov_vector(low, from);
                c.clear_high(register);
            }
        }
        Halves => {
            let [x, y] = [halves(c.insn.op_register(1)), c.source(2, Aligned::No)];
            let imm = c.imm8();
            both(c, register, |c, n, to| {
                let chosen = imm >> (4 * n);
                match chosen & 8 {
                    0 => c.mov_vector(
                        to,
                        [x, y][usize::from(chosen >> 1 & 1)][usize::from(chosen & 1)],
                    ),
                    _ => c.zero_vector(to),
                }
            });
        }
        Quadwords => {
            let from = c.source(1, Aligned::No);
            let imm = c.imm8();
            both(c, register, |c, n, to| {
                c.row(QUADWORDS, imm >> (4 * n), to, from);
            });
        }
        Doublewords => {
            let index = halves(c.insn.op_register(1));
            let [low, high] = c.source(2, Aligned::No);
            both(c, register, |c, n, to| {
                c.row(DOUBLEWORDS, 0, to, [low, high, index[n]]);
            });
        }
        ToHalf => to_half(c),
        Masked(bytes) => masked(c, bytes),
        MaskedBytes => masked_bytes(c),
        Gathered(bytes, index_bytes) => return gathered(c, bytes, index_bytes),
    }
    Flow::Next
}

/// The high half becomes a copy of the low one, or zero.
fn copy_up(c: &mut Context<'_>, register: Register) {
    let [low, high] = halves(register);
    if register.is_ymm() {
        c.mov_vector(high, low);
    } else {
        c.clear_high(register);
    }
}

/// Computes both halves, each from any of the old ones.
fn both(
    c: &mut Context<'_>,
    register: Register,
    mut compute: impl FnMut(&mut Context<'_>, usize, Slot),
) {
    let [low, high] = halves(register);
    let temp = c.vector_temp();
    compute(c, 0, temp);
    let temp_high = c.vector_temp();
    compute(c, 1, temp_high);
    c.mov_vector(low, temp);
    c.mov_vector(high, temp_high);
}

fn to_half(c: &mut Context<'_>) {
    let from = c.insn.op_register(1);
    let [low, high] = halves(from);
    let imm = c.imm8() & 7;
    let wide = from.is_ymm();
    let result = c.vector_temp();
    let compute = |c: &mut Context<'_>| match wide {
        true => c.row(TO_HALF, imm, result, [low, high]),
        false => c.row(TO_HALF, imm, result, [low]),
    };
    if c.in_memory(0) {
        let bytes = if wide { 16 } else { 8 };
        let address = c.address(bytes, Use::Write);
        c.probe_vector(address, bytes);
        c.begin_float(Register::XMM0);
        compute(c);
        c.end_float_and_store(address, bytes, result);
        return;
    }
    let register = c.insn.op_register(0);
    c.begin_float(register);
    compute(c);
    c.end_float(register);
    let [to, _] = halves(register);
    c.mov_vector(to, result);
    c.clear_high(register);
}

fn masked(c: &mut Context<'_>, bytes: u8) {
    let stores = c.in_memory(0);
    let (mask, data) = match stores {
        true => (c.insn.op_register(1), c.insn.op_register(2)),
        false => (c.insn.op_register(1), c.insn.op_register(0)),
    };
    let how = if stores { Use::Write } else { Use::Read };
    let size = if data.is_ymm() { 32 } else { 16 };
    let address = c.address(size, how);
    let address = c.flatten(address);
    let request = Masked {
        data: number(data) as u8,
        mask: number(mask) as u8,
        bytes,
        wide: data.is_ymm(),
        mmx: false,
    };
    let helper = if stores { MASK_STORE } else { MASK_LOAD };
    let operands = [address, Operand::Imm(request.pack())];
    c.b.call(helper, None, operands);
}

fn masked_bytes(c: &mut Context<'_>) {
    let is_mmx = uses_mmx(c);
    if is_mmx {
        mmx::check(c);
    }
    let ty = match c.insn.op_kind(0) {
        OpKind::MemorySegRDI => Type::I64,
        OpKind::MemorySegEDI => Type::I32,
        _ => Type::I16,
    };
    let offset = c.zero_extend(gpr_slot(gpr::RDI).into(), ty);
    let segment = segment_number(c.insn.memory_segment());
    let size = if is_mmx { 8 } else { 16 };
    let address = c.in_segment(segment, offset, size, Use::Write);
    let address = c.flatten(address);
    let request = Masked {
        data: number(c.insn.op_register(1)) as u8,
        mask: number(c.insn.op_register(2)) as u8,
        bytes: 1,
        wide: false,
        mmx: is_mmx,
    };
    let operands = [address, Operand::Imm(request.pack())];
    c.b.call(MASK_STORE, None, operands);
    if is_mmx {
        mmx::enter(c);
    }
}

/// Gathers: the base is an offset in the segment; indices are added by the helper.
fn gathered(c: &mut Context<'_>, bytes: u8, index_bytes: u8) -> Flow {
    let (to, mask) = (c.insn.op_register(0), c.insn.op_register(2));
    let index = c.insn.memory_index();
    if to == mask || number(to) == number(index) || number(mask) == number(index) {
        return super::INVALID;
    }
    let base = c.insn.memory_base();
    let displacement = c.insn.memory_displacement64() as i64;
    let offset = match base {
        Register::None => Operand::Imm(displacement),
        base => c.op64(Op::Add, register_slot(base), displacement).into(),
    };
    let segment = segment_number(c.insn.memory_segment());
    let based = !c.is_64() || matches!(c.insn.memory_segment(), Register::FS | Register::GS);
    let segment_base = match based {
        true => segment_base_slot(segment).into(),
        false => Operand::Imm(0),
    };
    let request = Gather {
        data: number(to) as u8,
        mask: number(mask) as u8,
        index: number(index) as u8,
        scale: c.insn.memory_index_scale().trailing_zeros() as u8,
        bytes,
        index_bytes,
        wide: to.is_ymm(),
        wide_index: index.is_ymm(),
        short: !c.is_64() || base.is_gpr32(),
    };
    let operands = [offset, Operand::Imm(request.pack()), segment_base];
    c.b.call(GATHER, None, operands);
    Flow::Next
}

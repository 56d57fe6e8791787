//! MMX (Intel SDM 1, 9): the rows of vectors on 64 bits.
//!
//! Every instruction but EMMS, one that only reads too, sets the top of the x87 stack to zero and all tags to valid
//! (Intel SDM 1, 9.6.2).

use iced_x86::{Mnemonic, OpKind, Register};
use vm_ir::{Cond, Ext, Op, Operand, Slot, Type, VectorId};

use super::number;
use super::operand::halves;
use crate::x86::fp::rows::{self, Shape};
use crate::x86::lift::Flow;
use crate::x86::lift::context::{Context, Use, register_slot};
use crate::x86::state::{MMX, X87_EXPONENT, X87_STATUS, X87_TAGS};

/// #MF (Intel SDM 3A, 6.15, "Interrupt 16").
const X87_ERROR: u8 = 16;
/// The error summary in the x87 status word.
const SUMMARY: i64 = 1 << 7;
/// The top of the stack there.
const TOP: i64 = 7 << 11;

/// The slot of an MMX register.
pub(super) fn slot(register: Register) -> Slot {
    Slot::state(MMX + (number(register) & 7) as u16)
}

/// What every MMX instruction does before anything else that a program sees, behind what may fault.
pub(super) fn enter(c: &mut Context<'_>) {
    let status = Slot::state(X87_STATUS);
    c.b.op64(Op::And, status, status, !TOP);
    c.b.mov(Slot::state(X87_TAGS), 0xff_i64);
}

/// Raises the x87 exception that is pending.
pub(super) fn check(c: &mut Context<'_>) {
    let pending = c.op64(Op::And, Slot::state(X87_STATUS), SUMMARY);
    let operands = [pending.into(), Operand::Imm(0)];
    c.raise_if(Cond::Ne, Type::I64, operands, X87_ERROR);
}

/// Writes the low half of a vector, or an integer, to a register.
pub(super) fn write(c: &mut Context<'_>, register: Register, from: Slot) {
    let exponent = Slot::state(X87_EXPONENT + (number(register) & 7) as u16);
    c.b.op(Op::Mov, Type::I64, Ext::Zero, slot(register), [from.into()]);
    c.b.mov(exponent, 0xffff_i64);
}

/// An operand as a vector: an MMX or XMM register, or memory.
pub(super) fn source(c: &mut Context<'_>, operand: u32) -> Slot {
    if c.in_memory(operand) {
        let bytes = c.insn.memory_size().size() as u32;
        let address = c.address(bytes, Use::Read);
        return c.load_vector(address, bytes, false);
    }
    let register = c.insn.op_register(operand);
    if register.is_xmm() {
        return halves(register)[0];
    }
    let vector = c.vector_temp();
    c.b.op(
        Op::Mov,
        Type::I64,
        Ext::Zero,
        vector,
        [slot(register).into()],
    );
    vector
}

const CONCATENATE: VectorId = rows::named("Punpcklqdq");
const BYTES_RIGHT: VectorId = rows::named("Psrldq");
const AND: VectorId = rows::named("Pand");

/// An instruction on MMX registers that is a row, or nearly.
pub(super) fn lift(c: &mut Context<'_>, row: VectorId, shape: Shape) -> Flow {
    check(c);
    let register = c.insn.op_register(0);
    let imm = c.imm8();
    let result = c.vector_temp();
    match shape {
        Shape::Mask => {
            let from = source(c, 1);
            c.row(row, 0, result, [from]);
            enter(c);
            let to = register_slot(register);
            c.b.op(Op::Mov, Type::I64, Ext::Zero, to, [result.into()]);
            return Flow::Next;
        }
        Shape::Shift if c.insn.op_kind(1) == OpKind::Immediate8 => {
            let x = source(c, 0);
            c.row(VectorId(row.0 + 1), imm, result, [x]);
        }
        Shape::Unary => {
            let y = source(c, 1);
            c.row(row, imm, result, [y]);
        }
        Shape::Binary | Shape::Shift => {
            let (x, y) = (source(c, 0), source(c, 1));
            binary(c, row, imm, result, [x, y]);
        }
        _ => return super::INVALID,
    }
    enter(c);
    write(c, register, result);
    Flow::Next
}

/// Rows whose lanes do not stay in their place work on 128 bits put together as fits.
fn binary(c: &mut Context<'_>, row: VectorId, imm: u8, result: Slot, [x, y]: [Slot; 2]) {
    match c.insn.mnemonic() {
        Mnemonic::Packsswb
        | Mnemonic::Packssdw
        | Mnemonic::Packuswb
        | Mnemonic::Phaddw
        | Mnemonic::Phaddd
        | Mnemonic::Phaddsw
        | Mnemonic::Phsubw
        | Mnemonic::Phsubd
        | Mnemonic::Phsubsw => {
            let both = c.vector_temp();
            c.row(CONCATENATE, 0, both, [x, y]);
            c.row(row, imm, result, [both, both]);
        }
        Mnemonic::Punpckhbw | Mnemonic::Punpckhwd | Mnemonic::Punpckhdq => {
            let low = match c.insn.mnemonic() {
                Mnemonic::Punpckhbw => const { rows::named("Punpcklbw") },
                Mnemonic::Punpckhwd => const { rows::named("Punpcklwd") },
                _ => const { rows::named("Punpckldq") },
            };
            let both = c.vector_temp();
            c.row(low, 0, both, [x, y]);
            c.row(BYTES_RIGHT, 8, result, [both]);
        }
        Mnemonic::Pshufb => {
            let (kept, mask) = (c.vector_temp(), c.vector_temp());
            let bits = c.copy(0x8787_8787_8787_8787_u64 as i64);
            c.b.op(Op::Mov, Type::I64, Ext::Zero, kept, [bits.into()]);
            c.row(AND, 0, mask, [y, kept]);
            c.row(row, 0, result, [x, mask]);
        }
        Mnemonic::Palignr => {
            let both = c.vector_temp();
            c.row(CONCATENATE, 0, both, [y, x]);
            c.row(BYTES_RIGHT, imm, result, [both]);
        }
        _ => c.row(row, imm, result, [x, y]),
    }
}

/// `movd`, `movq`, `movntq` with an MMX register.
pub(super) fn move_integer(c: &mut Context<'_>) {
    check(c);
    let (to, from) = (c.insn.op_register(0), c.insn.op_register(1));
    if to.is_mm() {
        let value = match (c.in_memory(1), from.is_mm()) {
            (true, _) => {
                let ty = c.ty(1);
                let address = c.address(ty.bits() / 8, Use::Read);
                c.load(address, ty)
            }
            (_, true) => slot(from),
            _ => {
                let ty = c.ty(1);
                c.op(Op::Mov, ty, [register_slot(from).into()])
            }
        };
        enter(c);
        write(c, to, value);
        return;
    }
    let ty = c.ty(0);
    if c.in_memory(0) {
        let address = c.address(ty.bits() / 8, Use::Write);
        c.store(address, ty, slot(from).into());
        enter(c);
    } else {
        enter(c);
        let to = register_slot(to);
        c.b.op(Op::Mov, ty, Ext::Zero, to, [slot(from).into()]);
    }
}

/// `pinsrw`.
pub(super) fn insert(c: &mut Context<'_>) {
    check(c);
    let register = c.insn.op_register(0);
    let value = match c.in_memory(1) {
        true => {
            let address = c.address(2, Use::Read);
            c.load(address, Type::I16)
        }
        false => register_slot(c.insn.op_register(1)),
    };
    let at = 16 * (c.imm8() & 3);
    let inserted = c.deposit(slot(register), at, 16, value);
    enter(c);
    write(c, register, inserted);
}

/// `pextrw`.
pub(super) fn extract(c: &mut Context<'_>) {
    check(c);
    let at = 16 * (c.imm8() & 3);
    let from = slot(c.insn.op_register(1));
    let value = c.extract(from, at, 16, false);
    enter(c);
    c.b.mov(register_slot(c.insn.op_register(0)), value);
}

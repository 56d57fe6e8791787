//! Operands of vector instructions.

use iced_x86::{OpKind, Register};
use vm_ir::{Attr, Cond, Ext, HelperId, MemAttr, Op, Operand, Slot, Type, VectorId};

use super::{PROTECTION, is_vex, number};
use crate::x86::fp::{helper, rows};
use crate::x86::lift::address::Address;
use crate::x86::lift::context::{Context, Use};
use crate::x86::mode;
use crate::x86::state::{XMM, YMM_HIGH};

/// The slot of the low half of vector register `n`.
pub(super) const fn xmm(n: usize) -> Slot {
    Slot::state(XMM + n as u16)
}

/// The slot of its high half.
pub(super) const fn high(n: usize) -> Slot {
    Slot::state(YMM_HIGH + n as u16)
}

/// A register's halves.
pub(super) fn halves(register: Register) -> [Slot; 2] {
    let n = number(register);
    [xmm(n), high(n)]
}

/// How an operand in memory must lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aligned {
    /// Anyhow.
    No,
    /// By its size.
    Yes,
    /// By its size if it has 16 bytes and the instruction is not VEX-encoded (Intel SDM 1, 11.3; 14.9).
    Legacy,
}

impl Context<'_> {
    /// A new temporary for a vector.
    pub(super) fn vector_temp(&mut self) -> Slot {
        self.b.temp(Type::V128)
    }

    /// Moves a vector.
    pub(super) fn mov_vector(&mut self, to: Slot, from: Slot) {
        if to != from {
            self.b.op(Op::Mov, Type::V128, Ext::Zero, to, [from.into()]);
        }
    }

    /// Clears the high half of a register where the instruction is VEX-encoded.
    pub(super) fn clear_high(&mut self, register: Register) {
        if is_vex(self) {
            let [_, high] = halves(register);
            self.zero_vector(high);
        }
    }

    /// Clears a vector.
    pub(super) fn zero_vector(&mut self, slot: Slot) {
        self.b
            .op(Op::Mov, Type::V128, Ext::Zero, slot, [Operand::Imm(0)]);
    }

    /// Computes a row.
    pub(super) fn row<const N: usize>(
        &mut self,
        row: VectorId,
        imm: u8,
        to: Slot,
        from: [Slot; N],
    ) {
        self.b.vector(row, imm, to, from.map(Operand::Slot));
    }

    /// The immediate of the instruction.
    pub(super) fn imm8(&self) -> u8 {
        match (0..self.insn.op_count()).any(|n| self.insn.op_kind(n) == OpKind::Immediate8) {
            true => self.insn.immediate8(),
            false => 0,
        }
    }

    /// The halves of an operand: register slots, or loaded from memory; a narrow one stands in the low half. The high half
    /// means something for 32 bytes only.
    pub(super) fn source(&mut self, operand: u32, aligned: Aligned) -> [Slot; 2] {
        if !self.in_memory(operand) {
            return halves(self.insn.op_register(operand));
        }
        let bytes = self.insn.memory_size().size() as u32;
        let address = self.vector_address(bytes, Use::Read, aligned);
        let low = self.load_vector(address, bytes.min(16), self.must_align(bytes, aligned));
        if bytes < 32 {
            return [low, low];
        }
        [low, self.load_vector(address.plus(16), 16, false)]
    }

    /// Whether accesses to a part of an operand check its alignment themselves.
    fn must_align(&self, bytes: u32, aligned: Aligned) -> bool {
        bytes == 16
            && match aligned {
                Aligned::No => false,
                Aligned::Yes => true,
                Aligned::Legacy => !is_vex(self),
            }
    }

    /// The address of the operand in memory.
    pub(super) fn vector_address(&mut self, bytes: u32, how: Use, aligned: Aligned) -> Address {
        let address = self.address(bytes, how);
        if bytes == 32 && aligned == Aligned::Yes {
            let linear = self.flatten(address);
            let low = self.op64(Op::And, linear, 31_i64);
            let operands = [low.into(), Operand::Imm(0)];
            self.raise_if(Cond::Ne, Type::I64, operands, PROTECTION);
            return Address::at(linear);
        }
        address
    }

    /// Loads up to 16 bytes into a vector, zero-extended.
    pub(super) fn load_vector(&mut self, address: Address, bytes: u32, aligned: bool) -> Slot {
        let temp = self.vector_temp();
        self.load_to_vector(temp, address, bytes, aligned);
        temp
    }

    /// The same into a slot.
    pub(super) fn load_to_vector(&mut self, to: Slot, address: Address, bytes: u32, aligned: bool) {
        let (ty, attr) = access(address, bytes, aligned);
        let operands = [
            address.base,
            address.index,
            Operand::Imm(address.displacement),
        ];
        self.b
            .op_with(Op::Load, ty, Ext::Zero, Some(to), operands, attr);
    }

    /// Stores the low bytes of a vector.
    pub(super) fn store_vector(&mut self, address: Address, bytes: u32, aligned: bool, from: Slot) {
        let (ty, attr) = access(address, bytes, aligned);
        let operands = [
            address.base,
            address.index,
            Operand::Imm(address.displacement),
            from.into(),
        ];
        self.b
            .op_with(Op::Store, ty, Ext::Zero, None, operands, attr);
    }

    /// Faults as a store of so many bytes would.
    pub(super) fn probe_vector(&mut self, address: Address, bytes: u32) {
        let (ty, attr) = access(address, bytes, false);
        let operands = [
            address.base,
            address.index,
            Operand::Imm(address.displacement),
        ];
        self.b
            .op_with(Op::ProbeWrite, ty, Ext::Zero, None, operands, attr);
    }

    /// Before an instruction computes that may raise floating-point exceptions: all its operands have been loaded. `register`
    /// is the vector register that it changes.
    pub(super) fn begin_float(&mut self, register: Register) {
        if self.has(mode::FP_TRAPS) {
            let n = Operand::Imm(number(register) as i64);
            self.b.call(BEGIN, None, [n]);
        }
    }

    /// After it: what has been computed into vector registers stays, unless an exception that is not masked was raised.
    pub(super) fn end_float(&mut self, register: Register) {
        if self.has(mode::FP_TRAPS) {
            let n = Operand::Imm(number(register) as i64);
            let here = self.here() as u16;
            self.b.restart(here);
            self.b.call(END, None, [n]);
        }
    }

    /// The same where the result is stored, to a place that has been probed.
    pub(super) fn end_float_and_store(&mut self, address: Address, bytes: u32, result: Slot) {
        if self.has(mode::FP_TRAPS) {
            let here = self.here() as u16;
            self.b.restart(here);
            self.probe_vector(address, bytes);
            self.b.call(END, None, [Operand::Imm(0)]);
        }
        self.store_vector(address, bytes, false, result);
    }

    /// Both around what a row computes, for those that accrue.
    pub(super) fn around_row(
        &mut self,
        row: VectorId,
        register: Register,
        compute: impl FnOnce(&mut Self),
    ) {
        let accrues = rows::accrues(row);
        if accrues {
            self.begin_float(register);
        }
        compute(self);
        if accrues {
            self.end_float(register);
        }
    }
}

const BEGIN: HelperId = helper("simd_begin");
const END: HelperId = helper("simd_end");

/// The type and attribute of an access of so many bytes.
fn access(address: Address, bytes: u32, aligned: bool) -> (Type, Attr) {
    let ty = match bytes {
        1 => Type::I8,
        2 => Type::I16,
        4 => Type::I32,
        8 => Type::I64,
        _ => Type::V128,
    };
    let mem = MemAttr {
        index_shift: address.shift,
        must_align: aligned,
        ..MemAttr::plain((ty.bits() / 8).ilog2() as u8)
    };
    (ty, Attr::Mem(mem))
}

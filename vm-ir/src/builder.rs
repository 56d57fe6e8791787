//! Building blocks.

use vm_core::GuestPhysAddr;

use crate::attr::{
    Attr, Cond, FenceSet, FlagCond, FlagKind, HelperId, MemAttr, Rounding, VectorId,
};
use crate::block::{Block, BlockKey, Terminator};
use crate::inst::{Ext, Inst, Operand};
use crate::op::Op;
use crate::slot::{Slot, Type};

/// Collects the operations of one block.
#[derive(Debug)]
pub struct BlockBuilder {
    block: Block,
}

const NO_ARGS: [Operand; 4] = [Operand::None; 4];

/// The first operands, the rest none.
fn args<const N: usize>(given: [Operand; N]) -> [Operand; 4] {
    let mut all = NO_ARGS;
    all[..N].copy_from_slice(&given);
    all
}

impl BlockBuilder {
    /// Starts an empty block.
    pub fn new(key: BlockKey) -> Self {
        Self::reusing(key, Block::default())
    }

    /// Starts an empty block in the storage of another one, whose content is lost.
    pub fn reusing(key: BlockKey, spare: Block) -> Self {
        let (mut insts, mut temps) = (spare.insts, spare.temps);
        insts.clear();
        temps.clear();
        Self {
            block: Block {
                key,
                insts,
                temps,
                ..Block::default()
            },
        }
    }

    /// A new temporary.
    pub fn temp(&mut self, ty: Type) -> Slot {
        self.block.temps.push(ty);
        Slot::temp((self.block.temps.len() - 1) as u16)
    }

    /// A new 64-bit integer temporary.
    pub fn temp64(&mut self) -> Slot {
        self.temp(Type::I64)
    }

    /// Adds any operation.
    pub fn push(&mut self, inst: Inst) {
        self.block.insts.push(inst);
    }

    /// Marks the start of a guest instruction at `offset` bytes from the start of its page.
    pub fn insn(&mut self, offset: u16, len: u8) {
        self.block.guest_insns += 1;
        self.block.guest_bytes += u32::from(len);
        self.push(Inst::marker(offset, len));
    }

    /// Marks a restart point inside the guest instruction at `offset`: what has been done so far stays done when an
    /// operation behind it faults.
    pub fn restart(&mut self, offset: u16) {
        self.push(Inst::marker(offset, 0));
    }

    /// Adds an operation without attribute.
    pub fn op<const N: usize>(
        &mut self,
        op: Op,
        ty: Type,
        ext: Ext,
        dst: Slot,
        operands: [Operand; N],
    ) {
        self.op_with(op, ty, ext, Some(dst), operands, Attr::None);
    }

    /// Adds an operation with an attribute.
    pub fn op_with<const N: usize>(
        &mut self,
        op: Op,
        ty: Type,
        ext: Ext,
        dst: Option<Slot>,
        operands: [Operand; N],
        attr: Attr,
    ) {
        self.push(Inst {
            op,
            ty,
            ext,
            dst,
            args: args(operands),
            attr,
        });
    }

    /// Adds a 64-bit integer operation of two operands.
    pub fn op64(&mut self, op: Op, dst: Slot, a: impl Into<Operand>, b: impl Into<Operand>) {
        self.op(op, Type::I64, Ext::Zero, dst, [a.into(), b.into()]);
    }

    /// Moves 64 bits.
    pub fn mov(&mut self, dst: Slot, from: impl Into<Operand>) {
        self.op(Op::Mov, Type::I64, Ext::Zero, dst, [from.into()]);
    }

    /// Virtual page base plus `offset`.
    pub fn pc_rel(&mut self, dst: Slot, offset: i64) {
        self.op(Op::PcRel, Type::I64, Ext::Zero, dst, [Operand::Imm(offset)]);
    }

    /// 1 when the 64-bit comparison holds.
    pub fn cmp(&mut self, cond: Cond, dst: Slot, a: impl Into<Operand>, b: impl Into<Operand>) {
        let operands = [a.into(), b.into()];
        self.op_with(
            Op::Cmp,
            Type::I64,
            Ext::Zero,
            Some(dst),
            operands,
            Attr::Cond(cond),
        );
    }

    /// `if a COND b { x } else { y }` on 64 bits.
    pub fn select(&mut self, cond: Cond, dst: Slot, choices: [Operand; 2], compared: [Operand; 2]) {
        let operands = [choices[0], choices[1], compared[0], compared[1]];
        self.op_with(
            Op::Select,
            Type::I64,
            Ext::Zero,
            Some(dst),
            operands,
            Attr::Cond(cond),
        );
    }

    /// Loads from `base + offset`; `dst` none keeps the fault and drops the value. `ty` is what the loaded
    /// value is extended to before `ext` fills the slot.
    pub fn load(
        &mut self,
        mem: MemAttr,
        ty: Type,
        ext: Ext,
        dst: Option<Slot>,
        base: impl Into<Operand>,
        offset: i64,
    ) {
        let operands = [base.into(), Operand::None, Operand::Imm(offset)];
        self.op_with(Op::Load, ty, ext, dst, operands, Attr::Mem(mem));
    }

    /// Stores to `base + offset`.
    pub fn store(
        &mut self,
        mem: MemAttr,
        ty: Type,
        base: impl Into<Operand>,
        offset: i64,
        value: impl Into<Operand>,
    ) {
        let operands = [
            base.into(),
            Operand::None,
            Operand::Imm(offset),
            value.into(),
        ];
        self.op_with(Op::Store, ty, Ext::Zero, None, operands, Attr::Mem(mem));
    }

    /// An atomic read-modify-write, load-reserved or the like.
    pub fn atomic<const N: usize>(
        &mut self,
        op: Op,
        mem: MemAttr,
        ty: Type,
        ext: Ext,
        dst: Option<Slot>,
        operands: [Operand; N],
    ) {
        self.op_with(op, ty, ext, dst, operands, Attr::Mem(mem));
    }

    /// Keeps accesses in order.
    pub fn fence(&mut self, set: FenceSet) {
        self.op_with(Op::Fence, Type::I64, Ext::Zero, None, [], Attr::Fence(set));
    }

    /// Floating-point arithmetic.
    pub fn fp<const N: usize>(
        &mut self,
        op: Op,
        ty: Type,
        ext: Ext,
        dst: Slot,
        operands: [Operand; N],
        rounding: Rounding,
    ) {
        self.op_with(op, ty, ext, Some(dst), operands, Attr::Fp(rounding));
    }

    /// Sets a flag group.
    pub fn setflags(
        &mut self,
        kind: FlagKind,
        ty: Type,
        dst: Slot,
        values: [Operand; 3],
        old: Option<Slot>,
    ) {
        let old = old.map_or(Operand::None, Operand::Slot);
        let operands = [values[0], values[1], values[2], old];
        self.op_with(
            Op::SetFlags,
            ty,
            Ext::Zero,
            Some(dst),
            operands,
            Attr::FlagKind(kind),
        );
    }

    /// Reads a condition off a flag group.
    pub fn getflag(&mut self, cond: FlagCond, dst: Slot, flags: Slot) {
        let operands = [Operand::Slot(flags)];
        let attr = Attr::FlagCond(cond);
        self.op_with(Op::GetFlag, Type::I64, Ext::Zero, Some(dst), operands, attr);
    }

    /// Calls a helper.
    pub fn call<const N: usize>(
        &mut self,
        helper: HelperId,
        dst: Option<Slot>,
        operands: [Operand; N],
    ) {
        self.op_with(
            Op::Call,
            Type::I64,
            Ext::Zero,
            dst,
            operands,
            Attr::Helper(helper),
        );
    }

    /// Computes a vector as a row of the guest's table says.
    pub fn vector<const N: usize>(
        &mut self,
        row: VectorId,
        imm: u8,
        dst: Slot,
        operands: [Operand; N],
    ) {
        self.op_with(
            Op::VecCall,
            Type::V128,
            Ext::Zero,
            Some(dst),
            operands,
            Attr::Vector { row, imm },
        );
    }

    /// Guest instructions so far.
    pub fn guest_insns(&self) -> u32 {
        self.block.guest_insns
    }

    /// Guest bytes so far.
    pub fn guest_bytes(&self) -> u32 {
        self.block.guest_bytes
    }

    /// Records that the block's one instruction goes on in another physical page.
    pub fn straddles(&mut self, second_page: GuestPhysAddr) {
        self.block.second_page = Some(second_page);
    }

    /// Ends the block.
    pub fn finish(mut self, terminator: Terminator) -> Block {
        self.block.terminator = terminator;
        self.block
    }
}

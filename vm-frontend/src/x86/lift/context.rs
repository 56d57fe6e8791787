//! What is known while a block is lifted, and access to the general registers.

use iced_x86::{Instruction, OpKind, Register};
use vm_ir::{Attr, Block, BlockBuilder, BlockKey, Cond, Ext, FlagCond, FlagKind, HelperId};
use vm_ir::{Mode, Op, Operand, Slot, Terminator, Type};

use super::Flow;
use super::address::Address;
use crate::x86::cpu::CpuConfig;
use crate::x86::mode;
use crate::x86::state::{self, gpr_slot};

/// The flag group.
pub(in crate::x86) const FL: Slot = Slot::state(state::FLAGS);
/// 1, or minus one when DF is set.
pub(in crate::x86) const DIRECTION: Slot = Slot::state(state::DIRECTION);
/// The other bits of RFLAGS.
pub(in crate::x86) const SYSTEM_FLAGS: Slot = Slot::state(state::SYSTEM_FLAGS);

/// Branches that a block goes on behind at most: what follows them is translated again where they lead.
const MOST_BRANCHES: u8 = 4;

/// The block under construction.
pub(in crate::x86) struct Context<'a> {
    pub(in crate::x86) b: BlockBuilder,
    pub(in crate::x86) mode: Mode,
    pub(in crate::x86) config: &'a CpuConfig,
    /// The instruction, decoded as if the page began at address zero.
    pub(in crate::x86) insn: Instruction,
    /// Offset of the instruction from the base of the page.
    offset: u16,
    /// Branches that the block may still go on behind.
    branches_left: u8,
    /// Whether the block may end behind the instruction whatever it is.
    pub(super) ends: bool,
}

/// Where an operand is.
#[derive(Clone, Copy, Debug)]
pub(in crate::x86) enum Place {
    /// In the low bits of a general register.
    Register(Slot),
    /// In bits 8 to 15 of a general register.
    High(Slot),
    /// In memory.
    Memory(Address),
}

/// What an instruction does with an operand in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::x86) enum Use {
    /// Reads it.
    Read,
    /// Writes it.
    Write,
    /// Reads and writes it.
    Modify,
}

impl<'a> Context<'a> {
    pub(super) fn new(key: BlockKey, config: &'a CpuConfig, spare: Block) -> Self {
        Self {
            b: BlockBuilder::reusing(key, spare),
            mode: key.mode,
            config,
            insn: Instruction::default(),
            offset: 0,
            branches_left: MOST_BRANCHES,
            ends: true,
        }
    }

    /// Whether the block goes on behind one more branch.
    pub(super) fn extend(&mut self) -> bool {
        let more = self.branches_left > 0 && !self.stands_alone();
        self.branches_left = self.branches_left.saturating_sub(1);
        more
    }

    /// Begins an instruction.
    pub(super) fn start(&mut self, offset: u16, insn: &Instruction) {
        self.b.insn(offset, insn.len() as u8);
        (self.offset, self.insn) = (offset, *insn);
    }

    /// Offset of the instruction from the virtual base of the page.
    pub(in crate::x86) fn here(&self) -> i64 {
        self.offset.into()
    }

    /// Offset of the instruction after it.
    pub(in crate::x86) fn next(&self) -> i64 {
        self.here() + self.insn.len() as i64
    }

    /// Whether a mode bit is set.
    pub(in crate::x86) fn has(&self, bit: u32) -> bool {
        mode::has(self.mode, bit)
    }

    /// Whether the block must be this one instruction.
    pub(super) fn stands_alone(&self) -> bool {
        self.mode.0 & (mode::SINGLE_STEP | mode::SHADOW) != 0
    }

    /// Whether it is 64-bit code.
    pub(in crate::x86) fn is_64(&self) -> bool {
        mode::code_bits(self.mode) == 64
    }

    /// Whether CS has base zero and no limit to look at.
    pub(in crate::x86) fn flat_code(&self) -> bool {
        self.is_64() || self.has(mode::FLAT_CODE)
    }

    /// Whether segments are described by tables: neither real nor virtual-8086 mode.
    pub(in crate::x86) fn protected(&self) -> bool {
        self.has(mode::PROTECTED) && !self.has(mode::V86)
    }

    /// The third argument of helpers that need the operand size and the instruction after this one.
    pub(in crate::x86) fn shape(&self, ty: Type) -> Operand {
        Operand::Imm(i64::from(bytes(ty)) | (self.insn.len() as i64) << 8)
    }

    /// Ends the block behind this instruction by way of the run loop.
    pub(in crate::x86) fn exit(&self) -> Flow {
        Flow::End(Terminator::Exit {
            offset: self.next(),
        })
    }

    /// A new temporary with the constant or slot in it, so that it stays as it is.
    pub(in crate::x86) fn copy(&mut self, value: impl Into<Operand>) -> Slot {
        let temp = self.b.temp64();
        self.b.mov(temp, value);
        temp
    }

    /// A new temporary with the result of a 64-bit operation.
    pub(in crate::x86) fn op64(
        &mut self,
        op: Op,
        a: impl Into<Operand>,
        b: impl Into<Operand>,
    ) -> Slot {
        self.op(op, Type::I64, [a.into(), b.into()])
    }

    /// A new temporary with the result of an operation, zero-extended.
    pub(in crate::x86) fn op<const N: usize>(
        &mut self,
        op: Op,
        ty: Type,
        operands: [Operand; N],
    ) -> Slot {
        let temp = self.b.temp64();
        self.b.op(op, ty, Ext::Zero, temp, operands);
        temp
    }

    /// A new temporary with a field, zero- or sign-extended.
    pub(in crate::x86) fn extract(
        &mut self,
        from: impl Into<Operand>,
        pos: u8,
        len: u8,
        signed: bool,
    ) -> Slot {
        let temp = self.b.temp64();
        let attr = Attr::Field { pos, len, signed };
        let operands = [from.into()];
        self.b.op_with(
            Op::Extract,
            Type::I64,
            Ext::Zero,
            Some(temp),
            operands,
            attr,
        );
        temp
    }

    /// A new temporary with a field of the first replaced.
    pub(in crate::x86) fn deposit(
        &mut self,
        into: impl Into<Operand>,
        pos: u8,
        len: u8,
        value: impl Into<Operand>,
    ) -> Slot {
        let temp = self.b.temp64();
        self.deposit_to(temp, into, pos, len, value);
        temp
    }

    fn deposit_to(
        &mut self,
        dst: Slot,
        into: impl Into<Operand>,
        pos: u8,
        len: u8,
        value: impl Into<Operand>,
    ) {
        let signed = false;
        let attr = Attr::Field { pos, len, signed };
        let operands = [into.into(), value.into()];
        self.b
            .op_with(Op::Deposit, Type::I64, Ext::Zero, Some(dst), operands, attr);
    }

    /// The value sign-extended to 64 bits.
    pub(in crate::x86) fn sign_extend(&mut self, value: Operand, ty: Type) -> Operand {
        match (ty, value) {
            (Type::I64, _) => value,
            (_, Operand::Imm(n)) => Operand::Imm(sign_extend(n, ty)),
            _ => self.extract(value, 0, ty.bits() as u8, true).into(),
        }
    }

    /// The value zero-extended to 64 bits.
    pub(in crate::x86) fn zero_extend(&mut self, value: Operand, ty: Type) -> Operand {
        match (ty, value) {
            (Type::I64, _) => value,
            (_, Operand::Imm(n)) => Operand::Imm(n & mask(ty)),
            _ => self.op(Op::Mov, ty, [value]).into(),
        }
    }

    /// A new temporary: 1 when the comparison holds in a type, else 0.
    pub(in crate::x86) fn cmp(
        &mut self,
        cond: Cond,
        ty: Type,
        a: impl Into<Operand>,
        b: impl Into<Operand>,
    ) -> Slot {
        let temp = self.b.temp64();
        let operands = [a.into(), b.into()];
        let attr = Attr::Cond(cond);
        self.b
            .op_with(Op::Cmp, ty, Ext::Zero, Some(temp), operands, attr);
        temp
    }

    /// A new temporary: `if a COND b { x } else { y }` on 64 bits.
    pub(in crate::x86) fn select(
        &mut self,
        cond: Cond,
        [x, y]: [Operand; 2],
        compared: [Operand; 2],
    ) -> Slot {
        let temp = self.b.temp64();
        self.b.select(cond, temp, [x, y], compared);
        temp
    }

    /// Raises an exception with error code zero when the comparison holds.
    pub(in crate::x86) fn raise_if(
        &mut self,
        cond: Cond,
        ty: Type,
        [a, b]: [Operand; 2],
        vector: u8,
    ) {
        let operands = [a, b, Operand::Imm(vector.into()), Operand::Imm(0)];
        let attr = Attr::Cond(cond);
        self.b
            .op_with(Op::RaiseIf, ty, Ext::Zero, None, operands, attr);
    }

    /// Virtual page base plus `offset`: a linear address.
    pub(in crate::x86) fn linear(&mut self, offset: i64) -> Slot {
        let temp = self.b.temp64();
        self.b.pc_rel(temp, offset);
        temp
    }

    /// A new temporary with a helper's result.
    pub(in crate::x86) fn call<const N: usize>(
        &mut self,
        helper: HelperId,
        operands: [Operand; N],
    ) -> Slot {
        let temp = self.b.temp64();
        self.b.call(helper, Some(temp), operands);
        temp
    }

    /// Sets the flag group from values of the type.
    pub(in crate::x86) fn set_flags(&mut self, kind: FlagKind, ty: Type, values: [Operand; 3]) {
        let old = kind.reads_old().then_some(FL);
        self.b.setflags(kind, ty, FL, values, old);
    }

    /// Sets the flags that follow from a result alone, and clears C, V and A.
    pub(in crate::x86) fn logic_flags(&mut self, ty: Type, result: Operand) {
        let zero = Operand::Imm(0);
        self.set_flags(FlagKind::Logic, ty, [result, zero, zero]);
    }

    /// Sets all flags from bits.
    pub(in crate::x86) fn set_flag_bits(&mut self, bits: impl Into<Operand>) {
        let zero = Operand::Imm(0);
        self.set_flags(FlagKind::Bits, Type::I64, [bits.into(), zero, zero]);
    }

    /// A new temporary with all flags as bits.
    pub(in crate::x86) fn flag_bits(&mut self) -> Slot {
        self.op(Op::FlagBits, Type::I64, [FL.into()])
    }

    /// A new temporary: whether a condition holds.
    pub(in crate::x86) fn flag(&mut self, cond: FlagCond) -> Slot {
        let temp = self.b.temp64();
        self.b.getflag(cond, temp, FL);
        temp
    }

    /// The type of an operand: of the register, of what is in memory, or of the immediate's extension.
    pub(in crate::x86) fn ty(&self, operand: u32) -> Type {
        match self.insn.op_kind(operand) {
            OpKind::Register => register_type(self.insn.op_register(operand)),
            OpKind::Immediate8 => Type::I8,
            OpKind::Immediate16 | OpKind::Immediate8to16 => Type::I16,
            OpKind::Immediate32 | OpKind::Immediate8to32 => Type::I32,
            OpKind::Immediate64 | OpKind::Immediate8to64 | OpKind::Immediate32to64 => Type::I64,
            _ => int_type(self.insn.memory_size().size() as u32),
        }
    }

    /// Where an operand is that is a general register or in memory. Address checks are in the block behind this.
    pub(in crate::x86) fn place(&mut self, operand: u32, how: Use) -> Place {
        match self.insn.op_kind(operand) {
            OpKind::Register => place_of(self.insn.op_register(operand)),
            _ => {
                let ty = self.ty(operand);
                Place::Memory(self.address(bytes(ty), how))
            }
        }
    }

    /// What a place holds, in the low bits.
    pub(in crate::x86) fn get(&mut self, place: Place, ty: Type) -> Operand {
        match place {
            Place::Register(slot) => slot.into(),
            Place::High(slot) => self.extract(slot, 8, 8, false).into(),
            Place::Memory(address) => self.load(address, ty).into(),
        }
    }

    /// Writes the low bits of a value to a place: 32 bits clear the upper half of a register, less keep the rest.
    pub(in crate::x86) fn put(&mut self, place: Place, ty: Type, value: Operand) {
        match place {
            Place::Register(slot) => {
                self.b.op(Op::Mov, ty, extension(ty), slot, [value]);
            }
            Place::High(slot) => self.deposit_to(slot, slot, 8, 8, value),
            Place::Memory(address) => self.store(address, ty, value),
        }
    }

    /// Writes the result of an operation to a place.
    pub(in crate::x86) fn compute<const N: usize>(
        &mut self,
        place: Place,
        op: Op,
        ty: Type,
        operands: [Operand; N],
    ) {
        match place {
            Place::Register(slot) => self.b.op(op, ty, extension(ty), slot, operands),
            _ => {
                let result = self.op(op, ty, operands);
                self.put(place, ty, result.into());
            }
        }
    }

    /// An operand that is only read: a register, an immediate, or loaded from memory.
    pub(in crate::x86) fn value(&mut self, operand: u32) -> Operand {
        match self.insn.op_kind(operand) {
            OpKind::Register | OpKind::Memory => {
                let ty = self.ty(operand);
                let place = self.place(operand, Use::Read);
                self.get(place, ty)
            }
            _ => Operand::Imm(self.insn.immediate(operand) as i64),
        }
    }

    /// The general register of this encoding number, in a type of at least 16 bits.
    pub(in crate::x86) fn gpr(&self, number: usize) -> Place {
        Place::Register(gpr_slot(number))
    }
}

/// Bytes of an integer type.
pub(in crate::x86) const fn bytes(ty: Type) -> u32 {
    ty.bits() / 8
}

/// The integer type of so many bytes.
pub(in crate::x86) const fn int_type(bytes: u32) -> Type {
    match bytes {
        1 => Type::I8,
        2 => Type::I16,
        4 => Type::I32,
        _ => Type::I64,
    }
}

/// All bits of an integer type.
pub(in crate::x86) const fn mask(ty: Type) -> i64 {
    (u64::MAX >> (64 - ty.bits())) as i64
}

/// The low bits of a number, sign-extended.
const fn sign_extend(value: i64, ty: Type) -> i64 {
    let above = 64 - ty.bits();
    value << above >> above
}

/// How a result of a type fills a general register (Intel SDM 1, 3.4.1.1).
pub(in crate::x86) const fn extension(ty: Type) -> Ext {
    match ty {
        Type::I8 | Type::I16 => Ext::Keep,
        _ => Ext::Zero,
    }
}

/// The type of a general register's part; of other registers, 64 bits.
pub(in crate::x86) fn register_type(register: Register) -> Type {
    if register.is_gpr8() {
        Type::I8
    } else if register.is_gpr16() || register.is_segment_register() {
        Type::I16
    } else if register.is_gpr32() {
        Type::I32
    } else {
        Type::I64
    }
}

/// Number of a general register, as instructions encode it, and whether it is AH, CH, DH or BH.
pub(in crate::x86) fn register_number(register: Register) -> (usize, bool) {
    let from = |first: Register| register as usize - first as usize;
    if register.is_gpr8() {
        match from(Register::AL) {
            n @ 0..4 => (n, false),
            n @ 4..8 => (n - 4, true),
            n => (n - 4, false),
        }
    } else if register.is_gpr16() {
        (from(Register::AX), false)
    } else if register.is_gpr32() {
        (from(Register::EAX), false)
    } else {
        (from(Register::RAX) & 15, false)
    }
}

/// The slot of a general register wider than eight bits.
pub(in crate::x86) fn register_slot(register: Register) -> Slot {
    gpr_slot(register_number(register).0)
}

fn place_of(register: Register) -> Place {
    let (number, high) = register_number(register);
    let slot = gpr_slot(number);
    if high {
        Place::High(slot)
    } else {
        Place::Register(slot)
    }
}

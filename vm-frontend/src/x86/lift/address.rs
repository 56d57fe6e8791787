//! Addresses and accesses of data (Intel SDM 1, 3.7.5; segments: Intel SDM 3A, 5.3).

use iced_x86::{OpKind, Register};
use vm_ir::{Attr, Cond, Ext, MemAttr, Op, Operand, Slot, Type};

use super::context::{Context, Use, bytes, extension, mask, register_slot};
use super::helper;
use crate::x86::mode;
use crate::x86::state::{gpr, gpr_slot, seg, segment_base_slot, segment_limit_slot};

/// A linear address, as memory operations take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::x86) struct Address {
    pub(in crate::x86) base: Operand,
    pub(in crate::x86) index: Operand,
    pub(in crate::x86) shift: u8,
    pub(in crate::x86) displacement: i64,
}

impl Address {
    /// The address in a slot.
    pub(in crate::x86) fn at(base: impl Into<Operand>) -> Self {
        Self {
            base: base.into(),
            index: Operand::None,
            shift: 0,
            displacement: 0,
        }
    }

    /// The address so many bytes above. In 64-bit code only, where no segment ends in between.
    pub(in crate::x86) fn plus(self, bytes: i64) -> Self {
        let displacement = self.displacement.wrapping_add(bytes);
        Self {
            displacement,
            ..self
        }
    }

    fn operands(self) -> [Operand; 3] {
        [self.base, self.index, Operand::Imm(self.displacement)]
    }

    fn mem(self, ty: Type) -> MemAttr {
        MemAttr {
            index_shift: self.shift,
            ..MemAttr::plain(bytes(ty).ilog2() as u8)
        }
    }
}

/// Number of a segment register.
pub(in crate::x86) fn segment_number(register: Register) -> usize {
    (register as usize).wrapping_sub(Register::ES as usize) & 7
}

impl Context<'_> {
    /// The type of addresses: 16, 32 or 64 bits, by the instruction's address size.
    pub(in crate::x86) fn address_type(&self) -> Type {
        let base = match self.insn.memory_base() {
            Register::None => self.insn.memory_index(),
            base => base,
        };
        let size = match base {
            Register::RIP => 8,
            Register::EIP => 4,
            register if register.is_gpr() => register.size() as u32,
            // Only a displacement: of as many bytes as addresses have, but for 64-bit code's of four.
            _ => match (self.insn.memory_displ_size(), self.is_64()) {
                (2, _) => 2,
                (4, true) | (8, _) => 8,
                _ => 4,
            },
        };
        super::context::int_type(size)
    }

    /// The offset that the instruction's operand in memory has in its segment, zero-extended.
    pub(in crate::x86) fn offset(&mut self) -> Operand {
        let ty = self.address_type();
        self.offset_to(ty, None)
    }

    /// `lea`: the offset to a register, cut to the register's size or zero-extended to it.
    pub(in crate::x86) fn load_address(&mut self) {
        let (to, from) = (self.ty(0), self.address_type());
        let slot = register_slot(self.insn.op0_register());
        if to.bits() <= from.bits() {
            self.offset_to(to, Some((slot, extension(to))));
        } else {
            self.offset_to(from, Some((slot, Ext::Zero)));
        }
    }

    /// The low bits of the offset, of a type not wider than addresses; in a slot if one is given, else where it is least work.
    fn offset_to(&mut self, ty: Type, to: Option<(Slot, Ext)>) -> Operand {
        let wide = self.address_type();
        let displacement = relative(self.insn.memory_displacement64() as i64, wide);
        let (base, index) = (self.insn.memory_base(), self.insn.memory_index());
        if matches!(base, Register::RIP | Register::EIP) {
            // The decoder has added the address behind the instruction.
            return match to {
                Some((slot, _)) if ty == Type::I64 => {
                    self.b.pc_rel(slot, displacement);
                    slot.into()
                }
                _ => {
                    let linear = self.linear(displacement).into();
                    self.last(Op::Mov, ty, to, [linear])
                }
            };
        }
        let scale = i64::from(self.insn.memory_index_scale().trailing_zeros());
        let base = (base != Register::None).then(|| register_slot(base));
        let index = (index != Register::None).then(|| register_slot(index));
        let add = displacement != 0;
        let sum = match (base, index) {
            (None, None) => {
                let constant = Operand::Imm(displacement & mask(wide));
                return match to {
                    Some(_) => self.last(Op::Mov, ty, to, [constant]),
                    None => constant,
                };
            }
            (Some(base), None) if add || to.is_none() && ty == Type::I64 => base.into(),
            (Some(base), None) => return self.last(Op::Mov, ty, to, [base.into()]),
            (None, Some(index)) => {
                let operands = [index.into(), scale.into()];
                self.last(Op::Shl, ty, to.filter(|_| !add), operands)
            }
            (Some(base), Some(index)) if scale == 0 => {
                let operands = [base.into(), index.into()];
                self.last(Op::Add, ty, to.filter(|_| !add), operands)
            }
            (Some(base), Some(index)) => {
                let operands = [index.into(), base.into(), scale.into()];
                self.last(Op::AddShl, ty, to.filter(|_| !add), operands)
            }
        };
        match add {
            false => sum,
            true => self.last(Op::Add, ty, to, [sum, displacement.into()]),
        }
    }

    /// An operation to the slot given, or to a temporary, zero-extended.
    fn last<const N: usize>(
        &mut self,
        op: Op,
        ty: Type,
        to: Option<(Slot, Ext)>,
        operands: [Operand; N],
    ) -> Operand {
        match to {
            None => self.op(op, ty, operands).into(),
            Some((slot, ext)) => {
                self.b.op(op, ty, ext, slot, operands);
                slot.into()
            }
        }
    }

    /// The address of the instruction's operand in memory, checked against its segment.
    pub(in crate::x86) fn address(&mut self, bytes: u32, how: Use) -> Address {
        let segment = segment_number(self.insn.memory_segment());
        let address = if self.is_64() && self.address_type() == Type::I64 {
            self.address_64(segment)
        } else {
            let offset = self.offset();
            self.in_segment(segment, offset, bytes, how)
        };
        self.check_alignment(address, bytes);
        address
    }

    /// In 64-bit code: the parts as they are, with the base of FS or GS among them.
    fn address_64(&mut self, segment: usize) -> Address {
        let displacement = self.insn.memory_displacement64() as i64;
        let base = match self.insn.memory_base() {
            Register::None => None,
            Register::RIP => Some(self.linear(displacement)),
            base => Some(register_slot(base)),
        };
        let displacement = match self.insn.memory_base() {
            Register::RIP => 0,
            _ => displacement,
        };
        let index = self.insn.memory_index();
        let index = (index != Register::None).then(|| register_slot(index));
        let shift = self.insn.memory_index_scale().trailing_zeros() as u8;
        let segment = matches!(segment, seg::FS | seg::GS).then(|| segment_base_slot(segment));
        let (base, index, shift) = match (segment, base, index) {
            (None, Some(base), index) => (base.into(), index, shift),
            (None, None, None) => (Operand::Imm(0), None, 0),
            (None, None, Some(index)) if shift == 0 => (index.into(), None, 0),
            (None, None, Some(index)) => (Operand::Imm(0), Some(index), shift),
            (Some(segment), Some(base), None) => (segment.into(), Some(base), 0),
            (Some(segment), None, index) => (segment.into(), index, shift),
            (Some(segment), Some(base), index) => {
                (self.op64(Op::Add, segment, base).into(), index, shift)
            }
        };
        let (base, displacement) = match base {
            // A constant address: the base, so that displacements stay small.
            Operand::Imm(_) if index.is_none() => (Operand::Imm(displacement), 0),
            Operand::Imm(_) => (self.copy(displacement).into(), 0),
            base if i32::try_from(displacement).is_err() => {
                (self.op64(Op::Add, base, displacement).into(), 0)
            }
            base => (base, displacement),
        };
        let shift = if index.is_some() { shift } else { 0 };
        Address {
            base,
            index: index.map_or(Operand::None, Operand::Slot),
            shift,
            displacement,
        }
    }

    /// The linear address of an offset in a segment, checked for an access.
    pub(in crate::x86) fn in_segment(
        &mut self,
        segment: usize,
        offset: Operand,
        bytes: u32,
        how: Use,
    ) -> Address {
        if self.is_64() {
            return match segment {
                seg::FS | seg::GS => Address {
                    base: segment_base_slot(segment).into(),
                    index: offset.slot().map_or(Operand::None, Operand::Slot),
                    shift: 0,
                    displacement: offset.imm().unwrap_or(0),
                },
                _ => Address::at(offset),
            };
        }
        if self.is_flat(segment, how) {
            return Address::at(offset);
        }
        if self.is_plain(segment) {
            return self.below_limit(segment, offset, bytes);
        }
        let what = segment as i64
            | i64::from(bytes) << 8
            | match how {
                Use::Read => 0,
                Use::Write => 1 << 16,
                Use::Modify => 2 << 16,
            };
        Address::at(self.call(helper::SEGMENT, [offset, Operand::Imm(what)]))
    }

    /// Whether a segment's limit is all there is to check: without descriptors, or in a writable one that expands upwards.
    fn is_plain(&self, segment: usize) -> bool {
        match segment {
            _ if !self.protected() => true,
            seg::FS => self.has(mode::PLAIN_FS),
            seg::GS => self.has(mode::PLAIN_GS),
            _ => false,
        }
    }

    /// The linear address of an offset whose last byte must not be beyond the limit.
    fn below_limit(&mut self, segment: usize, offset: Operand, bytes: u32) -> Address {
        let last = match offset {
            Operand::Imm(offset) => Operand::Imm(offset + i64::from(bytes) - 1),
            _ if bytes == 1 => offset,
            _ => self.op64(Op::Add, offset, i64::from(bytes) - 1).into(),
        };
        let vector = match segment {
            seg::SS => super::exception::STACK,
            _ => super::exception::PROTECTION,
        };
        let compared = [segment_limit_slot(segment).into(), last];
        self.raise_if(Cond::LtU, Type::I64, compared, vector);
        let linear = [segment_base_slot(segment).into(), offset];
        Address::at(self.op(Op::Add, Type::I32, linear))
    }

    fn is_flat(&self, segment: usize, how: Use) -> bool {
        match segment {
            seg::CS => how == Use::Read && self.has(mode::FLAT_CODE),
            seg::ES | seg::SS | seg::DS => self.has(mode::FLAT),
            _ => false,
        }
    }

    /// #AC for a misaligned access, where it is on.
    fn check_alignment(&mut self, address: Address, bytes: u32) {
        if self.has(mode::ALIGNMENT_CHECK) && bytes > 1 && bytes.is_power_of_two() {
            let linear = self.flatten(address);
            let low = self.op64(Op::And, linear, i64::from(bytes.min(8)) - 1);
            let vector = super::exception::ALIGNMENT;
            self.raise_if(Cond::Ne, Type::I64, [low.into(), Operand::Imm(0)], vector);
        }
    }

    /// The address in one slot or constant, for operations that take no parts.
    pub(in crate::x86) fn flatten(&mut self, address: Address) -> Operand {
        let sum = match (address.index, address.shift) {
            (Operand::None, _) => address.base,
            (index, 0) => self.op64(Op::Add, address.base, index).into(),
            (index, shift) => {
                let operands = [index, address.base, Operand::Imm(shift.into())];
                self.op(Op::AddShl, Type::I64, operands).into()
            }
        };
        match address.displacement {
            0 => sum,
            displacement => self.op64(Op::Add, sum, displacement).into(),
        }
    }

    /// Loads an integer, zero-extended to 64 bits.
    pub(in crate::x86) fn load(&mut self, address: Address, ty: Type) -> Slot {
        let temp = self.b.temp64();
        self.load_to(temp, Type::I64, Ext::Zero, address, ty, false);
        temp
    }

    /// Loads an integer of type `from`, extends it to `ty`, and fills a slot with it.
    pub(in crate::x86) fn load_to(
        &mut self,
        dst: Slot,
        ty: Type,
        ext: Ext,
        address: Address,
        from: Type,
        signed: bool,
    ) {
        let mem = MemAttr {
            signed,
            ..address.mem(from)
        };
        let operands = address.operands();
        self.b
            .op_with(Op::Load, ty, ext, Some(dst), operands, Attr::Mem(mem));
    }

    /// Stores the low bits of a value.
    pub(in crate::x86) fn store(&mut self, address: Address, ty: Type, value: Operand) {
        let [base, index, displacement] = address.operands();
        let operands = [base, index, displacement, value];
        let attr = Attr::Mem(address.mem(ty));
        self.b
            .op_with(Op::Store, ty, Ext::Zero, None, operands, attr);
    }

    /// Faults as a store would.
    pub(in crate::x86) fn probe(&mut self, address: Address, ty: Type) {
        let attr = Attr::Mem(address.mem(ty));
        let operands = address.operands();
        self.b
            .op_with(Op::ProbeWrite, ty, Ext::Zero, None, operands, attr);
    }

    /// The type of stack addresses (SS.B; Intel SDM 1, 6.2.3).
    pub(in crate::x86) fn stack_type(&self) -> Type {
        match (self.is_64(), self.has(mode::STACK32)) {
            (true, _) => Type::I64,
            (false, true) => Type::I32,
            (false, false) => Type::I16,
        }
    }

    /// Where on the stack a datum of a type is that stands `offset` bytes above the top.
    pub(in crate::x86) fn on_stack(&mut self, offset: i64, ty: Type, how: Use) -> Address {
        let address = self.stack_area(offset, bytes(ty), how);
        self.check_alignment(address, bytes(ty));
        address
    }

    /// So many bytes on the stack, from `offset` bytes above the top on.
    pub(in crate::x86) fn stack_area(&mut self, offset: i64, bytes: u32, how: Use) -> Address {
        let sp = gpr_slot(gpr::RSP);
        match self.stack_type() {
            Type::I64 => Address::at(sp).plus(offset),
            at => {
                let top = match offset {
                    0 => self.zero_extend(sp.into(), at),
                    _ => self.op(Op::Add, at, [sp.into(), offset.into()]).into(),
                };
                self.in_segment(seg::SS, top, bytes, how)
            }
        }
    }

    /// Moves the top of the stack.
    pub(in crate::x86) fn move_stack(&mut self, by: i64) {
        let (ty, sp) = (self.stack_type(), gpr_slot(gpr::RSP));
        let (op, by) = if by < 0 {
            (Op::Sub, -by)
        } else {
            (Op::Add, by)
        };
        let ext = extension(ty);
        self.b.op(op, ty, ext, sp, [sp.into(), by.into()]);
    }

    /// Pushes a value: faults before it changes anything.
    pub(in crate::x86) fn push(&mut self, ty: Type, value: Operand) {
        let size = i64::from(bytes(ty));
        let place = self.on_stack(-size, ty, Use::Write);
        self.store(place, ty, value);
        self.move_stack(-size);
    }

    /// Whether the operand is in memory.
    pub(in crate::x86) fn in_memory(&self, operand: u32) -> bool {
        self.insn.op_kind(operand) == OpKind::Memory
    }
}

/// A displacement in the width of addresses, as a signed number.
fn relative(displacement: i64, ty: Type) -> i64 {
    let above = 64 - ty.bits();
    displacement << above >> above
}

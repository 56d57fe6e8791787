//! IR blocks to micro-operations.
//!
//! Constants in places where a handler wants a slot go through scratch words; operations without a handler of
//! their own run by their definition in `vm_ir::eval`.

mod flags;
mod floating;
mod memory;

use vm_ir::family::{Choose, Control, Field, FpOther, Move, Ternary, Wide};
use vm_ir::{
    Attr, Block, Ext, Family, Inst, Mode, Op, Operand, Slot, StateLayout, Terminator, Type,
    VectorFunction, leaves_page,
};

use crate::code::TooManyTemps;
use crate::frame::{SCRATCH_WORDS, STATE_OFFSET, TEMP_WORDS, ZERO_OFFSET, scratch_offset};
use crate::interp::{atomic, control, float, int, lanes, native, ternary, vector};
use crate::microop::{BlockHead, CodeWord, CodeWords, Handler, MicroOp};
use crate::tier::Step;

/// Storage for predecoding, used for one block after the other.
#[derive(Default)]
pub(crate) struct Storage {
    /// Frame offsets of the block's temporaries, and of one more.
    pub(crate) temp_offsets: Vec<u16>,
    head: BlockHead,
    /// Operations and link cells.
    words: Vec<CodeWord>,
    /// Operations that run by their definition.
    defined: Vec<Inst>,
    /// Micro-ops that do, in the same order.
    definitions: Vec<usize>,
    /// Where each operation is.
    pub(crate) places: Vec<Place>,
    /// What host code finds there.
    pub(crate) steps: Vec<Step>,
}

/// Where an operation is: in the block, and its micro-ops among the block's.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The first micro-op, if there are any.
    pub(crate) first: Option<usize>,
    /// Offset of the guest instruction in its page.
    pub(crate) pc_offset: u16,
    /// Guest instructions of the block from this one on, itself included.
    pub(crate) left: u16,
}

/// How a guest's blocks become code.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Layout of the guest's state.
    pub(crate) layout: &'static StateLayout,
    /// Bytes from the frame to the block's temporaries.
    pub(crate) temps_offset: usize,
    /// Whether the host's floating-point unit follows the guest's rules.
    pub(crate) host_float: bool,
    /// Whether the host's floating-point unit is the guest's own.
    pub(crate) host_is_guest: bool,
    /// Whether code of a mode runs with all floating-point exceptions masked.
    pub(crate) masks_float: fn(Mode) -> bool,
}

/// A block on its way to micro-operations.
pub(crate) struct Predecoder<'a> {
    rules: Rules,
    temps: &'a [Type],
    /// Not one of the block's temporaries.
    held: Slot,
    pub(crate) made: &'a mut Storage,
    pc_offset: u16,
    insn: u32,
    guest_insns: u32,
    scratch_used: usize,
}

/// The scratch word that takes results nobody wants.
const SINK: usize = SCRATCH_WORDS - 2;

impl Storage {
    fn clear(&mut self) {
        self.temp_offsets.clear();
        self.words.clear();
        self.defined.clear();
        self.definitions.clear();
        self.places.clear();
        self.steps.clear();
    }

    /// The operations that run by their definition, in memory of their own, where micro-ops now point to.
    fn take_defined(&mut self) -> Box<[Inst]> {
        let defined: Box<[Inst]> = self.defined.as_slice().into();
        for (inst, &at) in defined.iter().zip(&self.definitions) {
            self.words[at].op.imm = std::ptr::from_ref(inst).expose_provenance() as u64;
        }
        defined
    }

    /// What was made, in memory of its own: a whole block behind its head, and what its micro-ops point to.
    pub(crate) fn take(&mut self) -> (CodeWords, Box<[Inst]>) {
        let defined = self.take_defined();
        (CodeWords::of(self.head, self.words.drain(..)), defined)
    }

    /// The same of single operations, without a head.
    pub(crate) fn take_steps(&mut self) -> (CodeWords, Box<[Inst]>) {
        let defined = self.take_defined();
        (CodeWords::without_head(self.words.drain(..)), defined)
    }
}

impl<'a> Predecoder<'a> {
    /// A predecoder that has made the block's head.
    ///
    /// # Errors
    /// When the block's temporaries do not fit.
    pub(crate) fn start(
        block: &'a Block,
        rules: Rules,
        made: &'a mut Storage,
    ) -> Result<Self, TooManyTemps> {
        made.clear();
        let mut at = rules.temps_offset;
        for ty in &block.temps {
            made.temp_offsets.push(at as u16);
            at += ty.slot_bytes() as usize;
        }
        // One more, for what memory operations give on the way to where it is extended.
        let held = Slot::temp(made.temp_offsets.len() as u16);
        made.temp_offsets.push(at as u16);
        at += 8;
        if at > rules.temps_offset + 8 * TEMP_WORDS {
            return Err(TooManyTemps);
        }
        made.head = BlockHead {
            insns: block.guest_insns,
        };
        Ok(Self {
            rules,
            temps: &block.temps,
            held,
            made,
            pc_offset: block.key.phys_pc.page_offset() as u16,
            insn: 0,
            guest_insns: block.guest_insns,
            scratch_used: 0,
        })
    }

    fn offset(&self, slot: Slot) -> u16 {
        if slot.is_temp() {
            self.made.temp_offsets[slot.index()]
        } else {
            (STATE_OFFSET + self.rules.layout.slots[slot.index()].offset as usize) as u16
        }
    }

    fn slot_type(&self, slot: Slot) -> Type {
        if slot == self.held {
            Type::I64
        } else if slot.is_temp() {
            self.temps[slot.index()]
        } else {
            self.rules.layout.slots[slot.index()].ty
        }
    }

    /// Has operations added, and tells where they are.
    pub(crate) fn place(&mut self, add: impl FnOnce(&mut Self)) -> Place {
        let first = self.made.words.len();
        add(self);
        Place {
            first: (self.made.words.len() > first).then_some(first),
            pc_offset: self.pc_offset,
            left: self.left(),
        }
    }

    /// Guest instructions from the one at hand on.
    fn left(&self) -> u16 {
        self.guest_insns.saturating_sub(self.insn.saturating_sub(1)) as u16
    }

    /// Whether a slot has more than one word.
    fn is_wide(&self, slot: Slot) -> bool {
        self.slot_type(slot).slot_bytes() > 8
    }

    pub(crate) fn emit(&mut self, handler: Handler, set: impl FnOnce(&mut MicroOp)) -> usize {
        let mut op = MicroOp::new(handler);
        op.pc_offset = self.pc_offset;
        op.left = self.left();
        set(&mut op);
        self.made.words.push(CodeWord::op(op));
        self.made.words.len() - 1
    }

    /// Adds an operation that leads to other places, by their offsets from the page's base.
    fn emit_leading(
        &mut self,
        handler: Handler,
        offsets: [i64; 2],
        set: impl FnOnce(&mut MicroOp),
    ) {
        self.emit(handler, set);
        let offsets = offsets.map(|offset| offset as i32);
        self.made.words.push(CodeWord::links(offsets));
    }

    fn destination(&self, slot: Option<Slot>) -> u16 {
        slot.map_or(scratch_offset(SINK), |slot| self.offset(slot))
    }

    /// Offset of an operand; constants other than zero are put into a scratch word first.
    fn operand(&mut self, operand: Operand) -> u16 {
        match operand {
            Operand::Slot(slot) => self.offset(slot),
            Operand::None | Operand::Imm(0) => ZERO_OFFSET,
            Operand::Imm(value) => {
                let offset = scratch_offset(self.scratch_used % SINK);
                self.scratch_used += 1;
                self.emit(int::constant, |op| {
                    op.d = offset;
                    op.imm = value as u64;
                });
                offset
            }
        }
    }

    /// Adds the micro-operations of one operation.
    pub(crate) fn inst(&mut self, inst: &Inst) {
        self.scratch_used = 0;
        if let Attr::Insn { offset, len } = inst.attr {
            self.pc_offset = offset;
            // A restart point is within the instruction.
            self.insn += u32::from(len != 0);
            return;
        }
        if self.with_handler(inst).is_none() {
            self.define(inst);
        }
    }

    /// Adds the micro-operations of an operation that has handlers of its own; `None` if it has none.
    fn with_handler(&mut self, inst: &Inst) -> Option<()> {
        match inst.op.family() {
            Family::Control(op) => self.control(op, inst),
            Family::Access(op) => self.access(op, inst),
            Family::Reserve(op) => self.atomic(inst, |size| atomic::reserve_handler(op, size)),
            Family::Modify(op) => self.atomic(inst, |size| atomic::modify_handler(op, size)),
            Family::Move(Move::Mov) if matches!(inst.ty, Type::V128 | Type::I128) => {
                self.mov_vector(inst)
            }
            Family::Move(Move::Mov) if inst.dst.is_some_and(|dst| self.is_wide(dst)) => {
                self.mov_to_wide(inst)
            }
            Family::Move(Move::Mov) => {
                let d = self.integer(inst)?;
                self.mov(inst, d)
            }
            Family::Move(Move::PcRel) => {
                let d = self.integer(inst)?;
                let offset = inst.args[0].imm().unwrap_or(0);
                self.emit(int::pc_rel, |op| {
                    op.d = d;
                    op.imm = offset as u64;
                });
                Some(())
            }
            Family::Unary(op) => {
                let d = self.integer(inst)?;
                let a = self.operand(inst.args[0]);
                let handler = int::unary_handler(op, inst.ty, inst.ext);
                self.emit(handler, |op| (op.d, op.a) = (d, a));
                Some(())
            }
            Family::Binary(op) => {
                self.two_operands(inst, int::binary_handlers(op, inst.ty, inst.ext))
            }
            Family::Choose(op) => self.choose(op, inst),
            Family::Ternary(op) => self.ternary(op, inst),
            Family::Field(op) => self.field(op, inst),
            Family::FpArith(op) if self.rules.host_is_guest => {
                self.native(inst, native::arithmetic(op, inst))
            }
            Family::FpExtremum(op) if self.rules.host_is_guest => {
                self.native(inst, native::extremum(op, inst))
            }
            Family::FpConvert(op) if self.rules.host_is_guest => {
                self.native(inst, native::convert(op, inst))
            }
            Family::FpOther(FpOther::FpCmpFlags) if self.rules.host_is_guest => {
                self.native(inst, native::compare(inst))
            }
            Family::FpArith(op) => self.floating(inst, float::arithmetic_handler(op, inst)),
            Family::FpSign(op) => self.floating(inst, float::sign_handler(op, inst)),
            Family::FpCompare(op) => self.floating(inst, float::compare_handler(op, inst)),
            Family::FpOther(FpOther::FpUnbox) => self.floating(inst, float::unbox_handler(inst)),
            Family::Flags(op) => self.flags(op, inst),
            Family::Wide(op) => self.halves(op, inst),
            Family::VecBits(op) => self.vector(inst, Some(lanes::bits_handler(op))),
            Family::VecLanes(op) => {
                self.vector(inst, lane(inst).and_then(|ty| lanes::lanes_handler(op, ty)))
            }
            Family::VecShift(op) => {
                self.vector(inst, lane(inst).and_then(|ty| lanes::shift_handler(op, ty)))
            }
            Family::VecMove(op) => {
                self.vector(inst, lane(inst).and_then(|ty| lanes::moves_handler(op, ty)))
            }
            Family::FpOther(FpOther::FpCmpFlags | FpOther::FpClass | FpOther::FpRound)
            | Family::FpExtremum(_)
            | Family::FpConvert(_)
            | Family::VecFp(_) => None,
            Family::VecRow(_) => self.vector_row(inst),
        }
    }

    /// Offset of the word that a result fills; `None` where there is no result, or where handlers cannot write it:
    /// they write one word, all of it.
    fn result(&self, inst: &Inst) -> Option<u16> {
        let dst = inst.dst.filter(|&dst| !self.is_wide(dst))?;
        Some(self.offset(dst))
    }

    /// [`Self::result`] of an operation on integers, whose handlers do not fill it with ones.
    fn integer(&self, inst: &Inst) -> Option<u16> {
        (inst.ext != Ext::Ones).then(|| self.result(inst)).flatten()
    }

    /// Has another operation compute 64 bits into the word that is held, and moves them to where the operation's result
    /// goes.
    fn by_way_of_held(&mut self, inst: &Inst, compute: impl FnOnce(&mut Self, u16)) -> Option<()> {
        let d = self.integer(inst)?;
        let held = self.offset(self.held);
        compute(self, held);
        let handler = int::mov_handler(inst.ty, inst.ext);
        self.emit(handler, |op| (op.d, op.a) = (d, held));
        Some(())
    }

    /// An operation of two integers, the second of which may be a constant.
    fn two_operands(
        &mut self,
        inst: &Inst,
        (in_slots, with_constant): (Handler, Handler),
    ) -> Option<()> {
        let d = self.integer(inst)?;
        let [x, y, ..] = inst.args;
        let a = self.operand(x);
        match y {
            Operand::Imm(value) if value != 0 => {
                self.emit(with_constant, |op| {
                    (op.d, op.a) = (d, a);
                    op.imm = value as u64;
                });
            }
            y => {
                let b = self.operand(y);
                self.emit(in_slots, |op| (op.d, op.a, op.b) = (d, a, b));
            }
        }
        Some(())
    }

    fn choose(&mut self, op: Choose, inst: &Inst) -> Option<()> {
        let Attr::Cond(cond) = inst.attr else {
            return None;
        };
        match op {
            Choose::Cmp => self.two_operands(inst, int::compare_handlers(cond, inst.ty, inst.ext)),
            Choose::Select => {
                let d = self.integer(inst)?;
                let [x, y, a, b] = inst.args.map(|operand| self.operand(operand));
                self.emit(int::select_handler(cond, inst.ty, inst.ext), |op| {
                    (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, x, i32::from(y));
                });
                Some(())
            }
        }
    }

    fn ternary(&mut self, op: Ternary, inst: &Inst) -> Option<()> {
        let d = self.integer(inst)?;
        let [x, y, z, _] = inst.args;
        let with_constant: Option<Handler> = match op {
            Ternary::AddShl => Some(int::add_shl_rr),
            Ternary::AddShlU32 => Some(int::add_shl_u32_rr),
            Ternary::Crc32c => {
                let bytes = z.imm().unwrap_or(0);
                let handler = ternary::crc_handler(bytes, inst.ty, inst.ext)?;
                let (a, b) = (self.operand(x), self.operand(y));
                self.emit(handler, |op| (op.d, op.a, op.b) = (d, a, b));
                return Some(());
            }
            Ternary::AddCarry
            | Ternary::SubBorrow
            | Ternary::FunnelShr
            | Ternary::RolCarry
            | Ternary::RorCarry
            | Ternary::DivUWide
            | Ternary::RemUWide
            | Ternary::DivSWide
            | Ternary::RemSWide
            | Ternary::DivSOverflows => None,
        };
        match with_constant {
            Some(handler) if inst.ty == Type::I64 => {
                let (a, b) = (self.operand(x), self.operand(y));
                let shift = z.imm().unwrap_or(0) as i32 & 63;
                self.emit(handler, |op| (op.d, op.a, op.b, op.aux) = (d, a, b, shift));
            }
            Some(_) => return None,
            None => {
                let handler = ternary::handler(op, inst.ty, inst.ext)?;
                let [a, b, c] = [x, y, z].map(|operand| self.operand(operand));
                self.emit(handler, |op| (op.d, op.a, op.b, op.c) = (d, a, b, c));
            }
        }
        Some(())
    }

    fn field(&mut self, op: Field, inst: &Inst) -> Option<()> {
        let Attr::Field { pos, len, signed } = inst.attr else {
            return None;
        };
        if inst.ty != Type::I64 {
            return self.by_way_of_held(inst, |this, held| {
                this.field_to(held, op, inst, (pos, len, signed));
            });
        }
        let d = self.integer(inst)?;
        self.field_to(d, op, inst, (pos, len, signed));
        Some(())
    }

    /// Of the operation's operands, 64 bits with the field taken out or put in.
    fn field_to(&mut self, d: u16, op: Field, inst: &Inst, (pos, len, signed): (u8, u8, bool)) {
        let a = self.operand(inst.args[0]);
        match op {
            Field::Extract => {
                let handler: Handler = if signed {
                    int::extract_signed
                } else {
                    int::extract_unsigned
                };
                self.emit(handler, |op| {
                    (op.d, op.a, op.aux) = (d, a, 64 - i32::from(len));
                    op.imm = 64 - u64::from(len) - u64::from(pos);
                });
            }
            Field::Deposit => {
                let b = self.operand(inst.args[1]);
                self.emit(int::deposit, |op| {
                    (op.d, op.a, op.b, op.aux) = (d, a, b, pos.into());
                    op.imm = u64::MAX >> (64 - len) << pos;
                });
            }
        }
    }

    /// To and from 128-bit integers.
    fn halves(&mut self, op: Wide, inst: &Inst) -> Option<()> {
        let dst = inst.dst?;
        match op {
            Wide::Pair => {
                let [a, b, ..] = inst.args.map(|operand| self.operand(operand));
                let d = self.offset(dst);
                self.emit(int::pair_of, |op| (op.d, op.a, op.b) = (d, a, b));
            }
            Wide::Low | Wide::High => {
                let d = self.integer(inst)?;
                let from = self.offset(inst.args[0].slot()?);
                let a = from + if op == Wide::High { 8 } else { 0 };
                let handler = int::mov_handler(Type::I64, Ext::Zero);
                self.emit(handler, |op| (op.d, op.a) = (d, a));
            }
        }
        Some(())
    }

    fn vector(&mut self, inst: &Inst, handler: Option<Handler>) -> Option<()> {
        let (handler, dst) = (handler?, inst.dst?);
        let index = match inst.attr {
            Attr::Lane { index, .. } => index,
            _ => 0,
        };
        if inst.op == Op::VecExtract && inst.ty != Type::I64 {
            let a = self.operand(inst.args[0]);
            return self.by_way_of_held(inst, |this, held| {
                this.emit(handler, |op| (op.d, op.a, op.aux) = (held, a, index.into()));
            });
        }
        let [a, b, ..] = inst.args.map(|operand| self.operand(operand));
        let d = self.offset(dst);
        self.emit(handler, |op| {
            (op.d, op.a, op.b, op.aux) = (d, a, b, index.into());
            op.imm = index.into();
        });
        Some(())
    }

    fn mov(&mut self, inst: &Inst, d: u16) -> Option<()> {
        match inst.args[0] {
            Operand::Imm(value) if matches!(inst.ty, Type::I64 | Type::F64) => {
                self.emit(int::constant, |op| {
                    op.d = d;
                    op.imm = value as u64;
                });
            }
            from => {
                let a = self.operand(from);
                let ty = match inst.ty {
                    Type::F16 => Type::I16,
                    Type::F32 => Type::I32,
                    Type::F64 => Type::I64,
                    Type::Flags => Type::I16,
                    ty => ty,
                };
                self.emit(int::mov_handler(ty, inst.ext), |op| (op.d, op.a) = (d, a));
            }
        }
        Some(())
    }

    fn mov_vector(&mut self, inst: &Inst) -> Option<()> {
        let d = self.offset(inst.dst?);
        let a = self.offset(inst.args[0].slot()?);
        self.emit(vector::mov, |op| (op.d, op.a) = (d, a));
        Some(())
    }

    /// A row of the guest's table that needs no floating-point rules.
    fn vector_row(&mut self, inst: &Inst) -> Option<()> {
        let Attr::Vector { row, imm } = inst.attr else {
            return None;
        };
        let declared = &self.rules.layout.vectors[usize::from(row.0)];
        if let VectorFunction::Float(_) = declared.function {
            let handler = native::row(declared.encoding).filter(|_| self.rules.host_is_guest)?;
            return self.native_at(inst, handler);
        }
        let (handler, function) = vector::plain_row(declared.function)?;
        let d = self.offset(inst.dst?);
        let [a, b, c, _] = inst.args.map(|operand| match operand {
            Operand::Slot(slot) => self.offset(slot),
            _ => ZERO_OFFSET,
        });
        self.emit(handler, |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, i32::from(imm));
            op.imm = function;
        });
        Some(())
    }

    /// A move of 64 bits or less to the low word of a slot of two.
    fn mov_to_wide(&mut self, inst: &Inst) -> Option<()> {
        let d = self.offset(inst.dst?);
        match inst.ext {
            Ext::Keep => self.mov(inst, d),
            Ext::Zero => {
                self.mov(inst, d)?;
                self.emit(int::constant, |op| op.d = d + 8);
                Some(())
            }
            Ext::Sign | Ext::Ones => None,
        }
    }

    fn control(&mut self, op: Control, inst: &Inst) -> Option<()> {
        let [x, y, z, w] = inst.args;
        match (op, inst.attr) {
            (Control::ExitIf, Attr::Cond(cond)) => {
                let (a, b) = (self.operand(x), self.operand(y));
                let target = z.imm().unwrap_or(0);
                let handler = control::exit_if_handler(cond, inst.ty, leaves_page(target));
                self.emit_leading(handler, [target, 0], |op| {
                    (op.a, op.b) = (a, b);
                    op.left -= 1;
                });
            }
            (Control::RaiseIf, Attr::Cond(cond)) => {
                let (a, b, c) = (self.operand(x), self.operand(y), self.operand(w));
                let code = z.imm().unwrap_or(0) as i32;
                let handler = control::raise_if_handler(cond, inst.ty);
                self.emit(handler, |op| (op.a, op.b, op.c, op.aux) = (a, b, c, code));
            }
            (Control::Call, Attr::Helper(helper)) => {
                let (a, b, c) = (self.operand(x), self.operand(y), self.operand(z));
                let d = self.destination(inst.dst);
                let number = i32::from(helper.0);
                self.emit(control::call, |op| {
                    (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, number);
                });
            }
            (Control::Fence, Attr::Fence(set)) => self.fence(set),
            // Markers are no operations, and the verifier gives the others their attributes.
            (
                Control::Insn | Control::ExitIf | Control::RaiseIf | Control::Call | Control::Fence,
                _,
            ) => {}
        }
        Some(())
    }

    fn define(&mut self, inst: &Inst) {
        let [a, b, c, e] = inst.args.map(|operand| match operand {
            Operand::Slot(slot) => self.offset(slot),
            _ => ZERO_OFFSET,
        });
        let d = self.destination(inst.dst);
        let words = inst
            .dst
            .map_or(0, |dst| self.slot_type(dst).slot_bytes() / 8) as i32;
        self.made.defined.push(*inst);
        let at = self.emit(control::define, |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, i32::from(e) | words << 16);
        });
        self.made.definitions.push(at);
    }

    /// Adds those of a whole block.
    pub(crate) fn block(&mut self, block: &Block) {
        let mut left = block.insts.as_slice();
        while let [inst, rest @ ..] = left {
            match rest {
                [next, behind @ ..] if self.two_as_one(inst, next) => left = behind,
                [] if self.flag_and_branch(inst, &block.terminator) => return,
                _ => {
                    self.inst(inst);
                    left = rest;
                }
            }
        }
        self.terminator(&block.terminator);
    }

    /// Adds those of the block's end.
    pub(crate) fn terminator(&mut self, terminator: &Terminator) {
        self.scratch_used = 0;
        match *terminator {
            Terminator::Jump { offset, .. } => {
                let handler = control::jump_handler(leaves_page(offset));
                self.emit_leading(handler, [offset, 0], |_| ());
            }
            Terminator::Branch {
                cond,
                ty,
                a,
                b,
                taken,
                fallthrough,
            } => {
                let (a, b) = (self.operand(a), self.operand(b));
                let handler =
                    control::branch_handler(cond, ty, leaves_page(taken), leaves_page(fallthrough));
                self.emit_leading(handler, [taken, fallthrough], |op| (op.a, op.b) = (a, b));
            }
            Terminator::Indirect { target, .. } => {
                let a = self.operand(target);
                self.emit(control::indirect, |op| op.a = a);
            }
            Terminator::Exception { code, value } => {
                let c = self.operand(value);
                self.emit(control::exception, |op| (op.c, op.aux) = (c, code.0 as i32));
            }
            Terminator::Exit { offset } => {
                self.emit(control::exit, |op| op.aux = offset as i32);
            }
            Terminator::Dispatch => {
                self.emit(control::dispatch, |_| ());
            }
        }
    }
}

/// Type of the lanes that a vector operation names.
fn lane(inst: &Inst) -> Option<Type> {
    match inst.attr {
        Attr::Lane { ty, .. } => Some(ty),
        _ => None,
    }
}

//! One block: where values are, and which operation goes where.

use vm_engine::tier::{FrameOffsets, Step, Translation};
use vm_ir::family::{Access, Choose, Control, Move};
use vm_ir::{Cond, Ext, Family, Inst, Op, Operand, Slot, Terminator, Type};

use super::cold::{Cold, Live};
use super::float::{self, Unpacked};
use super::lazy::Lazy;
use super::reach::{Origins, Scatter};
use super::stubs::Stubs;
use super::vector::{self, Held};
use super::x87::{Unit, X87};
use super::{Pins, RETIRED, Scratch, Template};
use super::{atomic, branch, flags, integer, memory};
use crate::asm::{Alu, Assembler, Cc, Label, Mem, Reg, Rm, Shift, Width};

/// A block being translated.
pub(crate) struct Emitter<'a> {
    /// Where other host code enters the block.
    pub(crate) start: Label,
    pub(crate) asm: &'a mut Assembler,
    pub(crate) pins: &'a Pins,
    pub(crate) stubs: &'a Stubs,
    pub(crate) of: &'a Translation<'a>,
    pub(crate) cold: &'a mut Vec<Cold>,
    /// Words of grouped accesses.
    pub(crate) members: &'a mut Vec<u32>,
    /// Whether the block leads back to its start, or to code of its page before that: it may be of a loop.
    pub(crate) repeats: bool,
    /// Whether accesses to memory are counted.
    pub(crate) counts_accesses: bool,
    /// What is known to be the guest's.
    pub(crate) live: Live,
    /// The guest's x87 unit.
    pub(super) x87: Option<&'a X87>,
    /// Whether its instructions are steps from here on.
    pub(super) plain_x87: bool,
    /// Whether the rest of the block is emitted once more, out of the way.
    pub(super) in_rest: bool,
    /// Whether the block has had it be the guest's before.
    pub(super) entered_x87: bool,
    /// Whether the operation at hand finds its operands in memory, and leaves its result there.
    pub(crate) in_memory: bool,
    /// Temporaries that vector registers hold too.
    pub(crate) unpacked: Unpacked,
    /// Whether there are vectors that the host's instructions work on.
    pub(crate) has_vectors: bool,
    /// Whether the host's floating point is the guest's own, with MXCSR as the guest has it.
    pub(crate) host_is_guest: bool,
    /// Temporaries that are vectors in registers.
    pub(crate) held: Held,
    /// The flag group that the host's flags are just now.
    pub(crate) host_flags: Option<Slot>,
    /// A slot that has the carry of a group.
    pub(crate) carry: Option<(Slot, Slot)>,
    /// Flags that are not in memory.
    pub(super) lazy: Option<Lazy>,
    /// A temporary that only RAX has.
    pub(crate) pending: Option<Slot>,
    /// The operation that takes it from there, and the one at hand.
    pub(crate) taken_at: usize,
    pub(crate) at: usize,
    /// The operation behind those at hand.
    pub(crate) next: usize,
    /// How far the guest's registers lead.
    pub(crate) scatter: Scatter,
    /// Which registers temporaries are near to.
    pub(crate) origins: Origins,
    /// What the branch at the block's end goes by, where an operation before it has told.
    pub(crate) branch_by: Option<Cc>,
    /// How often each temporary is read.
    pub(crate) reads: &'a mut Vec<u8>,
    /// Whether the host's logic clears A, which its manuals leave undefined.
    pub(crate) logic_clears_a: bool,
}

/// Integer widths that native code works in.
pub(crate) fn width(ty: Type) -> Option<Width> {
    match ty {
        Type::I32 => Some(Width::D),
        Type::I64 => Some(Width::Q),
        _ => None,
    }
}

/// Whether the block's end leaves for its micro-operations.
pub(crate) fn leaves_for(terminator: &Terminator) -> bool {
    match *terminator {
        Terminator::Branch { .. } | Terminator::Jump { .. } | Terminator::Indirect { .. } => false,
        Terminator::Exception { .. } | Terminator::Exit { .. } | Terminator::Dispatch => true,
    }
}

/// Whether the operation is translated, not run as a step.
pub(crate) fn is_native(inst: &Inst) -> bool {
    let has_width = inst.ty.is_int();
    let narrow = matches!(inst.ty, Type::I8 | Type::I16);
    let integer =
        has_width && (matches!(inst.ext, Ext::Zero | Ext::Sign) || inst.ext == Ext::Keep && narrow);
    match inst.op.family() {
        Family::Control(Control::Insn | Control::Fence) => true,
        Family::Control(Control::ExitIf | Control::RaiseIf) => has_width,
        Family::Control(Control::Call) => false,
        Family::Access(op) => memory::is_native(op, inst),
        Family::Reserve(_) => atomic::reserves(inst),
        Family::Modify(_) => atomic::modifies(inst),
        Family::Move(Move::Mov) => integer::moves(inst) || float::is_native(inst),
        Family::Move(Move::PcRel) => integer && inst.ty == Type::I64,
        Family::Choose(Choose::Cmp | Choose::Select) => integer,
        Family::Unary(op) => integer && integer::has_unary(op, inst.ty),
        Family::Binary(op) => integer && integer::has_binary(op, inst.ty),
        Family::Ternary(op) => integer && integer::has_ternary(op, inst),
        Family::Field(_) => integer,
        Family::Flags(op) => flags::is_native(op, inst),
        Family::FpArith(_)
        | Family::FpExtremum(_)
        | Family::FpSign(_)
        | Family::FpCompare(_)
        | Family::FpConvert(_)
        | Family::FpOther(_) => float::is_native(inst),
        Family::Wide(_)
        | Family::VecBits(_)
        | Family::VecLanes(_)
        | Family::VecShift(_)
        | Family::VecMove(_)
        | Family::VecFp(_)
        | Family::VecRow(_) => false,
    }
}

/// Whether the translation has a slow path that is a step, or leaves for the operation's micro-operations.
pub(crate) fn has_slow_path(inst: &Inst) -> bool {
    match inst.op.family() {
        Family::Control(op) => op == Control::RaiseIf,
        Family::Access(_) => false,
        Family::Reserve(_) | Family::Modify(_) => true,
        Family::Move(_)
        | Family::FpArith(_)
        | Family::FpExtremum(_)
        | Family::FpSign(_)
        | Family::FpCompare(_)
        | Family::FpConvert(_)
        | Family::FpOther(_) => float::has_step(inst),
        Family::Choose(_)
        | Family::Unary(_)
        | Family::Binary(_)
        | Family::Ternary(_)
        | Family::Field(_)
        | Family::Wide(_)
        | Family::Flags(_)
        | Family::VecBits(_)
        | Family::VecLanes(_)
        | Family::VecShift(_)
        | Family::VecMove(_)
        | Family::VecFp(_)
        | Family::VecRow(_) => false,
    }
}

/// The host's condition.
pub(crate) fn condition(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::E,
        Cond::Ne => Cc::Ne,
        Cond::LtS => Cc::L,
        Cond::GeS => Cc::Ge,
        Cond::LtU => Cc::B,
        Cond::GeU => Cc::Ae,
    }
}

/// The condition with operands exchanged.
fn mirrored(cc: Cc) -> Cc {
    match cc {
        Cc::L => Cc::G,
        Cc::Ge => Cc::Le,
        Cc::B => Cc::A,
        Cc::Ae => Cc::Be,
        other => other,
    }
}

/// Emits the block; tells where the code out of the way begins. `None`: not this block.
pub(crate) fn translate(
    Scratch {
        asm,
        cold,
        members,
        reads,
    }: &mut Scratch,
    of: &Translation<'_>,
    template: &Template,
) -> Option<usize> {
    asm.clear();
    cold.clear();
    members.clear();
    count_reads(reads, of);
    let start = asm.here();
    let mut emitter = Emitter {
        start,
        asm,
        pins: &template.pins,
        stubs: &template.stubs,
        counts_accesses: template.counts_accesses,
        repeats: branch::repeats(of),
        of,
        cold,
        members,
        live: Live::default(),
        x87: template.x87.as_ref(),
        plain_x87: false,
        in_rest: false,
        entered_x87: false,
        in_memory: false,
        unpacked: Unpacked::default(),
        has_vectors: template.has_vectors,
        host_is_guest: of.host_is_guest && template.pins.mxcsr.is_some(),
        held: Held::default(),
        host_flags: None,
        carry: None,
        lazy: None,
        pending: None,
        taken_at: 0,
        at: 0,
        next: 0,
        scatter: Scatter::default(),
        origins: Origins::default(),
        branch_by: None,
        reads,
        logic_clears_a: template.logic_clears_a,
    };
    let insns = i32::try_from(of.block.guest_insns).ok()?;
    emitter.asm.alu_imm(Alu::Add, Width::Q, RETIRED, insns);
    emitter.leave_x87_for_slots();
    let insts = of.block.insts.as_slice();
    let mut at = 0;
    while at < insts.len() {
        emitter.settle(at);
        let pending = emitter.pending;
        (emitter.at, emitter.next) = (at, at + 2);
        let done = match &insts[at..] {
            _ if let Some(count) = emitter.enter_x87(at) => count,
            _ if let Some(together) = emitter.vectors_together(at) => together,
            [first, second, ..] if emitter.two_as_one(first, second, &of.steps[at + 1]) => 2,
            [last] if emitter.flag_of_branch(last) => 1,
            _ if let Some(count) = emitter.modify_in_place(at) => count,
            _ if let Some(count) = emitter.double_width(at) => count,
            _ => match emitter.group(at) {
                Some(grouped) => {
                    emitter.host_flags = None;
                    grouped
                }
                None => {
                    emitter.next = at + 1;
                    emitter.inst(&insts[at], &of.steps[at])?;
                    1
                }
            },
        };
        emitter.follow_flags(&insts[at..at + done]);
        for inst in &insts[at..at + done] {
            emitter.scatter.follow(inst);
            emitter.origins.follow(inst, emitter.pins);
        }
        at += done;
        emitter.taken(pending, at);
    }
    emitter.end()?;
    (emitter.pending, emitter.lazy) = (None, None);
    let cold = emitter.asm.len();
    emitter.finish()?;
    Some(cold)
}

/// Counts reads of temporaries.
pub(super) fn count_reads(reads: &mut Vec<u8>, of: &Translation<'_>) {
    reads.clear();
    if of.block.temps.is_empty() {
        return;
    }
    reads.resize(of.block.temps.len(), 0);
    let ends = of.block.terminator.operands();
    let ends = ends.iter().filter_map(|operand| operand.slot());
    let read = of.block.insts.iter().flat_map(Inst::reads).chain(ends);
    for slot in read.filter(|slot| slot.is_temp()) {
        let count = &mut reads[slot.index()];
        *count = count.saturating_add(1);
    }
}

impl Emitter<'_> {
    /// The block's end.
    pub(super) fn end(&mut self) -> Option<()> {
        match self.of.block.terminator {
            Terminator::Branch { a, b, .. } => self.spill(&[a, b]),
            Terminator::Indirect { target, .. } => self.spill(&[target]),
            _ => {}
        }
        self.terminator()
    }

    /// Whether a temporary is read by one operation alone, as far as is known.
    pub(crate) fn is_read_once(&self, slot: Slot) -> bool {
        slot.is_temp() && self.reads.get(slot.index()) == Some(&1)
    }

    /// Whether a slot has one word.
    pub(crate) fn has_one_word(&self, slot: Slot) -> bool {
        self.type_of(slot).slot_bytes() == 8
    }

    /// A word of the frame.
    pub(crate) fn frame(&self, offset: i32) -> Mem {
        self.pins.word(offset)
    }

    /// The host register of a slot, if it has one.
    pub(crate) fn pin(&self, slot: Slot) -> Option<Reg> {
        if slot.is_temp() {
            (self.pending == Some(slot)).then_some(Reg::Rax)
        } else {
            self.pins.of_state(slot.index())
        }
    }

    /// Where a slot without register is.
    pub(crate) fn home(&self, slot: Slot) -> Mem {
        let offset = if slot.is_temp() {
            i32::from(self.of.temp_offsets[slot.index()])
        } else {
            FrameOffsets::STATE + self.of.layout.slots[slot.index()].offset as i32
        };
        self.frame(offset)
    }

    /// Bytes from the frame to a slot.
    pub(crate) fn offset_of(&self, slot: Slot) -> u16 {
        match slot.is_temp() {
            true => self.of.temp_offsets[slot.index()],
            false => {
                (FrameOffsets::STATE + self.of.layout.slots[slot.index()].offset as i32) as u16
            }
        }
    }

    /// Whether a slot is an integer of one word.
    pub(crate) fn is_word(&self, slot: Slot) -> bool {
        self.type_of(slot) == Type::I64
    }

    /// Whether vector registers hold temporaries.
    pub(crate) fn has_unpacked(&self) -> bool {
        !self.unpacked.is_empty()
    }

    /// Type of a slot.
    pub(crate) fn type_of(&self, slot: Slot) -> Type {
        if slot.is_temp() {
            self.of.block.temps[slot.index()]
        } else {
            self.of.layout.slots[slot.index()].ty
        }
    }

    /// Register or memory of an operand that is a slot.
    pub(crate) fn place(&self, slot: Slot) -> Rm {
        match self.pin(slot) {
            Some(reg) => reg.into(),
            None => self.home(slot).into(),
        }
    }

    /// The operand in a register: its own, or `scratch`. Keeps flags.
    pub(crate) fn in_reg(&mut self, operand: Operand, scratch: Reg) -> Reg {
        if let Operand::Slot(slot) = operand
            && let Some(reg) = self.pin(slot)
        {
            return reg;
        }
        self.load(operand, scratch);
        scratch
    }

    /// Copies an operand to a register. Keeps flags.
    pub(crate) fn load(&mut self, operand: Operand, to: Reg) {
        match operand {
            Operand::None => self.asm.mov_imm(to, 0),
            Operand::Imm(value) => self.asm.mov_imm(to, value as u64),
            Operand::Slot(slot) => {
                if let Some(vector) = self.vector(slot) {
                    return self.asm.mov_from_xmm(Width::Q, to, vector);
                }
                let place = self.place(slot);
                if place != Rm::from(to) {
                    self.asm.mov(Width::Q, to, place);
                }
            }
        }
    }

    /// The register to compute a result in: the destination's unless one of `busy` is still to be read from there.
    pub(crate) fn target(&self, dst: Slot, busy: &[Operand]) -> Reg {
        let is_busy = || busy.contains(&Operand::Slot(dst));
        match self.pin(dst) {
            Some(reg) if !is_busy() => reg,
            _ => Reg::Rax,
        }
    }

    /// Puts a 64-bit result from a register to its slot.
    pub(crate) fn put(&mut self, dst: Slot, from: Reg) {
        if let Some(vector) = self.vector(dst) {
            return self.asm.mov_to_xmm(Width::Q, vector, from);
        }
        match self.pin(dst) {
            Some(reg) if reg == from => {}
            Some(reg) => self.asm.mov(Width::Q, reg, from),
            None => {
                let home = self.home(dst);
                self.asm.store(Width::Q, home, from);
            }
        }
    }

    /// Puts a result of the operation's type, which fills `from` with zeros above 32 bits when it is that narrow.
    pub(crate) fn put_filled(&mut self, inst: &Inst, dst: Slot, from: Reg) {
        if inst.ty == Type::I32 && inst.ext == Ext::Sign {
            let to = self.pin(dst).unwrap_or(from);
            self.asm.movsx(Width::Q, Width::D, to, from);
            self.give(dst, to);
        } else {
            self.give(dst, from);
        }
    }

    pub(super) fn inst(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        if inst.dst.is_some() && inst.dst == self.carry.map(|(slot, _)| slot) {
            self.carry = None;
        }
        if self.x87.is_some() {
            let done = match inst.op {
                Op::Call => self.x87(inst, step),
                Op::Mov => self.copy_x87_status(inst),
                _ => None,
            };
            if done.is_some() {
                return done;
            }
        }
        let on_vectors = self.is_on_vectors(inst);
        if !on_vectors && !self.held.is_empty() && !vector::leaves_alone(inst) {
            self.release_held();
        }
        let done = match on_vectors {
            true => self.on_vectors(inst, step),
            false => self.operation(inst, step),
        };
        self.has_read(inst);
        if inst.op != Op::FpUnbox
            && let Some(dst) = inst.dst
        {
            self.unpacked.forget(dst);
        }
        done
    }

    fn operation(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let family = inst.op.family();
        if family == Family::Control(Control::Insn) {
            return Some(());
        }
        // Moves keep the host's flags.
        let keeps_flags = match family {
            Family::Move(Move::Mov) => inst.ty.is_int(),
            Family::Flags(_) => true,
            _ => false,
        };
        if !keeps_flags {
            self.host_flags = None;
        }
        if let Some(dst) = inst.dst
            && !self.has_one_word(dst)
        {
            return self.two_words(inst, dst, step);
        }
        // What cannot fall back is native.
        if step.first != 0 && !is_native(inst) {
            return self.step(step);
        }
        if inst.args.into_iter().any(|arg| self.is_vector(arg))
            || inst.dst.is_some_and(|dst| self.vector(dst).is_some())
        {
            self.enter_float();
        }
        match family {
            Family::Access(op) => self.access(op, inst, step),
            Family::Control(Control::Fence) => {
                self.fence(inst);
                Some(())
            }
            Family::Move(Move::Mov) if float::is_native(inst) => self.float(inst, step),
            Family::Move(Move::Mov) if self.mov_vector(inst) => Some(()),
            Family::Move(Move::Mov) => self.mov(inst, inst.dst?),
            Family::FpArith(_)
            | Family::FpExtremum(_)
            | Family::FpSign(_)
            | Family::FpCompare(_)
            | Family::FpConvert(_)
            | Family::FpOther(_) => self.float(inst, step),
            Family::Control(op) => self.in_memory(inst, |this| this.leaves(op, inst, step)),
            Family::Reserve(op) => self.in_memory(inst, |this| this.reserve(op, inst, step)),
            Family::Modify(op) => self.in_memory(inst, |this| this.modify(op, inst, step)),
            Family::Move(Move::PcRel)
            | Family::Choose(_)
            | Family::Unary(_)
            | Family::Binary(_)
            | Family::Ternary(_)
            | Family::Field(_) => self.in_memory(inst, |this| this.integer(inst)),
            Family::Flags(op) => self.flags(op, inst),
            Family::Wide(_)
            | Family::VecBits(_)
            | Family::VecLanes(_)
            | Family::VecShift(_)
            | Family::VecMove(_)
            | Family::VecFp(_)
            | Family::VecRow(_) => None,
        }
    }

    /// An operation whose result goes to a slot of two words.
    fn two_words(&mut self, inst: &Inst, dst: Slot, step: &Step) -> Option<()> {
        if inst.args.into_iter().any(|arg| self.is_vector(arg)) {
            self.enter_float();
            self.host_flags = None;
        }
        let low = self.home(dst);
        let high = Mem {
            disp: low.disp + 8,
            ..low
        };
        match inst.op {
            Op::Mov if integer::moves(inst) => {
                let ty = match inst.ty {
                    Type::F32 => Type::I32,
                    Type::F64 => Type::I64,
                    ty => ty,
                };
                let width = flags::any_width(ty)?;
                if inst.ext == Ext::Keep {
                    let from = self.in_reg(inst.args[0], Reg::Rax);
                    self.asm.store(width, low, from);
                    return Some(());
                }
                self.load(inst.args[0], Reg::Rax);
                if inst.ext == Ext::Sign {
                    if width != Width::Q {
                        self.asm.movsx(Width::Q, width, Reg::Rax, Reg::Rax);
                    }
                    self.asm.store(Width::Q, low, Reg::Rax);
                    self.asm.shift_imm(Shift::Sar, Width::Q, Reg::Rax, 63);
                    self.host_flags = None;
                    self.asm.store(Width::Q, high, Reg::Rax);
                    return Some(());
                }
                if width != Width::Q {
                    self.asm.movzx(width, Reg::Rax, Reg::Rax);
                }
                self.asm.store(Width::Q, low, Reg::Rax);
                self.asm.store_imm(Width::Q, high, 0);
                Some(())
            }
            Op::Load if is_native(inst) && inst.ext == Ext::Zero => {
                self.access(Access::Load, inst, step)?;
                self.asm.store_imm(Width::Q, high, 0);
                Some(())
            }
            _ => self.step(step),
        }
    }

    /// Translates an operation that knows nothing of vector registers.
    fn in_memory(
        &mut self,
        inst: &Inst,
        translate: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.spill(&inst.args);
        self.in_memory = true;
        let done = translate(self);
        self.in_memory = false;
        self.reload(inst.dst);
        done
    }

    fn leaves(&mut self, op: Control, inst: &Inst, step: &Step) -> Option<()> {
        match op {
            Control::ExitIf => self.exit_if(inst, step),
            Control::RaiseIf => self.raise_if(inst, step),
            Control::Insn | Control::Fence | Control::Call => None,
        }
    }

    /// Runs the operation as a step.
    pub(crate) fn step(&mut self, step: &Step) -> Option<()> {
        if step.first == 0 {
            return None;
        }
        self.release_held();
        if step.first == self.of.terminator.first {
            // The block's end runs it.
            return Some(());
        }
        self.asm.mov_imm(Reg::Rax, step.first);
        self.asm.call_to(self.stubs.step);
        self.live = Live {
            float: false,
            x87: Unit::Empty,
        };
        self.host_flags = None;
        self.unpacked = Unpacked::default();
        Some(())
    }

    /// Compares for a condition; gives the host's.
    pub(crate) fn compare(&mut self, cond: Cond, width: Width, a: Operand, b: Operand) -> Cc {
        let cc = condition(cond);
        if let (Operand::Imm(_) | Operand::None, Operand::Slot(_)) = (a, b) {
            self.compare_in_order(width, b, a);
            return mirrored(cc);
        }
        self.compare_in_order(width, a, b);
        cc
    }

    fn compare_in_order(&mut self, width: Width, a: Operand, b: Operand) {
        match (a, flags::short(width, b)) {
            (Operand::Slot(slot), Some(value)) => match self.pin(slot) {
                Some(reg) if value == 0 => self.asm.test(width, reg, reg),
                _ => {
                    let place = self.place(slot);
                    self.asm.alu_imm(Alu::Cmp, width, place, value);
                }
            },
            _ => {
                let left = self.in_reg(a, Reg::Rax);
                match b {
                    Operand::Slot(slot) => {
                        let place = self.place(slot);
                        self.asm.alu(Alu::Cmp, width, left, place);
                    }
                    _ => {
                        let right = self.in_reg(b, Reg::Rcx);
                        self.asm.alu(Alu::Cmp, width, left, right);
                    }
                }
            }
        }
    }

    /// A place out of the way that leaves for a micro-operation.
    pub(crate) fn leave_cold(&mut self, op: u64) -> Label {
        let from = self.asm.label();
        self.cold.push(Cold::Leave { from, op });
        from
    }

    /// Leaves for a micro-operation.
    pub(crate) fn leave(&mut self, op: u64) {
        self.asm.mov_imm(Reg::Rax, op);
        self.asm.jmp_to(self.stubs.end);
    }
}

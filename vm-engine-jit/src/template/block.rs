//! One block: where values are, and which operation goes where.

use vm_engine::tier::{FrameOffsets, Step, Translation};
use vm_ir::family::{Choose, Control, Field, Move};
use vm_ir::{Cond, Ext, Family, Inst, Op, Operand, Slot, Terminator, Type};

use super::float::{self, Unpacked};
use super::stubs::{Stubs, if_misaligned};
use super::{Pins, RETIRED, Scratch, Template};
use super::{atomic, integer, memory};
use crate::asm::{Alu, Assembler, Cc, DISPLACEMENT_BYTES, Label, Mem, Reg, Rm, Width, Xmm};

/// Code out of the way, emitted behind the block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cold {
    /// Leaves for a micro-operation.
    Leave { from: Label, op: u64 },
    /// Jumps within the page, to an offset from its base, where the host's jump does not go there yet.
    Leads {
        from: Label,
        offset: u16,
        jump: Jump,
    },
    /// Does an access that its recent translation does not serve, and goes back to `hit`.
    Access {
        from: Label,
        access: u64,
        site: u32,
        /// What is stored.
        value: Option<Operand>,
        hit: Label,
        /// What unpacked values must be in their registers there.
        unpacked: Unpacked,
    },
    /// Looks in the TLB and goes back to `hit`; without translation there, runs a step and goes on.
    Refill {
        from: Label,
        refill: u64,
        line: u8,
        /// Whether misaligned addresses are to have no translation.
        must_align: bool,
        hit: Label,
        op: u64,
        back: Label,
        /// Whether floating point must be live at both.
        live: bool,
        /// What unpacked values must be in their registers at `back`.
        unpacked: Unpacked,
    },
    /// Runs a step and goes on.
    Step {
        from: Label,
        op: u64,
        back: Label,
        /// Whether floating point must be live there.
        live: bool,
        /// What must be unpacked there.
        unpacked: Unpacked,
    },
    /// Unpacks the canonical NaN.
    NotBoxed {
        from: Label,
        temp: Slot,
        to: Xmm,
        back: Label,
    },
    /// Makes floating point live.
    Enter { from: Label, back: Label },
}

/// The host's jump of a jump within the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Jump {
    /// Goes out of the way until the displacement so many bytes behind the block's start is replaced.
    At(u32),
    /// Goes where it should, and out of the way only when the run loop must get a turn.
    Linked,
}

/// A block being translated.
pub(crate) struct Emitter<'a> {
    /// Where other host code enters the block.
    pub(crate) start: Label,
    pub(crate) asm: &'a mut Assembler,
    pub(crate) pins: &'a Pins,
    pub(crate) stubs: &'a Stubs,
    pub(crate) of: &'a Translation<'a>,
    pub(crate) cold: &'a mut Vec<Cold>,
    /// Whether accesses to memory are counted.
    pub(crate) counts_accesses: bool,
    /// Whether MXCSR and the pinned vector registers are known to be the guest's.
    pub(crate) live: bool,
    /// Whether the operation at hand finds its operands in memory, and leaves its result there.
    pub(crate) in_memory: bool,
    /// Temporaries that vector registers hold too.
    pub(crate) unpacked: Unpacked,
}

/// Integer widths that native code works in.
pub(crate) fn width(ty: Type) -> Option<Width> {
    match ty {
        Type::I32 => Some(Width::D),
        Type::I64 => Some(Width::Q),
        _ => None,
    }
}

/// What stands behind the call of a jump within the page: where it leads, in the low 12 bits, and the host's jump.
#[derive(Clone, Copy)]
pub(crate) struct Site([u8; Self::BYTES]);

impl Site {
    pub(crate) const BYTES: usize = 3;
    /// There is no jump to be linked, or it is too far away.
    const NO_JUMP: u32 = 0xfff;

    fn of(offset: u16, jump: Jump) -> Self {
        let jump = match jump {
            Jump::At(at) => (at / DISPLACEMENT_BYTES).min(Self::NO_JUMP),
            Jump::Linked => Self::NO_JUMP,
        };
        let [a, b, c, _] = (u32::from(offset & 0xfff) | jump << 12).to_le_bytes();
        Self([a, b, c])
    }

    /// The one that stands in these bytes.
    pub(crate) fn read(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Bytes from the block's start to the displacement of the host's jump.
    pub(crate) fn jump(self) -> Option<u32> {
        let [a, b, c] = self.0;
        let jump = u32::from_le_bytes([a, b, c, 0]) >> 12;
        (jump != Self::NO_JUMP).then_some(jump * DISPLACEMENT_BYTES)
    }
}

/// Whether the block's end leaves for its micro-operations.
pub(crate) fn leaves_for(terminator: &Terminator) -> bool {
    match *terminator {
        Terminator::Branch { ty, .. } => width(ty).is_none(),
        Terminator::Jump { .. } | Terminator::Indirect { .. } => false,
        Terminator::Exception { .. } | Terminator::Exit { .. } | Terminator::Dispatch => true,
    }
}

/// Whether the operation is translated, not run as a step.
pub(crate) fn is_native(inst: &Inst) -> bool {
    let has_width = width(inst.ty).is_some();
    let integer = has_width && matches!(inst.ext, Ext::Zero | Ext::Sign);
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
        Family::Field(Field::Extract) => integer && inst.ty == Type::I64,
        Family::FpArith(_)
        | Family::FpExtremum(_)
        | Family::FpSign(_)
        | Family::FpCompare(_)
        | Family::FpConvert(_)
        | Family::FpOther(_) => float::is_native(inst),
        Family::Field(Field::Deposit)
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
    Scratch { asm, cold }: &mut Scratch,
    of: &Translation<'_>,
    template: &Template,
) -> Option<usize> {
    asm.clear();
    cold.clear();
    let start = asm.here();
    let mut emitter = Emitter {
        start,
        asm,
        pins: &template.pins,
        stubs: &template.stubs,
        counts_accesses: template.counts_accesses,
        of,
        cold,
        live: false,
        in_memory: false,
        unpacked: Unpacked::default(),
    };
    let insns = i32::try_from(of.block.guest_insns).ok()?;
    emitter.asm.alu_imm(Alu::Add, Width::Q, RETIRED, insns);
    for (inst, step) in of.block.insts.iter().zip(of.steps) {
        emitter.inst(inst, step)?;
    }
    match of.block.terminator {
        Terminator::Branch { a, b, .. } => emitter.spill(&[a, b]),
        Terminator::Indirect { target, .. } => emitter.spill(&[target]),
        _ => {}
    }
    emitter.terminator()?;
    let cold = emitter.asm.len();
    emitter.finish();
    Some(cold)
}

impl Emitter<'_> {
    /// A word of the frame.
    pub(crate) fn frame(&self, offset: i32) -> Mem {
        self.pins.word(offset)
    }

    /// The host register of a slot, if it has one.
    pub(crate) fn pin(&self, slot: Slot) -> Option<Reg> {
        if slot.is_temp() {
            None
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

    /// Type of a slot.
    fn type_of(&self, slot: Slot) -> Type {
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
            self.put(dst, to);
        } else {
            self.put(dst, from);
        }
    }

    fn inst(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let done = self.operation(inst, step);
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
        if let Some(dst) = inst.dst
            && self.type_of(dst).slot_bytes() != 8
        {
            return self.step(step);
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
            Family::Wide(_)
            | Family::Flags(_)
            | Family::VecBits(_)
            | Family::VecLanes(_)
            | Family::VecShift(_)
            | Family::VecMove(_)
            | Family::VecFp(_)
            | Family::VecRow(_) => None,
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
        self.asm.mov_imm(Reg::Rax, step.first);
        self.asm.call_to(self.stubs.step);
        self.live = false;
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
        let constant = match b {
            Operand::None => Some(0),
            Operand::Imm(value) if width == Width::D => Some(value as i32),
            Operand::Imm(value) => i32::try_from(value).ok(),
            Operand::Slot(_) => None,
        };
        match (a, constant) {
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

    fn finish(&mut self) {
        let start = self.asm.len();
        for at in 0..self.cold.len() {
            match self.cold[at] {
                Cold::Leave { from, op } => {
                    self.asm.bind(from);
                    self.leave(op);
                }
                Cold::Leads { .. } => {}
                Cold::Access {
                    from,
                    access,
                    site,
                    value,
                    hit,
                    unpacked,
                } => {
                    self.asm.bind(from);
                    if let Some(value) = value {
                        let value = self.in_reg(value, Reg::Rcx);
                        self.asm.push(value);
                    }
                    self.asm.mov_imm(Reg::Rcx, site.into());
                    self.asm.call_to(access);
                    self.unpack_again(unpacked);
                    self.asm.jmp(hit);
                }
                Cold::Refill {
                    from,
                    refill,
                    line,
                    must_align,
                    hit,
                    op,
                    back,
                    live,
                    unpacked,
                } => {
                    self.asm.bind(from);
                    let unknown = self.asm.label();
                    if must_align {
                        if_misaligned(self.asm, unknown);
                    }
                    self.asm.mov_imm(Reg::Rcx, line.into());
                    self.asm.call_to(refill);
                    self.asm.jcc(Cc::E, hit);
                    self.asm.bind(unknown);
                    self.cold_step(op, live);
                    self.unpack_again(unpacked);
                    self.asm.jmp(back);
                }
                Cold::NotBoxed {
                    from,
                    temp,
                    to,
                    back,
                } => {
                    self.asm.bind(from);
                    self.not_boxed(temp, to);
                    self.asm.jmp(back);
                }
                Cold::Enter { from, back } => {
                    self.asm.bind(from);
                    self.asm.call_to(self.stubs.fp_enter);
                    self.asm.jmp(back);
                }
                Cold::Step {
                    from,
                    op,
                    back,
                    live,
                    unpacked,
                } => {
                    self.asm.bind(from);
                    self.cold_step(op, live);
                    self.unpack_again(unpacked);
                    self.asm.jmp(back);
                }
            }
        }
        for at in 0..self.cold.len() {
            if let Cold::Leads { from, offset, jump } = self.cold[at] {
                self.site(start, from, offset, jump);
            }
        }
    }

    /// A jump within the page that does not go there at once. The call's displacement is aligned, as it is replaced when
    /// the jump is linked; behind it stands the [`Site`]. `start` is where the code out of the way begins.
    fn site(&mut self, start: usize, from: Label, offset: u16, jump: Jump) {
        self.asm.align_unused(start, 1);
        self.asm.bind(from);
        let site = Site::of(offset, jump);
        self.asm.call_to(match (jump, site.jump()) {
            (Jump::Linked, _) => self.stubs.ways.linked,
            (Jump::At(_), Some(_)) => self.stubs.ways.link,
            (Jump::At(_), None) => self.stubs.ways.apart,
        });
        self.asm.data(site.0);
    }

    /// Runs a step out of the way; with floating point live behind it, if that must be.
    fn cold_step(&mut self, op: u64, live: bool) {
        self.asm.mov_imm(Reg::Rax, op);
        self.asm.call_to(self.stubs.step);
        if live {
            self.asm.call_to(self.stubs.fp_enter);
        }
    }

    /// Leaves for a micro-operation.
    pub(crate) fn leave(&mut self, op: u64) {
        self.asm.mov_imm(Reg::Rax, op);
        self.asm.jmp_to(self.stubs.leave);
    }
}

//! Floating point on the host's unit.
//!
//! While host code runs floating point, MXCSR may be the guest's, its flags accruing there; a word of the frame says
//! so. Ways out to Rust put the flags into the guest's state and Rust's word back. NaN results, and whatever else
//! the host does in its own way, run as steps, which find no flag raised that they would not raise themselves.

use vm_engine::tier::{FrameOffsets, Step};
use vm_ir::family::{FpArith, FpCompare, FpExtremum, FpOther, FpSign, Move};
use vm_ir::{Attr, Ext, Family, Inst, MemAttr, MinMaxRule, Op, Operand, Rounding, Slot, Type};

use super::block::Emitter;
use super::cold::Cold;
use super::convert;
use crate::asm::{Alu, Cc, Fused, Label, Mem, Reg, Rm, Scalar, Shift, Width, Xmm};

pub(super) const ACC: Xmm = Xmm(0);
const SECOND: Xmm = Xmm(1);
const THIRD: Xmm = Xmm(2);
/// Registers for singles out of their boxes.
const UNPACKED: [Xmm; 3] = [Xmm(3), Xmm(14), Xmm(15)];

/// What a NaN-boxed single has above it.
const BOX: u64 = 0xffff_ffff << 32;
/// What stands for a single that is not in its box (RISC-V Unpriv 20240411, 21.2).
const CANONICAL: u64 = 0x7fc0_0000;

/// The temporaries that [`UNPACKED`] registers hold. They are in memory as well, for steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unpacked {
    held: [Option<Slot>; UNPACKED.len()],
    next: usize,
}

impl Unpacked {
    fn find(&self, temp: Slot) -> Option<Xmm> {
        let at = self.held.iter().position(|&held| held == Some(temp))?;
        Some(UNPACKED[at])
    }

    /// Whether none is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.iter().all(Option::is_none)
    }

    /// The slot is written.
    pub(crate) fn forget(&mut self, slot: Slot) {
        for held in &mut self.held {
            *held = held.filter(|&held| held != slot);
        }
    }

    /// A register for a temporary, the oldest.
    fn take(&mut self, temp: Slot) -> Xmm {
        self.forget(temp);
        let at = self.next;
        self.next = (at + 1) % UNPACKED.len();
        self.held[at] = Some(temp);
        UNPACKED[at]
    }
}

pub(super) fn is_format(ty: Type) -> bool {
    matches!(ty, Type::F32 | Type::F64)
}

/// The host's instruction for arithmetic.
enum Arith {
    Scalar(Scalar),
    Fused(Fused),
}

fn host_arith(op: FpArith) -> Arith {
    match op {
        FpArith::FpAdd => Arith::Scalar(Scalar::Add),
        FpArith::FpSub => Arith::Scalar(Scalar::Sub),
        FpArith::FpMul => Arith::Scalar(Scalar::Mul),
        FpArith::FpDiv => Arith::Scalar(Scalar::Div),
        FpArith::FpSqrt => Arith::Scalar(Scalar::Sqrt),
        FpArith::FpMulAdd => Arith::Fused(Fused::MulAdd),
        FpArith::FpMulSub => Arith::Fused(Fused::MulSub),
        FpArith::FpNegMulAdd => Arith::Fused(Fused::NegMulSub),
        FpArith::FpNegMulSub => Arith::Fused(Fused::NegMulAdd),
    }
}

/// Whether [`Emitter::float`] knows the operation.
pub(crate) fn is_native(inst: &Inst) -> bool {
    let format = is_format(inst.ty) && inst.ext != Ext::Sign;
    let known = match inst.op.family() {
        Family::Move(Move::Mov) => {
            return inst.ext == Ext::Ones && matches!(inst.ty, Type::I32 | Type::F32);
        }
        Family::FpArith(op) => {
            let fused = matches!(host_arith(op), Arith::Fused(_));
            let away = matches!(inst.attr, Attr::Fp(Rounding::NearestAway));
            format && !away && (!fused || std::arch::is_x86_feature_detected!("fma"))
        }
        Family::FpExtremum(_) => format && inst.attr != Attr::MinMax(MinMaxRule::Second),
        Family::FpSign(_) => format,
        Family::FpCompare(_) => is_format(inst.ty) && inst.ext == Ext::Zero,
        Family::FpConvert(op) => convert::is_native(op, inst),
        Family::FpOther(FpOther::FpUnbox) => inst.ty == Type::F32 && inst.ext == Ext::Zero,
        Family::FpOther(FpOther::FpCmpFlags | FpOther::FpClass | FpOther::FpRound)
        | Family::Control(_)
        | Family::Access(_)
        | Family::Reserve(_)
        | Family::Modify(_)
        | Family::Move(Move::PcRel)
        | Family::Choose(_)
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
    };
    let constant = || inst.args.iter().any(|arg| arg.imm().is_some());
    known && inst.dst.is_some() && inst.ext != Ext::Keep && (inst.op == Op::IntToFp || !constant())
}

/// Whether the operation may run as a step all the same.
pub(crate) fn has_step(inst: &Inst) -> bool {
    let bits = matches!(
        inst.op.family(),
        Family::Move(_) | Family::FpSign(_) | Family::FpOther(FpOther::FpUnbox)
    );
    is_native(inst) && !bits
}

impl Emitter<'_> {
    pub(crate) fn float(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Some(dst) = inst.dst else {
            return Some(());
        };
        match inst.op.family() {
            Family::Move(_) => {
                self.mov_boxed(inst, dst);
                Some(())
            }
            Family::FpSign(op) => {
                self.sign(op, inst, dst);
                Some(())
            }
            Family::FpOther(op) => match op {
                FpOther::FpUnbox => {
                    self.unbox(inst, dst);
                    Some(())
                }
                FpOther::FpCmpFlags | FpOther::FpClass | FpOther::FpRound => None,
            },
            Family::FpArith(op) => {
                self.on_host(step, |this, failed| this.arithmetic(op, inst, dst, failed))
            }
            Family::FpExtremum(op) => {
                self.on_host(step, |this, failed| this.extremum_fp(op, inst, dst, failed))
            }
            Family::FpCompare(op) => {
                self.on_host(step, |this, failed| this.compare_fp(op, inst, dst, failed))
            }
            Family::FpConvert(op) => {
                self.on_host(step, |this, failed| this.convert(op, inst, dst, failed))
            }
            Family::Control(_)
            | Family::Access(_)
            | Family::Reserve(_)
            | Family::Modify(_)
            | Family::Choose(_)
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
            | Family::VecRow(_) => None,
        }
    }

    /// An operation on the host's unit, which goes to the label where only a step will do.
    fn on_host(&mut self, step: &Step, operation: impl FnOnce(&mut Self, Label)) -> Option<()> {
        if step.first == 0 {
            return None;
        }
        if !self.of.host_float {
            return self.step(step);
        }
        let failed = self.asm.label();
        self.enter_float();
        operation(self, failed);
        let back = self.asm.here();
        self.step_away(failed, step, back);
        Some(())
    }

    fn arithmetic(&mut self, op: FpArith, inst: &Inst, dst: Slot, failed: Label) {
        let double = inst.ty == Type::F64;
        let [x, y, z, _] = inst.args;
        if let Attr::Fp(rounding) = inst.attr {
            self.rounds(rounding, failed);
        }
        match host_arith(op) {
            Arith::Fused(op) => {
                self.load_fp(double, ACC, z);
                let first = match self.fp_source(double, x, SECOND) {
                    Rm::Reg(reg) => Xmm(reg),
                    Rm::Mem(mem) => {
                        self.asm.load_scalar(double, SECOND, mem);
                        SECOND
                    }
                };
                let second = self.fp_source(double, y, THIRD);
                self.asm.fused(op, double, ACC, first, second);
            }
            Arith::Scalar(op) => {
                self.load_fp(double, ACC, x);
                let source = match y {
                    Operand::None => ACC.into(),
                    y => self.fp_source(double, y, SECOND),
                };
                self.asm.scalar(op, double, ACC, source);
            }
        }
        self.no_nan(double, ACC, failed);
        self.put_fp(inst, dst);
    }

    fn extremum_fp(&mut self, op: FpExtremum, inst: &Inst, dst: Slot, failed: Label) {
        let double = inst.ty == Type::F64;
        let [x, y, ..] = inst.args;
        self.load_fp(double, ACC, x);
        self.load_fp(double, SECOND, y);
        self.asm.ucomis(double, ACC, SECOND);
        self.asm.jcc(Cc::P, failed);
        // The host gives the second of equal operands; of zeros of both signs, one is wanted.
        let host = match op {
            FpExtremum::FpMin => Scalar::Min,
            FpExtremum::FpMax => Scalar::Max,
        };
        self.asm.movaps(THIRD, ACC);
        self.asm.scalar(host, double, ACC, SECOND);
        self.asm.scalar(host, double, SECOND, THIRD);
        match op {
            FpExtremum::FpMin => self.asm.orps(ACC, SECOND),
            FpExtremum::FpMax => self.asm.andps(ACC, SECOND),
        }
        self.put_fp(inst, dst);
    }

    fn compare_fp(&mut self, op: FpCompare, inst: &Inst, dst: Slot, failed: Label) {
        let double = inst.ty == Type::F64;
        let [mut x, mut y, ..] = inst.args;
        let cc = match op {
            FpCompare::FpEq => Cc::E,
            FpCompare::FpLt | FpCompare::FpLtQuiet => Cc::A,
            FpCompare::FpLe | FpCompare::FpLeQuiet => Cc::Ae,
        };
        if cc != Cc::E {
            (x, y) = (y, x);
        }
        self.load_fp(double, ACC, x);
        let second = self.fp_source(double, y, SECOND);
        self.asm.ucomis(double, ACC, second);
        self.asm.jcc(Cc::P, failed);
        self.asm.setcc(cc, Reg::Rax);
        self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
        self.put(dst, Reg::Rax);
    }

    /// Goes to `failed` unless MXCSR rounds so.
    pub(super) fn rounds(&mut self, rounding: Rounding, failed: Label) {
        let live = self.frame(FrameOffsets::FP_LIVE);
        let note = |rounding: Rounding| rounding as i32 + 1;
        if rounding == Rounding::Dynamic {
            let last = note(Rounding::Up);
            self.asm.alu_imm(Alu::Cmp, Width::D, live, last);
            self.asm.jcc(Cc::A, failed);
        } else {
            self.asm.alu_imm(Alu::Cmp, Width::D, live, note(rounding));
            self.asm.jcc(Cc::Ne, failed);
        }
    }

    /// Makes floating point live, where that is not known.
    pub(crate) fn enter_float(&mut self) {
        if self.live.float {
            return;
        }
        let live = self.frame(FrameOffsets::FP_LIVE);
        let from = self.asm.label();
        self.asm.alu_imm(Alu::Cmp, Width::D, live, 0);
        self.asm.jcc(Cc::E, from);
        let back = self.asm.here();
        self.cold.push(Cold::Enter { from, back });
        self.live.float = true;
    }

    /// The vector register of a slot, if it has one and the operation is to know of it.
    pub(crate) fn vector(&self, slot: Slot) -> Option<Xmm> {
        if self.in_memory {
            None
        } else if slot.is_temp() {
            self.held.find(slot)
        } else {
            self.pins.vector_of_state(slot.index())
        }
    }

    pub(crate) fn is_vector(&self, operand: Operand) -> bool {
        operand
            .slot()
            .is_some_and(|slot| self.vector(slot).is_some())
    }

    /// Puts operands that are in vector registers to memory also.
    pub(crate) fn spill(&mut self, operands: &[Operand]) {
        for slot in operands.iter().filter_map(|operand| operand.slot()) {
            if let Some(vector) = self.vector(slot) {
                let home = self.home(slot);
                if self.type_of(slot) == Type::V128 {
                    if !slot.is_temp() {
                        self.enter_float();
                    }
                    self.asm.vstore(home, vector);
                    continue;
                }
                self.enter_float();
                self.asm.store_scalar(true, home, vector);
            }
        }
    }

    /// Takes a result from memory to its vector register.
    pub(crate) fn reload(&mut self, dst: Option<Slot>) {
        if let Some(slot) = dst
            && let Some(vector) = self.vector(slot)
        {
            let home = self.home(slot);
            match self.type_of(slot) {
                Type::V128 => self.asm.vmov(vector, home),
                _ => self.asm.load_scalar(true, vector, home),
            }
        }
    }

    /// Loads to a vector register from a host address, if the operation is that simple.
    pub(crate) fn load_vector(&mut self, inst: &Inst, mem: MemAttr, from: Mem) -> bool {
        let Some(vector) = inst.dst.and_then(|dst| self.vector(dst)) else {
            return false;
        };
        match (mem.size_log2, inst.ext, inst.ty.bits()) {
            (3, _, 64) => self.asm.load_scalar(true, vector, from),
            (2, Ext::Ones, 32) => {
                self.asm.load_scalar(false, vector, from);
                self.fill_above(vector);
            }
            _ => return false,
        }
        true
    }

    /// Stores from a vector register, if the value is in one.
    pub(crate) fn store_vector(&mut self, inst: &Inst, mem: MemAttr, to: Mem) -> bool {
        let value = inst.args[3].slot().and_then(|slot| self.vector(slot));
        match (value, mem.size_log2) {
            (Some(vector), 2 | 3) => {
                self.asm.store_scalar(mem.size_log2 == 3, to, vector);
                true
            }
            _ => false,
        }
    }

    /// Ones above a single.
    fn fill_above(&mut self, vector: Xmm) {
        self.asm.pcmpeqd(SECOND, SECOND);
        self.asm.unpcklps(vector, SECOND);
    }

    pub(super) fn no_nan(&mut self, double: bool, value: Xmm, failed: Label) {
        self.asm.ucomis(double, value, value);
        self.asm.jcc(Cc::P, failed);
    }

    /// Copies an operand to a vector register, zeros above it.
    pub(super) fn load_fp(&mut self, double: bool, to: Xmm, operand: Operand) {
        match self.fp_source(double, operand, to) {
            Rm::Mem(mem) => self.asm.load_scalar(double, to, mem),
            Rm::Reg(reg) if reg == to.0 => {}
            Rm::Reg(reg) => self.asm.movaps(to, Xmm(reg)),
        }
    }

    /// An operand where it is, or in `scratch`.
    fn fp_source(&mut self, double: bool, operand: Operand, scratch: Xmm) -> Rm {
        let width = if double { Width::Q } else { Width::D };
        if let Operand::Slot(slot) = operand
            && let Some(vector) = self.vector(slot)
        {
            return vector.into();
        }
        if let Operand::Slot(slot) = operand
            && let Some(vector) = self.unpacked.find(slot)
            && !double
        {
            return vector.into();
        }
        match operand {
            Operand::Slot(slot) if self.pin(slot).is_none() => self.home(slot).into(),
            operand => {
                let reg = self.in_reg(operand, Reg::Rax);
                self.asm.mov_to_xmm(width, scratch, reg);
                scratch.into()
            }
        }
    }

    /// Puts the result in [`ACC`] to its slot.
    pub(super) fn put_fp(&mut self, inst: &Inst, dst: Slot) {
        let double = inst.ty == Type::F64;
        let boxed = inst.ext == Ext::Ones;
        if !double && boxed {
            self.fill_above(ACC);
        }
        if let Some(vector) = self.vector(dst)
            && (double || boxed)
        {
            return self.asm.movaps(vector, ACC);
        }
        if self.pin(dst).is_none() && (double || boxed) {
            let home = self.home(dst);
            return self.asm.store_scalar(true, home, ACC);
        }
        let whole = double || boxed;
        let width = if whole { Width::Q } else { Width::D };
        self.asm.mov_from_xmm(width, Reg::Rax, ACC);
        self.put(dst, Reg::Rax);
    }

    fn mov_boxed(&mut self, inst: &Inst, dst: Slot) {
        if let Operand::Slot(_) = inst.args[0] {
            self.load_fp(false, ACC, inst.args[0]);
            self.put_fp(inst, dst);
        } else {
            let low = inst.args[0].imm().unwrap_or(0) as u32;
            self.asm.mov_imm(Reg::Rax, BOX | u64::from(low));
            self.put(dst, Reg::Rax);
        }
    }

    /// Copies a whole double between vector registers and memory, if that is what the operation does.
    pub(crate) fn mov_vector(&mut self, inst: &Inst) -> bool {
        let (Some(dst), Operand::Slot(src)) = (inst.dst, inst.args[0]) else {
            return false;
        };
        if inst.ty.bits() != 64 || self.pin(dst).is_some() || self.pin(src).is_some() {
            return false;
        }
        match (self.vector(dst), self.vector(src)) {
            (Some(to), Some(from)) => self.asm.movaps(to, from),
            (Some(to), None) => {
                let from = self.home(src);
                self.asm.load_scalar(true, to, from);
            }
            (None, Some(from)) => {
                let to = self.home(dst);
                self.asm.store_scalar(true, to, from);
            }
            (None, None) => return false,
        }
        true
    }

    fn unbox(&mut self, inst: &Inst, dst: Slot) {
        let x = inst.args[0];
        let to = if dst.is_temp() {
            self.unpacked.take(dst)
        } else {
            ACC
        };
        // Halves are read as they may have been written.
        let above = match self.fp_source(true, x, to) {
            Rm::Mem(home) => {
                self.asm.mov(Width::D, Reg::Rax, home);
                self.asm.load_scalar(false, to, home);
                let disp = home.disp + 4;
                Rm::Mem(Mem { disp, ..home })
            }
            Rm::Reg(from) => {
                self.asm.mov_from_xmm(Width::Q, Reg::Rcx, Xmm(from));
                if from != to.0 {
                    self.asm.movaps(to, Xmm(from));
                }
                self.asm.mov(Width::D, Reg::Rax, Reg::Rcx);
                self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, 32);
                Reg::Rcx.into()
            }
        };
        self.asm.alu_imm(Alu::Cmp, Width::D, above, -1);
        // Moves keep the flags.
        self.put(dst, Reg::Rax);
        let from = self.asm.label();
        self.asm.jcc(Cc::Ne, from);
        let back = self.asm.here();
        self.cold.push(Cold::NotBoxed {
            from,
            temp: dst,
            to,
            back,
        });
    }

    /// The canonical NaN to a temporary and its register.
    pub(crate) fn not_boxed(&mut self, temp: Slot, to: Xmm) {
        self.asm.mov_imm(Reg::Rax, CANONICAL);
        self.asm.mov_to_xmm(Width::D, to, Reg::Rax);
        self.put(temp, Reg::Rax);
    }

    /// Behind a step, which has changed every vector register.
    pub(crate) fn unpack_again(&mut self, unpacked: Unpacked) {
        for (to, temp) in UNPACKED.into_iter().zip(unpacked.held) {
            if let Some(temp) = temp {
                let home = self.home(temp);
                self.asm.load_scalar(false, to, home);
            }
        }
    }

    fn sign(&mut self, op: FpSign, inst: &Inst, dst: Slot) {
        let [x, y, ..] = inst.args;
        let double = inst.ty == Type::F64;
        let (width, top) = if double {
            (Width::Q, 63)
        } else {
            (Width::D, 31)
        };
        self.load_fp(double, ACC, x);
        // The mask of the sign.
        self.asm.pcmpeqd(SECOND, SECOND);
        self.asm.shift_lanes_left(width, SECOND, top);
        match (op, x == y) {
            (FpSign::FpSignNot, true) => self.asm.xorps(ACC, SECOND),
            (FpSign::FpSignXor, true) => {
                self.asm.andnps(SECOND, ACC);
                self.asm.movaps(ACC, SECOND);
            }
            (op, _) => {
                self.load_fp(double, THIRD, y);
                if op == FpSign::FpSignNot {
                    self.asm.xorps(THIRD, SECOND);
                }
                self.asm.andps(THIRD, SECOND);
                if op == FpSign::FpSignXor {
                    self.asm.xorps(ACC, THIRD);
                } else {
                    self.asm.andnps(SECOND, ACC);
                    self.asm.orps(THIRD, SECOND);
                    self.asm.movaps(ACC, THIRD);
                }
            }
        }
        self.put_fp(inst, dst);
    }
}

//! Floating point on the host's unit.
//!
//! While host code runs floating point, MXCSR may be the guest's, its flags accruing there; a word of the frame says
//! so. Ways out to Rust put the flags into the guest's state and Rust's word back. NaN results, and whatever else
//! the host does in its own way, run as steps, which find no flag raised that they would not raise themselves.

use vm_engine::tier::{FrameOffsets, Step};
use vm_ir::{Attr, Ext, FpToIntRule, Inst, MinMaxRule, Op, Operand, Rounding, Slot, Type};

use super::block::{Cold, Emitter, width};
use crate::asm::{Alu, Cc, Fused, Label, Mem, Reg, Rm, Scalar, Shift, Width, Xmm};

const ACC: Xmm = Xmm(0);
const SECOND: Xmm = Xmm(1);
const THIRD: Xmm = Xmm(2);

/// What a NaN-boxed single has above it.
const BOX: u64 = 0xffff_ffff << 32;

/// Where an operation that needs the guest's MXCSR was found without.
#[derive(Clone, Copy)]
pub(crate) struct Border {
    from: Label,
    back: Label,
    /// What must be loaded; `None`: whatever the guest's dynamic rounding is.
    rounding: Option<Rounding>,
}

fn is_format(ty: Type) -> bool {
    matches!(ty, Type::F32 | Type::F64)
}

fn scalar(op: Op) -> Option<Scalar> {
    Some(match op {
        Op::FpAdd => Scalar::Add,
        Op::FpSub => Scalar::Sub,
        Op::FpMul => Scalar::Mul,
        Op::FpDiv => Scalar::Div,
        Op::FpSqrt => Scalar::Sqrt,
        _ => return None,
    })
}

fn fused(op: Op) -> Option<Fused> {
    Some(match op {
        Op::FpMulAdd => Fused::MulAdd,
        Op::FpMulSub => Fused::MulSub,
        Op::FpNegMulAdd => Fused::NegMulSub,
        Op::FpNegMulSub => Fused::NegMulAdd,
        _ => return None,
    })
}

/// Whether [`Emitter::float`] knows the operation.
pub(crate) fn is_native(inst: &Inst) -> bool {
    if inst.op == Op::Mov {
        return inst.ext == Ext::Ones && matches!(inst.ty, Type::I32 | Type::F32);
    }
    let constant = inst.args.iter().any(|arg| arg.imm().is_some());
    if constant && inst.op != Op::IntToFp || inst.dst.is_none() || inst.ext == Ext::Keep {
        return false;
    }
    let format = is_format(inst.ty) && inst.ext != Ext::Sign;
    match (inst.op, inst.attr) {
        (Op::FpUnbox, _) => inst.ty == Type::F32 && inst.ext == Ext::Zero,
        (Op::FpSign | Op::FpSignNot | Op::FpSignXor, _) => format,
        (Op::FpEq | Op::FpLt | Op::FpLe | Op::FpLtQuiet | Op::FpLeQuiet, _) => {
            is_format(inst.ty) && inst.ext == Ext::Zero
        }
        (Op::FpMin | Op::FpMax, Attr::MinMax(rule)) => format && rule != MinMaxRule::Second,
        (op, Attr::Fp(rounding)) if rounding != Rounding::NearestAway => {
            let has = scalar(op).is_some()
                || fused(op).is_some() && std::arch::is_x86_feature_detected!("fma");
            format && has
        }
        (op, Attr::Convert { from, rule, .. }) => match op {
            Op::FpToFp => format && is_format(from) && from != inst.ty,
            Op::IntToFp => format && width(from).is_some(),
            Op::FpToInt => {
                let whole = rule != FpToIntRule::Modulo && inst.ext != Ext::Ones;
                is_format(from) && width(inst.ty).is_some() && whole
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether the operation may run as a step all the same.
pub(crate) fn has_step(inst: &Inst) -> bool {
    let bits = matches!(
        inst.op,
        Op::Mov | Op::FpUnbox | Op::FpSign | Op::FpSignNot | Op::FpSignXor
    );
    is_native(inst) && !bits
}

impl Emitter<'_> {
    pub(crate) fn float(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Some(dst) = inst.dst else {
            return Some(());
        };
        match inst.op {
            Op::Mov => self.mov_boxed(inst, dst),
            Op::FpUnbox => self.unbox(inst, dst),
            Op::FpSign | Op::FpSignNot | Op::FpSignXor => self.sign(inst, dst),
            _ if step.first == 0 => return None,
            _ if !self.of.host_float => return self.step(step),
            _ => {
                let (failed, back) = (self.asm.label(), self.asm.label());
                let enter = self.on_host(inst, dst, failed);
                self.asm.bind(back);
                self.cold.push(Cold::Float {
                    enter,
                    failed,
                    op: step.first,
                    back,
                });
            }
        }
        Some(())
    }

    /// An operation on the host's unit, which goes to `failed` where only a step will do.
    fn on_host(&mut self, inst: &Inst, dst: Slot, failed: Label) -> Option<Border> {
        let double = inst.ty == Type::F64;
        let [x, y, z, _] = inst.args;
        match (inst.op, inst.attr) {
            (_, Attr::Fp(rounding)) => {
                let border = self.rounds(rounding);
                if let Some(op) = fused(inst.op) {
                    self.load_fp(double, ACC, z);
                    self.load_fp(double, SECOND, x);
                    self.load_fp(double, THIRD, y);
                    self.asm.fused(op, double, ACC, SECOND, THIRD);
                } else if let Some(op) = scalar(inst.op) {
                    self.load_fp(double, ACC, x);
                    let source = match y {
                        Operand::None => ACC.into(),
                        y => self.fp_source(double, y, SECOND),
                    };
                    self.asm.scalar(op, double, ACC, source);
                }
                self.no_nan(double, ACC, failed);
                self.put_fp(inst, dst);
                Some(border)
            }
            (Op::FpMin | Op::FpMax, _) => {
                self.load_fp(double, ACC, x);
                self.load_fp(double, SECOND, y);
                self.asm.ucomis(double, ACC, SECOND);
                self.asm.jcc(Cc::P, failed);
                // The host gives the second of equal operands; of zeros of both signs, one is wanted.
                let least = inst.op == Op::FpMin;
                let op = if least { Scalar::Min } else { Scalar::Max };
                self.asm.movaps(THIRD, ACC);
                self.asm.scalar(op, double, ACC, SECOND);
                self.asm.scalar(op, double, SECOND, THIRD);
                if least {
                    self.asm.orps(ACC, SECOND);
                } else {
                    self.asm.andps(ACC, SECOND);
                }
                self.put_fp(inst, dst);
                None
            }
            (Op::FpToFp, Attr::Convert { rounding, .. }) => {
                let border = self.rounds_unless(double, rounding);
                self.load_fp(!double, ACC, x);
                self.asm.cvt_precision(!double, ACC, ACC);
                self.no_nan(double, ACC, failed);
                self.put_fp(inst, dst);
                Some(border)
            }
            (
                Op::IntToFp,
                Attr::Convert {
                    from,
                    rounding,
                    signed,
                    ..
                },
            ) => {
                let narrow = from == Type::I32;
                let border = if narrow && double {
                    None
                } else {
                    Some(self.rounds(rounding))
                };
                let mut source = self.in_reg(x, Reg::Rax);
                if !signed && narrow {
                    self.asm.mov(Width::D, Reg::Rax, source);
                    source = Reg::Rax;
                } else if !signed {
                    self.asm.test(Width::Q, source, source);
                    self.asm.jcc(Cc::S, failed);
                }
                let held = if narrow && signed { Width::D } else { Width::Q };
                self.asm.xorps(ACC, ACC);
                self.asm.cvt_from_int(held, double, ACC, source);
                self.put_fp(inst, dst);
                border
            }
            (
                Op::FpToInt,
                Attr::Convert {
                    from,
                    rounding,
                    signed,
                    ..
                },
            ) => Some(self.to_int(inst, dst, from == Type::F64, (rounding, signed), failed)),
            _ => {
                self.compare_fp(inst, dst, double, failed);
                None
            }
        }
    }

    fn compare_fp(&mut self, inst: &Inst, dst: Slot, double: bool, failed: Label) {
        let [mut x, mut y, ..] = inst.args;
        let cc = match inst.op {
            Op::FpEq => Cc::E,
            Op::FpLt | Op::FpLtQuiet => Cc::A,
            _ => Cc::Ae,
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

    fn to_int(
        &mut self,
        inst: &Inst,
        dst: Slot,
        double: bool,
        (rounding, signed): (Rounding, bool),
        failed: Label,
    ) -> Border {
        let border = self.rounds_unless(rounding == Rounding::Zero, rounding);
        let narrow = inst.ty == Type::I32;
        if !signed {
            // Beyond the range the host would raise other flags than the guest; so look at the bits first, of which
            // those of negative numbers and NaNs are above all.
            self.load(inst.args[0], Reg::Rax);
            let limit = match (double, narrow) {
                (true, true) => f64::from(u32::MAX).to_bits(),
                (true, false) => (2_f64.powi(63)).to_bits(),
                (false, true) => u64::from((2_f32.powi(32)).to_bits()),
                (false, false) => u64::from((2_f32.powi(63)).to_bits()),
            };
            self.asm.mov_imm(Reg::Rcx, limit);
            let width = if double { Width::Q } else { Width::D };
            self.asm.alu(Alu::Cmp, width, Reg::Rax, Reg::Rcx);
            self.asm.jcc(Cc::Ae, failed);
        }
        self.load_fp(double, ACC, inst.args[0]);
        let width = if narrow && signed { Width::D } else { Width::Q };
        if rounding == Rounding::Zero {
            self.asm.cvt_to_int_truncated(width, double, Reg::Rax, ACC);
        } else {
            self.asm.cvt_to_int(width, double, Reg::Rax, ACC);
        }
        if signed {
            // The host's answer to what does not fit is the most negative number, the only one that overflows here.
            self.asm.alu_imm(Alu::Cmp, width, Reg::Rax, 1);
            self.asm.jcc(Cc::O, failed);
        }
        self.put_filled(inst, dst, Reg::Rax);
        border
    }

    /// Has the guest's MXCSR loaded, with this rounding.
    fn rounds(&mut self, rounding: Rounding) -> Border {
        let live = self.frame(FrameOffsets::FP_LIVE);
        let from = self.asm.label();
        let rounding = Some(rounding).filter(|&rounding| rounding != Rounding::Dynamic);
        self.asm.alu_imm(Alu::Cmp, Width::D, live, wanted(rounding));
        let missing = if rounding.is_some() { Cc::Ne } else { Cc::E };
        self.asm.jcc(missing, from);
        let back = self.asm.here();
        Border {
            from,
            back,
            rounding,
        }
    }

    /// The same for an operation that does not round that way if it is `exact`.
    fn rounds_unless(&mut self, exact: bool, rounding: Rounding) -> Border {
        self.rounds(if exact { Rounding::Dynamic } else { rounding })
    }

    pub(crate) fn float_cold(
        &mut self,
        enter: Option<Border>,
        failed: Label,
        op: u64,
        done: Label,
    ) {
        if let Some(Border {
            from,
            back,
            rounding,
        }) = enter
        {
            let live = self.frame(FrameOffsets::FP_LIVE);
            self.asm.bind(from);
            self.asm.call_to(self.stubs.fp_enter);
            self.asm.alu_imm(Alu::Cmp, Width::D, live, wanted(rounding));
            let there = if rounding.is_some() { Cc::E } else { Cc::Ne };
            self.asm.jcc(there, back);
        }
        self.asm.bind(failed);
        self.asm.mov_imm(Reg::Rax, op);
        self.asm.call_to(self.stubs.step);
        self.asm.jmp(done);
    }

    fn no_nan(&mut self, double: bool, value: Xmm, failed: Label) {
        self.asm.ucomis(double, value, value);
        self.asm.jcc(Cc::P, failed);
    }

    /// Copies an operand to a vector register, zeros above it.
    fn load_fp(&mut self, double: bool, to: Xmm, operand: Operand) {
        match self.fp_source(double, operand, to) {
            Rm::Mem(mem) => self.asm.load_scalar(double, to, mem),
            Rm::Reg(reg) if reg == to.0 => {}
            Rm::Reg(reg) => self.asm.movaps(to, Xmm(reg)),
        }
    }

    /// An operand where it is, or in `scratch`.
    fn fp_source(&mut self, double: bool, operand: Operand, scratch: Xmm) -> Rm {
        let width = if double { Width::Q } else { Width::D };
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
    fn put_fp(&mut self, inst: &Inst, dst: Slot) {
        let double = inst.ty == Type::F64;
        let boxed = inst.ext == Ext::Ones;
        if !double && boxed {
            self.asm.pcmpeqd(SECOND, SECOND);
            self.asm.unpcklps(ACC, SECOND);
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

    /// Ones above a single in RAX; changes RCX.
    fn put_boxed(&mut self, dst: Slot) {
        self.asm.mov_imm(Reg::Rcx, BOX);
        self.asm.alu(Alu::Or, Width::Q, Reg::Rax, Reg::Rcx);
        self.put(dst, Reg::Rax);
    }

    fn mov_boxed(&mut self, inst: &Inst, dst: Slot) {
        match inst.args[0] {
            Operand::Slot(slot) => {
                let place = self.place(slot);
                self.asm.mov(Width::D, Reg::Rax, place);
                self.put_boxed(dst);
            }
            constant => {
                let low = constant.imm().unwrap_or(0) as u32;
                self.asm.mov_imm(Reg::Rax, BOX | u64::from(low));
                self.put(dst, Reg::Rax);
            }
        }
    }

    fn unbox(&mut self, inst: &Inst, dst: Slot) {
        const CANONICAL: u64 = 0x7fc0_0000;
        let above = match inst.args[0] {
            // Halves are read as they may have been written.
            Operand::Slot(slot) if self.pin(slot).is_none() => {
                let home = self.home(slot);
                self.asm.mov(Width::D, Reg::Rax, home);
                Rm::Mem(Mem {
                    disp: home.disp + 4,
                    ..home
                })
            }
            operand => {
                self.load(operand, Reg::Rax);
                self.asm.mov(Width::Q, Reg::Rcx, Reg::Rax);
                self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, 32);
                Reg::Rcx.into()
            }
        };
        self.asm.alu_imm(Alu::Cmp, Width::D, above, -1);
        self.asm.mov_imm(Reg::Rcx, CANONICAL);
        self.asm.cmov(Cc::Ne, Width::D, Reg::Rax, Reg::Rcx);
        self.put(dst, Reg::Rax);
    }

    fn sign(&mut self, inst: &Inst, dst: Slot) {
        let [x, y, ..] = inst.args;
        let double = inst.ty == Type::F64;
        let (width, top) = if double {
            (Width::Q, 63)
        } else {
            (Width::D, 31)
        };
        self.load(x, Reg::Rax);
        match (inst.op, x == y) {
            (Op::FpSignNot, true) => {
                self.asm.mov_imm(Reg::Rcx, 1 << top);
                self.asm.alu(Alu::Xor, width, Reg::Rax, Reg::Rcx);
            }
            (Op::FpSignXor, true) => self.clear_top(width),
            (op, _) => {
                self.load(y, Reg::Rcx);
                if op == Op::FpSignNot {
                    self.asm.not(width, Reg::Rcx);
                }
                self.asm.shift_imm(Shift::Shr, width, Reg::Rcx, top);
                self.asm.shift_imm(Shift::Shl, width, Reg::Rcx, top);
                if op == Op::FpSignXor {
                    self.asm.alu(Alu::Xor, width, Reg::Rax, Reg::Rcx);
                } else {
                    self.clear_top(width);
                    self.asm.alu(Alu::Or, width, Reg::Rax, Reg::Rcx);
                }
            }
        }
        if !double && inst.ext == Ext::Ones {
            self.put_boxed(dst);
        } else {
            self.put(dst, Reg::Rax);
        }
    }

    fn clear_top(&mut self, width: Width) {
        self.asm.shift_imm(Shift::Shl, width, Reg::Rax, 1);
        self.asm.shift_imm(Shift::Shr, width, Reg::Rax, 1);
    }
}

/// What the frame's note says with this rounding loaded, or zero to tell any from none.
fn wanted(rounding: Option<Rounding>) -> i32 {
    rounding.map_or(0, |rounding| rounding as i32 + 1)
}

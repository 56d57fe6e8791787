//! Conversions between formats and integers on the host's unit; see `float`.

use vm_ir::family::FpConvert;
use vm_ir::{Attr, Ext, FpToIntRule, Inst, Rounding, Slot, Type};

use super::block::{Emitter, width};
use super::float::{ACC, is_format};
use crate::asm::{Alu, Cc, Label, Reg, Width};

/// Whether [`Emitter::convert`] knows the conversion.
pub(super) fn is_native(op: FpConvert, inst: &Inst) -> bool {
    let Attr::Convert {
        from,
        rule,
        rounding,
        ..
    } = inst.attr
    else {
        return false;
    };
    let format = is_format(inst.ty) && inst.ext != Ext::Sign;
    rounding != Rounding::NearestAway
        && match op {
            FpConvert::FpToFp => format && is_format(from) && from != inst.ty,
            FpConvert::IntToFp => format && width(from).is_some(),
            FpConvert::FpToInt => {
                let whole = rule != FpToIntRule::Modulo && inst.ext != Ext::Ones;
                is_format(from) && width(inst.ty).is_some() && whole
            }
        }
}

impl Emitter<'_> {
    pub(super) fn convert(&mut self, op: FpConvert, inst: &Inst, dst: Slot, failed: Label) {
        let Attr::Convert {
            from,
            rounding,
            signed,
            ..
        } = inst.attr
        else {
            return;
        };
        match op {
            FpConvert::FpToFp => {
                let double = inst.ty == Type::F64;
                if !double {
                    self.rounds(rounding, failed);
                }
                self.load_fp(!double, ACC, inst.args[0]);
                self.asm.cvt_precision(!double, ACC, ACC);
                self.no_nan(double, ACC, failed);
                self.put_fp(inst, dst);
            }
            FpConvert::IntToFp => {
                self.convert_from_int(inst, dst, from, (rounding, signed), failed)
            }
            FpConvert::FpToInt => {
                self.convert_to_int(inst, dst, from == Type::F64, (rounding, signed), failed);
            }
        }
    }

    fn convert_from_int(
        &mut self,
        inst: &Inst,
        dst: Slot,
        from: Type,
        (rounding, signed): (Rounding, bool),
        failed: Label,
    ) {
        let double = inst.ty == Type::F64;
        let x = inst.args[0];
        let narrow = from == Type::I32;
        if !(narrow && double) {
            self.rounds(rounding, failed);
        }
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
    }

    fn convert_to_int(
        &mut self,
        inst: &Inst,
        dst: Slot,
        double: bool,
        (rounding, signed): (Rounding, bool),
        failed: Label,
    ) {
        if rounding != Rounding::Zero {
            self.rounds(rounding, failed);
        }
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
    }
}

//! Floating point.

use vm_ir::{Ext, Inst, Op, Operand};

use super::Predecoder;
use crate::frame::ZERO_OFFSET;
use crate::microop::Handler;

impl Predecoder<'_> {
    pub(super) fn floating(&mut self, inst: &Inst, handler: Option<(Handler, i32)>) -> Option<()> {
        let (handler, variant) = handler.filter(|_| self.rules.host_float)?;
        if inst.args.iter().any(|arg| arg.imm().is_some()) {
            return None;
        }
        let d = self.result(inst)?;
        let [a, b, c, _] = inst.args.map(|operand| self.operand(operand));
        let at = self.emit(handler, |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, variant)
        });
        // Special cases run by definition.
        self.made.defined.push(*inst);
        self.made.definitions.push(at);
        Some(())
    }

    /// An operation that the host's own unit does, to the low end of a vector or to a whole slot of one word.
    pub(super) fn native(&mut self, inst: &Inst, handler: Option<Handler>) -> Option<()> {
        let dst = inst.dst?;
        let keeps = inst.ext == Ext::Keep && self.is_wide(dst);
        let fills = inst.ext == Ext::Zero && self.slot_type(dst).slot_bytes() == 8;
        let integer = matches!(inst.op, Op::FpToInt | Op::FpCmpFlags);
        let fits = if integer { fills } else { keeps };
        let constant = inst.args.iter().any(|arg| arg.imm().is_some());
        self.native_at(inst, handler.filter(|_| fits && !constant)?)
    }

    pub(super) fn native_at(&mut self, inst: &Inst, handler: Handler) -> Option<()> {
        let d = self.offset(inst.dst?);
        let [a, b, c, e] = inst.args.map(|operand| match operand {
            Operand::Slot(slot) => self.offset(slot),
            _ => ZERO_OFFSET,
        });
        let words = self.slot_type(inst.dst?).slot_bytes() as i32 / 8;
        let at = self.emit(handler, |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, i32::from(e) | words << 16);
        });
        // Under rules that MXCSR cannot say it runs by its definition.
        self.made.defined.push(*inst);
        self.made.definitions.push(at);
        Some(())
    }
}

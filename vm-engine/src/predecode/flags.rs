//! Flag groups, and what is run together with them as one micro-operation.

use vm_ir::family::{Binary, Flags, Ternary, Unary};
use vm_ir::{
    Attr, Cond, Ext, Family, FlagCond, FlagKind, Inst, Op, Operand, Slot, Terminator, Type,
    leaves_page,
};

use super::Predecoder;
use crate::interp::flags;
use crate::microop::Handler;

impl Predecoder<'_> {
    pub(super) fn flags(&mut self, op: Flags, inst: &Inst) -> Option<()> {
        match (op, inst.attr) {
            (Flags::SetFlags, Attr::FlagKind(kind)) => {
                self.set_flags(inst, None, flags::set_handlers(kind, inst.ty))
            }
            (Flags::GetFlag, Attr::FlagCond(cond)) => {
                let handler = flags::get_handler(cond, inst.ty, inst.ext);
                self.read_group(inst, handler)
            }
            (Flags::FlagBits, _) => self.read_group(inst, flags::all_handler(inst.ty, inst.ext)),
            _ => None,
        }
    }

    fn read_group(&mut self, inst: &Inst, handler: Handler) -> Option<()> {
        let d = self.integer(inst)?;
        let a = self.operand(inst.args[0]);
        self.emit(handler, |op| (op.d, op.a) = (d, a));
        Some(())
    }

    /// Sets flags; with `result`, a slot gets the result of the operation too.
    fn set_flags(
        &mut self,
        inst: &Inst,
        result: Option<Slot>,
        (in_slots, with_constant): (Handler, Handler),
    ) -> Option<()> {
        let to = self.destination(inst.dst);
        let d = self.destination(result);
        let [x, y, z, old] = inst.args;
        let (a, c, old) = (self.operand(x), self.operand(z), self.operand(old));
        let aux = (u32::from(to) | u32::from(old) << 16) as i32;
        match y {
            Operand::Imm(value) => {
                self.emit(with_constant, |op| {
                    (op.d, op.a, op.c, op.aux) = (d, a, c, aux);
                    op.imm = value as u64;
                });
            }
            y => {
                let b = self.operand(y);
                self.emit(in_slots, |op| {
                    (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, aux);
                });
            }
        }
        Some(())
    }

    /// Adds two operations as one, where there is a handler for both.
    pub(super) fn two_as_one(&mut self, first: &Inst, second: &Inst) -> bool {
        self.scratch_used = 0;
        let done = match (first.op, second.op) {
            (Op::SetFlags, Op::SetFlags) => None,
            (Op::SetFlags, _) => self.flags_and_result(first, second),
            (_, Op::SetFlags) => {
                // The flags' operands are read behind the result.
                let kept = second.args.iter().all(|arg| arg.slot() != first.dst);
                let together = kept.then(|| self.flags_and_result(second, first)).flatten();
                together.or_else(|| self.logic_and_flags(first, second))
            }
            (Op::GetFlag, Op::Select) => self.flag_and_select(first, second),
            (Op::GetFlag, Op::ExitIf) => self.flag_and_exit(first, second),
            _ => None,
        };
        done.is_some()
    }

    /// `setflags` and the operation that it is about; both read their operands before either writes.
    fn flags_and_result(&mut self, set: &Inst, op: &Inst) -> Option<()> {
        let Attr::FlagKind(kind) = set.attr else {
            return None;
        };
        if set.ty != op.ty || set.dst.is_none() || !is_about(kind, set, op) {
            return None;
        }
        let result = op.dst;
        self.integer(op)?;
        let handlers = flags::set_with_result(kind, op.ty, op.ext)?;
        self.set_flags(set, result, handlers)
    }

    /// Logic, and the flags of its result.
    fn logic_and_flags(&mut self, logic: &Inst, set: &Inst) -> Option<()> {
        let Family::Binary(op) = logic.op.family() else {
            return None;
        };
        let of_result = set.attr == Attr::FlagKind(FlagKind::Logic)
            && set.ty == logic.ty
            && set.args[0].slot().is_some()
            && set.args[0].slot() == logic.dst;
        if !of_result || set.dst.is_none() {
            return None;
        }
        self.integer(logic)?;
        let handlers = flags::logic_with_result(op, logic.ty, logic.ext)?;
        let [x, y, ..] = logic.args;
        let args = [x, y, Operand::None, Operand::None];
        self.set_flags(&Inst { args, ..*set }, logic.dst, handlers)
    }

    /// A condition on flags, and the choice by it.
    fn flag_and_select(&mut self, get: &Inst, select: &Inst) -> Option<()> {
        let [x, y, chosen, zero] = select.args;
        let temp = get.dst.filter(|dst| dst.is_temp())?;
        let (cond, holds) = self.tested(get, chosen, zero, select.attr)?;
        let reads_temp = [x, y].iter().any(|arg| arg.slot() == Some(temp));
        if reads_temp || !matches!(get.ext, Ext::Zero) || select.dst == Some(temp) {
            return None;
        }
        let d = self.integer(select)?;
        let handler = flags::select_handler(cond, select.ty, select.ext);
        let [x, y] = if holds { [x, y] } else { [y, x] };
        let (a, to) = (self.operand(get.args[0]), self.offset(temp));
        let (b, c) = (self.operand(x), self.operand(y));
        self.emit(handler, |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, to.into());
        });
        Some(())
    }

    /// A condition on flags, and the way out of the block by it.
    fn flag_and_exit(&mut self, get: &Inst, exit: &Inst) -> Option<()> {
        let [value, zero, target, _] = exit.args;
        let temp = get.dst.filter(|dst| dst.is_temp())?;
        let (cond, holds) = self.tested(get, value, zero, exit.attr)?;
        if get.ext != Ext::Zero {
            return None;
        }
        let target = target.imm()?;
        let (a, d) = (self.operand(get.args[0]), self.offset(temp));
        let handler = flags::exit_handler(cond, leaves_page(target));
        self.emit_leading(handler, [target, 0], |op| {
            (op.a, op.d, op.aux) = (a, d, i32::from(!holds));
            op.left -= 1;
        });
        Some(())
    }

    /// The condition of a `getflag` that a comparison with zero tests, and whether that asks for it to hold.
    fn tested(
        &self,
        get: &Inst,
        value: Operand,
        zero: Operand,
        attr: Attr,
    ) -> Option<(FlagCond, bool)> {
        let Attr::FlagCond(cond) = get.attr else {
            return None;
        };
        let zero = matches!(zero, Operand::Imm(0) | Operand::None);
        if !zero || value.slot().is_none() || value.slot() != get.dst {
            return None;
        }
        match attr {
            Attr::Cond(Cond::Ne) => Some((cond, true)),
            Attr::Cond(Cond::Eq) => Some((cond, false)),
            _ => None,
        }
    }

    /// Adds a `getflag` and the branch by it as one, where the block ends so.
    pub(super) fn flag_and_branch(&mut self, get: &Inst, terminator: &Terminator) -> bool {
        self.scratch_used = 0;
        let Terminator::Branch {
            cond,
            a,
            b,
            taken,
            fallthrough,
            ..
        } = *terminator
        else {
            return false;
        };
        // Nobody reads a temporary behind the block's end.
        if get.op != Op::GetFlag || !get.dst.is_some_and(Slot::is_temp) || get.ext == Ext::Keep {
            return false;
        }
        let Some((flag, holds)) = self.tested(get, a, b, Attr::Cond(cond)) else {
            return false;
        };
        let flag = if holds { flag } else { flag.inverse() };
        let group = self.operand(get.args[0]);
        let handler = flags::branch_handler(flag, leaves_page(taken), leaves_page(fallthrough));
        self.emit_leading(handler, [taken, fallthrough], |op| op.a = group);
        true
    }
}

/// Whether an operation gives the result that flags of this kind are about.
fn is_about(kind: FlagKind, set: &Inst, op: &Inst) -> bool {
    let [a, b, c, _] = set.args;
    let [x, y, z, _] = op.args;
    let one = Operand::Imm(1);
    match (kind, op.op.family()) {
        (FlagKind::Add, Family::Binary(Binary::Add))
        | (FlagKind::Sub, Family::Binary(Binary::Sub)) => (a, b) == (x, y),
        (FlagKind::Shl, Family::Binary(Binary::Shl))
        | (FlagKind::Shr, Family::Binary(Binary::Shr))
        | (FlagKind::Sar, Family::Binary(Binary::Sar)) => {
            // Counts of narrower types are cut further by the operation.
            matches!(op.ty, Type::I32 | Type::I64) && (a, b) == (x, y)
        }
        (FlagKind::AddCarry, Family::Ternary(Ternary::AddCarry))
        | (FlagKind::SubBorrow, Family::Ternary(Ternary::SubBorrow)) => (a, b, c) == (x, y, z),
        (FlagKind::Inc, Family::Binary(Binary::Add))
        | (FlagKind::Dec, Family::Binary(Binary::Sub)) => a == x && y == one,
        (FlagKind::Neg, Family::Unary(Unary::Neg)) => a == x,
        _ => false,
    }
}

//! Temporaries that never get to memory: RAX has one from the operation that computes it to the one that reads it.

use vm_ir::family::Access;
use vm_ir::{Attr, Cond, Ext, Family, FlagKind, Inst, Op, Operand, Slot, Terminator, Type};

use super::block::{Emitter, is_native};
use super::flags::{any_width, short};
use super::{integer, memory};
use crate::asm::{Reg, Width};

impl Emitter<'_> {
    /// Puts a result to its slot, unless all that reads it can take it from RAX.
    pub(crate) fn give(&mut self, dst: Slot, from: Reg) {
        match self.taker(dst) {
            Some(at) => {
                if from != Reg::Rax {
                    self.asm.mov(Width::Q, Reg::Rax, from);
                }
                self.pending = Some(dst);
                self.taken_at = at;
            }
            None => self.put(dst, from),
        }
    }

    /// Puts what RAX has to memory, unless the operation at hand takes it or leaves it alone.
    pub(super) fn settle(&mut self, at: usize) {
        let Some(temp) = self.pending else { return };
        let Some(inst) = self.of.block.insts.get(at) else {
            return;
        };
        if at != self.taken_at && !self.leaves_rax(inst, temp) {
            self.pending = None;
            self.put(temp, Reg::Rax);
        }
    }

    /// Forgets what RAX has behind the operations that take it, of which `next` is the first not done.
    pub(super) fn taken(&mut self, before: Option<Slot>, next: usize) {
        if self.pending == before && next > self.taken_at {
            self.pending = None;
        }
    }

    /// Whether the operation is done without RAX, and does not read the temporary there.
    fn leaves_rax(&self, inst: &Inst, temp: Slot) -> bool {
        if inst.op == Op::Insn {
            return true;
        }
        let [x, y, ..] = inst.args;
        let in_place = inst.dst.is_some_and(|dst| {
            self.pin(dst).is_some() && x.slot() == Some(dst) && Some(dst) != Some(temp)
        });
        matches!(inst.op, Op::Add | Op::Sub)
            && inst.ty == Type::I64
            && in_place
            && short(Width::Q, y).is_some()
    }

    /// Which operation takes a temporary from RAX that is computed just now, if that is the only one to read it.
    fn taker(&self, temp: Slot) -> Option<usize> {
        let free = self.pending.is_none() || self.taken_at == self.at;
        if !free || !temp.is_temp() || !self.is_word(temp) {
            return None;
        }
        let reads = *self.reads.get(temp.index())?;
        let insts = self.of.block.insts.as_slice();
        let mut at = self.next;
        loop {
            let Some(inst) = insts.get(at) else {
                let ends = at == insts.len() && reads == 1 && self.end_takes(temp);
                return ends.then_some(at);
            };
            if self.takes(at, temp) == Some(reads) {
                return Some(at);
            }
            if !self.leaves_rax(inst, temp) {
                return None;
            }
            // Flags of such an operation would be computed beside it.
            let flags = |inst: Option<&Inst>| inst.is_some_and(|inst| inst.op == Op::SetFlags);
            if inst.op != Op::Insn && flags(insts.get(at + 1)) {
                return None;
            }
            at += 1;
        }
    }

    fn end_takes(&self, temp: Slot) -> bool {
        match self.of.block.terminator {
            Terminator::Indirect { target, .. } => target.slot() == Some(temp),
            Terminator::Branch { a, b, .. } => {
                a.slot() == Some(temp) && short(Width::B, b).is_some()
            }
            _ => false,
        }
    }

    /// How often the operation, and the one that is done together with it, reads a temporary in RAX; `None` when that is
    /// not known to be in order.
    fn takes(&self, at: usize, temp: Slot) -> Option<u8> {
        let insts = self.of.block.insts.as_slice();
        let inst = insts.get(at)?;
        let operand = Operand::Slot(temp);
        let reads = |inst: &Inst| inst.reads().filter(|&slot| slot == temp).count() as u8;
        if inst.dst == Some(temp) || reads(inst) != 1 {
            return None;
        }
        let [x, y, z, w] = inst.args;
        let pinned = |operand: Operand| {
            operand
                .slot()
                .is_some_and(|slot| !slot.is_temp() && self.pin(slot).is_some())
        };
        let next = insts.get(at + 1).filter(|next| next.op != Op::Insn);
        let constant = |operand: Operand| operand.slot().is_none();
        match (inst.op, inst.op.family()) {
            (_, Family::Access(Access::Load | Access::Store)) => {
                if self.reaches_vectors(inst) {
                    return None;
                }
                let native =
                    memory::access_of(inst).is_some_and(|access| memory::is_native(access, inst));
                if !native || y == operand {
                    return None;
                }
                if x == operand
                    && let Some(done) = self.modification(at)
                {
                    let in_all = insts[at..at + done.count].iter().map(reads).sum();
                    return (y == Operand::None).then_some(in_all);
                }
                (x == operand || w == operand && inst.op == Op::Store).then_some(1)
            }
            (Op::SetFlags, _) => {
                let Attr::FlagKind(kind) = inst.attr else {
                    return None;
                };
                inst.dst?;
                any_width(inst.ty)?;
                let pair = next.filter(|next| reads(next) > 0);
                match (kind, pair) {
                    (FlagKind::Sub, None) => (x == operand || pinned(x)).then_some(1),
                    (FlagKind::Logic, None) => (x == operand).then_some(1),
                    (FlagKind::Add | FlagKind::Sub, Some(op)) => {
                        let to = op.dst?;
                        let same = [op.args[0], op.args[1]] == [x, y]
                            && op.ty == inst.ty
                            && matches!(
                                (kind, op.op),
                                (FlagKind::Add, Op::Add) | (FlagKind::Sub, Op::Sub)
                            );
                        let in_place = x == Operand::Slot(to)
                            && pinned(x)
                            && match inst.ty {
                                Type::I64 => op.ext != Ext::Ones,
                                Type::I32 => op.ext == Ext::Zero,
                                _ => op.ext == Ext::Keep,
                            };
                        (same && (x == operand || in_place)).then_some(2)
                    }
                    _ => None,
                }
            }
            (Op::Add | Op::Sub | Op::And | Op::Or | Op::Xor, _) => {
                let wide = matches!(inst.ty, Type::I32 | Type::I64)
                    && matches!(inst.ext, Ext::Zero | Ext::Sign);
                let to = inst.dst?;
                // Beside flags, a result goes to RAX only when it is not a register's.
                let flags = next.filter(|next| next.op == Op::SetFlags);
                if flags.is_some_and(|flags| reads(flags) != 0) || !wide {
                    return None;
                }
                match flags {
                    None if x == operand => Some(1),
                    None => (inst.op != Op::Sub && pinned(x) && y == operand).then_some(1),
                    Some(_) => {
                        let whole = inst.ty == Type::I64 || inst.ext == Ext::Zero;
                        let in_place =
                            |other: Operand| other == Operand::Slot(to) && pinned(other) && whole;
                        match x == operand {
                            true => y != Operand::Slot(to) || in_place(y),
                            false => in_place(x),
                        }
                        .then_some(1)
                    }
                }
            }
            (Op::AddShl, _) if constant(z) => (x == operand && is_native(inst)).then_some(1),
            (Op::Extract, _) if integer::is_whole(inst) => Some(1),
            (Op::Mov, _) => {
                let wide = matches!(inst.ty, Type::I32 | Type::I64) && inst.ext != Ext::Ones;
                let to = inst.dst?;
                (wide
                    && self.has_one_word(to)
                    && self.vector(to).is_none()
                    && inst.ext != Ext::Keep)
                    .then_some(1)
            }
            (Op::Mul, _) => {
                let wide = matches!(inst.ty, Type::I32 | Type::I64);
                (wide && x == operand).then_some(1)
            }
            (Op::Shl | Op::Shr | Op::Sar, _) => {
                let wide = matches!(inst.ty, Type::I32 | Type::I64);
                (wide && constant(y) && next.is_none_or(|next| next.op != Op::SetFlags))
                    .then_some(1)
            }
            (Op::ExitIf, _) => {
                let compared = matches!(inst.attr, Attr::Cond(Cond::Eq | Cond::Ne))
                    && any_width(inst.ty).is_some();
                (compared && x == operand && constant(y)).then_some(1)
            }
            _ => None,
        }
    }
}

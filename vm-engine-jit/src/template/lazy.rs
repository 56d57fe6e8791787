//! Flags that only slow paths and ways out of the block have to see.
//!
//! Where a later operation sets a group anew and nobody can look in between but a fault, or somebody behind a branch out
//! of the block, the group is not put to memory on the way through. Whoever may look puts it there first, out of the way:
//! from the host's flags, or by computing it once more from operands that have not changed since.

use vm_ir::family::{Access, Control};
use vm_ir::{Attr, Cond, Family, Inst, Op, Operand, Slot, Type};

use super::block::Emitter;
use super::conditions::has_condition;
use super::flags::reads_old;
use super::memory;
use crate::asm::{Alu, Cc, Reg, Width};

/// How many operations are looked at for one that sets the group anew.
const AHEAD: usize = 32;

/// How to compute flags once more, in a width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recipe {
    /// Of `a - b`, or `a + b`.
    Sum(Alu, Operand, Operand),
    /// Of the result of a sum, whose second operand is still there.
    Undo(Alu, Slot, Operand),
    /// Of `a & b`.
    And(Operand, Operand),
    /// Of a result of logic.
    Logic(Operand),
}

impl Recipe {
    fn operands(self) -> [Operand; 2] {
        match self {
            Self::Sum(_, a, b) | Self::And(a, b) => [a, b],
            Self::Undo(_, result, b) => [result.into(), b],
            Self::Logic(a) => [a, Operand::None],
        }
    }

    fn reads(self, slot: Slot) -> bool {
        self.operands().contains(&Operand::Slot(slot))
    }
}

/// Flags that are not in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lazy {
    group: Slot,
    width: Width,
    recipe: Recipe,
    /// The operation that sets them.
    at: usize,
}

impl Emitter<'_> {
    /// The host's flags are a group's from now on. Puts them to memory, unless nobody will look there.
    pub(super) fn have_flags(&mut self, group: Slot, width: Width, recipe: Recipe, clears_a: bool) {
        if clears_a || !self.is_set_anew(group, recipe) {
            return self.store_flags(group, clears_a);
        }
        self.host_flags = Some(group);
        self.lazy = Some(Lazy {
            group,
            width,
            recipe,
            at: self.at,
        });
    }

    /// Forgets about flags in the operations done just now: those that they have set anew.
    pub(super) fn follow_flags(&mut self, done: &[Inst]) {
        let sets = |lazy: &Lazy| {
            lazy.at < self.at
                && done
                    .iter()
                    .any(|inst| inst.op == Op::SetFlags && inst.dst == Some(lazy.group))
        };
        if self.lazy.as_ref().is_some_and(sets) {
            self.lazy = None;
        }
    }

    /// Has the host's flags be a group's that is not in memory; false where it is. Uses RAX and RCX.
    pub(super) fn compute_again(&mut self, group: Slot) -> bool {
        let Some(lazy) = self.lazy.filter(|lazy| lazy.group == group) else {
            return false;
        };
        self.compute(lazy);
        self.host_flags = Some(group);
        true
    }

    fn compute(&mut self, lazy: Lazy) {
        let Lazy { width, recipe, .. } = lazy;
        let rax = Reg::Rax;
        match recipe {
            Recipe::Sum(Alu::Cmp, a, b) => {
                self.load(a, rax);
                self.narrow_alu(Alu::Cmp, width, rax.into(), b);
            }
            Recipe::Sum(op, a, b) => {
                self.load(a, rax);
                self.narrow_alu(op, width, rax.into(), b);
            }
            Recipe::Undo(op, result, b) => {
                let back = if op == Alu::Add { Alu::Sub } else { Alu::Add };
                self.load(result.into(), rax);
                self.narrow_alu(back, width, rax.into(), b);
                self.narrow_alu(op, width, rax.into(), b);
            }
            Recipe::And(a, b) => {
                self.load(a, rax);
                self.narrow_alu(Alu::And, width, rax.into(), b);
                self.asm.alu_imm(Alu::Cmp, width, rax, 0);
            }
            Recipe::Logic(a) => {
                self.load(a, rax);
                self.asm.alu_imm(Alu::Cmp, width, rax, 0);
            }
        }
    }

    /// Puts flags to memory out of the way. Uses RAX and RCX.
    pub(super) fn put_lazy(&mut self, lazy: Option<Lazy>) {
        if let Some(lazy) = lazy {
            self.compute(lazy);
            self.put_host_flags(lazy.group);
        }
    }

    /// The same with a register kept.
    pub(super) fn put_lazy_keeping(&mut self, lazy: Option<Lazy>, kept: &[Reg]) {
        if lazy.is_none() {
            return;
        }
        for &reg in kept {
            self.asm.push(reg);
        }
        self.put_lazy(lazy);
        for &reg in kept.iter().rev() {
            self.asm.pop(reg);
        }
    }

    /// Puts flags to memory on a way out of the block, but not for what follows here.
    pub(super) fn put_lazy_on_leaving(&mut self) {
        match self.lazy {
            Some(lazy) if self.host_flags == Some(lazy.group) => self.put_host_flags(lazy.group),
            lazy => self.put_lazy(lazy),
        }
    }

    fn put_host_flags(&mut self, group: Slot) {
        self.asm.lahf();
        self.asm.setcc(Cc::O, Reg::Rax);
        let home = self.home(group);
        self.asm.store(Width::W, home, Reg::Rax);
    }

    /// Whether a group that is set just now is set anew before anybody looks at memory for it.
    fn is_set_anew(&self, group: Slot, recipe: Recipe) -> bool {
        let of_state = |operand: Operand| operand.slot().is_none_or(|slot| !slot.is_temp());
        if !recipe.operands().into_iter().all(of_state) {
            return false;
        }
        let Some(insts) = self.of.block.insts.get(self.next..) else {
            return false;
        };
        for (at, inst) in insts.iter().take(AHEAD).enumerate() {
            let looks = match (inst.op, inst.op.family()) {
                (Op::SetFlags, _) if reads_old(inst) => true,
                (Op::SetFlags, _) if inst.dst == Some(group) => return true,
                (Op::GetFlag, _) => !has_condition(inst),
                (Op::ExitIf, _) => {
                    let before = at.checked_sub(1).and_then(|before| insts.get(before));
                    !before.is_some_and(|get| self.is_exit_by_flag(get, inst))
                }
                (Op::FlagBits | Op::FpCmpFlags, _) => true,
                (Op::Mov, _) => inst.ty == Type::Flags,
                (_, Family::Control(op)) => op != Control::Insn,
                (_, Family::Access(op @ (Access::Load | Access::Store))) => {
                    self.reaches_vectors(inst) || !memory::is_native(op, inst)
                }
                (_, Family::Access(_) | Family::Reserve(_) | Family::Modify(_)) => true,
                _ => false,
            };
            if looks || inst.dst.is_some_and(|dst| recipe.reads(dst)) {
                return false;
            }
        }
        false
    }

    /// Whether the operation reads or writes a vector.
    pub(super) fn reaches_vectors(&self, inst: &Inst) -> bool {
        let slots = inst.args.iter().filter_map(|arg| arg.slot());
        let vector = |slot| matches!(self.type_of(slot), Type::V128 | Type::I128);
        matches!(inst.ty, Type::V128 | Type::I128) || slots.chain(inst.dst).any(vector)
    }

    /// Whether the two are done together by [`Self::flag_and_exit`].
    fn is_exit_by_flag(&self, get: &Inst, exit: &Inst) -> bool {
        let [value, zero, target, _] = exit.args;
        let temp = get.dst.filter(|dst| dst.is_temp());
        get.op == Op::GetFlag
            && temp.is_some_and(|temp| value == Operand::Slot(temp) && self.is_read_once(temp))
            && matches!(zero, Operand::Imm(0) | Operand::None)
            && matches!(exit.attr, Attr::Cond(Cond::Ne | Cond::Eq))
            && target
                .imm()
                .is_some_and(|target| i32::try_from(target).is_ok())
    }
}

//! Flag groups: the host's own flags are the guest's.
//!
//! A group's sixteen bits are what `lahf` and `seto al` leave in AX. `setflags` is the host's instruction, those two and a
//! store; where the operation that the flags are about stands beside it, one instruction gives both. As long as no other
//! instruction has changed the host's flags, a condition on the group needs no instruction.

#![allow(unsafe_code)]

use std::arch::asm;

use vm_engine::tier::Step;
use vm_ir::family::{Binary, Flags, Ternary, Unary};
use vm_ir::{Attr, Ext, Family, FlagCond, FlagKind, Inst, Op, Operand, Slot, Type};

use super::block::Emitter;
use super::lazy::Recipe;
use crate::asm::{Alu, BitTest, Cc, Mem, Reg, Shift, Width};

/// In the word of a group.
const A: i32 = 1 << 12;
pub(super) const C: i32 = 1 << 8;
pub(super) const Z: i32 = 1 << 14;
const ONE: i32 = 1 << 9;
const ALL: i32 = 0xd501;

/// Whether the host's logic leaves A clear. Its manuals leave that undefined (Intel SDM 2A, AND).
pub(crate) fn logic_clears_a() -> bool {
    let found: u64;
    // SAFETY: the instructions change registers and flags alone.
    unsafe {
        asm!(
            "mov {a:e}, 0xf", "add {a:l}, 1", "test {a:e}, {a:e}", "lahf", "mov {found:e}, eax",
            "mov {a:e}, 0xf", "add {a:l}, 1", "and {a:e}, 0x1f", "lahf", "or {found:e}, eax",
            "mov {a:e}, 0xf", "add {a:l}, 1", "or {a:e}, 0x0f", "lahf", "or {found:e}, eax",
            "mov {a:e}, 0xf", "add {a:l}, 1", "xor {a:e}, 0x33", "lahf", "or {found:e}, eax",
            a = out(reg) _, found = out(reg) found, out("rax") _, options(pure, nomem, nostack)
        );
    }
    found & A as u64 == 0
}

/// Width of an integer type.
pub(crate) fn any_width(ty: Type) -> Option<Width> {
    match ty {
        Type::I8 => Some(Width::B),
        Type::I16 => Some(Width::W),
        Type::I32 => Some(Width::D),
        Type::I64 => Some(Width::Q),
        _ => None,
    }
}

/// Whether [`Emitter::flags`] knows the operation.
pub(crate) fn is_native(op: Flags, inst: &Inst) -> bool {
    match op {
        Flags::SetFlags => true,
        Flags::GetFlag | Flags::FlagBits => inst.ext != Ext::Ones && inst.dst.is_some(),
    }
}

/// A constant as the width sees it, where an instruction takes it.
pub(crate) fn short(width: Width, operand: Operand) -> Option<i32> {
    match (width, operand) {
        (_, Operand::None) => Some(0),
        (Width::B, Operand::Imm(value)) => Some((value as i8).into()),
        (Width::W, Operand::Imm(value)) => Some((value as i16).into()),
        (Width::D, Operand::Imm(value)) => Some(value as i32),
        (Width::Q, Operand::Imm(value)) => i32::try_from(value).ok(),
        (_, Operand::Slot(_)) => None,
    }
}

/// What an instruction does besides setting flags.
#[derive(Clone, Copy)]
pub(super) enum Host {
    /// `a = a op b`.
    Alu(Alu, Operand),
    Neg,
    Inc,
    Dec,
    /// By a constant that is not zero.
    Shift(Shift, u8),
}

/// An operation and the flags about its result as one instruction.
#[derive(Clone, Copy)]
pub(super) struct Together {
    pub(super) host: Host,
    /// First operand.
    a: Operand,
    /// What CF must be before.
    carry_in: CarryIn,
    /// Whether A must be cleared behind.
    clears_a: bool,
}

/// What an operation's flags ask for besides its instruction.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) carry_in: CarryIn,
    pub(super) clears_a: bool,
}

impl About {
    pub(super) const fn logic(clears_a: bool) -> Self {
        Self {
            carry_in: CarryIn::Any,
            clears_a,
        }
    }
}

impl From<Together> for About {
    fn from(together: Together) -> Self {
        Self {
            carry_in: together.carry_in,
            clears_a: together.clears_a,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum CarryIn {
    Any,
    /// Of the group at this slot.
    Old(Slot),
    /// Bit 0.
    Bit(Operand),
}

impl Emitter<'_> {
    /// A byte or more of a group.
    pub(super) fn group_byte(&self, group: Slot, byte: i32) -> Mem {
        let home = self.home(group);
        let disp = home.disp + byte;
        Mem { disp, ..home }
    }

    /// Stores the host's flags, A cleared if asked. Uses RAX.
    pub(super) fn store_flags(&mut self, dst: Slot, clears_a: bool) {
        self.asm.lahf();
        self.asm.setcc(Cc::O, Reg::Rax);
        if clears_a {
            self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, 0xffff & !A);
        }
        let home = self.home(dst);
        self.asm.store(Width::W, home, Reg::Rax);
        self.host_flags = (!clears_a).then_some(dst);
    }

    pub(crate) fn flags(&mut self, op: Flags, inst: &Inst) -> Option<()> {
        match (op, inst.attr) {
            (Flags::SetFlags, Attr::FlagKind(kind)) => match inst.dst {
                Some(dst) => self.set_flags(kind, inst, dst),
                None => Some(()),
            },
            (Flags::GetFlag, Attr::FlagCond(cond)) => {
                let (dst, group) = (inst.dst?, inst.args[0].slot()?);
                let cc = self.test_group(cond, group);
                self.put_condition(cc, inst, dst);
                self.carry = (cond == FlagCond::C).then_some((dst, group));
                Some(())
            }
            (Flags::FlagBits, _) => {
                let dst = inst.dst?;
                self.host_flags = None;
                let from = self.group_byte(inst.args[0].slot()?, 0);
                self.asm.movzx(Width::W, Reg::Rax, from);
                self.asm.mov(Width::D, Reg::Rcx, Reg::Rax);
                self.asm.shift_imm(Shift::Shr, Width::D, Reg::Rax, 8);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, 0xd5);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 1);
                self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rcx, 11);
                self.asm.alu(Alu::Or, Width::D, Reg::Rax, Reg::Rcx);
                self.put_narrow(inst, dst, Reg::Rax);
                Some(())
            }
            _ => None,
        }
    }

    fn set_flags(&mut self, kind: FlagKind, inst: &Inst, dst: Slot) -> Option<()> {
        let width = any_width(inst.ty)?;
        let [a, b, c, old] = inst.args;
        if !matches!(kind, FlagKind::Inc | FlagKind::Dec) {
            self.host_flags = None;
        }
        match kind {
            FlagKind::Sub | FlagKind::SubNotBorrow => {
                self.compare_exactly(width, a, b);
                if kind == FlagKind::SubNotBorrow {
                    self.asm.cmc();
                    self.store_flags(dst, false);
                } else {
                    self.have_flags(dst, width, Recipe::Sum(Alu::Cmp, a, b), false);
                }
            }
            FlagKind::Logic => {
                self.compare_exactly(width, a, Operand::Imm(0));
                self.have_flags(dst, width, Recipe::Logic(a), false);
            }
            FlagKind::Mul => {
                self.load(b, Reg::Rcx);
                self.asm.test(width, Reg::Rcx, Reg::Rcx);
                self.asm.setcc(Cc::Ne, Reg::Rcx);
                self.asm.movzx(Width::B, Reg::Rcx, Reg::Rcx);
                self.asm.mov(Width::D, Reg::Rdx, Reg::Rcx);
                self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rdx, 8);
                self.asm.alu(Alu::Or, Width::D, Reg::Rcx, Reg::Rdx);
                self.compare_exactly_but_rcx(width, a);
                self.asm.lahf();
                self.asm.setcc(Cc::O, Reg::Rax);
                self.asm.alu(Alu::Or, Width::D, Reg::Rax, Reg::Rcx);
                let home = self.home(dst);
                self.asm.store(Width::W, home, Reg::Rax);
            }
            FlagKind::Bits => {
                self.load(a, Reg::Rcx);
                if width == Width::B {
                    self.asm.movzx(Width::B, Reg::Rcx, Reg::Rcx);
                }
                self.asm.mov(Width::D, Reg::Rax, Reg::Rcx);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, 0xd5);
                self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rax, 8);
                self.asm.shift_imm(Shift::Shr, Width::D, Reg::Rcx, 11);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 1);
                self.put_word(dst);
            }
            FlagKind::Carry => {
                self.load_old(old, ALL & !C)?;
                self.load(a, Reg::Rcx);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 1);
                self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rcx, 8);
                self.put_word(dst);
            }
            FlagKind::CarryOverflow => {
                self.load_old(old, ALL & !(C | 1))?;
                self.load(b, Reg::Rcx);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 1);
                self.asm.alu(Alu::Or, Width::D, Reg::Rax, Reg::Rcx);
                self.load(a, Reg::Rcx);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 1);
                self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rcx, 8);
                self.put_word(dst);
            }
            FlagKind::Zero => {
                self.load_old(old, ALL & !Z)?;
                self.load(a, Reg::Rcx);
                self.asm.test(width, Reg::Rcx, Reg::Rcx);
                self.asm.setcc(Cc::E, Reg::Rcx);
                self.asm.movzx(Width::B, Reg::Rcx, Reg::Rcx);
                self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rcx, 14);
                self.put_word(dst);
            }
            FlagKind::Shl | FlagKind::Shr | FlagKind::Sar => {
                self.shift_flags(kind, inst, dst, None)?;
            }
            FlagKind::Add
            | FlagKind::AddCarry
            | FlagKind::SubBorrow
            | FlagKind::Inc
            | FlagKind::Dec
            | FlagKind::Neg => {
                let host = match kind {
                    FlagKind::Add => Host::Alu(Alu::Add, b),
                    FlagKind::AddCarry => Host::Alu(Alu::Adc, b),
                    FlagKind::SubBorrow => Host::Alu(Alu::Sbb, b),
                    FlagKind::Inc => Host::Inc,
                    FlagKind::Dec => Host::Dec,
                    _ => Host::Neg,
                };
                self.prepare_carry(carry_in(kind, c, old));
                self.load(a, Reg::Rax);
                self.host(host, width, Reg::Rax.into());
                self.store_flags(dst, false);
            }
        }
        Some(())
    }

    /// The old group's flags at these places to RAX.
    fn load_old(&mut self, old: Operand, places: i32) -> Option<()> {
        let from = self.group_byte(old.slot()?, 0);
        self.asm.movzx(Width::W, Reg::Rax, from);
        self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, places);
        Some(())
    }

    /// The sum of RAX and RCX as a group.
    fn put_word(&mut self, dst: Slot) {
        let sum = Mem::indexed(Reg::Rax, Reg::Rcx, 0, ONE);
        self.asm.lea(Width::D, Reg::Rax, sum);
        let home = self.home(dst);
        self.asm.store(Width::W, home, Reg::Rax);
    }

    /// Subtracts for the flags: all are those of the difference. Uses RAX and RCX.
    fn compare_exactly(&mut self, width: Width, a: Operand, b: Operand) {
        match (a, short(width, b)) {
            (Operand::Slot(slot), Some(value)) => {
                let place = self.place(slot);
                self.asm.alu_imm(Alu::Cmp, width, place, value);
            }
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

    /// The same with zero, RCX kept.
    fn compare_exactly_but_rcx(&mut self, width: Width, a: Operand) {
        let left = self.in_reg(a, Reg::Rax);
        self.asm.alu_imm(Alu::Cmp, width, left, 0);
    }

    /// Has the host's carry flag be what an operation takes in. Uses RCX.
    pub(super) fn prepare_carry(&mut self, carry: CarryIn) {
        match carry {
            CarryIn::Any => {}
            CarryIn::Old(group) if self.host_flags == Some(group) => {}
            CarryIn::Old(group) => {
                let at = self.group_byte(group, 0);
                self.asm.bit_test_imm(BitTest::Test, Width::W, at, 8);
            }
            // What it was taken from is still there.
            CarryIn::Bit(Operand::Slot(bit))
                if self
                    .carry
                    .is_some_and(|(of, group)| of == bit && self.host_flags == Some(group)) => {}
            CarryIn::Bit(bit) => {
                let bit = self.in_reg(bit, Reg::Rcx);
                self.asm.bit_test_imm(BitTest::Test, Width::D, bit, 0);
            }
        }
    }

    /// One instruction of the host's. Uses RCX; keeps the flags that it reads.
    fn host(&mut self, host: Host, width: Width, at: crate::asm::Rm) {
        match host {
            Host::Alu(op, b) => {
                if let Some(value) = short(width, b) {
                    return self.asm.alu_imm(op, width, at, value);
                }
                match (at, b) {
                    (crate::asm::Rm::Mem(mem), b) => {
                        let b = self.in_reg(b, Reg::Rcx);
                        self.asm.alu_to_mem(op, width, mem, b);
                    }
                    (crate::asm::Rm::Reg(reg), Operand::Slot(slot)) => {
                        let place = self.place(slot);
                        self.asm.alu(op, width, Reg::ALL[usize::from(reg)], place);
                    }
                    (crate::asm::Rm::Reg(reg), b) => {
                        self.load(b, Reg::Rcx);
                        self.asm
                            .alu(op, width, Reg::ALL[usize::from(reg)], Reg::Rcx);
                    }
                }
            }
            Host::Neg => self.asm.neg(width, at),
            Host::Inc => self.asm.inc(width, at),
            Host::Dec => self.asm.dec(width, at),
            Host::Shift(op, count) => {
                // Only the last step's flags are all defined.
                if count > 1 {
                    self.asm.shift_imm(op, width, at, count - 1);
                }
                self.asm.shift_imm(op, width, at, 1);
            }
        }
    }

    /// Flags of a shift, and its result to a slot; of a count that is zero, only that.
    fn shift_flags(
        &mut self,
        kind: FlagKind,
        set: &Inst,
        dst: Slot,
        result: Option<(&Inst, Slot)>,
    ) -> Option<()> {
        let width = any_width(set.ty)?;
        let [a, b, _, old] = set.args;
        let old = old.slot()?;
        self.host_flags = None;
        let mask = if width == Width::Q { 63 } else { 31 };
        let op = match kind {
            FlagKind::Shl => Shift::Shl,
            FlagKind::Shr => Shift::Shr,
            _ => Shift::Sar,
        };
        if let Operand::Imm(count) = b {
            let count = (count & mask) as u8;
            if count == 0 {
                self.copy_group(old, dst);
                if let Some((inst, to)) = result {
                    self.load(a, Reg::Rax);
                    self.put_narrow(inst, to, Reg::Rax);
                }
                return Some(());
            }
            let whole = width == Width::Q
                || width == Width::D && result.is_some_and(|(inst, _)| inst.ext == Ext::Zero);
            let target = match result {
                Some((_, to)) if whole => self.pin(to).unwrap_or(Reg::Rax),
                _ => Reg::Rax,
            };
            self.load(a, target);
            self.host(Host::Shift(op, count), width, target.into());
            if let Some((inst, to)) = result {
                self.put_whole(inst, to, target);
            }
            self.store_flags(dst, true);
            return Some(());
        }
        let (same, done) = (self.asm.label(), self.asm.label());
        self.load(a, Reg::Rdx);
        self.load(b, Reg::Rcx);
        self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, mask as i32);
        self.asm.jcc_short(Cc::E, same);
        self.asm.lea(Width::D, Reg::Rcx, Mem::new(Reg::Rcx, -1));
        self.asm.shift_cl(op, width, Reg::Rdx);
        self.asm.shift_imm(op, width, Reg::Rdx, 1);
        self.store_flags(dst, true);
        if old != dst {
            self.asm.jmp_short(done);
        }
        self.asm.bind(same);
        if old != dst {
            self.copy_group(old, dst);
            self.asm.bind(done);
        }
        if let Some((inst, to)) = result {
            self.put_narrow(inst, to, Reg::Rdx);
        }
        Some(())
    }

    /// Copies a group. Keeps flags.
    pub(crate) fn copy_group(&mut self, from: Slot, to: Slot) {
        if from == to {
            return;
        }
        let (from, to) = (self.group_byte(from, 0), self.group_byte(to, 0));
        self.asm.movzx(Width::W, Reg::Rax, from);
        self.asm.store(Width::W, to, Reg::Rax);
    }

    /// Translates two operations that stand side by side as one, if that can be: flags, and what they are about.
    /// `step` is the second's.
    pub(crate) fn two_as_one(&mut self, first: &Inst, second: &Inst, step: &Step) -> bool {
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
            (Op::GetFlag, Op::Mov) => self.flag_to_byte(first, second),
            (Op::GetFlag, Op::ExitIf) => self.flag_and_exit(first, second, step),
            _ => None,
        };
        done.is_some()
    }

    fn flags_and_result(&mut self, set: &Inst, op: &Inst) -> Option<()> {
        let Attr::FlagKind(kind) = set.attr else {
            return None;
        };
        let (dst, to) = (set.dst?, op.dst?);
        let fits = fills(op) && set.ty == op.ty && self.has_one_word(to);
        if !fits {
            return None;
        }
        if matches!(kind, FlagKind::Shl | FlagKind::Shr | FlagKind::Sar) {
            let same = set.args[..2] == op.args[..2]
                && matches!(op.ty, Type::I32 | Type::I64)
                && matches!(
                    (kind, op.op),
                    (FlagKind::Shl, Op::Shl) | (FlagKind::Shr, Op::Shr) | (FlagKind::Sar, Op::Sar)
                );
            return same
                .then(|| self.shift_flags(kind, set, dst, Some((op, to))))
                .flatten();
        }
        let together = about(kind, set, op)?;
        self.together(together, op, to, dst);
        Some(())
    }

    /// Logic, and the flags of its result.
    fn logic_and_flags(&mut self, logic: &Inst, set: &Inst) -> Option<()> {
        let op = match logic.op {
            Op::And => Alu::And,
            Op::Or => Alu::Or,
            Op::Xor => Alu::Xor,
            _ => return None,
        };
        let (to, dst) = (logic.dst?, set.dst?);
        let of_result = set.attr == Attr::FlagKind(FlagKind::Logic)
            && set.ty == logic.ty
            && set.args[0].slot() == Some(to);
        if !of_result || !fills(logic) || !self.has_one_word(to) {
            return None;
        }
        let width = any_width(logic.ty)?;
        let [mut a, mut b, ..] = logic.args;
        if b.slot() == Some(to) || a.slot().is_none() {
            (a, b) = (b, a);
        }
        if op == Alu::And && self.is_read_once(to) {
            // The result is for the flags alone.
            let left = self.in_reg(a, Reg::Rax);
            match short(width, b) {
                Some(value) => self.asm.test_imm(width, left, value),
                None => {
                    let right = self.in_reg(b, Reg::Rcx);
                    self.asm.test(width, left, right);
                }
            }
            self.have_flags(dst, width, Recipe::And(a, b), !self.logic_clears_a);
            return Some(());
        }
        let together = Together {
            host: Host::Alu(op, b),
            a,
            carry_in: CarryIn::Any,
            clears_a: !self.logic_clears_a,
        };
        self.together(together, logic, to, dst);
        Some(())
    }

    /// One instruction that gives a result to a slot and flags to a group.
    fn together(&mut self, together: Together, op: &Inst, to: Slot, group: Slot) {
        let Together {
            host,
            a,
            carry_in,
            clears_a,
        } = together;
        let width = any_width(op.ty).unwrap_or(Width::Q);
        self.prepare_carry(carry_in);
        let pin = self.pin(to);
        let reads_to = match host {
            Host::Alu(_, b) => b.slot() == Some(to),
            _ => false,
        };
        let in_place = a.slot() == Some(to);
        // Whether an instruction of this width leaves all of the slot as it must be.
        let whole = match (width, op.ext) {
            (Width::Q, _) => true,
            (Width::D, Ext::Zero) => pin.is_some(),
            (Width::B | Width::W, Ext::Keep) => in_place,
            _ => false,
        };
        if whole && in_place {
            let place = self.place(to);
            self.host(host, width, place);
        } else if let (true, Some(reg), false) = (whole, pin, reads_to) {
            self.load(a, reg);
            self.host(host, width, reg.into());
        } else {
            self.load(a, Reg::Rax);
            self.host(host, width, Reg::Rax.into());
            self.put_whole(op, to, Reg::Rax);
        }
        let recipe = match host {
            Host::Alu(op @ (Alu::Add | Alu::Sub), b) if b.slot() != Some(to) => {
                Some(Recipe::Undo(op, to, b))
            }
            Host::Alu(Alu::And | Alu::Or | Alu::Xor, _) => Some(Recipe::Logic(to.into())),
            _ => None,
        };
        match recipe {
            Some(recipe) => self.have_flags(group, width, recipe, clears_a),
            None => self.store_flags(group, clears_a),
        }
    }

    /// Fills a slot with what an instruction of the operation's width has put into a register.
    fn put_whole(&mut self, inst: &Inst, dst: Slot, from: Reg) {
        if inst.ty == Type::I32 && inst.ext == Ext::Zero {
            self.put(dst, from);
        } else {
            self.put_narrow(inst, dst, from);
        }
    }
}

/// Whether an operation reads a group that it sets anew.
pub(super) fn reads_old(set: &Inst) -> bool {
    match set.attr {
        Attr::FlagKind(FlagKind::Shl | FlagKind::Shr | FlagKind::Sar) => {
            let mask = if set.ty == Type::I64 { 63 } else { 31 };
            !matches!(set.args[1], Operand::Imm(count) if count & mask != 0)
        }
        _ => set.args[3].slot().is_some(),
    }
}

/// Whether a result of the operation's type can be put to a slot without changing the host's flags.
pub(super) fn fills(inst: &Inst) -> bool {
    match inst.ext {
        Ext::Zero | Ext::Sign => inst.ty.is_int(),
        Ext::Keep => matches!(inst.ty, Type::I8 | Type::I16),
        Ext::Ones => false,
    }
}

fn carry_in(kind: FlagKind, c: Operand, old: Operand) -> CarryIn {
    match (kind, old) {
        (FlagKind::AddCarry | FlagKind::SubBorrow, _) => CarryIn::Bit(c),
        (FlagKind::Inc | FlagKind::Dec, Operand::Slot(old)) => CarryIn::Old(old),
        _ => CarryIn::Any,
    }
}

/// The instruction that an operation and flags of this kind are, if they are about each other.
pub(super) fn about(kind: FlagKind, set: &Inst, op: &Inst) -> Option<Together> {
    let [a, b, c, old] = set.args;
    let [x, y, z, _] = op.args;
    let one = Operand::Imm(1);
    let host = match (kind, op.op.family()) {
        (FlagKind::Add, Family::Binary(Binary::Add)) if (a, b) == (x, y) => Host::Alu(Alu::Add, b),
        (FlagKind::Sub, Family::Binary(Binary::Sub)) if (a, b) == (x, y) => Host::Alu(Alu::Sub, b),
        (FlagKind::AddCarry, Family::Ternary(Ternary::AddCarry)) if (a, b, c) == (x, y, z) => {
            Host::Alu(Alu::Adc, b)
        }
        (FlagKind::SubBorrow, Family::Ternary(Ternary::SubBorrow)) if (a, b, c) == (x, y, z) => {
            Host::Alu(Alu::Sbb, b)
        }
        (FlagKind::Inc, Family::Binary(Binary::Add)) if a == x && y == one => Host::Inc,
        (FlagKind::Dec, Family::Binary(Binary::Sub)) if a == x && y == one => Host::Dec,
        (FlagKind::Neg, Family::Unary(Unary::Neg)) if a == x => Host::Neg,
        _ => return None,
    };
    Some(Together {
        host,
        a,
        carry_in: carry_in(kind, c, old),
        clears_a: false,
    })
}

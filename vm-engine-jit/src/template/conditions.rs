//! Conditions on flag groups: by the host's flags where they are the group's, else by the group in memory.

use vm_engine::tier::Step;
use vm_ir::{Attr, Cond, Ext, FlagCond, Inst, Op, Operand, Slot, Terminator, Type};

use super::block::Emitter;
use super::flags::{C, Z, any_width, fills};
use crate::asm::{Alu, Cc, Reg, Width};

/// The host's condition on its own flags; `None` where it has none.
fn condition(cond: FlagCond) -> Option<Cc> {
    Some(match cond {
        FlagCond::Z => Cc::E,
        FlagCond::NotZ => Cc::Ne,
        FlagCond::C => Cc::B,
        FlagCond::NotC => Cc::Ae,
        FlagCond::N => Cc::S,
        FlagCond::NotN => Cc::Ns,
        FlagCond::V => Cc::O,
        FlagCond::NotV => Cc::No,
        FlagCond::P => Cc::P,
        FlagCond::NotP => Cc::Np,
        FlagCond::COrZ => Cc::Be,
        FlagCond::NotCNotZ => Cc::A,
        FlagCond::Lt => Cc::L,
        FlagCond::Ge => Cc::Ge,
        FlagCond::Le => Cc::Le,
        FlagCond::Gt => Cc::G,
        FlagCond::CNotZ | FlagCond::NotCOrZ => return None,
    })
}

/// Whether the host has the condition that a `getflag` asks for.
pub(super) fn has_condition(get: &Inst) -> bool {
    matches!(get.attr, Attr::FlagCond(cond) if condition(cond).is_some())
}

/// How a group is tested in memory: a byte of it against a mask, and the condition then.
fn byte_test(cond: FlagCond) -> Option<(i32, i32, Cc)> {
    Some(match cond {
        FlagCond::Z => (1, 0x40, Cc::Ne),
        FlagCond::NotZ => (1, 0x40, Cc::E),
        FlagCond::C => (1, 0x01, Cc::Ne),
        FlagCond::NotC => (1, 0x01, Cc::E),
        FlagCond::N => (1, -0x80, Cc::Ne),
        FlagCond::NotN => (1, -0x80, Cc::E),
        FlagCond::V => (0, 0x01, Cc::Ne),
        FlagCond::NotV => (0, 0x01, Cc::E),
        FlagCond::P => (1, 0x04, Cc::Ne),
        FlagCond::NotP => (1, 0x04, Cc::E),
        FlagCond::COrZ => (1, 0x41, Cc::Ne),
        FlagCond::NotCNotZ => (1, 0x41, Cc::E),
        _ => return None,
    })
}

impl Emitter<'_> {
    /// Puts 1 or 0 for the host's condition. Keeps flags, unless the destination keeps some of a register.
    pub(crate) fn put_condition(&mut self, cc: Cc, inst: &Inst, dst: Slot) {
        if inst.ext == Ext::Keep && inst.ty == Type::I8 {
            let place = self.place(dst);
            return self.asm.setcc(cc, place);
        }
        self.asm.setcc(cc, Reg::Rax);
        self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
        if inst.ext == Ext::Keep {
            self.put_narrow(inst, dst, Reg::Rax);
        } else {
            self.put(dst, Reg::Rax);
        }
    }

    /// The host's condition that a condition on a group is. Uses RAX.
    pub(crate) fn test_group(&mut self, cond: FlagCond, group: Slot) -> Cc {
        if self.host_flags == Some(group)
            && let Some(cc) = condition(cond)
        {
            return cc;
        }
        self.host_flags = None;
        if let Some(cc) = condition(cond)
            && self.compute_again(group)
        {
            return cc;
        }
        if let Some((byte, mask, cc)) = byte_test(cond) {
            let at = self.group_byte(group, byte);
            self.asm.test_imm(Width::B, at, mask);
            return cc;
        }
        let word = self.group_byte(group, 0);
        self.asm.movzx(Width::W, Reg::Rax, word);
        match condition(cond) {
            Some(cc) => {
                // One and 0x7f overflow.
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, 0xff01);
                self.asm.alu_imm(Alu::Add, Width::B, Reg::Rax, 0x7f);
                self.asm.sahf();
                cc
            }
            None => {
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, C | Z);
                self.asm.alu_imm(Alu::Cmp, Width::D, Reg::Rax, C);
                match cond {
                    FlagCond::CNotZ => Cc::E,
                    _ => Cc::Ne,
                }
            }
        }
    }

    /// A condition on flags, and the choice by it.
    pub(super) fn flag_and_select(&mut self, get: &Inst, select: &Inst) -> Option<()> {
        let [x, y, chosen, zero] = select.args;
        let temp = get.dst.filter(|dst| dst.is_temp())?;
        let to = select.dst.filter(|&to| self.has_one_word(to))?;
        let Attr::FlagCond(cond) = get.attr else {
            return None;
        };
        let is_zero = matches!(zero, Operand::Imm(0) | Operand::None);
        if chosen != Operand::Slot(temp) || !is_zero || !self.is_read_once(temp) {
            return None;
        }
        let inverse = match select.attr {
            Attr::Cond(Cond::Ne) => false,
            Attr::Cond(Cond::Eq) => true,
            _ => return None,
        };
        if !fills(select) {
            return None;
        }
        let width = any_width(select.ty)?;
        let cc = self.test_group(cond, get.args[0].slot()?);
        let cc = if inverse { cc.inverse() } else { cc };
        // Moves keep the flags.
        match (self.pin(to), width, x.slot()) {
            (Some(reg), Width::Q, Some(x)) if y.slot() == Some(to) => {
                let x = self.place(x);
                self.asm.cmov(cc, Width::Q, reg, x);
            }
            (Some(reg), Width::D, Some(x)) if y.slot() == Some(to) && select.ext == Ext::Zero => {
                let x = self.place(x);
                self.asm.cmov(cc, Width::D, reg, x);
            }
            _ => {
                self.load(y, Reg::Rax);
                let x = self.in_reg(x, Reg::Rcx);
                let wide = if width == Width::Q {
                    Width::Q
                } else {
                    Width::D
                };
                self.asm.cmov(cc, wide, Reg::Rax, x);
                self.put_narrow(select, to, Reg::Rax);
            }
        }
        Some(())
    }

    /// A condition on flags to a byte of a slot.
    pub(super) fn flag_to_byte(&mut self, get: &Inst, mov: &Inst) -> Option<()> {
        let temp = get.dst.filter(|dst| dst.is_temp())?;
        let to = mov.dst.filter(|&to| self.has_one_word(to))?;
        let Attr::FlagCond(cond) = get.attr else {
            return None;
        };
        let byte = mov.ty == Type::I8 && mov.ext == Ext::Keep;
        if !byte || mov.args[0].slot() != Some(temp) || !self.is_read_once(temp) {
            return None;
        }
        let cc = self.test_group(cond, get.args[0].slot()?);
        self.put_condition(cc, mov, to);
        Some(())
    }

    /// A condition on flags, and the way out of the block by it.
    pub(super) fn flag_and_exit(&mut self, get: &Inst, exit: &Inst, step: &Step) -> Option<()> {
        let [value, zero, target, _] = exit.args;
        let temp = get.dst.filter(|dst| dst.is_temp())?;
        let Attr::FlagCond(cond) = get.attr else {
            return None;
        };
        let is_zero = matches!(zero, Operand::Imm(0) | Operand::None);
        if value != Operand::Slot(temp) || !is_zero || !self.is_read_once(temp) {
            return None;
        }
        let inverse = match exit.attr {
            Attr::Cond(Cond::Ne) => false,
            Attr::Cond(Cond::Eq) => true,
            _ => return None,
        };
        let target = target.imm()?;
        i32::try_from(target).ok()?;
        let cc = self.test_group(cond, get.args[0].slot()?);
        let cc = if inverse { cc.inverse() } else { cc };
        self.go_to_if(cc, target, step.left.saturating_sub(1))
    }

    /// The host's condition of the branch that ends the block by a `getflag` right before it; the operation is then done.
    pub(crate) fn flag_of_branch(&mut self, get: &Inst) -> bool {
        let Terminator::Branch { cond, a, b, .. } = self.of.block.terminator else {
            return false;
        };
        let zero = matches!(b, Operand::Imm(0) | Operand::None);
        let Attr::FlagCond(flag) = get.attr else {
            return false;
        };
        let temp = get.dst.filter(|dst| dst.is_temp());
        if get.op != Op::GetFlag || temp.is_none() || a.slot() != temp || !zero {
            return false;
        }
        let inverse = match cond {
            Cond::Ne => false,
            Cond::Eq => true,
            _ => return false,
        };
        let Some(group) = get.args[0].slot() else {
            return false;
        };
        if get.ext == Ext::Keep {
            return false;
        }
        let cc = self.test_group(flag, group);
        self.branch_by = Some(if inverse { cc.inverse() } else { cc });
        true
    }
}

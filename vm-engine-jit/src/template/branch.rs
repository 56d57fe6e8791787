//! Ways out of a block.

use vm_engine::tier::{Step, Translation};
use vm_ir::{Attr, Inst, Op, Terminator, leaves_page};

use super::RETIRED;
use super::block::Emitter;
use super::cold::{Cold, Jump};
use super::flags::any_width;
use super::stubs::turn;
use crate::asm::{Alu, Cc, Label, Reg, Width};

/// See [`Emitter::repeats`].
pub(super) fn repeats(of: &Translation<'_>) -> bool {
    let start = of.block.key.phys_pc.page_offset() as i64;
    let leads_back = |offset: i64| !leaves_page(offset) && offset <= start;
    let exits = of.block.insts.iter().filter(|inst| inst.op == Op::ExitIf);
    let exits_back = || exits.filter_map(|exit| exit.args[2].imm()).any(leads_back);
    match of.block.terminator {
        Terminator::Jump { offset, .. } => leads_back(offset) || exits_back(),
        Terminator::Branch {
            taken, fallthrough, ..
        } => leads_back(taken) || leads_back(fallthrough) || exits_back(),
        _ => exits_back(),
    }
}

impl Emitter<'_> {
    /// Goes to an offset from the page base: at once within the page, else, and out of the way, through the jump cache. `undo` instructions of
    /// the block have not run.
    fn go_to(&mut self, offset: i64, undo: u16) -> Option<()> {
        if undo != 0 {
            let undo = i32::from(undo);
            self.asm.alu_imm(Alu::Sub, Width::Q, RETIRED, undo);
        }
        if leaves_page(offset) || self.in_rest {
            let offset = i32::try_from(offset).ok()?;
            self.asm.mov_imm(Reg::Rax, u64::from(offset as u32));
            self.asm.jmp_to(self.stubs.go_off);
            return Some(());
        }
        let away = self.asm.label();
        let start = self.of.block.key.phys_pc.page_offset() as i64;
        if offset <= start {
            turn(self.asm, self.pins, away);
        }
        if offset == start && self.of.block.second_page.is_none() {
            self.asm.jmp(self.start);
            self.leads(away, offset, Jump::Linked);
            return Some(());
        }
        let at = self.asm.jmp_for_now(away);
        self.leads(away, offset, Jump::At(at));
        Some(())
    }

    /// What is out of the way of a jump within the page.
    fn leads(&mut self, from: Label, offset: i64, jump: Jump) {
        let offset = offset as u16;
        self.cold.push(Cold::Leads { from, offset, jump });
    }

    /// The same as [`Self::go_to`] where the host's condition holds, else goes on behind.
    pub(crate) fn go_to_if(&mut self, cc: Cc, offset: i64, undo: u16) -> Option<()> {
        if undo == 0 && self.lazy.is_none() && self.is_ahead(offset) && !self.in_rest {
            let away = self.asm.label();
            let at = self.asm.jcc_for_now(cc, away);
            self.leads(away, offset, Jump::At(at));
            return Some(());
        }
        let stay = self.asm.label();
        self.asm.jcc_short(cc.inverse(), stay);
        self.put_lazy_on_leaving();
        self.go_to(offset, undo)?;
        self.asm.bind(stay);
        Some(())
    }

    /// Whether an offset from the page base is in the page, behind the block's start.
    fn is_ahead(&self, offset: i64) -> bool {
        let start = self.of.block.key.phys_pc.page_offset() as i64;
        !leaves_page(offset) && offset > start
    }

    pub(crate) fn exit_if(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Cond(cond) = inst.attr else {
            return None;
        };
        let [a, b, offset, _] = inst.args;
        let cc = self.compare(cond, any_width(inst.ty)?, a, b);
        self.go_to_if(cc, offset.imm()?, step.left.saturating_sub(1))
    }

    pub(crate) fn raise_if(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Cond(cond) = inst.attr else {
            return None;
        };
        let cc = self.compare(cond, any_width(inst.ty)?, inst.args[0], inst.args[1]);
        let away = self.leave_cold(step.first);
        self.asm.jcc(cc, away);
        Some(())
    }

    pub(crate) fn terminator(&mut self) -> Option<()> {
        let step = self.of.terminator;
        match self.of.block.terminator {
            Terminator::Jump { offset, .. } => self.go_to(offset, 0),
            Terminator::Branch {
                cond,
                ty,
                a,
                b,
                taken,
                fallthrough,
            } => {
                let cc = match self.branch_by {
                    Some(cc) => cc,
                    None => self.compare(cond, any_width(ty)?, a, b),
                };
                self.go_to_if(cc, taken, 0)?;
                self.go_to(fallthrough, 0)
            }
            Terminator::Indirect { target, .. } => {
                self.load(target, Reg::Rax);
                self.asm.jmp_to(self.stubs.go);
                Some(())
            }
            Terminator::Exception { .. } | Terminator::Exit { .. } | Terminator::Dispatch => {
                self.leave(step.first);
                Some(())
            }
        }
    }
}

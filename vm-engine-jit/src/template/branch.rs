//! Ways out of a block.

use vm_engine::tier::{FrameOffsets, HostJump, LinkOffsets, Step};
use vm_ir::{Attr, Inst, Terminator, leaves_page};

use super::RETIRED;
use super::block::{Cold, Emitter, width};
use super::stubs::turn;
use crate::asm::{Alu, Cc, Label, Reg, Width};

impl Emitter<'_> {
    /// Goes to an offset from the page base: through the link cell within the page, else through the jump cache.
    /// `undo` instructions of the block have not run.
    fn go_to(&mut self, offset: i64, cell: u64, undo: u16) -> Option<()> {
        if undo != 0 {
            let undo = i32::from(undo);
            self.asm.alu_imm(Alu::Sub, Width::Q, RETIRED, undo);
        }
        if leaves_page(offset) {
            let offset = i32::try_from(offset).ok()?;
            let base = self.frame(FrameOffsets::PAGE_BASE);
            self.asm.mov(Width::Q, Reg::Rax, base);
            self.asm.alu_imm(Alu::Add, Width::Q, Reg::Rax, offset);
            self.asm.jmp_to(self.stubs.go);
            return Some(());
        }
        let away = self.leave_link_cold(cell);
        let start = self.of.block.key.phys_pc.page_offset() as i64;
        if offset <= start {
            turn(self.asm, self.pins, away);
        }
        if offset == start && self.of.block.second_page.is_none() {
            self.asm.jmp(self.start);
            return Some(());
        }
        let at = self.asm.jmp_for_now(away);
        self.jumps.push(HostJump { cell, at });
        Some(())
    }

    /// A place out of the way that leaves through a link cell.
    fn leave_link_cold(&mut self, cell: u64) -> Label {
        let from = self.asm.label();
        self.cold.push(Cold::LeaveLink { from, cell });
        from
    }

    /// The same as [`Self::go_to`] where the host's condition holds, else goes on behind.
    fn go_to_if(&mut self, cc: Cc, offset: i64, cell: u64, undo: u16) -> Option<()> {
        if undo == 0 && self.is_ahead(offset) {
            let away = self.leave_link_cold(cell);
            let at = self.asm.jcc_for_now(cc, away);
            self.jumps.push(HostJump { cell, at });
            return Some(());
        }
        let stay = self.asm.label();
        self.asm.jcc_short(cc.inverse(), stay);
        self.go_to(offset, cell, undo)?;
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
        let cc = self.compare(cond, width(inst.ty)?, a, b);
        self.go_to_if(cc, offset.imm()?, step.links, step.left)
    }

    pub(crate) fn raise_if(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Cond(cond) = inst.attr else {
            return None;
        };
        let cc = self.compare(cond, width(inst.ty)?, inst.args[0], inst.args[1]);
        let away = self.leave_cold(step.first);
        self.asm.jcc(cc, away);
        Some(())
    }

    pub(crate) fn terminator(&mut self) -> Option<()> {
        let step = self.of.terminator;
        match self.of.block.terminator {
            Terminator::Jump { offset, .. } => self.go_to(offset, step.links, 0),
            Terminator::Branch {
                cond,
                ty,
                a,
                b,
                taken,
                fallthrough,
            } => {
                let Some(width) = width(ty) else {
                    self.leave(step.first);
                    return Some(());
                };
                let cc = self.compare(cond, width, a, b);
                self.go_to_if(cc, taken, step.links, 0)?;
                self.go_to(fallthrough, step.links + LinkOffsets::CELL_BYTES, 0)
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

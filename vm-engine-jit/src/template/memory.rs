//! Loads, stores, fences.

use vm_engine::tier::{FrameOffsets, Step};
use vm_ir::family::Access;
use vm_ir::{Attr, Endian, Ext, Family, Inst, MemAttr, MemOrder, Operand, Type};

use super::block::Emitter;
use super::cold::Cold;
use super::slow::recent;
use crate::asm::{Alu, Cc, Label, Mem, Reg, Width};

/// The operation, when it is an access.
pub(super) fn access_of(inst: &Inst) -> Option<Access> {
    match inst.op.family() {
        Family::Access(op) => Some(op),
        _ => None,
    }
}

/// Whether [`Emitter::access`] knows the operation.
pub(crate) fn is_native(op: Access, inst: &Inst) -> bool {
    let Attr::Mem(mem) = inst.attr else {
        return false;
    };
    match op {
        Access::Load | Access::Store => {
            mem.size_log2 <= 3
                && mem.endian == Endian::Little
                && !mem.must_align
                && !matches!(inst.ty, Type::V128 | Type::I128 | Type::F16 | Type::Flags)
                && (inst.ext != Ext::Keep || matches!(inst.ty, Type::I8 | Type::I16))
        }
        Access::ProbeWrite => false,
    }
}

pub(super) fn access_width(mem: MemAttr) -> Width {
    [Width::B, Width::W, Width::D, Width::Q][usize::from(mem.size_log2 & 3)]
}

impl Emitter<'_> {
    /// The recent translation to try for an address that is off this operand: what is reached by one register mostly lies
    /// in one page for a while.
    pub(crate) fn line_of(&self, base: Operand) -> u8 {
        match base {
            Operand::Slot(slot) if !slot.is_temp() => self.pins.line_of_state(slot.index()),
            Operand::Slot(slot) => {
                let known = self.origins.line(slot);
                known.unwrap_or_else(|| self.pins.line_of_temp(slot.index()))
            }
            _ => 0,
        }
    }

    /// The guest-virtual address to RAX.
    pub(super) fn address(&mut self, inst: &Inst, mem: MemAttr) -> Option<()> {
        let [base, index, displacement, _] = inst.args;
        let disp = displacement.imm().unwrap_or(0);
        let disp = i32::try_from(disp).ok()?;
        let base = self.in_reg(base, Reg::Rax);
        match index {
            Operand::None if disp == 0 => {
                if base != Reg::Rax {
                    self.asm.mov(Width::Q, Reg::Rax, base);
                }
            }
            Operand::None => self.asm.lea(Width::Q, Reg::Rax, Mem::new(base, disp)),
            index => {
                let index = self.in_reg(index, Reg::Rcx);
                let at = Mem::indexed(base, index, mem.index_shift & 3, disp);
                self.asm.lea(Width::Q, Reg::Rax, at);
            }
        }
        Some(())
    }

    /// The host address of the guest's in RAX, as a sum of two registers; RDX is used. Without translation at hand the
    /// step runs instead, and goes on at the label given back. `line` is the recent translation to try first.
    pub(crate) fn probe(
        &mut self,
        mem: MemAttr,
        write: bool,
        line: u8,
        step: &Step,
    ) -> Option<(Mem, Label)> {
        if step.first == 0 {
            return None;
        }
        self.count_access();
        let (from, hit) = self.probe_recent(mem.size_log2, write, line);
        let back = self.asm.label();
        self.cold.push(Cold::Refill {
            from,
            refill: self.stubs.refill[usize::from(write)],
            line,
            must_align: mem.must_align,
            hit,
            op: step.first,
            back,
            live: self.live,
            unpacked: self.unpacked,
        });
        Some((Mem::indexed(Reg::Rax, Reg::Rcx, 0, 0), back))
    }

    pub(super) fn count_access(&mut self) {
        if self.counts_accesses {
            let count = self.frame(FrameOffsets::ACCESSES);
            self.asm.alu_imm(Alu::Add, Width::Q, count, 1);
        }
    }

    /// Tries a recent translation for the guest's address in RAX: what to add to that in RCX, RDX used, at the second of
    /// two labels. At the first, it was not this one.
    pub(super) fn probe_recent(&mut self, size_log2: u8, write: bool, line: u8) -> (Label, Label) {
        let (miss, hit) = (self.asm.label(), self.asm.label());
        let tag = match write {
            false => FrameOffsets::RECENT_READ,
            true => FrameOffsets::RECENT_WRITE,
        };
        // The page, and the bits that tell a misaligned address.
        self.page_of(Reg::Rdx, Reg::Rax, 0, size_log2);
        let tag = recent(self.pins, tag, line);
        self.asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, tag);
        self.asm.jcc(Cc::Ne, miss);
        let addend = recent(self.pins, FrameOffsets::RECENT_ADDEND, line);
        self.asm.mov(Width::Q, Reg::Rcx, addend);
        self.asm.bind(hit);
        (miss, hit)
    }

    pub(crate) fn access(&mut self, op: Access, inst: &Inst, step: &Step) -> Option<()> {
        match op {
            Access::Load => self.memory_load(inst, step),
            Access::Store => self.memory_store(inst, step),
            Access::ProbeWrite => None,
        }
    }

    fn memory_load(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        let from = self.reach(inst, mem, step)?;
        if self.load_vector(inst, mem, from) {
            return Some(());
        }
        let keeps = inst.ext == Ext::Keep;
        let to = match inst.dst.and_then(|dst| self.pin(dst)) {
            Some(reg) if !keeps => reg,
            _ => Reg::Rax,
        };
        let (held, wanted) = (8 << mem.size_log2, inst.ty.bits());
        let narrow = access_width(mem);
        let extended = held < wanted;
        if extended && mem.signed {
            // Extended to the operation's type; beyond, as `ext` says.
            let whole = wanted == 64 || inst.ext == Ext::Sign;
            match (whole, wanted) {
                (true, _) => self.asm.movsx(Width::Q, narrow, to, from),
                (false, 32) => self.asm.movsx(Width::D, narrow, to, from),
                (false, _) => {
                    self.asm.movsx(Width::D, narrow, to, from);
                    self.asm.movzx(Width::W, to, to);
                }
            }
        } else if !extended && inst.ext == Ext::Sign && held < 64 {
            self.asm.movsx(Width::Q, narrow, to, from);
        } else {
            self.asm.movzx(narrow, to, from);
        }
        if inst.ext == Ext::Ones && wanted < 64 {
            self.asm.mov_imm(Reg::Rcx, u64::MAX << wanted);
            self.asm.alu(Alu::Or, Width::Q, to, Reg::Rcx);
        }
        match inst.dst {
            Some(dst) if keeps => self.put_narrow(inst, dst, to),
            Some(dst) => self.give(dst, to),
            None => {}
        }
        Some(())
    }

    fn memory_store(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        let to = self.reach(inst, mem, step)?;
        if !self.store_vector(inst, mem, to) {
            let value = self.in_reg(inst.args[3], Reg::Rdx);
            self.asm.store(access_width(mem), to, value);
        }
        if mem.order == MemOrder::SeqCst {
            self.asm.mfence();
        }
        Some(())
    }

    /// Everything but an earlier store against a later load is ordered by x86-64 itself.
    pub(crate) fn fence(&mut self, inst: &Inst) {
        if let Attr::Fence(set) = inst.attr
            && set.before_stores
            && set.after_loads
        {
            self.asm.mfence();
        }
    }
}

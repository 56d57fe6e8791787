//! Atomic read-modify-write and compare-and-swap of 1 to 8 bytes, load-reserved and store-conditional of 4 and 8.
//!
//! Locked instructions and exchanges with memory order everything before them against everything behind (Intel SDM 3A,
//! 9.2.2), so acquire and release ask for nothing more. A conditional store that fails is no access at all. Only a
//! load-reserved with release must be kept behind earlier stores.

use vm_engine::tier::{FrameOffsets, Step, TlbOffsets};
use vm_ir::family::{Modify, Reserve};
use vm_ir::{Attr, Endian, Ext, Inst, MemAttr, MemOrder, Operand, Type};

use super::PAGE_MASK;
use super::block::Emitter;
use super::slow::tlb_entry;
use crate::asm::{Alu, Cc, Label, Mem, Reg, Width};

/// Whether [`Emitter::reserve`] knows the operation.
pub(crate) fn reserves(inst: &Inst) -> bool {
    modifies(inst) && matches!(inst.attr, Attr::Mem(mem) if mem.size_log2 >= 2)
}

/// Whether [`Emitter::modify`] knows the operation.
pub(crate) fn modifies(inst: &Inst) -> bool {
    let Attr::Mem(mem) = inst.attr else {
        return false;
    };
    let fits = matches!(
        (mem.size_log2, inst.ty),
        (0, Type::I8) | (1, Type::I16) | (2, Type::I32 | Type::I64) | (3, Type::I64)
    );
    fits && mem.endian == Endian::Little && matches!(inst.ext, Ext::Zero | Ext::Sign)
}

/// How a host does it.
enum Way {
    /// By one locked instruction, which gives what memory held.
    Swap,
    Add,
    /// In a loop: by an operation, or by keeping what memory holds where the operand compares so with it.
    Alu(Alu),
    Keep(Cc),
}

fn width(mem: MemAttr) -> Width {
    [Width::B, Width::W, Width::D, Width::Q][usize::from(mem.size_log2 & 3)]
}

impl Emitter<'_> {
    pub(crate) fn reserve(&mut self, op: Reserve, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        match op {
            Reserve::LoadReserved => self.load_reserved(inst, mem, step),
            Reserve::StoreConditional => self.store_conditional(inst, mem, step),
        }
    }

    pub(crate) fn modify(&mut self, op: Modify, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        let way = match op {
            Modify::Cas => return self.compare_swap(inst, mem, step),
            Modify::AtomicSwap => Way::Swap,
            Modify::AtomicAdd => Way::Add,
            Modify::AtomicAnd => Way::Alu(Alu::And),
            Modify::AtomicOr => Way::Alu(Alu::Or),
            Modify::AtomicXor => Way::Alu(Alu::Xor),
            Modify::AtomicMinS => Way::Keep(Cc::G),
            Modify::AtomicMaxS => Way::Keep(Cc::L),
            Modify::AtomicMinU => Way::Keep(Cc::A),
            Modify::AtomicMaxU => Way::Keep(Cc::B),
        };
        self.read_modify_write(way, inst, mem, step)
    }

    /// Puts what memory held, filled up as the operation says.
    fn held(&mut self, inst: &Inst, mem: MemAttr, from: Reg) {
        let Some(dst) = inst.dst else {
            return;
        };
        let narrow = width(mem);
        if narrow == Width::Q {
            return self.put(dst, from);
        }
        let signed = if inst.ty.bits() > 8 << mem.size_log2 {
            mem.signed
        } else {
            inst.ext == Ext::Sign
        };
        let to = self.pin(dst).unwrap_or(from);
        match narrow {
            _ if signed => self.asm.movsx(Width::Q, narrow, to, from),
            Width::D => self.asm.mov(Width::D, to, from),
            _ => self.asm.movzx(narrow, to, from),
        }
        self.put(dst, to);
    }

    fn read_modify_write(
        &mut self,
        way: Way,
        inst: &Inst,
        mem: MemAttr,
        step: &Step,
    ) -> Option<()> {
        let [address, value, ..] = inst.args;
        let width = width(mem);
        self.load(address, Reg::Rax);
        let line = self.line_of(address);
        let (place, back) = self.probe_aligned(mem, line, step)?;
        match way {
            // One locked instruction, where what memory held is not wanted.
            Way::Add if inst.dst.is_none() => self.locked(Alu::Add, width, place, value),
            Way::Alu(op) if inst.dst.is_none() => self.locked(op, width, place, value),
            Way::Add => {
                self.load(value, Reg::Rdx);
                self.asm.lock_xadd(width, place, Reg::Rdx);
                self.held(inst, mem, Reg::Rdx);
            }
            Way::Swap => {
                self.load(value, Reg::Rdx);
                self.asm.xchg(width, place, Reg::Rdx);
                self.held(inst, mem, Reg::Rdx);
            }
            Way::Alu(_) | Way::Keep(_) => {
                self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, Reg::Rax);
                let place = Mem::new(Reg::Rcx, 0);
                self.asm.mov(width, Reg::Rax, place);
                let again = self.asm.here();
                self.load(value, Reg::Rdx);
                if let Way::Alu(op) = way {
                    self.asm.alu(op, width, Reg::Rdx, Reg::Rax);
                } else if let Way::Keep(cc) = way {
                    self.asm.alu(Alu::Cmp, width, Reg::Rdx, Reg::Rax);
                    // What is above the width does not matter.
                    self.asm.cmov(cc, Width::Q, Reg::Rdx, Reg::Rax);
                }
                self.asm.lock_cmpxchg(width, place, Reg::Rdx);
                self.asm.jcc(Cc::Ne, again);
                self.held(inst, mem, Reg::Rax);
            }
        }
        self.asm.bind(back);
        Some(())
    }

    fn locked(&mut self, op: Alu, width: Width, place: Mem, value: Operand) {
        let value = self.in_reg(value, Reg::Rdx);
        self.asm.lock_alu(op, width, place, value);
    }

    fn compare_swap(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<()> {
        let [address, old, new, _] = inst.args;
        self.load(address, Reg::Rax);
        let line = self.line_of(address);
        let (_, back) = self.probe_aligned(mem, line, step)?;
        self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, Reg::Rax);
        self.load(old, Reg::Rax);
        let new = self.in_reg(new, Reg::Rdx);
        self.asm
            .lock_cmpxchg(width(mem), Mem::new(Reg::Rcx, 0), new);
        self.held(inst, mem, Reg::Rax);
        self.asm.bind(back);
        Some(())
    }

    /// Where an atomic access goes, as for [`Emitter::probe`]. A misaligned one is left to the step, which knows whether it
    /// faults, and keeps it from being a split lock of the host.
    fn probe_aligned(&mut self, mem: MemAttr, line: u8, step: &Step) -> Option<(Mem, Label)> {
        self.probe(mem.aligned(), true, line, step)
    }

    /// The guest-physical address of the guest's in RAX to RAX itself, the host's to RCX; RDX is used. Reservations are
    /// of guest-physical addresses, which the recent translations lack, so this asks the TLB. Without translation there
    /// the step runs instead, and goes on at the label given back.
    fn probe_physical(&mut self, mem: MemAttr, tag: i32, step: &Step) -> Option<Label> {
        if step.first == 0 {
            return None;
        }
        let (from, back) = (self.asm.label(), self.asm.label());
        tlb_entry(self.asm, self.pins, Reg::Rax);
        // The page, and the bits that tell a misaligned address.
        let bits = PAGE_MASK | (mem.bytes() as i32 - 1);
        self.asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
        self.asm.alu_imm(Alu::And, Width::Q, Reg::Rdx, bits);
        let tag = Mem::new(Reg::Rcx, tag);
        self.asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, tag);
        self.asm.jcc(Cc::Ne, from);
        self.step_away(from, step, back);
        let page = Mem::new(Reg::Rcx, TlbOffsets::PHYS);
        let addend = Mem::new(Reg::Rcx, TlbOffsets::ADDEND);
        self.asm.mov(Width::Q, Reg::Rdx, page);
        self.asm.mov(Width::Q, Reg::Rcx, addend);
        self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, Reg::Rax);
        self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, !PAGE_MASK);
        self.asm.alu(Alu::Or, Width::Q, Reg::Rax, Reg::Rdx);
        Some(back)
    }

    fn load_reserved(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<()> {
        if matches!(mem.order, MemOrder::Release | MemOrder::SeqCst) {
            self.asm.mfence();
        }
        self.load(inst.args[0], Reg::Rax);
        let back = self.probe_physical(mem, TlbOffsets::READ, step)?;
        self.asm.mov(width(mem), Reg::Rdx, Mem::new(Reg::Rcx, 0));
        let address = self.frame(FrameOffsets::RESERVATION_ADDR);
        self.asm.store(Width::Q, address, Reg::Rax);
        let low = self.frame(FrameOffsets::RESERVATION_VALUE);
        self.asm.store(Width::Q, low, Reg::Rdx);
        let high = self.frame(FrameOffsets::RESERVATION_VALUE + 8);
        self.asm.store_imm(Width::Q, high, 0);
        self.held(inst, mem, Reg::Rdx);
        self.asm.bind(back);
        Some(())
    }

    fn store_conditional(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<()> {
        let [address, value, ..] = inst.args;
        self.load(address, Reg::Rax);
        let back = self.probe_physical(mem, TlbOffsets::WRITE, step)?;
        let done = self.asm.label();
        let reserved = self.frame(FrameOffsets::RESERVATION_ADDR);
        self.asm.alu(Alu::Cmp, Width::Q, Reg::Rax, reserved);
        // No address, and the flags stay.
        self.asm.store_imm(Width::Q, reserved, -1);
        self.asm.jcc(Cc::Ne, done);
        if width(mem) == Width::D {
            // What was reserved in another size does not match, unless it happens to.
            let above = self.frame(FrameOffsets::RESERVATION_VALUE + 4);
            self.asm.alu_imm(Alu::Cmp, Width::D, above, 0);
            self.asm.jcc(Cc::Ne, done);
        }
        let old = self.frame(FrameOffsets::RESERVATION_VALUE);
        self.asm.mov(Width::Q, Reg::Rax, old);
        let value = self.in_reg(value, Reg::Rdx);
        self.asm
            .lock_cmpxchg(width(mem), Mem::new(Reg::Rcx, 0), value);
        // All ways to fail come with ZF clear.
        self.asm.bind(done);
        if let Some(dst) = inst.dst {
            self.asm.setcc(Cc::Ne, Reg::Rax);
            self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
            self.put(dst, Reg::Rax);
        }
        self.asm.bind(back);
        Some(())
    }
}

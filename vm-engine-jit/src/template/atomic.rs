//! Atomic read-modify-write, compare-and-swap, load-reserved and store-conditional of 4 and 8 bytes.
//!
//! Locked instructions and exchanges with memory order everything before them against everything behind (Intel SDM 3A,
//! 9.2.2), so acquire and release ask for nothing more. A conditional store that fails is no access at all. Only a
//! load-reserved with release must be kept behind earlier stores.

use vm_engine::tier::{FrameOffsets, Step, TlbOffsets};
use vm_ir::{Attr, Endian, Ext, Inst, MemAttr, MemOrder, Op, Type};

use super::PAGE_MASK;
use super::block::{Cold, Emitter};
use super::memory::line_of;
use super::stubs::tlb_entry;
use crate::asm::{Alu, Cc, Label, Mem, Reg, Width};

/// Whether this is an atomic operation.
pub(crate) fn is_atomic(op: Op) -> bool {
    matches!(
        op,
        Op::LoadReserved
            | Op::StoreConditional
            | Op::Cas
            | Op::AtomicSwap
            | Op::AtomicAdd
            | Op::AtomicAnd
            | Op::AtomicOr
            | Op::AtomicXor
            | Op::AtomicMinS
            | Op::AtomicMaxS
            | Op::AtomicMinU
            | Op::AtomicMaxU
    )
}

/// Whether [`Emitter::atomic`] knows the operation.
pub(crate) fn is_native(inst: &Inst, mem: MemAttr) -> bool {
    let fits = matches!(
        (mem.size_log2, inst.ty),
        (2, Type::I32 | Type::I64) | (3, Type::I64)
    );
    is_atomic(inst.op)
        && fits
        && mem.endian == Endian::Little
        && matches!(inst.ext, Ext::Zero | Ext::Sign)
}

/// How two values become one: an operation, or the second where it compares so.
enum Combine {
    Alu(Alu),
    Keep(Cc),
}

/// What a loop makes of the operand and what memory holds.
fn combine(op: Op) -> Option<Combine> {
    Some(match op {
        Op::AtomicAnd => Combine::Alu(Alu::And),
        Op::AtomicOr => Combine::Alu(Alu::Or),
        Op::AtomicXor => Combine::Alu(Alu::Xor),
        Op::AtomicMinS => Combine::Keep(Cc::G),
        Op::AtomicMaxS => Combine::Keep(Cc::L),
        Op::AtomicMinU => Combine::Keep(Cc::A),
        Op::AtomicMaxU => Combine::Keep(Cc::B),
        _ => return None,
    })
}

fn width(mem: MemAttr) -> Width {
    if mem.size_log2 == 3 {
        Width::Q
    } else {
        Width::D
    }
}

impl Emitter<'_> {
    pub(crate) fn atomic(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        match inst.op {
            Op::LoadReserved => self.load_reserved(inst, mem, step),
            Op::StoreConditional => self.store_conditional(inst, mem, step),
            Op::Cas => self.compare_swap(inst, mem, step),
            _ => self.modify(inst, mem, step),
        }
    }

    /// Puts what memory held, filled up as the operation says.
    fn held(&mut self, inst: &Inst, mem: MemAttr, from: Reg) {
        let Some(dst) = inst.dst else {
            return;
        };
        if width(mem) == Width::Q {
            return self.put(dst, from);
        }
        let signed = if inst.ty == Type::I64 {
            mem.signed
        } else {
            inst.ext == Ext::Sign
        };
        let to = self.pin(dst).unwrap_or(from);
        if signed {
            self.asm.movsx(Width::Q, Width::D, to, from);
        } else {
            self.asm.mov(Width::D, to, from);
        }
        self.put(dst, to);
    }

    fn modify(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<()> {
        let [address, value, ..] = inst.args;
        let width = width(mem);
        self.load(address, Reg::Rax);
        let (place, back) = self.probe(mem, true, line_of(address), step)?;
        let unwanted = match inst.op {
            _ if inst.dst.is_some() => None,
            Op::AtomicAdd => Some(Alu::Add),
            Op::AtomicAnd => Some(Alu::And),
            Op::AtomicOr => Some(Alu::Or),
            Op::AtomicXor => Some(Alu::Xor),
            _ => None,
        };
        if let Some(op) = unwanted {
            let value = self.in_reg(value, Reg::Rdx);
            self.asm.lock_alu(op, width, place, value);
        } else if let Some(combine) = combine(inst.op) {
            self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, Reg::Rax);
            let place = Mem::new(Reg::Rcx, 0);
            self.asm.mov(width, Reg::Rax, place);
            let again = self.asm.here();
            self.load(value, Reg::Rdx);
            match combine {
                Combine::Alu(op) => self.asm.alu(op, width, Reg::Rdx, Reg::Rax),
                Combine::Keep(cc) => {
                    self.asm.alu(Alu::Cmp, width, Reg::Rdx, Reg::Rax);
                    self.asm.cmov(cc, width, Reg::Rdx, Reg::Rax);
                }
            }
            self.asm.lock_cmpxchg(width, place, Reg::Rdx);
            self.asm.jcc(Cc::Ne, again);
            self.held(inst, mem, Reg::Rax);
        } else {
            self.load(value, Reg::Rdx);
            match inst.op {
                Op::AtomicAdd => self.asm.lock_xadd(width, place, Reg::Rdx),
                Op::AtomicSwap => self.asm.xchg(width, place, Reg::Rdx),
                _ => return None,
            }
            self.held(inst, mem, Reg::Rdx);
        }
        self.asm.bind(back);
        Some(())
    }

    fn compare_swap(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<()> {
        let [address, old, new, _] = inst.args;
        self.load(address, Reg::Rax);
        let (_, back) = self.probe(mem, true, line_of(address), step)?;
        self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, Reg::Rax);
        self.load(old, Reg::Rax);
        let new = self.in_reg(new, Reg::Rdx);
        self.asm
            .lock_cmpxchg(width(mem), Mem::new(Reg::Rcx, 0), new);
        self.held(inst, mem, Reg::Rax);
        self.asm.bind(back);
        Some(())
    }

    /// The guest-physical address of the guest's in RAX to RAX itself, the host's to RCX; RDX is used. Reservations are
    /// of guest-physical addresses, which the recent translations lack, so this asks the TLB. Without translation there
    /// the step runs instead, and goes on at the label given back.
    fn probe_physical(&mut self, mem: MemAttr, tag: i32, step: &Step) -> Option<Label> {
        if step.first == 0 {
            return None;
        }
        let (from, back) = (self.asm.label(), self.asm.label());
        tlb_entry(self.asm, self.pins);
        // The page, and the bits that tell a misaligned address.
        let bits = PAGE_MASK | (mem.bytes() as i32 - 1);
        self.asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
        self.asm.alu_imm(Alu::And, Width::Q, Reg::Rdx, bits);
        let tag = Mem::new(Reg::Rcx, tag);
        self.asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, tag);
        self.asm.jcc(Cc::Ne, from);
        self.cold.push(Cold::Step {
            from,
            op: step.first,
            back,
            live: self.live,
            unpacked: self.unpacked,
        });
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

//! Loads and stores of vectors.

use vm_engine::tier::{AccessSite, FrameOffsets, Step};

use super::*;
use crate::asm::{Alu, Cc, Label, Mem, Reg, Vex, Width};
use crate::template::PAGE_MASK;
use crate::template::cold::Cold;
use crate::template::group::NEXT_PAGE;
use crate::template::memory::access_width;
use crate::template::slow::recent;
use vm_ir::{MemAttr, MemOrder};

/// Bytes of a vector.
pub(super) const HALF_BYTES: i32 = 16;

/// `vmovss`, `vmovsd` from memory: the rest becomes zero.
const LOAD_32: Vex = Vex::new(2, 1, 0x10);
const LOAD_64: Vex = Vex::new(3, 1, 0x10);
const STORE_32: Vex = Vex::new(2, 1, 0x11);
const STORE_64: Vex = Vex::new(3, 1, 0x11);
/// `vpextrb`, `vpextrw` to memory.
const STORE_8: Vex = Vex::new(1, 3, 0x14);
const STORE_16: Vex = Vex::new(1, 3, 0x15);

/// An access of 16 bytes out of the way; see [`Cold::Vector`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Away {
    from: Label,
    access: u64,
    site: u32,
    /// What is stored.
    value: Option<Slot>,
    hit: Label,
    held: Held,
}

/// Whether [`Emitter::vector_load`] and [`Emitter::vector_store`] know the access.
pub(super) fn is_plain(inst: &Inst) -> bool {
    let Attr::Mem(mem) = inst.attr else {
        return false;
    };
    mem.endian == Endian::Little
        && mem.order == MemOrder::Relaxed
        && !mem.signed
        && inst.ext == Ext::Zero
        && (mem.size_log2 == 4 || mem.size_log2 < 4 && !mem.must_align)
        && 8 << mem.size_log2 == inst.ty.bits()
}

impl Emitter<'_> {
    pub(super) fn vector_load(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let (Attr::Mem(mem), Some(dst)) = (inst.attr, inst.dst) else {
            return None;
        };
        let from = self.reach_any(inst, mem, step)?;
        let to = self.result(dst);
        match mem.size_log2 {
            4 => self.asm.vmov(to, from),
            3 => self.asm.vex(LOAD_64, to.0, 0, from),
            2 => self.asm.vex(LOAD_32, to.0, 0, from),
            _ => {
                self.asm.movzx(access_width(mem), Reg::Rax, from);
                self.asm.vex(moves::FROM_32, to.0, 0, Reg::Rax);
            }
        }
        self.has_result(dst, to);
        Some(())
    }

    pub(super) fn vector_store(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let (Attr::Mem(mem), Operand::Slot(value)) = (inst.attr, inst.args[3]) else {
            return None;
        };
        let to = self.reach_any(inst, mem, step)?;
        let from = self.in_xmm(value, ACC);
        match mem.size_log2 {
            4 => self.asm.vstore(to, from),
            3 => self.asm.vex(STORE_64, from.0, 0, to),
            2 => self.asm.vex(STORE_32, from.0, 0, to),
            1 => self.asm.vex_imm(STORE_16, from.0, 0, to, 0),
            _ => self.asm.vex_imm(STORE_8, from.0, 0, to, 0),
        }
        Some(())
    }

    fn reach_any(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<Mem> {
        match mem.size_log2 {
            4 => {
                self.address(inst, mem)?;
                self.reach_vector(inst, mem, step)
            }
            _ => self.reach(inst, mem, step),
        }
    }

    /// The host address of 16 bytes at the guest's in RAX, as a sum of two registers; RDX is used.
    fn reach_vector(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<Mem> {
        let write = inst.op == Op::Store;
        let line = self.line_of(inst.args[0]);
        let site = AccessSite {
            line,
            size_log2: mem.size_log2,
            pc_offset: step.pc_offset,
            left: step.left,
            must_align: mem.must_align,
        };
        let site = site.pack()?;
        self.count_access();
        let (from, hit) = (self.asm.label(), self.asm.label());
        let (tag, low_bits) = match (write, mem.must_align) {
            (false, true) => (FrameOffsets::RECENT_READ, 15),
            (false, false) => (FrameOffsets::RECENT_READ, 0),
            (true, true) => (FrameOffsets::RECENT_WRITE, 15),
            (true, false) => (FrameOffsets::RECENT_WRITE, 0),
        };
        let mask = i64::from(PAGE_MASK | low_bits) as u64;
        self.asm.mov_imm(Reg::Rdx, mask);
        self.asm.alu(Alu::And, Width::Q, Reg::Rdx, Reg::Rax);
        let tag = recent(self.pins, tag, line);
        self.asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, tag);
        self.asm.jcc(Cc::Ne, from);
        if !mem.must_align {
            // The last byte is on the same page.
            self.asm.lea(Width::D, Reg::Rdx, Mem::new(Reg::Rax, 15));
            self.asm.alu(Alu::Xor, Width::D, Reg::Rdx, Reg::Rax);
            self.asm.test_dh(NEXT_PAGE);
            self.asm.jcc(Cc::Ne, from);
        }
        let addend = recent(self.pins, FrameOffsets::RECENT_ADDEND, line);
        self.asm.mov(Width::Q, Reg::Rcx, addend);
        self.asm.bind(hit);
        self.cold.push(Cold::Vector(Away {
            from,
            access: self.stubs.vector_access[usize::from(write)],
            site,
            value: inst.args[3].slot(),
            hit,
            held: self.held,
        }));
        Some(Mem::indexed(Reg::Rax, Reg::Rcx, 0, 0))
    }

    /// Emits what is out of an access's way.
    pub(crate) fn cold_vector(&mut self, away: Away) {
        self.held = away.held;
        self.asm.bind(away.from);
        self.store_all_held();
        if let Some(value) = away.value {
            let from = self.in_xmm(value, ACC);
            let to = self.frame(FrameOffsets::VALUE);
            self.asm.vstore(to, from);
        }
        self.asm.mov_imm(Reg::Rcx, away.site.into());
        self.asm.call_to(away.access);
        self.load_held(away.held);
        self.asm.jmp(away.hit);
    }
}

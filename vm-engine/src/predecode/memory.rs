//! Accesses to memory, atomic operations and fences.

use vm_ir::family::Access;
use vm_ir::{Attr, Endian, Ext, FenceSet, Inst, MemAttr, MemOrder, Op, Operand, Slot, Type};

use super::Predecoder;
use crate::frame::{ZERO_OFFSET, scratch_offset};
use crate::interp::{int, memory};
use crate::microop::Handler;

impl Predecoder<'_> {
    /// The micro-operations of an access.
    pub(super) fn access(&mut self, op: Access, inst: &Inst) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        if self.in_two_steps(inst, mem) {
            return Some(());
        }
        let [x, y, z, value] = inst.args;
        if op != Access::ProbeWrite && mem.must_align && mem.size_log2 > 0 {
            self.check_aligned(op, inst, mem);
        }
        let swaps = mem.endian == Endian::Big && mem.size_log2 > 0;
        let a = self.operand(x);
        let index = y != Operand::None;
        let c = self.operand(y);
        let shift = i32::from(mem.index_shift);
        let displacement = z.imm().unwrap_or(0) as u64;
        let (handler, d, b) = match op {
            Access::Load => {
                let signed = sign_fills(inst, mem) && !swaps;
                let handler = memory::load_handler(mem.size_log2, signed, index);
                (handler, self.destination(inst.dst), ZERO_OFFSET)
            }
            Access::Store => {
                let handler = memory::store_handler(mem.size_log2, index);
                let stored = self.stored(value, mem.size_log2);
                let stored = match swaps {
                    true => self.swapped(stored, mem.size_log2),
                    false => stored,
                };
                (handler, 0, stored)
            }
            Access::ProbeWrite => (
                memory::probe_handler(mem.must_align),
                u16::from(mem.size_log2),
                ZERO_OFFSET,
            ),
        };
        self.emit(handler, |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, shift);
            op.imm = displacement;
        });
        if swaps && op == Access::Load {
            let handler = memory::swap_handler(mem.size_log2, sign_fills(inst, mem));
            self.emit(handler, |op| (op.d, op.a) = (d, d));
        }
        if op == Access::Store && mem.order == MemOrder::SeqCst {
            self.emit(memory::fence_full, |_| ());
        }
        Some(())
    }

    /// The micro-operations of an atomic operation, whose handler follows from the size.
    pub(super) fn atomic(
        &mut self,
        inst: &Inst,
        handler: impl FnOnce(u8) -> Handler,
    ) -> Option<()> {
        let Attr::Mem(mem) = inst.attr else {
            return None;
        };
        if self.in_two_steps(inst, mem) {
            return Some(());
        }
        let [x, y, z, _] = inst.args;
        let size = mem.size_log2;
        let (a, b, c) = (self.operand(x), self.stored(y, size), self.stored(z, size));
        let d = self.destination(inst.dst);
        let signed = i32::from(sign_fills(inst, mem));
        let released = matches!(mem.order, MemOrder::Release | MemOrder::SeqCst);
        if inst.op == Op::LoadReserved && released {
            // All other atomics are fences on x86-64; this one is a load, and those pass earlier stores.
            self.emit(memory::fence_full, |_| ());
        }
        self.emit(handler(size), |op| {
            (op.d, op.a, op.b, op.c, op.aux) = (d, a, b, c, signed)
        });
        Some(())
    }

    /// Where what memory gives must be extended apart, the fault comes first, then the filling of the destination.
    fn in_two_steps(&mut self, inst: &Inst, mem: MemAttr) -> bool {
        let needed = inst
            .dst
            .is_some_and(|dst| self.needs_two_steps(inst, mem, dst));
        if needed {
            self.with_handler(&Inst {
                dst: Some(self.held),
                ext: Ext::Zero,
                ty: Type::I64,
                ..*inst
            });
            self.fill(inst, mem);
        }
        needed
    }

    /// Fills the destination of an operation from the word that is held, which has been extended from memory's size.
    fn fill(&mut self, inst: &Inst, mem: MemAttr) {
        let (ty, ext) = match inst.op {
            Op::StoreConditional => (Type::I8, Ext::Zero),
            _ if inst.ty.bits() <= 64 => (inst.ty, inst.ext),
            _ if mem.signed => (Type::I64, Ext::Sign),
            _ => (Type::I64, Ext::Zero),
        };
        let held = Operand::Slot(self.held);
        self.inst(&Inst {
            op: Op::Mov,
            ty,
            ext,
            args: [held, Operand::None, Operand::None, Operand::None],
            attr: Attr::None,
            ..*inst
        });
    }

    /// Raises the exception of an access that is not aligned.
    fn check_aligned(&mut self, op: Access, inst: &Inst, mem: MemAttr) {
        let [x, y, z, _] = inst.args;
        let (a, c) = (self.operand(x), self.operand(y));
        let size = u16::from(mem.size_log2);
        let handler = memory::aligned_handler(op == Access::Store);
        self.emit(handler, |op| {
            (op.d, op.a, op.c, op.aux) = (size, a, c, i32::from(mem.index_shift));
            op.imm = z.imm().unwrap_or(0) as u64;
        });
        self.scratch_used = 0;
    }

    /// A copy of the value at an offset, its bytes in the other order.
    fn swapped(&mut self, value: u16, size_log2: u8) -> u16 {
        let d = scratch_offset(self.scratch_used);
        self.scratch_used += 2;
        let handler = memory::swap_handler(size_log2, false);
        self.emit(handler, |op| (op.d, op.a) = (d, value));
        d
    }

    /// Whether what a memory operation gives must be extended apart: to less than the word, with ones, or beyond it.
    fn needs_two_steps(&self, inst: &Inst, mem: MemAttr, dst: Slot) -> bool {
        let narrow_sign =
            mem.signed && is_extended(inst, mem) && inst.ty != Type::I64 && inst.ext == Ext::Zero;
        let narrow = inst.ty.bits() <= 64 || mem.size_log2 < 4;
        let beyond = self.is_wide(dst) && (narrow || inst.op == Op::StoreConditional);
        let partial = narrow_sign || matches!(inst.ext, Ext::Ones | Ext::Keep);
        // Zero or one fills whatever it goes to.
        beyond || partial && inst.op != Op::StoreConditional
    }

    pub(super) fn fence(&mut self, set: FenceSet) {
        // Everything but an earlier store against a later load is ordered by x86-64 itself.
        if set.before_stores && set.after_loads {
            self.emit(memory::fence_full, |_| ());
        }
    }

    /// The same for a value of `1 << size_log2` bytes.
    fn stored(&mut self, operand: Operand, size_log2: u8) -> u16 {
        match operand {
            Operand::Imm(value) if size_log2 == 4 => {
                let first = self.scratch_used;
                self.scratch_used += 2;
                for (n, word) in [value, value >> 63].into_iter().enumerate() {
                    self.emit(int::constant, |op| {
                        op.d = scratch_offset(first + n);
                        op.imm = word as u64;
                    });
                }
                scratch_offset(first)
            }
            operand => self.operand(operand),
        }
    }
}

/// Whether what memory holds is narrower than the operation's type.
fn is_extended(inst: &Inst, mem: MemAttr) -> bool {
    8 << mem.size_log2 < inst.ty.bits()
}

/// Whether the sign of what memory holds reaches the top of the 64-bit slot (or would, but for a later cut).
fn sign_fills(inst: &Inst, mem: MemAttr) -> bool {
    if is_extended(inst, mem) {
        mem.signed
    } else {
        inst.ext == Ext::Sign
    }
}

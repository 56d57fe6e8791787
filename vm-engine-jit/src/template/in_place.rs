//! A load, an operation, and a store of its result to where the load was from: one check of the address, and one
//! instruction of the host's.
//!
//! Where the page has no tag for writing in the recent translations, the operations are done one by one out of the way,
//! so that whichever of them faults does as the guest expects.

use vm_engine::tier::FrameOffsets;
use vm_ir::family::{Access, Unary};
use vm_ir::{Attr, Ext, Family, FlagKind, Inst, MemAttr, MemOrder, Op, Operand, Slot};

use super::block::Emitter;
use super::cold::{Cold, Live};
use super::flags::{About, Host, about, any_width, short};
use super::float::Unpacked;
use super::memory::{self, access_width};
use super::reach::is_whole;
use super::vector::Held;
use super::x87::Unit;
use crate::asm::{Alu, Reg, Width};

/// What is done to memory.
#[derive(Clone, Copy)]
pub(super) struct Modification {
    what: What,
    width: Width,
    mem: MemAttr,
    /// The flags of the result, if they are wanted.
    flags: Option<(About, Slot)>,
    /// Operations in the block.
    pub(super) count: usize,
}

#[derive(Clone, Copy)]
enum What {
    Alu(Alu, Operand),
    Neg,
    Not,
    Inc,
    Dec,
}

impl Emitter<'_> {
    /// The modification that begins at an operation of the block.
    pub(super) fn modification(&self, at: usize) -> Option<Modification> {
        let [load, op, store, rest @ ..] = self.of.block.insts.get(at..)? else {
            return None;
        };
        let (Op::Load, Op::Store, Attr::Mem(mem)) = (load.op, store.op, load.attr) else {
            return None;
        };
        let Attr::Mem(stored) = store.attr else {
            return None;
        };
        let (held, result) = (load.dst?, op.dst?);
        let of_one_place = stored.size_log2 == mem.size_log2
            && stored.index_shift == mem.index_shift
            && load.args[..3] == store.args[..3];
        let plain = |mem: MemAttr, inst: &Inst, access| {
            mem.order == MemOrder::Relaxed && memory::is_native(access, inst)
        };
        let operands = [Operand::Slot(held), Operand::Slot(result)];
        let [x, y, ..] = op.args;
        let disp = load.args[2].imm().unwrap_or(0);
        let fits = of_one_place
            && i32::try_from(disp).is_ok()
            && !self.has_vector_temps()
            && plain(mem, load, Access::Load)
            && plain(stored, store, Access::Store)
            && load.ext == Ext::Zero
            && is_whole(op.ty, mem)
            && held.is_temp()
            && result.is_temp()
            && held != result
            && self.has_one_word(held)
            && self.has_one_word(result)
            && x == operands[0]
            && !operands.contains(&y)
            && store.args[3] == operands[1]
            && load.args[..2].iter().all(|arg| !operands.contains(arg));
        if !fits {
            return None;
        }
        let width = any_width(op.ty)?;
        let step = |alu| match self.step_of(op, rest.first()) {
            Some(true) => What::Inc,
            Some(false) => What::Dec,
            None => What::Alu(alu, y),
        };
        let what = match (op.op, op.op.family()) {
            (Op::Add, _) => step(Alu::Add),
            (Op::Sub, _) => step(Alu::Sub),
            (Op::And, _) => What::Alu(Alu::And, y),
            (Op::Or, _) => What::Alu(Alu::Or, y),
            (Op::Xor, _) => What::Alu(Alu::Xor, y),
            (_, Family::Unary(Unary::Neg)) => What::Neg,
            (_, Family::Unary(Unary::Not)) => What::Not,
            _ => return None,
        };
        let flags = rest
            .first()
            .and_then(|set| Some((self.flags_of(op, set, result)?, set.dst?)));
        let count = 3 + usize::from(flags.is_some());
        let of_flags = rest.first().filter(|_| flags.is_some());
        let reads = |slot: Slot| {
            let by_flags = of_flags
                .into_iter()
                .flat_map(Inst::reads)
                .filter(|&read| read == slot);
            1 + by_flags.count() as u8
        };
        let all_here = [held, result]
            .into_iter()
            .all(|slot| self.reads.get(slot.index()) == Some(&reads(slot)));
        all_here.then_some(Modification {
            what,
            width,
            mem,
            flags,
            count,
        })
    }

    /// Whether vector registers have temporaries, which operations out of the way would change.
    pub(super) fn has_vector_temps(&self) -> bool {
        self.has_unpacked() || !self.held.is_empty()
    }

    /// Whether the flags want the operation be an increment, or a decrement.
    fn step_of(&self, op: &Inst, set: Option<&Inst>) -> Option<bool> {
        let set = set.filter(|set| set.dst.is_some() && set.ty == op.ty)?;
        let Attr::FlagKind(kind) = set.attr else {
            return None;
        };
        match about(kind, set, op)?.host {
            Host::Inc => Some(true),
            Host::Dec => Some(false),
            _ => None,
        }
    }

    /// The flags that an operation sets, if they are about the operation.
    fn flags_of(&self, op: &Inst, set: &Inst, result: Slot) -> Option<About> {
        let Attr::FlagKind(kind) = set.attr else {
            return None;
        };
        if set.op != Op::SetFlags || set.ty != op.ty {
            return None;
        }
        let logic = matches!(op.op, Op::And | Op::Or | Op::Xor);
        match kind {
            FlagKind::Logic if logic && set.args[0] == Operand::Slot(result) => {
                Some(About::logic(!self.logic_clears_a))
            }
            _ => about(kind, set, op).map(About::from),
        }
    }

    /// Translates a modification that begins at an operation of the block; tells how many operations it had, or `None`
    /// when none begins there.
    pub(super) fn modify_in_place(&mut self, at: usize) -> Option<usize> {
        let load = self.of.block.insts.get(at)?;
        if load.op != Op::Load {
            return None;
        }
        let Modification {
            what,
            width,
            mem,
            flags,
            count,
        } = self.modification(at)?;
        // A temporary that RAX has is the base.
        let kept = self.pending;
        let (place, _, [from, _]) = self.look_up(load, mem, true)?;
        self.host_flags = None;
        self.carry = None;
        if self.counts_accesses {
            let counter = self.frame(FrameOffsets::ACCESSES);
            self.asm.alu_imm(Alu::Add, Width::Q, counter, 2);
        }
        if let Some((about, _)) = flags {
            self.prepare_carry(about.carry_in);
        }
        match what {
            What::Alu(op, y) => match short(access_width(mem), y) {
                Some(value) => self.asm.alu_imm(op, width, place, value),
                None => {
                    // Neither load changes flags.
                    let y = self.in_reg(y, Reg::Rdx);
                    self.asm.alu_to_mem(op, width, place, y);
                }
            },
            What::Neg => self.asm.neg(width, place),
            What::Not => self.asm.not(width, place),
            What::Inc => self.asm.inc(width, place),
            What::Dec => self.asm.dec(width, place),
        }
        if let Some((about, group)) = flags {
            self.store_flags(group, about.clears_a);
        }
        let back = self.asm.here();
        self.cold.push(Cold::Apart {
            from,
            at,
            count,
            kept,
            lazy: self.lazy,
            back,
            live: self.live,
        });
        Some(count)
    }

    /// Does operations of the block one by one out of the way.
    pub(super) fn one_by_one(&mut self, at: usize, count: usize, live: Live) -> Option<()> {
        (self.host_flags, self.carry, self.pending) = (None, None, None);
        self.unpacked = Unpacked::default();
        self.held = Held::default();
        (self.live, self.next) = (live, usize::MAX);
        let of = self.of;
        for n in at..at + count {
            self.inst(&of.block.insts[n], &of.steps[n])?;
        }
        if live.float && !self.live.float {
            self.asm.call_to(self.stubs.fp_enter);
        }
        if live.x87 == Unit::Guest && self.live.x87 != Unit::Guest {
            self.asm.call_to(self.stubs.x87_enter);
        }
        Some(())
    }
}

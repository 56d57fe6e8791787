//! Flags that nobody can look at.

use crate::attr::{Attr, FlagKind};
use crate::block::Block;
use crate::inst::{Inst, Operand};
use crate::op::{Effects, Op};
use crate::slot::{Slot, StateLayout};
use crate::verify::effects;

/// Removes operations that set a flag group which is set anew before anybody can look: at a fault, an exit, a helper
/// that reads state, or by an operation; and what was computed for those alone. Two walks over the block; most guests'
/// blocks set no flags, and cost next to nothing.
pub fn remove_dead_flags(block: &mut Block, layout: &StateLayout) {
    if !block.insts.iter().any(sets_flags) {
        return;
    }
    // Groups that are set behind the operation at hand before anybody looks.
    let mut dead: Vec<Slot> = Vec::new();
    let mut removes = false;
    for inst in block.insts.iter_mut().rev() {
        if sets_flags(inst)
            && let Some(dst) = inst.dst
        {
            if dead.contains(&dst) {
                inst.dst = None;
                removes = true;
                if is_idle(inst) {
                    continue;
                }
            } else {
                dead.push(dst);
            }
        }
        let effects = effects(inst, layout);
        if effects.has(Effects::MAY_FAULT)
            || effects.has(Effects::MAY_EXIT)
            || effects.has(Effects::READS_STATE)
        {
            dead.clear();
        }
        if reads_flags(inst) {
            dead.retain(|&group| flag_reads(inst).all(|slot| slot != group));
        }
    }
    if removes {
        block.insts.retain(|inst| !is_idle(inst));
        remove_unread(block, layout);
    }
}

/// Removes operations whose results go to temporaries that nobody reads.
fn remove_unread(block: &mut Block, layout: &StateLayout) {
    let mut read = vec![false; block.temps.len()];
    let ends = block.terminator.operands();
    let ends = ends.iter().filter_map(|operand| operand.slot());
    for slot in ends.filter(|slot| slot.is_temp()) {
        read[slot.index()] = true;
    }
    let idle = |inst: &Inst| {
        inst.dst.is_none()
            && !matches!(inst.op, Op::Insn | Op::Call)
            && effects(inst, layout) == Effects::NONE
    };
    let mut removes = false;
    for inst in block.insts.iter_mut().rev() {
        if let Some(dst) = inst.dst.filter(|dst| dst.is_temp())
            && !read[dst.index()]
            && effects(inst, layout) == Effects::NONE
        {
            inst.dst = None;
            removes = true;
            continue;
        }
        for slot in inst.reads().filter(|slot| slot.is_temp()) {
            read[slot.index()] = true;
        }
    }
    if removes {
        block.insts.retain(|inst| !idle(inst));
    }
}

/// What a reader of flags reads. A shift by a constant that is not zero sets all flags, whatever they were.
fn flag_reads(inst: &Inst) -> impl Iterator<Item = Slot> + '_ {
    let shifts = matches!(
        inst.attr,
        Attr::FlagKind(FlagKind::Shl | FlagKind::Shr | FlagKind::Sar)
    );
    let mask = if inst.ty.bits() == 64 { 63 } else { 31 };
    let sets_all = shifts && matches!(inst.args[1], Operand::Imm(count) if count & mask != 0);
    let old = inst.args[3].slot().filter(|_| sets_all);
    inst.reads().filter(move |&slot| Some(slot) != old)
}

fn sets_flags(inst: &Inst) -> bool {
    matches!(inst.op, Op::SetFlags | Op::FpCmpFlags) || is_move(inst)
}

fn reads_flags(inst: &Inst) -> bool {
    matches!(inst.op, Op::SetFlags | Op::GetFlag | Op::FlagBits) || is_move(inst)
}

fn is_move(inst: &Inst) -> bool {
    inst.op == Op::Mov && inst.ty == crate::slot::Type::Flags
}

/// Whether it sets nothing and does nothing else.
fn is_idle(inst: &Inst) -> bool {
    inst.dst.is_none() && (inst.op == Op::SetFlags || is_move(inst))
}

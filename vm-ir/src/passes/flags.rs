//! Flags that nobody can look at.

use crate::block::Block;
use crate::inst::Inst;
use crate::op::{Effects, Op};
use crate::slot::{Slot, StateLayout};
use crate::verify::effects;

/// Removes operations that set a flag group which is set anew before anybody can look: at a fault, an exit, a helper
/// that reads state, or by an operation. One walk over the block; most guests' blocks set no flags, and cost next to nothing.
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
            dead.retain(|&group| inst.reads().all(|slot| slot != group));
        }
    }
    if removes {
        block.insts.retain(|inst| !is_idle(inst));
    }
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

//! Dead code: results that nobody reads, and state writes that are written over before anybody can look.

use crate::block::Block;
use crate::inst::{Ext, Inst};
use crate::op::{Effects, Op};
use crate::slot::{Slot, StateLayout};
use crate::verify::effects;

/// Removes operations without effect whose result is dead, and drops dead results of those with effects.
pub fn remove_dead(block: &mut Block, layout: &StateLayout) {
    let mut live = Live {
        state: vec![true; layout.slots.len()],
        temps: vec![false; block.temps.len()],
        layout,
    };
    for slot in block
        .terminator
        .operands()
        .iter()
        .filter_map(|operand| operand.slot())
    {
        live.set(slot, true);
    }
    for inst in block.insts.iter_mut().rev() {
        live.step(inst);
    }
    block
        .insts
        .retain(|inst| inst.op == Op::Insn || !is_idle(inst, layout));
}

/// An operation that computes a result for nobody.
fn is_idle(inst: &Inst, layout: &StateLayout) -> bool {
    inst.dst.is_none() && inst.op != Op::Call && effects(inst, layout) == Effects::NONE
}

/// The slots whose contents somebody may still look at.
struct Live<'a> {
    state: Vec<bool>,
    temps: Vec<bool>,
    layout: &'a StateLayout,
}

impl Live<'_> {
    fn place(&mut self, slot: Slot) -> &mut bool {
        if slot.is_temp() {
            &mut self.temps[slot.index()]
        } else {
            &mut self.state[slot.index()]
        }
    }

    fn set(&mut self, slot: Slot, live: bool) {
        *self.place(slot) = live;
    }

    /// Goes backwards over one operation.
    fn step(&mut self, inst: &mut Inst) {
        if let Some(dst) = inst.dst {
            if !*self.place(dst) {
                inst.dst = None;
                inst.ext = Ext::Zero;
            } else {
                // A destination that is kept in part comes back as one of the reads.
                self.set(dst, false);
            }
        }
        if is_idle(inst, self.layout) {
            return;
        }
        if self.lets_look(inst) {
            self.state.fill(true);
        }
        let reads: Vec<Slot> = inst.reads().collect();
        for slot in reads {
            self.set(slot, true);
        }
    }

    /// Whether somebody may look at the whole state at this operation.
    fn lets_look(&self, inst: &Inst) -> bool {
        let effects = effects(inst, self.layout);
        effects.has(Effects::MAY_FAULT)
            || effects.has(Effects::MAY_EXIT)
            || effects.has(Effects::READS_STATE)
    }
}

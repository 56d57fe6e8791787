//! Copy propagation: reads of a copy become reads of what it was copied from.

use std::collections::HashMap;

use super::{map_terminator, type_of};
use crate::block::Block;
use crate::inst::{Inst, Operand};
use crate::op::{Effects, Op};
use crate::slot::{Slot, StateLayout, Type};
use crate::verify::effects;

/// Replaces operands that are unchanged copies of other slots of the same type by those.
pub fn propagate_copies(block: &mut Block, layout: &StateLayout) {
    let mut copies = Copies {
        origin: HashMap::new(),
        temps: &block.temps,
        layout,
    };
    for inst in &mut block.insts {
        for operand in &mut inst.args {
            *operand = copies.replace(*operand);
        }
        copies.follow(inst);
    }
    let copies = &copies;
    map_terminator(&mut block.terminator, |operand| copies.replace(operand));
}

/// Which slots hold what another holds.
struct Copies<'a> {
    origin: HashMap<Slot, Slot>,
    temps: &'a [Type],
    layout: &'a StateLayout,
}

impl Copies<'_> {
    fn replace(&self, operand: Operand) -> Operand {
        match operand.slot().and_then(|slot| self.origin.get(&slot)) {
            Some(&origin) => Operand::Slot(origin),
            None => operand,
        }
    }

    fn follow(&mut self, inst: &Inst) {
        if effects(inst, self.layout).has(Effects::WRITES_STATE) {
            self.origin
                .retain(|copy, origin| copy.is_temp() && origin.is_temp());
        }
        let Some(dst) = inst.dst else { return };
        self.origin
            .retain(|copy, origin| *copy != dst && *origin != dst);
        let Some(from) = inst.args[0].slot().filter(|_| inst.op == Op::Mov) else {
            return;
        };
        let whole = |slot| type_of(slot, self.temps, self.layout);
        if from != dst && whole(dst) == whole(from) && inst.ty.bits() == whole(dst).bits() {
            self.origin.insert(dst, from);
        }
    }
}

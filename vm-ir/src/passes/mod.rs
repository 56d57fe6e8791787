//! Rewriting blocks to do the same with less.
//!
//! A pass keeps everything a guest can see at every place where it can look: the state and memory at each fault, exit,
//! helper call and at the end, and the number of guest instructions. Temporaries and the bits of a slot's words above
//! its type are not seen by anybody.

mod constants;
mod copies;
mod dead;
mod flags;
#[cfg(test)]
mod tests;

pub use constants::fold_constants;
pub use copies::propagate_copies;
pub use dead::remove_dead;
pub use flags::remove_dead_flags;

use crate::block::{Block, Terminator};
use crate::inst::Operand;
use crate::op::Class;
use crate::slot::{Slot, StateLayout, Type};

/// Runs every pass once, in the order in which they help each other.
pub fn optimize(block: &mut Block, layout: &StateLayout) {
    fold_constants(block, layout);
    propagate_copies(block, layout);
    remove_dead(block, layout);
}

/// The type of a slot of a verified block.
fn type_of(slot: Slot, temps: &[Type], layout: &StateLayout) -> Type {
    if slot.is_temp() {
        temps[slot.index()]
    } else {
        layout.slots[slot.index()].ty
    }
}

/// The terminator with its operands replaced.
fn map_terminator(terminator: &mut Terminator, replace: impl Fn(Operand) -> Operand) {
    match terminator {
        Terminator::Branch { a, b, .. } => (*a, *b) = (replace(*a), replace(*b)),
        Terminator::Indirect { target: only, .. } | Terminator::Exception { value: only, .. } => {
            *only = replace(*only);
        }
        Terminator::Jump { .. } | Terminator::Exit { .. } | Terminator::Dispatch => {}
    }
}

/// Whether a constant may stand for an operand of this class.
fn takes_constant(class: Class, ty: Type) -> bool {
    match class {
        Class::Int | Class::OptInt => true,
        Class::Any => ty.is_int(),
        _ => false,
    }
}

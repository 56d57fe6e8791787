//! Whether a block keeps the rules that everything behind the decoders relies on.
//!
//! | rules | file |
//! |---|---|
//! | operand classes, types and widths, attributes | `types` |
//! | precise faults: nothing is written before the last operation that may fault | `faults` |
//! | markers, temporaries, helpers, terminators | here |

mod faults;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use faults::effects;

use vm_core::PAGE_BYTES;

use crate::attr::Attr;
use crate::block::{Block, JumpKind, Terminator};
use crate::inst::{Ext, Inst, Operand};
use crate::op::Op;
use crate::slot::{Slot, StateLayout, Type};
use crate::text;

/// A block that breaks a rule. Whoever made the block (decoder, pass) is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {violation}")]
pub struct VerifyError {
    /// The operation in the text form, with its number; or the terminator.
    pub place: String,
    /// The rule it breaks.
    pub violation: Violation,
}

/// A rule broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// The slot is not in the layout, or the temporary not in the block.
    #[error("slot does not exist")]
    NoSuchSlot,
    /// The helper is not in the layout.
    #[error("helper does not exist")]
    NoSuchHelper,
    /// The vector operation is not in the layout.
    #[error("vector operation does not exist")]
    NoSuchVector,
    /// The operation table asks for another attribute.
    #[error("attribute is not of the operation's class")]
    AttributeClass,
    /// An attribute's value has no meaning.
    #[error("attribute has no meaning: {0}")]
    Attribute(&'static str),
    /// The operation does not exist in this type.
    #[error("operation does not exist in this type")]
    OperationType,
    /// An operand or the result is not of the class that the table says.
    #[error("{0} is not of the operation's class")]
    Class(&'static str),
    /// An operand or the result is narrower than the type.
    #[error("{0} is narrower than the type")]
    Width(&'static str),
    /// An extension where nothing is left to fill.
    #[error("extension without anything to fill")]
    Extension,
    /// A temporary is read before it is written.
    #[error("temporary is read before it is written")]
    Undefined,
    /// Something was written before an operation that may fault, within one guest instruction.
    #[error("written although operation {fault} behind it may fault (0: the terminator)")]
    WriteBeforeFault {
        /// Number of the operation that may fault; zero for the terminator.
        fault: usize,
    },
    /// An operation stands before the first guest instruction.
    #[error("operation outside of any guest instruction")]
    OutsideInstruction,
    /// A guest instruction is not where the last one ended, or not in the page.
    #[error("guest instruction does not follow the one before")]
    Marker,
    /// The block's counts are not those of its markers.
    #[error("counts of guest instructions or bytes are wrong")]
    Counts,
    /// Something follows `exit_if` in its guest instruction.
    #[error("operation behind exit_if in the same guest instruction")]
    AfterExit,
    /// A target is more than 2 GiB from the page.
    #[error("target is too far away")]
    Offset,
}

/// Checks every rule.
///
/// # Errors
/// The first violation.
pub fn verify(block: &Block, layout: &StateLayout) -> Result<(), VerifyError> {
    let checker = Checker {
        temps: &block.temps,
        layout,
    };
    for (number, inst) in block.insts.iter().enumerate() {
        checker
            .inst(inst)
            .map_err(|violation| checker.at(block, number, violation))?;
    }
    let terminator = checker.terminator(&block.terminator);
    terminator.map_err(|violation| checker.at_end(block, violation))?;
    checker.order(block)?;
    checker.temporaries(block)?;
    checker.faults(block)
}

/// Whether one operation by itself keeps the rules of types and operands.
#[cfg(test)]
pub(crate) fn accepts(inst: &Inst, temps: &[Type], layout: &StateLayout) -> bool {
    Checker { temps, layout }.inst(inst).is_ok()
}

struct Checker<'a> {
    temps: &'a [Type],
    layout: &'a StateLayout,
}

impl Checker<'_> {
    fn at(&self, block: &Block, number: usize, violation: Violation) -> VerifyError {
        let inst = &block.insts[number];
        let inst = text::print_inst(inst, self.temps, self.layout);
        VerifyError {
            place: format!("operation {number} `{inst}`"),
            violation,
        }
    }

    fn at_end(&self, block: &Block, violation: Violation) -> VerifyError {
        let terminator = text::print_terminator(&block.terminator, self.layout);
        VerifyError {
            place: format!("terminator `{terminator}`"),
            violation,
        }
    }

    fn slot_type(&self, slot: Slot) -> Result<Type, Violation> {
        let ty = if slot.is_temp() {
            self.temps.get(slot.index()).copied()
        } else {
            self.layout
                .slots
                .get(slot.index())
                .map(|declared| declared.ty)
        };
        ty.ok_or(Violation::NoSuchSlot)
    }

    /// Markers stand one behind the other and count right; `exit_if` ends its instruction.
    fn order(&self, block: &Block) -> Result<(), VerifyError> {
        let mut expected = block.key.phys_pc.page_offset();
        let mut start = None;
        let mut after_exit = false;
        for (number, inst) in block.insts.iter().enumerate() {
            let fail = |violation| Err(self.at(block, number, violation));
            let Attr::Insn { offset, len } = inst.attr else {
                if after_exit {
                    return fail(Violation::AfterExit);
                }
                if start.is_none() {
                    return fail(Violation::OutsideInstruction);
                }
                after_exit = inst.op == Op::ExitIf;
                continue;
            };
            after_exit = false;
            let (offset, len) = (u64::from(offset), u64::from(len));
            if len == 0 && start == Some(offset) {
                continue;
            }
            if len == 0 || offset != expected || offset >= PAGE_BYTES {
                return fail(Violation::Marker);
            }
            start = Some(offset);
            expected = offset + len;
        }
        let straddles = block.second_page.is_some() && block.guest_insns == 1;
        if expected > PAGE_BYTES && !straddles {
            return Err(self.at_end(block, Violation::Marker));
        }
        if block.marked() != (block.guest_insns, block.guest_bytes) {
            return Err(self.at_end(block, Violation::Counts));
        }
        Ok(())
    }

    fn temporaries(&self, block: &Block) -> Result<(), VerifyError> {
        let mut written = vec![false; self.temps.len()];
        let undefined = |written: &[bool], slot: Slot| slot.is_temp() && !written[slot.index()];
        for (number, inst) in block.insts.iter().enumerate() {
            if inst.reads().any(|slot| undefined(&written, slot)) {
                return Err(self.at(block, number, Violation::Undefined));
            }
            if let Some(slot) = inst.dst.filter(|slot| slot.is_temp()) {
                written[slot.index()] = true;
            }
        }
        let read = block.terminator.operands();
        if read
            .iter()
            .filter_map(|operand| operand.slot())
            .any(|slot| undefined(&written, slot))
        {
            return Err(self.at_end(block, Violation::Undefined));
        }
        Ok(())
    }

    fn terminator(&self, terminator: &Terminator) -> Result<(), Violation> {
        let near = |offset: i64| {
            if i32::try_from(offset).is_ok() {
                Ok(())
            } else {
                Err(Violation::Offset)
            }
        };
        let kind = |kind| match kind {
            JumpKind::Call { return_offset } => near(return_offset),
            JumpKind::Plain | JumpKind::Return => Ok(()),
        };
        let int = |operand, ty| self.operand(crate::Class::Int, ty, operand, "operand");
        match *terminator {
            Terminator::Jump { offset, kind: what } => near(offset).and_then(|()| kind(what)),
            Terminator::Branch {
                ty,
                a,
                b,
                taken,
                fallthrough,
                ..
            } => {
                if !ty.is_int() {
                    return Err(Violation::OperationType);
                }
                int(a, ty)?;
                int(b, ty)?;
                near(taken)?;
                near(fallthrough)
            }
            Terminator::Indirect { target, kind: what } => {
                int(target, Type::I64).and_then(|()| kind(what))
            }
            Terminator::Exception { value, .. } => int(value, Type::I64),
            Terminator::Exit { offset } => near(offset),
            Terminator::Dispatch => Ok(()),
        }
    }

    fn inst(&self, inst: &Inst) -> Result<(), Violation> {
        self.attribute(inst)?;
        self.operation_type(inst)?;
        self.operands(inst)?;
        self.result(inst)?;
        if inst.op == Op::ExitIf
            && inst.args[2]
                .imm()
                .is_none_or(|at| i32::try_from(at).is_err())
        {
            return Err(Violation::Offset);
        }
        Ok(())
    }
}

/// Whether the operand is nothing at all.
fn is_none(operand: Operand) -> bool {
    operand == Operand::None
}

/// Whether a result keeps bits of the old destination.
fn keeps(inst: &Inst) -> bool {
    inst.ext == Ext::Keep
}

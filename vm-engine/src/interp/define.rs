//! Operations without a handler of their own: run by their definition.

#![allow(unsafe_code)]

use vm_frontend::Guest;
use vm_ir::eval::{self, FpControl, Value};
use vm_ir::{Inst, Op, Operand};
use vm_softfloat::RoundingDirection;

use crate::frame::{FrameHead, common, word};
use crate::microop::MicroOp;

/// Reads the first words of a slot.
unsafe fn read(f: *mut FrameHead, offset: u16, words: usize) -> Value {
    let mut value = Value::default();
    for (n, word_of_value) in value.iter_mut().take(words).enumerate() {
        // SAFETY: the slot at this offset has that many words (caller).
        *word_of_value = unsafe { *word(f, offset).add(n) };
    }
    value
}

/// Runs the operation: `imm` is the exposed address of its [`Inst`], which lives as long as the code; slots are at `d`,
/// `a`, `b`, `c` and the low half of `aux`, whose high half is the words of the destination.
pub(crate) unsafe fn run<G: Guest>(f: *mut FrameHead, op: *const MicroOp) {
    // SAFETY: predecoding exposed the address of an instruction that the block's code owns, and took the offsets from
    // the slots of that instruction; the verifier holds operands to slots at least as large as the words read. The state is
    // of this guest and begins with the common part (`Frame`).
    unsafe {
        let inst = &*std::ptr::with_exposed_provenance::<Inst>((*op).imm as usize);
        let offsets = [(*op).a, (*op).b, (*op).c, (*op).aux as u16];
        let args = std::array::from_fn(|n| match inst.args[n] {
            Operand::None => Value::default(),
            Operand::Imm(value) => eval::constant(value),
            Operand::Slot(_) => read(f, offsets[n], eval::operand_words(inst, n)),
        });
        // Operations that come here from a handler of their own say nothing: they fill one word.
        let words = ((*op).aux as usize >> 16).max(1);
        let dst_old = read(f, (*op).d, words);
        let common = common(f);
        let mut fp = FpControl {
            rounding: RoundingDirection::from_riscv((*common).fp_rounding as u8)
                .unwrap_or_default(),
            flags: (*common).fp_flags,
            rules: G::fp_env(&*common.cast::<G::State>()),
        };
        let value = match inst.op {
            Op::VecCall => eval::vector_row(inst, args, G::layout(), &mut fp),
            _ => eval::evaluate(inst, args, dst_old, (*common).page_base, &mut fp),
        }
        .expect("invariant: predecoding gives other operations handlers");
        (*common).fp_flags = fp.flags;
        for (n, &word_of_value) in value.iter().take(words).enumerate() {
            *word(f, (*op).d).add(n) = word_of_value;
        }
    }
}

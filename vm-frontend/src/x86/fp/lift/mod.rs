//! Lifting of x87, MMX, SSE and AVX instructions.
//!
//! | rules | file |
//! |---|---|
//! | by a row of the table of vector operations | `packed` |
//! | moves, extraction and insertion | `moves` |
//! | AVX's permutations and broadcasts, masked moves, gathers | `permute` |
//! | arithmetic and conversion of one number | `scalar` |
//! | comparison of strings | `strings` |
//! | MMX | `mmx` |
//! | x87 | `x87` |
//! | MXCSR, saving and restoring | `control` |
//!
//! Of an instruction on two halves the high one is computed first: it takes nothing from a low half that the destination
//! has, but for those that say so.

mod control;
mod mmx;
mod moves;
mod operand;
mod packed;
mod permute;
mod scalar;
mod strings;
mod x87;

use iced_x86::{EncodingKind, Mnemonic, Register};

use super::rows;
use crate::x86::lift::Flow;
use crate::x86::lift::context::Context;
use crate::x86::lift::exception::INVALID_OPCODE;
use crate::x86::mode;

/// #NM (Intel SDM 3A, 6.15, "Interrupt 7").
const NOT_AVAILABLE: u8 = 7;
/// #GP.
const PROTECTION: u8 = 13;

const INVALID: Flow = Flow::Raise(INVALID_OPCODE);

/// A rule of one of the families.
#[derive(Clone, Copy)]
enum Rule {
    Missing,
    Control(control::Rule),
    Moves(moves::Rule),
    Permute(permute::Rule),
    Scalar(scalar::Rule),
    Strings(strings::Rule),
    X87(x87::Rule),
}

/// The rule of each mnemonic that is not lifted by its row alone.
static RULES: [Rule; rows::MNEMONICS] = {
    let mut rules = [Rule::Missing; rows::MNEMONICS];
    add_rules!(rules, Control, control);
    add_rules!(rules, Moves, moves);
    add_rules!(rules, Permute, permute);
    add_rules!(rules, Scalar, scalar);
    add_rules!(rules, Strings, strings);
    add_rules!(rules, X87, x87);
    rules
};

fn rule(mnemonic: Mnemonic) -> Rule {
    RULES
        .get(mnemonic as usize)
        .copied()
        .unwrap_or(Rule::Missing)
}

/// Lifts the instruction; those that have no rule do not exist.
pub(in crate::x86) fn lift(c: &mut Context<'_>) -> Flow {
    let mnemonic = c.insn.mnemonic();
    match rule(mnemonic) {
        Rule::Control(rule) => return control::lift(c, rule),
        Rule::X87(rule) => return x87::lift(c, rule),
        _ => {}
    }
    if let Some(raised) = unavailable(c) {
        return raised;
    }
    match (rule(mnemonic), rows::of(mnemonic)) {
        (Rule::Moves(rule), _) => moves::lift(c, rule),
        (Rule::Permute(rule), _) => permute::lift(c, rule),
        (Rule::Scalar(rule), _) => scalar::lift(c, rule),
        (Rule::Strings(rule), _) => strings::lift(c, rule),
        (_, Some((id, row))) => packed::lift(c, id, row.shape),
        _ => INVALID,
    }
}

/// What the instruction raises because its unit is off (Intel SDM 3A, 13.1; Intel SDM 2A, 2.5).
fn unavailable(c: &Context<'_>) -> Option<Flow> {
    let raised = match c.insn.encoding() {
        EncodingKind::Legacy if uses_mmx(c) && (!uses_xmm(c) || c.has(mode::NO_X87)) => {
            let no_task = c.has(mode::NO_X87) && !c.has(mode::TASK_SWITCHED);
            match (no_task, c.has(mode::NO_X87)) {
                (true, _) => INVALID_OPCODE,
                (_, true) => NOT_AVAILABLE,
                _ => return None,
            }
        }
        EncodingKind::Legacy if c.has(mode::NO_SSE) => INVALID_OPCODE,
        EncodingKind::VEX if c.has(mode::NO_AVX) => INVALID_OPCODE,
        EncodingKind::Legacy | EncodingKind::VEX if c.has(mode::TASK_SWITCHED) => NOT_AVAILABLE,
        EncodingKind::Legacy | EncodingKind::VEX => return None,
        _ => INVALID_OPCODE,
    };
    Some(Flow::Raise(raised))
}

fn uses_mmx(c: &Context<'_>) -> bool {
    (0..c.insn.op_count()).any(|n| c.insn.op_register(n).is_mm())
}

fn uses_xmm(c: &Context<'_>) -> bool {
    (0..c.insn.op_count()).any(|n| c.insn.op_register(n).is_xmm())
}

/// Whether the instruction is VEX-encoded.
fn is_vex(c: &Context<'_>) -> bool {
    c.insn.encoding() == EncodingKind::VEX
}

/// Whether an operand is a YMM register.
fn is_wide(c: &Context<'_>) -> bool {
    (0..c.insn.op_count()).any(|n| c.insn.op_register(n).is_ymm())
}

/// The number of a vector register.
fn number(register: Register) -> usize {
    let first = match () {
        () if register.is_ymm() => Register::YMM0,
        () if register.is_mm() => Register::MM0,
        () => Register::XMM0,
    };
    (register as usize).wrapping_sub(first as usize) & 15
}

/// Whether there is a rule for a mnemonic.
#[cfg(test)]
pub(in crate::x86) fn knows(mnemonic: Mnemonic) -> bool {
    let by_row = rows::of(mnemonic).is_some_and(|(_, row)| row.shape != rows::Shape::Special);
    by_row || !matches!(rule(mnemonic), Rule::Missing)
}

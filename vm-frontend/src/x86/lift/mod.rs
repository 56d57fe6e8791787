//! Lifting of x86 code to IR blocks.
//!
//! What it is: one file per family of instructions, each with a table from [`Mnemonic`] to a rule and the function that
//! applies the rules; this file walks over the bytes of a block and puts the tables together. The compiler checks that
//! no mnemonic has two rules.
//!
//! Data flow: [`lift`] reads bytes, iced-x86 decodes them, [`gate`] says whether the processor has the instruction; it is
//! marked in the block and its rule applied; a rule adds operations and says whether the block goes on.
//!
//! Where the manual leaves flags open, they are what is cheapest.

pub(super) mod address;
mod arith;
mod atomic;
mod bcd;
mod bits;
mod branch;
mod bytes;
pub(super) mod context;
mod convert;
pub(super) mod exception;
mod flags;
mod gate;
mod helper;
mod logic;
mod misc;
mod moves;
mod muldiv;
mod segments;
mod shifts;
mod stack;
mod step;
mod string;
mod system;
#[cfg(test)]
mod tests;
use iced_x86::{Instruction, Mnemonic};
use vm_ir::{Block, BlockKey, ExceptionCode, JumpKind, Operand, Terminator};

use crate::guest::{CodePage, Exception, LiftLimits};
use crate::x86::cpu::CpuConfig;
use bytes::{Bytes, Fetched};
use context::Context;
pub(super) use helper::{PORT_CHECK, PORT_IN, PORT_OUT, SEGMENT};

const PAGE: u16 = vm_core::PAGE_BYTES as u16;
/// Bytes of the longest instruction.
const LONGEST: u16 = 15;

/// What follows an instruction.
pub(super) enum Flow {
    /// The next one.
    Next,
    /// Nothing in this block.
    End(Terminator),
    /// Nothing: the instruction raises an exception with error code zero, and the rule has written nothing.
    Raise(u8),
}

/// The instruction does not exist in this mode.
const INVALID: Flow = Flow::Raise(exception::INVALID_OPCODE);
/// The instruction is not allowed here: #GP(0).
const DENIED: Flow = Flow::Raise(exception::PROTECTION);

/// A rule of one of the families.
#[derive(Clone, Copy)]
enum Rule {
    Missing,
    Arith(arith::Rule),
    Bcd(bcd::Rule),
    Bits(bits::Rule),
    Branch(branch::Rule),
    Convert(convert::Rule),
    Flags(flags::Rule),
    Logic(logic::Rule),
    Misc(misc::Rule),
    Moves(moves::Rule),
    MulDiv(muldiv::Rule),
    Segments(segments::Rule),
    Shifts(shifts::Rule),
    Stack(stack::Rule),
    Atomic(atomic::Rule),
    String(string::Rule),
    System(system::Rule),
}

/// Mnemonics that have numbers below this; a test holds it against iced-x86's own count.
const MNEMONICS: usize = 1894;

/// The rule of each mnemonic.
static RULES: [Rule; MNEMONICS] = {
    let mut rules = [Rule::Missing; MNEMONICS];
    add_rules!(rules, Arith, arith);
    add_rules!(rules, Bcd, bcd);
    add_rules!(rules, Bits, bits);
    add_rules!(rules, Branch, branch);
    add_rules!(rules, Convert, convert);
    add_rules!(rules, Flags, flags);
    add_rules!(rules, Logic, logic);
    add_rules!(rules, Misc, misc);
    add_rules!(rules, Moves, moves);
    add_rules!(rules, MulDiv, muldiv);
    add_rules!(rules, Segments, segments);
    add_rules!(rules, Shifts, shifts);
    add_rules!(rules, Stack, stack);
    add_rules!(rules, Atomic, atomic);
    add_rules!(rules, String, string);
    add_rules!(rules, System, system);
    rules
};

fn rule(mnemonic: Mnemonic) -> Rule {
    RULES
        .get(mnemonic as usize)
        .copied()
        .unwrap_or(Rule::Missing)
}

fn apply(context: &mut Context<'_>) -> Flow {
    let insn = &context.insn;
    if insn.is_invalid() {
        return INVALID;
    }
    let mut mnemonic = insn.mnemonic();
    if !gate::exists(context.config, insn) {
        if gate::is_hint(insn) {
            return Flow::Next;
        }
        let Some(other) = gate::otherwise(insn) else {
            return INVALID;
        };
        mnemonic = other;
    }
    match rule(mnemonic) {
        Rule::Arith(rule) => arith::lift(context, rule),
        Rule::Bcd(rule) => bcd::lift(context, rule),
        Rule::Bits(rule) => bits::lift(context, rule),
        Rule::Branch(rule) => branch::lift(context, rule),
        Rule::Convert(rule) => convert::lift(context, rule),
        Rule::Flags(rule) => flags::lift(context, rule),
        Rule::Logic(rule) => logic::lift(context, rule),
        Rule::Misc(rule) => misc::lift(context, rule),
        Rule::Moves(rule) => moves::lift(context, rule),
        Rule::MulDiv(rule) => muldiv::lift(context, rule),
        Rule::Segments(rule) => segments::lift(context, rule),
        Rule::Shifts(rule) => shifts::lift(context, rule),
        Rule::Stack(rule) => stack::lift(context, rule),
        Rule::Atomic(rule) => atomic::lift(context, rule),
        Rule::String(_) if !string::is_string(insn.code()) => crate::x86::fp::lift(context),
        Rule::String(rule) => string::lift(context, rule),
        Rule::System(rule) => system::lift(context, rule),
        Rule::Missing => crate::x86::fp::lift(context),
    }
}

/// Decodes and lifts the block at `key`, into the storage of a `spare` one. It ends at control flow, at the end of the
/// page, at the limits, or where an instruction must be the last one; an instruction that straddles two pages is a
/// block of its own. An instruction that does not exist ends the block with its exception, after the instructions before
/// it.
///
/// # Errors
/// The exception of fetching the second part of a first instruction that straddles two pages.
pub fn lift(
    config: &CpuConfig,
    key: BlockKey,
    code: &mut dyn CodePage,
    limits: LiftLimits<'_>,
    spare: Block,
) -> Result<Block, Exception> {
    let mut context = Context::new(key, config, spare);
    let mut offset = key.phys_pc.page_offset() as u16;
    let mut bytes = Bytes::new(code, key.mode);
    let most = if context.stands_alone() {
        1
    } else {
        limits.max_insns
    };
    let mut insn = Instruction::default();
    loop {
        let first = context.b.guest_insns() == 0;
        let full = context.b.guest_insns() >= most;
        if offset >= PAGE || !first && (full || limits.stop_before.contains(&offset)) {
            return Ok(context.b.finish(jump(offset)));
        }
        match bytes.decode(offset, first, &mut insn)? {
            Fetched::Whole => context.start(offset, &insn),
            Fetched::Straddles(page) => {
                context.b.straddles(page);
                context.start(offset, &insn);
            }
            Fetched::BehindPage => return Ok(context.b.finish(jump(offset))),
        }
        let next = offset + insn.len() as u16;
        let full = context.b.guest_insns() >= most || limits.stop_before.contains(&next);
        context.ends = full || next + LONGEST > PAGE;
        if context.stands_alone() {
            return Ok(step::alone(context));
        }
        match apply(&mut context) {
            Flow::Next => offset += insn.len() as u16,
            Flow::End(terminator) => return Ok(context.b.finish(terminator)),
            Flow::Raise(vector) => return Ok(context.b.finish(raise(vector))),
        }
    }
}

fn raise(vector: u8) -> Terminator {
    Terminator::Exception {
        code: ExceptionCode(vector.into()),
        value: Operand::Imm(0),
    }
}

fn jump(offset: u16) -> Terminator {
    Terminator::Jump {
        offset: offset.into(),
        kind: JumpKind::Plain,
    }
}

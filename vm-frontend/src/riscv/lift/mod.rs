//! Lifting of RISC-V code to IR blocks.
//!
//! What it is: one file per family of instructions, each with a table from [`Op`] to a rule and the function that
//! applies the rules; this file walks over the bytes of a block and puts the tables together. The compiler checks
//! that every instruction has exactly one rule.
//!
//! Data flow: [`lift`] reads half-words, decodes, marks the start of each instruction in the block and applies its
//! rule; a rule adds operations and says whether the block goes on.

mod atomic;
mod bits;
mod branch;
mod cache;
mod context;
mod convert;
mod float;
mod integer;
mod memory;
mod muldiv;
mod system;
#[cfg(test)]
mod tests;

use vm_ir::{Block, BlockKey, ExceptionCode, JumpKind, Operand, Terminator};

use super::decode::{Decoder, Insn, Op, length};
use super::isa::IsaConfig;
use super::sys::fields::cause;
use crate::guest::{CodePage, Exception, LiftLimits};
use context::Context;

const PAGE: u16 = vm_core::PAGE_BYTES as u16;

/// What follows an instruction.
enum Flow {
    /// The next one.
    Next,
    /// Nothing in this block.
    End(Terminator),
    /// The instruction is illegal in this mode; the rule has added nothing.
    Illegal,
}

/// A rule of one of the families.
#[derive(Clone, Copy)]
enum Rule {
    Missing,
    Integer(integer::Rule),
    MulDiv(muldiv::Rule),
    Bits(bits::Rule),
    Branch(branch::Rule),
    Memory(memory::Rule),
    Atomic(atomic::Rule),
    Float(float::Rule),
    Convert(convert::Rule),
    System(system::Rule),
    Cache(cache::Rule),
}

/// The rule of each instruction.
static RULES: [Rule; Op::COUNT] = {
    let mut rules = [Rule::Missing; Op::COUNT];
    add_rules!(rules, Integer, integer);
    add_rules!(rules, MulDiv, muldiv);
    add_rules!(rules, Bits, bits);
    add_rules!(rules, Branch, branch);
    add_rules!(rules, Memory, memory);
    add_rules!(rules, Atomic, atomic);
    add_rules!(rules, Float, float);
    add_rules!(rules, Convert, convert);
    add_rules!(rules, System, system);
    add_rules!(rules, Cache, cache);
    let mut op = 0;
    while op < Op::COUNT {
        assert!(
            !matches!(rules[op], Rule::Missing),
            "an instruction has no rule"
        );
        op += 1;
    }
    rules
};

fn apply(context: &mut Context, insn: &Insn) -> Flow {
    match RULES[insn.op as usize] {
        Rule::Integer(rule) => integer::lift(context, rule, insn),
        Rule::MulDiv(rule) => muldiv::lift(context, rule, insn),
        Rule::Bits(rule) => bits::lift(context, rule, insn),
        Rule::Branch(rule) => branch::lift(context, rule, insn),
        Rule::Memory(rule) => memory::lift(context, rule, insn),
        Rule::Atomic(rule) => atomic::lift(context, rule, insn),
        Rule::Float(rule) => float::lift(context, rule, insn),
        Rule::Convert(rule) => convert::lift(context, rule, insn),
        Rule::System(rule) => system::lift(context, rule, insn),
        Rule::Cache(rule) => cache::lift(context, rule, insn),
        Rule::Missing => Flow::Illegal,
    }
}

/// Decodes and lifts the block at `key`, into the storage of a `spare` one. It ends at control flow, at the end of the
/// page, at the limits, or where an instruction must be the last one; an instruction that straddles two pages is a
/// block of its own. An illegal instruction ends the block with its exception, after the instructions before it.
///
/// # Errors
/// The exception of fetching the second half of a first instruction that straddles two pages.
pub fn lift(
    config: &IsaConfig,
    key: BlockKey,
    code: &mut dyn CodePage,
    limits: LiftLimits<'_>,
    spare: Block,
) -> Result<Block, Exception> {
    let decoder = Decoder::new(config.extensions);
    let mut context = Context::new(key, config, spare);
    let mut offset = key.phys_pc.page_offset() as u16;
    loop {
        let first = context.b.guest_insns() == 0;
        let full = context.b.guest_insns() >= limits.max_insns;
        if offset >= PAGE || !first && (full || limits.stop_before.contains(&offset)) {
            return Ok(context.b.finish(jump(offset)));
        }
        let low = half(code, offset);
        let len = length(low);
        let straddles = len == 4 && offset == PAGE - 2;
        let high = match len {
            2 => 0,
            _ if !straddles => half(code, offset + 2),
            _ if !first => return Ok(context.b.finish(jump(offset))),
            _ => {
                let mut high = [0; 2];
                context.b.straddles(code.next_page(&mut high)?);
                u16::from_le_bytes(high)
            }
        };
        let bits = u32::from(high) << 16 | u32::from(low);
        context.start(offset, len, bits);
        let flow = match decoder.decode(bits) {
            Some(insn) => apply(&mut context, &insn),
            None => Flow::Illegal,
        };
        offset += u16::from(len);
        match flow {
            Flow::Next => {}
            Flow::End(terminator) => return Ok(context.b.finish(terminator)),
            Flow::Illegal => {
                let value = Operand::Imm(i64::from(bits));
                let code = ExceptionCode(cause::ILLEGAL);
                return Ok(context.b.finish(Terminator::Exception { code, value }));
            }
        }
    }
}

/// Two bytes of code.
fn half(code: &mut dyn CodePage, offset: u16) -> u16 {
    let mut bytes = [0; 2];
    code.bytes(offset, &mut bytes);
    u16::from_le_bytes(bytes)
}

fn jump(offset: u16) -> Terminator {
    Terminator::Jump {
        offset: offset.into(),
        kind: JumpKind::Plain,
    }
}

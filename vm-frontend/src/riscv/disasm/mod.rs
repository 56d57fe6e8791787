//! Disassembly in the style of the GNU tools.
//!
//! Mnemonics and operand order stand in the decoder's tables; this module only knows how each kind of operand is
//! written. Branch targets are absolute.

mod alias;
mod registers;
use std::fmt::{self, Write};

use vm_core::GuestVirtAddr;

use super::decode::{Decoder, Insn};
pub use registers::{F_NAMES, X_NAMES, csr_name};

/// Which names to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// As a person writes assembly: `ret`, `li a0,1`, `beqz a0,...`; compressed instructions like full ones.
    Aliases,
    /// The encoding as it is: `c.jr ra`, `addi a0,zero,1`.
    Plain,
}

/// Writes the instruction in the low bytes of `word`, which stands at `pc`. What does not decode becomes
/// `.word 0x...` or `.half 0x...`.
pub fn disassemble(decoder: &Decoder, word: u32, pc: GuestVirtAddr, style: Style) -> String {
    let mut text = String::new();
    write(&mut text, decoder, word, pc, style).expect("invariant: writing to a string succeeds");
    text
}

fn write(
    out: &mut String,
    decoder: &Decoder,
    word: u32,
    pc: GuestVirtAddr,
    style: Style,
) -> fmt::Result {
    let Some((row, insn)) = decoder.row_and_insn(word) else {
        return match super::decode::length(word as u16) {
            2 => write!(out, ".half {:#06x}", word & 0xffff),
            _ => write!(out, ".word {word:#010x}"),
        };
    };
    let full = insn.op.row();
    let (name, operands) = match style {
        Style::Plain => (row.name, row.operands),
        Style::Aliases => alias::find(&insn).map_or((full.name, full.operands), |alias| {
            (alias.name, alias.operands)
        }),
    };
    // Moves have an encoding of their own among the compressed instructions.
    let (name, operands) = match (style, row.name) {
        (Style::Aliases, "c.mv") => ("mv", "rd,rs2"),
        _ => (name, operands),
    };
    match name.strip_suffix(".n") {
        Some(stem) => write!(out, "{stem}.{}", insn.imm)?,
        None => out.push_str(name),
    }
    if full.orders() {
        out.push_str(["", ".rl", ".aq", ".aqrl"][usize::from(insn.rm)]);
    }
    if !operands.is_empty() {
        out.push(' ');
    }
    operand_list(out, operands, &insn, pc)
}

/// Writes `template`, replacing each word by the operand that it names.
fn operand_list(out: &mut String, template: &str, insn: &Insn, pc: GuestVirtAddr) -> fmt::Result {
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        let end = if first.is_ascii_alphanumeric() {
            rest.find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(end);
        operand(out, word, insn, pc)?;
        rest = tail;
    }
    Ok(())
}

fn operand(out: &mut String, word: &str, insn: &Insn, pc: GuestVirtAddr) -> fmt::Result {
    let x = |number: u8| X_NAMES[usize::from(number)];
    let f = |number: u8| F_NAMES[usize::from(number)];
    match word {
        "rd" => out.write_str(x(insn.rd)),
        "rs1" => out.write_str(x(insn.rs1)),
        "rs2" => out.write_str(x(insn.rs2)),
        "fd" => out.write_str(f(insn.rd)),
        "fs1" => out.write_str(f(insn.rs1)),
        "fs2" => out.write_str(f(insn.rs2)),
        "fs3" => out.write_str(f(insn.rs3)),
        "imm" => write!(out, "{}", insn.imm),
        "zimm" => write!(out, "{}", insn.rs1),
        "shamt" => write!(out, "{:#x}", insn.imm),
        "upper" => write!(out, "{:#x}", insn.imm as u32 >> 12),
        "target" => write!(out, "{:#x}", pc.0.wrapping_add_signed(i64::from(insn.imm))),
        "csr" => out.write_str(&csr_name(insn.csr())),
        "fli" => out.write_str(registers::FLI[usize::from(insn.rs1)]),
        "pred" => fence_set(out, insn.imm >> 4),
        "succ" => fence_set(out, insn.imm),
        // The mode that the assembler fills in when none is written stays unwritten.
        "rm" => rounding(out, insn.rm, 7),
        "exact" => rounding(out, insn.rm, 0),
        "rtz" => out.write_str("rtz"),
        literal => out.write_str(literal),
    }
}

fn rounding(out: &mut String, mode: u8, unwritten: u8) -> fmt::Result {
    if mode == unwritten {
        out.pop();
        return Ok(());
    }
    out.write_str(registers::ROUNDING[usize::from(mode & 7)])
}

fn fence_set(out: &mut String, set: i32) -> fmt::Result {
    if set & 15 == 0 {
        return out.write_str("unknown");
    }
    for (bit, letter) in [(8, 'i'), (4, 'o'), (2, 'r'), (1, 'w')] {
        if set & bit != 0 {
            out.push(letter);
        }
    }
    Ok(())
}

//! Decoding of instructions.
//!
//! What it is: two tables of encodings in the manual's notation (`table`: 32 bits, `compressed`: 16 bits), from
//! which [`Op`], the decoder and the disassembler all follow, and a dispatch index over them that is worked out
//! while compiling.
//!
//! Data flow: [`Decoder::decode`] takes the bytes as one little-endian word, picks the few rows that its major
//! opcode and one more field leave, and gives the first one that matches and whose extensions the hart has.

#![allow(long_running_const_eval)] // the tables are parsed by the compiler

mod compressed;
mod dispatch;
mod encode;
mod pattern;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::riscv) use tests::{one_encoding_each, random_encodings};

pub use encode::{ENCODINGS, encoding};
pub use table::Op;

use super::isa::{Extension, Extensions};
use pattern::Pattern;

/// A decoded instruction. Fields that the encoding does not have are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// What it does.
    pub op: Op,
    /// Destination register, integer or floating-point as `op` says.
    pub rd: u8,
    /// First source register; the five-bit immediate of `csrr*i` and the constant's number of `fli`.
    pub rs1: u8,
    /// Second source register.
    pub rs2: u8,
    /// Third source register.
    pub rs3: u8,
    /// Rounding mode field (0 to 4, or 7 for dynamic), or for atomics aq (bit 1) and rl (bit 0).
    pub rm: u8,
    /// Length in bytes, 2 or 4.
    pub len: u8,
    /// Immediate, sign-extended as the encoding says; for `lui` and `auipc` already shifted. For CSR instructions
    /// the CSR's number; for `fence` fm, pred and succ in bits 11-8, 7-4 and 3-0.
    pub imm: i32,
}

impl Insn {
    /// Acquire ordering of an atomic instruction.
    pub const fn aq(&self) -> bool {
        self.rm & 2 != 0
    }

    /// Release ordering of an atomic instruction.
    pub const fn rl(&self) -> bool {
        self.rm & 1 != 0
    }

    /// Number of the CSR that a Zicsr instruction names.
    pub const fn csr(&self) -> u16 {
        self.imm as u16
    }
}

impl Op {
    /// The mnemonic, without aq and rl.
    pub fn name(self) -> &'static str {
        table::ROWS[self as usize].name
    }

    /// How many there are; `op as usize` is below it.
    pub const COUNT: usize = table::COUNT;

    /// The row of the 32-bit encoding.
    pub(super) fn row(self) -> &'static Row {
        &table::ROWS[self as usize]
    }

    /// Every instruction, in table order.
    pub fn all() -> impl Iterator<Item = Self> {
        table::ROWS.iter().map(|row| row.op)
    }

    /// What must be present for the 32-bit encoding to exist.
    pub fn needs(self) -> Needs {
        table::ROWS[self as usize].needs
    }
}

/// What it takes for an encoding to exist: all extensions of one of two sets.
#[derive(Clone, Copy, Debug)]
pub struct Needs([Extensions; 2]);

impl Needs {
    const fn one_of(sets: &[Extensions]) -> Self {
        match sets {
            [only] => Self([*only, *only]),
            [first, second] => Self([*first, *second]),
            _ => panic!("an encoding belongs to one or two sets of extensions"),
        }
    }

    /// Whether a hart with these extensions has the encoding.
    #[inline]
    pub const fn met_by(self, extensions: Extensions) -> bool {
        let Self([first, second]) = self;
        extensions.contains(first) || extensions.contains(second)
    }

    /// Whether the extension is named.
    pub const fn names(self, ext: Extension) -> bool {
        let Self([first, second]) = self;
        first.has(ext) || second.has(ext)
    }
}

/// One line of a table.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) op: Op,
    /// Mnemonic.
    pub(super) name: &'static str,
    /// Operands in the syntax of `disasm`.
    pub(super) operands: &'static str,
    needs: Needs,
    pattern: Pattern,
}

impl Row {
    /// The encoding has aq and rl bits.
    pub(super) const fn orders(&self) -> bool {
        self.pattern.orders
    }

    #[inline]
    fn extract(&self, word: u32, len: u8) -> Insn {
        let pattern = &self.pattern;
        let [rd, rs1, rs2, rs3] = if len == 4 {
            [
                pattern.rd.get_at::<7>(word),
                pattern.rs1.get_at::<15>(word),
                pattern.rs2.get_at::<20>(word),
                pattern.rs3.get_at::<27>(word),
            ]
        } else {
            [pattern.rd, pattern.rs1, pattern.rs2, pattern.rs3].map(|field| field.get(word))
        };
        Insn {
            op: self.op,
            rd,
            rs1,
            rs2,
            rs3,
            rm: pattern.rm.get(word),
            len,
            imm: pattern.imm(word),
        }
    }
}

/// Length in bytes of the instruction that begins with the half-word `low`: 2 or 4. Longer formats do not exist
/// yet; they count as 4 and decode to nothing (RISC-V Unpriv 20240411, 1.5 "Base Instruction-Length Encoding").
pub const fn length(low: u16) -> u8 {
    if low & 3 == 3 { 4 } else { 2 }
}

/// Decodes for a hart with a given set of extensions.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    extensions: Extensions,
}

impl Decoder {
    /// A decoder that knows the instructions of `extensions` and no others.
    pub const fn new(extensions: Extensions) -> Self {
        Self { extensions }
    }

    /// Decodes the instruction in the low bytes of `word` (a 16-bit one leaves the upper half unused). `None` is an
    /// illegal instruction: reserved, or of an extension that the hart lacks.
    #[inline]
    pub fn decode(&self, word: u32) -> Option<Insn> {
        self.row_and_insn(word).map(|(_, insn)| insn)
    }

    /// Decodes, and says which row it was.
    #[inline]
    pub(super) fn row_and_insn(&self, word: u32) -> Option<(&'static Row, Insn)> {
        let len = length(word as u16);
        let word = if len == 4 { word } else { word & 0xffff };
        let row = self.row(word, len)?;
        Some((row, row.extract(word, len)))
    }

    /// The table row for a word without what follows the instruction.
    fn row(&self, word: u32, len: u8) -> Option<&'static Row> {
        let there = |row: &&Row| row.pattern.matches(word) && row.needs.met_by(self.extensions);
        if len == 4 {
            dispatch::full(word).find(there)
        } else {
            dispatch::compressed(word).find(there)
        }
    }
}

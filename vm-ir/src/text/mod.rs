//! The text form of blocks.
//!
//! ```text
//! block phys=0x80001010 mode=0x3          ; a header, then one operation a line
//!   insn 0x10, 4                          ; a guest instruction starts: offset in the page, length
//!   %t0:i64 = load.i64.b4s [x5 + x6<<2 - 8]
//!   x7 = add.i32.s %t0, 12                ; computed in i32, sign-extended to the slot
//!   branch.i64.eq x7, 0, 0x20, 0x14       ; the terminator comes last
//! ```
//!
//! An operation is `destination = name.type.extension.attribute operands`; what does not apply is left out, and so
//! are zero extension and the type of `insn`, `restart`, `fence` and `call`. A temporary's type stands where it is
//! written. Numbers are decimal or `0x`. A `;` starts a comment.
//!
//! [`parse()`] is the inverse of [`print()`] on blocks that [`crate::verify()`] accepts.

mod attribute;
mod cursor;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use cursor::{ParseError, Problem};
pub use parse::parse;
pub use print::{print, print_inst, print_terminator};

use crate::attr::{FpToIntRule, MemOrder, MinMaxRule};
use crate::inst::Ext;
use crate::op::Op;

const EXTENSIONS: [(Ext, &str); 3] = [(Ext::Sign, "s"), (Ext::Ones, "ones"), (Ext::Keep, "keep")];

const ORDERS: [(MemOrder, &str); 4] = [
    (MemOrder::Acquire, "acq"),
    (MemOrder::Release, "rel"),
    (MemOrder::AcqRel, "acqrel"),
    (MemOrder::SeqCst, "seqcst"),
];

const INT_RULES: [(FpToIntRule, &str); 4] = [
    (FpToIntRule::SaturateNanMax, "nan_max"),
    (FpToIntRule::SaturateNanZero, "nan_zero"),
    (FpToIntRule::Indefinite, "indefinite"),
    (FpToIntRule::Modulo, "modulo"),
];

const MINMAX_RULES: [(MinMaxRule, &str); 3] = [
    (MinMaxRule::Number, "number"),
    (MinMaxRule::Propagate, "propagate"),
    (MinMaxRule::Second, "second"),
];

/// The name that a table gives a value.
fn name_in<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> Option<&'static str> {
    table.iter().find(|row| row.0 == *value).map(|row| row.1)
}

/// The value that a table gives a name.
fn value_in<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|row| row.1 == name).map(|row| row.0)
}

/// Operations that have no type in the text form.
fn is_untyped(op: Op) -> bool {
    matches!(op, Op::Insn | Op::Fence | Op::Call)
}

/// Operations whose first three operands are an address.
fn has_address(op: Op) -> bool {
    matches!(op, Op::Load | Op::Store | Op::ProbeWrite)
}

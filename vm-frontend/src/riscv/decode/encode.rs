//! Encodings from the tables, for whoever wants instructions by the row: generators of random programs, fuzzers.

use super::{Row, compressed, length, table};

/// How many encodings there are, 32-bit ones first, then compressed ones.
pub const ENCODINGS: usize = table::ROWS.len() + compressed::ROWS.len();

/// Encoding number `number`, below [`ENCODINGS`], with its variable bits from the same bits of `fill`; `None` where
/// the table forbids that (a reserved rounding mode, a register or immediate that must not be zero).
pub fn encoding(number: usize, fill: u32) -> Option<u32> {
    let row: &Row = table::ROWS.iter().chain(&compressed::ROWS).nth(number)?;
    let bits = 8 * u32::from(length(row.pattern.bits as u16));
    let word = row.pattern.bits | fill & !row.pattern.mask & (u32::MAX >> (32 - bits));
    row.pattern.matches(word).then_some(word)
}

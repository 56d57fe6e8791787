//! Words to decode: a small generator, and encodings of a given row.

use super::super::{Row, length};

/// A pseudo-random sequence (xorshift64*), the same on every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

/// The bits of an encoding that are not fixed.
pub(super) fn free_bits(row: &Row) -> u32 {
    !row.pattern.mask & (u32::MAX >> (32 - 8 * u32::from(length(row.pattern.bits as u16))))
}

/// An encoding of `row` with random operands; a rounding mode is a valid one.
pub(super) fn of_row(row: &Row, random: &mut Random) -> u32 {
    loop {
        let word = row.pattern.bits | random.next() as u32 & free_bits(row);
        if row.pattern.matches(word) {
            return word;
        }
    }
}

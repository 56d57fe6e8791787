//! Random numbers that repeat.

use super::host::{MEMORY, PAGE};

/// splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether a chance of one in so many comes true.
    pub(super) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number with many edges.
    pub(super) fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(256),
            1 => self.below(256).wrapping_neg(),
            2 => 1 << self.below(64),
            3 => (1 << self.below(64)) - 1,
            4 => self.pick(&[
                0,
                u64::MAX,
                1 << 63,
                1 << 31,
                0x8000,
                0x80,
                0x7fff_ffff,
                i64::MAX as u64,
            ]),
            5 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }

    /// An address: near the edges of memory, now and then.
    pub(super) fn address(&mut self) -> u64 {
        match self.below(12) {
            0 => MEMORY + PAGE - 24 + self.below(40),
            1 => MEMORY + 2 * PAGE - 24 + self.below(40),
            n if n < 7 => MEMORY + PAGE + 16 + self.below(64),
            _ => MEMORY + 2 * PAGE - 112 + self.below(64),
        }
    }
}

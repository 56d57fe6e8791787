//! Random numbers that repeat.

pub(super) use vm_testing::Random;

use super::host::{MEMORY, PAGE};

/// What cases are made from.
pub(super) trait Addresses {
    /// An address: near the edges of memory, now and then.
    fn address(&mut self) -> u64;
}

impl Addresses for Random {
    fn address(&mut self) -> u64 {
        match self.below(12) {
            0 => MEMORY + PAGE - 24 + self.below(40),
            1 => MEMORY + 2 * PAGE - 24 + self.below(40),
            n if n < 7 => MEMORY + PAGE + 16 + self.below(64),
            _ => MEMORY + 2 * PAGE - 112 + self.below(64),
        }
    }
}

//! Random values that repeat.

pub(super) use vm_testing::Random;

use super::host::{MEMORY, PAGE};

/// What cases are made from.
pub(super) trait Values {
    /// A single: zeros, subnormals, edges, NaNs, or near one.
    fn single(&mut self) -> u32;
    fn double(&mut self) -> u64;
    /// 64 bits of a vector: numbers of some kind.
    fn lanes(&mut self, kind: u64) -> u64;
    /// An extended number: low and high word.
    fn extended(&mut self) -> [u64; 2];
    /// An address of an operand: near the edges of memory, now and then.
    fn address(&mut self) -> u64;
}

impl Values for Random {
    fn single(&mut self) -> u32 {
        let sign = (self.next() as u32 & 1) << 31;
        let noise = self.next() as u32 & self.pick(&[0, 1, 7, 0x0040_0001, 0x007f_ffff]);
        let exponent = self.pick(&[0, 0, 1, 2, 0x7e, 0x7f, 0x7f, 0x80, 0x9e, 0xbe, 0xfe, 0xff]);
        match self.below(4) {
            0 => self.next() as u32,
            1 => sign | (0x70 + self.below(32) as u32) << 23 | self.next() as u32 & 0x007f_ffff,
            _ => sign | exponent << 23 | noise,
        }
    }

    fn double(&mut self) -> u64 {
        let sign = (self.next() & 1) << 63;
        let noise = self.next() & self.pick(&[0, 1, 7, 1 << 51 | 1, (1 << 52) - 1, 0xf << 48]);
        let exponent = self.pick(&[
            0, 0, 1, 2, 0x380, 0x381, 0x3fe, 0x3ff, 0x3ff, 0x400, 0x41e, 0x43e, 0x47e, 0x7fe, 0x7ff,
        ]);
        match self.below(4) {
            0 => self.next(),
            1 => sign | (0x3f0 + self.below(32)) << 52 | self.next() & ((1 << 52) - 1),
            _ => sign | exponent << 52 | noise,
        }
    }

    fn lanes(&mut self, kind: u64) -> u64 {
        match kind {
            0 => u64::from(self.single()) | u64::from(self.single()) << 32,
            1 => self.double(),
            2 => {
                let half = self.pick(&[0, 0x7c00, 0x7e00, 0x3c00, 1, 0x8000, 0xfc01]);
                (half | self.next() & 0x83ff) | self.next() << 16
            }
            3 => {
                let byte = self.pick(&[0_u64, 0xff, 0x80, 0x7f, 1]);
                let spread = self.next() & 0x0101_0101_0101_0101;
                (spread * byte) ^ (self.next() & self.next() & self.next())
            }
            4 => self.next() & 0x0303_0303_0303_0303 | 0x4141_4141_4141_4141,
            _ => self.next(),
        }
    }

    fn extended(&mut self) -> [u64; 2] {
        let sign = (self.next() & 1) << 15;
        let exponent = self.pick(&[
            0, 1, 2, 0x3fbe, 0x3ffd, 0x3ffe, 0x3fff, 0x3fff, 0x4000, 0x401e, 0x403d, 0x403e,
            0x403f, 0x3f81, 0x3c01, 0x43fe, 0x407e, 0x7ffe, 0x7fff,
        ]);
        let noise = self.next() & self.pick(&[0, 1, 1 << 62, u64::MAX >> 1, 0x7ff, 0xff << 40]);
        match self.below(6) {
            0 => [self.next(), self.next() & 0xffff],
            1 | 2 => {
                let exponent = 0x3ff0 + self.below(32);
                [self.next() | 1 << 63, sign | exponent]
            }
            3 => [
                (1 << 63) | self.next() & 0xff << 55,
                sign | (0x3ff8 + self.below(72)),
            ],
            _ => {
                let integer = u64::from(exponent != 0 && !self.one_in(16)) << 63;
                [integer | noise, sign | exponent]
            }
        }
    }

    fn address(&mut self) -> u64 {
        match self.below(16) {
            0 => MEMORY + PAGE - 40 + self.below(64),
            1 => MEMORY + 2 * PAGE - 40 + self.below(64),
            2 | 3 => MEMORY + PAGE + 64 + self.below(256),
            _ => MEMORY + PAGE + 64 * (1 + self.below(16)),
        }
    }
}

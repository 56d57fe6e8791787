//! What the tests of several crates share; a dev-dependency only, so that no program has it. It sees no other crate of
//! the workspace, so that the tests of every crate can use it.

/// Numbers that look random and are the same in every run: splitmix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014). Any number is a seed.
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number from 0 to `bound` less one.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below<N: Bound>(&mut self, bound: N) -> N {
        N::of(self.next() % bound.get())
    }

    /// Whether a chance of one in `many` comes true.
    pub fn one_in<N: Bound>(&mut self, many: N) -> bool {
        self.next().is_multiple_of(many.get())
    }

    /// One of `from`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// 64 bits with many edges, of integers and of each floating-point format.
    pub fn value(&mut self) -> u64 {
        match self.below(10) {
            0 => self.below(256),
            1 => self.below(256_u64).wrapping_neg(),
            2 => 1 << self.below(64),
            3 => (1_u64 << self.below(64)).wrapping_sub(1),
            // A double or half at the top, then singles, with or without all ones above, then halves.
            4 => (self.next() & 0x8001 | self.pick(&[0, 0x7ff0, 0x7ff8, 0x3ff0, 0x3fe0])) << 48,
            5 => {
                let high = self.pick(&[0, 0xffff_ffff]) << 32;
                let single = self.pick(&[0, 0x7f80_0000, 0x7fc0_0000, 0x3f80_0000]);
                high | self.next() & 0x8000_0001 | single
            }
            6 => self.pick(&[0, u64::MAX << 16]) | self.next() & 0xffff,
            // A double that is near an integer.
            7 => (f64::from(self.next() as i32) / 8.0).to_bits(),
            8 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }
}

/// Types of numbers that [`Random::below`] gives; never negative.
pub trait Bound: Copy {
    /// As 64 bits.
    fn get(self) -> u64;
    /// From 64 bits, of which it has the low ones.
    fn of(number: u64) -> Self;
}

macro_rules! bounds {
    ($($type:ty)*) => {
        $(impl Bound for $type {
            fn get(self) -> u64 {
                self as u64
            }
            fn of(number: u64) -> Self {
                number as Self
            }
        })*
    };
}

bounds!(i32 u32 u64 usize);

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 1234567, which the authors' and Java's implementation give.
    #[test]
    fn next_known_seed_gives_the_published_numbers() {
        let mut random = Random(1_234_567);
        let numbers = [(); 3].map(|()| random.next());
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut random = Random(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[random.below(5_usize)] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert!((0..200).all(|_| (0..3).contains(&random.below(3))));
    }
}

//! Encodings in the notation of the manual, turned into masks and field positions while compiling.
//!
//! A pattern is a list of words from the most significant bit down: fixed bits (`0`, `1`, `-` for "any"), register
//! fields (`rd`, `rs1`, `rs2`, `rs3`, `zimm`; in compressed encodings `rs1/rd`, and with a prime the three-bit
//! ones), `rm`, `aq`, `rl`, `csr`, `fm`, `pred`, `succ`, and slices of the immediate: `imm[12|10:5]` is a piece of
//! a signed immediate, `uimm[...]` of an unsigned one, `nzimm[...]` and `nzuimm[...]` of one that must not be zero.
//! A register followed by `!=0` must not be x0, one followed by `:2` is the first of a pair, hence even. A pattern that does not add up does not compile.

/// A contiguous field of an encoding, or a constant (mask 0).
#[derive(Clone, Copy)]
pub(super) struct Field {
    lo: u8,
    mask: u8,
    plus: u8,
}

impl Field {
    pub(super) const fn constant(value: u8) -> Self {
        Self {
            lo: 0,
            mask: 0,
            plus: value,
        }
    }

    const fn bits(lo: u32, width: u32, plus: u8) -> Self {
        Self {
            lo: lo as u8,
            mask: ((1u32 << width) - 1) as u8,
            plus,
        }
    }

    pub(super) const fn get(self, word: u32) -> u8 {
        ((word >> self.lo) as u8 & self.mask) + self.plus
    }

    /// The same for a field that stands at bit `LO` if it exists at all, as the registers of 32-bit encodings do.
    pub(super) const fn get_at<const LO: u32>(self, word: u32) -> u8 {
        (word >> LO) as u8 & self.mask
    }
}

/// Bits of an encoding that become bits of the immediate: these, rotated left.
#[derive(Clone, Copy)]
struct Slice {
    mask: u32,
    rotate: u8,
}

const MAX_SLICES: usize = 8;
const UNUSED: Slice = Slice { mask: 0, rotate: 0 };

/// Everything that matching and operand extraction need to know of one encoding.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    pub(super) mask: u32,
    pub(super) bits: u32,
    pub(super) rd: Field,
    pub(super) rs1: Field,
    pub(super) rs2: Field,
    pub(super) rs3: Field,
    /// Rounding mode; or aq (bit 1) and rl (bit 0).
    pub(super) rm: Field,
    /// The encoding has a rounding mode.
    pub(super) rounds: bool,
    /// The encoding has aq and rl.
    pub(super) orders: bool,
    /// At least one of these bits is set; zero when nothing is demanded.
    some_of: u32,
    slices: [Slice; MAX_SLICES],
    slice_count: u8,
    sign_shift: u8,
    /// The immediate of an encoding that has none of its own.
    pub(super) fixed_imm: i32,
}

impl Pattern {
    /// Whether `word` is this encoding. Reserved rounding modes (5 and 6) are not.
    pub(super) const fn matches(&self, word: u32) -> bool {
        word & self.mask == self.bits
            && (self.some_of == 0 || word & self.some_of != 0)
            && !(self.rounds && matches!(word >> 12 & 7, 5 | 6))
    }

    /// The immediate of `word`, sign-extended if the encoding says so. Few encodings have more than four slices,
    /// and a loop of fixed length costs less than a wrong guess of how many there are.
    #[inline]
    pub(super) fn imm(&self, word: u32) -> i32 {
        let gather = |slices: &[Slice]| {
            slices.iter().fold(0, |value, slice| {
                value | (word & slice.mask).rotate_left(slice.rotate.into())
            })
        };
        let (first, rest) = self.slices.split_at(MAX_SLICES / 2);
        let mut value = gather(first);
        if usize::from(self.slice_count) > MAX_SLICES / 2 {
            value |= gather(rest);
        }
        (value << self.sign_shift) as i32 >> self.sign_shift | self.fixed_imm
    }

    /// Reads `text` as an encoding of `width` bits.
    pub(super) const fn parse(text: &str, width: u32) -> Self {
        let mut parser = Parser {
            text: text.as_bytes(),
            at: 0,
            bit: width,
            width,
            top: 0,
            signed: false,
        };
        let mut pattern = Self {
            mask: 0,
            bits: 0,
            rd: Field::constant(0),
            rs1: Field::constant(0),
            rs2: Field::constant(0),
            rs3: Field::constant(0),
            rm: Field::constant(0),
            rounds: false,
            orders: false,
            some_of: 0,
            slices: [UNUSED; MAX_SLICES],
            slice_count: 0,
            sign_shift: 0,
            fixed_imm: 0,
        };
        while parser.skip_spaces() {
            parser.word(&mut pattern);
        }
        assert!(parser.bit == 0, "the pattern has too few bits");
        if parser.signed {
            pattern.sign_shift = 31 - parser.top;
        }
        pattern
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// Bits not yet described.
    bit: u32,
    width: u32,
    /// Highest immediate bit so far.
    top: u8,
    signed: bool,
}

impl Parser<'_> {
    const fn peek(&self) -> u8 {
        if self.at < self.text.len() {
            self.text[self.at]
        } else {
            b' '
        }
    }

    const fn skip_spaces(&mut self) -> bool {
        while self.at < self.text.len() && self.text[self.at] == b' ' {
            self.at += 1;
        }
        self.at < self.text.len()
    }

    const fn eat(&mut self, word: &str) -> bool {
        let word = word.as_bytes();
        let mut i = 0;
        while i < word.len() {
            if self.at + i >= self.text.len() || self.text[self.at + i] != word[i] {
                return false;
            }
            i += 1;
        }
        self.at += word.len();
        true
    }

    /// Takes `count` bits and gives the lowest one's number.
    const fn take(&mut self, count: u32) -> u32 {
        assert!(self.bit >= count, "the pattern has too many bits");
        self.bit -= count;
        self.bit
    }

    const fn word(&mut self, pattern: &mut Pattern) {
        match self.peek() {
            b'0' | b'1' | b'-' => self.fixed(pattern),
            b'r' => self.register(pattern),
            _ => self.other(pattern),
        }
    }

    const fn fixed(&mut self, pattern: &mut Pattern) {
        while self.peek() != b' ' {
            let bit = 1 << self.take(1);
            match self.peek() {
                b'0' => pattern.mask |= bit,
                b'1' => {
                    pattern.mask |= bit;
                    pattern.bits |= bit;
                }
                b'-' => {}
                _ => panic!("a fixed bit is 0, 1 or -"),
            }
            self.at += 1;
        }
    }

    const fn register(&mut self, pattern: &mut Pattern) {
        if self.eat("rm") {
            pattern.rounds = true;
            pattern.rm = Field::bits(self.take(3), 3, 0);
            return;
        }
        if self.eat("rl") {
            assert!(pattern.orders, "aq comes before rl");
            pattern.rm = Field::bits(self.take(1), 2, 0);
            return;
        }
        let (mut rd, mut rs1, mut rs2, mut rs3) = (false, false, false, false);
        let prime;
        if self.eat("rs1'/rd'") {
            (rd, rs1, prime) = (true, true, true);
        } else if self.eat("rs1/rd") {
            (rd, rs1, prime) = (true, true, false);
        } else {
            if self.eat("rd") {
                rd = true;
            } else if self.eat("rs1") {
                rs1 = true;
            } else if self.eat("rs2") {
                rs2 = true;
            } else if self.eat("rs3") {
                rs3 = true;
            } else {
                panic!("unknown register field");
            }
            prime = self.eat("'");
        }
        let width = if prime { 3 } else { 5 };
        let lo = self.take(width);
        assert!(
            self.width == 16
                || lo
                    == if rd {
                        7
                    } else if rs1 {
                        15
                    } else if rs2 {
                        20
                    } else {
                        27
                    },
            "the register field is at the wrong place"
        );
        let field = Field::bits(lo, width, if prime { 8 } else { 0 });
        if rd {
            pattern.rd = field;
        }
        if rs1 {
            pattern.rs1 = field;
        }
        if rs2 {
            pattern.rs2 = field;
        }
        if rs3 {
            pattern.rs3 = field;
        }
        if self.eat(":2") {
            pattern.mask |= 1 << lo;
        }
        if self.eat("!=0") {
            pattern.some_of |= ((1 << width) - 1) << lo;
        }
    }

    const fn other(&mut self, pattern: &mut Pattern) {
        if self.eat("aq") {
            self.take(1);
            pattern.orders = true;
        } else if self.eat("zimm") {
            pattern.rs1 = Field::bits(self.take(5), 5, 0);
        } else if self.eat("csr") {
            self.slice(pattern, 11, 0);
        } else if self.eat("fm") {
            self.slice(pattern, 11, 8);
        } else if self.eat("pred") {
            self.slice(pattern, 7, 4);
        } else if self.eat("succ") {
            self.slice(pattern, 3, 0);
        } else {
            let nonzero = self.eat("nz");
            self.signed = !self.eat("u");
            assert!(self.eat("imm["), "unknown word in a pattern");
            self.immediate(pattern, nonzero);
        }
    }

    const fn immediate(&mut self, pattern: &mut Pattern, nonzero: bool) {
        loop {
            let hi = self.number();
            let lo = if self.eat(":") { self.number() } else { hi };
            self.slice(pattern, hi, lo);
            if nonzero {
                pattern.some_of |= ((1 << (hi - lo + 1)) - 1) << self.bit;
            }
            if self.eat("]") {
                return;
            }
            assert!(self.eat("|"), "slices of an immediate are separated by |");
        }
    }

    const fn number(&mut self) -> u8 {
        let mut value = 0;
        while self.peek().is_ascii_digit() {
            value = value * 10 + (self.peek() - b'0');
            self.at += 1;
        }
        value
    }

    const fn slice(&mut self, pattern: &mut Pattern, hi: u8, lo: u8) {
        let width = hi - lo + 1;
        let from = self.take(width as u32) as u8;
        let mask = (u32::MAX >> (32 - width as u32)) << from;
        let rotate = (lo + 32 - from) % 32;
        pattern.slices[pattern.slice_count as usize] = Slice { mask, rotate };
        pattern.slice_count += 1;
        if hi > self.top {
            self.top = hi;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_branch_immediate_is_put_together() {
        let pattern = Pattern::parse("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", 32);
        assert_eq!((pattern.mask, pattern.bits), (0x707f, 0x63));
        // beq x1, x2, -4096 and +4094
        assert!(pattern.matches(0x8020_8063));
        assert_eq!(pattern.imm(0x8020_8063), -4096);
        assert_eq!(pattern.imm(0x7e20_8fe3), 4094);
        assert_eq!(
            (pattern.rs1.get(0x8020_8063), pattern.rs2.get(0x8020_8063)),
            (1, 2)
        );
        assert_eq!(pattern.rd.get(0x8020_8063), 0);
    }

    #[test]
    fn pattern_reserved_rounding_does_not_match() {
        let pattern = Pattern::parse("0000000 rs2 rs1 rm rd 1010011", 32);
        let accepted: Vec<u32> = (0..8)
            .filter(|rm| pattern.matches(0x53 | rm << 12))
            .collect();
        assert_eq!(accepted, [0, 1, 2, 3, 4, 7]);
    }

    #[test]
    fn pattern_prime_registers_start_at_eight() {
        let pattern = Pattern::parse("010 uimm[5:3] rs1' uimm[2|6] rd' 00", 16);
        assert_eq!((pattern.rs1.get(0x4000), pattern.rd.get(0x401c)), (8, 15));
        assert_eq!(pattern.imm(0x5c60), 0x7c);
    }

    #[test]
    fn pattern_nonzero_demand_rejects_zero() {
        let pattern = Pattern::parse("000 nzuimm[5:4|9:6|2|3] rd' 00", 16);
        assert!(!pattern.matches(0x001c));
        assert!(pattern.matches(0x0020));
    }
}

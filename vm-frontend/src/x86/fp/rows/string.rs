//! Comparison of strings (Intel SDM 1, 12.10.1; SDM 2B, 4.1).

use vm_ir::Vector;

use super::{Lane, rows};

/// Lanes as signed numbers that keep their order, with their count.
struct Text {
    lanes: [i32; 16],
    /// Lanes of a vector.
    count: usize,
    /// Lanes before the end of the string.
    length: usize,
}

impl Text {
    /// A string that ends at its first zero, or after as many lanes as a length says, whose sign counts for nothing.
    fn new(vector: &Vector, imm: u8, length: Option<u64>) -> Self {
        let mut lanes = [0; 16];
        let count = if imm & 1 == 0 { 16 } else { 8 };
        for (n, lane) in lanes.iter_mut().take(count).enumerate() {
            *lane = match imm & 3 {
                0 => u8::split(vector)[n].into(),
                1 => u16::split(vector)[n].into(),
                2 => i8::split(vector)[n].into(),
                _ => i16::split(vector)[n].into(),
            };
        }
        let length = match length {
            Some(length) => (length as i64).unsigned_abs().min(count as u64) as usize,
            None => lanes[..count]
                .iter()
                .position(|&lane| lane == 0)
                .unwrap_or(count),
        };
        Self {
            lanes,
            count,
            length,
        }
    }

    fn is_in(&self, n: usize) -> bool {
        n < self.length
    }
}

/// Bits of the lanes where the comparison holds, before polarity (SDM 2B, 4.1.3 to 4.1.6).
fn compare(a: &Text, b: &Text, imm: u8) -> u32 {
    let holds = |place: usize| match imm >> 2 & 3 {
        // Any of a's lanes.
        0 => b.is_in(place) && a.lanes[..a.length].contains(&b.lanes[place]),
        // In any of a's ranges.
        1 => {
            b.is_in(place)
                && a.lanes[..a.length]
                    .chunks_exact(2)
                    .any(|range| (range[0]..=range[1]).contains(&b.lanes[place]))
        }
        // The same lane.
        2 => match (a.is_in(place), b.is_in(place)) {
            (true, true) => a.lanes[place] == b.lanes[place],
            (in_a, in_b) => in_a == in_b,
        },
        // All of a from here on, as far as there are lanes.
        _ => (0..b.count - place)
            .all(|n| !a.is_in(n) || b.is_in(place + n) && a.lanes[n] == b.lanes[place + n]),
    };
    (0..b.count).fold(0, |bits, n| bits | u32::from(holds(n)) << n)
}

/// Bits of the lanes after polarity, and flags: C some bit, Z `b` ends, N `a` ends, V the lowest bit.
fn outcome(a: &Text, b: &Text, imm: u8) -> (u32, u64) {
    let all = (1_u32 << b.count) - 1;
    let bits = compare(a, b, imm)
        ^ match imm >> 4 & 3 {
            1 => all,
            3 => (1_u32 << b.length) - 1,
            _ => 0,
        };
    let flags = u64::from(bits != 0)
        | u64::from(b.length < b.count) << 6
        | u64::from(a.length < a.count) << 7
        | u64::from(bits & 1) << 11;
    (bits, flags)
}

/// The number of the lowest or highest bit in the low half, flags in the high half.
fn index(a: &Text, b: &Text, imm: u8) -> Vector {
    let (bits, flags) = outcome(a, b, imm);
    let index = match (bits, imm & 0x40) {
        (0, _) => b.count as u32,
        (_, 0) => bits.trailing_zeros(),
        _ => bits.ilog2(),
    };
    [index.into(), flags]
}

/// The bits themselves, or all bits of the lanes.
fn mask(a: &Text, b: &Text, imm: u8) -> Vector {
    let (bits, _) = outcome(a, b, imm);
    if imm & 0x40 == 0 {
        return [bits.into(), 0];
    }
    let set = |n: usize| bits >> n & 1 != 0;
    match imm & 1 {
        0 => u8::build(|n| u8::from(set(n)).wrapping_neg()),
        _ => u16::build(|n| u16::from(set(n)).wrapping_neg()),
    }
}

/// Both strings, with lengths in `c` or by their zeros.
fn explicit(a: &Vector, b: &Vector, c: &Vector, imm: u8) -> [Text; 2] {
    [Text::new(a, imm, Some(c[0])), Text::new(b, imm, Some(c[1]))]
}

fn implicit(a: &Vector, b: &Vector, imm: u8) -> [Text; 2] {
    [Text::new(a, imm, None), Text::new(b, imm, None)]
}

rows! {
    Pcmpistri Vpcmpistri Special, 0, plain |a, b, _, imm| {
        let [a, b] = implicit(a, b, imm);
        index(&a, &b, imm)
    };
    Pcmpistrm Vpcmpistrm Special, 0, plain |a, b, _, imm| {
        let [a, b] = implicit(a, b, imm);
        mask(&a, &b, imm)
    };
    Pcmpestri Vpcmpestri Special, 0, plain |a, b, c, imm| {
        let [a, b] = explicit(a, b, c, imm);
        index(&a, &b, imm)
    };
    Pcmpestrm Vpcmpestrm Special, 0, plain |a, b, c, imm| {
        let [a, b] = explicit(a, b, c, imm);
        mask(&a, &b, imm)
    };
}

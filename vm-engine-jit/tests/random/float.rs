//! Programs of floating point: every format, rounding and special value, and the control register in between.

use super::{Random, i_type, r_type, s_type};

const SINGLES: [u32; 22] = [
    0,
    0x8000_0000,
    1,
    0x807f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0x4020_0000,
    0x4eff_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0x4f80_0000,
    0x5f00_0000,
    0x5f7f_ffff,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7f80_0001,
    0xffc0_1234,
];
const DOUBLES: [u64; 26] = [
    0,
    1 << 63,
    1,
    0x800f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x0010_0000_0000_0001,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0xbfe0_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x41df_ffff_ffc0_0000,
    0x41df_ffff_ffe0_0000,
    0xc1e0_0000_0000_0000,
    0x41ef_ffff_ffe0_0000,
    0x41ef_ffff_fff0_0000,
    0x41f0_0000_0000_0000,
    0x43df_ffff_ffff_ffff,
    0x43e0_0000_0000_0000,
    0x43ef_ffff_ffff_ffff,
    0x36a0_0000_0000_0000,
    0x3810_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7ff0_0000_0000_0001,
];

/// A register's bits: a single in its box or a double, often where formats end.
pub(crate) fn value(random: &mut Random) -> u64 {
    const BOX: u64 = 0xffff_ffff << 32;
    match random.below(14) {
        0..=2 => BOX | u64::from(SINGLES[random.below(SINGLES.len() as u32) as usize]),
        3..=5 => DOUBLES[random.below(DOUBLES.len() as u32) as usize],
        // Near one, where results are exact or nearly so.
        6 => BOX | u64::from((random.below(64) as f32 / 4.0 - 8.0).to_bits()),
        7 => (f64::from(random.below(2048)) / 4.0 - 256.0).to_bits(),
        8 => BOX | random.next() >> 32,
        // Anything near one, to be rounded.
        9 | 10 => BOX | (random.below(1 << 25) + 0x3f00_0000),
        11 | 12 => (random.next() >> 9) + 0x3fc0_0000_0000_0000,
        _ => random.next(),
    }
}

/// Mostly dynamic, sometimes any other.
fn rounding(random: &mut Random) -> u32 {
    [7, 7, 7, 7, 7, 0, 0, 1, 1, 2, 3, 4][random.below(12) as usize]
}

/// One instruction of F, D or Zfa.
pub(crate) fn instruction(random: &mut Random) -> u32 {
    let format = random.below(2);
    let few = |random: &mut Random| random.below(12);
    let (rd, a, b) = (few(random), few(random), few(random));
    let gpr = 5 + random.below(8);
    let rm = rounding(random);
    let imm = (random.below(512) - 256) * 8;
    let fp = |funct7: u32, rm, rd, a, b| r_type(0x53, rm, funct7 | format, rd, a, b);
    match random.below(28) {
        0..=4 => {
            let funct7 = [0, 4, 8, 12][random.below(4) as usize];
            fp(funct7, rm, rd, a, b)
        }
        5 => fp(0x2c, rm, rd, a, 0),
        6..=8 => {
            let opcode = [0x43, 0x47, 0x4b, 0x4f][random.below(4) as usize];
            r_type(opcode, rm, few(random) << 2 | format, rd, a, b)
        }
        9 => fp(0x10, random.below(3), rd, a, b),
        10 => fp(0x14, random.below(4), rd, a, b),
        11 | 12 => fp(0x50, [0, 1, 2, 4, 5][random.below(5) as usize], gpr, a, b),
        13 => fp(0x60, rm, gpr, a, random.below(4)),
        14 => {
            let from = if random.below(8) == 0 { 0 } else { gpr };
            fp(0x68, rm, rd, from, random.below(4))
        }
        15 => fp(0x20, rm, rd, a, 1 - format),
        16 => match random.below(4) {
            0 => fp(0x70, 0, gpr, a, 0),
            1 => fp(0x70, 1, gpr, a, 0),
            2 => fp(0x78, 0, rd, gpr, 0),
            _ => fp(0x78, 0, rd, random.below(32), 1),
        },
        // Often, or all registers would end as NaNs.
        17 | 20.. => i_type(0x07, 2 + format, rd, 4, imm),
        18 => s_type(0x27, 2 + format, 4, b, imm),
        _ => control(random, gpr),
    }
}

/// Writes one of the five roundings to `frm`.
pub(crate) fn set_rounding(random: &mut Random) -> u32 {
    i_type(0x73, 5, 0, random.below(5), 2)
}

/// Reads or writes `fflags`, `frm` or `fcsr`.
fn control(random: &mut Random, gpr: u32) -> u32 {
    match random.below(4) {
        // A rounding, rarely a reserved one.
        0 => {
            let frm = if random.below(100) == 0 {
                5
            } else {
                random.below(5)
            };
            i_type(0x73, 5, gpr, frm, 2)
        }
        // The flags: read, cleared, set.
        1 => i_type(0x73, 2, gpr, 0, 1),
        2 => i_type(0x73, 5, gpr, random.below(32), 1),
        _ => i_type(0x73, 2, gpr, 0, 3),
    }
}

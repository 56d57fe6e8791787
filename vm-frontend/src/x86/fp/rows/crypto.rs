//! AES (Intel SDM 1, 12.13), SHA (Intel SDM 1, 13.3 of older editions; SDM 2B, "SHA1RNDS4" and on), carry-less products.

use vm_ir::Vector;

use super::encoding::{AES, BINARY, BINARY_IMM, PCLMUL, UNARY, UNARY_IMM, needs, word};
use super::{Lane, rows};

/// Twice an element of GF(2^8) (FIPS 197, 4.2.1).
const fn twice(a: u8) -> u8 {
    (a << 1) ^ ((a >> 7) * 0x1b)
}

/// A product in GF(2^8) (FIPS 197, 4.2).
const fn product(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut sum) = (a, b, 0);
    while b != 0 {
        if b & 1 != 0 {
            sum ^= a;
        }
        a = twice(a);
        b >>= 1;
    }
    sum
}

/// The S-box (FIPS 197, 5.1.1): the inverse, then an affine map.
static S_BOX: [u8; 256] = s_box();

const fn s_box() -> [u8; 256] {
    let mut table = [0; 256];
    // Powers of the generator 3 and of its inverse 0xf6 are inverse to each other.
    let (mut power, mut inverse) = (1_u8, 1_u8);
    loop {
        let x = inverse;
        let mixed = x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4);
        table[power as usize] = mixed ^ 0x63;
        power = product(power, 3);
        inverse = product(inverse, 0xf6);
        if power == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

/// Its inverse.
static INVERSE_S_BOX: [u8; 256] = {
    let forward = s_box();
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[forward[n] as usize] = n as u8;
        n += 1;
    }
    table
};

/// Rows shifted and bytes substituted (FIPS 197, 5.1.1 and 5.1.2). `step` is by how many bytes to go on per row.
fn shift_and_substitute(a: &Vector, table: &[u8; 256], step: usize) -> [u8; 16] {
    let bytes = u8::split(a);
    std::array::from_fn(|n| {
        let (column, row) = (n / 4, n % 4);
        table[usize::from(bytes[4 * ((column + step * row) % 4) + row])]
    })
}

/// Columns multiplied by a polynomial, whose coefficients are of the byte itself, the one below it and so on (FIPS 197,
/// 5.1.3).
fn mix_columns(bytes: [u8; 16], by: [u8; 4]) -> [u8; 16] {
    std::array::from_fn(|n| {
        let (column, row) = (n / 4 * 4, n % 4);
        (0..4).fold(0, |sum, k| {
            sum ^ product(bytes[column + (row + k) % 4], by[k])
        })
    })
}

const MIX: [u8; 4] = [2, 3, 1, 1];
const UNMIX: [u8; 4] = [14, 11, 13, 9];

fn with_key(bytes: [u8; 16], key: &Vector) -> Vector {
    let state = u8::join(bytes);
    [state[0] ^ key[0], state[1] ^ key[1]]
}

fn substitute_word(word: u32) -> u32 {
    u32::from_le_bytes(word.to_le_bytes().map(|byte| S_BOX[usize::from(byte)]))
}

/// `aeskeygenassist` (Intel SDM 2A).
fn key_words(a: &Vector, imm: u8) -> Vector {
    let words = u32::split(a);
    let constant = u32::from(imm);
    let [x1, x3] = [words[1], words[3]].map(substitute_word);
    u32::join([
        x1,
        x1.rotate_right(8) ^ constant,
        x3,
        x3.rotate_right(8) ^ constant,
    ])
}

/// The product of a half of each, without carries.
fn carryless(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (a, b) = (a[usize::from(imm & 1)], b[usize::from(imm >> 4 & 1)]);
    let sum = (0..64).fold(0_u128, |sum, n| {
        sum ^ ((u128::from(a) << n) * u128::from(b >> n & 1))
    });
    [sum as u64, (sum >> 64) as u64]
}

/// Lanes from the top down, as the manual names words of SHA.
fn from_top(a: &Vector) -> [u32; 4] {
    let mut lanes = u32::split(a);
    lanes.reverse();
    lanes
}

fn to_top(mut lanes: [u32; 4]) -> Vector {
    lanes.reverse();
    u32::join(lanes)
}

fn choose(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ !x & z
}

fn majority(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ x & z ^ y & z
}

fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

/// Four rounds of SHA-1.
fn sha1_rounds(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (function, constant): (fn(u32, u32, u32) -> u32, u32) = match imm & 3 {
        0 => (choose, 0x5a82_7999),
        1 => (parity, 0x6ed9_eba1),
        2 => (majority, 0x8f1b_bcdc),
        _ => (parity, 0xca62_c1d6),
    };
    let words = from_top(b);
    let [mut a, mut b, mut c, mut d] = from_top(a);
    let mut e = 0;
    for word in words {
        let next = function(b, c, d)
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(word)
            .wrapping_add(e)
            .wrapping_add(constant);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    to_top([a, b, c, d])
}

/// The second half of SHA-1's message schedule.
fn sha1_schedule(a: &Vector, b: &Vector) -> Vector {
    let ([a0, a1, a2, a3], [_, w13, w14, w15]) = (from_top(a), from_top(b));
    let w16 = (a0 ^ w13).rotate_left(1);
    let [w17, w18, w19] = [a1 ^ w14, a2 ^ w15, a3 ^ w16].map(|word| word.rotate_left(1));
    to_top([w16, w17, w18, w19])
}

fn big_sigma0(x: u32) -> u32 {
    x.rotate_right(2) ^ x.rotate_right(13) ^ x.rotate_right(22)
}

fn big_sigma1(x: u32) -> u32 {
    x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25)
}

fn small_sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3
}

fn small_sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10
}

/// Two rounds of SHA-256; `c` has their words and constants.
fn sha256_rounds(x: &Vector, y: &Vector, w: &Vector) -> Vector {
    let ([mut c, mut d, mut g, mut h], [mut a, mut b, mut e, mut f]) = (from_top(x), from_top(y));
    for word in u32::split(w).into_iter().take(2) {
        let sum = choose(e, f, g)
            .wrapping_add(big_sigma1(e))
            .wrapping_add(word)
            .wrapping_add(h);
        let top = sum
            .wrapping_add(majority(a, b, c))
            .wrapping_add(big_sigma0(a));
        (a, b, c, d, e, f, g, h) = (top, a, b, c, sum.wrapping_add(d), e, f, g);
    }
    to_top([a, b, e, f])
}

/// The second half of SHA-256's message schedule.
fn sha256_schedule(a: &Vector, b: &Vector) -> Vector {
    let (a, b) = (u32::split(a), u32::split(b));
    let w16 = a[0].wrapping_add(small_sigma1(b[2]));
    let w17 = a[1].wrapping_add(small_sigma1(b[3]));
    let w18 = a[2].wrapping_add(small_sigma1(w16));
    let w19 = a[3].wrapping_add(small_sigma1(w17));
    u32::join([w16, w17, w18, w19])
}

rows! {
    Aesenc Vaesenc Binary, needs(word(0x66, 0x38, 0xdc, BINARY), AES), plain |a, b, _, _| {
        with_key(mix_columns(shift_and_substitute(a, &S_BOX, 1), MIX), b)
    };
    Aesenclast Vaesenclast Binary, needs(word(0x66, 0x38, 0xdd, BINARY), AES), plain |a, b, _, _| {
        with_key(shift_and_substitute(a, &S_BOX, 1), b)
    };
    Aesdec Vaesdec Binary, needs(word(0x66, 0x38, 0xde, BINARY), AES), plain |a, b, _, _| {
        with_key(mix_columns(shift_and_substitute(a, &INVERSE_S_BOX, 3), UNMIX), b)
    };
    Aesdeclast Vaesdeclast Binary, needs(word(0x66, 0x38, 0xdf, BINARY), AES), plain |a, b, _, _| {
        with_key(shift_and_substitute(a, &INVERSE_S_BOX, 3), b)
    };
    Aesimc Vaesimc Unary, needs(word(0x66, 0x38, 0xdb, UNARY), AES), plain |a, _, _, _| {
        u8::join(mix_columns(u8::split(a), UNMIX))
    };
    Aeskeygenassist Vaeskeygenassist Unary, needs(word(0x66, 0x3a, 0xdf, UNARY_IMM), AES), plain |a, _, _, imm| {
        key_words(a, imm)
    };
    Pclmulqdq Vpclmulqdq Binary, needs(word(0x66, 0x3a, 0x44, BINARY_IMM), PCLMUL), plain |a, b, _, imm| {
        carryless(a, b, imm)
    };
    Sha1rnds4 INVALID Binary, 0, plain |a, b, _, imm| sha1_rounds(a, b, imm);
    Sha1nexte INVALID Binary, 0, plain |a, b, _, _| {
        let (a, mut b) = (u32::split(a), u32::split(b));
        b[3] = b[3].wrapping_add(a[3].rotate_left(30));
        u32::join(b)
    };
    Sha1msg1 INVALID Binary, 0, plain |a, b, _, _| [b[1] ^ a[0], a[1] ^ a[0]];
    Sha1msg2 INVALID Binary, 0, plain |a, b, _, _| sha1_schedule(a, b);
    Sha256rnds2 INVALID Select, 0, plain |a, b, c, _| sha256_rounds(a, b, c);
    Sha256msg1 INVALID Binary, 0, plain |a, b, _, _| {
        let (a, b) = (u32::split(a), u32::split(b));
        let next = [a[1], a[2], a[3], b[0]];
        u32::build(|n| a[n].wrapping_add(small_sigma0(next[n])))
    };
    Sha256msg2 INVALID Binary, 0, plain |a, b, _, _| sha256_schedule(a, b);
}

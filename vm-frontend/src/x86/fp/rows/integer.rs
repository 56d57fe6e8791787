//! Integers lane by lane (Intel SDM 1, 10.6.2, 11.4.2, 12.6 and 12.10).

use vm_ir::Vector;

use super::encoding::{BINARY, MASK, UNARY, word};
use super::{Lane, rows};

/// The encoding of an instruction of two operands at `66 0F`.
const fn two(opcode: u8) -> u32 {
    word(0x66, 0x0f, opcode, BINARY)
}

/// At `66 0F 38`.
const fn two_38(opcode: u8) -> u32 {
    word(0x66, 0x38, opcode, BINARY)
}

const fn one_38(opcode: u8) -> u32 {
    word(0x66, 0x38, opcode, UNARY)
}

/// Sums, or other combinations, of neighbours: those of `a`, then those of `b`.
#[inline(always)]
fn pairs<T: Lane>(a: &Vector, b: &Vector, operation: impl Fn(T, T) -> T) -> Vector {
    let (a, b) = (T::split(a), T::split(b));
    let half = a.as_ref().len() / 2;
    T::build(|n| {
        let from = if n < half { a.as_ref() } else { b.as_ref() };
        let first = 2 * (n % half);
        operation(from[first], from[first + 1])
    })
}

/// Sums of neighbouring products of signed words (`pmaddwd`).
fn multiply_add_words(a: &Vector, b: &Vector) -> Vector {
    let (a, b) = (i16::split(a), i16::split(b));
    let product = |n: usize| i32::from(a[n]) * i32::from(b[n]);
    i32::build(|n| product(2 * n).wrapping_add(product(2 * n + 1)))
}

/// Saturated sums of neighbouring products of unsigned bytes by signed ones (`pmaddubsw`).
fn multiply_add_bytes(a: &Vector, b: &Vector) -> Vector {
    let (a, b) = (u8::split(a), i8::split(b));
    let product = |n: usize| i32::from(a[n]) * i32::from(b[n]);
    i16::build(|n| saturate_i16(product(2 * n) + product(2 * n + 1)))
}

fn saturate_i16(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Sum of absolute differences of each eight bytes (`psadbw`).
fn differences(a: &Vector, b: &Vector) -> Vector {
    let (a, b) = (u8::split(a), u8::split(b));
    u64::build(|n| {
        (8 * n..8 * n + 8)
            .map(|n| u64::from(a[n].abs_diff(b[n])))
            .sum()
    })
}

/// The smallest unsigned word and its number (`phminposuw`).
fn smallest(a: &Vector) -> Vector {
    let words = u16::split(a);
    let mut place = 0;
    for n in 1..8 {
        if words[n] < words[place] {
            place = n;
        }
    }
    [u64::from(words[place]) | (place as u64) << 16, 0]
}

/// Eight sums of absolute differences of four bytes (`mpsadbw`).
fn sliding_differences(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (a, b) = (u8::split(a), u8::split(b));
    let (from_a, from_b) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
    u16::build(|n| {
        (0..4)
            .map(|k| u16::from(a[from_a + n + k].abs_diff(b[from_b + k])))
            .sum()
    })
}

/// Signed words that are rounded high halves of doubled products (`pmulhrsw`).
fn multiply_rounded(a: i16, b: i16) -> i16 {
    ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16
}

macro_rules! sign {
    ($number:ty) => {
        |a: $number, b: $number| match b.signum() {
            0 => 0,
            1 => a,
            _ => a.wrapping_neg(),
        }
    };
}

rows! {
    Paddb Vpaddb Binary, two(0xfc), plain |a, b, _, _| u8::zip(a, b, u8::wrapping_add);
    Paddw Vpaddw Binary, two(0xfd), plain |a, b, _, _| u16::zip(a, b, u16::wrapping_add);
    Paddd Vpaddd Binary, two(0xfe), plain |a, b, _, _| u32::zip(a, b, u32::wrapping_add);
    Paddq Vpaddq Binary, two(0xd4), plain |a, b, _, _| u64::zip(a, b, u64::wrapping_add);
    Paddsb Vpaddsb Binary, two(0xec), plain |a, b, _, _| i8::zip(a, b, i8::saturating_add);
    Paddsw Vpaddsw Binary, two(0xed), plain |a, b, _, _| i16::zip(a, b, i16::saturating_add);
    Paddusb Vpaddusb Binary, two(0xdc), plain |a, b, _, _| u8::zip(a, b, u8::saturating_add);
    Paddusw Vpaddusw Binary, two(0xdd), plain |a, b, _, _| u16::zip(a, b, u16::saturating_add);
    Psubb Vpsubb Binary, two(0xf8), plain |a, b, _, _| u8::zip(a, b, u8::wrapping_sub);
    Psubw Vpsubw Binary, two(0xf9), plain |a, b, _, _| u16::zip(a, b, u16::wrapping_sub);
    Psubd Vpsubd Binary, two(0xfa), plain |a, b, _, _| u32::zip(a, b, u32::wrapping_sub);
    Psubq Vpsubq Binary, two(0xfb), plain |a, b, _, _| u64::zip(a, b, u64::wrapping_sub);
    Psubsb Vpsubsb Binary, two(0xe8), plain |a, b, _, _| i8::zip(a, b, i8::saturating_sub);
    Psubsw Vpsubsw Binary, two(0xe9), plain |a, b, _, _| i16::zip(a, b, i16::saturating_sub);
    Psubusb Vpsubusb Binary, two(0xd8), plain |a, b, _, _| u8::zip(a, b, u8::saturating_sub);
    Psubusw Vpsubusw Binary, two(0xd9), plain |a, b, _, _| u16::zip(a, b, u16::saturating_sub);

    Pmullw Vpmullw Binary, two(0xd5), plain |a, b, _, _| u16::zip(a, b, u16::wrapping_mul);
    Pmulhw Vpmulhw Binary, two(0xe5), plain |a, b, _, _| {
        i16::zip(a, b, |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16)
    };
    Pmulhuw Vpmulhuw Binary, two(0xe4), plain |a, b, _, _| {
        u16::zip(a, b, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16)
    };
    Pmulhrsw Vpmulhrsw Binary, two_38(0x0b), plain |a, b, _, _| i16::zip(a, b, multiply_rounded);
    Pmulld Vpmulld Binary, two_38(0x40), plain |a, b, _, _| u32::zip(a, b, u32::wrapping_mul);
    Pmuludq Vpmuludq Binary, two(0xf4), plain |a, b, _, _| {
        u64::zip(a, b, |a, b| u64::from(a as u32) * u64::from(b as u32))
    };
    Pmuldq Vpmuldq Binary, two_38(0x28), plain |a, b, _, _| {
        i64::zip(a, b, |a, b| i64::from(a as i32) * i64::from(b as i32))
    };
    Pmaddwd Vpmaddwd Binary, two(0xf5), plain |a, b, _, _| multiply_add_words(a, b);
    Pmaddubsw Vpmaddubsw Binary, two_38(0x04), plain |a, b, _, _| multiply_add_bytes(a, b);
    Psadbw Vpsadbw Binary, two(0xf6), plain |a, b, _, _| differences(a, b);
    Mpsadbw Vmpsadbw BinaryHalves(3), 0, plain |a, b, _, imm| sliding_differences(a, b, imm);
    Phminposuw Vphminposuw Unary, one_38(0x41), plain |a, _, _, _| smallest(a);

    Pavgb Vpavgb Binary, two(0xe0), plain |a, b, _, _| {
        u8::zip(a, b, |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8)
    };
    Pavgw Vpavgw Binary, two(0xe3), plain |a, b, _, _| {
        u16::zip(a, b, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16)
    };
    Pminub Vpminub Binary, two(0xda), plain |a, b, _, _| u8::zip(a, b, Ord::min);
    Pmaxub Vpmaxub Binary, two(0xde), plain |a, b, _, _| u8::zip(a, b, Ord::max);
    Pminsw Vpminsw Binary, two(0xea), plain |a, b, _, _| i16::zip(a, b, Ord::min);
    Pmaxsw Vpmaxsw Binary, two(0xee), plain |a, b, _, _| i16::zip(a, b, Ord::max);
    Pminsb Vpminsb Binary, two_38(0x38), plain |a, b, _, _| i8::zip(a, b, Ord::min);
    Pminsd Vpminsd Binary, two_38(0x39), plain |a, b, _, _| i32::zip(a, b, Ord::min);
    Pminuw Vpminuw Binary, two_38(0x3a), plain |a, b, _, _| u16::zip(a, b, Ord::min);
    Pminud Vpminud Binary, two_38(0x3b), plain |a, b, _, _| u32::zip(a, b, Ord::min);
    Pmaxsb Vpmaxsb Binary, two_38(0x3c), plain |a, b, _, _| i8::zip(a, b, Ord::max);
    Pmaxsd Vpmaxsd Binary, two_38(0x3d), plain |a, b, _, _| i32::zip(a, b, Ord::max);
    Pmaxuw Vpmaxuw Binary, two_38(0x3e), plain |a, b, _, _| u16::zip(a, b, Ord::max);
    Pmaxud Vpmaxud Binary, two_38(0x3f), plain |a, b, _, _| u32::zip(a, b, Ord::max);

    Pabsb Vpabsb Unary, one_38(0x1c), plain |a, _, _, _| i8::map(a, i8::wrapping_abs);
    Pabsw Vpabsw Unary, one_38(0x1d), plain |a, _, _, _| i16::map(a, i16::wrapping_abs);
    Pabsd Vpabsd Unary, one_38(0x1e), plain |a, _, _, _| i32::map(a, i32::wrapping_abs);
    Psignb Vpsignb Binary, two_38(0x08), plain |a, b, _, _| i8::zip(a, b, sign!(i8));
    Psignw Vpsignw Binary, two_38(0x09), plain |a, b, _, _| i16::zip(a, b, sign!(i16));
    Psignd Vpsignd Binary, two_38(0x0a), plain |a, b, _, _| i32::zip(a, b, sign!(i32));
    Phaddw Vphaddw Binary, two_38(0x01), plain |a, b, _, _| pairs(a, b, i16::wrapping_add);
    Phaddd Vphaddd Binary, two_38(0x02), plain |a, b, _, _| pairs(a, b, i32::wrapping_add);
    Phaddsw Vphaddsw Binary, two_38(0x03), plain |a, b, _, _| pairs(a, b, i16::saturating_add);
    Phsubw Vphsubw Binary, two_38(0x05), plain |a, b, _, _| pairs(a, b, i16::wrapping_sub);
    Phsubd Vphsubd Binary, two_38(0x06), plain |a, b, _, _| pairs(a, b, i32::wrapping_sub);
    Phsubsw Vphsubsw Binary, two_38(0x07), plain |a, b, _, _| pairs(a, b, i16::saturating_sub);

    Pcmpeqb Vpcmpeqb Binary, two(0x74), plain |a, b, _, _| u8::test(a, b, |a, b| a == b);
    Pcmpeqw Vpcmpeqw Binary, two(0x75), plain |a, b, _, _| u16::test(a, b, |a, b| a == b);
    Pcmpeqd Vpcmpeqd Binary, two(0x76), plain |a, b, _, _| u32::test(a, b, |a, b| a == b);
    Pcmpeqq Vpcmpeqq Binary, two_38(0x29), plain |a, b, _, _| u64::test(a, b, |a, b| a == b);
    Pcmpgtb Vpcmpgtb Binary, two(0x64), plain |a, b, _, _| i8::test(a, b, |a, b| a > b);
    Pcmpgtw Vpcmpgtw Binary, two(0x65), plain |a, b, _, _| i16::test(a, b, |a, b| a > b);
    Pcmpgtd Vpcmpgtd Binary, two(0x66), plain |a, b, _, _| i32::test(a, b, |a, b| a > b);
    Pcmpgtq Vpcmpgtq Binary, two_38(0x37), plain |a, b, _, _| i64::test(a, b, |a, b| a > b);

    Pand Vpand Binary, two(0xdb), plain |a, b, _, _| u64::zip(a, b, |a, b| a & b);
    Pandn Vpandn Binary, two(0xdf), plain |a, b, _, _| u64::zip(a, b, |a, b| !a & b);
    Por Vpor Binary, two(0xeb), plain |a, b, _, _| u64::zip(a, b, |a, b| a | b);
    Pxor Vpxor Binary, two(0xef), plain |a, b, _, _| u64::zip(a, b, |a, b| a ^ b);
    Andps Vandps Binary, word(0, 0x0f, 0x54, BINARY), plain |a, b, _, _| u64::zip(a, b, |a, b| a & b);
    Andnps Vandnps Binary, word(0, 0x0f, 0x55, BINARY), plain |a, b, _, _| u64::zip(a, b, |a, b| !a & b);
    Orps Vorps Binary, word(0, 0x0f, 0x56, BINARY), plain |a, b, _, _| u64::zip(a, b, |a, b| a | b);
    Xorps Vxorps Binary, word(0, 0x0f, 0x57, BINARY), plain |a, b, _, _| u64::zip(a, b, |a, b| a ^ b);
    Andpd Vandpd Binary, two(0x54), plain |a, b, _, _| u64::zip(a, b, |a, b| a & b);
    Andnpd Vandnpd Binary, two(0x55), plain |a, b, _, _| u64::zip(a, b, |a, b| !a & b);
    Orpd Vorpd Binary, two(0x56), plain |a, b, _, _| u64::zip(a, b, |a, b| a | b);
    Xorpd Vxorpd Binary, two(0x57), plain |a, b, _, _| u64::zip(a, b, |a, b| a ^ b);

    Pmovmskb Vpmovmskb Mask, word(0x66, 0x0f, 0xd7, MASK), plain |a, _, _, _| {
        let bytes = u8::split(a);
        [(0..16).fold(0, |mask, n| mask | u64::from(bytes[n] >> 7) << n), 0]
    };
    Movmskps Vmovmskps Mask, word(0, 0x0f, 0x50, MASK), plain |a, _, _, _| {
        let lanes = u32::split(a);
        [(0..4).fold(0, |mask, n| mask | u64::from(lanes[n] >> 31) << n), 0]
    };
    Movmskpd Vmovmskpd Mask, word(0x66, 0x0f, 0x50, MASK), plain |a, _, _, _| [a[0] >> 63 | a[1] >> 63 << 1, 0];
}

//! Shifts (Intel SDM 1, 11.4.2; AVX2: 14.7).

use vm_ir::Vector;

use super::encoding::{AVX2, BINARY, SHIFT, needs, number, wide, word};
use super::{Lane, rows};

/// The encoding of a shift by a vector's low half.
const fn count(opcode: u8) -> u32 {
    word(0x66, 0x0f, opcode, BINARY)
}

/// The encoding of a shift by the constant.
const fn constant(opcode: u8, extension: u8) -> u32 {
    number(word(0x66, 0x0f, opcode, SHIFT), extension)
}

/// The encoding of a shift of each lane by its own count.
const fn each(opcode: u8) -> u32 {
    needs(word(0x66, 0x38, opcode, BINARY), AVX2)
}

/// A count as shifts of Rust take it; far too large ones stay so.
fn clamp(count: u64) -> u32 {
    count.min(255) as u32
}

macro_rules! shift {
    ($number:ty, $shift:ident) => {
        |a: &Vector, count: u64| <$number>::map(a, |lane| lane.$shift(clamp(count)))
    };
}

/// Bytes towards the top.
fn bytes_left(a: &Vector, imm: u8) -> Vector {
    let bytes = u8::split(a);
    u8::build(|n| n.checked_sub(imm.into()).map_or(0, |n| bytes[n]))
}

/// Bytes towards the bottom.
fn bytes_right(a: &Vector, imm: u8) -> Vector {
    let bytes = u8::split(a);
    u8::build(|n| bytes.get(n + usize::from(imm)).copied().unwrap_or(0))
}

// Each shift by a vector is followed by the one by a constant.
rows! {
    Psllw Vpsllw Shift, count(0xf1), plain |a, b, _, _| shift!(u16, unbounded_shl)(a, b[0]);
    INVALID INVALID Shift, constant(0x71, 6), plain |a, _, _, imm| shift!(u16, unbounded_shl)(a, imm.into());
    Pslld Vpslld Shift, count(0xf2), plain |a, b, _, _| shift!(u32, unbounded_shl)(a, b[0]);
    INVALID INVALID Shift, constant(0x72, 6), plain |a, _, _, imm| shift!(u32, unbounded_shl)(a, imm.into());
    Psllq Vpsllq Shift, count(0xf3), plain |a, b, _, _| shift!(u64, unbounded_shl)(a, b[0]);
    INVALID INVALID Shift, constant(0x73, 6), plain |a, _, _, imm| shift!(u64, unbounded_shl)(a, imm.into());
    Psrlw Vpsrlw Shift, count(0xd1), plain |a, b, _, _| shift!(u16, unbounded_shr)(a, b[0]);
    INVALID INVALID Shift, constant(0x71, 2), plain |a, _, _, imm| shift!(u16, unbounded_shr)(a, imm.into());
    Psrld Vpsrld Shift, count(0xd2), plain |a, b, _, _| shift!(u32, unbounded_shr)(a, b[0]);
    INVALID INVALID Shift, constant(0x72, 2), plain |a, _, _, imm| shift!(u32, unbounded_shr)(a, imm.into());
    Psrlq Vpsrlq Shift, count(0xd3), plain |a, b, _, _| shift!(u64, unbounded_shr)(a, b[0]);
    INVALID INVALID Shift, constant(0x73, 2), plain |a, _, _, imm| shift!(u64, unbounded_shr)(a, imm.into());
    Psraw Vpsraw Shift, count(0xe1), plain |a, b, _, _| shift!(i16, unbounded_shr)(a, b[0]);
    INVALID INVALID Shift, constant(0x71, 4), plain |a, _, _, imm| shift!(i16, unbounded_shr)(a, imm.into());
    Psrad Vpsrad Shift, count(0xe2), plain |a, b, _, _| shift!(i32, unbounded_shr)(a, b[0]);
    INVALID INVALID Shift, constant(0x72, 4), plain |a, _, _, imm| shift!(i32, unbounded_shr)(a, imm.into());
    Pslldq Vpslldq ShiftImm, constant(0x73, 7), plain |a, _, _, imm| bytes_left(a, imm);
    Psrldq Vpsrldq ShiftImm, constant(0x73, 3), plain |a, _, _, imm| bytes_right(a, imm);

    INVALID Vpsllvd Binary, each(0x47), plain |a, b, _, _| u32::zip(a, b, |a, n| a.unbounded_shl(clamp(n.into())));
    INVALID Vpsllvq Binary, wide(each(0x47)), plain |a, b, _, _| u64::zip(a, b, |a, n| a.unbounded_shl(clamp(n)));
    INVALID Vpsrlvd Binary, each(0x45), plain |a, b, _, _| u32::zip(a, b, |a, n| a.unbounded_shr(clamp(n.into())));
    INVALID Vpsrlvq Binary, wide(each(0x45)), plain |a, b, _, _| u64::zip(a, b, |a, n| a.unbounded_shr(clamp(n)));
    INVALID Vpsravd Binary, each(0x46), plain |a, b, _, _| {
        i32::zip(a, b, |a, n| a.unbounded_shr(clamp((n as u32).into())))
    };
}

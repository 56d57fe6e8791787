//! Lanes moved about: packing, interleaving, permutation (Intel SDM 1, 11.4.2, 12.6.8, 14.7).

use vm_ir::Vector;

use super::encoding::{
    AVX2, BINARY, BINARY_IMM, PERMUTE, QUADWORDS, REGISTERS_IMM, UNARY, UNARY_IMM, WIDEN, needs,
    number, word,
};
use super::{Lane, rows};

/// Packs lanes of both into half their size.
macro_rules! pack {
    ($wide:ty => $narrow:ty) => {
        |a: &Vector, b: &Vector| {
            let (a, b) = (<$wide>::split(a), <$wide>::split(b));
            let (low, high) = (<$narrow>::MIN as $wide, <$narrow>::MAX as $wide);
            <$narrow>::build(|n| {
                let lane = if n < a.len() { a[n] } else { b[n - a.len()] };
                lane.clamp(low, high) as $narrow
            })
        }
    };
}

/// Lanes of both from number `first` on, in turn.
#[inline(always)]
fn interleave<T: Lane>(a: &Vector, b: &Vector, high: bool) -> Vector {
    let (a, b) = (T::split(a), T::split(b));
    let first = if high { a.as_ref().len() / 2 } else { 0 };
    T::build(|n| {
        let from = if n % 2 == 0 { a.as_ref() } else { b.as_ref() };
        from[first + n / 2]
    })
}

/// Bits `2n` and `2n + 1` of a constant.
const fn two_bits(imm: u8, n: usize) -> usize {
    (imm >> (2 * n) & 3) as usize
}

/// `pshufb` (Intel SDM 2B).
fn shuffle_bytes(a: &Vector, b: &Vector) -> Vector {
    let table = u8::split(a);
    u8::map(b, |index| match index & 0x80 {
        0 => table[usize::from(index & 15)],
        _ => 0,
    })
}

/// Bytes of `a:b` from number `imm` on (`palignr`: `a` is the high part).
fn align(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (high, low) = (u8::split(a), u8::split(b));
    u8::build(|n| match n + usize::from(imm) {
        n @ 0..16 => low[n],
        n @ 16..32 => high[n - 16],
        _ => 0,
    })
}

/// Words of one half by the constant, the other as it is.
fn shuffle_words(a: &Vector, imm: u8, first: usize) -> Vector {
    let words = u16::split(a);
    u16::build(|n| match n.wrapping_sub(first) {
        k @ 0..4 => words[first + two_bits(imm, k)],
        _ => words[n],
    })
}

/// Two lanes of `a` and two of `b` (`shufps`).
fn shuffle_singles(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (a, b) = (u32::split(a), u32::split(b));
    u32::build(|n| (if n < 2 { a } else { b })[two_bits(imm, n)])
}

/// Inserts a lane of `b`, then clears some (`insertps`, of a register).
fn insert_single(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (mut lanes, from) = (u32::split(a), u32::split(b));
    lanes[two_bits(imm, 2)] = from[two_bits(imm, 3)];
    u32::build(|n| if imm >> n & 1 != 0 { 0 } else { lanes[n] })
}

/// Eight lanes of which `a` and `b` are the halves, by the low three bits of each of `c` (`vpermd`).
fn permute_eight(a: &Vector, b: &Vector, c: &Vector) -> Vector {
    let (low, high) = (u32::split(a), u32::split(b));
    u32::map(c, |index| {
        let lane = (index & 3) as usize;
        if index & 4 == 0 {
            low[lane]
        } else {
            high[lane]
        }
    })
}

/// Two of the four lanes of which `a` and `b` are the halves (`vpermq`, of whose constant this gets four bits).
fn permute_four(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let lanes = [a[0], a[1], b[0], b[1]];
    [lanes[two_bits(imm, 0)], lanes[two_bits(imm, 1)]]
}

/// Lanes extended, from the lowest or, as part 1, from behind those.
macro_rules! widen {
    ($narrow:ty => $wide:ty) => {
        |a: &Vector, part: u8| {
            let lanes = <$narrow>::split(a);
            let count = 16 / size_of::<$wide>();
            <$wide>::build(|n| (lanes[n + count * usize::from(part & 1)]).into())
        }
    };
}

/// The encoding of lanes extended, from so many bytes.
const fn widen(opcode: u8, bytes: u8) -> u32 {
    number(word(0x66, 0x38, opcode, WIDEN), bytes)
}

rows! {
    Packsswb Vpacksswb Binary, word(0x66, 0x0f, 0x63, BINARY), plain |a, b, _, _| pack!(i16 => i8)(a, b);
    Packssdw Vpackssdw Binary, word(0x66, 0x0f, 0x6b, BINARY), plain |a, b, _, _| pack!(i32 => i16)(a, b);
    Packuswb Vpackuswb Binary, word(0x66, 0x0f, 0x67, BINARY), plain |a, b, _, _| pack!(i16 => u8)(a, b);
    Packusdw Vpackusdw Binary, word(0x66, 0x38, 0x2b, BINARY), plain |a, b, _, _| pack!(i32 => u16)(a, b);
    Punpcklbw Vpunpcklbw Binary, word(0x66, 0x0f, 0x60, BINARY), plain |a, b, _, _| interleave::<u8>(a, b, false);
    Punpcklwd Vpunpcklwd Binary, word(0x66, 0x0f, 0x61, BINARY), plain |a, b, _, _| interleave::<u16>(a, b, false);
    Punpckldq Vpunpckldq Binary, word(0x66, 0x0f, 0x62, BINARY), plain |a, b, _, _| interleave::<u32>(a, b, false);
    Punpcklqdq Vpunpcklqdq Binary, word(0x66, 0x0f, 0x6c, BINARY), plain |a, b, _, _| [a[0], b[0]];
    Punpckhbw Vpunpckhbw Binary, word(0x66, 0x0f, 0x68, BINARY), plain |a, b, _, _| interleave::<u8>(a, b, true);
    Punpckhwd Vpunpckhwd Binary, word(0x66, 0x0f, 0x69, BINARY), plain |a, b, _, _| interleave::<u16>(a, b, true);
    Punpckhdq Vpunpckhdq Binary, word(0x66, 0x0f, 0x6a, BINARY), plain |a, b, _, _| interleave::<u32>(a, b, true);
    Punpckhqdq Vpunpckhqdq Binary, word(0x66, 0x0f, 0x6d, BINARY), plain |a, b, _, _| [a[1], b[1]];
    Unpcklps Vunpcklps Binary, word(0, 0x0f, 0x14, BINARY), plain |a, b, _, _| interleave::<u32>(a, b, false);
    Unpckhps Vunpckhps Binary, word(0, 0x0f, 0x15, BINARY), plain |a, b, _, _| interleave::<u32>(a, b, true);
    Unpcklpd Vunpcklpd Binary, word(0x66, 0x0f, 0x14, BINARY), plain |a, b, _, _| [a[0], b[0]];
    Unpckhpd Vunpckhpd Binary, word(0x66, 0x0f, 0x15, BINARY), plain |a, b, _, _| [a[1], b[1]];

    Pshufb Vpshufb Binary, word(0x66, 0x38, 0x00, BINARY), plain |a, b, _, _| shuffle_bytes(a, b);
    Palignr Vpalignr Binary, word(0x66, 0x3a, 0x0f, BINARY_IMM), plain |a, b, _, imm| align(a, b, imm);
    Pshufd Vpshufd Unary, word(0x66, 0x0f, 0x70, UNARY_IMM), plain |a, _, _, imm| {
        let lanes = u32::split(a);
        u32::build(|n| lanes[two_bits(imm, n)])
    };
    Pshufhw Vpshufhw Unary, word(0xf3, 0x0f, 0x70, UNARY_IMM), plain |a, _, _, imm| shuffle_words(a, imm, 4);
    Pshuflw Vpshuflw Unary, word(0xf2, 0x0f, 0x70, UNARY_IMM), plain |a, _, _, imm| shuffle_words(a, imm, 0);
    Shufps Vshufps Binary, word(0, 0x0f, 0xc6, BINARY_IMM), plain |a, b, _, imm| shuffle_singles(a, b, imm);
    Shufpd Vshufpd BinaryHalves(2), word(0x66, 0x0f, 0xc6, BINARY_IMM), plain |a, b, _, imm| {
        [a[usize::from(imm & 1)], b[usize::from(imm >> 1 & 1)]]
    };
    Insertps Vinsertps Special, word(0x66, 0x3a, 0x21, REGISTERS_IMM), plain |a, b, _, imm| insert_single(a, b, imm);
    Movddup Vmovddup Unary, word(0xf2, 0x0f, 0x12, UNARY), plain |a, _, _, _| [a[0]; 2];
    Movshdup Vmovshdup Unary, word(0xf3, 0x0f, 0x16, UNARY), plain |a, _, _, _| {
        let lanes = u32::split(a);
        u32::build(|n| lanes[n | 1])
    };
    Movsldup Vmovsldup Unary, word(0xf3, 0x0f, 0x12, UNARY), plain |a, _, _, _| {
        let lanes = u32::split(a);
        u32::build(|n| lanes[n & !1])
    };

    Blendps Vblendps BinaryHalves(4), word(0x66, 0x3a, 0x0c, BINARY_IMM), plain |a, b, _, imm| blend::<u32>(a, b, imm);
    Blendpd Vblendpd BinaryHalves(2), word(0x66, 0x3a, 0x0d, BINARY_IMM), plain |a, b, _, imm| blend::<u64>(a, b, imm);
    Pblendw Vpblendw Binary, word(0x66, 0x3a, 0x0e, BINARY_IMM), plain |a, b, _, imm| blend::<u16>(a, b, imm);
    INVALID Vpblendd BinaryHalves(4), needs(word(0x66, 0x3a, 0x02, BINARY_IMM), AVX2), plain |a, b, _, imm| {
        blend::<u32>(a, b, imm)
    };

    INVALID Vpermilps BinaryOrImm(0), word(0x66, 0x38, 0x0c, BINARY), plain |a, b, _, _| {
        let lanes = u32::split(a);
        u32::map(b, |index| lanes[(index & 3) as usize])
    };
    INVALID INVALID Special, word(0x66, 0x3a, 0x04, UNARY_IMM), plain |a, _, _, imm| {
        let lanes = u32::split(a);
        u32::build(|n| lanes[two_bits(imm, n)])
    };
    INVALID Vpermilpd BinaryOrImm(2), word(0x66, 0x38, 0x0d, BINARY), plain |a, b, _, _| {
        u64::map(b, |index| a[(index >> 1 & 1) as usize])
    };
    INVALID INVALID Special, word(0x66, 0x3a, 0x05, UNARY_IMM), plain |a, _, _, imm| {
        [a[usize::from(imm & 1)], a[usize::from(imm >> 1 & 1)]]
    };
    INVALID Vpermd Special, needs(word(0x66, 0x38, 0x36, PERMUTE), AVX2), plain |a, b, c, _| permute_eight(a, b, c);
    INVALID Vpermq Special, word(0x66, 0x0f, 0xc6, QUADWORDS), plain |a, b, _, imm| permute_four(a, b, imm);
    INVALID Vpbroadcastb Special, needs(word(0x66, 0x38, 0x78, UNARY), AVX2), plain |a, _, _, _| {
        let lane = a[0] as u8;
        u8::build(|_| lane)
    };
    INVALID Vpbroadcastw Special, needs(word(0x66, 0x38, 0x79, UNARY), AVX2), plain |a, _, _, _| {
        let lane = a[0] as u16;
        u16::build(|_| lane)
    };
    INVALID Vpbroadcastd Special, needs(word(0x66, 0x38, 0x58, UNARY), AVX2), plain |a, _, _, _| {
        let lane = a[0] as u32;
        u32::build(|_| lane)
    };

    Pmovsxbw Vpmovsxbw Widen, widen(0x20, 8), plain |a, _, _, part| widen!(i8 => i16)(a, part);
    Pmovsxbd Vpmovsxbd Widen, widen(0x21, 4), plain |a, _, _, part| widen!(i8 => i32)(a, part);
    Pmovsxbq Vpmovsxbq Widen, widen(0x22, 2), plain |a, _, _, part| widen!(i8 => i64)(a, part);
    Pmovsxwd Vpmovsxwd Widen, widen(0x23, 8), plain |a, _, _, part| widen!(i16 => i32)(a, part);
    Pmovsxwq Vpmovsxwq Widen, widen(0x24, 4), plain |a, _, _, part| widen!(i16 => i64)(a, part);
    Pmovsxdq Vpmovsxdq Widen, widen(0x25, 8), plain |a, _, _, part| widen!(i32 => i64)(a, part);
    Pmovzxbw Vpmovzxbw Widen, widen(0x30, 8), plain |a, _, _, part| widen!(u8 => u16)(a, part);
    Pmovzxbd Vpmovzxbd Widen, widen(0x31, 4), plain |a, _, _, part| widen!(u8 => u32)(a, part);
    Pmovzxbq Vpmovzxbq Widen, widen(0x32, 2), plain |a, _, _, part| widen!(u8 => u64)(a, part);
    Pmovzxwd Vpmovzxwd Widen, widen(0x33, 8), plain |a, _, _, part| widen!(u16 => u32)(a, part);
    Pmovzxwq Vpmovzxwq Widen, widen(0x34, 4), plain |a, _, _, part| widen!(u16 => u64)(a, part);
    Pmovzxdq Vpmovzxdq Widen, widen(0x35, 8), plain |a, _, _, part| widen!(u32 => u64)(a, part);
}

/// Lanes of `b` where the constant has a bit, else of `a`.
#[inline(always)]
fn blend<T: Lane>(a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (a, b) = (T::split(a), T::split(b));
    T::build(|n| {
        let from = if imm >> n & 1 != 0 {
            b.as_ref()
        } else {
            a.as_ref()
        };
        from[n]
    })
}

//! Integers.

use super::Outcome;
use crate::attr::{Attr, Cond};
use crate::inst::Inst;
use crate::op::family::{Binary, Choose, Field, Ternary, Unary, Wide};
use crate::slot::Type;

/// A width up to 64 bits. Operands come with anything above it.
#[derive(Clone, Copy)]
struct Width(u32);

impl Width {
    fn zext(self, value: u64) -> u64 {
        value & (u64::MAX >> (64 - self.0))
    }

    fn sext(self, value: u64) -> i64 {
        let above = 64 - self.0;
        ((value << above) as i64) >> above
    }

    /// A shift count, modulo the width.
    fn count(self, value: u64) -> u32 {
        value as u32 % self.0
    }
}

/// Whether a comparison of the low bits of two words holds.
pub fn compare(cond: Cond, ty: Type, a: u64, b: u64) -> bool {
    let w = Width(ty.bits().min(64));
    match cond {
        Cond::Eq => w.zext(a) == w.zext(b),
        Cond::Ne => w.zext(a) != w.zext(b),
        Cond::LtS => w.sext(a) < w.sext(b),
        Cond::GeS => w.sext(a) >= w.sext(b),
        Cond::LtU => w.zext(a) < w.zext(b),
        Cond::GeU => w.zext(a) >= w.zext(b),
    }
}

/// The width of an integer type up to 64 bits.
fn width(ty: Type) -> Option<Width> {
    ty.is_int().then(|| Width(ty.bits()))
}

pub(super) fn unary(op: Unary, ty: Type, a: u64) -> Option<Outcome> {
    let w = width(ty)?;
    let u = w.zext(a);
    let value = match op {
        Unary::Not => !a,
        Unary::Neg => a.wrapping_neg(),
        Unary::Clz => u64::from(u.leading_zeros() - (64 - w.0)),
        Unary::Ctz => u64::from(u.trailing_zeros().min(w.0)),
        Unary::Popcnt => u64::from(u.count_ones()),
        Unary::ByteSwap => u.swap_bytes() >> (64 - w.0),
        Unary::OrCombine => {
            u64::from_le_bytes(a.to_le_bytes().map(|b| if b == 0 { 0 } else { 0xff }))
        }
        Unary::ReverseBits => u64::from_le_bytes(a.to_le_bytes().map(u8::reverse_bits)),
    };
    Outcome::bits(value, w.0)
}

pub(super) fn binary(op: Binary, ty: Type, a: u64, b: u64) -> Option<Outcome> {
    let w = width(ty)?;
    let (ua, ub) = (w.zext(a), w.zext(b));
    let (sa, sb) = (w.sext(a), w.sext(b));
    let n = w.count(b);
    let value = match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::AndNot => a & !b,
        Binary::OrNot => a | !b,
        Binary::Xnor => !(a ^ b),
        Binary::Shl => ua << n,
        Binary::Shr => ua >> n,
        Binary::Sar => (sa >> n) as u64,
        Binary::Rol | Binary::Ror if n == 0 => ua,
        Binary::Rol => ua << n | ua >> (w.0 - n),
        Binary::Ror => ua >> n | ua << (w.0 - n),
        Binary::Mul => a.wrapping_mul(b),
        Binary::MulHS => ((i128::from(sa) * i128::from(sb)) >> w.0) as u64,
        Binary::MulHU => ((u128::from(ua) * u128::from(ub)) >> w.0) as u64,
        Binary::MulHSU => ((i128::from(sa) * i128::from(ub)) >> w.0) as u64,
        Binary::DivS if sb == 0 => u64::MAX,
        Binary::DivS => sa.wrapping_div(sb) as u64,
        Binary::DivU => ua.checked_div(ub).unwrap_or(u64::MAX),
        Binary::RemS if sb == 0 => a,
        Binary::RemS => sa.wrapping_rem(sb) as u64,
        Binary::RemU => ua.checked_rem(ub).unwrap_or(a),
        Binary::MinS => sa.min(sb) as u64,
        Binary::MinU => ua.min(ub),
        Binary::MaxS => sa.max(sb) as u64,
        Binary::MaxU => ua.max(ub),
        Binary::ClMul => carryless(w, ua, ub) as u64,
        Binary::ClMulH => (carryless(w, ua, ub) >> w.0) as u64,
        Binary::ClMulR => (carryless(w, ua, ub) >> (w.0 - 1)) as u64,
        Binary::BitSet => ua | 1 << n,
        Binary::BitClear => ua & !(1 << n),
        Binary::BitInvert => ua ^ 1 << n,
        Binary::BitExtract => ua >> n & 1,
        Binary::PermuteBytes => permute(w, ua, ub, 8),
        Binary::PermuteNibbles => permute(w, ua, ub, 4),
        Binary::ScatterBits => scatter(ua, ub),
        Binary::GatherBits => gather(ua, ub),
    };
    Outcome::bits(value, w.0)
}

fn carryless(w: Width, a: u64, b: u64) -> u128 {
    (0..w.0)
        .filter(|n| b >> n & 1 != 0)
        .fold(0, |sum, n| sum ^ u128::from(a) << n)
}

/// Pieces of `bits` bits of `from`, numbered by those of `numbers`.
fn permute(w: Width, from: u64, numbers: u64, bits: u32) -> u64 {
    let piece = |of: u64, at: u64| of.checked_shr(at as u32).unwrap_or(0) & ((1 << bits) - 1);
    (0..w.0 / bits).fold(0, |result, n| {
        let to = u64::from(n * bits);
        let number = piece(numbers, to);
        result | piece(from, number * u64::from(bits)) << to
    })
}

pub(super) fn ternary(op: Ternary, ty: Type, [a, b, c, _]: [u64; 4]) -> Option<Outcome> {
    let w = width(ty)?;
    let value = match op {
        Ternary::AddCarry => a.wrapping_add(b).wrapping_add(c & 1),
        Ternary::SubBorrow => a.wrapping_sub(b).wrapping_sub(c & 1),
        Ternary::AddShl => (a << (c & 63)).wrapping_add(b),
        Ternary::AddShlU32 => ((a & 0xffff_ffff) << (c & 63)).wrapping_add(b),
        Ternary::FunnelShr => {
            let both = u128::from(w.zext(b)) << w.0 | u128::from(w.zext(a));
            (both >> w.count(c)) as u64
        }
        Ternary::RolCarry => rotate_with_carry(w, a, w.zext(b) % (u64::from(w.0) + 1), c),
        Ternary::RorCarry => {
            let count = u64::from(w.0) + 1;
            rotate_with_carry(w, a, (count - w.zext(b) % count) % count, c)
        }
        Ternary::DivUWide => wide_unsigned(w, a, b)
            .checked_div(w.zext(c).into())
            .map_or(u64::MAX, |quotient| quotient as u64),
        Ternary::RemUWide => wide_unsigned(w, a, b)
            .checked_rem(w.zext(c).into())
            .map_or(a, |remainder| remainder as u64),
        Ternary::DivSWide if w.zext(c) == 0 => u64::MAX,
        Ternary::DivSWide => wide_signed(w, a, b).wrapping_div(w.sext(c).into()) as u64,
        Ternary::RemSWide if w.zext(c) == 0 => a,
        Ternary::RemSWide => wide_signed(w, a, b).wrapping_rem(w.sext(c).into()) as u64,
        Ternary::DivSOverflows => {
            let quotient = wide_signed(w, a, b).checked_div(w.sext(c).into());
            let fits = quotient.is_some_and(|quotient| {
                i64::try_from(quotient).is_ok_and(|quotient| w.sext(quotient as u64) == quotient)
            });
            (!fits).into()
        }
        Ternary::Crc32c => {
            let bytes = w.zext(b).to_le_bytes();
            let bytes = &bytes[..c.clamp(1, 8) as usize];
            bytes
                .iter()
                .fold(w.zext(a) as u32, |crc, &byte| crc32c(crc, byte))
                .into()
        }
    };
    Outcome::bits(value, w.0)
}

/// Carry and value rotated left by a count up to the width; without the carry that comes out.
fn rotate_with_carry(w: Width, value: u64, count: u64, carry: u64) -> u64 {
    let bits = w.0 + 1;
    let whole = u128::from(carry & 1) << w.0 | u128::from(w.zext(value));
    (whole << count | whole >> (u64::from(bits) - count)) as u64
}

fn wide_unsigned(w: Width, low: u64, high: u64) -> u128 {
    u128::from(w.zext(high)) << w.0 | u128::from(w.zext(low))
}

fn wide_signed(w: Width, low: u64, high: u64) -> i128 {
    i128::from(w.sext(high)) << w.0 | i128::from(w.zext(low))
}

/// One step of CRC-32C, reflected: the polynomial is 0x1edc6f41 read from its other end.
fn crc32c(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| {
        crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 }
    })
}

fn scatter(from: u64, places: u64) -> u64 {
    let mut left = from;
    (0..64)
        .filter(|place| places >> place & 1 != 0)
        .fold(0, |all, place| {
            let bit = left & 1;
            left >>= 1;
            all | bit << place
        })
}

fn gather(from: u64, places: u64) -> u64 {
    (0..64)
        .filter(|place| places >> place & 1 != 0)
        .enumerate()
        .fold(0, |all, (n, place)| all | (from >> place & 1) << n)
}

pub(super) fn choose(op: Choose, inst: &Inst, [x, y, a, b]: [u64; 4]) -> Option<Outcome> {
    let Attr::Cond(cond) = inst.attr else {
        return None;
    };
    let value = match op {
        Choose::Cmp => compare(cond, inst.ty, x, y).into(),
        Choose::Select if compare(cond, inst.ty, a, b) => x,
        Choose::Select => y,
    };
    Outcome::bits(value, width(inst.ty)?.0)
}

pub(super) fn field(op: Field, inst: &Inst, x: u64, y: u64) -> Option<Outcome> {
    let Attr::Field { pos, len, signed } = inst.attr else {
        return None;
    };
    let field = Width(len.clamp(1, 64).into());
    let value = match op {
        Field::Extract => {
            let at_bottom = x.checked_shr(pos.into()).unwrap_or(0);
            if signed {
                field.sext(at_bottom) as u64
            } else {
                field.zext(at_bottom)
            }
        }
        Field::Deposit => {
            let ones = field.zext(u64::MAX);
            let place = |bits: u64| bits.checked_shl(pos.into()).unwrap_or(0);
            x & !place(ones) | place(y & ones)
        }
    };
    Outcome::bits(value, width(inst.ty)?.0)
}

/// Between 128-bit integers and their halves.
pub(super) fn halves(op: Wide, low: [u64; 4], wide: u128) -> Option<Outcome> {
    match op {
        Wide::Pair => Some(Outcome {
            value: u128::from(low[1]) << 64 | u128::from(low[0]),
            bits: 128,
        }),
        Wide::Low => Outcome::bits(wide as u64, 64),
        Wide::High => Outcome::bits((wide >> 64) as u64, 64),
    }
}

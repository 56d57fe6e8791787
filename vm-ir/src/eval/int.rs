//! Integers.

use super::Outcome;
use crate::attr::{Attr, Cond};
use crate::inst::Inst;
use crate::op::Op;
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

/// Operations whose type is an integer up to 64 bits.
pub(super) fn evaluate(inst: &Inst, args: [u64; 4]) -> Option<Outcome> {
    if !inst.ty.is_int() {
        return None;
    }
    let w = Width(inst.ty.bits());
    let [a, b, ..] = args;
    let value = unary(inst.op, w, a)
        .or_else(|| logic(inst.op, a, b))
        .or_else(|| arithmetic(inst.op, w, a, b))
        .or_else(|| shift(inst.op, w, a, b))
        .or_else(|| carryless(inst.op, w, a, b))
        .or_else(|| ternary(inst.op, w, args))
        .or_else(|| with_attribute(inst, args))?;
    Outcome::bits(value, w.0)
}

fn unary(op: Op, w: Width, a: u64) -> Option<u64> {
    let u = w.zext(a);
    Some(match op {
        Op::Not => !a,
        Op::Neg => a.wrapping_neg(),
        Op::Clz => u64::from(u.leading_zeros() - (64 - w.0)),
        Op::Ctz => u64::from(u.trailing_zeros().min(w.0)),
        Op::Popcnt => u64::from(u.count_ones()),
        Op::ByteSwap => u.swap_bytes() >> (64 - w.0),
        Op::OrCombine => u64::from_le_bytes(a.to_le_bytes().map(|b| if b == 0 { 0 } else { 0xff })),
        _ => return None,
    })
}

fn logic(op: Op, a: u64, b: u64) -> Option<u64> {
    Some(match op {
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::AndNot => a & !b,
        Op::OrNot => a | !b,
        Op::Xnor => !(a ^ b),
        _ => return None,
    })
}

fn arithmetic(op: Op, w: Width, a: u64, b: u64) -> Option<u64> {
    let (ua, ub) = (w.zext(a), w.zext(b));
    let (sa, sb) = (w.sext(a), w.sext(b));
    Some(match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        Op::MulHS => ((i128::from(sa) * i128::from(sb)) >> w.0) as u64,
        Op::MulHU => ((u128::from(ua) * u128::from(ub)) >> w.0) as u64,
        Op::MulHSU => ((i128::from(sa) * i128::from(ub)) >> w.0) as u64,
        Op::DivS if sb == 0 => u64::MAX,
        Op::DivS => sa.wrapping_div(sb) as u64,
        Op::DivU => ua.checked_div(ub).unwrap_or(u64::MAX),
        Op::RemS if sb == 0 => a,
        Op::RemS => sa.wrapping_rem(sb) as u64,
        Op::RemU => ua.checked_rem(ub).unwrap_or(a),
        Op::MinS => sa.min(sb) as u64,
        Op::MinU => ua.min(ub),
        Op::MaxS => sa.max(sb) as u64,
        Op::MaxU => ua.max(ub),
        _ => return None,
    })
}

fn shift(op: Op, w: Width, a: u64, b: u64) -> Option<u64> {
    let n = w.count(b);
    let u = w.zext(a);
    Some(match op {
        Op::Shl => u << n,
        Op::Shr => u >> n,
        Op::Sar => (w.sext(a) >> n) as u64,
        Op::Rol if n == 0 => u,
        Op::Rol => u << n | u >> (w.0 - n),
        Op::Ror if n == 0 => u,
        Op::Ror => u >> n | u << (w.0 - n),
        Op::BitSet => u | 1 << n,
        Op::BitClear => u & !(1 << n),
        Op::BitInvert => u ^ 1 << n,
        Op::BitExtract => u >> n & 1,
        _ => return None,
    })
}

fn carryless(op: Op, w: Width, a: u64, b: u64) -> Option<u64> {
    let drop = match op {
        Op::ClMul => 0,
        Op::ClMulH => w.0,
        Op::ClMulR => w.0 - 1,
        _ => return None,
    };
    let (a, b) = (u128::from(w.zext(a)), w.zext(b));
    let product = (0..w.0)
        .filter(|n| b >> n & 1 != 0)
        .fold(0, |sum, n| sum ^ a << n);
    Some((product >> drop) as u64)
}

fn ternary(op: Op, w: Width, [a, b, c, _]: [u64; 4]) -> Option<u64> {
    Some(match op {
        Op::AddCarry => a.wrapping_add(b).wrapping_add(c),
        Op::SubBorrow => a.wrapping_sub(b).wrapping_sub(c),
        Op::AddShl => (a << (c & 63)).wrapping_add(b),
        Op::AddShlU32 => ((a & 0xffff_ffff) << (c & 63)).wrapping_add(b),
        Op::FunnelShr => {
            let both = u128::from(w.zext(b)) << w.0 | u128::from(w.zext(a));
            (both >> w.count(c)) as u64
        }
        _ => return None,
    })
}

fn with_attribute(inst: &Inst, [x, y, a, b]: [u64; 4]) -> Option<u64> {
    Some(match (inst.op, inst.attr) {
        (Op::Cmp, Attr::Cond(cond)) => compare(cond, inst.ty, x, y).into(),
        (Op::Select, Attr::Cond(cond)) if compare(cond, inst.ty, a, b) => x,
        (Op::Select, Attr::Cond(_)) => y,
        (Op::Extract, Attr::Field { pos, len, signed }) => {
            let field = Width(len.clamp(1, 64).into());
            let at_bottom = x.checked_shr(pos.into()).unwrap_or(0);
            if signed {
                field.sext(at_bottom) as u64
            } else {
                field.zext(at_bottom)
            }
        }
        (Op::Deposit, Attr::Field { pos, len, .. }) => {
            let ones = Width(len.clamp(1, 64).into()).zext(u64::MAX);
            let place = |bits: u64| bits.checked_shl(pos.into()).unwrap_or(0);
            x & !place(ones) | place(y & ones)
        }
        _ => return None,
    })
}

/// Between 128-bit integers and their halves.
pub(super) fn evaluate_wide(inst: &Inst, low: [u64; 4], wide: [u128; 4]) -> Option<Outcome> {
    match inst.op {
        Op::Pair => Some(Outcome::Bits {
            value: u128::from(low[1]) << 64 | u128::from(low[0]),
            bits: 128,
        }),
        Op::Low => Outcome::bits(wide[0] as u64, 64),
        Op::High => Outcome::bits((wide[0] >> 64) as u64, 64),
        _ => None,
    }
}

//! 128-bit vectors.

use vm_softfloat::{F16, F32, F64, Format};

use super::float::{rounded, with_format};
use super::{FpControl, Outcome};
use crate::attr::{Attr, Rounding};
use crate::inst::Inst;
use crate::op::family::{FpArith, VecBits, VecFp, VecLanes, VecMove, VecShift};
use crate::slot::Type;

/// The lanes that an operation names.
fn lanes_of(inst: &Inst) -> Option<(Lanes, Type, u8)> {
    match inst.attr {
        Attr::Lane { ty, index } => Some((Lanes { bits: ty.bits() }, ty, index)),
        _ => None,
    }
}

fn whole(value: u128) -> Outcome {
    Outcome { value, bits: 128 }
}

pub(super) fn lanes(op: VecLanes, inst: &Inst, [a, b, ..]: [u128; 4]) -> Option<Outcome> {
    let (lanes, ..) = lanes_of(inst)?;
    let operation = lane_operation(op);
    Some(whole(lanes.map(a, b, |x, y| operation(lanes, x, y))))
}

pub(super) fn shift(op: VecShift, inst: &Inst, [a, b, ..]: [u128; 4]) -> Option<Outcome> {
    let (lanes, _, index) = lanes_of(inst)?;
    Some(whole(
        lanes.map(a, b, |x, _| lanes.shift(op, x, index.into())),
    ))
}

pub(super) fn moves(
    op: VecMove,
    inst: &Inst,
    low: [u64; 4],
    [a, b, ..]: [u128; 4],
) -> Option<Outcome> {
    let (lanes, _, index) = lanes_of(inst)?;
    let index = u32::from(index);
    Some(whole(match op {
        VecMove::VecSplat => lanes.map(a, b, |_, _| low[0]),
        VecMove::VecExtract => return Outcome::bits(lanes.get(a, index), inst.ty.bits()),
        VecMove::VecInsert => lanes.build(|n| if n == index { low[1] } else { lanes.get(a, n) }),
        VecMove::VecZipLow => lanes.zip(a, b, 0),
        VecMove::VecZipHigh => lanes.zip(a, b, lanes.count() / 2),
    }))
}

pub(super) fn float(
    op: VecFp,
    inst: &Inst,
    [a, b, ..]: [u128; 4],
    fp: &mut FpControl,
) -> Option<Outcome> {
    let (lanes, ty, _) = lanes_of(inst)?;
    let scalar = match op {
        VecFp::VecFpAdd => FpArith::FpAdd,
        VecFp::VecFpSub => FpArith::FpSub,
        VecFp::VecFpMul => FpArith::FpMul,
    };
    let value = with_format!(ty, F => Some(lanes.map(a, b, |x, y| {
        let operands = [x, y, 0].map(F::narrow);
        F::widen(fp.run(Rounding::Dynamic, |env, flags| {
            rounded::<F>(scalar, operands, env, flags)
        }))
    })))?;
    Some(whole(value))
}

pub(super) fn bits(op: VecBits, a: u128, b: u128) -> Outcome {
    let chosen = |choose: fn(u8, &[u8; 16]) -> u8| {
        let table = a.to_le_bytes();
        u128::from_le_bytes(b.to_le_bytes().map(|index| choose(index, &table)))
    };
    whole(match op {
        VecBits::VecAnd => a & b,
        VecBits::VecOr => a | b,
        VecBits::VecXor => a ^ b,
        VecBits::VecAndNot => a & !b,
        VecBits::VecShuffle => chosen(|index, table| {
            if index & 0x80 != 0 {
                0
            } else {
                table[usize::from(index & 15)]
            }
        }),
        VecBits::VecTable => {
            chosen(|index, table| table.get(usize::from(index)).copied().unwrap_or(0))
        }
    })
}

/// A division of 128 bits into lanes. Lane values travel zero-extended; bits above a lane are dropped.
#[derive(Clone, Copy)]
struct Lanes {
    bits: u32,
}

impl Lanes {
    fn count(self) -> u32 {
        128 / self.bits
    }

    fn get(self, vector: u128, lane: u32) -> u64 {
        let mask = u64::MAX >> (64 - self.bits.min(64));
        vector.checked_shr(lane * self.bits).unwrap_or(0) as u64 & mask
    }

    fn build(self, mut lane: impl FnMut(u32) -> u64) -> u128 {
        (0..self.count()).fold(0, |vector, n| {
            let value = self.get(lane(n).into(), 0);
            vector | u128::from(value) << (n * self.bits)
        })
    }

    fn map(self, a: u128, b: u128, mut operation: impl FnMut(u64, u64) -> u64) -> u128 {
        self.build(|n| operation(self.get(a, n), self.get(b, n)))
    }

    fn zip(self, a: u128, b: u128, first: u32) -> u128 {
        self.build(|n| self.get(if n % 2 == 0 { a } else { b }, first + n / 2))
    }

    fn sext(self, value: u64) -> i64 {
        let above = 64 - self.bits;
        ((value << above) as i64) >> above
    }

    fn shift(self, op: VecShift, value: u64, count: u32) -> u64 {
        match op {
            VecShift::VecShl => value.checked_shl(count).unwrap_or(0),
            VecShift::VecShr => value.checked_shr(count).unwrap_or(0),
            VecShift::VecSar => self.sext(value).unbounded_shr(count) as u64,
        }
    }
}

/// What an operation does to each pair of integer lanes.
fn lane_operation(op: VecLanes) -> fn(Lanes, u64, u64) -> u64 {
    match op {
        VecLanes::VecAdd => |_, a, b| a.wrapping_add(b),
        VecLanes::VecSub => |_, a, b| a.wrapping_sub(b),
        VecLanes::VecMul => |_, a, b| a.wrapping_mul(b),
        VecLanes::VecCmpEq => |_, a, b| u64::from(a == b).wrapping_neg(),
        VecLanes::VecCmpGtS => |l, a, b| u64::from(l.sext(a) > l.sext(b)).wrapping_neg(),
        VecLanes::VecMinS => |l, a, b| l.sext(a).min(l.sext(b)) as u64,
        VecLanes::VecMinU => |_, a, b| a.min(b),
        VecLanes::VecMaxS => |l, a, b| l.sext(a).max(l.sext(b)) as u64,
        VecLanes::VecMaxU => |_, a, b| a.max(b),
    }
}

//! 128-bit vectors.

use vm_softfloat::{F16, F32, F64, Format};

use super::float::{rounded, with_format};
use super::{FpControl, Outcome};
use crate::attr::{Attr, Rounding};
use crate::inst::Inst;
use crate::op::Op;
use crate::slot::Type;

/// Operations on vectors.
pub(super) fn evaluate(
    inst: &Inst,
    low: [u64; 4],
    wide: [u128; 4],
    fp: &mut FpControl,
) -> Option<Outcome> {
    let [a, b, ..] = wide;
    let whole = |value| Some(Outcome::Bits { value, bits: 128 });
    if let Some(value) = bitwise(inst.op, a, b) {
        return whole(value);
    }
    let Attr::Lane { ty, index } = inst.attr else {
        return None;
    };
    let lanes = Lanes { bits: ty.bits() };
    if let Some(operation) = lane_operation(inst.op) {
        return whole(lanes.map(a, b, |x, y| operation(lanes, x, y)));
    }
    match inst.op {
        Op::VecShl | Op::VecShr | Op::VecSar => {
            whole(lanes.map(a, b, |x, _| lanes.shift(inst.op, x, index.into())))
        }
        Op::VecSplat => whole(lanes.map(a, b, |_, _| low[0])),
        Op::VecExtract => Outcome::bits(lanes.get(a, index.into()), inst.ty.bits()),
        Op::VecInsert => whole(lanes.build(|n| {
            if n == u32::from(index) {
                low[1]
            } else {
                lanes.get(a, n)
            }
        })),
        Op::VecZipLow => whole(lanes.zip(a, b, 0)),
        Op::VecZipHigh => whole(lanes.zip(a, b, lanes.count() / 2)),
        Op::VecFpAdd | Op::VecFpSub | Op::VecFpMul => {
            let value = with_format!(ty, F => Some(lanes.map(a, b, |x, y| {
                let operands = [x, y, 0].map(F::narrow);
                let result = fp.run(Rounding::Dynamic, |env, flags| {
                    rounded::<F>(inst.op, operands, env, flags)
                });
                result.map_or(0, F::widen)
            })))?;
            whole(value)
        }
        _ => None,
    }
}

fn bitwise(op: Op, a: u128, b: u128) -> Option<u128> {
    let chosen = |choose: fn(u8, &[u8; 16]) -> u8| {
        let table = a.to_le_bytes();
        u128::from_le_bytes(b.to_le_bytes().map(|index| choose(index, &table)))
    };
    Some(match op {
        Op::VecAnd => a & b,
        Op::VecOr => a | b,
        Op::VecXor => a ^ b,
        Op::VecAndNot => a & !b,
        Op::VecShuffle => chosen(|index, table| {
            if index & 0x80 != 0 {
                0
            } else {
                table[usize::from(index & 15)]
            }
        }),
        Op::VecTable => chosen(|index, table| table.get(usize::from(index)).copied().unwrap_or(0)),
        _ => return None,
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

    fn shift(self, op: Op, value: u64, count: u32) -> u64 {
        match op {
            Op::VecShl => value.checked_shl(count).unwrap_or(0),
            Op::VecShr => value.checked_shr(count).unwrap_or(0),
            _ => self.sext(value).unbounded_shr(count) as u64,
        }
    }
}

/// What an operation does to each pair of integer lanes.
fn lane_operation(op: Op) -> Option<fn(Lanes, u64, u64) -> u64> {
    Some(match op {
        Op::VecAdd => |_, a, b| a.wrapping_add(b),
        Op::VecSub => |_, a, b| a.wrapping_sub(b),
        Op::VecMul => |_, a, b| a.wrapping_mul(b),
        Op::VecCmpEq => |_, a, b| u64::from(a == b).wrapping_neg(),
        Op::VecCmpGtS => |l, a, b| u64::from(l.sext(a) > l.sext(b)).wrapping_neg(),
        Op::VecMinS => |l, a, b| l.sext(a).min(l.sext(b)) as u64,
        Op::VecMinU => |_, a, b| a.min(b),
        Op::VecMaxS => |l, a, b| l.sext(a).max(l.sext(b)) as u64,
        Op::VecMaxU => |_, a, b| a.max(b),
        _ => return None,
    })
}

//! Arithmetic, conversion and comparison of the lowest lane, of guests whose floating point is the host's own.

use super::*;
use crate::asm::{Reg, Vex};
use vm_ir::family::{FpArith, FpConvert, FpExtremum, FpOther};
use vm_ir::{FpToIntRule, MinMaxRule, Rounding};

/// The prefix of scalar instructions.
fn prefix(double: bool) -> u8 {
    if double { 3 } else { 2 }
}

fn vex(double: bool, opcode: u8) -> Vex {
    Vex::new(prefix(double), 1, opcode)
}

/// The order 231 of a fused operation.
fn fused(double: bool, opcode: u8) -> Vex {
    let vex = Vex::new(1, 2, opcode);
    if double { vex.wide() } else { vex }
}

/// An operation on the lowest lane that keeps the others.
#[derive(Clone, Copy)]
enum Lowest {
    /// Of `x` and `y`.
    Two(Vex, Slot, Slot),
    /// Of one vector.
    One(Vex, Slot),
    Fused(Vex, [Slot; 3]),
    /// Of an integer.
    Integer(Vex, Operand),
}

/// The operation, if it is one.
fn lowest(inst: &Inst) -> Option<Lowest> {
    let double = match inst.ty {
        Type::F64 => true,
        Type::F32 => false,
        _ => return None,
    };
    if inst.ext != Ext::Keep {
        return None;
    }
    let [x, y, z, _] = inst.args.map(|arg| arg.slot());
    let dynamic = inst.attr == Attr::Fp(Rounding::Dynamic);
    Some(match inst.op.family() {
        Family::FpArith(op) if dynamic => match op {
            FpArith::FpAdd => Lowest::Two(vex(double, 0x58), x?, y?),
            FpArith::FpSub => Lowest::Two(vex(double, 0x5c), x?, y?),
            FpArith::FpMul => Lowest::Two(vex(double, 0x59), x?, y?),
            FpArith::FpDiv => Lowest::Two(vex(double, 0x5e), x?, y?),
            FpArith::FpSqrt => Lowest::One(vex(double, 0x51), x?),
            _ if !std::arch::is_x86_feature_detected!("fma") => return None,
            FpArith::FpMulAdd => Lowest::Fused(fused(double, 0xb9), [x?, y?, z?]),
            FpArith::FpMulSub => Lowest::Fused(fused(double, 0xbb), [x?, y?, z?]),
            FpArith::FpNegMulSub => Lowest::Fused(fused(double, 0xbd), [x?, y?, z?]),
            FpArith::FpNegMulAdd => Lowest::Fused(fused(double, 0xbf), [x?, y?, z?]),
        },
        Family::FpExtremum(op) if inst.attr == Attr::MinMax(MinMaxRule::Second) => {
            let opcode = match op {
                FpExtremum::FpMin => 0x5d,
                FpExtremum::FpMax => 0x5f,
            };
            Lowest::Two(vex(double, opcode), x?, y?)
        }
        Family::FpConvert(op) => {
            let Attr::Convert {
                from,
                rounding: Rounding::Dynamic,
                signed,
                ..
            } = inst.attr
            else {
                return None;
            };
            match (op, from) {
                (FpConvert::FpToFp, Type::F32 | Type::F64) if from != inst.ty => {
                    Lowest::One(vex(!double, 0x5a), x?)
                }
                (FpConvert::IntToFp, Type::I32) if signed => {
                    Lowest::Integer(vex(double, 0x2a), inst.args[0])
                }
                (FpConvert::IntToFp, Type::I64) if signed => {
                    Lowest::Integer(vex(double, 0x2a).wide(), inst.args[0])
                }
                _ => return None,
            }
        }
        _ => return None,
    })
}

impl Emitter<'_> {
    /// See the module. Floating point is live.
    pub(super) fn scalar(&mut self, inst: &Inst) -> Option<()> {
        let dst = inst.dst?;
        match inst.op.family() {
            Family::FpConvert(FpConvert::FpToInt) => return self.lowest_to_int(inst, dst),
            Family::FpOther(FpOther::FpCmpFlags) => {
                let vex = flags_of(inst)?;
                let [x, y, ..] = inst.args.map(|arg| arg.slot());
                self.compare_vectors(vex, x?, y?);
                self.store_flags(dst, false);
                return Some(());
            }
            _ => {}
        }
        if self.type_of(dst) != Type::V128 {
            return None;
        }
        self.lowest(lowest(inst)?, dst, dst);
        Some(())
    }

    /// Computes the lowest lane of `dst`, of which the others become those of `rest`.
    fn lowest(&mut self, operation: Lowest, dst: Slot, rest: Slot) {
        match operation {
            Lowest::Two(vex, x, y) if x == rest => {
                let first = self.in_xmm(x, ACC);
                let second = self.vector_place(y);
                let to = self.result(dst);
                self.asm.vex(vex, to.0, first.0, second);
                self.has_result(dst, to);
            }
            Lowest::Two(vex, x, y) => {
                let first = self.in_xmm(x, ACC);
                let second = self.vector_place(y);
                self.asm.vex(vex, SECOND.0, first.0, second);
                let rest = self.in_xmm(rest, ACC);
                let to = self.result(dst);
                self.asm.vex(merge(vex), to.0, rest.0, SECOND);
                self.has_result(dst, to);
            }
            Lowest::One(vex, from) => {
                let from = self.vector_place(from);
                let rest = self.in_xmm(rest, ACC);
                let to = self.result(dst);
                self.asm.vex(vex, to.0, rest.0, from);
                self.has_result(dst, to);
            }
            Lowest::Integer(vex, from) => {
                let from = self.in_reg(from, Reg::Rax);
                let rest = self.in_xmm(rest, ACC);
                let to = self.result(dst);
                self.asm.vex(vex, to.0, rest.0, from);
                self.has_result(dst, to);
            }
            Lowest::Fused(vex, factors) if factors.contains(&dst) => self.fused(vex, dst, factors),
            Lowest::Fused(vex, [a, b, c]) => {
                let addend = self.vector_place(c);
                self.asm.vmov(ACC, addend);
                let first = self.in_xmm(a, SECOND);
                let second = self.vector_place(b);
                self.asm.vex(vex, ACC.0, first.0, second);
                let rest = self.in_xmm(rest, SECOND);
                let to = self.result(dst);
                let width = Vex::new(prefix(vex.wide), 1, 0x10);
                self.asm.vex(width, to.0, rest.0, ACC);
                self.has_result(dst, to);
            }
        }
    }

    /// A copy of `rest` to a vector, and an operation that writes the lowest lane of that, as one.
    pub(super) fn copy_and_lowest(&mut self, copy: &Inst, inst: &Inst) -> Option<()> {
        let (dst, rest) = (copy.dst?, copy.args[0].slot()?);
        if copy.ty != Type::V128 || inst.dst != Some(dst) || !self.host_is_guest {
            return None;
        }
        let operation = lowest(inst)?;
        // What reads the copy reads what was copied.
        let read = |slot: Slot| if slot == dst { rest } else { slot };
        let operation = match operation {
            Lowest::Two(vex, x, y) => Lowest::Two(vex, read(x), read(y)),
            Lowest::One(vex, from) => Lowest::One(vex, read(from)),
            Lowest::Integer(..) => operation,
            Lowest::Fused(..) => return None,
        };
        self.enter_float();
        self.lowest(operation, dst, rest);
        Some(())
    }

    fn lowest_to_int(&mut self, inst: &Inst, dst: Slot) -> Option<()> {
        let Attr::Convert {
            from,
            rounding,
            signed: true,
            rule: FpToIntRule::Indefinite,
        } = inst.attr
        else {
            return None;
        };
        let double = match from {
            Type::F64 => true,
            Type::F32 => false,
            _ => return None,
        };
        let opcode = match rounding {
            Rounding::Dynamic => 0x2d,
            Rounding::Zero => 0x2c,
            _ => return None,
        };
        let vex = match inst.ty {
            Type::I32 => vex(double, opcode),
            Type::I64 => vex(double, opcode).wide(),
            _ => return None,
        };
        if inst.ext != Ext::Zero || self.type_of(dst) == Type::V128 {
            return None;
        }
        let from = self.vector_place(inst.args[0].slot()?);
        let to = self.target(dst, &[]);
        self.asm.vex(vex, to as u8, 0, from);
        self.put(dst, to);
        Some(())
    }
}

/// The comparison to flags of an operation.
pub(super) fn flags_of(inst: &Inst) -> Option<Vex> {
    match inst.ty {
        Type::F64 => Some(Vex::new(1, 1, 0x2e)),
        Type::F32 => Some(Vex::new(0, 1, 0x2e)),
        _ => None,
    }
}

/// The move of a lowest lane as wide as a scalar instruction's.
fn merge(vex: Vex) -> Vex {
    Vex::new(vex.pp, 1, 0x10)
}

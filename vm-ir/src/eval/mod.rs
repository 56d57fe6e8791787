//! What every pure and floating-point operation computes, by value: the definition that the interpreter falls back
//! to, that passes fold constants with, and that tests compare everything else to. Written to be read, not to be
//! fast.
//!
//! An operation reads the low bits of its operands, computes in its type, and fills the destination's words as its
//! [`Ext`] says. Operations that reach memory or leave the block and those of
//! a guest's own table are not here: [`evaluate`] gives `None`.
//!
//! | family | file |
//! |---|---|
//! | integers, comparisons, 128-bit pairs | `int` |
//! | flag groups and their encoding | [`flags`] |
//! | IEEE arithmetic | `float` |
//! | 128-bit vectors | `vector` |
//! | whole blocks | [`block`] |

pub mod block;
pub mod flags;
mod float;
mod int;
#[cfg(test)]
mod tests;
mod vector;

use crate::attr::{Attr, Rounding};
use crate::inst::{Ext, Inst, Operand};
use crate::op::{Class, Family, family::Move};
use crate::slot::StateLayout;

pub use int::compare;

/// The contents of a slot, low word first. Types up to 64 bits and flag groups (encoding: [`flags`]) use the first word,
/// 128-bit types both.
pub type Value = [u64; 2];

/// What floating-point operations depend on and change besides their operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FpControl {
    /// Rounding of operations that say [`Rounding::Dynamic`].
    pub rounding: vm_softfloat::RoundingDirection,
    /// Accrued exceptions: bit 0 inexact, 1 underflow, 2 overflow, 3 division by zero, 4 invalid (RISC-V `fflags`), and
    /// bit 5 subnormal operand, for guests whose rules notice that.
    pub flags: u32,
    /// NaN choice, tininess, treatment of subnormals. Its rounding and integer rule count for nothing: operations
    /// name theirs.
    pub rules: vm_softfloat::Env,
}

impl FpControl {
    /// Runs `operation` under the rounding asked for and accrues what it raises.
    pub fn run<T>(
        &mut self,
        rounding: Rounding,
        operation: impl FnOnce(&vm_softfloat::Env, &mut vm_softfloat::Flags) -> T,
    ) -> T {
        let env = self.rules.with_rounding(match rounding {
            Rounding::NearestEven => vm_softfloat::RoundingDirection::NearestEven,
            Rounding::Zero => vm_softfloat::RoundingDirection::TowardZero,
            Rounding::Down => vm_softfloat::RoundingDirection::Down,
            Rounding::Up => vm_softfloat::RoundingDirection::Up,
            Rounding::NearestAway => vm_softfloat::RoundingDirection::NearestAway,
            Rounding::Dynamic => self.rounding,
        });
        let mut raised = vm_softfloat::Flags::NONE;
        let result = operation(&env, &mut raised);
        self.flags |= u32::from(raised.bits() & 0x3f);
        result
    }
}

/// A result before it fills a destination: the low `bits` bits of a number.
struct Outcome {
    value: u128,
    bits: u32,
}

impl Outcome {
    fn bits(value: u64, bits: u32) -> Option<Self> {
        let value = value.into();
        Some(Self { value, bits })
    }
}

/// The destination's words after `inst`, or `None` for operations that reach memory, leave the block, call (a row of the
/// guest's table is called by [`vector_row`]), or mark.
///
/// `args` are the operands' slots as they stand ([`constant`] for constants, zeros where there is none), `dst_old` the
/// destination's, `page_base` the virtual address of the block's page. Of the words given back, write as many as the
/// destination slot has.
pub fn evaluate(
    inst: &Inst,
    args: [Value; 4],
    dst_old: Value,
    page_base: u64,
    fp: &mut FpControl,
) -> Option<Value> {
    let low = args.map(|value| value[0]);
    let wide = args.map(|value| u128::from(value[1]) << 64 | u128::from(value[0]));
    let outcome = match inst.op.family() {
        Family::Control(_)
        | Family::Access(_)
        | Family::Reserve(_)
        | Family::Modify(_)
        | Family::VecRow(_) => None,
        Family::Move(Move::Mov) => Some(Outcome {
            value: wide[0],
            bits: inst.ty.bits(),
        }),
        Family::Move(Move::PcRel) => Outcome::bits(page_base.wrapping_add(low[0]), 64),
        Family::Choose(op) => int::choose(op, inst, low),
        Family::Unary(op) => int::unary(op, inst.ty, low[0]),
        Family::Binary(op) => int::binary(op, inst.ty, low[0], low[1]),
        Family::Ternary(op) => int::ternary(op, inst.ty, low),
        Family::Field(op) => int::field(op, inst, low[0], low[1]),
        Family::Wide(op) => int::halves(op, low, wide[0]),
        Family::Flags(op) => flags::evaluate(op, inst, &args),
        Family::FpArith(op) => float::arithmetic(op, inst, low, fp),
        Family::FpExtremum(op) => float::extremum(op, inst, low, fp),
        Family::FpSign(op) => float::sign(op, inst.ty, low),
        Family::FpCompare(op) => float::compare(op, inst.ty, low, fp),
        Family::FpConvert(op) => float::convert(op, inst, low[0], fp),
        Family::FpOther(op) => float::other(op, inst, low, fp),
        Family::VecBits(op) => Some(vector::bits(op, wide[0], wide[1])),
        Family::VecLanes(op) => vector::lanes(op, inst, wide),
        Family::VecShift(op) => vector::shift(op, inst, wide),
        Family::VecMove(op) => vector::moves(op, inst, low, wide),
        Family::VecFp(op) => vector::float(op, inst, wide, fp),
    }?;
    Some(fill(outcome.value, outcome.bits, inst.ext, dst_old))
}

/// The result of `v_call`; `None` for other operations and rows that do not exist.
pub fn vector_row(
    inst: &Inst,
    args: [Value; 4],
    layout: &StateLayout,
    fp: &mut FpControl,
) -> Option<Value> {
    let Attr::Vector { row, imm } = inst.attr else {
        return None;
    };
    let [a, b, c, _] = args;
    let declared = layout.vectors.get(usize::from(row.0))?;
    Some(declared.function.run(fp, [&a, &b, &c], imm))
}

/// The value of a constant operand.
pub fn constant(value: i64) -> Value {
    let sign = (value >> 63) as u64;
    [value as u64, sign]
}

/// Words that an operation reads of its operand number `number`, hence words that a reader must supply.
pub fn operand_words(inst: &Inst, number: usize) -> usize {
    match inst.args[number] {
        Operand::Slot(_) => words(inst, inst.op.info().args[number]),
        _ => 1,
    }
}

/// Words that an operation's result needs; a wider destination takes the rest of the words given back as well.
pub fn result_words(inst: &Inst) -> usize {
    words(inst, inst.op.info().result)
}

fn words(inst: &Inst, class: Class) -> usize {
    match class {
        Class::Vec | Class::OptVec | Class::Wide => 2,
        Class::Any => inst.ty.slot_bytes() as usize / 8,
        Class::None
        | Class::Int
        | Class::OptInt
        | Class::Fp
        | Class::Flags
        | Class::OptFlags
        | Class::Imm => 1,
    }
}

/// The low `bits` bits of `value`, then what `ext` says up to 128 bits.
pub fn fill(value: u128, bits: u32, ext: Ext, dst_old: Value) -> Value {
    let above = u128::MAX.checked_shl(bits).unwrap_or(0);
    let value = value & !above;
    let negative = bits > 0 && value >> (bits - 1) & 1 != 0;
    let old = u128::from(dst_old[1]) << 64 | u128::from(dst_old[0]);
    let filled = match ext {
        Ext::Zero => value,
        Ext::Sign if negative => value | above,
        Ext::Sign => value,
        Ext::Ones => value | above,
        Ext::Keep => value | old & above,
    };
    [filled as u64, (filled >> 64) as u64]
}

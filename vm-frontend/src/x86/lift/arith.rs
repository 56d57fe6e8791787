//! Addition, subtraction, comparison, negation (Intel SDM 1, 7.3.2).

use iced_x86::Mnemonic;
use vm_ir::{FlagCond, FlagKind, Op, Operand, Type};

use super::context::{Context, Place, Use};
use super::{Flow, INVALID, atomic, bits};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `add`, `sub`: operation and kind of flags.
    Plain(Op, FlagKind),
    /// `adc`, `sbb`.
    WithCarry(Op, FlagKind),
    /// `cmp`.
    Compare,
    /// `inc`, `dec`.
    Step(Op, FlagKind),
    /// `neg`.
    Negate,
    /// `adcx`, `adox`: the flag that is the carry (Intel SDM 2A, "ADCX", "ADOX").
    OneFlag(FlagCond),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Add, Plain(Op::Add, FlagKind::Add)),
    (Mnemonic::Sub, Plain(Op::Sub, FlagKind::Sub)),
    (Mnemonic::Adc, WithCarry(Op::AddCarry, FlagKind::AddCarry)),
    (Mnemonic::Sbb, WithCarry(Op::SubBorrow, FlagKind::SubBorrow)),
    (Mnemonic::Cmp, Compare),
    (Mnemonic::Inc, Step(Op::Add, FlagKind::Inc)),
    (Mnemonic::Dec, Step(Op::Sub, FlagKind::Dec)),
    (Mnemonic::Neg, Negate),
    (Mnemonic::Adcx, OneFlag(FlagCond::C)),
    (Mnemonic::Adox, OneFlag(FlagCond::V)),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    let ty = c.ty(0);
    let zero = Operand::Imm(0);
    if c.insn.has_lock_prefix() {
        return match rule {
            Plain(op, kind) => atomic::add(c, ty, op, kind),
            WithCarry(op, kind) => atomic::with_carry(c, ty, op, kind),
            Step(op, kind) => atomic::step(c, ty, op, kind),
            Negate => atomic::negate(c, ty),
            Compare | OneFlag(_) => INVALID,
        };
    }
    match rule {
        Plain(op, kind) => {
            let (place, a, b) = operands(c, ty);
            finish(c, place, op, kind, ty, [a, b], zero);
        }
        WithCarry(op, kind) => {
            let (place, a, b) = operands(c, ty);
            let carry = c.flag(FlagCond::C).into();
            match place {
                Place::Memory(_) => {
                    let result = c.op(op, ty, [a, b, carry]);
                    c.put(place, ty, result.into());
                    c.set_flags(kind, ty, [a, b, carry]);
                }
                _ => {
                    c.set_flags(kind, ty, [a, b, carry]);
                    c.compute(place, op, ty, [a, b, carry]);
                }
            }
        }
        Compare => {
            let a = c.value(0);
            let b = c.value(1);
            c.set_flags(FlagKind::Sub, ty, [a, b, zero]);
        }
        Step(op, kind) => {
            let place = c.place(0, Use::Modify);
            let a = c.get(place, ty);
            match place {
                Place::Memory(_) => {
                    let result = c.op(op, ty, [a, Operand::Imm(1)]);
                    c.put(place, ty, result.into());
                    c.set_flags(kind, ty, [a, zero, zero]);
                }
                _ => {
                    c.set_flags(kind, ty, [a, zero, zero]);
                    c.compute(place, op, ty, [a, Operand::Imm(1)]);
                }
            }
        }
        Negate => {
            let place = c.place(0, Use::Modify);
            let a = c.get(place, ty);
            match place {
                Place::Memory(_) => {
                    let result = c.op(Op::Neg, ty, [a]);
                    c.put(place, ty, result.into());
                    c.set_flags(FlagKind::Neg, ty, [a, zero, zero]);
                }
                _ => {
                    c.set_flags(FlagKind::Neg, ty, [a, zero, zero]);
                    c.compute(place, Op::Neg, ty, [a]);
                }
            }
        }
        OneFlag(cond) => {
            let b = c.value(1);
            let place = c.place(0, Use::Modify);
            let a = c.get(place, ty);
            let carry = c.flag(cond).into();
            let temp = c.b.temp(Type::Flags);
            c.b.setflags(FlagKind::AddCarry, ty, temp, [a, b, carry], None);
            let out = c.b.temp64();
            c.b.getflag(FlagCond::C, out, temp);
            c.compute(place, Op::AddCarry, ty, [a, b, carry]);
            match cond {
                FlagCond::C => bits::set_carry(c, out.into()),
                _ => {
                    let carry = c.flag(FlagCond::C).into();
                    let values = [carry, out.into(), zero];
                    c.set_flags(FlagKind::CarryOverflow, Type::I64, values);
                }
            }
        }
    }
    Flow::Next
}

/// The two operands, and where the first is.
fn operands(c: &mut Context<'_>, ty: Type) -> (Place, Operand, Operand) {
    if c.in_memory(1) {
        let b = c.value(1);
        let place = c.place(0, Use::Modify);
        let a = c.get(place, ty);
        return (place, a, b);
    }
    let place = c.place(0, Use::Modify);
    let a = c.get(place, ty);
    let b = c.value(1);
    (place, a, b)
}

/// Result and flags: a store comes before the flags, as it may fault; a register after them, as it may be an operand.
fn finish(
    c: &mut Context<'_>,
    place: Place,
    op: Op,
    kind: FlagKind,
    ty: Type,
    [a, b]: [Operand; 2],
    third: Operand,
) {
    match place {
        Place::Memory(_) => {
            let result = c.op(op, ty, [a, b]);
            c.put(place, ty, result.into());
            c.set_flags(kind, ty, [a, b, third]);
        }
        _ => {
            c.set_flags(kind, ty, [a, b, third]);
            c.compute(place, op, ty, [a, b]);
        }
    }
}

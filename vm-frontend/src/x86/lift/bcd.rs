//! Decimal arithmetic, outside 64-bit mode (Intel SDM 1, 7.3.3).

use iced_x86::Mnemonic;
use vm_ir::{Cond, FlagKind, Op, Operand, Slot, Type};

use super::context::Context;
use super::{Flow, exception};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `daa`, `das`: adds or subtracts.
    Packed(Op),
    /// `aaa`, `aas`.
    Unpacked(Op),
    /// `aam`.
    Split,
    /// `aad`.
    Join,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Daa, Packed(Op::Add)),
    (Mnemonic::Das, Packed(Op::Sub)),
    (Mnemonic::Aaa, Unpacked(Op::Add)),
    (Mnemonic::Aas, Unpacked(Op::Sub)),
    (Mnemonic::Aam, Split),
    (Mnemonic::Aad, Join),
];

/// Place of A in flag bits.
const HALF_CARRY: u8 = 4;

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Packed(op) => packed(c, op),
        Unpacked(op) => unpacked(c, op),
        Split => return split(c),
        Join => join(c),
    }
    Flow::Next
}

fn rax() -> Slot {
    gpr_slot(gpr::RAX)
}

/// 1 when either is not zero.
fn either(c: &mut Context<'_>, a: Slot, b: Slot) -> Slot {
    c.op64(Op::Or, a, b)
}

/// Whether the low digit of AL needs adjusting: it is above nine, or A is set.
fn low_digit_wrong(c: &mut Context<'_>, al: Slot, flags: Slot) -> Slot {
    let digit = c.extract(al, 0, 4, false);
    let above = c.cmp(Cond::GeU, Type::I64, digit, 10_i64);
    let half = c.extract(flags, HALF_CARRY, 1, false);
    either(c, above, half)
}

/// S, Z and P of AL; C and A as given.
fn digit_flags(c: &mut Context<'_>, al: Slot, carry: Slot, half: Slot) {
    let temp = c.b.temp(Type::Flags);
    let zero = Operand::Imm(0);
    c.b.setflags(
        FlagKind::Logic,
        Type::I8,
        temp,
        [al.into(), zero, zero],
        None,
    );
    let all = c.op(Op::FlagBits, Type::I64, [temp.into()]);
    let all = c.deposit(all, 0, 1, carry);
    let all = c.deposit(all, HALF_CARRY, 1, half);
    c.set_flag_bits(all);
}

fn packed(c: &mut Context<'_>, op: Op) {
    let flags = c.flag_bits();
    let al = c.extract(rax(), 0, 8, false);
    let old_carry = c.extract(flags, 0, 1, false);
    let half = low_digit_wrong(c, al, flags);
    let above = c.cmp(Cond::GeU, Type::I64, al, 0x9a_i64);
    let high = either(c, above, old_carry);
    let by = c.op64(Op::Mul, half, 6_i64);
    let once = c.op64(op, al, by);
    let by = c.op64(Op::Mul, high, 0x60_i64);
    let twice = c.op64(op, once, by);
    // A borrow of the low digit's adjustment is carry, too, where the high digit needs none (Intel SDM 2A, "DAS").
    let carry = if op == Op::Sub {
        let borrow = c.extract(once, 8, 1, false);
        either(c, high, borrow)
    } else {
        high
    };
    let to = c.gpr(gpr::RAX);
    c.put(to, Type::I8, twice.into());
    digit_flags(c, twice, carry, half);
}

fn unpacked(c: &mut Context<'_>, op: Op) {
    let flags = c.flag_bits();
    let al = c.extract(rax(), 0, 8, false);
    let wrong = low_digit_wrong(c, al, flags);
    let by = c.op64(Op::Mul, wrong, 0x106_i64);
    let ax = c.op(op, Type::I16, [rax().into(), by.into()]);
    let ax = c.op64(Op::And, ax, 0xff0f_i64);
    let to = c.gpr(gpr::RAX);
    c.put(to, Type::I16, ax.into());
    digit_flags(c, ax, wrong, wrong);
}

/// AL divided by the immediate: quotient to AH, remainder to AL.
fn split(c: &mut Context<'_>) -> Flow {
    let by = c.insn.immediate8();
    if by == 0 {
        return Flow::Raise(exception::DIVIDE);
    }
    let al = c.extract(rax(), 0, 8, false);
    let quotient = c.op64(Op::DivU, al, i64::from(by));
    let remainder = c.op64(Op::RemU, al, i64::from(by));
    let ax = c.deposit(remainder, 8, 8, quotient);
    let to = c.gpr(gpr::RAX);
    c.put(to, Type::I16, ax.into());
    c.logic_flags(Type::I8, remainder.into());
    Flow::Next
}

fn join(c: &mut Context<'_>) {
    let by = i64::from(c.insn.immediate8());
    let al = c.extract(rax(), 0, 8, false);
    let ah = c.extract(rax(), 8, 8, false);
    let high = c.op64(Op::Mul, ah, by);
    let sum = c.op64(Op::Add, al, high);
    let sum = c.op64(Op::And, sum, 0xff_i64);
    let to = c.gpr(gpr::RAX);
    c.put(to, Type::I16, sum.into());
    c.logic_flags(Type::I8, sum.into());
}

//! Flag control (Intel SDM 1, 7.3.13).

use iced_x86::Mnemonic;
use vm_ir::{Attr, FlagCond, Op, Operand, Type};

use super::context::{Context, DIRECTION, SYSTEM_FLAGS};
use super::{DENIED, Flow, INVALID, bits, helper};
use crate::x86::mode;
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `clc`.
    ClearCarry,
    /// `stc`.
    SetCarry,
    /// `cmc`.
    InvertCarry,
    /// `cld`, `std`: what the direction becomes.
    Direction(i64),
    /// `cli`.
    CloseInterrupts,
    /// `sti`.
    OpenInterrupts,
    /// `stac`, `clac`.
    Alignment(vm_ir::HelperId),
    /// `lahf`.
    ToHigh,
    /// `sahf`.
    FromHigh,
    /// `salc`: AL all ones when C is set (Intel SDM 2B lists its opcode, D6, as invalid in 64-bit mode only).
    CarryToAl,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Clc, ClearCarry),
    (Mnemonic::Stc, SetCarry),
    (Mnemonic::Cmc, InvertCarry),
    (Mnemonic::Cld, Direction(1)),
    (Mnemonic::Std, Direction(-1)),
    (Mnemonic::Cli, CloseInterrupts),
    (Mnemonic::Sti, OpenInterrupts),
    (Mnemonic::Stac, Alignment(helper::STAC)),
    (Mnemonic::Clac, Alignment(helper::CLAC)),
    (Mnemonic::Lahf, ToHigh),
    (Mnemonic::Sahf, FromHigh),
    (Mnemonic::Salc, CarryToAl),
];

/// IF in RFLAGS.
const INTERRUPT: i64 = 1 << 9;
/// S, Z, A, P and C.
const LOW_FLAGS: i64 = 0xd5;
/// Place of V in flag bits.
const OVERFLOW: u8 = 11;
/// Bit 1 of RFLAGS, which is always set.
pub(super) const ALWAYS: i64 = 2;

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        ClearCarry => bits::set_carry(c, Operand::Imm(0)),
        SetCarry => bits::set_carry(c, Operand::Imm(1)),
        InvertCarry => {
            let carry = c.flag(FlagCond::NotC);
            bits::set_carry(c, carry.into());
        }
        Direction(value) => c.b.mov(DIRECTION, value),
        CloseInterrupts => {
            if !c.has(mode::IO_PRIVILEGED) {
                let shape = c.shape(Type::I64);
                c.b.call(helper::CLI, None, [shape]);
                return c.exit();
            }
            c.b.op64(Op::And, SYSTEM_FLAGS, SYSTEM_FLAGS, !INTERRUPT);
        }
        OpenInterrupts => {
            if !c.ends {
                c.b.call(helper::STI_WITHIN, None, []);
                return Flow::Next;
            }
            let shape = c.shape(Type::I64);
            c.b.call(helper::STI, None, [shape]);
            return c.exit();
        }
        Alignment(helper) => {
            if !c.has(mode::SUPERVISOR) || c.has(mode::V86) {
                return INVALID;
            }
            c.b.call(helper, None, []);
            return c.exit();
        }
        ToHigh => {
            let all = c.flag_bits();
            let low = c.op64(Op::And, all, LOW_FLAGS);
            let image = c.op64(Op::Or, low, ALWAYS);
            let rax = gpr_slot(gpr::RAX);
            let (pos, len, signed) = (8, 8, false);
            let attr = Attr::Field { pos, len, signed };
            let operands = [rax.into(), image.into()];
            c.b.op_with(
                Op::Deposit,
                Type::I64,
                vm_ir::Ext::Zero,
                Some(rax),
                operands,
                attr,
            );
        }
        FromHigh => {
            let image = c.extract(gpr_slot(gpr::RAX), 8, 8, false);
            let overflow = c.flag(FlagCond::V);
            let all = c.deposit(image, OVERFLOW, 1, overflow);
            c.set_flag_bits(all);
        }
        CarryToAl => {
            let carry = c.flag(FlagCond::C);
            let rax = c.gpr(gpr::RAX);
            c.compute(rax, Op::Neg, Type::I8, [carry.into()]);
        }
    }
    Flow::Next
}

/// `pushf`.
pub(super) fn push(c: &mut Context<'_>, ty: Type) -> Flow {
    if c.has(mode::V86) {
        let shape = c.shape(ty);
        let image = c.call(helper::READ_FLAGS, [shape]);
        c.push(ty, image.into());
        return Flow::Next;
    }
    let all = c.flag_bits();
    // The direction is 1 or all ones, so DF's place tells them apart. RF and VM are pushed as zeros.
    let direction = c.op64(Op::And, DIRECTION, 1_i64 << 10);
    let system = c.op64(Op::And, SYSTEM_FLAGS, !(3_i64 << 16));
    let image = c.op64(Op::Or, all, direction);
    let image = c.op64(Op::Or, image, system);
    let image = c.op64(Op::Or, image, ALWAYS);
    c.push(ty, image.into());
    Flow::Next
}

/// `popf`.
pub(super) fn pop(c: &mut Context<'_>, ty: Type) -> Flow {
    let place = c.on_stack(0, ty, super::context::Use::Read);
    let image = c.load(place, ty);
    let operands = [Operand::from(image), c.shape(ty)];
    c.b.call(helper::WRITE_FLAGS, None, operands);
    c.move_stack(super::context::bytes(ty).into());
    c.exit()
}

/// What an instruction is that only CPL 0 may execute; `None` where that is.
pub(super) fn unprivileged(c: &Context<'_>) -> Option<Flow> {
    (!c.has(mode::SUPERVISOR) || c.has(mode::V86)).then_some(DENIED)
}

//! Control transfer (Intel SDM 1, 7.3.8; near branches in 64-bit mode: Intel SDM 1, 7.3.8.6).

use iced_x86::{Mnemonic, OpKind};
use vm_ir::{
    Attr, Cond, Ext, FlagCond, JumpKind, Op, Operand, Slot, Terminator, Type, leaves_page,
};

use super::context::{Context, Use, bytes, extension, int_type, mask};
use super::{Flow, exception, helper};
use crate::x86::mode;
use crate::x86::state::{gpr, gpr_slot, seg, segment_base_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `jcc`.
    If(FlagCond),
    /// `jmp`, near or far.
    Jump,
    /// `call`, near or far.
    Call,
    /// `ret`.
    Return,
    /// `retf`.
    FarReturn,
    /// `jcxz`, `jecxz`, `jrcxz`: the size of the count.
    IfZero(Type),
    /// `loop`; `loope`, `loopne`: and the flag.
    Loop(Option<FlagCond>),
    /// `int`, `int3`, `int1`: the kind that the helper knows.
    Interrupt(i64),
    /// `into`.
    Overflow,
    /// `bound`.
    Bound,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Jo, If(FlagCond::V)),
    (Mnemonic::Jno, If(FlagCond::NotV)),
    (Mnemonic::Jb, If(FlagCond::C)),
    (Mnemonic::Jae, If(FlagCond::NotC)),
    (Mnemonic::Je, If(FlagCond::Z)),
    (Mnemonic::Jne, If(FlagCond::NotZ)),
    (Mnemonic::Jbe, If(FlagCond::COrZ)),
    (Mnemonic::Ja, If(FlagCond::NotCNotZ)),
    (Mnemonic::Js, If(FlagCond::N)),
    (Mnemonic::Jns, If(FlagCond::NotN)),
    (Mnemonic::Jp, If(FlagCond::P)),
    (Mnemonic::Jnp, If(FlagCond::NotP)),
    (Mnemonic::Jl, If(FlagCond::Lt)),
    (Mnemonic::Jge, If(FlagCond::Ge)),
    (Mnemonic::Jle, If(FlagCond::Le)),
    (Mnemonic::Jg, If(FlagCond::Gt)),
    (Mnemonic::Jmp, Jump),
    (Mnemonic::Call, Call),
    (Mnemonic::Ret, Return),
    (Mnemonic::Retf, FarReturn),
    (Mnemonic::Jcxz, IfZero(Type::I16)),
    (Mnemonic::Jecxz, IfZero(Type::I32)),
    (Mnemonic::Jrcxz, IfZero(Type::I64)),
    (Mnemonic::Loop, Loop(None)),
    (Mnemonic::Loope, Loop(Some(FlagCond::Z))),
    (Mnemonic::Loopne, Loop(Some(FlagCond::NotZ))),
    (Mnemonic::Int, Interrupt(0)),
    (Mnemonic::Int3, Interrupt(1)),
    (Mnemonic::Int1, Interrupt(3)),
    (Mnemonic::Into, Overflow),
    (Mnemonic::Bound, Bound),
];

/// The kind of interrupt that `into` is, and the bit that says that it happens.
const OVERFLOW_KIND: i64 = 2;
const OVERFLOW_TAKEN: u8 = 8;

/// Where a near branch leads.
enum Target {
    /// So many bytes from the base of the page.
    Offset(i64),
    /// To this RIP, which must be checked and made linear.
    Rip(Slot),
}

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        If(cond) => {
            let holds = c.flag(cond);
            branch(c, holds)
        }
        Jump => jump(c),
        Call => call(c),
        Return => near_return(c),
        FarReturn => {
            let ty = far_return_type(c);
            let shape = c.shape(ty);
            let drop = if c.insn.op_count() > 0 {
                c.insn.immediate(0) as i64
            } else {
                0
            };
            c.b.call(helper::FAR_RETURN, None, [drop.into(), shape]);
            Flow::End(Terminator::Dispatch)
        }
        IfZero(ty) => {
            let holds = c.cmp(Cond::Eq, ty, gpr_slot(gpr::RCX), 0_i64);
            branch(c, holds)
        }
        Loop(cond) => count_down(c, cond),
        Interrupt(kind) => {
            let vector = match kind {
                0 => c.insn.immediate(0) as i64 & 0xff,
                kind => {
                    if kind == 1 {
                        3
                    } else {
                        1
                    }
                }
            };
            let shape = c.shape(Type::I64);
            c.b.call(helper::INTERRUPT, None, [vector.into(), shape, kind.into()]);
            Flow::End(Terminator::Dispatch)
        }
        Overflow => {
            let set = c.flag(FlagCond::V);
            let kind = c.deposit(OVERFLOW_KIND, OVERFLOW_TAKEN, 1, set);
            let shape = c.shape(Type::I64);
            c.b.call(helper::INTERRUPT, None, [4.into(), shape, kind.into()]);
            Flow::End(Terminator::Dispatch)
        }
        Bound => {
            let ty = c.ty(0);
            let index = c.value(0);
            let size = i64::from(bytes(ty));
            let address = c.address(2 * bytes(ty), Use::Read);
            let low = c.load(address, ty);
            c.raise_if(Cond::LtS, ty, [index, low.into()], exception::BOUND);
            let high = c.load(address.plus(size), ty);
            c.raise_if(Cond::LtS, ty, [high.into(), index], exception::BOUND);
            Flow::Next
        }
    }
}

/// The type of RIP in a near branch.
fn branch_type(c: &Context<'_>) -> Type {
    match c.insn.op0_kind() {
        OpKind::NearBranch16 => Type::I16,
        OpKind::NearBranch32 => Type::I32,
        _ => Type::I64,
    }
}

/// RIP behind the instruction.
fn next_rip(c: &mut Context<'_>) -> Slot {
    let next = c.next();
    let linear = c.linear(next);
    if c.flat_code() {
        return linear;
    }
    c.op64(Op::Sub, linear, segment_base_slot(seg::CS))
}

/// Where the instruction's relative branch leads.
fn target(c: &mut Context<'_>) -> Target {
    let to = c.insn.near_branch_target();
    let offset = match branch_type(c) {
        Type::I16 => i64::from(to as i16),
        Type::I32 => i64::from(to as i32),
        _ => to as i64,
    };
    let ty = branch_type(c);
    let wraps = ty == Type::I16 || !c.flat_code();
    // In a page that begins at a multiple of its size in the segment, too, nothing wraps, nor reaches beyond the limit.
    let stays = c.has(mode::CODE_ALIGNED) && !leaves_page(offset);
    if stays || !wraps && i32::try_from(offset).is_ok() {
        return Target::Offset(offset);
    }
    let next = next_rip(c);
    let by = offset - c.next();
    let rip = c.op64(Op::Add, next, by);
    Target::Rip(c.op64(Op::And, rip, mask(ty)))
}

/// Makes RIP linear, and checks it against the limit.
fn linear_target(c: &mut Context<'_>, rip: Operand) -> Operand {
    if c.flat_code() {
        return rip;
    }
    c.call(helper::CODE_TARGET, [rip]).into()
}

/// A forward branch leaves the block on its way when it is taken, and the block goes on behind it.
fn branch(c: &mut Context<'_>, holds: Slot) -> Flow {
    let next = c.next();
    match target(c) {
        Target::Offset(taken) => {
            if taken > c.here() && c.extend() {
                let operands = [holds.into(), Operand::Imm(0), Operand::Imm(taken)];
                let attr = Attr::Cond(Cond::Ne);
                c.b.op_with(Op::ExitIf, Type::I64, Ext::Zero, None, operands, attr);
                return Flow::Next;
            }
            Flow::End(either(holds, taken, next))
        }
        Target::Rip(taken) => {
            let next = next_rip(c);
            let choices = [taken.into(), next.into()];
            let rip = c.select(Cond::Ne, choices, [holds.into(), Operand::Imm(0)]);
            let target = linear_target(c, rip.into());
            let kind = JumpKind::Plain;
            Flow::End(Terminator::Indirect { target, kind })
        }
    }
}

fn either(holds: Slot, taken: i64, fallthrough: i64) -> Terminator {
    Terminator::Branch {
        cond: Cond::Ne,
        ty: Type::I64,
        a: holds.into(),
        b: Operand::Imm(0),
        taken,
        fallthrough,
    }
}

/// Counts RCX, ECX or CX down by the address size, and branches while it is not zero.
fn count_down(c: &mut Context<'_>, cond: Option<FlagCond>) -> Flow {
    let ty = count_type(c);
    let rcx = gpr_slot(gpr::RCX);
    let left = c.op(Op::Sub, ty, [rcx.into(), Operand::Imm(1)]);
    let more = c.cmp(Cond::Ne, Type::I64, left, 0_i64);
    let holds = match cond {
        None => more,
        Some(cond) => {
            let flag = c.flag(cond);
            c.op64(Op::And, more, flag)
        }
    };
    let next = c.next();
    let terminator = match target(c) {
        Target::Offset(taken) => either(holds, taken, next),
        Target::Rip(taken) => {
            let next = next_rip(c);
            let choices = [taken.into(), next.into()];
            let rip = c.select(Cond::Ne, choices, [holds.into(), Operand::Imm(0)]);
            let target = linear_target(c, rip.into());
            let kind = JumpKind::Plain;
            Terminator::Indirect { target, kind }
        }
    };
    c.b.op(Op::Mov, ty, extension(ty), rcx, [left.into()]);
    Flow::End(terminator)
}

/// The register that `loop` counts in: the decoder tells it by the code's name only.
fn count_type(c: &Context<'_>) -> Type {
    use iced_x86::Code::*;
    match c.insn.code() {
        Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX
        | Loopne_rel8_16_CX | Loopne_rel8_32_CX => Type::I16,
        Loop_rel8_64_RCX | Loop_rel8_16_RCX | Loope_rel8_64_RCX | Loope_rel8_16_RCX
        | Loopne_rel8_64_RCX | Loopne_rel8_16_RCX => Type::I64,
        _ => Type::I32,
    }
}

fn is_far(c: &Context<'_>) -> bool {
    match c.insn.op0_kind() {
        OpKind::FarBranch16 | OpKind::FarBranch32 => true,
        OpKind::Memory => c.insn.is_jmp_far_indirect() || c.insn.is_call_far_indirect(),
        _ => false,
    }
}

/// Selector, offset and shape of a far branch.
fn far_target(c: &mut Context<'_>) -> [Operand; 3] {
    match c.insn.op0_kind() {
        OpKind::FarBranch16 => {
            let offset = i64::from(c.insn.far_branch16());
            let selector = i64::from(c.insn.far_branch_selector());
            [selector.into(), offset.into(), c.shape(Type::I16)]
        }
        OpKind::FarBranch32 => {
            let offset = i64::from(c.insn.far_branch32());
            let selector = i64::from(c.insn.far_branch_selector());
            [selector.into(), offset.into(), c.shape(Type::I32)]
        }
        _ => {
            let size = c.insn.memory_size().size() as u32;
            let ty = int_type(size - 2);
            let (selector, offset) = far_pointer(c, ty);
            [selector.into(), offset.into(), c.shape(ty)]
        }
    }
}

/// Loads a far pointer: selector and offset.
pub(super) fn far_pointer(c: &mut Context<'_>, ty: Type) -> (Slot, Slot) {
    let address = c.address(bytes(ty) + 2, Use::Read);
    let offset = c.load(address, ty);
    let selector = c.load(address.plus(bytes(ty).into()), Type::I16);
    (selector, offset)
}

/// Where an indirect near branch leads: RIP.
fn indirect(c: &mut Context<'_>) -> (Operand, Type) {
    let ty = c.ty(0);
    let rip = c.value(0);
    (c.zero_extend(rip, ty), ty)
}

fn jump(c: &mut Context<'_>) -> Flow {
    if is_far(c) {
        let operands = far_target(c);
        c.b.call(helper::FAR_JUMP, None, operands);
        return Flow::End(Terminator::Dispatch);
    }
    let kind = JumpKind::Plain;
    if matches!(c.insn.op0_kind(), OpKind::Register | OpKind::Memory) {
        let (rip, _) = indirect(c);
        let target = linear_target(c, rip);
        return Flow::End(Terminator::Indirect { target, kind });
    }
    Flow::End(match target(c) {
        Target::Offset(offset) => Terminator::Jump { offset, kind },
        Target::Rip(rip) => {
            let target = linear_target(c, rip.into());
            Terminator::Indirect { target, kind }
        }
    })
}

fn call(c: &mut Context<'_>) -> Flow {
    if is_far(c) {
        let operands = far_target(c);
        c.b.call(helper::FAR_CALL, None, operands);
        return Flow::End(Terminator::Dispatch);
    }
    let kind = JumpKind::Call {
        return_offset: c.next(),
    };
    let (ty, terminator) = if matches!(c.insn.op0_kind(), OpKind::Register | OpKind::Memory) {
        let (rip, ty) = indirect(c);
        let target = linear_target(c, rip);
        // The stack pointer may be the target, and moves before the block ends.
        let target = match target {
            Operand::Slot(slot) if slot == gpr_slot(gpr::RSP) => c.copy(slot).into(),
            target => target,
        };
        (ty, Terminator::Indirect { target, kind })
    } else {
        let ty = branch_type(c);
        let terminator = match target(c) {
            Target::Offset(offset) => Terminator::Jump { offset, kind },
            Target::Rip(rip) => {
                let target = linear_target(c, rip.into());
                Terminator::Indirect { target, kind }
            }
        };
        (ty, terminator)
    };
    let back = next_rip(c);
    c.push(ty, back.into());
    Flow::End(terminator)
}

fn near_return(c: &mut Context<'_>) -> Flow {
    use iced_x86::Code::*;
    let ty = match c.insn.code() {
        Retnw | Retnw_imm16 => Type::I16,
        Retnd | Retnd_imm16 => Type::I32,
        _ => Type::I64,
    };
    let place = c.on_stack(0, ty, Use::Read);
    let rip = c.load(place, ty).into();
    let target = linear_target(c, rip);
    let drop = if c.insn.op_count() > 0 {
        c.insn.immediate(0) as i64
    } else {
        0
    };
    c.move_stack(i64::from(bytes(ty)) + drop);
    let kind = JumpKind::Return;
    Flow::End(Terminator::Indirect { target, kind })
}

fn far_return_type(c: &Context<'_>) -> Type {
    use iced_x86::Code::*;
    match c.insn.code() {
        Retfw | Retfw_imm16 => Type::I16,
        Retfd | Retfd_imm16 => Type::I32,
        _ => Type::I64,
    }
}

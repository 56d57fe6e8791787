//! The stack (Intel SDM 1, 6.2 and 7.3.1.5).

use iced_x86::{Mnemonic, OpKind, Register};
use vm_ir::{Op, Type};

use super::address::segment_number;
use super::context::{Context, Place, Use, bytes, extension};
use super::{Flow, INVALID, flags, helper, segments};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `push`.
    Push,
    /// `pop`.
    Pop,
    /// `pusha`, `pushad`.
    PushAll(Type),
    /// `popa`, `popad`.
    PopAll(Type),
    /// `pushf` and its sizes.
    PushFlags(Type),
    /// `popf` and its sizes.
    PopFlags(Type),
    /// `enter`.
    Enter,
    /// `leave`.
    Leave,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Push, Push),
    (Mnemonic::Pop, Pop),
    (Mnemonic::Pusha, PushAll(Type::I16)),
    (Mnemonic::Pushad, PushAll(Type::I32)),
    (Mnemonic::Popa, PopAll(Type::I16)),
    (Mnemonic::Popad, PopAll(Type::I32)),
    (Mnemonic::Pushf, PushFlags(Type::I16)),
    (Mnemonic::Pushfd, PushFlags(Type::I32)),
    (Mnemonic::Pushfq, PushFlags(Type::I64)),
    (Mnemonic::Popf, PopFlags(Type::I16)),
    (Mnemonic::Popfd, PopFlags(Type::I32)),
    (Mnemonic::Popfq, PopFlags(Type::I64)),
    (Mnemonic::Enter, Enter),
    (Mnemonic::Leave, Leave),
];

/// General registers.
const REGISTERS: i64 = 8;

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Push => push(c),
        Pop => return pop(c),
        PushAll(ty) => push_all(c, ty),
        PopAll(ty) => pop_all(c, ty),
        PushFlags(ty) => return flags::push(c, ty),
        PopFlags(ty) => return flags::pop(c, ty),
        Enter => enter(c),
        Leave => leave(c),
    }
    Flow::Next
}

/// The size of what a `push` or `pop` of a segment register moves.
fn segment_type(c: &Context<'_>) -> Type {
    use iced_x86::Code::*;
    match c.insn.code() {
        Pushw_ES | Pushw_CS | Pushw_SS | Pushw_DS | Pushw_FS | Pushw_GS | Popw_ES | Popw_CS
        | Popw_SS | Popw_DS | Popw_FS | Popw_GS => Type::I16,
        Pushd_ES | Pushd_CS | Pushd_SS | Pushd_DS | Pushd_FS | Pushd_GS | Popd_ES | Popd_SS
        | Popd_DS | Popd_FS | Popd_GS => Type::I32,
        _ => Type::I64,
    }
}

fn segment_operand(c: &Context<'_>) -> Option<Register> {
    let is_register = c.insn.op0_kind() == OpKind::Register;
    let register = is_register.then(|| c.insn.op0_register());
    register.filter(|register| register.is_segment_register())
}

fn push(c: &mut Context<'_>) {
    if let Some(register) = segment_operand(c) {
        let ty = segment_type(c);
        let selector = segments::selector(register);
        c.push(ty, selector);
        return;
    }
    let ty = c.ty(0);
    let value = c.value(0);
    c.push(ty, value);
}

fn pop(c: &mut Context<'_>) -> Flow {
    if let Some(register) = segment_operand(c) {
        let ty = segment_type(c);
        let place = c.on_stack(0, ty, Use::Read);
        let selector = c.load(place, Type::I16);
        let number = segment_number(register) as i64;
        c.b.call(helper::LOAD_SEGMENT, None, [selector.into(), number.into()]);
        c.move_stack(bytes(ty).into());
        return c.exit();
    }
    let ty = c.ty(0);
    let size = i64::from(bytes(ty));
    let place = c.on_stack(0, ty, Use::Read);
    if !c.in_memory(0) && ty == Type::I64 && c.insn.op0_register() != Register::RSP {
        let Place::Register(slot) = c.place(0, Use::Write) else {
            return INVALID;
        };
        c.load_to(slot, ty, extension(ty), place, ty, false);
        c.move_stack(size);
        return Flow::Next;
    }
    let value = c.load(place, ty);
    if c.in_memory(0) {
        // The address counts from where the stack pointer is behind the instruction (Intel SDM 2B, "POP").
        if matches!(c.insn.memory_base(), Register::RSP | Register::ESP) {
            let displacement = c.insn.memory_displacement64().wrapping_add(size as u64);
            c.insn.set_memory_displacement64(displacement);
        }
        let to = c.place(0, Use::Write);
        c.put(to, ty, value.into());
        c.move_stack(size);
    } else {
        c.move_stack(size);
        let to = c.place(0, Use::Write);
        c.put(to, ty, value.into());
    }
    Flow::Next
}

/// RAX first, hence on top of the others; RSP as it was (Intel SDM 2B, "PUSHA/PUSHAD").
fn push_all(c: &mut Context<'_>, ty: Type) {
    let size = i64::from(bytes(ty));
    let lowest = c.stack_area(-REGISTERS * size, (REGISTERS * size) as u32, Use::Write);
    for n in (0..REGISTERS).rev() {
        c.probe(lowest.plus(n * size), ty);
    }
    for n in 0..REGISTERS {
        let value = gpr_slot((REGISTERS - 1 - n) as usize).into();
        c.store(lowest.plus(n * size), ty, value);
    }
    c.move_stack(-REGISTERS * size);
}

/// All but RSP.
fn pop_all(c: &mut Context<'_>, ty: Type) {
    let size = i64::from(bytes(ty));
    let lowest = c.stack_area(0, (REGISTERS * size) as u32, Use::Read);
    let values: Vec<_> = (0..REGISTERS)
        .map(|n| c.load(lowest.plus(n * size), ty))
        .collect();
    for (n, value) in values.into_iter().enumerate() {
        let number = REGISTERS as usize - 1 - n;
        if number != gpr::RSP {
            let to = c.gpr(number);
            c.put(to, ty, value.into());
        }
    }
    c.move_stack(REGISTERS * size);
}

/// The size of what `enter` and `leave` push and pop.
fn frame_type(c: &Context<'_>) -> Type {
    use iced_x86::Code::*;
    match c.insn.code() {
        Enterw_imm16_imm8 | Leavew => Type::I16,
        Enterd_imm16_imm8 | Leaved => Type::I32,
        _ => Type::I64,
    }
}

fn enter(c: &mut Context<'_>) {
    let ty = frame_type(c);
    let (size, level) = (c.insn.immediate16(), c.insn.immediate8_2nd() & 31);
    if level != 0 {
        let at = i64::from(bytes(c.stack_type()));
        let what = i64::from(size) | i64::from(level) << 16 | i64::from(bytes(ty)) << 24 | at << 32;
        c.b.call(helper::ENTER, None, [what.into()]);
        return;
    }
    let (rbp, rsp) = (gpr_slot(gpr::RBP), gpr_slot(gpr::RSP));
    let below = i64::from(bytes(ty));
    let place = c.on_stack(-below, ty, Use::Write);
    if size != 0 {
        // The new top of the stack must be writable, although nothing goes there yet (Intel SDM 2A, "ENTER").
        c.probe(place, ty);
        let top = c.on_stack(-below - i64::from(size), ty, Use::Write);
        c.probe(top, ty);
    }
    c.store(place, ty, rbp.into());
    c.move_stack(-below);
    c.b.op(Op::Mov, ty, extension(ty), rbp, [rsp.into()]);
    if size != 0 {
        c.move_stack(-i64::from(size));
    }
}

/// The stack pointer becomes the frame pointer, which is then popped.
fn leave(c: &mut Context<'_>) {
    let ty = frame_type(c);
    let stack = c.stack_type();
    let (rbp, rsp) = (gpr_slot(gpr::RBP), gpr_slot(gpr::RSP));
    let top = c.zero_extend(rbp.into(), stack);
    let place = c.in_segment(crate::x86::state::seg::SS, top, bytes(ty), Use::Read);
    let value = c.load(place, ty);
    let size = i64::from(bytes(ty));
    c.b.op(
        Op::Add,
        stack,
        extension(stack),
        rsp,
        [rbp.into(), size.into()],
    );
    c.b.op(Op::Mov, ty, extension(ty), rbp, [value.into()]);
}

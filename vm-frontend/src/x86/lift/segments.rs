//! Segment registers and what describes segments (Intel SDM 1, 7.3.14 and 7.3.16; Intel SDM 3A, 5.10).

use iced_x86::{Mnemonic, OpKind, Register};
use vm_ir::{Cond, HelperId, Op, Operand, Slot, Type};

use super::address::segment_number;
use super::context::{Context, Place, Use};
use super::flags::unprivileged;
use super::{DENIED, Flow, INVALID, bits, branch, helper};
use crate::x86::mode;
use crate::x86::state::{self, seg, segment_base_slot, selector_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `lds`, `les`, `lfs`, `lgs`, `lss`: the segment register.
    Pointer(usize),
    /// `rdfsbase`, `rdgsbase`.
    ReadBase(usize),
    /// `wrfsbase`, `wrgsbase`.
    WriteBase(usize),
    /// `swapgs`.
    SwapGs,
    /// `lar`, `lsl`.
    Look(HelperId),
    /// `verr`, `verw`.
    Verify(HelperId),
    /// `arpl`.
    AdjustRights,
    /// `lldt`, `ltr`.
    Load(HelperId),
    /// `sldt`, `str`.
    Store(HelperId),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Lds, Pointer(seg::DS)),
    (Mnemonic::Les, Pointer(seg::ES)),
    (Mnemonic::Lfs, Pointer(seg::FS)),
    (Mnemonic::Lgs, Pointer(seg::GS)),
    (Mnemonic::Lss, Pointer(seg::SS)),
    (Mnemonic::Rdfsbase, ReadBase(seg::FS)),
    (Mnemonic::Rdgsbase, ReadBase(seg::GS)),
    (Mnemonic::Wrfsbase, WriteBase(seg::FS)),
    (Mnemonic::Wrgsbase, WriteBase(seg::GS)),
    (Mnemonic::Swapgs, SwapGs),
    (Mnemonic::Lar, Look(helper::ACCESS_RIGHTS)),
    (Mnemonic::Lsl, Look(helper::SEGMENT_LIMIT)),
    (Mnemonic::Verr, Verify(helper::VERIFY_READ)),
    (Mnemonic::Verw, Verify(helper::VERIFY_WRITE)),
    (Mnemonic::Arpl, AdjustRights),
    (Mnemonic::Lldt, Load(helper::LOAD_LDT)),
    (Mnemonic::Ltr, Load(helper::LOAD_TASK)),
    (Mnemonic::Sldt, Store(helper::STORE_LDT)),
    (Mnemonic::Str, Store(helper::STORE_TASK)),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Pointer(segment) => {
            let ty = c.ty(0);
            let (selector, offset) = branch::far_pointer(c, ty);
            c.b.call(
                helper::LOAD_SEGMENT,
                None,
                [selector.into(), (segment as i64).into()],
            );
            let to = c.place(0, Use::Write);
            c.put(to, ty, offset.into());
            return c.exit();
        }
        ReadBase(segment) => {
            let ty = c.ty(0);
            c.b.call(helper::CHECK_FSGSBASE, None, []);
            let to = c.place(0, Use::Write);
            c.put(to, ty, segment_base_slot(segment).into());
        }
        WriteBase(segment) => {
            let ty = c.ty(0);
            let base = c.value(0);
            let base = c.zero_extend(base, ty);
            let operands = [(segment as i64).into(), base];
            c.b.call(helper::WRITE_SEGMENT_BASE, None, operands);
        }
        SwapGs => {
            if !c.has(mode::SUPERVISOR) {
                return DENIED;
            }
            let gs = segment_base_slot(seg::GS);
            let kernel = Slot::state(state::KERNEL_GS_BASE);
            let old = c.copy(gs);
            c.b.mov(gs, kernel);
            c.b.mov(kernel, old);
        }
        // The rest needs descriptors.
        _ if !c.protected() => return INVALID,
        Look(id) => {
            let ty = c.ty(0);
            let selector = c.value(1);
            let selector = c.zero_extend(selector, Type::I16);
            let result = c.call(id, [selector]);
            let found = c.cmp(Cond::GeS, Type::I64, result, 0_i64);
            let Place::Register(dst) = c.place(0, Use::Modify) else {
                return INVALID;
            };
            let new = if ty == Type::I16 {
                c.deposit(dst, 0, 16, result)
            } else {
                result
            };
            let compared = [found.into(), Operand::Imm(0)];
            c.b.select(Cond::Ne, dst, [new.into(), dst.into()], compared);
            let denied = c.op64(Op::Xor, found, 1_i64);
            bits::set_zero(c, Type::I64, denied);
        }
        Verify(id) => {
            let selector = c.value(0);
            let selector = c.zero_extend(selector, Type::I16);
            let allowed = c.call(id, [selector]);
            let denied = c.op64(Op::Xor, allowed, 1_i64);
            bits::set_zero(c, Type::I64, denied);
        }
        AdjustRights => adjust_rights(c),
        Load(id) => {
            if let Some(flow) = unprivileged(c) {
                return flow;
            }
            let selector = c.value(0);
            let selector = c.zero_extend(selector, Type::I16);
            c.b.call(id, None, [selector]);
            return c.exit();
        }
        Store(id) => {
            let ty = c.ty(0);
            let selector = c.call(id, []);
            let to = c.place(0, Use::Write);
            c.put(to, ty, selector.into());
        }
    }
    Flow::Next
}

/// RPL of the destination becomes at least that of the source (Intel SDM 2A, "ARPL").
///
/// DEVIATION: memory is written in any case, so that a read-only page faults also where nothing would change.
fn adjust_rights(c: &mut Context<'_>) {
    let wanted = c.value(1);
    let wanted = c.extract(wanted, 0, 2, false);
    let place = c.place(0, Use::Modify);
    let old = c.get(place, Type::I16);
    let old = c.zero_extend(old, Type::I16);
    let rpl = c.extract(old, 0, 2, false);
    let enough = c.cmp(Cond::GeU, Type::I64, rpl, wanted);
    let new = c.op64(Op::MaxU, rpl, wanted);
    let new = c.deposit(old, 0, 2, new);
    c.put(place, Type::I16, new.into());
    bits::set_zero(c, Type::I64, enough);
}

/// The selector in a segment register.
pub(super) fn selector(register: Register) -> Operand {
    selector_slot(segment_number(register)).into()
}

/// `mov` to and from segment registers.
pub(super) fn mov(c: &mut Context<'_>) -> Flow {
    let to = c.insn.op0_register();
    if c.insn.op0_kind() == OpKind::Register && to.is_segment_register() {
        if to == Register::CS {
            return INVALID;
        }
        let selector = c.value(1);
        let selector = c.zero_extend(selector, Type::I16);
        let number = segment_number(to) as i64;
        c.b.call(helper::LOAD_SEGMENT, None, [selector, number.into()]);
        return c.exit();
    }
    // Memory takes 16 bits whatever the operand size is.
    let ty = if c.in_memory(0) { Type::I16 } else { c.ty(0) };
    let value = selector(c.insn.op1_register());
    let place = c.place(0, Use::Write);
    c.put(place, ty, value);
    Flow::Next
}

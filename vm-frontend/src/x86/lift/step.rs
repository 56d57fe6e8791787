//! Blocks of one instruction, behind which debug exceptions are looked for or the interrupt shadow ends (Intel SDM 3A,
//! 6.8.3 and 18.3.1.4).

use iced_x86::{Mnemonic, OpKind};
use vm_ir::{Block, Cond, Op, Operand, Terminator};

use super::context::{Context, SYSTEM_FLAGS};
use super::{Flow, apply, helper, raise};
use crate::x86::mode;
use crate::x86::state::seg;

/// TF in RFLAGS.
const TRAP: i64 = 1 << 8;
/// Among the mode bits that the helper gets: the instruction itself starts an interrupt shadow.
const STARTS_SHADOW: i64 = 1 << 31;

/// Lifts the instruction that has begun, and ends the block.
pub(super) fn alone(mut c: Context<'_>) -> Block {
    if c.has(mode::SINGLE_STEP) {
        let here = c.here();
        let pc = c.linear(here);
        c.b.call(helper::BREAKPOINT, None, [pc.into()]);
    }
    let trap = c.op64(Op::And, SYSTEM_FLAGS, TRAP).into();
    let shadow = if starts_shadow(&c) { STARTS_SHADOW } else { 0 };
    let what = Operand::Imm(i64::from(c.mode.0) | shadow);
    let end = match apply(&mut c) {
        Flow::Raise(vector) => return c.b.finish(raise(vector)),
        Flow::Next => Terminator::Exit { offset: c.next() },
        Flow::End(end) => end,
    };
    let target = match end {
        Terminator::Jump { offset, .. } | Terminator::Exit { offset } => c.linear(offset).into(),
        Terminator::Branch {
            cond,
            ty,
            a,
            b,
            taken,
            fallthrough,
        } => {
            let holds = c.cmp(cond, ty, a, b);
            let choices = [c.linear(taken).into(), c.linear(fallthrough).into()];
            c.select(Cond::Ne, choices, [holds.into(), Operand::Imm(0)])
                .into()
        }
        Terminator::Indirect { target, .. } => target,
        // Helpers that set the program counter do the rest themselves.
        Terminator::Dispatch | Terminator::Exception { .. } => return c.b.finish(end),
    };
    c.b.call(helper::RETIRE, None, [target, trap, what]);
    c.b.finish(Terminator::Dispatch)
}

fn starts_shadow(c: &Context<'_>) -> bool {
    let loads_ss = c.insn.op0_kind() == OpKind::Register
        && c.insn.op0_register().is_segment_register()
        && super::address::segment_number(c.insn.op0_register()) == seg::SS;
    match c.insn.mnemonic() {
        Mnemonic::Sti => true,
        Mnemonic::Mov | Mnemonic::Pop => loads_ss,
        _ => false,
    }
}

//! Cache blocks: Zicbom, Zicboz, Zicbop (RISC-V Unpriv 20240411, chapter "CMO"). Prefetches do nothing.

use vm_ir::HelperId;

use super::Flow;
use super::context::Context;
use crate::riscv::decode::{Insn, Op};
use crate::riscv::sys;

/// The helper that does it; `None` for a hint.
pub(super) type Rule = Option<HelperId>;

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::CboInval, Some(sys::HELPER_CBO_INVAL)),
    (Op::CboClean, Some(sys::HELPER_CBO_CLEAN)),
    (Op::CboFlush, Some(sys::HELPER_CBO_FLUSH)),
    (Op::CboZero, Some(sys::HELPER_CBO_ZERO)),
    (Op::PrefetchI, None),
    (Op::PrefetchR, None),
    (Op::PrefetchW, None),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    if let Some(helper) = rule {
        let operands = [c.x(insn.rs1), c.bits_operand()];
        c.b.call(helper, None, operands);
    }
    Flow::Next
}

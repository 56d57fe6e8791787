//! Atomics (RISC-V Unpriv 20240411, chapter "A"). They must be aligned.

use vm_ir::{Ext, MemAttr, MemOrder, Op as Ir, Type};

use super::Flow;
use super::context::Context;
use super::integer::extension;
use crate::riscv::decode::{Insn, Op};

/// The operation and the type it works in.
pub(super) type Rule = (Ir, Type);

use Type::{I32, I64};

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::LrW, (Ir::LoadReserved, I32)),
    (Op::ScW, (Ir::StoreConditional, I32)),
    (Op::AmoswapW, (Ir::AtomicSwap, I32)),
    (Op::AmoaddW, (Ir::AtomicAdd, I32)),
    (Op::AmoxorW, (Ir::AtomicXor, I32)),
    (Op::AmoandW, (Ir::AtomicAnd, I32)),
    (Op::AmoorW, (Ir::AtomicOr, I32)),
    (Op::AmominW, (Ir::AtomicMinS, I32)),
    (Op::AmomaxW, (Ir::AtomicMaxS, I32)),
    (Op::AmominuW, (Ir::AtomicMinU, I32)),
    (Op::AmomaxuW, (Ir::AtomicMaxU, I32)),
    (Op::LrD, (Ir::LoadReserved, I64)),
    (Op::ScD, (Ir::StoreConditional, I64)),
    (Op::AmoswapD, (Ir::AtomicSwap, I64)),
    (Op::AmoaddD, (Ir::AtomicAdd, I64)),
    (Op::AmoxorD, (Ir::AtomicXor, I64)),
    (Op::AmoandD, (Ir::AtomicAnd, I64)),
    (Op::AmoorD, (Ir::AtomicOr, I64)),
    (Op::AmominD, (Ir::AtomicMinS, I64)),
    (Op::AmomaxD, (Ir::AtomicMaxS, I64)),
    (Op::AmominuD, (Ir::AtomicMinU, I64)),
    (Op::AmomaxuD, (Ir::AtomicMaxU, I64)),
];

pub(super) fn lift(c: &mut Context, (op, ty): Rule, insn: &Insn) -> Flow {
    let size_log2 = if ty == I32 { 2 } else { 3 };
    let mem = MemAttr::plain(size_log2).ordered(order(insn)).aligned();
    let (addr, value) = (c.x(insn.rs1), c.x(insn.rs2));
    let dst = c.x_dst(insn.rd);
    match op {
        Ir::LoadReserved => c.b.atomic(op, mem, ty, extension(ty), dst, [addr]),
        // The result is 0 or 1.
        Ir::StoreConditional => c.b.atomic(op, mem, ty, Ext::Zero, dst, [addr, value]),
        _ => c.b.atomic(op, mem, ty, extension(ty), dst, [addr, value]),
    }
    Flow::Next
}

/// Both bits together mean sequential consistency (RISC-V Unpriv 20240411, chapter "A",
/// "Specifying Ordering of Atomic Instructions").
fn order(insn: &Insn) -> MemOrder {
    match (insn.aq(), insn.rl()) {
        (false, false) => MemOrder::Relaxed,
        (true, false) => MemOrder::Acquire,
        (false, true) => MemOrder::Release,
        (true, true) => MemOrder::SeqCst,
    }
}

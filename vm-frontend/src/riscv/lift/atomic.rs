//! Atomics (RISC-V Unpriv 20240411, chapters "A", "Zacas" and "Zabha"). They must be aligned.

use vm_ir::{Ext, MemAttr, MemOrder, Op as Ir, Operand, Type};

use super::Flow;
use super::context::Context;
use super::integer::extension;
use crate::riscv::decode::{Insn, Op};

/// The operation and the type it works in.
pub(super) type Rule = (Ir, Type);

use Type::{I8, I16, I32, I64, I128};

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
    (Op::AmoswapB, (Ir::AtomicSwap, I8)),
    (Op::AmoaddB, (Ir::AtomicAdd, I8)),
    (Op::AmoxorB, (Ir::AtomicXor, I8)),
    (Op::AmoandB, (Ir::AtomicAnd, I8)),
    (Op::AmoorB, (Ir::AtomicOr, I8)),
    (Op::AmominB, (Ir::AtomicMinS, I8)),
    (Op::AmomaxB, (Ir::AtomicMaxS, I8)),
    (Op::AmominuB, (Ir::AtomicMinU, I8)),
    (Op::AmomaxuB, (Ir::AtomicMaxU, I8)),
    (Op::AmoswapH, (Ir::AtomicSwap, I16)),
    (Op::AmoaddH, (Ir::AtomicAdd, I16)),
    (Op::AmoxorH, (Ir::AtomicXor, I16)),
    (Op::AmoandH, (Ir::AtomicAnd, I16)),
    (Op::AmoorH, (Ir::AtomicOr, I16)),
    (Op::AmominH, (Ir::AtomicMinS, I16)),
    (Op::AmomaxH, (Ir::AtomicMaxS, I16)),
    (Op::AmominuH, (Ir::AtomicMinU, I16)),
    (Op::AmomaxuH, (Ir::AtomicMaxU, I16)),
    (Op::AmocasB, (Ir::Cas, I8)),
    (Op::AmocasH, (Ir::Cas, I16)),
    (Op::AmocasW, (Ir::Cas, I32)),
    (Op::AmocasD, (Ir::Cas, I64)),
    (Op::AmocasQ, (Ir::Cas, I128)),
];

pub(super) fn lift(c: &mut Context, (op, ty): Rule, insn: &Insn) -> Flow {
    let size_log2 = (ty.bits() / 8).ilog2() as u8;
    let mem = MemAttr::plain(size_log2).ordered(order(insn)).aligned();
    let (addr, value) = (c.x(insn.rs1), c.x(insn.rs2));
    if ty == I128 {
        return compare_swap_pair(c, mem, insn);
    }
    // What is in rd is compared with, before it is written.
    let expected = c.x(insn.rd);
    let dst = c.x_dst(insn.rd);
    match op {
        Ir::Cas => {
            c.b.atomic(op, mem, ty, extension(ty), dst, [addr, expected, value])
        }
        Ir::LoadReserved => c.b.atomic(op, mem, ty, extension(ty), dst, [addr]),
        // The result is 0 or 1.
        Ir::StoreConditional => c.b.atomic(op, mem, ty, Ext::Zero, dst, [addr, value]),
        _ => c.b.atomic(op, mem, ty, extension(ty), dst, [addr, value]),
    }
    Flow::Next
}

/// `amocas.q`, whose values are pairs of registers from an even one on; that of `x0` is zero and takes nothing.
fn compare_swap_pair(c: &mut Context, mem: MemAttr, insn: &Insn) -> Flow {
    let [expected, new] = [insn.rd, insn.rs2].map(|low| {
        let high = if low == 0 { 0 } else { low + 1 };
        let halves = [c.x(low), c.x(high)];
        let pair = c.b.temp(I128);
        c.b.op(Ir::Pair, I128, Ext::Zero, pair, halves);
        pair.into()
    });
    let held = c.b.temp(I128);
    let operands = [c.x(insn.rs1), expected, new];
    c.b.atomic(Ir::Cas, mem, I128, Ext::Zero, Some(held), operands);
    if insn.rd != 0 {
        for (half, rd) in [(Ir::Low, insn.rd), (Ir::High, insn.rd + 1)] {
            if let Some(dst) = c.x_dst(rd) {
                c.b.op64(half, dst, held, Operand::None);
            }
        }
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

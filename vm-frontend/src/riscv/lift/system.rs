//! Fences, control and status registers, calls to the environment, and the privileged instructions (RISC-V Unpriv
//! 20240411, 2.7, 2.8 and chapters "Zifencei", "Zicsr", "Zihintpause", "Zawrs"; RISC-V Priv 1.13, 3.3 and 12.2). What
//! they need of the system state is done and checked by helpers.

use vm_ir::{ExceptionCode, FenceSet, HelperId, Op as Op64, Operand, Terminator};

use super::Flow;
use super::context::Context;
use crate::riscv::decode::{Insn, Op};
use crate::riscv::state::csr_slot;
use crate::riscv::sys::csr::Change;
use crate::riscv::sys::fields::cause;
use crate::riscv::sys::{self, CsrOp, csr, csr_request, mode};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `fence`.
    Fence,
    /// `fence.tso`.
    FenceTso,
    /// A hint that nothing follows from.
    Nothing,
    /// `ecall`.
    EnvironmentCall,
    /// `ebreak`.
    Breakpoint,
    /// A CSR instruction with a register as source.
    Csr(CsrOp),
    /// A CSR instruction with an immediate as source.
    CsrImmediate(CsrOp),
    /// A helper without arguments, after which the run loop looks at everything anew.
    Exit(HelperId),
    /// The same for a helper that may find the instruction illegal.
    CheckedExit(HelperId),
    /// A helper that may find the instruction illegal, after which the block goes on.
    Checked(HelperId),
    /// A return from a trap.
    TrapReturn(HelperId),
    /// `sfence.vma` and `sinval.vma`.
    Invalidate,
}

use Rule::*;

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::Fence, Fence),
    (Op::FenceTso, FenceTso),
    (Op::FenceI, Exit(sys::HELPER_FENCE_I)),
    (Op::Pause, Exit(sys::HELPER_PAUSE)),
    (Op::NtlP1, Nothing),
    (Op::NtlPall, Nothing),
    (Op::NtlS1, Nothing),
    (Op::NtlAll, Nothing),
    (Op::Ecall, EnvironmentCall),
    (Op::Ebreak, Breakpoint),
    (Op::Csrrw, Csr(CsrOp::Write)),
    (Op::Csrrs, Csr(CsrOp::Set)),
    (Op::Csrrc, Csr(CsrOp::Clear)),
    (Op::Csrrwi, CsrImmediate(CsrOp::Write)),
    (Op::Csrrsi, CsrImmediate(CsrOp::Set)),
    (Op::Csrrci, CsrImmediate(CsrOp::Clear)),
    (Op::WrsNto, Exit(sys::HELPER_WRS)),
    (Op::WrsSto, Exit(sys::HELPER_WRS)),
    (Op::Wfi, CheckedExit(sys::HELPER_WFI)),
    (Op::Mret, TrapReturn(sys::HELPER_MRET)),
    (Op::Sret, TrapReturn(sys::HELPER_SRET)),
    (Op::SfenceVma, Invalidate),
    (Op::SinvalVma, Invalidate),
    (Op::SfenceWInval, Checked(sys::HELPER_SFENCE_INVAL)),
    (Op::SfenceInvalIr, Checked(sys::HELPER_SFENCE_INVAL)),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    let bits = c.bits_operand();
    let exit = Terminator::Exit { offset: c.next() };
    match rule {
        Nothing => {}
        Fence => fence(c, insn),
        FenceTso => {
            // Loads before everything, stores before stores.
            c.b.fence(FenceSet {
                before_stores: false,
                ..FenceSet::FULL
            });
            c.b.fence(FenceSet {
                before_loads: false,
                after_loads: false,
                ..FenceSet::FULL
            });
        }
        EnvironmentCall => {
            let code = cause::ECALL_FROM_U + mode::privilege(c.mode) as u32;
            let value = Operand::Imm(0);
            return Flow::End(Terminator::Exception {
                code: ExceptionCode(code),
                value,
            });
        }
        Breakpoint => {
            let here = c.b.temp64();
            c.b.pc_rel(here, c.here());
            let (code, value) = (ExceptionCode(cause::BREAKPOINT), here.into());
            return Flow::End(Terminator::Exception { code, value });
        }
        Csr(op) => return csr_instruction(c, insn, op, c.x(insn.rs1), Change::Any),
        CsrImmediate(op) => {
            let change = match op {
                CsrOp::Clear => Change::ClearsLow,
                CsrOp::Set | CsrOp::Write => Change::Any,
            };
            return csr_instruction(c, insn, op, Operand::Imm(insn.rs1.into()), change);
        }
        Checked(helper) => c.b.call(helper, None, [bits]),
        Exit(helper) => {
            c.b.call(helper, None, []);
            return Flow::End(exit);
        }
        CheckedExit(helper) => {
            c.b.call(helper, None, [bits]);
            return Flow::End(exit);
        }
        TrapReturn(helper) => {
            c.b.call(helper, None, [bits]);
            return Flow::End(Terminator::Dispatch);
        }
        Invalidate => {
            let given = i64::from(insn.rs1 != 0) | i64::from(insn.rs2 != 0) << 1;
            let what = Operand::Imm(i64::from(c.bits) << 32 | given);
            let operands = [c.x(insn.rs1), c.x(insn.rs2), what];
            c.b.call(sys::HELPER_SFENCE_VMA, None, operands);
            return Flow::End(exit);
        }
    }
    Flow::Next
}

/// Device accesses are ordered like memory accesses. Nothing to keep in order on one side means no fence at all.
fn fence(c: &mut Context, insn: &Insn) {
    const WRITES: i32 = 0b0101;
    const READS: i32 = 0b1010;
    let (before, after) = (insn.imm >> 4, insn.imm);
    let set = FenceSet {
        before_loads: before & READS != 0,
        before_stores: before & WRITES != 0,
        after_loads: after & READS != 0,
        after_stores: after & WRITES != 0,
    };
    if (set.before_loads || set.before_stores) && (set.after_loads || set.after_stores) {
        c.b.fence(set);
    }
}

/// `csrrw` with rd = x0 does not read; `csrrs` and `csrrc` with rs1 = x0 or a zero immediate do not write, others change
/// the register as `change` says.
fn csr_instruction(
    c: &mut Context,
    insn: &Insn,
    op: CsrOp,
    source: Operand,
    change: Change,
) -> Flow {
    let writes = op == CsrOp::Write || insn.rs1 != 0;
    let change = if writes { change } else { Change::None };
    let reads = op != CsrOp::Write || insn.rd != 0;
    if let Some(word) = csr::word(insn.csr(), mode::privilege(c.mode)) {
        plain_csr(c, insn, op, source, word);
        return Flow::Next;
    }
    let request = csr_request(insn.csr(), op, reads, writes);
    let operands = [Operand::Imm(request as i64), source, c.bits_operand()];
    let dst = c.x_dst(insn.rd);
    c.b.call(sys::HELPER_CSR, dst, operands);
    if csr::stays_in_block(insn.csr(), change) {
        Flow::Next
    } else {
        Flow::End(Terminator::Exit { offset: c.next() })
    }
}

/// A register that is one word of the state.
fn plain_csr(c: &mut Context, insn: &Insn, op: CsrOp, source: Operand, word: csr::Word) {
    let register = csr_slot(word);
    let old = c.b.temp64();
    c.b.mov(old, register);
    if op == CsrOp::Write || insn.rs1 != 0 {
        let new = c.b.temp64();
        match op {
            CsrOp::Write => c.b.mov(new, source),
            CsrOp::Set => c.b.op64(Op64::Or, new, old, source),
            CsrOp::Clear => {
                c.b.op64(Op64::Xor, new, source, -1_i64);
                c.b.op64(Op64::And, new, new, old);
            }
        }
        if word.is_address {
            c.b.op64(Op64::And, new, new, c.instruction_mask());
        }
        c.b.mov(register, new);
    }
    if let Some(dst) = c.x_dst(insn.rd) {
        c.b.mov(dst, old);
    }
}

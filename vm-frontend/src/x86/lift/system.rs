//! The system instructions (Intel SDM 1, 7.3.17 and 7.3.18; Intel SDM 3A, 2.8). What they need of the system state is
//! done by helpers; who may execute them is known here, by the mode.

use iced_x86::{Mnemonic, OpKind, Register};
use vm_ir::{HelperId, Op, Operand, Slot, Terminator, Type};

use super::context::{Context, Use, bytes, extension, register_slot};
use super::flags::unprivileged;
use super::{Flow, INVALID, helper};
use crate::x86::state::{gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// A helper of the shape, which says where to go on: by operand size.
    Transfer(HelperId, Type),
    /// `sysret`, `sysexit`: the same for CPL 0 only, in protected mode.
    TransferBack(HelperId, Type),
    /// `hlt`, `clts`, `invd`, `wbinvd`: a helper without arguments for CPL 0.
    Privileged(HelperId),
    /// `pause`.
    Pause,
    /// `cpuid`.
    Identify,
    /// `rdmsr`, `rdpmc`, `xgetbv`: a helper of ECX to EDX:EAX; whether for CPL 0 only.
    Read(HelperId, bool),
    /// `wrmsr`, `xsetbv`: a helper of ECX and EDX:EAX for CPL 0.
    Write(HelperId),
    /// `rdtsc`, `rdtscp`: whether with the auxiliary register.
    TimeStamp(bool),
    /// `rdpid`.
    ProcessorId,
    /// `lgdt`, `lidt`.
    LoadTable(i64),
    /// `sgdt`, `sidt`.
    StoreTable(i64),
    /// `lmsw`.
    LoadStatus,
    /// `smsw`.
    StoreStatus,
    /// `invlpg`.
    InvalidatePage,
    /// `invpcid`.
    InvalidatePcid,
    /// `in`.
    In,
    /// `out`.
    Out,
    /// `rdrand`, `rdseed`.
    Random,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Iret, Transfer(helper::IRET, Type::I16)),
    (Mnemonic::Iretd, Transfer(helper::IRET, Type::I32)),
    (Mnemonic::Iretq, Transfer(helper::IRET, Type::I64)),
    (Mnemonic::Syscall, Transfer(helper::SYSCALL, Type::I64)),
    (Mnemonic::Sysenter, Transfer(helper::SYSENTER, Type::I64)),
    (Mnemonic::Rsm, Transfer(helper::RSM, Type::I64)),
    (Mnemonic::Sysret, TransferBack(helper::SYSRET, Type::I32)),
    (Mnemonic::Sysretq, TransferBack(helper::SYSRET, Type::I64)),
    (Mnemonic::Sysexit, TransferBack(helper::SYSEXIT, Type::I32)),
    (Mnemonic::Sysexitq, TransferBack(helper::SYSEXIT, Type::I64)),
    (Mnemonic::Hlt, Privileged(helper::HALT)),
    (Mnemonic::Clts, Privileged(helper::CLTS)),
    (Mnemonic::Invd, Privileged(helper::INVALIDATE_CACHES)),
    (Mnemonic::Wbinvd, Privileged(helper::INVALIDATE_CACHES)),
    (Mnemonic::Wbnoinvd, Privileged(helper::INVALIDATE_CACHES)),
    (Mnemonic::Pause, Pause),
    (Mnemonic::Cpuid, Identify),
    (Mnemonic::Rdmsr, Read(helper::READ_MSR, true)),
    (Mnemonic::Rdpmc, Read(helper::READ_PMC, false)),
    (Mnemonic::Xgetbv, Read(helper::READ_XCR, false)),
    (Mnemonic::Wrmsr, Write(helper::WRITE_MSR)),
    (Mnemonic::Xsetbv, Write(helper::WRITE_XCR)),
    (Mnemonic::Rdtsc, TimeStamp(false)),
    (Mnemonic::Rdtscp, TimeStamp(true)),
    (Mnemonic::Rdpid, ProcessorId),
    (Mnemonic::Lgdt, LoadTable(0)),
    (Mnemonic::Lidt, LoadTable(1)),
    (Mnemonic::Sgdt, StoreTable(0)),
    (Mnemonic::Sidt, StoreTable(1)),
    (Mnemonic::Lmsw, LoadStatus),
    (Mnemonic::Smsw, StoreStatus),
    (Mnemonic::Invlpg, InvalidatePage),
    (Mnemonic::Invpcid, InvalidatePcid),
    (Mnemonic::In, In),
    (Mnemonic::Out, Out),
    (Mnemonic::Rdrand, Random),
    (Mnemonic::Rdseed, Random),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Transfer(id, ty) => return transfer(c, id, ty),
        TransferBack(id, ty) => {
            if let Some(flow) = unprivileged(c).or((!c.protected()).then_some(super::DENIED)) {
                return flow;
            }
            return transfer(c, id, ty);
        }
        Privileged(id) => {
            if let Some(flow) = unprivileged(c) {
                return flow;
            }
            c.b.call(id, None, []);
            return c.exit();
        }
        Pause => {
            c.b.call(helper::PAUSE, None, []);
            return c.exit();
        }
        Identify => c.b.call(helper::CPUID, None, []),
        Read(id, privileged) => {
            if let Some(flow) = unprivileged(c).filter(|_| privileged) {
                return flow;
            }
            let number = low_half(c, gpr::RCX);
            let value = c.call(id, [number.into()]);
            split(c, value);
        }
        Write(id) => {
            if let Some(flow) = unprivileged(c) {
                return flow;
            }
            let number = low_half(c, gpr::RCX);
            let value = c.deposit(gpr_slot(gpr::RAX), 32, 32, gpr_slot(gpr::RDX));
            c.b.call(id, None, [number.into(), value.into()]);
            return c.exit();
        }
        TimeStamp(with_id) => {
            let value = c.call(helper::READ_TSC, []);
            split(c, value);
            if with_id {
                let id = c.call(helper::READ_TSC_AUX, []);
                let to = c.gpr(gpr::RCX);
                c.put(to, Type::I32, id.into());
            }
        }
        ProcessorId => {
            let id = c.call(helper::READ_TSC_AUX, []);
            let to = c.place(0, Use::Write);
            c.put(to, Type::I64, id.into());
        }
        LoadTable(which) => return load_table(c, which),
        StoreTable(which) => store_table(c, which),
        LoadStatus => {
            if let Some(flow) = unprivileged(c) {
                return flow;
            }
            let value = c.value(0);
            let value = c.zero_extend(value, Type::I16);
            c.b.call(helper::LMSW, None, [value]);
            return c.exit();
        }
        StoreStatus => {
            let ty = if c.in_memory(0) { Type::I16 } else { c.ty(0) };
            let value = c.call(helper::SMSW, []);
            let to = c.place(0, Use::Write);
            c.put(to, ty, value.into());
        }
        InvalidatePage => {
            if let Some(flow) = unprivileged(c) {
                return flow;
            }
            let linear = linear_address(c);
            c.b.call(helper::INVALIDATE_PAGE, None, [linear]);
            return c.exit();
        }
        InvalidatePcid => {
            if let Some(flow) = unprivileged(c) {
                return flow;
            }
            let ty = c.ty(0);
            let kind = c.value(0);
            let kind = c.zero_extend(kind, ty);
            let address = c.address(16, Use::Read);
            let low = c.load(address, Type::I64);
            let high = c.load(address.plus(8), Type::I64);
            let operands = [kind, low.into(), high.into()];
            c.b.call(helper::INVALIDATE_PCID, None, operands);
            return c.exit();
        }
        In => {
            let ty = c.ty(0);
            let port = port(c, 1);
            let size = Operand::Imm(bytes(ty).into());
            let value = c.call(helper::PORT_IN, [port, size]);
            let to = c.gpr(gpr::RAX);
            c.put(to, ty, value.into());
        }
        Out => {
            let ty = c.ty(1);
            let port = port(c, 0);
            let size = Operand::Imm(bytes(ty).into());
            let value = c.zero_extend(gpr_slot(gpr::RAX).into(), ty);
            c.b.call(helper::PORT_OUT, None, [port, value, size]);
            return c.exit();
        }
        Random => {
            let ty = c.ty(0);
            let size = Operand::Imm(bytes(ty).into());
            let value = c.call(helper::RANDOM, [size]);
            let to = c.place(0, Use::Write);
            c.put(to, ty, value.into());
            // C says that there was a number; the others are clear (Intel SDM 2B, "RDRAND").
            c.set_flag_bits(1_i64);
        }
    }
    Flow::Next
}

fn transfer(c: &mut Context<'_>, id: HelperId, ty: Type) -> Flow {
    let shape = c.shape(ty);
    c.b.call(id, None, [shape]);
    Flow::End(Terminator::Dispatch)
}

fn low_half(c: &mut Context<'_>, register: usize) -> Slot {
    c.op(Op::Mov, Type::I32, [gpr_slot(register).into()])
}

/// A value to EDX:EAX.
fn split(c: &mut Context<'_>, value: Slot) {
    let (rax, rdx) = (c.gpr(gpr::RAX), c.gpr(gpr::RDX));
    let high = c.op64(Op::Shr, value, 32_i64);
    c.put(rax, Type::I32, value.into());
    c.put(rdx, Type::I32, high.into());
}

fn port(c: &mut Context<'_>, operand: u32) -> Operand {
    match c.insn.op_kind(operand) {
        OpKind::Register => c.zero_extend(gpr_slot(gpr::RDX).into(), Type::I16),
        _ => Operand::Imm(c.insn.immediate(operand) as i64 & 0xff),
    }
}

/// The linear address of an operand that is not accessed.
fn linear_address(c: &mut Context<'_>) -> Operand {
    let address = c.address(1, Use::Read);
    c.flatten(address)
}

/// Bytes of the base in a pseudo-descriptor: 24 bits of four with 16-bit operands (Intel SDM 2A, "LGDT/LIDT").
fn base_type(c: &Context<'_>) -> Type {
    if c.is_64() { Type::I64 } else { Type::I32 }
}

fn is_16_bit(c: &Context<'_>) -> bool {
    use iced_x86::Code::*;
    matches!(c.insn.code(), Lgdt_m1632_16 | Lidt_m1632_16)
}

fn load_table(c: &mut Context<'_>, which: i64) -> Flow {
    if let Some(flow) = unprivileged(c) {
        return flow;
    }
    let ty = base_type(c);
    let address = c.address(2 + bytes(ty), Use::Read);
    let limit = c.load(address, Type::I16);
    let base = c.load(address.plus(2), ty);
    let base = if is_16_bit(c) {
        c.op64(Op::And, base, 0xff_ffff_i64)
    } else {
        base
    };
    c.b.call(
        helper::LOAD_TABLE,
        None,
        [which.into(), base.into(), limit.into()],
    );
    c.exit()
}

/// Both halves are written, or none.
fn store_table(c: &mut Context<'_>, which: i64) {
    let ty = base_type(c);
    let limit = c.call(helper::STORE_TABLE, [which.into(), 0.into()]);
    let base = c.call(helper::STORE_TABLE, [which.into(), 1.into()]);
    let address = c.address(2 + bytes(ty), Use::Write);
    let behind = address.plus(2);
    c.probe(behind, ty);
    c.store(address, Type::I16, limit.into());
    c.store(behind, ty, base.into());
}

/// `mov` to and from control and debug registers.
pub(super) fn mov(c: &mut Context<'_>) -> Flow {
    if let Some(flow) = unprivileged(c) {
        return flow;
    }
    let (to, from) = (c.insn.op0_register(), c.insn.op1_register());
    // The operand size is that of the mode, whatever prefixes say.
    let ty = if c.is_64() { Type::I64 } else { Type::I32 };
    if let Some((number, debug)) = number(to) {
        let value = c.zero_extend(register_slot(from).into(), ty);
        let id = if debug {
            helper::WRITE_DEBUG
        } else {
            helper::WRITE_CONTROL
        };
        c.b.call(id, None, [number.into(), value]);
        return c.exit();
    }
    let Some((number, debug)) = number(from) else {
        return INVALID;
    };
    let id = if debug {
        helper::READ_DEBUG
    } else {
        helper::READ_CONTROL
    };
    let value = c.call(id, [number.into()]);
    let slot = register_slot(to);
    c.b.op(Op::Mov, ty, extension(ty), slot, [value.into()]);
    Flow::Next
}

/// Number of a control or debug register, and whether it is a debug register.
fn number(register: Register) -> Option<(i64, bool)> {
    let from = |first: Register| register as i64 - first as i64;
    if register.is_cr() {
        Some((from(Register::CR0), false))
    } else if register.is_dr() {
        Some((from(Register::DR0), true))
    } else {
        None
    }
}

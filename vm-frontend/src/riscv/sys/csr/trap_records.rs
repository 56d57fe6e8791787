//! Trap vectors, return addresses and `medeleg` (RISC-V Priv 1.13, 3.1.7, 3.1.8, 3.1.14).

use crate::riscv::sys::fields::cause;
use crate::riscv::sys::{Hart, feature};

use super::Update;

/// Exceptions that can be delegated: all but `ecall` from M-mode.
pub(in crate::riscv::sys) const DELEGABLE: u64 = {
    const CODES: [u32; 13] = [
        cause::FETCH_MISALIGNED,
        cause::FETCH_ACCESS,
        cause::ILLEGAL,
        cause::BREAKPOINT,
        cause::LOAD_MISALIGNED,
        cause::LOAD_ACCESS,
        cause::STORE_MISALIGNED,
        cause::STORE_ACCESS,
        cause::ECALL_FROM_U,
        cause::ECALL_FROM_S,
        cause::FETCH_PAGE,
        cause::LOAD_PAGE,
        cause::STORE_PAGE,
    ];
    let mut bits = 0;
    let mut n = 0;
    while n < CODES.len() {
        bits |= 1 << CODES[n];
        n += 1;
    }
    bits
};

/// Vector modes 2 and 3 are reserved: their upper bit stays clear.
const RESERVED_VECTOR_MODE: u64 = 2;

pub(super) fn write_mtvec(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.mtvec = update.value & !RESERVED_VECTOR_MODE;
}

pub(super) fn write_stvec(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.stvec = update.value & !RESERVED_VECTOR_MODE;
}

pub(super) fn write_mepc(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.mepc = aligned(hart, update.value);
}

pub(super) fn write_sepc(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.sepc = aligned(hart, update.value);
}

fn aligned(hart: &Hart<'_>, pc: u64) -> u64 {
    let insn_alignment = if hart.state.features & feature::COMPRESSED != 0 {
        2
    } else {
        4
    };
    pc & !(insn_alignment - 1)
}

pub(super) fn write_medeleg(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.medeleg = update.value & DELEGABLE;
}

//! What, besides its bytes, decides what an instruction means: the bits of [`vm_ir::Mode`].
//!
//! [`of`] computes them from the state after every instruction that may change them; such an instruction
//! ends its block. The lifter takes everything that is not in its bytes from here.

use vm_core::PAGE_BYTES;
use vm_ir::Mode;

use super::state::{CpuState, Segment, seg};
use super::sys::fields::{attr, cr0, cr4, efer, flag};

/// Bits 0 and 1: default operand and address size, 0 for 16, 1 for 32, 2 for 64-bit mode.
pub const CODE_SIZE: u32 = 3;
/// Stack addresses are 32 bits wide (SS.B), in 16- and 32-bit code.
pub const STACK32: u32 = 1 << 2;
/// CPL is 3.
pub const USER: u32 = 1 << 3;
/// CR0.PE, whether or not in virtual-8086 mode.
pub const PROTECTED: u32 = 1 << 4;
/// Virtual-8086 mode.
pub const V86: u32 = 1 << 5;
/// DS, ES and SS have base zero, limit 4 GiB and are writable: accesses by them need no base and no check.
pub const FLAT: u32 = 1 << 6;
/// CS has base zero and limit 4 GiB.
pub const FLAT_CODE: u32 = 1 << 7;
/// x87 and MMX instructions raise #NM (CR0.TS or CR0.EM; Intel SDM 3A, 2.5), or #UD in the case of MMX with CR0.EM.
pub const NO_X87: u32 = 1 << 8;
/// SSE instructions raise #UD: CR0.EM, or CR4.OSFXSR is clear.
pub const NO_SSE: u32 = 1 << 9;
/// AVX instructions raise #UD: CR4.OSXSAVE is clear, or XCR0 lacks SSE or AVX state.
pub const NO_AVX: u32 = 1 << 10;
/// SSE and AVX instructions raise #NM (CR0.TS).
pub const TASK_SWITCHED: u32 = 1 << 11;
/// Each instruction is a block of its own, after which debug exceptions are looked for (RFLAGS.TF, breakpoints in DR7).
pub const SINGLE_STEP: u32 = 1 << 12;
/// The block is one instruction, which ends the interrupt shadow ([`super::state::CpuState::shadow`]).
pub const SHADOW: u32 = 1 << 13;
/// Misaligned data accesses raise #AC (CR0.AM, RFLAGS.AC, CPL 3).
pub const ALIGNMENT_CHECK: u32 = 1 << 14;
/// CPL is at most IOPL: CLI, STI, and ports without a look at the task's permission map.
pub const IO_PRIVILEGED: u32 = 1 << 15;
/// CPL is 0.
pub const SUPERVISOR: u32 = 1 << 16;

/// The code segment's base is a multiple of the page size and its limit at least 64 KiB: jumps of 16-bit code within a page
/// need no check.
pub const CODE_ALIGNED: u32 = 1 << 17;

/// Some SSE floating-point exception is not masked, so that instructions which raise one are looked after.
pub const FP_TRAPS: u32 = 1 << 18;

/// XSAVE and its kin raise #UD: CR4.OSXSAVE is clear.
pub const NO_XSAVE: u32 = 1 << 19;

/// FS is a writable data segment that expands upwards: of an access by it only the limit is to check.
pub const PLAIN_FS: u32 = 1 << 20;
/// The same of GS.
pub const PLAIN_GS: u32 = 1 << 21;

/// The mode that a state is in.
pub fn of(state: &CpuState) -> Mode {
    let cs = &state.segments[seg::CS];
    let long = state.efer & efer::LMA != 0;
    let mut bits = 0;
    let mut set = |bit: u32, when: bool| bits |= if when { bit } else { 0 };
    if long && cs.attributes & attr::L != 0 {
        // What segments say does not count here, so that equal code has equal modes.
        set(2 | FLAT | FLAT_CODE, true);
    } else {
        set(1, cs.attributes & attr::DB != 0);
        set(STACK32, state.segments[seg::SS].attributes & attr::DB != 0);
        set(
            FLAT,
            [seg::DS, seg::ES, seg::SS]
                .iter()
                .all(|&n| is_flat(&state.segments[n])),
        );
        set(PLAIN_FS, is_plain(&state.segments[seg::FS]));
        set(PLAIN_GS, is_plain(&state.segments[seg::GS]));
        set(FLAT_CODE, cs.base == 0 && cs.limit == u64::from(u32::MAX));
        set(
            CODE_ALIGNED,
            cs.base.is_multiple_of(PAGE_BYTES) && cs.limit >= 0xffff,
        );
    }
    let v86 = state.system_flags & flag::VM != 0;
    set(USER, state.cpl == 3);
    set(SUPERVISOR, state.cpl == 0);
    set(PROTECTED, state.cr0 & cr0::PE != 0);
    set(V86, v86);
    set(NO_X87, state.cr0 & (cr0::TS | cr0::EM) != 0);
    set(
        NO_SSE,
        state.cr0 & cr0::EM != 0 || state.cr4 & cr4::OSFXSR == 0,
    );
    let extended = state.cr4 & cr4::OSXSAVE != 0 && state.xcr0 & 6 == 6;
    set(NO_AVX, !extended || state.cr0 & cr0::PE == 0 || v86);
    set(NO_XSAVE, state.cr4 & cr4::OSXSAVE == 0);
    set(TASK_SWITCHED, state.cr0 & cr0::TS != 0);
    set(
        SINGLE_STEP,
        state.system_flags & flag::TF != 0 || state.dr[7] & 0xff != 0,
    );
    set(SHADOW, state.shadow != 0);
    let checks = state.cr0 & cr0::AM != 0 && state.system_flags & flag::AC != 0;
    set(ALIGNMENT_CHECK, checks && state.cpl == 3);
    set(
        IO_PRIVILEGED,
        state.cpl <= (state.system_flags & flag::IOPL) >> 12,
    );
    Mode(bits | super::fp::mode_bits(state))
}

/// Whether a data segment's addresses need neither its base nor a check.
fn is_flat(segment: &Segment) -> bool {
    segment.base == 0 && segment.limit == u64::from(u32::MAX) && is_plain(segment)
}

/// Whether a data segment can be read and written from offset zero to its limit.
fn is_plain(segment: &Segment) -> bool {
    let wanted = attr::P | attr::S | attr::WRITE_OR_READ;
    let looked_at = wanted | attr::CODE | attr::DOWN_OR_CONFORMING;
    segment.attributes & looked_at == wanted
}

/// Bits of code, of which the default sizes follow: 16, 32 or 64.
pub const fn code_bits(mode: Mode) -> u32 {
    16 << (mode.0 & CODE_SIZE)
}

/// Whether a bit is set.
pub const fn has(mode: Mode, bit: u32) -> bool {
    mode.0 & bit != 0
}

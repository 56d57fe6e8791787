//! What, besides its bytes, decides what an instruction means: the bits of [`vm_ir::Mode`].
//!
//! [`crate::Guest::mode`] computes them from the state after every instruction that may change them; such an instruction
//! ends its block. The lifter takes everything that is not in its bytes from here.

use vm_ir::Mode;

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

/// Bits of code, of which the default sizes follow: 16, 32 or 64.
pub const fn code_bits(mode: Mode) -> u32 {
    16 << (mode.0 & CODE_SIZE)
}

/// Whether a bit is set.
pub const fn has(mode: Mode, bit: u32) -> bool {
    mode.0 & bit != 0
}

//! MXCSR: control and status of SSE (Intel SDM 1, 10.2.3).
//!
//! [`CpuState::mxcsr`] holds the control bits. The exception flags accrue where every ISA has them, and the rounding stands
//! where operations look for it.

use vm_ir::ExceptionCode;
use vm_softfloat::{Env, FlushResults, RoundingDirection, Subnormals};

use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::mode;
use crate::x86::state::CpuState;
use crate::x86::sys::fields::cr4;

/// The exception flags.
pub const FLAGS: u64 = 0x3f;
/// DAZ: subnormal operands are zeros.
pub const DAZ: u64 = 1 << 6;
/// Where the masks of the exceptions are.
pub const MASKS_SHIFT: u32 = 7;
/// The masks of all exceptions.
pub const MASKS: u64 = FLAGS << MASKS_SHIFT;
/// Where the rounding is.
pub const ROUNDING_SHIFT: u32 = 13;
/// FTZ: tiny results are zeros.
pub const FTZ: u64 = 1 << 15;
/// The bits that there are, which MXCSR_MASK tells (Intel SDM 1, 11.6.6).
pub const MASK: u64 = 0xffff;
/// The value after reset.
pub const RESET: u64 = MASKS;

/// #XM (Intel SDM 3A, 6.15, "Interrupt 19").
const SIMD_EXCEPTION: u32 = 19;
/// #GP.
const PROTECTION: u32 = 13;
/// #UD.
const INVALID_OPCODE: u32 = 6;

/// Exceptions found before an operation computes: invalid, denormal, division by zero (Intel SDM 1, 11.5.1).
const PRE_COMPUTATION: u64 = 7;

/// For each flag of MXCSR from bit 0 on, its place among those that accrue ([`vm_softfloat::Flags`]).
const PLACES: [u32; 6] = [4, 5, 3, 2, 1, 0];

/// MXCSR's flags of those that accrue.
pub const fn from_accrued(flags: u32) -> u64 {
    let (mut bits, mut n) = (0, 0);
    while n < PLACES.len() {
        bits |= (flags >> PLACES[n] & 1) << n;
        n += 1;
    }
    bits as u64
}

/// The other way round.
pub const fn to_accrued(flags: u64) -> u32 {
    let (mut bits, mut n) = (0, 0);
    while n < PLACES.len() {
        bits |= ((flags >> n & 1) as u32) << PLACES[n];
        n += 1;
    }
    bits
}

/// MXCSR.
pub const fn read(state: &CpuState) -> u64 {
    state.mxcsr & MASK & !FLAGS | from_accrued(state.common.fp_flags)
}

/// Sets MXCSR; bits that there are not count for nothing.
pub const fn write(state: &mut CpuState, value: u64) {
    state.mxcsr = value & MASK & !FLAGS;
    state.common.fp_flags = to_accrued(value);
    // To nearest, down, up, towards zero, as numbers of `vm_ir::Rounding`.
    state.common.fp_rounding = [0, 2, 3, 1][(value >> ROUNDING_SHIFT & 3) as usize];
}

/// The rules of SSE arithmetic now.
pub const fn env(state: &CpuState) -> Env {
    let mut env = Env::sse(RoundingDirection::NearestEven);
    if state.mxcsr & DAZ != 0 {
        env.subnormals = Subnormals::Zero;
    }
    let underflow_masked = state.mxcsr >> MASKS_SHIFT & 1 << 4 != 0;
    if state.mxcsr & FTZ != 0 && underflow_masked {
        env.flush = FlushResults::AfterRounding;
    }
    env.underflow_when_exact = !underflow_masked;
    env
}

/// The bits of the mode that MXCSR decides.
pub const fn mode_bits(state: &CpuState) -> u32 {
    if state.mxcsr & MASKS == MASKS {
        0
    } else {
        mode::FP_TRAPS
    }
}

/// Sets MXCSR, and tells when the mode is another for it.
pub(super) fn load(cpu: &mut Cpu<'_>, value: u64) {
    let before = mode_bits(cpu.state);
    write(cpu.state, value);
    if mode_bits(cpu.state) != before {
        cpu.env.state_changed();
    }
}

/// Helper: MXCSR.
pub(super) fn read_helper(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Ok(read(cpu.state))
}

/// Helper: sets MXCSR; #GP(0) for bits that there are not. The block ends behind it.
pub(super) fn write_helper(cpu: &mut Cpu<'_>, [value, ..]: [u64; 3]) -> Result<u64, Exception> {
    if value & !MASK != 0 {
        return Err(exception(PROTECTION));
    }
    load(cpu, value);
    Ok(0)
}

/// Helper, where exceptions are not masked: before an instruction computes, puts aside the flags that have accrued and
/// vector register number `register`, which it may change.
pub(super) fn begin(cpu: &mut Cpu<'_>, [register, ..]: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *cpu.state;
    let register = register as usize & 15;
    state.vector_scratch[0] = state.xmm[register];
    state.vector_scratch[1] = state.ymm_high[register];
    state.vector_scratch[2] = [state.common.fp_flags.into(), 0];
    state.common.fp_flags = 0;
    Ok(0)
}

/// Helper: looks at what the instruction has raised. When some of it is not masked, puts the register back and raises #XM, or
/// #UD where the system has not said that it knows that (Intel SDM 1, 11.5.2 and 11.5.3; 3A, 2.5, OSXMMEXCPT).
pub(super) fn end(cpu: &mut Cpu<'_>, [register, ..]: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *cpu.state;
    let unmasked = !(state.mxcsr >> MASKS_SHIFT) & FLAGS;
    let mut raised = from_accrued(state.common.fp_flags);
    if raised & unmasked & PRE_COMPUTATION != 0 {
        raised &= PRE_COMPUTATION;
    }
    let before = state.vector_scratch[2][0] as u32;
    state.common.fp_flags = before | to_accrued(raised);
    if raised & unmasked == 0 {
        return Ok(0);
    }
    let register = register as usize & 15;
    state.xmm[register] = state.vector_scratch[0];
    state.ymm_high[register] = state.vector_scratch[1];
    Err(exception(match state.cr4 & cr4::OSXMMEXCPT {
        0 => INVALID_OPCODE,
        _ => SIMD_EXCEPTION,
    }))
}

const fn exception(vector: u32) -> Exception {
    Exception {
        code: ExceptionCode(vector),
        value: 0,
    }
}

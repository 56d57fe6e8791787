//! Debug registers, breakpoints and single steps (Intel SDM 3B, chapter 19).

use super::exception::{exception, undefined};
use super::fields::{cr4, flag, shadow, vector};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::mode;
use crate::x86::state::CpuState;

/// DR6: a debug register was accessed while DR7.GD was set.
pub(super) const BD: u64 = 1 << 13;
/// DR6: a single step.
pub(super) const BS: u64 = 1 << 14;
/// DR6 after reset, and its bits that are always one.
pub(super) const DR6_ONES: u64 = 0xffff_0ff0;
/// Bits of DR6 that can be set and cleared.
const DR6_KEPT: u64 = 0xe00f;
/// DR7: accesses to debug registers raise #DB.
const GD: u64 = 1 << 13;
/// DR7 after reset, and its bit that is always one.
pub(super) const DR7_ONES: u64 = 1 << 10;
/// Bits of DR7 that are always zero.
const DR7_ZEROS: u64 = 0xd800;

/// Whether RF matters: there are breakpoints that it could hold back.
pub(super) fn keeps_resume(state: &CpuState) -> bool {
    state.dr[7] & 0xff != 0 && state.system_flags & flag::RF != 0
}

/// Notes in DR6 why a #DB is delivered, and opens the debug registers.
pub(super) fn note(state: &mut CpuState, why: u64) {
    state.dr[6] = state.dr[6] | why & DR6_KEPT | DR6_ONES;
    state.dr[7] &= !GD;
}

/// The register that a number means; DR4 and DR5 are old names of DR6 and DR7.
fn register(cpu: &Cpu<'_>, n: u64) -> Result<usize, Exception> {
    match n & 7 {
        n @ (4 | 5) if cpu.state.cr4 & cr4::DE == 0 => Ok(n as usize + 2),
        4 | 5 => Err(undefined()),
        n => Ok(n as usize),
    }
}

fn check_detect(cpu: &Cpu<'_>) -> Result<(), Exception> {
    if cpu.state.dr[7] & GD != 0 {
        return Err(exception(vector::DB, BD));
    }
    Ok(())
}

/// `read_debug`.
pub(super) fn read_debug(cpu: &mut Cpu<'_>, [n, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let n = register(cpu, n)?;
    check_detect(cpu)?;
    Ok(cpu.state.dr[n])
}

/// `write_debug`.
pub(super) fn write_debug(cpu: &mut Cpu<'_>, [n, value, _]: [u64; 3]) -> Result<u64, Exception> {
    let n = register(cpu, n)?;
    check_detect(cpu)?;
    if n >= 6 && value >> 32 != 0 {
        return Err(super::exception::protection(0));
    }
    cpu.state.dr[n] = match n {
        6 => value & DR6_KEPT | DR6_ONES,
        7 => value & !DR7_ZEROS | DR7_ONES,
        _ => value,
    };
    cpu.env.state_changed();
    Ok(0)
}

/// The breakpoints on instructions at `pc` that are enabled, as bits of DR6.
fn hit_by_fetch(state: &CpuState, pc: u64) -> u64 {
    (0..4)
        .filter(|&n| {
            let (enabled, kind) = (state.dr[7] >> (2 * n) & 3, state.dr[7] >> (16 + 4 * n) & 3);
            enabled != 0 && kind == 0 && state.dr[n as usize] == pc
        })
        .fold(0, |hit, n| hit | 1 << n)
}

/// `breakpoint`: an instruction is about to be run.
pub(super) fn breakpoint(cpu: &mut Cpu<'_>, [pc, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let held = cpu.state.system_flags & flag::RF != 0 || cpu.state.shadow & shadow::DEBUG != 0;
    let hit = if held { 0 } else { hit_by_fetch(cpu.state, pc) };
    if hit != 0 {
        return Err(exception(vector::DB, hit));
    }
    Ok(0)
}

/// `retire`: an instruction that is a block of its own is done. Where to go on, TF before it, and its mode, with bit 31
/// when it has set the shadow itself.
pub(super) fn retire(cpu: &mut Cpu<'_>, [pc, flags, bits]: [u64; 3]) -> Result<u64, Exception> {
    cpu.state.common.pc = pc;
    cpu.state.system_flags &= !flag::RF;
    let sets_shadow = bits >> 31 & 1 != 0;
    if bits & u64::from(mode::SHADOW) != 0 && !sets_shadow {
        cpu.state.shadow = 0;
    }
    trap_behind(cpu.state, flags);
    cpu.env.state_changed();
    Ok(0)
}

/// Notes a single step where TF was set in `flags`, those before the instruction. Helpers that set the program counter are
/// the end of their instruction, and do it themselves.
pub(super) fn trap_behind(state: &mut CpuState, flags: u64) {
    if flags & flag::TF != 0 {
        state.pending_debug |= BS;
    }
}

//! RFLAGS, which the state keeps in parts, and the instructions on it (Intel SDM 1, 3.4.3).

use vm_ir::eval::flags;

use super::exception::protection;
use super::fields::{cr0, flag, shadow};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::line;
use crate::x86::state::CpuState;

/// The whole register.
pub fn get(state: &CpuState) -> u64 {
    let direction = if state.direction == 1 { 0 } else { flag::DF };
    flags::bits(state.flags[0]) | direction | state.system_flags & flag::SYSTEM | 2
}

/// Sets the whole register.
pub fn set(state: &mut CpuState, value: u64) {
    set_arithmetic(state, value);
    state.system_flags = value & flag::SYSTEM;
}

/// Sets the bits of `mask` only.
pub fn change(state: &mut CpuState, value: u64, mask: u64) {
    let value = get(state) & !mask | value & mask;
    set(state, value);
}

fn set_arithmetic(state: &mut CpuState, value: u64) {
    state.flags = [flags::word(value)];
    state.direction = if value & flag::DF == 0 { 1 } else { u64::MAX };
}

/// The least privilege for ports.
pub fn iopl(state: &CpuState) -> u64 {
    (state.system_flags & flag::IOPL) >> 12
}

/// Whether it runs in virtual-8086 mode.
pub fn is_v86(state: &CpuState) -> bool {
    state.system_flags & flag::VM != 0
}

/// `read_flags`: PUSHF's image. In virtual-8086 mode it needs IOPL 3 (Intel SDM 2B, "PUSHF").
pub(super) fn read_flags(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    if is_v86(cpu.state) && iopl(cpu.state) != 3 {
        return Err(protection(0));
    }
    Ok(get(cpu.state) & !(flag::VM | flag::RF))
}

/// `write_flags`: POPF (Intel SDM 2B, "POPF").
pub(super) fn write_flags(
    cpu: &mut Cpu<'_>,
    [value, shape, _]: [u64; 3],
) -> Result<u64, Exception> {
    let state = &mut *cpu.state;
    let v86 = is_v86(state);
    if v86 && iopl(state) != 3 {
        return Err(protection(0));
    }
    let mut mask = flags::ALL | flag::DF | flag::TF | flag::NT | flag::AC | flag::ID;
    if state.cpl <= iopl(state) {
        mask |= flag::IF;
    }
    if state.cpl == 0 && !v86 {
        mask |= flag::IOPL;
    }
    if shape & 0xff == 2 {
        mask &= 0xffff;
    }
    let before = state.system_flags;
    // RF is clear behind it whatever it was.
    change(state, value & !flag::RF, mask | flag::RF);
    if (before ^ state.system_flags) & flag::SYSTEM != 0 {
        cpu.env.state_changed();
    }
    Ok(0)
}

/// Whether CLI and STI may change IF (Intel SDM 2A, "CLI"; without CR4.VME and CR4.PVI).
fn check_interrupt_flag(state: &CpuState) -> Result<(), Exception> {
    if state.cr0 & cr0::PE != 0 && state.cpl > iopl(state) {
        return Err(protection(0));
    }
    Ok(())
}

/// `cli`.
pub(super) fn cli(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    check_interrupt_flag(cpu.state)?;
    cpu.state.system_flags &= !flag::IF;
    Ok(0)
}

/// `sti`: interrupts wait for one more instruction.
pub(super) fn sti(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    check_interrupt_flag(cpu.state)?;
    if cpu.state.system_flags & flag::IF == 0 {
        cpu.state.system_flags |= flag::IF;
        cpu.state.shadow |= shadow::INTERRUPTS;
        cpu.env.state_changed();
    }
    Ok(0)
}

/// `sti_within`: STI with more instructions of its block behind it. No interrupt comes between two instructions of a
/// block, so that there is no need for the shadow, unless one waits already.
pub(super) fn sti_within(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    check_interrupt_flag(cpu.state)?;
    if cpu.state.system_flags & flag::IF == 0 {
        if cpu.env.lines() & (1 << line::INTR) != 0 {
            return Err(Exception::RUN_ALONE);
        }
        cpu.state.system_flags |= flag::IF;
    }
    Ok(0)
}

/// `stac`.
pub(super) fn stac(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.state.system_flags |= flag::AC;
    cpu.env.state_changed();
    Ok(0)
}

/// `clac`.
pub(super) fn clac(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.state.system_flags &= !flag::AC;
    cpu.env.state_changed();
    Ok(0)
}

//! SYSCALL, SYSRET, SYSENTER and SYSEXIT (Intel SDM 3A, 6.8.7 and 6.8.8).

use super::descriptor::{is_64, is_canonical, is_long};
use super::exception::{protection, undefined};
use super::fields::{attr, cr0, efer, flag};
use super::rflags;
use super::segment::pc_of;
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::state::{Segment, gpr, seg};

const STAR: usize = 0;
const LSTAR: usize = 1;
const FMASK: usize = 3;

const FLAT_LIMIT: u64 = 0xffff_ffff;

fn code(selector: u64, dpl: u64, long: bool) -> Segment {
    let size = if long { attr::L } else { attr::DB };
    let kind = attr::CODE | attr::WRITE_OR_READ | attr::ACCESSED;
    Segment {
        base: 0,
        limit: FLAT_LIMIT,
        selector,
        attributes: kind | attr::S | attr::P | attr::G | size | dpl << attr::DPL_SHIFT,
    }
}

fn stack(selector: u64, dpl: u64) -> Segment {
    let kind = attr::WRITE_OR_READ | attr::ACCESSED;
    Segment {
        base: 0,
        limit: FLAT_LIMIT,
        selector,
        attributes: kind | attr::S | attr::P | attr::G | attr::DB | dpl << attr::DPL_SHIFT,
    }
}

/// Goes there; system calls are stepped by the flags behind them, returns by those before.
fn enter(cpu: &mut Cpu<'_>, cs: Segment, ss: Segment, cpl: u64, rip: u64) {
    cpu.state.segments[seg::CS] = cs;
    cpu.state.segments[seg::SS] = ss;
    cpu.state.cpl = cpl;
    cpu.state.common.pc = pc_of(cpu.state, rip);
    cpu.state.shadow = 0;
    cpu.state.system_flags &= !flag::RF;
    cpu.env.state_changed();
}

/// `syscall`. As on Intel's processors, in 64-bit mode alone.
pub(super) fn syscall(cpu: &mut Cpu<'_>, [shape, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let state = &*cpu.state;
    if state.efer & efer::SCE == 0 || !is_64(state) {
        return Err(undefined());
    }
    let next = cpu.next_pc(shape);
    let state = &mut *cpu.state;
    let flags = rflags::get(state) & !flag::RF;
    state.gpr[gpr::RCX] = next;
    state.gpr[11] = flags;
    rflags::set(state, flags & !state.syscall[FMASK]);
    let selector = state.syscall[STAR] >> 32 & 0xfffc;
    let rip = state.syscall[LSTAR];
    enter(cpu, code(selector, 0, true), stack(selector + 8, 0), 0, rip);
    super::debug::trap_behind(cpu.state, cpu.state.system_flags);
    Ok(0)
}

/// `sysret`.
pub(super) fn sysret(cpu: &mut Cpu<'_>, [shape, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *cpu.state;
    if state.efer & efer::SCE == 0 || !is_64(state) {
        return Err(undefined());
    }
    let long = shape & 0xff == 8;
    let rcx = state.gpr[gpr::RCX];
    if state.cpl != 0 || long && !is_canonical(state, rcx) {
        return Err(protection(0));
    }
    let base = state.syscall[STAR] >> 48;
    let selector = if long { base + 16 } else { base };
    let (rip, cs) = (
        if long { rcx } else { rcx & 0xffff_ffff },
        code(selector | 3, 3, long),
    );
    let before = state.system_flags;
    rflags::set(state, state.gpr[11] & !(flag::RF | flag::VM));
    enter(cpu, cs, stack((base + 8) | 3, 3), 3, rip);
    super::debug::trap_behind(cpu.state, before);
    Ok(0)
}

/// `sysenter`.
pub(super) fn sysenter(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *cpu.state;
    let [selector, rsp, rip] = state.sysenter;
    if state.cr0 & cr0::PE == 0 || selector & 0xfffc == 0 {
        return Err(protection(0));
    }
    let long = is_long(state);
    let selector = selector & 0xfffc;
    state.system_flags &= !(flag::VM | flag::IF);
    state.gpr[gpr::RSP] = if long { rsp } else { rsp & 0xffff_ffff };
    let rip = if long { rip } else { rip & 0xffff_ffff };
    enter(cpu, code(selector, 0, long), stack(selector + 8, 0), 0, rip);
    super::debug::trap_behind(cpu.state, cpu.state.system_flags);
    Ok(0)
}

/// `sysexit`.
pub(super) fn sysexit(cpu: &mut Cpu<'_>, [shape, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *cpu.state;
    let selector = state.sysenter[0] & 0xfffc;
    if state.cr0 & cr0::PE == 0 || state.cpl != 0 || selector == 0 {
        return Err(protection(0));
    }
    let long = shape & 0xff == 8;
    let (rip, rsp) = (state.gpr[gpr::RDX], state.gpr[gpr::RCX]);
    if long && !(is_canonical(state, rip) && is_canonical(state, rsp)) {
        return Err(protection(0));
    }
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    state.gpr[gpr::RSP] = rsp & mask;
    let base = selector + if long { 32 } else { 16 };
    enter(
        cpu,
        code(base | 3, 3, long),
        stack((base + 8) | 3, 3),
        3,
        rip & mask,
    );
    super::debug::trap_behind(cpu.state, cpu.state.system_flags);
    Ok(0)
}

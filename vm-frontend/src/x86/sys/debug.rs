//! Debug registers, breakpoints and single steps (Intel SDM 3B, chapter 19).

use vm_core::{GuestVirtAddr, PAGE_BYTES};

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

/// Notes in DR6 why a #DB is delivered, and opens the debug registers. Of what was noted before only the breakpoints are
/// cleared (Intel SDM 3B, 19.2.3; seen on processors).
pub(super) fn note(state: &mut CpuState, why: u64) {
    state.dr[6] = state.dr[6] & !0xf | why & DR6_KEPT | DR6_ONES;
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
    let had_data = breakpoints(cpu.state).any(|it| it.is_of_data());
    cpu.state.dr[n] = match n {
        6 => value & DR6_KEPT | DR6_ONES,
        7 => value & !DR7_ZEROS | DR7_ONES,
        _ => value,
    };
    if had_data || breakpoints(cpu.state).any(|it| it.is_of_data()) {
        cpu.flush_all();
    }
    cpu.env.state_changed();
    Ok(0)
}

/// What a breakpoint is on, as DR7 says it.
mod kind {
    pub(super) const FETCH: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const PORT: u64 = 2;
    pub(super) const ACCESS: u64 = 3;
}

/// A breakpoint that is enabled.
struct Breakpoint {
    /// Its bit in DR6.
    bit: u64,
    kind: u64,
    /// The first byte.
    addr: u64,
    bytes: u64,
}

impl Breakpoint {
    fn is_of_data(&self) -> bool {
        matches!(self.kind, kind::WRITE | kind::ACCESS)
    }

    fn overlaps(&self, addr: u64, bytes: u64) -> bool {
        addr.wrapping_sub(self.addr) < self.bytes || self.addr.wrapping_sub(addr) < bytes
    }
}

/// Those that are enabled. Low bits of an address that its length has no room for do not count (Intel SDM 3B, 19.2.5).
fn breakpoints(state: &CpuState) -> impl Iterator<Item = Breakpoint> {
    const BYTES: [u64; 4] = [1, 2, 8, 4];
    let control = state.dr[7];
    // Almost never is there any.
    let numbers = if control & 0xff == 0 { 0..0 } else { 0..4 };
    numbers
        .filter(move |n| control >> (2 * n) & 3 != 0)
        .map(move |n| {
            let what = control >> (16 + 4 * n);
            let bytes = BYTES[(what >> 2 & 3) as usize];
            Breakpoint {
                bit: 1 << n,
                kind: what & 3,
                addr: state.dr[n as usize] & !(bytes - 1),
                bytes,
            }
        })
}

/// The breakpoints on instructions at `pc` that are enabled, as bits of DR6.
fn hit_by_fetch(state: &CpuState, pc: u64) -> u64 {
    breakpoints(state)
        .filter(|it| it.kind == kind::FETCH && state.dr[it.bit.ilog2() as usize] == pc)
        .fold(0, |hit, it| hit | it.bit)
}

/// Those on data that an access hits, as bits of DR6.
pub(super) fn data_hits(state: &CpuState, addr: u64, bytes: u64, write: bool) -> u64 {
    breakpoints(state)
        .filter(|it| it.kind == kind::ACCESS || write && it.kind == kind::WRITE)
        .filter(|it| it.overlaps(addr, bytes))
        .fold(0, |hit, it| hit | it.bit)
}

/// Whether a breakpoint on data lies on the page of an address.
pub(super) fn watches_page(state: &CpuState, addr: GuestVirtAddr) -> bool {
    let page = addr.page_base().raw();
    breakpoints(state).any(|it| it.is_of_data() && it.overlaps(page, PAGE_BYTES))
}

impl Cpu<'_> {
    /// Notes the breakpoints on ports that an access has hit.
    pub(super) fn note_port(&mut self, port: u64, bytes: u64) {
        if self.state.cr4 & cr4::DE != 0 {
            let hit = breakpoints(self.state)
                .filter(|it| it.kind == kind::PORT && it.overlaps(port, bytes))
                .fold(0, |hit, it| hit | it.bit);
            self.state.pending_debug |= hit;
        }
    }
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
    // There is no single step behind MOV SS; what else it has hit waits (Intel SDM 3A, 7.8.3).
    if !(sets_shadow && cpu.state.shadow & shadow::DEBUG != 0) {
        trap_behind(cpu.state, flags);
    }
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

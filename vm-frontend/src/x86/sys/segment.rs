//! Segment registers: loading them, and the addresses that they give (Intel SDM 3A, 3.4 and 6.1 to 6.8).

use vm_core::AccessWidth;

use super::descriptor::{
    Descriptor, error_of, has_descriptors, is_64, is_canonical, is_held, is_null, not_present,
    stack_fault,
};
use super::exception::{protection, undefined};
use super::fields::{attr, cr4, flag, shadow};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, Segment, seg};

/// Attributes of data and stack in real mode and, with DPL 3, in virtual-8086 mode.
pub(super) const REAL_DATA: u64 = attr::P | attr::S | attr::WRITE_OR_READ | attr::ACCESSED;
/// Attributes of code in real mode.
pub(super) const REAL_CODE: u64 = REAL_DATA | attr::CODE;
/// DPL 3.
pub(super) const DPL3: u64 = 3 << attr::DPL_SHIFT;

/// A segment register in virtual-8086 mode (Intel SDM 3A, 22.2.1).
pub(super) const fn v86_segment(selector: u64) -> Segment {
    Segment {
        base: (selector & 0xffff) << 4,
        limit: 0xffff,
        selector: selector & 0xffff,
        attributes: REAL_DATA | DPL3,
    }
}

/// A data segment register with a null selector.
pub(super) const fn null_segment(selector: u64) -> Segment {
    Segment {
        base: 0,
        limit: 0,
        selector,
        attributes: 0,
    }
}

/// A segment register loaded in real mode: limit and attributes stay (Intel SDM 3A, 22.1.1 and 11.9.2).
pub(super) fn real_segment(old: &Segment, selector: u64) -> Segment {
    let usable = old.attributes & attr::P != 0;
    Segment {
        base: (selector & 0xffff) << 4,
        limit: if usable { old.limit } else { 0xffff },
        selector: selector & 0xffff,
        attributes: if usable { old.attributes } else { REAL_DATA },
    }
}

/// `load_segment`: MOV and POP to a segment register, LDS and its like.
pub(super) fn load_segment(
    cpu: &mut Cpu<'_>,
    [selector, n, _]: [u64; 3],
) -> Result<u64, Exception> {
    let (selector, n) = (selector & 0xffff, n as usize % 6);
    let loaded = if !has_descriptors(cpu.state) {
        if cpu.state.system_flags & flag::VM != 0 {
            v86_segment(selector)
        } else {
            real_segment(&cpu.state.segments[n], selector)
        }
    } else if n == seg::SS {
        let cpl = cpu.state.cpl;
        cpu.stack_segment(selector, cpl, protection, protection)?
    } else {
        cpu.data_segment(selector)?
    };
    cpu.state.segments[n] = loaded;
    if n == seg::SS {
        cpu.state.shadow |= shadow::INTERRUPTS | shadow::DEBUG;
    }
    cpu.env.state_changed();
    Ok(0)
}

impl Cpu<'_> {
    /// What SS becomes at privilege level `cpl`; `null` and `fault` make the exceptions.
    pub(super) fn stack_segment(
        &mut self,
        selector: u64,
        cpl: u64,
        null: fn(u64) -> Exception,
        fault: fn(u64) -> Exception,
    ) -> Result<Segment, Exception> {
        if is_null(selector) {
            return if is_64(self.state) && cpl < 3 && selector & 3 == cpl {
                Ok(Segment {
                    attributes: cpl << attr::DPL_SHIFT,
                    ..null_segment(selector)
                })
            } else {
                Err(null(0))
            };
        }
        let descriptor = self.descriptor(selector, fault)?;
        let error = error_of(selector);
        if selector & 3 != cpl || !descriptor.is_writable() || descriptor.dpl() != cpl {
            return Err(fault(error));
        }
        if !descriptor.is_present() {
            return Err(stack_fault(selector));
        }
        let descriptor = self.note_accessed(selector, descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// What DS, ES, FS or GS becomes.
    pub(super) fn data_segment(&mut self, selector: u64) -> Result<Segment, Exception> {
        if is_null(selector) {
            return Ok(null_segment(selector));
        }
        let descriptor = self.descriptor(selector, protection)?;
        let least = self.state.cpl.max(selector & 3);
        if !descriptor.is_readable() || !descriptor.is_conforming() && descriptor.dpl() < least {
            return Err(protection(error_of(selector)));
        }
        if !descriptor.is_present() {
            return Err(not_present(selector));
        }
        let descriptor = self.note_accessed(selector, descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// Takes away data segments that an outer privilege level may not have (Intel SDM 2B, "RET": return to an outer level).
    /// In long mode FS and GS keep their bases, as on processors: systems rely on it.
    pub(super) fn drop_inner_segments(&mut self, cpl: u64) {
        let long = super::descriptor::is_long(self.state);
        for n in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let segment = &mut self.state.segments[n];
            let conforming = attr::CODE | attr::DOWN_OR_CONFORMING;
            let dpl = segment.attributes >> attr::DPL_SHIFT & 3;
            if segment.attributes & attr::P != 0
                && dpl < cpl
                && segment.attributes & conforming != conforming
            {
                let base = match n {
                    seg::FS | seg::GS if long => segment.base,
                    _ => 0,
                };
                *segment = Segment {
                    base,
                    ..null_segment(0)
                };
            }
        }
    }
}

/// Whether `bytes` bytes at `offset` lie within a segment.
pub(super) fn within(segment: &Segment, offset: u64, bytes: u64) -> bool {
    let kind = segment.attributes & (attr::CODE | attr::DOWN_OR_CONFORMING);
    let Some(last) = offset.checked_add(bytes - 1) else {
        return false;
    };
    if kind == attr::DOWN_OR_CONFORMING {
        let top = if segment.attributes & attr::DB != 0 {
            0xffff_ffff
        } else {
            0xffff
        };
        offset > segment.limit && last <= top
    } else {
        last <= segment.limit
    }
}

/// Whether a segment may be read, or written.
fn allows(segment: &Segment, write: bool) -> bool {
    if segment.attributes & attr::P == 0 {
        return false;
    }
    let code = segment.attributes & attr::CODE != 0;
    let bit = segment.attributes & attr::WRITE_OR_READ != 0;
    if write { !code && bit } else { !code || bit }
}

/// `segment`: the linear address of an offset, checked (Intel SDM 3A, 6.3 and 6.4). The second argument has the number of
/// the segment in bits 0 to 7, bytes in bits 8 to 15, and from bit 16 on 0 for a read.
pub(super) fn segment(cpu: &mut Cpu<'_>, [offset, what, _]: [u64; 3]) -> Result<u64, Exception> {
    let (n, bytes, write) = (
        (what & 0xff) as usize % 6,
        what >> 8 & 0xff,
        what >> 16 != 0,
    );
    let segment = &cpu.state.segments[n];
    let checked = !has_descriptors(cpu.state) || allows(segment, write);
    if !checked || !within(segment, offset, bytes.max(1)) {
        return Err(if n == seg::SS {
            stack_fault(0)
        } else {
            protection(0)
        });
    }
    Ok(segment.base.wrapping_add(offset) & 0xffff_ffff)
}

/// The program counter that an instruction pointer stands for.
pub(super) fn pc_of(state: &CpuState, rip: u64) -> u64 {
    if is_64(state) {
        rip
    } else {
        state.segments[seg::CS].base.wrapping_add(rip) & 0xffff_ffff
    }
}

/// The instruction pointer that a program counter stands for.
pub(super) fn rip_of(state: &CpuState, pc: u64) -> u64 {
    if is_64(state) {
        pc
    } else {
        pc.wrapping_sub(state.segments[seg::CS].base) & 0xffff_ffff
    }
}

/// `code_target`: where a near jump goes on.
pub(super) fn code_target(cpu: &mut Cpu<'_>, [rip, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let inside = if is_64(cpu.state) {
        is_canonical(cpu.state, rip)
    } else {
        rip <= cpu.state.segments[seg::CS].limit
    };
    if inside {
        Ok(pc_of(cpu.state, rip))
    } else {
        Err(protection(0))
    }
}

/// `check_fsgsbase`.
pub(super) fn check_fsgsbase(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    if cpu.state.cr4 & cr4::FSGSBASE == 0 {
        return Err(undefined());
    }
    Ok(0)
}

/// `write_segment_base`: WRFSBASE and WRGSBASE.
pub(super) fn write_segment_base(
    cpu: &mut Cpu<'_>,
    [n, value, _]: [u64; 3],
) -> Result<u64, Exception> {
    check_fsgsbase(cpu, [0; 3])?;
    if !is_held(cpu.config, value) {
        return Err(protection(0));
    }
    cpu.state.segments[n as usize % 6].base = value;
    Ok(0)
}

/// A descriptor that LAR and its like may look at; `types` are the system types that count.
fn visible(cpu: &mut Cpu<'_>, selector: u64, types: u32) -> Result<Option<Descriptor>, Exception> {
    let selector = selector & 0xffff;
    if is_null(selector) {
        return Ok(None);
    }
    let Some(addr) = cpu.descriptor_addr(selector, 8) else {
        return Ok(None);
    };
    let descriptor = Descriptor(cpu.read_system(addr, AccessWidth::Double)?);
    let known = descriptor.is_segment() || types >> descriptor.kind() & 1 != 0;
    let least = cpu.state.cpl.max(selector & 3);
    let allowed = descriptor.is_conforming() || descriptor.dpl() >= least;
    Ok((known && allowed).then_some(descriptor))
}

/// What LAR and LSL give when there is nothing to see.
const INVISIBLE: u64 = 1 << 63;

/// `access_rights`: LAR (Intel SDM 2A, "LAR": table 3-53).
pub(super) fn access_rights(
    cpu: &mut Cpu<'_>,
    [selector, _, _]: [u64; 3],
) -> Result<u64, Exception> {
    let types = if super::descriptor::is_long(cpu.state) {
        0x1a04
    } else {
        0x1a3e
    };
    let seen = visible(cpu, selector, types)?;
    Ok(seen.map_or(INVISIBLE, |descriptor| descriptor.0 >> 32 & 0x00ff_ff00))
}

/// `segment_limit`: LSL (Intel SDM 2A, "LSL": table 3-56).
pub(super) fn segment_limit(
    cpu: &mut Cpu<'_>,
    [selector, _, _]: [u64; 3],
) -> Result<u64, Exception> {
    let types = if super::descriptor::is_long(cpu.state) {
        0x0a04
    } else {
        0x0a0e
    };
    let seen = visible(cpu, selector, types)?;
    Ok(seen.map_or(INVISIBLE, Descriptor::limit))
}

/// `verify_read`: VERR.
pub(super) fn verify_read(cpu: &mut Cpu<'_>, [selector, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let seen = visible(cpu, selector, 0)?;
    Ok(seen.is_some_and(Descriptor::is_readable).into())
}

/// `verify_write`: VERW.
pub(super) fn verify_write(
    cpu: &mut Cpu<'_>,
    [selector, _, _]: [u64; 3],
) -> Result<u64, Exception> {
    let seen = visible(cpu, selector, 0)?;
    Ok(seen.is_some_and(Descriptor::is_writable).into())
}

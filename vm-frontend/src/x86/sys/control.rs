//! Control registers (Intel SDM 3A, 2.5; 2B, "MOV: move to/from control registers").

use vm_core::TASK_PRIORITY;

use super::descriptor::{is_64, is_long};
use super::exception::{protection, undefined};
use super::fields::{attr, cr0, cr4, efer};
use crate::guest::Exception;
use crate::x86::cpu::{CpuConfig, Feature};
use crate::x86::helpers::Cpu;
use crate::x86::state::seg;

/// MSR 0x1b.
pub(super) const APIC_BASE: u32 = 0x1b;

/// `read_control`.
pub(super) fn read_control(cpu: &mut Cpu<'_>, [n, _, _]: [u64; 3]) -> Result<u64, Exception> {
    match n {
        0 => Ok(cpu.state.cr0),
        2 => Ok(cpu.state.cr2),
        3 => Ok(cpu.state.cr3),
        4 => Ok(cpu.state.cr4),
        8 => Ok(cpu.task_priority()),
        _ => Err(undefined()),
    }
}

/// `write_control`.
pub(super) fn write_control(cpu: &mut Cpu<'_>, [n, value, _]: [u64; 3]) -> Result<u64, Exception> {
    match n {
        0 => cpu.write_cr0(value)?,
        2 => cpu.state.cr2 = value,
        3 => cpu.load_cr3(value)?,
        4 => cpu.write_cr4(value)?,
        8 => cpu.set_task_priority(value)?,
        _ => return Err(undefined()),
    }
    Ok(0)
}

/// `clts`.
pub(super) fn clts(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.state.cr0 &= !cr0::TS;
    cpu.env.state_changed();
    Ok(0)
}

/// `lmsw`: PE can be set, not cleared.
pub(super) fn lmsw(cpu: &mut Cpu<'_>, [value, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let kept = cpu.state.cr0 & (!0xf | cr0::PE);
    cpu.write_cr0(kept | value & 0xf)?;
    Ok(0)
}

/// Bits of CR4 and the features that make them exist.
const CR4_BITS: [(u64, Feature); 17] = [
    (cr4::TSD, Feature::Tsc),
    (cr4::DE, Feature::De),
    (cr4::PSE, Feature::Pse),
    (cr4::PAE, Feature::Pae),
    (cr4::MCE, Feature::Mce),
    (cr4::PGE, Feature::Pge),
    (cr4::PCE, Feature::Fpu),
    (cr4::OSFXSR, Feature::Fxsr),
    (cr4::OSXMMEXCPT, Feature::Sse),
    (cr4::UMIP, Feature::Umip),
    (cr4::LA57, Feature::La57),
    (cr4::FSGSBASE, Feature::Fsgsbase),
    (cr4::PCIDE, Feature::Pcid),
    (cr4::OSXSAVE, Feature::Xsave),
    (cr4::SMEP, Feature::Smep),
    (cr4::SMAP, Feature::Smap),
    // Two features have the same bit.
    (cr4::PSE, Feature::Pse36),
];

/// Bits of CR4 that can be set.
fn cr4_allowed(config: &CpuConfig) -> u64 {
    CR4_BITS
        .iter()
        .filter(|(_, feature)| config.has(*feature))
        .fold(0, |all, (bit, _)| all | bit)
}

impl Cpu<'_> {
    /// MOV to CR0.
    pub(super) fn write_cr0(&mut self, value: u64) -> Result<(), Exception> {
        let state = &*self.state;
        let invalid = value >> 32 != 0
            || value & cr0::PG != 0 && value & cr0::PE == 0
            || value & cr0::NW != 0 && value & cr0::CD == 0;
        if invalid {
            return Err(protection(0));
        }
        let value = value & cr0::ALL | cr0::ET;
        let changed = value ^ state.cr0;
        let pages = value & cr0::PG != 0;
        let mut long = state.efer;
        if changed & cr0::PG != 0 {
            if pages && state.efer & efer::LME != 0 {
                let code64 = state.segments[seg::CS].attributes & attr::L != 0;
                if state.cr4 & cr4::PAE == 0 || code64 {
                    return Err(protection(0));
                }
                long |= efer::LMA;
            } else if !pages {
                if is_64(state) || state.cr4 & cr4::PCIDE != 0 {
                    return Err(protection(0));
                }
                long &= !efer::LMA;
            }
        }
        let legacy = pages && long & efer::LMA == 0 && state.cr4 & cr4::PAE != 0;
        if legacy && changed & (cr0::PG | cr0::CD | cr0::NW) != 0 {
            self.state.pdpte = self.read_pdpte(self.state.cr3)?;
        }
        self.state.efer = long;
        self.state.cr0 = value;
        if changed & cr0::PE != 0 {
            self.state.cpl = 0;
        }
        if changed & (cr0::PG | cr0::WP | cr0::PE) != 0 {
            self.flush_all();
        }
        self.env.state_changed();
        Ok(())
    }

    /// MOV to CR4.
    pub(super) fn write_cr4(&mut self, value: u64) -> Result<(), Exception> {
        let state = &*self.state;
        let changed = value ^ state.cr4;
        let invalid = value & !cr4_allowed(self.config) != 0
            || is_long(state) && (value & cr4::PAE == 0 || changed & cr4::LA57 != 0)
            || changed & value & cr4::PCIDE != 0 && (!is_long(state) || state.cr3 & 0xfff != 0);
        if invalid {
            return Err(protection(0));
        }
        let pages = state.cr0 & cr0::PG != 0;
        let reload = cr4::PGE | cr4::PSE | cr4::PAE | cr4::SMEP;
        if pages && !is_long(state) && value & cr4::PAE != 0 && changed & reload != 0 {
            self.state.pdpte = self.read_pdpte(self.state.cr3)?;
        }
        self.state.cr4 = value;
        if changed & cr4::TRANSLATION != 0 {
            self.flush_all();
        }
        self.env.state_changed();
        Ok(())
    }

    fn task_priority(&mut self) -> u64 {
        self.env.local_irq_read(TASK_PRIORITY).unwrap_or(0)
    }

    fn set_task_priority(&mut self, class: u64) -> Result<(), Exception> {
        if class > 0xf {
            return Err(protection(0));
        }
        // Without a controller nothing is held back.
        let _ = self.env.local_irq_write(TASK_PRIORITY, class);
        self.env.state_changed();
        Ok(())
    }
}

/// `read_xcr`: XGETBV.
pub(super) fn read_xcr(cpu: &mut Cpu<'_>, [n, _, _]: [u64; 3]) -> Result<u64, Exception> {
    if cpu.state.cr4 & cr4::OSXSAVE == 0 {
        return Err(undefined());
    }
    match n as u32 {
        0 => Ok(cpu.state.xcr0),
        1 if cpu.config.has(Feature::Xgetbv1) => Ok(cpu.state.xcr0),
        _ => Err(protection(0)),
    }
}

/// `write_xcr`: XSETBV.
pub(super) fn write_xcr(cpu: &mut Cpu<'_>, [n, value, _]: [u64; 3]) -> Result<u64, Exception> {
    if cpu.state.cr4 & cr4::OSXSAVE == 0 {
        return Err(undefined());
    }
    let (x87, sse, avx) = (1, 2, 4);
    let incomplete = value & x87 == 0 || value & avx != 0 && value & sse == 0;
    if n as u32 != 0 || cpu.state.cpl != 0 || incomplete || value & !cpu.config.xcr0() != 0 {
        return Err(protection(0));
    }
    cpu.state.xcr0 = value;
    cpu.env.state_changed();
    Ok(0)
}

//! CPUID, time-stamp counter and random numbers.

use super::descriptor::is_64;
use super::exception::{protection, undefined};
use super::fields::cr4;
use crate::guest::Exception;
use crate::x86::cpu::{self, Shown};
use crate::x86::helpers::Cpu;
use crate::x86::state::gpr;

/// IA32_APIC_BASE: the APIC is on.
const APIC_ON: u64 = 1 << 11;

/// `cpuid`.
pub(super) fn cpuid(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    let (leaf, subleaf) = (
        cpu.state.gpr[gpr::RAX] as u32,
        cpu.state.gpr[gpr::RCX] as u32,
    );
    let base = cpu.env.local_irq_read(super::control::APIC_BASE);
    let shown = Shown {
        apic_id: cpu.env.vcpu().0,
        osxsave: cpu.state.cr4 & cr4::OSXSAVE != 0,
        xcr0: cpu.state.xcr0,
        in_64: is_64(cpu.state),
        apic_on: base.is_some_and(|base| base & APIC_ON != 0),
    };
    let [a, b, c, d] = cpu::cpuid(cpu.config, shown, leaf, subleaf);
    for (register, word) in [(gpr::RAX, a), (gpr::RBX, b), (gpr::RCX, c), (gpr::RDX, d)] {
        cpu.state.gpr[register] = word.into();
    }
    Ok(0)
}

/// `read_tsc`: RDTSC and RDTSCP.
pub(super) fn read_tsc(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    if cpu.state.cr4 & cr4::TSD != 0 && cpu.state.cpl != 0 {
        return Err(protection(0));
    }
    Ok(cpu.tsc())
}

/// `read_tsc_aux`: RDTSCP and RDPID.
pub(super) fn read_tsc_aux(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Ok(cpu.state.tsc_aux)
}

/// `read_pmc`: there are no counters.
pub(super) fn read_pmc(_: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Err(protection(0))
}

/// `random`: RDRAND and RDSEED.
pub(super) fn random(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Ok(cpu.env.random())
}

/// `monitor`, `mwait`, `rsm`: there is none.
pub(super) fn missing(_: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Err(undefined())
}

//! Model-specific registers (Intel SDM 4, table 2-2): one row each, or each run of like ones.

use super::descriptor::is_held;
use super::exception::protection;
use super::fields::{cr0, efer};
use crate::guest::Exception;
use crate::x86::cpu::{Feature, PHYS_ADDR_BITS};
use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, seg};

type Read = fn(&mut Cpu<'_>, u32) -> Result<u64, Exception>;
type Write = fn(&mut Cpu<'_>, u32, u64) -> Result<(), Exception>;

/// What a register is.
enum Kind {
    /// It can be read only.
    Constant(u64),
    /// It reads as this; writes are lost.
    Inert(u64),
    /// A word of [`CpuState::msr_words`], with its value after reset and the bits that may be set.
    Word(usize, u64, u64),
    /// It does something.
    Does(Read, Write),
}

/// One row: the first and last number of a run, the feature that it is there with, what it is.
struct Row {
    first: u32,
    last: u32,
    feature: Option<Feature>,
    kind: Kind,
}

const fn row(first: u32, last: u32, kind: Kind) -> Row {
    Row {
        first,
        last,
        feature: None,
        kind,
    }
}

const fn with(feature: Feature, number: u32, kind: Kind) -> Row {
    Row {
        first: number,
        last: number,
        feature: Some(feature),
        kind,
    }
}

const LAST_BRANCH_AND_STEP: u64 = 3;
/// Banks of machine-check registers, and a global control register (Intel SDM 3B, 17.3.1.1).
const MCG_CAP: u64 = 10 | 1 << 8;
const FIRST_MC_BANK: u32 = 0x400;
const LAST_MC_BANK: u32 = FIRST_MC_BANK + 4 * 10 - 1;
/// Eight variable ranges, fixed ranges, write-combining (Intel SDM 3A, 13.11.1).
const MTRR_CAP: u64 = 8 | 1 << 8 | 1 << 10;
/// Locked, with nothing enabled (Intel SDM 4, IA32_FEATURE_CONTROL).
const FEATURES_LOCKED: u64 = 1;
/// Fast strings; no branch trace, no event sampling.
pub(super) const MISC_ENABLE_RESET: u64 = 1 | 1 << 11 | 1 << 12;
/// IA32_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
/// PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
const ARCH_CAPABILITIES: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 1 << 13
    | 1 << 14
    | 1 << 15
    | 1 << 20
    | 1 << 24
    | 1 << 26
    | 1 << 27
    | 1 << 62;
/// A revision of microcode that no system asks to be raised.
const MICROCODE: u64 = 0x1000 << 32;

/// The table, by number.
static TABLE: &[Row] = &[
    // IA32_P5_MC_ADDR, IA32_P5_MC_TYPE.
    row(0x00, 0x01, Kind::Inert(0)),
    row(0x10, 0x10, Kind::Does(read_tsc, write_tsc)),
    // IA32_PLATFORM_ID.
    row(0x17, 0x17, Kind::Constant(0)),
    row(0x1b, 0x1b, Kind::Does(read_apic, write_apic)),
    row(0x3a, 0x3a, Kind::Constant(FEATURES_LOCKED)),
    with(
        Feature::TscAdjust,
        0x3b,
        Kind::Does(read_tsc_adjust, write_tsc_adjust),
    ),
    // IA32_BIOS_UPDT_TRIG, IA32_BIOS_SIGN_ID.
    row(0x79, 0x79, Kind::Inert(0)),
    row(0x8b, 0x8b, Kind::Inert(MICROCODE)),
    row(0xfe, 0xfe, Kind::Constant(MTRR_CAP)),
    with(
        Feature::ArchCapabilities,
        0x10a,
        Kind::Constant(ARCH_CAPABILITIES),
    ),
    row(0x174, 0x176, Kind::Does(read_sysenter, write_sysenter)),
    row(0x179, 0x179, Kind::Constant(MCG_CAP)),
    // IA32_MCG_STATUS, IA32_MCG_CTL.
    row(0x17a, 0x17a, Kind::Word(0, 0, 7)),
    row(0x17b, 0x17b, Kind::Word(1, u64::MAX, u64::MAX)),
    row(
        0x1a0,
        0x1a0,
        Kind::Does(read_misc_enable, write_misc_enable),
    ),
    row(0x1d9, 0x1d9, Kind::Word(2, 0, LAST_BRANCH_AND_STEP)),
    row(0x1db, 0x1de, Kind::Inert(0)),
    row(0x200, 0x20f, Kind::Does(read_mtrr, write_mtrr)),
    row(0x250, 0x250, Kind::Does(read_mtrr, write_mtrr)),
    row(0x258, 0x259, Kind::Does(read_mtrr, write_mtrr)),
    row(0x268, 0x26f, Kind::Does(read_mtrr, write_mtrr)),
    row(0x277, 0x277, Kind::Does(read_pat, write_pat)),
    row(0x2ff, 0x2ff, Kind::Does(read_mtrr, write_mtrr)),
    row(FIRST_MC_BANK, LAST_MC_BANK, Kind::Does(read_mc, write_mc)),
    with(
        Feature::TscDeadline,
        0x6e0,
        Kind::Does(read_deadline, write_deadline),
    ),
    row(0x800, 0x8ff, Kind::Does(read_apic, write_apic)),
    row(0xc000_0080, 0xc000_0080, Kind::Does(read_efer, write_efer)),
    row(
        0xc000_0081,
        0xc000_0084,
        Kind::Does(read_syscall, write_syscall),
    ),
    row(0xc000_0100, 0xc000_0102, Kind::Does(read_base, write_base)),
    with(
        Feature::Rdtscp,
        0xc000_0103,
        Kind::Does(read_aux, write_aux),
    ),
];

/// The row of a register.
fn find(cpu: &Cpu<'_>, number: u32) -> Option<&'static Row> {
    let at = TABLE.partition_point(|row| row.last < number);
    let row = TABLE.get(at).filter(|row| row.first <= number)?;
    let there = row.feature.is_none_or(|feature| cpu.config.has(feature));
    there.then_some(row)
}

/// Puts the words of the table to their values after reset.
pub(super) fn reset(state: &mut CpuState) {
    state.msr_words = [0; 32];
    for row in TABLE {
        if let Kind::Word(n, value, _) = row.kind {
            state.msr_words[n] = value;
        }
    }
    state.msr_words[MachineCheck::REPORTING] = (1 << (MCG_CAP & 0xff)) - 1;
}

/// Counts an access to a register that there is not.
fn unknown(cpu: &mut Cpu<'_>, number: u32) -> Exception {
    cpu.state.unknown_msrs = [cpu.state.unknown_msrs[0].wrapping_add(1), number.into()];
    protection(0)
}

/// `read_msr`.
pub(super) fn read_msr(cpu: &mut Cpu<'_>, [number, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let number = number as u32;
    match find(cpu, number) {
        None => Err(unknown(cpu, number)),
        Some(row) => match row.kind {
            Kind::Constant(value) | Kind::Inert(value) => Ok(value),
            Kind::Word(n, _, _) => Ok(cpu.state.msr_words[n]),
            Kind::Does(read, _) => read(cpu, number),
        },
    }
}

/// `write_msr`.
pub(super) fn write_msr(cpu: &mut Cpu<'_>, [number, value, _]: [u64; 3]) -> Result<u64, Exception> {
    let number = number as u32;
    match find(cpu, number) {
        None => return Err(unknown(cpu, number)),
        Some(row) => match row.kind {
            Kind::Constant(_) => return Err(protection(0)),
            Kind::Inert(_) => {}
            Kind::Word(_, _, writable) if value & !writable != 0 => return Err(protection(0)),
            Kind::Word(n, _, _) => cpu.state.msr_words[n] = value,
            Kind::Does(_, write) => write(cpu, number, value)?,
        },
    }
    Ok(0)
}

fn check(valid: bool) -> Result<(), Exception> {
    if valid { Ok(()) } else { Err(protection(0)) }
}

impl Cpu<'_> {
    /// The time-stamp counter.
    pub(super) fn tsc(&mut self) -> u64 {
        self.env.time().wrapping_add(self.state.tsc_offset)
    }
}

fn read_tsc(cpu: &mut Cpu<'_>, _: u32) -> Result<u64, Exception> {
    Ok(cpu.tsc())
}

/// Writing the counter moves IA32_TSC_ADJUST by as much (Intel SDM 3B, 19.17.3).
fn write_tsc(cpu: &mut Cpu<'_>, _: u32, value: u64) -> Result<(), Exception> {
    cpu.state.tsc_offset = value.wrapping_sub(cpu.env.time());
    Ok(())
}

fn read_tsc_adjust(cpu: &mut Cpu<'_>, _: u32) -> Result<u64, Exception> {
    Ok(cpu.state.tsc_offset)
}

fn write_tsc_adjust(cpu: &mut Cpu<'_>, _: u32, value: u64) -> Result<(), Exception> {
    cpu.state.tsc_offset = value;
    Ok(())
}

fn read_apic(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    cpu.env.local_irq_read(number).ok_or(protection(0))
}

fn write_apic(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    if number == super::control::APIC_BASE {
        check(value >> PHYS_ADDR_BITS == 0)?;
        // The window moves.
        cpu.flush_all();
    }
    check(cpu.env.local_irq_write(number, value))?;
    cpu.env.state_changed();
    Ok(())
}

/// The deadline counts as the time-stamp counter does, the controller as the machine's time base.
fn read_deadline(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    let deadline = read_apic(cpu, number)?;
    Ok(match deadline {
        0 => 0,
        at => at.wrapping_add(cpu.state.tsc_offset),
    })
}

fn write_deadline(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    let at = match value {
        0 => 0,
        // Nought would disarm.
        value => value.wrapping_sub(cpu.state.tsc_offset).max(1),
    };
    write_apic(cpu, number, at)
}

fn read_sysenter(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    Ok(cpu.state.sysenter[(number - 0x174) as usize])
}

fn write_sysenter(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    check(number == 0x174 || is_held(cpu.config, value))?;
    let value = if number == 0x174 {
        value & 0xffff_ffff
    } else {
        value
    };
    cpu.state.sysenter[(number - 0x174) as usize] = value;
    Ok(())
}

fn read_misc_enable(cpu: &mut Cpu<'_>, _: u32) -> Result<u64, Exception> {
    Ok(cpu.state.misc_enable)
}

/// What says that there is no branch trace or event sampling stays.
fn write_misc_enable(cpu: &mut Cpu<'_>, _: u32, value: u64) -> Result<(), Exception> {
    const FIXED: u64 = 1 << 11 | 1 << 12;
    cpu.state.misc_enable = value & !FIXED | MISC_ENABLE_RESET & FIXED;
    Ok(())
}

/// Where [`CpuState::mtrr`] has a register.
fn mtrr_index(number: u32) -> usize {
    let n = match number {
        0x250 => 1,
        0x258..=0x259 => number - 0x258 + 2,
        0x268..=0x26f => number - 0x268 + 4,
        0x200..=0x20f => number - 0x200 + 12,
        _ => 0,
    };
    n as usize
}

fn read_mtrr(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    Ok(cpu.state.mtrr[mtrr_index(number)])
}

/// Whether a byte names a memory type of the MTRRs (Intel SDM 3A, table 13-8).
const fn is_memory_type(byte: u64) -> bool {
    matches!(byte, 0 | 1 | 4 | 5 | 6)
}

fn write_mtrr(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    let above = u64::MAX << PHYS_ADDR_BITS;
    let valid = match number {
        0x2ff => value & !0xcff == 0 && is_memory_type(value & 0xff),
        0x200..=0x20f if number.is_multiple_of(2) => {
            value & (above | 0xf00) == 0 && is_memory_type(value & 0xff)
        }
        0x200..=0x20f => value & (above | 0x7ff) == 0,
        _ => value
            .to_le_bytes()
            .iter()
            .all(|&byte| is_memory_type(byte.into())),
    };
    check(valid)?;
    cpu.state.mtrr[mtrr_index(number)] = value;
    Ok(())
}

fn read_pat(cpu: &mut Cpu<'_>, _: u32) -> Result<u64, Exception> {
    Ok(cpu.state.pat)
}

fn write_pat(cpu: &mut Cpu<'_>, _: u32, value: u64) -> Result<(), Exception> {
    let types = value.to_le_bytes();
    check(
        types
            .iter()
            .all(|&byte| is_memory_type(byte.into()) || byte == 7),
    )?;
    cpu.state.pat = value;
    Ok(())
}

/// A register of a bank of machine checks.
enum MachineCheck {
    /// IA32_MCi_CTL: the bit of the bank among those that report, in one word.
    Control(u64),
    /// IA32_MCi_STATUS: nothing has happened.
    Status,
    /// IA32_MCi_ADDR, IA32_MCi_MISC: the word that keeps it.
    Kept(usize),
}

impl MachineCheck {
    /// Word of [`CpuState::msr_words`] with the banks that report.
    const REPORTING: usize = 3;

    fn of(number: u32) -> Self {
        let (bank, register) = ((number - FIRST_MC_BANK) / 4, number % 4);
        match register {
            0 => Self::Control(1 << bank),
            1 => Self::Status,
            kept => Self::Kept(Self::REPORTING + 1 + (2 * bank + kept - 2) as usize),
        }
    }
}

fn read_mc(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    let words = &cpu.state.msr_words;
    Ok(match MachineCheck::of(number) {
        MachineCheck::Control(bit) if words[MachineCheck::REPORTING] & bit != 0 => u64::MAX,
        MachineCheck::Control(_) | MachineCheck::Status => 0,
        MachineCheck::Kept(word) => words[word],
    })
}

/// Other values than all ones and zero are not for software to write to what reports, nor is anything but zero to what has
/// been reported (Intel SDM 3B, 17.3.2).
fn write_mc(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    let words = &mut cpu.state.msr_words;
    match MachineCheck::of(number) {
        MachineCheck::Control(bit) => {
            check(matches!(value, 0 | u64::MAX))?;
            words[MachineCheck::REPORTING] &= !bit;
            words[MachineCheck::REPORTING] |= value & bit;
        }
        MachineCheck::Status => check(value == 0)?,
        MachineCheck::Kept(word) => words[word] = value,
    }
    Ok(())
}

fn read_efer(cpu: &mut Cpu<'_>, _: u32) -> Result<u64, Exception> {
    Ok(cpu.state.efer)
}

fn write_efer(cpu: &mut Cpu<'_>, _: u32, value: u64) -> Result<(), Exception> {
    let old = cpu.state.efer;
    let changed = value ^ old;
    check(value & !(efer::SCE | efer::LME | efer::LMA | efer::NXE) == 0)?;
    check(changed & efer::LME == 0 || cpu.state.cr0 & cr0::PG == 0)?;
    cpu.state.efer = value & !efer::LMA | old & efer::LMA;
    if changed & efer::NXE != 0 {
        cpu.flush_all();
    }
    cpu.env.state_changed();
    Ok(())
}

fn read_syscall(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    Ok(cpu.state.syscall[(number - 0xc000_0081) as usize])
}

fn write_syscall(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    let is_address = matches!(number, 0xc000_0082 | 0xc000_0083);
    check(!is_address || is_held(cpu.config, value))?;
    let value = if number == 0xc000_0084 {
        value & 0xffff_ffff
    } else {
        value
    };
    cpu.state.syscall[(number - 0xc000_0081) as usize] = value;
    Ok(())
}

fn base(state: &mut CpuState, number: u32) -> &mut u64 {
    match number {
        0xc000_0100 => &mut state.segments[seg::FS].base,
        0xc000_0101 => &mut state.segments[seg::GS].base,
        _ => &mut state.kernel_gs_base,
    }
}

fn read_base(cpu: &mut Cpu<'_>, number: u32) -> Result<u64, Exception> {
    Ok(*base(cpu.state, number))
}

fn write_base(cpu: &mut Cpu<'_>, number: u32, value: u64) -> Result<(), Exception> {
    check(is_held(cpu.config, value))?;
    *base(cpu.state, number) = value;
    Ok(())
}

fn read_aux(cpu: &mut Cpu<'_>, _: u32) -> Result<u64, Exception> {
    Ok(cpu.state.tsc_aux)
}

fn write_aux(cpu: &mut Cpu<'_>, _: u32, value: u64) -> Result<(), Exception> {
    check(value >> 32 == 0)?;
    cpu.state.tsc_aux = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_order_and_each_word_has_one_row() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].first <= pair[0].last && pair[0].last < pair[1].first);
        }
        let mut words: Vec<_> = TABLE
            .iter()
            .filter_map(|row| match row.kind {
                Kind::Word(n, ..) => Some(n),
                _ => None,
            })
            .collect();
        let all = words.len();
        words.dedup();
        assert_eq!(words.len(), all);
    }
}

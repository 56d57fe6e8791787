//! Whether the processor has an instruction.

use iced_x86::{CpuidFeature, Instruction, Mnemonic};

use crate::x86::cpu::CpuConfig;

/// Whether the configuration has every feature that the instruction belongs to.
pub(super) fn exists(config: &CpuConfig, insn: &Instruction) -> bool {
    insn.cpuid_features()
        .iter()
        .all(|&feature| is_everywhere(feature) || config.allows(feature))
}

/// What every processor with long mode has, told apart here because most instructions are of these.
fn is_everywhere(feature: CpuidFeature) -> bool {
    matches!(
        feature,
        CpuidFeature::INTEL8086
            | CpuidFeature::INTEL186
            | CpuidFeature::INTEL286
            | CpuidFeature::INTEL386
            | CpuidFeature::INTEL486
            | CpuidFeature::X64
    )
}

/// What the bytes of an instruction mean to a processor that lacks it, if that is another instruction of the same operands:
/// the prefix that makes the difference is then ignored (Intel SDM 2B, "TZCNT", 2A, "LZCNT").
pub(super) fn otherwise(insn: &Instruction) -> Option<Mnemonic> {
    match insn.mnemonic() {
        Mnemonic::Tzcnt => Some(Mnemonic::Bsf),
        Mnemonic::Lzcnt => Some(Mnemonic::Bsr),
        Mnemonic::Wbnoinvd => Some(Mnemonic::Wbinvd),
        _ => None,
    }
}

/// Whether the instruction does nothing on processors that lack it: those at opcodes that are reserved for hints
/// (Intel SDM 2B, "NOP"; Intel SDM 1, 17.2).
pub(super) fn is_hint(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        Mnemonic::Rdsspd
            | Mnemonic::Rdsspq
            | Mnemonic::Endbr32
            | Mnemonic::Endbr64
            | Mnemonic::Prefetchw
            | Mnemonic::Prefetchwt1
            | Mnemonic::Prefetch
            | Mnemonic::Prefetchit0
            | Mnemonic::Prefetchit1
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
            | Mnemonic::Cldemote
            | Mnemonic::Reservednop
    )
}

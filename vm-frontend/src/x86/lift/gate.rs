//! Whether the processor has an instruction.

use iced_x86::{CpuidFeature, DecoderOptions, Instruction, Mnemonic};

use crate::x86::cpu::CpuConfig;

/// How bytes are taken that mean something else on processors without a feature.
pub(super) fn decoder_options(config: &CpuConfig) -> u32 {
    let without = |feature, option| if config.allows(feature) { 0 } else { option };
    without(CpuidFeature::BMI1, DecoderOptions::NO_MPFX_0FBC)
        | without(CpuidFeature::LZCNT, DecoderOptions::NO_MPFX_0FBD)
        | without(CpuidFeature::WBNOINVD, DecoderOptions::NO_WBNOINVD)
}

/// Whether the configuration has every feature that the instruction belongs to.
pub(super) fn exists(config: &CpuConfig, insn: &Instruction) -> bool {
    insn.cpuid_features()
        .iter()
        .all(|&feature| config.allows(feature))
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

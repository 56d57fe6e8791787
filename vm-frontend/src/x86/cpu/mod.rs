//! What a processor can do, and how CPUID tells it.
//!
//! The processor says of itself that it is Intel's, of family 6, model 0x36: of that vendor Linux takes the frequencies of
//! time-stamp counter and APIC timer from leaf 0x15, and of that model it knows that it does not execute speculatively,
//! as is true here, so that no mitigation costs anything.

mod cpuid;
mod feature;
mod model;
mod parse;

pub use cpuid::{Shown, cpuid};
pub use feature::{Feature, FeatureInfo, Features, Level, Register};
pub use model::CpuModel;
pub use parse::CpuError;

use iced_x86::CpuidFeature;

/// Bits of a physical address.
pub const PHYS_ADDR_BITS: u32 = 40;

/// Ticks of the time-stamp counter in a second, and of the local APIC's timer before it is divided. The machine's time base
/// counts as fast.
pub const TSC_HZ: u64 = 1_000_000_000;

/// Features of a processor, and how many there are in the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuConfig {
    /// What CPUID tells.
    pub features: Features,
    /// The name of the model it came from.
    pub model: &'static str,
    /// Processors of the machine, each a core of one package.
    pub cpus: u32,
}

impl Default for CpuConfig {
    fn default() -> Self {
        CpuModel::ALL[0].config()
    }
}

impl CpuConfig {
    /// Whether it has a feature.
    pub const fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// Whether it has the instructions that iced-x86 files under `kind`.
    pub fn allows(&self, kind: CpuidFeature) -> bool {
        use CpuidFeature as Kind;
        match Feature::of_instructions(kind) {
            Some(feature) => self.has(feature),
            // What every processor with long mode has, whatever CPUID says; of CET the hints, which do nothing.
            None => matches!(
                kind,
                Kind::INTEL8086
                    | Kind::INTEL186
                    | Kind::INTEL286
                    | Kind::INTEL386
                    | Kind::INTEL486
                    | Kind::CPUID
                    | Kind::RDPMC
                    | Kind::PAUSE
                    | Kind::MULTIBYTENOP
                    | Kind::CET_IBT
            ),
        }
    }

    /// Bits of XCR0 that can be set (Intel SDM 1, 13.3).
    pub const fn xcr0(&self) -> u64 {
        if self.has(Feature::Avx) { 7 } else { 3 }
    }
}

#[cfg(test)]
mod tests;

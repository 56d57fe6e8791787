//! CPU models: named starting points that `--cpu MODEL,+ext,-ext,key=value` changes.

use super::Extension::{Smdbltrp, Ssdbltrp, Ssstateen, Zbkc, Zbkx, Zcb, Zcmop, Zfh, Zimop};
use super::{AdUpdate, Extension, Extensions, IsaConfig, SatpMode};

/// A named set of features.
pub struct CpuModel {
    /// The name on the command line.
    pub name: &'static str,
    /// One line for `--cpu help`.
    pub summary: &'static str,
    config: fn() -> IsaConfig,
}

impl CpuModel {
    /// Every model; the first one is the default.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "debian",
            summary: "what Debian's kernel and programs make use of, Sv39",
            config: || {
                let unused = [Zfh, Zcb, Zcmop, Zimop, Zbkc, Zbkx, Ssdbltrp, Ssstateen];
                let mut config = full(SatpMode::Sv39);
                for extension in unused {
                    config.extensions = config.extensions.without(extension);
                }
                config
            },
        },
        Self {
            name: "rv64",
            summary: "plain RV64GC with Sv39 and software A/D bits",
            config: plain,
        },
        Self {
            name: "max",
            summary: "all extensions but Smdbltrp, paging up to Sv57, 64 PMP entries",
            config: || IsaConfig {
                pmp_entries: 64,
                ..full(SatpMode::Sv57)
            },
        },
    ];

    /// The model with this name.
    pub fn from_name(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|model| model.name == name)
    }

    /// The features of the model.
    pub fn config(&self) -> IsaConfig {
        (self.config)()
    }
}

fn full(satp: SatpMode) -> IsaConfig {
    let mut config = IsaConfig {
        // After reset it makes traps fatal in machine mode, which programs that do not know it never change.
        extensions: Extensions::ALL.without(Smdbltrp),
        satp,
        pmp_entries: 16,
    };
    config.set_ad_update(AdUpdate::Hardware);
    config
}

fn plain() -> IsaConfig {
    use Extension::{A, C, D, F, I, M, Zca, Zicntr, Zicsr, Zifencei, Zihpm};
    let extensions = Extensions::of(&[I, M, A, F, D, C, Zca, Zicsr, Zifencei, Zicntr, Zihpm]);
    let mut config = IsaConfig {
        extensions,
        satp: SatpMode::Sv39,
        pmp_entries: 16,
    };
    config.set_ad_update(AdUpdate::Software);
    config
}

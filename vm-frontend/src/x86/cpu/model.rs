//! CPU models: named starting points that `--cpu MODEL,+feature,-feature` changes.

use super::{CpuConfig, Features, Level};

/// A named set of features.
pub struct CpuModel {
    /// The name on the command line.
    pub name: &'static str,
    /// One line for `--cpu help`.
    pub summary: &'static str,
    level: Level,
}

impl CpuModel {
    /// Every model; the first one is the default.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "x86-64-v2",
            summary: "SSE4.2, POPCNT, CMPXCHG16B: what most systems ask for",
            level: Level::V2,
        },
        Self {
            name: "x86-64-v3",
            summary: "AVX2, BMI2, FMA, F16C, MOVBE, XSAVE on top",
            level: Level::V3,
        },
        Self {
            name: "x86-64-v1",
            summary: "plain x86-64 with SSE2, and what Windows asks for",
            level: Level::Common,
        },
        Self {
            name: "max",
            summary: "every feature there is",
            level: Level::Max,
        },
    ];

    /// The model with this name.
    pub fn from_name(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|model| model.name == name)
    }

    /// The features of the model, on a machine of one processor.
    pub fn config(&self) -> CpuConfig {
        CpuConfig {
            features: Features::up_to(self.level),
            model: self.name,
            cpus: 1,
        }
    }
}

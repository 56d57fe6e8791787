//! Guest architectures.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A guest's instruction set architecture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GuestArch {
    /// AMD64 / Intel 64.
    X86_64,
    /// Armv8-A and later, 64-bit state.
    Aarch64,
    /// RISC-V with 64-bit registers.
    Riscv64,
}

impl GuestArch {
    /// Those that this program has a machine for.
    pub const WITH_MACHINE: &[Self] = &[Self::Riscv64, Self::X86_64];

    /// Whether this program has a machine of this architecture.
    pub fn has_machine(self) -> bool {
        Self::WITH_MACHINE.contains(&self)
    }

    /// The names of those, for messages.
    pub fn machines() -> String {
        let names = Self::WITH_MACHINE.iter().map(|arch| arch.name());
        names.collect::<Vec<_>>().join(" or ")
    }

    /// The name used on the command line and in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }
}

impl fmt::Display for GuestArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of an architecture was not recognised.
#[derive(Debug, thiserror::Error)]
#[error("unknown architecture '{0}': use {machines}", machines = GuestArch::machines())]
pub struct UnknownArch(pub String);

impl FromStr for GuestArch {
    type Err = UnknownArch;
    fn from_str(s: &str) -> Result<Self, UnknownArch> {
        match s {
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "aarch64" | "arm64" => Ok(Self::Aarch64),
            "riscv64" => Ok(Self::Riscv64),
            other => Err(UnknownArch(other.to_owned())),
        }
    }
}

impl TryFrom<String> for GuestArch {
    type Error = UnknownArch;
    fn try_from(text: String) -> Result<Self, UnknownArch> {
        text.parse()
    }
}

impl From<GuestArch> for String {
    fn from(arch: GuestArch) -> Self {
        arch.to_string()
    }
}

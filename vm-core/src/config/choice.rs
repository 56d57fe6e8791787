//! Choices of one word.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::options::{FromOsStr, from_str_as_os_str};
use crate::{GuestArch, UnknownArch};

/// How a choice is written in a file: as on the command line.
macro_rules! written_as_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = ConfigError;
            fn try_from(text: String) -> Result<Self, ConfigError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}
pub(super) use written_as_text;

/// The guest's architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ArchChoice {
    /// That of the kernel, by the first bytes of its file; RISC-V 64 when they do not say, or there is none.
    #[default]
    Auto,
    /// This one.
    Is(GuestArch),
}

impl ArchChoice {
    /// Every choice.
    pub fn words() -> impl Iterator<Item = &'static str> {
        let machines = GuestArch::WITH_MACHINE.iter().map(|arch| arch.name());
        std::iter::once("auto").chain(machines)
    }
}

impl From<GuestArch> for ArchChoice {
    fn from(arch: GuestArch) -> Self {
        Self::Is(arch)
    }
}

impl FromStr for ArchChoice {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Is),
        }
    }
}

impl fmt::Display for ArchChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Is(arch) => arch.fmt(f),
        }
    }
}

impl TryFrom<String> for ArchChoice {
    type Error = UnknownArch;
    fn try_from(text: String) -> Result<Self, UnknownArch> {
        text.parse()
    }
}

impl From<ArchChoice> for String {
    fn from(choice: ArchChoice) -> Self {
        choice.to_string()
    }
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Accel {
    /// The best there is for this guest on this host.
    #[default]
    Auto,
    /// The interpreter.
    Interp,
    /// Guest code translated to host code.
    Jit,
}

impl Accel {
    /// Every choice.
    pub const WORDS: [&str; 3] = ["auto", "jit", "interp"];
}

impl FromStr for Accel {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "auto" => Ok(Self::Auto),
            "interp" => Ok(Self::Interp),
            "jit" => Ok(Self::Jit),
            "kvm" | "hvf" | "whp" | "tcg" => Err(ConfigError::NotBuilt(format!(
                "this program has no accelerator '{text}': use auto, jit or interp"
            ))),
            other => Err(ConfigError::unknown("accelerator", other, &Self::WORDS)),
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Interp => "interp",
            Self::Jit => "jit",
        })
    }
}

/// What runs before the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Bios {
    /// The firmware interface that the virtual machine has built in.
    #[default]
    Builtin,
    /// Nothing: the kernel file is entered in the most privileged mode.
    None,
    /// The SeaBIOS of the host, for a PC.
    Seabios,
    /// The UEFI firmware of the host, for a PC.
    Uefi,
    /// A firmware file.
    File(PathBuf),
}

impl Bios {
    /// The choices that are a word alone.
    pub const WORDS: [&str; 4] = ["builtin", "none", "seabios", "uefi"];
}

impl FromOsStr for Bios {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        match text.to_str() {
            Some("builtin") => Ok(Self::Builtin),
            Some("none") => Ok(Self::None),
            Some("seabios") => Ok(Self::Seabios),
            Some("uefi") => Ok(Self::Uefi),
            Some("") => Err(ConfigError::Missing(
                "no firmware is named: give a file, none, builtin, seabios or uefi",
            )),
            _ => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for Bios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::None => f.write_str("none"),
            Self::Seabios => f.write_str("seabios"),
            Self::Uefi => f.write_str("uefi"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What a PC has for a display.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DisplayChoice {
    /// A VGA where firmware runs first, and nothing else where a kernel does.
    #[default]
    Auto,
    /// A VGA with the extensions of Bochs.
    Vga,
    /// A frame buffer in RAM, which UEFI firmware sets up.
    Ramfb,
    /// Nothing.
    None,
}

impl DisplayChoice {
    /// Every choice.
    pub const WORDS: [&str; 4] = ["auto", "vga", "ramfb", "none"];
}

impl FromStr for DisplayChoice {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "auto" => Ok(Self::Auto),
            "vga" => Ok(Self::Vga),
            "ramfb" => Ok(Self::Ramfb),
            "none" => Ok(Self::None),
            other => Err(ConfigError::unknown("display", other, &Self::WORDS)),
        }
    }
}

impl fmt::Display for DisplayChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Vga => "vga",
            Self::Ramfb => "ramfb",
            Self::None => "none",
        })
    }
}

/// How virtio devices are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum VirtioTransport {
    /// As PCI Express functions.
    #[default]
    Pci,
    /// As memory-mapped register blocks.
    Mmio,
}

impl VirtioTransport {
    /// Every choice.
    pub const WORDS: [&str; 2] = ["pci", "mmio"];
}

impl FromStr for VirtioTransport {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "pci" => Ok(Self::Pci),
            "mmio" => Ok(Self::Mmio),
            other => Err(ConfigError::unknown(
                "virtio transport",
                other,
                &Self::WORDS,
            )),
        }
    }
}

impl fmt::Display for VirtioTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pci => "pci",
            Self::Mmio => "mmio",
        })
    }
}

/// What is shown of translated code: `ir`, `asm` or both with a comma between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Dump {
    /// The intermediate representation.
    pub ir: bool,
    /// The host's instructions.
    pub asm: bool,
}

impl Dump {
    /// Every choice.
    pub const WORDS: [&str; 3] = ["ir", "asm", "ir,asm"];
}

impl FromStr for Dump {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut dump = Self::default();
        for word in text.split(',') {
            match word {
                "ir" => dump.ir = true,
                "asm" => dump.asm = true,
                other => return Err(ConfigError::unknown("dump", other, &["ir", "asm"])),
            }
        }
        Ok(dump)
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.ir, self.asm) {
            (true, true) => "ir,asm",
            (true, false) => "ir",
            _ => "asm",
        })
    }
}

/// Guest-virtual addresses of code, in hexadecimal: `PC`, or `FIRST-LAST`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PcRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl FromStr for PcRange {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let number = |word: &str| {
            u64::from_str_radix(word.trim_start_matches("0x"), 16).map_err(|_| {
                ConfigError::malformed(
                    "code address",
                    text,
                    "is not hexadecimal: write it as 80200000, or 80200000-80201fff",
                )
            })
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text)?, number(text)?),
        };
        Ok(Self { first, last })
    }
}

impl fmt::Display for PcRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{:x}", self.first);
        }
        write!(f, "{:x}-{:x}", self.first, self.last)
    }
}

from_str_as_os_str!(Bios);
written_as_text!(Accel Bios DisplayChoice Dump PcRange VirtioTransport);

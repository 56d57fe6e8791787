//! Choices of one word.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;

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
            other => Err(ConfigError::unknown(
                "accelerator",
                other,
                &["auto", "jit", "interp"],
            )),
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
    /// A firmware file.
    File(PathBuf),
}

impl FromStr for Bios {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "builtin" => Ok(Self::Builtin),
            "none" => Ok(Self::None),
            "" => Err(ConfigError::Missing(
                "no firmware is named: give a file, none or builtin",
            )),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for Bios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::None => f.write_str("none"),
            Self::File(path) => path.display().fmt(f),
        }
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

impl FromStr for VirtioTransport {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "pci" => Ok(Self::Pci),
            "mmio" => Ok(Self::Mmio),
            other => Err(ConfigError::unknown(
                "virtio transport",
                other,
                &["pci", "mmio"],
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

written_as_text!(Accel Bios VirtioTransport);

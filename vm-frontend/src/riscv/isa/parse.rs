//! Parsing of `MODEL,+ext,-ext,key=value`.

use std::str::FromStr;

use super::{AdUpdate, CpuModel, Extension, IsaConfig, SatpMode};
use crate::hint::did_you_mean;

/// Why a CPU description was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// No model has this name.
    #[error("unknown RISC-V CPU model '{name}'{hint}: use {}", model_names())]
    UnknownModel {
        /// The name given.
        name: String,
        /// `" (did you mean 'x'?)"` or nothing.
        hint: String,
    },
    /// No extension has this name.
    #[error("unknown RISC-V extension '{name}'{hint}: use {}", extension_names())]
    UnknownExtension {
        /// The name given.
        name: String,
        /// `" (did you mean 'x'?)"` or nothing.
        hint: String,
    },
    /// No option has this name.
    #[error(
        "unknown RISC-V CPU option '{name}'{hint}: use satp=, pmp= or an extension's name with =on or =off"
    )]
    UnknownKey {
        /// The name given.
        name: String,
        /// `" (did you mean 'x'?)"` or nothing.
        hint: String,
    },
    /// An option does not have this value.
    #[error("'{value}' is no value for the RISC-V CPU option '{key}': use {allowed}")]
    BadValue {
        /// The option.
        key: String,
        /// The value given.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// An item is neither `+ext`, `-ext` nor `key=value`.
    #[error(
        "'{0}' in a RISC-V CPU description: write +{0} to add an extension, -{0} to remove it, or key=value"
    )]
    NoSign(String),
    /// The base cannot be removed.
    #[error("RISC-V extension '{0}' cannot be removed: {1}")]
    Fixed(&'static str, &'static str),
}

fn model_names() -> String {
    CpuModel::ALL
        .iter()
        .map(|model| model.name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn extension_names() -> String {
    Extension::ALL
        .iter()
        .map(|ext| ext.name())
        .collect::<Vec<_>>()
        .join(" ")
}

fn extension(name: &str) -> Result<Extension, CpuError> {
    Extension::from_name(name).ok_or_else(|| CpuError::UnknownExtension {
        name: name.to_owned(),
        hint: did_you_mean(name, Extension::ALL.iter().map(|ext| ext.name())),
    })
}

impl Default for IsaConfig {
    fn default() -> Self {
        CpuModel::ALL[0].config()
    }
}

/// Parses `MODEL,+ext,-ext,key=value`; items apply from left to right, and the model may be left out.
impl FromStr for IsaConfig {
    type Err = CpuError;

    fn from_str(text: &str) -> Result<Self, CpuError> {
        let mut items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .peekable();
        let named = items.next_if(|item| !item.starts_with(['+', '-']) && !item.contains('='));
        let mut config = match named {
            None => Self::default(),
            Some(name) => CpuModel::from_name(name)
                .ok_or_else(|| CpuError::UnknownModel {
                    name: name.to_owned(),
                    hint: did_you_mean(name, CpuModel::ALL.iter().map(|model| model.name)),
                })?
                .config(),
        };
        for item in items {
            config.apply(item)?;
        }
        Ok(config)
    }
}

impl IsaConfig {
    fn apply(&mut self, item: &str) -> Result<(), CpuError> {
        if let Some(name) = item.strip_prefix('+') {
            return self.switch(extension(name)?, true);
        }
        if let Some(name) = item.strip_prefix('-') {
            return self.switch(extension(name)?, false);
        }
        match item.split_once('=') {
            Some((key, value)) => self.set(key, value),
            None => Err(CpuError::NoSign(item.to_owned())),
        }
    }

    fn switch(&mut self, ext: Extension, on: bool) -> Result<(), CpuError> {
        match (ext, on) {
            (Extension::Svade, _) | (Extension::Svadu, _) => {
                let software = (ext == Extension::Svade) == on;
                self.set_ad_update(if software {
                    AdUpdate::Software
                } else {
                    AdUpdate::Hardware
                });
            }
            (Extension::I, false) => return Err(CpuError::Fixed("i", "it is the base")),
            (Extension::Zicsr, false) => {
                return Err(CpuError::Fixed(
                    "zicsr",
                    "the privileged architecture needs it",
                ));
            }
            // It names them all, and so does leaving it out.
            (Extension::C, false) => self.extensions = self.extensions.without(Extension::Zca),
            (_, true) => self.extensions = self.extensions.with(ext),
            (_, false) => self.extensions = self.extensions.without(ext),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), CpuError> {
        let bad = |allowed: String| CpuError::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        match key {
            "satp" => {
                let names = || {
                    SatpMode::ALL
                        .iter()
                        .map(|mode| mode.name())
                        .collect::<Vec<_>>()
                };
                let mode = SatpMode::ALL.iter().find(|mode| mode.name() == value);
                self.satp = *mode.ok_or_else(|| bad(names().join(", ")))?;
            }
            "pmp" => {
                self.pmp_entries = match value {
                    "0" => 0,
                    "16" => 16,
                    "64" => 64,
                    _ => return Err(bad("0, 16 or 64".to_owned())),
                }
            }
            _ => {
                let ext = Extension::from_name(key).ok_or_else(|| CpuError::UnknownKey {
                    name: key.to_owned(),
                    hint: did_you_mean(
                        key,
                        ["satp", "pmp"]
                            .into_iter()
                            .chain(Extension::ALL.iter().map(|e| e.name())),
                    ),
                })?;
                match value {
                    "on" | "true" => self.switch(ext, true)?,
                    "off" | "false" => self.switch(ext, false)?,
                    _ => return Err(bad("on or off".to_owned())),
                }
            }
        }
        Ok(())
    }
}

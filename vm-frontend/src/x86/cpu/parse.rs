//! Parsing of `MODEL,+feature,-feature`.

use std::str::FromStr;

use super::{CpuConfig, CpuModel, Feature, Level};
use crate::hint::did_you_mean;

/// Why a CPU description was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// No model has this name.
    #[error("unknown x86-64 CPU model '{name}'{hint}: use {}", model_names())]
    UnknownModel {
        /// The name given.
        name: String,
        /// `" (did you mean 'x'?)"` or nothing.
        hint: String,
    },
    /// No feature has this name.
    #[error("unknown x86-64 CPU feature '{name}'{hint}: use {}", feature_names())]
    UnknownFeature {
        /// The name given.
        name: String,
        /// `" (did you mean 'x'?)"` or nothing.
        hint: String,
    },
    /// An item has no sign.
    #[error(
        "'{0}' in an x86-64 CPU description: write +{0} to add a feature, or -{0} to remove it"
    )]
    NoSign(String),
    /// Every x86-64 processor of the machine has it.
    #[error("x86-64 CPU feature '{0}' cannot be removed: every model has it")]
    Fixed(&'static str),
}

fn model_names() -> String {
    let names = CpuModel::ALL.iter().map(|model| model.name);
    names.collect::<Vec<_>>().join(", ")
}

fn feature_names() -> String {
    let names = Feature::TABLE.iter().map(|row| row.name);
    names.collect::<Vec<_>>().join(" ")
}

fn feature(name: &str) -> Result<Feature, CpuError> {
    Feature::from_name(name).ok_or_else(|| CpuError::UnknownFeature {
        name: name.to_owned(),
        hint: did_you_mean(name, Feature::TABLE.iter().map(|row| row.name)),
    })
}

/// Parses `MODEL,+feature,-feature`; items apply from left to right, and the model may be left out.
impl FromStr for CpuConfig {
    type Err = CpuError;

    fn from_str(text: &str) -> Result<Self, CpuError> {
        let mut config = Self::default();
        for (n, item) in text.split(',').map(str::trim).enumerate() {
            if let Some(name) = item.strip_prefix('+') {
                config.features = config.features.with(feature(name)?);
            } else if let Some(name) = item.strip_prefix('-') {
                let feature = feature(name)?;
                if feature.info().level == Level::Base {
                    return Err(CpuError::Fixed(feature.info().name));
                }
                config.features = config.features.without(feature);
            } else if n == 0 && !item.is_empty() {
                let model = CpuModel::from_name(item).ok_or_else(|| CpuError::UnknownModel {
                    name: item.to_owned(),
                    hint: did_you_mean(item, CpuModel::ALL.iter().map(|model| model.name)),
                })?;
                config = model.config();
            } else if !item.is_empty() {
                return Err(CpuError::NoSign(item.to_owned()));
            }
        }
        Ok(config)
    }
}

//! Sizes with a unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::ConfigError;
use super::choice::written_as_text;

/// A number of bytes, written with a unit: `512M`, `1G`, `1536MiB`. Units are powers of 1024.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl ByteSize {
    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// Parses a size of RAM: a number without a unit is one of MiB, as everybody expects of it.
    ///
    /// # Errors
    /// When the text is no size.
    pub fn of_ram(text: &str) -> Result<Self, ConfigError> {
        let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        match plain {
            true => format!("{text}M").parse(),
            false => text.parse(),
        }
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refuse = |problem: &str| ConfigError::malformed("size", text, problem);
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let unit = unit.trim().to_ascii_uppercase();
        let unit = unit
            .strip_suffix("IB")
            .or(unit.strip_suffix('B'))
            .unwrap_or(&unit);
        let shift = UNITS
            .iter()
            .find(|(letter, _)| unit.len() == 1 && unit.starts_with(*letter))
            .map(|(_, shift)| *shift)
            .ok_or_else(|| refuse("needs a unit: write K, M, G or T behind the number, as 512M"))?;
        let no_number = || refuse("is no number with a unit: write it as 512M or 1.5G");
        let bytes = match number.split_once('.') {
            None => number
                .parse::<u64>()
                .map_err(|_| no_number())?
                .checked_mul(1 << shift),
            Some((whole, part)) if !part.is_empty() && part.len() <= 6 => {
                let whole: u64 = whole.parse().map_err(|_| no_number())?;
                let digits: u64 = part.parse().map_err(|_| no_number())?;
                let part = (u128::from(digits) << shift) / 10_u128.pow(part.len() as u32);
                whole
                    .checked_mul(1 << shift)
                    .and_then(|bytes| bytes.checked_add(part as u64))
            }
            Some(_) => return Err(no_number()),
        };
        match bytes {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            Some(_) => Err(refuse("is nothing: give at least one byte")),
            None => Err(refuse("is more than 64 bits hold: give a smaller one")),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .rev()
            .find(|(_, shift)| self.0 >= 1 << shift && self.0.trailing_zeros() >= *shift);
        match unit {
            Some((letter, shift)) => write!(f, "{}{letter}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl From<u64> for ByteSize {
    /// So many bytes.
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

written_as_text!(ByteSize CodeCache);

/// How much host memory translated code may take: `auto`, or a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CodeCache {
    /// As much as the guest's programs need, up to a part of the host's memory.
    #[default]
    Auto,
    /// So many bytes.
    Size(ByteSize),
}

impl CodeCache {
    /// Of `auto`, the part of the host's free memory.
    const PART: u64 = 8;
    /// Of `auto`, at least.
    const LEAST: ByteSize = ByteSize::mib(16);
    /// Of `auto`, at most.
    const MOST: ByteSize = ByteSize::mib(1024);

    /// The most bytes that code may take on a host where `free` tells the bytes that are free.
    pub fn limit_bytes(self, free: impl FnOnce() -> u64) -> u64 {
        match self {
            Self::Auto => (free() / Self::PART).clamp(Self::LEAST.0, Self::MOST.0),
            Self::Size(size) => size.0,
        }
    }
}

impl From<ByteSize> for CodeCache {
    fn from(size: ByteSize) -> Self {
        Self::Size(size)
    }
}

impl From<u64> for CodeCache {
    /// So many bytes.
    fn from(bytes: u64) -> Self {
        Self::Size(ByteSize(bytes))
    }
}

impl FromStr for CodeCache {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "auto" => Ok(Self::Auto),
            size => size.parse().map(Self::Size),
        }
    }
}

impl fmt::Display for CodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Size(size) => size.fmt(f),
        }
    }
}

/// How a file writes a size of RAM: as text, or as a number of MiB.
pub(super) fn deserialize_ram<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<ByteSize>, D::Error> {
    struct Ram;

    impl de::Visitor<'_> for Ram {
        type Value = ByteSize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size as \"512M\", or a number of MiB")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
            ByteSize::of_ram(text).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteSize, E> {
            ByteSize::of_ram(&number.to_string()).map_err(E::custom)
        }
    }

    from.deserialize_any(Ram).map(Some)
}

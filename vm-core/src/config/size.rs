//! Sizes with a unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;

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

impl TryFrom<String> for ByteSize {
    type Error = ConfigError;
    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

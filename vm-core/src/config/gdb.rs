//! Where debuggers connect.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::choice::written_as_text;
use super::{ConfigError, options};

/// Where debuggers connect, and whether the guest waits for the first: `[ADDRESS:PORT][,wait=on|off]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GdbConfig {
    /// `ADDRESS:PORT`, in one of the forms that the debugger's server takes.
    pub address: String,
    /// Whether the guest's first instruction waits until a debugger lets it go on.
    pub wait: bool,
}

impl Default for GdbConfig {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:1234".to_owned(),
            wait: true,
        }
    }
}

impl FromStr for GdbConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut gdb = Self::default();
        for (number, (key, value)) in options::items(text.as_ref()).into_iter().enumerate() {
            match key.to_str().unwrap_or_default() {
                "wait" => gdb.wait = options::switch("wait", value.as_deref())?,
                address if number == 0 && value.is_none() => gdb.address = address.to_owned(),
                _ => return Err(options::unknown("gdb option", &key, &["wait"])),
            }
        }
        Ok(gdb)
    }
}

impl fmt::Display for GdbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = if self.wait { "" } else { ",wait=off" };
        write!(f, "{}{wait}", self.address)
    }
}

written_as_text!(GdbConfig);

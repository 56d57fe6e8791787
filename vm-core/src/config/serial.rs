//! What a serial port or console is connected to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::choice::written_as_text;

/// What a serial port or console is connected to: `stdio`, `file:PATH`, `unix:PATH`, `pty` or `null`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SerialConfig {
    /// Standard input and output.
    Stdio,
    /// Output goes to a file, which is made anew; there is no input.
    File(PathBuf),
    /// A socket that one client at a time connects to.
    Unix(PathBuf),
    /// A new pseudo-terminal.
    Pty,
    /// Nothing.
    Null,
}

const KINDS: [&str; 5] = ["stdio", "file:PATH", "unix:PATH", "pty", "null"];

impl FromStr for SerialConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.split_once(':') {
            Some(("file" | "unix", "")) => Err(ConfigError::malformed(
                "serial port",
                text,
                "has no path: write it behind the colon",
            )),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            _ => match text {
                "stdio" => Ok(Self::Stdio),
                "pty" => Ok(Self::Pty),
                "null" | "none" => Ok(Self::Null),
                other => Err(ConfigError::unknown("serial port", other, &KINDS)),
            },
        }
    }
}

impl fmt::Display for SerialConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio => f.write_str("stdio"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Pty => f.write_str("pty"),
            Self::Null => f.write_str("null"),
        }
    }
}

written_as_text!(SerialConfig);

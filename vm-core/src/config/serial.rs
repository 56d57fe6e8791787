//! What a serial port or console is connected to.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use clap_lex::OsStrExt as _;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::choice::written_as_text;
use super::options::{self, FromOsStr, from_str_as_os_str};

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

impl SerialConfig {
    /// The choices that are a word alone.
    pub const WORDS: [&str; 3] = ["stdio", "pty", "null"];
}

impl FromOsStr for SerialConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        for (prefix, make) in [
            ("file:", Self::File as fn(PathBuf) -> Self),
            ("unix:", Self::Unix),
        ] {
            match text.strip_prefix(prefix) {
                None => {}
                Some(path) if path.is_empty() => {
                    return Err(ConfigError::malformed(
                        "serial port",
                        prefix,
                        "has no path: write it behind the colon",
                    ));
                }
                Some(path) => return Ok(make(path.into())),
            }
        }
        match text.to_str() {
            Some("stdio") => Ok(Self::Stdio),
            Some("pty") => Ok(Self::Pty),
            Some("null" | "none") => Ok(Self::Null),
            _ => Err(options::unknown("serial port", text, &KINDS)),
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

from_str_as_os_str!(SerialConfig);
written_as_text!(SerialConfig);

//! How a run goes on for its user: the key that leads to this program, and what happens when the guest panics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::choice::written_as_text;

/// The control key behind which the next key is for this program instead of the guest: `ctrl-a`, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EscapeKey(Option<u8>);

/// Bits that a control key keeps of its letter (ECMA-48, 5.2).
const CONTROL_MASK: u8 = 0x1f;

impl EscapeKey {
    /// Every key is the guest's.
    pub const NONE: Self = Self(None);

    /// The byte that a terminal sends for it.
    pub fn byte(self) -> Option<u8> {
        self.0
    }

    /// The letter that is pressed together with Ctrl.
    pub fn letter(self) -> Option<char> {
        self.0.map(|byte| char::from(byte | !CONTROL_MASK & 0x5f))
    }
}

impl Default for EscapeKey {
    fn default() -> Self {
        Self(Some(b'A' & CONTROL_MASK))
    }
}

impl FromStr for EscapeKey {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = |why| ConfigError::malformed("escape key", text, why);
        let lower = text.to_ascii_lowercase();
        if lower == "none" {
            return Ok(Self::NONE);
        }
        let letter = ["ctrl-", "ctrl+", "c-", "^"]
            .into_iter()
            .find_map(|prefix| lower.strip_prefix(prefix));
        match letter.map(str::as_bytes) {
            Some(b"i" | b"j" | b"m") => {
                Err(wrong("is Tab or Enter for a terminal: choose another"))
            }
            Some(&[letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
                Ok(Self(Some(letter & CONTROL_MASK)))
            }
            _ => Err(wrong(
                "is no control key: write ctrl-a to ctrl-z, ctrl-] or the like, or none",
            )),
        }
    }
}

impl fmt::Display for EscapeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.letter() {
            Some(letter) => write!(f, "ctrl-{}", letter.to_ascii_lowercase()),
            None => f.write_str("none"),
        }
    }
}

/// What happens when the guest's kernel has panicked and does not ask for a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnPanic {
    /// The machine stands still, to be looked at.
    #[default]
    Wait,
    /// The machine ends.
    Stop,
}

impl FromStr for OnPanic {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "wait" => Ok(Self::Wait),
            "stop" => Ok(Self::Stop),
            other => Err(ConfigError::unknown(
                "reaction to a panic",
                other,
                &["stop", "wait"],
            )),
        }
    }
}

impl fmt::Display for OnPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "wait",
            Self::Stop => "stop",
        })
    }
}

written_as_text!(EscapeKey OnPanic);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_key_has_the_byte_that_terminals_send() {
        for (text, byte, written) in [
            ("ctrl-a", Some(0x01), "ctrl-a"),
            ("Ctrl-B", Some(0x02), "ctrl-b"),
            ("^]", Some(0x1d), "ctrl-]"),
            ("C-^", Some(0x1e), "ctrl-^"),
            ("ctrl+\\", Some(0x1c), "ctrl-\\"),
            ("ctrl-@", Some(0x00), "ctrl-@"),
            ("none", None, "none"),
        ] {
            let key: EscapeKey = text.parse().unwrap();
            assert_eq!((key.byte(), key.to_string().as_str()), (byte, written));
        }
        assert_eq!(EscapeKey::default().to_string(), "ctrl-a");
    }

    #[test]
    fn escape_key_that_is_none_is_refused() {
        for text in ["a", "ctrl-", "ctrl-aa", "ctrl-1", "", "ctrl-m", "^I"] {
            assert!(text.parse::<EscapeKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn on_panic_is_written_as_it_is_read() {
        for text in ["stop", "wait"] {
            assert_eq!(text.parse::<OnPanic>().unwrap().to_string(), text);
        }
        let error = "stopp".parse::<OnPanic>().unwrap_err().to_string();
        assert!(error.contains("did you mean 'stop'?"), "{error}");
    }
}

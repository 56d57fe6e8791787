//! What the guest's real-time clock shows.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::choice::written_as_text;

/// What the guest's real-time clock shows when the machine starts: `utc`, `local`, or a time as `2027-01-31T12:00:00`. It
/// goes on from there, through resets too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rtc {
    /// The host's time in UTC, as Linux expects of a clock.
    #[default]
    Utc,
    /// The host's time in its own time zone.
    Local,
    /// This time.
    At(DateTime),
}

impl Rtc {
    /// Every choice that is one word.
    pub const WORDS: [&str; 2] = ["utc", "local"];
}

impl FromStr for Rtc {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refuse = |problem| Err(ConfigError::malformed("clock", text, problem));
        match text {
            "utc" => Ok(Self::Utc),
            "local" | "localtime" => Ok(Self::Local),
            time => match time.parse::<DateTime>() {
                Ok(time) if (1970..2200).contains(&time.year()) => Ok(Self::At(time)),
                Ok(_) => refuse("is out of range: give a year from 1970 to 2199"),
                Err(_) => refuse("is no time: write utc, local or 2027-01-31T12:00:00"),
            },
        }
    }
}

impl fmt::Display for Rtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utc => f.write_str("utc"),
            Self::Local => f.write_str("local"),
            Self::At(time) => time.fmt(f),
        }
    }
}

written_as_text!(Rtc);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_mistakes_say_what_to_write() {
        for text in ["utc", "local", "2027-01-31T12:00:00"] {
            assert_eq!(text.parse::<Rtc>().unwrap().to_string(), text);
        }
        assert!("2027-01-31".parse::<Rtc>().is_ok());
        for (text, word) in [("yesterday", "2027-01-31T12:00:00"), ("1900-01-01", "1970")] {
            let error = text.parse::<Rtc>().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}

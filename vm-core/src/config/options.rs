//! The text form `word,key=value,...` that disks and network cards have in common.

use std::ffi::{OsStr, OsString};

use clap_lex::OsStrExt as _;

use super::ConfigError;

/// What an option names: words of ours, and files by whatever name the host gives them, which need not be UTF-8.
pub trait FromOsStr: Sized {
    /// Reads the text that stands behind an option.
    ///
    /// # Errors
    /// When it means nothing; the message says what to write.
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError>;
}

/// Text is the common case of what [`FromOsStr`] reads.
macro_rules! from_str_as_os_str {
    ($($name:ident)*) => {$(
        impl std::str::FromStr for $name {
            type Err = ConfigError;

            fn from_str(text: &str) -> Result<Self, ConfigError> {
                <Self as $crate::config::FromOsStr>::from_os_str(text.as_ref())
            }
        }
    )*};
}
pub(super) use from_str_as_os_str;

/// The comma-separated items of an option, each a key with or without a value. A comma within a value is written
/// twice.
pub(super) fn items(text: &OsStr) -> Vec<(OsString, Option<OsString>)> {
    let mut items = vec![OsString::new()];
    let mut pieces = text.split(",").peekable();
    let mut glued = true;
    while let Some(piece) = pieces.next() {
        // An empty piece stands between two commas, which are one of the item's own.
        let doubled = piece.is_empty() && !glued && pieces.peek().is_some();
        if !glued && !doubled {
            items.push(OsString::new());
        }
        if let Some(item) = items.last_mut() {
            item.push(if doubled { OsStr::new(",") } else { piece });
        }
        glued = doubled;
    }
    items
        .into_iter()
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once("=") {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (item, None),
        })
        .collect()
}

/// The value of a switch: a key alone means on.
pub(super) fn switch(what: &'static str, value: Option<&OsStr>) -> Result<bool, ConfigError> {
    let Some(value) = value else {
        return Ok(true);
    };
    match value.to_str() {
        Some("on" | "true" | "yes") => Ok(true),
        Some("off" | "false" | "no") => Ok(false),
        _ => Err(unknown(what, value, &["on", "off"])),
    }
}

/// The value of a key that needs one and names a file.
pub(super) fn value(key: &'static str, value: Option<OsString>) -> Result<OsString, ConfigError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ConfigError::malformed("option", key, format!("needs a value: {key}=...")))
}

/// The value of a key that needs one and is text.
pub(super) fn text(key: &'static str, value: Option<OsString>) -> Result<String, ConfigError> {
    self::value(key, value)?.into_string().map_err(|value| {
        ConfigError::malformed(key, &value.to_string_lossy(), "is not UTF-8: write it anew")
    })
}

/// The error of a key that there is not, with the nearest that there is.
pub(super) fn unknown(what: &'static str, key: &OsStr, known: &[&str]) -> ConfigError {
    ConfigError::unknown(what, &key.to_string_lossy(), known)
}

/// The value of `slot`: a slot of the PCI bus.
pub(super) fn slot(value: Option<OsString>) -> Result<u8, ConfigError> {
    let text = self::text("slot", value)?;
    match text.parse() {
        Ok(slot @ 1..=31) => Ok(slot),
        _ => Err(ConfigError::malformed(
            "slot",
            &text,
            "is no slot of the PCI bus: write 1 to 31",
        )),
    }
}

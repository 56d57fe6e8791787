//! The text form `word,key=value,...` that disks and network cards have in common.

use super::ConfigError;

/// The comma-separated items of an option, each a key with or without a value. A comma within a value is written
/// twice.
pub(super) fn items(text: &str) -> Vec<(String, Option<String>)> {
    let mut items = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ',' if letters.next_if_eq(&',').is_none() => items.push(String::new()),
            letter => {
                if let Some(item) = items.last_mut() {
                    item.push(letter);
                }
            }
        }
    }
    items
        .into_iter()
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (item, None),
        })
        .collect()
}

/// The value of a switch: a key alone means on.
pub(super) fn switch(what: &'static str, value: Option<&str>) -> Result<bool, ConfigError> {
    match value {
        None | Some("on" | "true" | "yes") => Ok(true),
        Some("off" | "false" | "no") => Ok(false),
        Some(other) => Err(ConfigError::unknown(what, other, &["on", "off"])),
    }
}

/// The value of a key that needs one.
pub(super) fn value(key: &'static str, value: Option<String>) -> Result<String, ConfigError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ConfigError::malformed("option", key, format!("needs a value: {key}=...")))
}

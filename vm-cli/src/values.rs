//! How the values of options are read, and which words completion offers for them.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, PossibleValue, StringValueParser, TypedValueParser};
use clap_lex::OsStrExt as _;
use vm_core::config::{ByteSize, ConfigError, FromOsStr};

/// A parser, and words that completion offers for what it reads.
#[derive(Clone)]
pub(crate) struct Offering<P> {
    parser: P,
    words: Vec<&'static str>,
}

impl<P: TypedValueParser> TypedValueParser for Offering<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        self.parser.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().map(PossibleValue::new)))
    }
}

/// What is text.
pub(crate) fn text<T>(
    words: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    Offering {
        parser: StringValueParser::new()
            .try_map(|text| text.parse::<T>().map_err(|error| error.to_string())),
        words: words.into_iter().collect(),
    }
}

/// What may name a file, which need not be UTF-8.
pub(crate) fn with_file<T: FromOsStr + Clone + Send + Sync + 'static>()
-> impl TypedValueParser<Value = T> {
    OsStringValueParser::new().try_map(|text| T::from_os_str(&text))
}

/// What may name a file, or be one of `words`.
pub(crate) fn file_or<T: FromOsStr + Clone + Send + Sync + 'static>(
    words: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T> {
    Offering {
        parser: with_file(),
        words: words.into_iter().collect(),
    }
}

/// A number of virtual CPUs.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is no whole number: write it as 4"))
}

/// A size of RAM.
pub(crate) fn ram(text: &str) -> Result<ByteSize, ConfigError> {
    ByteSize::of_ram(text)
}

/// A switch; a variable of the environment that is empty is off.
pub(crate) fn switch() -> impl TypedValueParser<Value = bool> {
    let read = |text: String| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" | "" => Ok(false),
        _ => Err(format!("'{text}' is neither on nor off: write one of them")),
    };
    Offering {
        parser: StringValueParser::new().try_map(read),
        words: vec!["on", "off"],
    }
}

/// The file that `exec[=FILE]` names.
pub(crate) fn trace() -> impl TypedValueParser<Value = PathBuf> {
    let read = |text: OsString| match text.split_once("=") {
        None if text == "exec" => Ok(PathBuf::from("vm-trace.txt")),
        Some((what, file)) if what == "exec" && !file.is_empty() => Ok(file.into()),
        _ => Err("use exec, or exec=FILE"),
    };
    Offering {
        parser: OsStringValueParser::new().try_map(read),
        words: vec!["exec"],
    }
}

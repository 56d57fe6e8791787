//! How the values of options are read, and which words completion offers for them.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Arg;
use clap::builder::{
    OsStringValueParser, PossibleValue, StringValueParser, TypedValueParser, ValueParser,
    ValueParserFactory,
};
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

/// What is `on` or `off` as its value says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch(bool);

/// A switch that is on when its option has no value; what stands behind it needs a `=`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag(pub(crate) bool);

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch.0
    }
}

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.0
    }
}

impl ValueParserFactory for Switch {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        switch(Self)
    }
}

impl ValueParserFactory for Flag {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        switch(Self)
    }
}

/// A variable of the environment that is empty is off.
fn switch<T: Clone + Send + Sync + 'static>(of: fn(bool) -> T) -> ValueParser {
    let read = move |text: String| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(of(true)),
        "off" | "false" | "no" | "0" | "" => Ok(of(false)),
        _ => Err(format!("'{text}' is neither on nor off: write one of them")),
    };
    ValueParser::new(Offering {
        parser: StringValueParser::new().try_map(read),
        words: vec!["on", "off"],
    })
}

/// An option with what all have in common, as the words of its value stand in its name already, and what all switches
/// have.
pub(crate) fn in_common(option: Arg) -> Arg {
    let kind = option.get_value_parser().type_id();
    let option = option.hide_possible_values(true);
    if kind == TypeId::of::<Flag>() {
        option
            .value_name("on|off")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("on")
    } else if kind == TypeId::of::<Switch>() {
        option.value_name("on|off")
    } else {
        option
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

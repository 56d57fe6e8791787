//! Errors as one line: what is wrong, once, and what to do.

use std::error::Error as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _};
use vm_core::config::nearest;

use crate::args::Cli;
use crate::exit::Exit;
use crate::habits;

/// The chain of causes in one line. A cause that an outer message has told already is left out.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(|cause| one_line(&cause.to_string())) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Prints what clap has to say: help as it is, an error in one line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody may be reading; that is no failure.
            let _ = error.print();
            Exit::SUCCESS.into()
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let _ = error.print();
            Exit::USAGE.into()
        }
        _ => {
            eprintln!("{}", usage_line(error));
            Exit::USAGE.into()
        }
    }
}

/// An error of the command line in one line.
pub(crate) fn usage_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let told = match error.kind() {
        ErrorKind::ValueValidation => context(ContextKind::InvalidArg)
            .zip(context(ContextKind::InvalidValue))
            .map(|(option, value)| wrong_value(error, option, value)),
        ErrorKind::UnknownArgument => context(ContextKind::InvalidArg).map(unknown_option),
        ErrorKind::InvalidSubcommand => context(ContextKind::InvalidSubcommand).map(|command| {
            let mut program = Cli::command();
            let known: Vec<_> = commands(&mut program).map(str::to_owned).collect();
            let known = known.iter().map(String::as_str);
            unknown("command", command, known)
        }),
        _ => None,
    };
    told.map_or_else(
        || without_usage(&error.to_string()),
        |told| format!("error: {told}"),
    )
}

/// An option whose value says nothing: the option's name without the forms that its value may have, and the reason,
/// which mostly quotes the value.
fn wrong_value(error: &clap::Error, option: &str, value: &str) -> String {
    let option = option.split(" <").next().unwrap_or(option);
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    match reason.contains(value) {
        true => format!("{option}: {reason}"),
        false => format!("{option} {value}: {reason}"),
    }
}

fn unknown_option(option: &str) -> String {
    if let Some(hint) = habits::hint(option) {
        return format!("there is no {option}: {hint}");
    }
    let mut program = Cli::command();
    let longs: Vec<_> = options(&mut program).collect();
    unknown("option", option, longs.iter().map(String::as_str))
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(known) => format!("unknown {what} '{word}' (did you mean '{known}'?)"),
        None => format!("unknown {what} '{word}': --help lists all there are"),
    }
}

fn commands(program: &mut Command) -> impl Iterator<Item = &str> {
    program.build();
    program.get_subcommands().map(Command::get_name)
}

/// Every option of every command, with its dashes.
fn options(program: &mut Command) -> impl Iterator<Item = String> {
    fn of(command: &Command) -> Vec<String> {
        let own = command.get_arguments().filter_map(clap::Arg::get_long);
        let own = own.map(|long| format!("--{long}"));
        own.chain(command.get_subcommands().flat_map(of)).collect()
    }
    program.build();
    of(program).into_iter()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error message of clap's without its reminder of the usage.
fn without_usage(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;
    use clap::Parser as _;

    fn refused(words: &[&str]) -> String {
        let line = ["vm-cli", "run"].iter().chain(words);
        usage_line(&Cli::try_parse_from(line).unwrap_err())
    }

    #[test]
    fn chain_tells_each_cause_once() {
        let error = anyhow!("no such file").context("cannot open d: no such file");
        let error = error.context("the disk is unusable");
        assert_eq!(
            chain(&error),
            "the disk is unusable: cannot open d: no such file"
        );
    }

    #[test]
    fn wrong_values_name_the_option_and_the_value_once() {
        for (words, line) in [
            (
                ["--cpus", "many"],
                "error: --cpus: 'many' is no whole number: write it as 4",
            ),
            (
                ["--rng", "maybe"],
                "error: --rng: 'maybe' is neither on nor off: write one of them",
            ),
            (
                ["--net", "user,mac=1"],
                "error: --net user,mac=1: hardware address '1' is not six bytes: write it as 52:54:00:12:34:56",
            ),
        ] {
            assert_eq!(refused(&words), line);
        }
    }

    #[test]
    fn unknown_options_name_the_nearest_or_what_hands_mean() {
        for (option, word) in [
            ("--kernal", "did you mean '--kernel'"),
            ("--bois", "did you mean '--bios'"),
            ("--snapshot", "snapshot=on"),
            ("--drive", "--disk file=FILE"),
            ("--frobnicate", "--help lists"),
        ] {
            let line = refused(&[option]);
            assert!(line.contains(word), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }
}

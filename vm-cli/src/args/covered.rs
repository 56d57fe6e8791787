//! Which test fails when an option is ignored: for every option, every word of its value, and every variable of the
//! environment that the command line has, so that a new one without a test fails here.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory as _;

use super::Cli;
use super::covered_table::COVERED;

/// Everything that the command line has, as [`COVERED`] names it.
fn offered(program: &clap::Command, path: &str, into: &mut BTreeSet<String>) {
    for argument in program.get_arguments() {
        let id = argument.get_id().as_str();
        if matches!(id, "help" | "version") {
            continue;
        }
        let name = match argument.get_long() {
            Some(long) => format!("{path}--{long}"),
            None => format!("{path}{}", id.to_uppercase()),
        };
        let values = argument.get_value_names().unwrap_or_default();
        for value in values
            .iter()
            .filter(|_| argument.get_action().takes_values())
        {
            let words = value.split(|c: char| !c.is_ascii_lowercase() && c != '-');
            into.extend(
                words
                    .map(|word| word.trim_matches('-'))
                    .filter(|word| !word.is_empty())
                    .map(|word| format!("{name} {word}")),
            );
        }
        into.extend(
            argument
                .get_env()
                .and_then(|name| Some(name.to_str()?.to_owned())),
        );
        into.insert(name);
    }
    for command in program
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        offered(command, &format!("{path}{} ", command.get_name()), into);
    }
}

#[test]
fn every_option_has_a_test_that_fails_without_it() {
    let mut program = Cli::command();
    program.build();
    let mut names = BTreeSet::new();
    offered(&program, "", &mut names);
    // A machine is described alike with and without Debian's installer.
    let machine: Vec<_> = names
        .iter()
        .filter_map(|name| {
            name.strip_prefix("run debian ")
                .map(|rest| format!("run {rest}"))
        })
        .filter(|name| names.contains(name))
        .collect();
    for name in machine {
        names.remove(&name.replacen("run ", "run debian ", 1));
    }
    let covered: BTreeSet<_> = COVERED
        .iter()
        .map(|(name, _, _)| (*name).to_owned())
        .collect();
    assert_eq!(names, covered, "what there is, and what has a test");
}

#[test]
fn tests_of_options_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, file, test) in COVERED {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(
            text.contains(&format!("fn {test}()")),
            "{name}: no {test} in {file}"
        );
    }
}

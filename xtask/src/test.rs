//! `cargo xtask test`: every test of the repository with what the tests need: the guests, and `vm-cli`
//! built as users build it. Its output ends with nextest's summary.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::guests;

/// Command line of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Do not fetch guests; whole-VM tests without their guest are skipped
    #[arg(long)]
    no_guests: bool,
    /// Further arguments for `cargo nextest run`
    #[arg(last = true)]
    nextest: Vec<String>,
}

/// A test run that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In CI every guest has to be there.
    #[error(transparent)]
    Guests(#[from] guests::Error),
    /// Cargo could not be started.
    #[error("cannot start cargo: {0}")]
    Cargo(std::io::Error),
    /// A step failed and has said why.
    #[error("`cargo {0}` failed")]
    Step(String),
    /// The workspace could not be read.
    #[error("cannot read the workspace: {0}")]
    Metadata(#[from] cargo_metadata::Error),
}

/// Runs all tests.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1");
    if !arguments.no_guests {
        match guests::run(&guests::Arguments::default()) {
            Err(error) if !ci => eprintln!("warning: whole-VM tests may be skipped: {error}"),
            other => other?,
        }
    }
    cargo(&["build", "--release", "--package", "vm-cli"])?;
    cargo(&["test", "--workspace", "--doc", "--quiet"])?;
    let vm_cli = release_directory()?.join("vm-cli");
    let mut command = cargo_command(&["nextest", "run", "--workspace"]);
    command.args(&arguments.nextest).env("VM_CLI", &vm_cli);
    if ci {
        command.env("VM_TESTS_REQUIRE_GUESTS", "1");
    }
    // In place of this process: nextest's summary is the last output and its status is the status.
    Err(Error::Cargo(command.exec()))
}

/// Where cargo puts what it builds for release.
pub(crate) fn release_directory() -> Result<PathBuf, Error> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(crate::repository())
        .no_deps()
        .exec()?;
    Ok(metadata.target_directory.as_std_path().join("release"))
}

/// The cargo that runs this, to be run in this repository.
pub(crate) fn cargo_command(words: &[&str]) -> Command {
    let program = std::env::var_os("CARGO");
    let mut command = Command::new(program.as_deref().unwrap_or(OsStr::new("cargo")));
    command.args(words).current_dir(crate::repository());
    command
}

/// Runs cargo in this repository.
pub(crate) fn cargo(words: &[&str]) -> Result<(), Error> {
    if cargo_command(words)
        .status()
        .map_err(Error::Cargo)?
        .success()
    {
        Ok(())
    } else {
        Err(Error::Step(words.join(" ")))
    }
}

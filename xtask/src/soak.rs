//! `cargo xtask soak`: a long run of the four-CPU guest that forks, changes page rights, rewrites code and loads
//! modules, to find stalls. The guest and its workload are a test in `tests/tests/soak.rs`.

use std::os::unix::process::CommandExt;

use crate::guests;
use crate::test::{Error, cargo, cargo_command, release_directory};

/// Command line of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The guest's architecture: riscv64 or x86_64
    #[arg(long, default_value = "riscv64", value_parser = ["riscv64", "x86_64"])]
    arch: String,
    /// How long the guest works
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// Fetches the guest, builds `vm-cli` and runs the guest; prints what it has done as it goes.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    guests::run(&guests::Arguments::default())?;
    cargo(&["build", "--release", "--package", "vm-cli"])?;
    let mut command = cargo_command(&["test", "--package", "vm-tests", "--test", "soak"]);
    command
        .args(["--", "--ignored", "--exact", "--nocapture"])
        .arg("soak_as_long_as_asked")
        .env("VM_CLI", release_directory()?.join("vm-cli"))
        .env("VM_TESTS_SOAK_ARCH", &arguments.arch)
        .env("VM_TESTS_SOAK_MINUTES", arguments.minutes.to_string())
        .env("VM_TESTS_REQUIRE_GUESTS", "1");
    // In place of this process: its status is the status.
    Err(Error::Cargo(command.exec()))
}

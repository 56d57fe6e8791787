//! Command line of the repository's tasks; the tasks themselves are in the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch Debian's kernels, firmware and programs and assemble the test guests from them
    Guests(xtask::guests::Arguments),
    /// Compare speed and memory with QEMU's on the same guest
    Bench(xtask::bench::Arguments),
    /// Check the house rules that the compiler does not
    Lint,
    /// Fetch the guests, build vm-cli and run every test
    Test(xtask::test::Arguments),
    /// Run a four-CPU guest for half an hour and look for stalls
    Soak(xtask::soak::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Guests(arguments) => xtask::guests::run(&arguments).map_err(|e| e.to_string()),
        Task::Bench(arguments) => xtask::bench::run(&arguments).map_err(|e| e.to_string()),
        Task::Lint => xtask::lint::run(&xtask::repository()).map_err(|e| e.to_string()),
        Task::Test(arguments) => xtask::test::run(&arguments).map_err(|e| e.to_string()),
        Task::Soak(arguments) => xtask::soak::run(&arguments).map_err(|e| e.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

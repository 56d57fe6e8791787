//! `vm-cli`: virtual machines from the command line.
//!
//! What it is: options and configuration files become a [`VmConfig`](vm_core::config::VmConfig), the guest's serial
//! port becomes the terminal, the guest's end becomes the exit code.
//!
//! What it refuses to do: know devices, boot protocols or instructions.
//!
//! Data flow: [`args`] -> [`settings`] -> `vm_service::Vm` -> [`session`] (terminal, signals, [`keyboard`], [`monitor`]) ->
//! [`exit`].

mod args;
mod completions;
mod debian;
mod disk;
mod escape;
mod exit;
mod firmware;
mod habits;
mod keyboard;
mod monitor;
mod report;
mod say;
mod session;
mod settings;
mod symbols;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, DiskCommand, RunGuest};
use exit::Exit;

fn main() -> ExitCode {
    vm_osal::grow_heap_in_large_steps();
    let words = match habits::translated(std::env::args_os()) {
        Ok(words) => words,
        Err(hint) => {
            eprintln!("error: {hint}");
            return Exit::USAGE.into();
        }
    };
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error),
    };
    match obey(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", report::chain(&error));
            exit::of_error(&error).into()
        }
    }
}

fn obey(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(run) => session::run(match run.guest {
            None => firmware::complete(settings::of(&settings::with_image(
                run.machine,
                run.image,
            )?)?)?,
            Some(RunGuest::Debian(debian)) => debian::machine(&debian)?,
        }),
        Command::Disk {
            command: DiskCommand::Create { file, size, format },
        } => disk::create(&file, size, format.is_some()).map(|()| Exit::SUCCESS),
        Command::Symbols { kernel, output } => {
            symbols::write(&kernel, &output).map(|()| Exit::SUCCESS)
        }
        Command::Completions { shell } => {
            completions::print(shell)?;
            Ok(Exit::SUCCESS)
        }
    }
}

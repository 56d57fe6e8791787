//! `vm-cli`: virtual machines from the command line.
//!
//! What it is: options and configuration files become a [`VmConfig`](vm_core::config::VmConfig), the guest's serial
//! port becomes the terminal, the guest's end becomes the exit code.
//!
//! What it refuses to do: know devices, boot protocols or instructions.
//!
//! Data flow: [`args`] -> [`settings`] -> `vm_service::Vm` -> [`session`] (terminal, signals, [`monitor`]) ->
//! [`exit`].

mod args;
mod debian;
mod disk;
mod escape;
mod exit;
mod monitor;
mod session;
mod settings;
mod symbols;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, DiskCommand, RunGuest};
use exit::Exit;

fn main() -> ExitCode {
    vm_osal::grow_heap_in_large_steps();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::report(&error),
    };
    match obey(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            exit::of_error(&error).into()
        }
    }
}

fn obey(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(run) => session::run(match &run.guest {
            None => settings::of(&run.machine)?,
            Some(RunGuest::Debian(debian)) => debian::machine(debian)?,
        }),
        Command::Disk {
            command: DiskCommand::Create { file, size },
        } => disk::create(&file, size).map(|()| Exit::SUCCESS),
        Command::Symbols { kernel, output } => {
            symbols::write(&kernel, &output).map(|()| Exit::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut program = Cli::command();
            clap_complete::generate(shell, &mut program, "vm-cli", &mut std::io::stdout());
            Ok(Exit::SUCCESS)
        }
    }
}

/// The whole chain of causes in one line.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

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
mod device_tree;
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

use args::{Cli, Command, DiskCommand, RunArgs, RunGuest};
use exit::Exit;
use vm_service::Outcome;

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
        Command::Run(run) => {
            let RunArgs {
                image,
                machine,
                guest,
            } = *run;
            let (config, dump_dtb, afterwards) = match guest {
                None => {
                    let machine = settings::with_image(machine, image)?;
                    let config = settings::of(&machine)?;
                    match machine.dump_dtb {
                        // Firmware that would have to be fetched makes no difference to the tree.
                        Some(file) => (config, Some(file), None),
                        None => (firmware::complete(config)?, None, None),
                    }
                }
                Some(RunGuest::Debian(debian)) => {
                    let found = debian::machine(&debian)?;
                    (found.config, debian.machine.dump_dtb, found.afterwards)
                }
            };
            if let Some(file) = dump_dtb {
                return device_tree::write(config, &file).map(|()| Exit::SUCCESS);
            }
            match (session::run(config)?, afterwards) {
                // The installer is through: what it has installed is not what would start again.
                (exit, Some(command)) if exit == Exit::of_outcome(Outcome::Reset) => {
                    eprintln!("vm-cli: what is installed starts with: {command}");
                    Ok(Exit::SUCCESS)
                }
                (exit, _) => Ok(exit),
            }
        }
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

//! The two machines side by side: command lines that give each the same kernel, initramfs, RAM,
//! processors and instruction set.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::target::{Model, Target};
use crate::guests::Cache;

/// Names a command line to use in place of `vm-cli`: words with `{kernel}`, `{initrd}`, `{append}`,
/// `{cpus}` and `{memory}` (MiB). A guest's disk is added to its end, as `vm-cli` takes it.
pub(super) const TEMPLATE_VARIABLE: &str = "VM_BENCH_VM";

/// `panic=-1` with a machine that does not reboot ends a run whose kernel panics.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1";

/// Which emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emulator {
    Ours,
    Qemu,
}

impl Emulator {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "this VM",
            Self::Qemu => "QEMU",
        }
    }
}

/// What both machines are made of.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) target: &'static Target,
    pub(super) model: &'static Model,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    /// A raw image that the guest may write to; the file does not change.
    pub(super) disk: Option<PathBuf>,
    pub(super) cpus: u32,
    pub(super) memory_mib: u32,
    /// Host processors to confine the emulators to, as `taskset -c` takes them.
    pub(super) host_cpus: Option<String>,
    /// How this VM is started: see [`ours`].
    pub(super) ours: Vec<String>,
}

/// The words that start this VM, with placeholders: [`TEMPLATE_VARIABLE`], or the built `vm-cli`.
pub(super) fn ours(vm_cli: &Path, target: &Target, model: &Model) -> Vec<String> {
    let template = std::env::var(TEMPLATE_VARIABLE).unwrap_or_default();
    if !template.trim().is_empty() {
        return template.split_whitespace().map(str::to_owned).collect();
    }
    let mut words = vec![vm_cli.display().to_string()];
    let rest = "--kernel {kernel} --initrd {initrd} --append {append} \
                --cpus {cpus} --memory {memory}M --serial stdio --no-reboot";
    words.extend(["run", "--arch", target.arch].map(str::to_owned));
    if !model.ours.is_empty() {
        words.extend(["--cpu", model.ours].map(str::to_owned));
    }
    words.extend(rest.split_whitespace().map(str::to_owned));
    words
}

impl Machine {
    /// The command that starts this machine on `emulator`, console on standard input and output.
    pub(super) fn command(&self, emulator: Emulator, cache: &Cache) -> Result<Command, Error> {
        let command = match emulator {
            Emulator::Ours => self.our_command()?,
            Emulator::Qemu => self.qemu_command(cache)?,
        };
        Ok(self.confined(command))
    }

    /// The command that starts the disk with Debian installed, with as many processors and as much RAM: for RISC-V by
    /// OpenSBI, U-Boot and GRUB, for a PC by its kernel and initial RAM disk.
    pub(super) fn installed_disk_command(
        &self,
        emulator: Emulator,
        cache: &Cache,
    ) -> Result<Command, Error> {
        let programs = &self.target.programs;
        let disk = cache.require(programs.installed_disk)?;
        let mut boot = Vec::new();
        for (option, file) in programs.installed_boot {
            boot.push((*option, cache.require(file)?.display().to_string()));
        }
        let words = programs.installed_command_line;
        boot.extend(words.map(|words| ("append", words.to_owned())));
        let command = match emulator {
            Emulator::Ours => {
                let mut command = self.our_bare_command();
                for (option, value) in boot {
                    command.arg(format!("--{option}")).arg(value);
                }
                add_our_disk(&mut command, &disk);
                command
            }
            Emulator::Qemu => {
                let mut command = self.qemu(cache)?;
                for (option, value) in boot {
                    command.arg(format!("-{option}")).arg(value);
                }
                add_qemu_disk(&mut command, &disk);
                command
            }
        };
        Ok(self.confined(command))
    }

    /// The command that starts this machine without kernel and disk, with `words` besides.
    pub(super) fn bare_command(
        &self,
        emulator: Emulator,
        cache: &Cache,
        words: &[String],
    ) -> Result<Command, Error> {
        let mut command = match emulator {
            Emulator::Ours => self.our_bare_command(),
            Emulator::Qemu => self.qemu(cache)?,
        };
        command.args(words);
        Ok(self.confined(command))
    }

    /// This VM with its processors and RAM, its serial port on standard input and output.
    fn our_bare_command(&self) -> Command {
        let program = self.ours.first().map_or("vm-cli", String::as_str);
        let mut command = Command::new(program);
        command.args(["run", "--arch", self.target.arch, "--serial", "stdio"]);
        if !self.model.ours.is_empty() {
            command.args(["--cpu", self.model.ours]);
        }
        command.args(["--cpus", &self.cpus.to_string()]);
        command.args(["--memory", &format!("{}M", self.memory_mib)]);
        command
    }

    fn confined(&self, command: Command) -> Command {
        let Some(host_cpus) = &self.host_cpus else {
            return command;
        };
        let mut confined = Command::new("taskset");
        confined.args(["-c", host_cpus]).arg(command.get_program());
        confined.args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                confined.env(name, value);
            }
        }
        confined
    }

    fn our_command(&self) -> Result<Command, Error> {
        let mut words = self.ours.iter().map(|word| self.fill_in(word));
        let program = words
            .next()
            .ok_or_else(|| Error::Usage(format!("{TEMPLATE_VARIABLE} names no program")))?;
        let mut command = Command::new(program);
        command.args(words);
        if let Some(disk) = &self.disk {
            add_our_disk(&mut command, disk);
        }
        Ok(command)
    }

    fn command_line(&self) -> String {
        format!("{COMMAND_LINE}{}", self.target.command_line)
    }

    fn fill_in(&self, word: &str) -> String {
        word.replace("{kernel}", &self.kernel.display().to_string())
            .replace("{initrd}", &self.initrd.display().to_string())
            .replace("{append}", &self.command_line())
            .replace("{cpus}", &self.cpus.to_string())
            .replace("{memory}", &self.memory_mib.to_string())
    }

    fn qemu_command(&self, cache: &Cache) -> Result<Command, Error> {
        let mut command = self.qemu(cache)?;
        command.arg("-kernel").arg(&self.kernel);
        command.args(["-append", &self.command_line(), "-initrd"]);
        command.arg(&self.initrd);
        if let Some(disk) = &self.disk {
            add_qemu_disk(&mut command, disk);
        }
        Ok(command)
    }

    /// The machine without anything to boot.
    fn qemu(&self, cache: &Cache) -> Result<Command, Error> {
        let mut command = cache.qemu_system(self.target.arch)?;
        command
            .args(["-M", self.target.qemu_machine])
            .args(["-accel", "tcg,thread=multi", "-cpu", self.model.qemu])
            .args(["-smp", &self.cpus.to_string()])
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-serial", "stdio", "-no-reboot"]);
        Ok(command)
    }
}

fn add_our_disk(command: &mut Command, image: &Path) {
    let disk = format!("file={},snapshot=on", image.display());
    command.args(["--disk", &disk]);
}

fn add_qemu_disk(command: &mut Command, image: &Path) {
    let file = image.display();
    let drive = format!("if=none,id=disk,format=raw,snapshot=on,file={file}");
    command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
}

/// A command as a person would type it, without the directories that differ between hosts.
pub(super) fn describe(command: &Command) -> String {
    let short = |word: &std::ffi::OsStr| {
        let text = word.to_string_lossy().into_owned();
        let file = Path::new(&text).file_name();
        let text = match file {
            Some(name) if text.starts_with('/') => name.to_string_lossy().into_owned(),
            _ => text,
        };
        if text.contains(' ') {
            format!("\"{text}\"")
        } else {
            text
        }
    };
    let mut words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(short)
        .collect();
    // The private packages are run through their loader, with their library and firmware folders.
    if let Some(at) = words
        .iter()
        .position(|word| word.starts_with("qemu-system-"))
    {
        let confined = words.iter().position(|word| word.starts_with("ld-linux"));
        words.drain(confined.unwrap_or(0)..at);
        while let Some(at) = words.iter().position(|word| word == "-L") {
            words.drain(at..at + 2);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(arch: &str) -> Machine {
        let target = Target::named(arch).unwrap();
        let model = target.model(None).unwrap();
        Machine {
            target,
            model,
            kernel: "/k/Image".into(),
            initrd: "/i/initrd".into(),
            disk: None,
            cpus: 2,
            memory_mib: 512,
            host_cpus: None,
            ours: ours(Path::new("/t/vm-cli"), target, model),
        }
    }

    #[test]
    fn our_command_fills_every_placeholder() {
        for (arch, model, append) in [
            ("riscv64", "", ""),
            (
                "x86_64",
                "--cpu x86-64-v2,-pcid,-invpcid ",
                " no_timer_check",
            ),
        ] {
            let command = machine(arch)
                .command(Emulator::Ours, &Cache::at("/none"))
                .unwrap();
            let expected = format!(
                "vm-cli run --arch {arch} {model}--kernel Image --initrd initrd \
                 --append \"console=ttyS0 panic=-1{append}\" --cpus 2 --memory 512M --serial stdio --no-reboot"
            );
            assert_eq!(describe(&command), expected);
        }
    }

    #[test]
    fn command_confined_runs_through_taskset() {
        let machine = Machine {
            host_cpus: Some("0".to_owned()),
            ..machine("riscv64")
        };
        let command = machine
            .command(Emulator::Ours, &Cache::at("/none"))
            .unwrap();
        assert!(describe(&command).starts_with("taskset -c 0 vm-cli run "));
    }

    #[test]
    fn describe_qemu_leaves_the_loader_out() {
        let mut command = Command::new("/r/lib64/ld-linux-x86-64.so.2");
        command.args(["--library-path", "/r/lib", "/r/usr/bin/qemu-system-riscv64"]);
        command.args(["-L", "/r/share", "-M", "virt"]);
        assert_eq!(describe(&command), "qemu-system-riscv64 -M virt");
    }
}

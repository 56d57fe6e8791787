//! The private QEMU: the newest of Debian's backports, run from its unpacked packages with their own
//! dynamic loader and libraries. The tests' independent emulator and the benchmarks' opponent.

use std::path::PathBuf;
use std::process::Command;

use super::{Cache, Error};

/// Debian architecture, library triplet and dynamic loader of a host.
pub(crate) struct Host {
    /// Debian's name for the architecture.
    pub(crate) debian: &'static str,
    pub(crate) triplet: &'static str,
    pub(crate) loader: &'static str,
}

const HOSTS: [(&str, Host); 2] = [
    (
        "x86_64",
        Host {
            debian: "amd64",
            triplet: "x86_64-linux-gnu",
            loader: "lib64/ld-linux-x86-64.so.2",
        },
    ),
    (
        "aarch64",
        Host {
            debian: "arm64",
            triplet: "aarch64-linux-gnu",
            loader: "lib/ld-linux-aarch64.so.1",
        },
    ),
];

impl Host {
    pub(crate) fn this() -> Result<&'static Self, Error> {
        let name = std::env::consts::ARCH;
        HOSTS
            .iter()
            .find_map(|(arch, host)| (*arch == name).then_some(host))
            .ok_or(Error::Host(name))
    }

    /// A command for a program of the unpacked packages in `root`, with their libraries.
    pub(crate) fn command_in(&self, root: &std::path::Path, program: &str) -> Command {
        let triplet = self.triplet;
        let libraries = ["lib", "usr/lib"]
            .map(|place| root.join(place).join(triplet).display().to_string())
            .join(":");
        // Since the merge of / and /usr packages ship the loader below usr.
        let loader = [root.join(self.loader), root.join("usr").join(self.loader)];
        let loader = loader
            .iter()
            .find(|path| path.exists())
            .unwrap_or(&loader[0]);
        let mut command = Command::new(loader);
        command
            .arg("--library-path")
            .arg(libraries)
            .arg(root.join(program));
        command
    }
}

/// The parts that have QEMU, with the full-system targets that are in a part of their own.
const PARTS: [(&str, &str); 1] = [("x86_64", "qemu-x86_64")];

impl Cache {
    /// A full-system QEMU of the private packages for `target` (`riscv64`, `x86_64`), firmware search path
    /// included; the caller adds the machine's options.
    pub fn qemu_system(&self, target: &str) -> Result<Command, Error> {
        let part = PARTS
            .iter()
            .find_map(|(known, part)| (*known == target).then_some(*part))
            .unwrap_or("qemu");
        let program = format!("usr/bin/qemu-system-{target}");
        let root = self.qemu_root(part, &program)?;
        let host = Host::this()?;
        let mut command = host.command_in(&root, &program);
        for place in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(root.join(place));
        }
        command.env(
            "QEMU_MODULE_DIR",
            root.join("usr/lib").join(host.triplet).join("qemu"),
        );
        Ok(command)
    }

    /// `qemu-system-riscv64` of the private packages.
    pub fn qemu_system_riscv64(&self) -> Result<Command, Error> {
        self.qemu_system("riscv64")
    }

    /// User-mode QEMU of the private packages for `target` (`riscv64`, `aarch64`, `x86_64`): a static
    /// program, its path can be used as it is.
    pub fn qemu_user(&self, target: &str) -> Result<PathBuf, Error> {
        let program = format!("usr/bin/qemu-{target}");
        Ok(self.qemu_root("qemu", &program)?.join(program))
    }

    fn qemu_root(&self, part: &'static str, program: &str) -> Result<PathBuf, Error> {
        let root = self.unpacked(part);
        let path = root.join(program);
        if path.exists() {
            Ok(root)
        } else {
            Err(Error::Missing { path, part })
        }
    }
}

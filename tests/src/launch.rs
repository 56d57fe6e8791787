//! A machine to start, written down once for both emulators.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::guests::Cache;

/// Which program runs the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulator {
    /// The program under test.
    VmCli,
    /// The private QEMU: shows that a test itself is right.
    Qemu,
}

impl Emulator {
    /// The one that `VM_TESTS_EMULATOR` names (`vm-cli`, the default, or `qemu`).
    ///
    /// # Panics
    /// When it names another.
    pub fn chosen() -> Self {
        match std::env::var("VM_TESTS_EMULATOR").as_deref() {
            Err(_) | Ok("" | "vm-cli") => Self::VmCli,
            Ok("qemu") => Self::Qemu,
            Ok(other) => panic!("VM_TESTS_EMULATOR={other}: say vm-cli or qemu"),
        }
    }
}

/// A disk of the machine.
#[derive(Debug, Clone)]
pub struct Disk {
    /// A raw image.
    pub file: PathBuf,
    /// Writes vanish with the machine.
    pub snapshot: bool,
}

impl Disk {
    /// A raw image that keeps what the guest writes.
    pub fn raw(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            snapshot: false,
        }
    }

    /// A raw image that stays as it is.
    pub fn snapshot(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            snapshot: true,
        }
    }
}

/// A machine: `--no-reboot`, the console on standard input and output.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Describes the machine instead of everything below; `vm-cli` only.
    pub config: Option<PathBuf>,
    /// Architecture of the guest.
    pub arch: &'static str,
    /// Kernel image; with `bios`, started by it.
    pub kernel: Option<PathBuf>,
    /// Initramfs.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub append: String,
    /// Firmware instead of the built-in one.
    pub bios: Option<PathBuf>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// Disks, in the order in which the guest names them.
    pub disks: Vec<Disk>,
    /// User-mode network.
    pub network: bool,
    /// Host ports that lead to the guest, as `tcp:127.0.0.1:2222-:22`.
    pub forwards: Vec<String>,
    /// Where the console goes, in the words of `vm-cli run --serial`, instead of standard input and output.
    pub serial: Option<String>,
    /// A command that runs the emulator, which comes behind it: `sh -c 'ulimit ...; exec "$@"' sh`, for instance.
    pub wrapper: Vec<String>,
    /// Further options for `vm-cli run`; other emulators do not get them.
    pub vm_cli_options: Vec<String>,
    /// Start again when the guest asks for a reset.
    pub reboot: bool,
    /// Variables of the environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// Options that every `vm-cli run` gets: the words in `VM_TESTS_OPTIONS`, `--accel interp` or `--verify` for instance.
pub fn options_of_all() -> impl Iterator<Item = String> {
    let words = std::env::var("VM_TESTS_OPTIONS").unwrap_or_default();
    Vec::from_iter(words.split_whitespace().map(str::to_owned)).into_iter()
}

impl Launch {
    /// Debian's kernel with the standard initramfs, one CPU, 512 MiB.
    pub fn riscv64_linux(cache: &Cache) -> Self {
        Self {
            kernel: Some(cache.file("riscv64/Image")),
            initrd: Some(cache.file("riscv64/initramfs.cpio.gz")),
            append: "console=ttyS0 panic=-1".to_owned(),
            ..Self::empty()
        }
    }

    /// Debian's kernel for PCs with the standard initramfs, one CPU, 512 MiB; `vm-cli` only.
    pub fn x86_64_linux(cache: &Cache) -> Self {
        Self {
            arch: "x86_64",
            kernel: Some(cache.file("x86_64/bzImage")),
            initrd: Some(cache.file("x86_64/initramfs.cpio.gz")),
            append: "console=ttyS0 panic=-1".to_owned(),
            ..Self::empty()
        }
    }

    /// Debian's kernel of an architecture with the standard initramfs, one CPU, 512 MiB.
    ///
    /// # Panics
    /// When there is no such guest.
    pub fn linux(arch: &str, cache: &Cache) -> Self {
        match arch {
            "riscv64" => Self::riscv64_linux(cache),
            "x86_64" => Self::x86_64_linux(cache),
            _ => panic!("there is no guest for {arch}"),
        }
    }

    /// OpenSBI, named as in the cache, that starts U-Boot; no disk, no network.
    pub fn riscv64_firmware(cache: &Cache, firmware: &str) -> Self {
        Self {
            bios: Some(cache.file(firmware)),
            kernel: Some(cache.file("riscv64/u-boot.bin")),
            ..Self::empty()
        }
    }

    /// OpenSBI that starts U-Boot, which looks for an operating system on `disk`.
    pub fn riscv64_disk(cache: &Cache, disk: Disk) -> Self {
        Self {
            disks: vec![disk],
            memory_mib: 1024,
            ..Self::riscv64_firmware(cache, "riscv64/fw_dynamic.bin")
        }
    }

    /// EDK2 in flash, with its variables in `variables`, a file that need not exist.
    pub fn riscv64_uefi(cache: &Cache, variables: &Path) -> Self {
        let code = cache.file("riscv64/RISCV_VIRT_CODE.fd");
        Self::empty()
            .with_option("--flash", format!("code={},readonly", code.display()))
            .with_option("--flash", format!("vars={}", variables.display()))
    }

    /// What a disk brings along, by firmware that `vm-cli` finds in the cache.
    pub fn riscv64_disk_alone(cache: &Cache, disk: Disk) -> Self {
        let firmware = cache.file("riscv64");
        Self {
            disks: vec![disk],
            memory_mib: 1024,
            environment: vec![("VM_CLI_FIRMWARE", firmware)],
            ..Self::empty()
        }
    }

    /// A PC that firmware starts, `seabios` or `uefi`, which `vm-cli` finds in the cache; `vm-cli` only.
    pub fn x86_64_firmware(cache: &Cache, firmware: &str) -> Self {
        Self {
            arch: "x86_64",
            bios: Some(firmware.into()),
            environment: vec![("VM_CLI_FIRMWARE", cache.file("x86_64"))],
            ..Self::empty()
        }
    }

    /// Debian installed on `disk`, by the kernel and the initial RAM disk that are on it, two CPUs, 1 GiB.
    pub fn x86_64_disk(cache: &Cache, disk: Disk) -> Self {
        Self {
            initrd: Some(cache.file("x86_64/debian-initrd.gz")),
            append: "console=ttyS0 root=LABEL=debian-root \
                     systemd.default_device_timeout_sec=3600"
                .to_owned(),
            disks: vec![disk],
            cpus: 2,
            memory_mib: 1024,
            ..Self::x86_64_linux(cache)
        }
    }

    /// A kernel alone, one CPU, 512 MiB.
    pub fn riscv64_kernel(file: impl Into<PathBuf>) -> Self {
        Self {
            kernel: Some(file.into()),
            ..Self::empty()
        }
    }

    /// A bare program in machine mode.
    pub fn riscv64_bare(program: impl Into<PathBuf>) -> Self {
        Self {
            bios: Some("none".into()),
            ..Self::riscv64_kernel(program)
        }
    }

    /// What a configuration file says, and nothing else.
    pub fn from_config(file: impl Into<PathBuf>) -> Self {
        Self {
            config: Some(file.into()),
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            config: None,
            arch: "riscv64",
            kernel: None,
            initrd: None,
            append: String::new(),
            bios: None,
            cpus: 1,
            memory_mib: 512,
            disks: Vec::new(),
            network: false,
            forwards: Vec::new(),
            serial: None,
            wrapper: Vec::new(),
            vm_cli_options: Vec::new(),
            reboot: false,
            environment: Vec::new(),
        }
    }

    /// The same with more words on the kernel's command line.
    pub fn with_words(mut self, words: &str) -> Self {
        self.append = format!("{} {words}", self.append);
        self
    }

    /// The same with another option for `vm-cli run`.
    pub fn with_option(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vm_cli_options.extend([name.to_owned(), value.into()]);
        self
    }

    /// The command for an emulator.
    ///
    /// # Panics
    /// When the emulator is not there: `vm-cli` not built, or QEMU not fetched.
    pub fn command(&self, emulator: Emulator, cache: &Cache) -> Command {
        match emulator {
            Emulator::VmCli => self.vm_cli(),
            Emulator::Qemu => self.qemu(cache),
        }
    }

    fn vm_cli(&self) -> Command {
        let mut command = vm_cli();
        if let [program, words @ ..] = &self.wrapper[..] {
            let emulator = command;
            command = Command::new(program);
            command.args(words).arg(emulator.get_program());
        }
        command
            .arg("run")
            .args(self.vm_cli_arguments())
            .args(options_of_all())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn vm_cli_arguments(&self) -> Vec<String> {
        if let Some(file) = &self.config {
            return vec!["--config".to_owned(), file.display().to_string()];
        }
        let mut words = vec!["--arch".to_owned(), self.arch.to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        for (name, file) in [
            ("--bios", &self.bios),
            ("--kernel", &self.kernel),
            ("--initrd", &self.initrd),
        ] {
            if let Some(file) = file {
                option(name, file.display().to_string());
            }
        }
        if !self.append.is_empty() {
            option("--append", self.append.clone());
        }
        option("--cpus", self.cpus.to_string());
        option("--memory", format!("{}M", self.memory_mib));
        for disk in &self.disks {
            let snapshot = if disk.snapshot { ",snapshot=on" } else { "" };
            option(
                "--disk",
                format!("file={},format=raw{snapshot}", disk.file.display()),
            );
        }
        if self.network {
            option("--net", format!("user{}", self.hostfwd()));
        }
        option("--serial", self.serial().to_owned());
        if !self.reboot {
            words.push("--no-reboot".to_owned());
        }
        words.extend_from_slice(&self.vm_cli_options);
        words
    }

    /// Forwards as both emulators take them, behind the kind of network.
    fn hostfwd(&self) -> String {
        self.forwards
            .iter()
            .map(|forward| format!(",hostfwd={forward}"))
            .collect()
    }

    fn serial(&self) -> &str {
        self.serial.as_deref().unwrap_or("stdio")
    }

    fn qemu(&self, cache: &Cache) -> Command {
        let mut command = cache
            .qemu_system_riscv64()
            .unwrap_or_else(|error| panic!("{error}"));
        command.args(["-M", "virt", "-accel", "tcg,thread=multi"]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            self.serial(),
        ]);
        command.args([
            "-smp",
            &self.cpus.to_string(),
            "-m",
            &self.memory_mib.to_string(),
        ]);
        for (name, file) in [
            ("-bios", &self.bios),
            ("-kernel", &self.kernel),
            ("-initrd", &self.initrd),
        ] {
            if let Some(file) = file {
                command.arg(name).arg(file);
            }
        }
        if !self.append.is_empty() {
            command.args(["-append", &self.append]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let snapshot = if disk.snapshot { "on" } else { "off" };
            let file = disk.file.display();
            let drive = format!("if=none,id=d{index},format=raw,snapshot={snapshot},file={file}");
            command.args(["-drive", &drive]);
            command.args(["-device", &format!("virtio-blk-pci,drive=d{index}")]);
        }
        if self.network {
            command.args(["-netdev", &format!("user,id=n{}", self.hostfwd())]);
            command.args(["-device", "virtio-net-pci,netdev=n"]);
        }
        if !self.reboot {
            command.arg("-no-reboot");
        }
        command
    }
}

/// A `vm-cli` without arguments.
///
/// # Panics
/// When it is not built.
pub fn vm_cli() -> Command {
    let program = vm_cli_path();
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build --release -p vm-cli`, or name another in VM_CLI",
        program.display()
    );
    Command::new(program)
}

/// `VM_CLI`, or `release/vm-cli` of the target directory that holds this test.
fn vm_cli_path() -> PathBuf {
    match std::env::var_os("VM_CLI").filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => profile_dir().join("../release/vm-cli"),
    }
}

/// An example program of this build of the workspace.
pub fn example(name: &str) -> PathBuf {
    profile_dir().join("examples").join(name)
}

/// The directory of this build in the target directory.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("invariant: a running test has a path");
    // TARGET/PROFILE/deps/TEST
    let profile = test
        .ancestors()
        .nth(2)
        .expect("invariant: cargo's layout of a target directory");
    profile.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vm_cli_arguments_full_machine_names_every_part() {
        let cache = Cache::at("/cache");
        let mut launch = Launch::riscv64_linux(&cache).with_words("order=poweroff");
        launch.disks = vec![Disk::raw("/d.img"), Disk::snapshot("/e.img")];
        launch.network = true;
        launch.forwards = vec!["tcp:127.0.0.1:2222-:22".to_owned()];
        launch.cpus = 4;
        launch = launch.with_option("--cpu", "rv64");
        let line = launch.vm_cli_arguments().join(" ");
        assert_eq!(
            line,
            "--arch riscv64 --kernel /cache/riscv64/Image --initrd /cache/riscv64/initramfs.cpio.gz \
             --append console=ttyS0 panic=-1 order=poweroff --cpus 4 --memory 512M \
             --disk file=/d.img,format=raw --disk file=/e.img,format=raw,snapshot=on \
             --net user,hostfwd=tcp:127.0.0.1:2222-:22 --serial stdio --no-reboot --cpu rv64"
        );
    }
}

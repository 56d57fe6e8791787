//! The command line. What `--help` prints is written here.

// The comments are texts for terminals: brackets in them are the configuration file's, or mean what may be left out.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use vm_core::config::{
    Accel, ArchChoice, Bios, ByteSize, CodeCache, DiskConfig, DisplayChoice, Dump, EscapeKey,
    FlashConfig, GdbConfig, NetConfig, OnPanic, PcRange, PortConfig, Rtc, SerialConfig,
    VirtioTransport,
};

use crate::values::{self, Flag, Switch};

/// Virtual machines for RISC-V 64 and x86_64 guests, on any host.
#[derive(Parser, Debug)]
#[command(name = "vm-cli", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start a virtual machine on this terminal
    Run(Box<RunArgs>),
    /// Make disk images
    #[command(arg_required_else_help = true)]
    Disk {
        #[command(subcommand)]
        command: DiskCommand,
    },
    /// Write a kernel's symbols as an ELF file that debuggers load
    ///
    /// Distribution kernels are stripped, but keep the names of their functions for their own use.
    #[command(
        after_help = "Example:\n  vm-cli symbols Image vmlinux.syms\n  gdb-multiarch vmlinux.syms -ex 'target remote :1234' -ex 'hbreak start_kernel'"
    )]
    Symbols {
        /// The kernel
        kernel: PathBuf,
        /// The ELF file to write
        output: PathBuf,
    },
    /// Print completions for a shell, to be loaded by it
    #[command(
        after_help = "Example:\n  vm-cli completions bash > ~/.local/share/bash-completion/completions/vm-cli"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum DiskCommand {
    /// Make an empty raw disk image; it takes no space until it is written to
    #[command(after_help = "Example:\n  vm-cli disk create debian.img 10G")]
    Create {
        /// The image; must not exist yet
        file: PathBuf,
        /// Its size, as 10G or 512M
        size: ByteSize,
        /// What kind of image; raw is the only one, and needs to be said only for a name such as disk.qcow2
        #[arg(long, value_name = "raw", value_parser = ["raw"])]
        format: Option<String>,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  vm-cli run --kernel Image --initrd initrd.gz --append console=ttyS0
      boots a kernel; its serial console is this terminal
  vm-cli run --kernel Image --initrd initrd.gz --cpus 4 --memory 2G \\
      --disk file=debian.img --net user,hostfwd=tcp::2222-:22
      with four CPUs, a disk, and the guest's SSH port at port 2222 of this host
  vm-cli run --disk file=debian.img
      boots the system on the disk, by firmware of this host or Debian's ($VM_CLI_FIRMWARE, a folder, has its own)
  vm-cli run --bios none --kernel rv64ui-p-add
      a bare program in machine mode; the exit code is the program's result

Keys while the guest has the terminal (--escape chooses another key than Ctrl-A):
  Ctrl-A x  quit      Ctrl-A r  reset      Ctrl-A c  monitor
  Ctrl-A h  help      Ctrl-A Ctrl-A  send Ctrl-A to the guest

Exit codes: 0 powered off, 1 host error, 2 wrong usage, 3 reset with --no-reboot, 4 guest panic,
5 guest CPU stuck, 6 triple fault, 32 to 127 failure code of the guest, 130, 131 and 143 ended by SIGINT,
SIGQUIT and SIGTERM.";

#[derive(Args, Debug)]
#[command(after_help = RUN_EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct RunArgs {
    /// The kernel, as after --kernel
    #[arg(value_name = "KERNEL", conflicts_with = "kernel", value_hint = ValueHint::FilePath)]
    pub(crate) image: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    #[command(subcommand)]
    pub(crate) guest: Option<RunGuest>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum RunGuest {
    /// Fetch Debian's installer, verify it, and start it on this terminal
    #[command(after_help = DEBIAN_EXAMPLES)]
    Debian(Box<DebianArgs>),
}

const DEBIAN_EXAMPLES: &str = "\
Examples:
  vm-cli run debian
      shows Debian's installer for this host's architecture (1 GiB of RAM, a network card)
  vm-cli run debian --arch riscv64
      the one for RISC-V
  vm-cli disk create debian.img 10G
  vm-cli run debian --disk file=debian.img --cpus 2 --memory 2G
      installs Debian on that disk

When the installer restarts the machine, the program ends and prints the command that starts the installed system
(--no-reboot=off starts the installer again).

The files are kept in $XDG_CACHE_HOME/vm-cli or ~/.cache/vm-cli, and used without a network when they have been
verified before. Verification needs gpgv and the keyring of the package debian-archive-keyring.";

/// Which installer.
#[derive(Args, Debug)]
pub(crate) struct DebianArgs {
    /// The release: stable, testing, or its name
    #[arg(long, default_value = "stable")]
    pub(crate) suite: String,

    /// The package mirror, as http://HOST/debian [default: the one that this host's apt uses]
    #[arg(long, value_name = "URL", env = "VM_CLI_MIRROR")]
    pub(crate) mirror: Option<String>,

    /// The keys that may sign the archive
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/share/keyrings/debian-archive-keyring.gpg"
    )]
    pub(crate) keyring: PathBuf,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// What a machine is made of. Whatever is not given here comes from the configuration file, then from defaults.
#[derive(Args, Debug, Default)]
#[command(mut_args = values::in_common)]
pub(crate) struct MachineArgs {
    /// Read the machine from a TOML file; options given here win over it
    ///
    /// The keys are the options' names (no_reboot for --no-reboot); disks and networks are tables: [[disk]]
    /// file = "debian.img", [[net]] hostfwd = ["tcp::2222-:22"]. Paths are relative to the file.
    #[arg(long, value_name = "FILE.toml", env = "VM_CLI_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// The kernel: Linux Image (also gzip'd or EFI zboot) or ELF
    ///
    /// With --bios FILE, what the firmware starts (a boot loader, say); with --bios none, a bare ELF program.
    #[arg(long, value_name = "FILE", help_heading = "Boot")]
    pub(crate) kernel: Option<PathBuf>,

    /// The initial RAM disk for the kernel
    #[arg(long, value_name = "FILE", help_heading = "Boot")]
    pub(crate) initrd: Option<PathBuf>,

    /// Words for the kernel's command line, as "console=ttyS0 root=/dev/vda1" (may be repeated)
    ///
    /// They replace those of a configuration file; run debian puts them behind its own, console=ttyS0.
    #[arg(
        long,
        value_name = "WORDS",
        help_heading = "Boot",
        action = ArgAction::Append,
        allow_hyphen_values = true
    )]
    pub(crate) append: Vec<String>,

    /// What runs before the kernel: a firmware FILE, none, or builtin (default)
    ///
    /// For RISC-V: builtin serves the kernel's SBI calls itself and starts the kernel at once; a file (OpenSBI's
    /// fw_dynamic.bin) starts in machine mode; none enters the kernel file in machine mode. For a PC: a file is a BIOS
    /// (SeaBIOS's bios-256k.bin), which starts what is on the disks; seabios and uefi are the SeaBIOS and the OVMF of this
    /// host, or Debian's; builtin starts the kernel at once. Disks without a kernel are started by firmware anyway.
    #[arg(
        long,
        value_name = "FILE|none|builtin|seabios|uefi",
        value_parser = values::file_or::<Bios>(Bios::WORDS),
        value_hint = ValueHint::FilePath,
        help_heading = "Boot"
    )]
    pub(crate) bios: Option<Bios>,

    /// Put firmware into the machine's flash: EDK2, which is UEFI (OVMF on a PC)
    ///
    /// code is the firmware, which is only read; readonly keeps the guest from changing it for a while. vars keeps the
    /// firmware's variables: a file of this machine alone, made when it does not exist. A kernel given too is what the
    /// firmware starts. Example: --flash code=/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd --flash vars=debian.fd
    #[arg(
        long,
        value_name = "code=FILE[,readonly]|vars=FILE",
        value_parser = values::with_file::<FlashConfig>(),
        value_hint = ValueHint::FilePath,
        help_heading = "Boot"
    )]
    pub(crate) flash: Vec<FlashConfig>,

    /// A device tree (FILE.dtb) instead of the machine's own
    ///
    /// Command line, initrd and a random seed are put into its /chosen node; the rest must fit the machine.
    #[arg(long, value_name = "FILE", help_heading = "Boot")]
    pub(crate) dtb: Option<PathBuf>,

    /// Write the machine's device tree to FILE and end; nothing runs
    ///
    /// To read it: dtc -I dtb FILE.
    #[arg(long, value_name = "FILE", help_heading = "Boot")]
    pub(crate) dump_dtb: Option<PathBuf>,

    /// End when the guest asks for a reset, with exit code 3 (4 after a kernel panic)
    #[arg(long, help_heading = "Boot")]
    pub(crate) no_reboot: Option<Flag>,

    /// What to do when the guest's kernel has panicked and stands still: wait (default) or stop, with exit code 4
    ///
    /// Either way a line says so. A kernel that is told to (panic=-1 or panic=SECONDS on its command line) asks for a reset
    /// instead, which ends the machine with the same code. A PC has the panic port 505h, too, by which a kernel with
    /// Linux's pvpanic module tells at once.
    #[arg(
        long,
        value_name = "stop|wait",
        value_parser = values::text::<OnPanic>(["stop", "wait"]),
        help_heading = "Boot"
    )]
    pub(crate) on_panic: Option<OnPanic>,

    /// The guest's architecture: auto (default: that of the kernel; for run debian, this host's), riscv64 or x86_64
    #[arg(
        long,
        value_name = "ARCH",
        value_parser = values::text::<ArchChoice>(ArchChoice::words()),
        help_heading = "Machine"
    )]
    pub(crate) arch: Option<ArchChoice>,

    /// Number of virtual CPUs, 1 to 8 [default: 1]
    #[arg(
        long,
        value_name = "N",
        env = "VM_CLI_CPUS",
        value_parser = values::count,
        help_heading = "Machine"
    )]
    pub(crate) cpus: Option<u32>,

    /// CPU model and changes to it
    ///
    /// RISC-V models: debian (default: all extensions, Sv39), rv64 (plain RV64GC), max (all extensions, Sv57). Behind it,
    /// +EXT adds and -EXT removes an extension; satp=sv39|sv48|sv57 and pmp=0|16|64 choose more. Example:
    /// --cpu rv64,+zba,+zbb,satp=sv48
    ///
    /// x86 models: x86-64-v2 (default), x86-64-v3 (AVX2), x86-64-v1, max. Example: --cpu x86-64-v3,-avx2
    #[arg(
        long,
        value_name = "MODEL,+EXT,-EXT",
        env = "VM_CLI_CPU",
        value_parser = values::text::<String>(vm_service::cpu_models()),
        help_heading = "Machine",
        allow_hyphen_values = true
    )]
    pub(crate) cpu: Option<String>,

    /// RAM, as 512M or 2G; a number alone is in MiB [default: 512M]
    #[arg(
        short = 'm',
        long,
        value_name = "SIZE",
        env = "VM_CLI_MEMORY",
        value_parser = values::ram,
        help_heading = "Machine"
    )]
    pub(crate) memory: Option<ByteSize>,

    /// What runs the guest's instructions: auto (default), jit or interp
    ///
    /// jit translates guest code to host code; interp interprets it. auto translates where the host allows it, and says
    /// why where it does not.
    #[arg(
        long,
        value_name = "ACCEL",
        env = "VM_CLI_ACCEL",
        value_parser = values::text::<Accel>(Accel::WORDS),
        help_heading = "Machine"
    )]
    pub(crate) accel: Option<Accel>,

    /// Host memory that translated code may take: auto (default) or a size, as 64M
    ///
    /// Memory is taken as code is translated. When all is used, code that has not run for longest makes room, and is
    /// translated again should it be needed. auto allows an eighth of the memory that is free on the host at the start,
    /// 1G at most.
    #[arg(
        long,
        value_name = "auto|SIZE",
        env = "VM_CLI_CODE_CACHE",
        value_parser = values::text::<CodeCache>(["auto"]),
        help_heading = "Machine"
    )]
    pub(crate) code_cache: Option<CodeCache>,

    /// Add a disk (may be repeated); the guest finds them as /dev/vda, /dev/vdb, ...
    ///
    /// FILE is a raw image or a block device of this host; --disk FILE alone is enough. A file that looks like anything
    /// but a raw image is refused unless format=raw says that its bytes are meant. readonly refuses the guest's writes;
    /// snapshot=on lets it write and throws that away at the end; serial is the serial number that the guest sees; slot
    /// pins the disk's PCI slot. bus is what a PC's disk is connected to, with media=cdrom as a drive that holds the file as
    /// its disc; a PC's firmware tries the disks in their order. When this host's disk is full, on-full=pause (default) lets the guest's writes wait for room, and on-full=report
    /// fails them. A comma within a path is written twice.
    #[arg(
        long,
        value_name = "[file=]FILE[,format=raw][,readonly][,snapshot=on][,serial=TEXT][,on-full=pause|report][,slot=NUMBER][,bus=virtio|ahci|nvme][,media=disk|cdrom]",
        value_parser = values::with_file::<DiskConfig>(),
        value_hint = ValueHint::FilePath,
        help_heading = "Devices"
    )]
    pub(crate) disk: Vec<DiskConfig>,

    /// Put the image of a CD or DVD into a drive of a PC (may be repeated); the drives are behind the disks
    ///
    /// It is short for --disk FILE,bus=ahci,media=cdrom.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Devices"
    )]
    pub(crate) cdrom: Vec<PathBuf>,

    /// Add a network card behind a NAT (may be repeated)
    ///
    /// The guest gets 10.0.2.15 by DHCP, reaches the outside world, and this host at 10.0.2.2. hostfwd leads a port
    /// of this host to the guest: tcp|udp:[HOSTADDR]:PORT[-PORT]-[GUESTADDR]:PORT, as hostfwd=tcp::2222-:22; without
    /// HOSTADDR only this host reaches it (127.0.0.1). net is the guest's network, mtu the largest packet in bytes,
    /// dns a name server in place of the host's (may be repeated), ipv6 whether the guest has IPv6 too (where this host
    /// has it, unless it is on or off). restrict=on keeps the guest from everything but the forwards and what
    /// allow=HOST:PORT names (may be repeated; alone it means restrict=on). slot pins the card's PCI slot; pcap records
    /// every frame; mac sets the card's address; hostname is what DHCP names the guest; loss loses that many frames of
    /// a hundred each way, the same ones in every run. none is no card at all.
    #[arg(
        long,
        value_name = "none|user[,hostfwd=...][,net=NETWORK][,mtu=BYTES][,dns=ADDR][,ipv6=on|off][,restrict=on|off][,allow=HOST:PORT][,slot=NUMBER][,pcap=FILE][,mac=ADDR][,hostname=NAME][,loss=PERCENT]",
        value_parser = values::file_or::<NetConfig>(["user", "none"]),
        help_heading = "Devices"
    )]
    pub(crate) net: Vec<NetConfig>,

    /// What the serial port is connected to [default: stdio]
    ///
    /// stdio is this terminal; file:PATH gets the output; unix:PATH is a socket that one client at a time connects
    /// to; pty is a new pseudo-terminal whose name is printed; null is nothing.
    #[arg(
        long,
        value_name = "stdio|file:PATH|unix:PATH|pty|null",
        value_parser = values::file_or::<SerialConfig>(SerialConfig::WORDS),
        help_heading = "Devices"
    )]
    pub(crate) serial: Option<SerialConfig>,

    /// Add a virtio console (the guest's /dev/hvc0), connected as --serial says
    #[arg(
        long,
        value_name = "stdio|file:PATH|unix:PATH|pty|null",
        value_parser = values::file_or::<SerialConfig>(SerialConfig::WORDS),
        help_heading = "Devices"
    )]
    pub(crate) console: Option<SerialConfig>,

    /// Add a named port for a program in the guest (may be repeated)
    ///
    /// Linux shows it as /dev/virtio-ports/NAME: a stream of bytes, to what --serial names but the terminal. Example, for an
    /// agent: --port name=org.qemu.guest_agent.0,to=unix:agent.sock. A comma within a path is written twice.
    #[arg(
        long,
        value_name = "name=NAME,to=unix:PATH|file:PATH|pty|null",
        value_parser = values::file_or::<PortConfig>(["name="]),
        help_heading = "Devices"
    )]
    pub(crate) port: Vec<PortConfig>,
    /// Give a PC the port 402h, to which firmware writes its log, connected as --serial says
    #[arg(
        long,
        value_name = "stdio|file:PATH|unix:PATH|pty|null",
        value_parser = values::file_or::<SerialConfig>(SerialConfig::WORDS),
        help_heading = "Debugging"
    )]
    pub(crate) debugcon: Option<SerialConfig>,

    /// What a PC has for a display: vga, ramfb, none, or auto (default: vga if firmware starts it, or else none)
    ///
    /// ramfb is a frame buffer in RAM, which UEFI and some loaders set up.
    #[arg(
        long,
        value_name = "vga|ramfb|none|auto",
        value_parser = values::text::<DisplayChoice>(DisplayChoice::WORDS),
        help_heading = "Devices"
    )]
    pub(crate) display: Option<DisplayChoice>,

    /// When the machine ends, write what its display shows to FILE, as PNG
    ///
    /// A PC that firmware starts has a display, and one with --display. The monitor (Ctrl-A c) takes pictures of it at any
    /// time.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Devices"
    )]
    pub(crate) screenshot: Option<PathBuf>,

    /// The key behind which keys are for vm-cli while the guest has the terminal [default: ctrl-a]
    ///
    /// For terminals within tmux or screen, and shells within the guest, that use Ctrl-A themselves. ctrl-a to ctrl-z,
    /// ctrl-], ctrl-^ and ctrl-_ are such keys; with none every key is the guest's.
    #[arg(
        long,
        value_name = "KEY|none",
        value_parser = values::text::<EscapeKey>(["ctrl-a", "ctrl-b", "ctrl-]", "none"]),
        help_heading = "Devices"
    )]
    pub(crate) escape: Option<EscapeKey>,

    /// Whether the guest has a source of random numbers, a virtio entropy device [default: on]
    #[arg(long, help_heading = "Devices")]
    pub(crate) rng: Option<Switch>,

    /// Whether memory that the guest does not use goes back to this host [default: on]
    ///
    /// The guest has a virtio memory balloon then, over which Linux reports what it has free. With --virtio mmio it is
    /// left out when all slots are taken.
    #[arg(long, help_heading = "Devices")]
    pub(crate) balloon: Option<Switch>,

    /// Whether a PC has a watchdog (i6300esb), which resets it when the guest stops telling that it is well [default: off]
    ///
    /// Linux shows it as /dev/watchdog, and starts it when a program opens that. With --no-reboot its reset ends the machine.
    #[arg(long, help_heading = "Devices")]
    pub(crate) watchdog: Option<Switch>,

    /// Give a PC the port F4h by which test programs end it with a status: a written V ends it with code 33 + 2V
    ///
    /// It is QEMU's isa-debug-exit, whose own code is 32 less. Codes above 127 are 32 here; a message has the status.
    #[arg(long, help_heading = "Debugging")]
    pub(crate) debug_exit: Option<Flag>,

    /// Give a PC the test device of kvm-unit-tests (QEMU's pc-testdev): ports E0h to EBh and 2000h to 2017h, memory FF000000h
    #[arg(long, help_heading = "Debugging")]
    pub(crate) test_device: Option<Flag>,

    /// What the guest's real-time clock shows: utc (default), local, or a time as 2027-01-31T12:00:00
    ///
    /// Linux takes the clock for UTC. The clock goes on from the time that is given, also through resets.
    #[arg(
        long,
        value_name = "utc|local|TIME",
        value_parser = values::text::<Rtc>(Rtc::WORDS),
        help_heading = "Devices"
    )]
    pub(crate) rtc: Option<Rtc>,

    /// How virtio devices are attached: pci (default) or mmio
    #[arg(
        long,
        value_name = "pci|mmio",
        value_parser = values::text::<VirtioTransport>(VirtioTransport::WORDS),
        help_heading = "Devices"
    )]
    pub(crate) virtio: Option<VirtioTransport>,

    /// Wait for GDB at ADDRESS:PORT before the first instruction [default: 127.0.0.1:1234]
    ///
    /// Then: gdb-multiarch -ex 'target remote :1234'. With wait=off the guest runs, and GDB stops it when it connects.
    #[arg(
        long,
        value_name = "ADDRESS:PORT[,wait=on|off]",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:1234",
        help_heading = "Debugging"
    )]
    pub(crate) gdb: Option<GdbConfig>,

    /// When the machine ends, print what the engine did: instructions per tier, TLB, translation, helper calls
    #[arg(long, help_heading = "Debugging")]
    pub(crate) stats: Option<Flag>,

    /// Interpret every translated block too, and end at the first difference with a report
    ///
    /// Compares registers, floating-point flags, stored bytes and device accesses. The guest is slower by orders of
    /// magnitude.
    #[arg(long, env = "VM_CLI_VERIFY", help_heading = "Debugging")]
    pub(crate) verify: Option<Flag>,

    /// Show code as it is translated, on standard error: ir is what guest code was lifted to, asm the host code
    #[arg(
        long,
        value_name = "ir,asm",
        value_parser = values::text::<Dump>(Dump::WORDS),
        help_heading = "Debugging"
    )]
    pub(crate) dump: Option<Dump>,

    /// Show only the blocks of --dump that begin at these guest addresses
    #[arg(long, value_name = "PC|FIRST-LAST", help_heading = "Debugging")]
    pub(crate) filter: Option<PcRange>,

    /// Write /tmp/perf-PID.map, by which Linux's perf names translated guest code
    #[arg(long, help_heading = "Debugging")]
    pub(crate) perf_map: Option<Flag>,

    /// When a bare program ends, write its test signature, a 32-bit hexadecimal word a line
    ///
    /// The signature is the memory between the program's symbols begin_signature and end_signature.
    #[arg(long, value_name = "FILE", help_heading = "Debugging")]
    pub(crate) dump_signature: Option<PathBuf>,

    /// Record every instruction that is executed, with the registers before it, in FILE [default: vm-trace.txt]
    ///
    /// The guest is slower by orders of magnitude. The rows of registers are those of QEMU's -d cpu, so
    /// that traces can be compared: qemu-system-riscv64 -accel tcg,one-insn-per-tb=on -d cpu,nochain.
    #[arg(
        long,
        value_name = "exec[=FILE]",
        value_parser = values::trace(),
        help_heading = "Debugging"
    )]
    pub(crate) trace: Option<PathBuf>,
}

#[cfg(test)]
mod covered;
#[cfg(test)]
mod covered_table;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_explained() {
        let mut program = Cli::command();
        program.build();
        let run = program.find_subcommand("run").unwrap();
        for option in run.get_arguments() {
            assert!(option.get_help().is_some(), "{}", option.get_id());
        }
    }
}

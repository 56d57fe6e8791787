//! Why a guest cannot be started.

use vm_core::{GuestArch, GuestPhysAddr};
use vm_mem::MemoryError;

use crate::file::Role;

/// Why a guest cannot be started. Each message is one line: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The host could not read the file.
    #[error("cannot read the {role} '{name}': {reason}; {}", advice(.reason, role.option()))]
    Unreadable {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
        /// What the host said.
        reason: String,
    },
    /// The file has no bytes.
    #[error("the {role} '{name}' is empty; fetch or build it again")]
    Empty {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
    },
    /// None of the known formats.
    #[error(
        "'{name}' is not a kernel: it has no Image, bzImage, gzip, EFI zboot, ELF or multiboot header; give the file that the \
         distribution installs as /boot/vmlinux-* or /boot/vmlinuz-*"
    )]
    UnknownFormat {
        /// Its path.
        name: String,
    },
    /// A known format of another architecture.
    #[error(
        "the {role} '{name}' is for {found}, but this machine is {wanted}; \
         give one built for {wanted}{}",
        other_machine(found)
    )]
    WrongArch {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
        /// The file's architecture.
        found: String,
        /// The machine's architecture.
        wanted: GuestArch,
    },
    /// A known format whose content is cut off or contradicts itself.
    #[error("the {role} '{name}' is damaged: {reason}; fetch or build it again")]
    Damaged {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A sound file of a kind that is not supported.
    #[error("the {role} '{name}' {reason}")]
    Unsupported {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
        /// What it is, and what to give instead.
        reason: String,
    },
    /// A file, or what it unpacks to, does not fit the RAM that is there for it.
    #[error(
        "the {role} '{name}' needs {} of RAM where {} are free; give the machine more with --memory",
        mebibytes(*.needed), mebibytes(*.free)
    )]
    TooLarge {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// A program is linked to an address without RAM.
    #[error(
        "the {role} '{name}' wants {bytes} bytes at {addr}, but RAM is {ram_base} to {ram_end}; \
         link it to RAM, or give more with --memory"
    )]
    OutsideRam {
        /// What the file was to be.
        role: Role,
        /// Its path.
        name: String,
        /// First address it wants.
        addr: GuestPhysAddr,
        /// Bytes it wants there.
        bytes: u64,
        /// First address of RAM.
        ram_base: GuestPhysAddr,
        /// First address behind RAM.
        ram_end: GuestPhysAddr,
    },
    /// Two parts want the same RAM.
    #[error(
        "the {first} and the {second} both want RAM at {addr}; \
         link one of them elsewhere, or start without it"
    )]
    Overlap {
        /// One part.
        first: &'static str,
        /// The other part.
        second: &'static str,
        /// An address that both want.
        addr: GuestPhysAddr,
    },
    /// Nothing to start was given.
    #[error("there is nothing to boot; give a kernel with --kernel or firmware with --bios")]
    NothingToBoot,
    /// OpenSBI would start nothing, and say nothing.
    #[error(
        "'{name}' is OpenSBI, which needs something to start: give U-Boot or a kernel with --kernel, EDK2 with \
         --flash code=FILE, or leave --bios out to boot a disk or a kernel"
    )]
    NothingAfterOpenSbi {
        /// Its path.
        name: String,
    },
    /// U-Boot that would be started by firmware, and cannot be.
    #[error(
        "'{name}' is U-Boot for machine mode, and firmware starts it in supervisor mode: give the one for that \
         (Debian's /usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin), or start this one with --bios none"
    )]
    MachineUBoot {
        /// Its path.
        name: String,
    },
    /// U-Boot that would run first, and cannot.
    #[error(
        "'{name}' is U-Boot for supervisor mode, which firmware starts: give it with --kernel, and OpenSBI before it \
         with --bios fw_dynamic.bin"
    )]
    SupervisorUBoot {
        /// Its path.
        name: String,
    },
    /// The RAM cannot even hold the device tree.
    #[error("{} of RAM are too little to boot; give the machine more with --memory", mebibytes(*.bytes))]
    TooLittleRam {
        /// RAM of the machine in bytes.
        bytes: u64,
    },
    /// The device tree outgrew the room that the plan keeps for it.
    #[error(
        "the device tree takes {bytes} bytes of at most {room}; shorten the kernel command line"
    )]
    DeviceTreeTooLarge {
        /// Bytes it takes.
        bytes: u64,
        /// Bytes there are.
        room: u64,
    },
    /// The kernel's protocol limits the command line.
    #[error("the kernel command line takes {bytes} bytes of at most {max}; shorten it")]
    CommandLineTooLong {
        /// Bytes it takes.
        bytes: u64,
        /// Bytes there may be.
        max: u64,
    },
    /// The tables for the system do not fit their place below 1 MiB.
    #[error(
        "the system's tables take {bytes} bytes of at most {room}; give the machine fewer processors"
    )]
    TablesTooLarge {
        /// Bytes they take.
        bytes: u64,
        /// Bytes there are.
        room: u64,
    },
    /// Guest memory refused a write that the plan held for sound.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// The end of the wrong-architecture message: the machine that could run the file, if there is one.
fn other_machine(found: &str) -> String {
    match found.parse::<GuestArch>() {
        Ok(arch) if arch.has_machine() => format!(", or use --arch {arch}"),
        Ok(_) | Err(_) => String::new(),
    }
}

/// What to do when a file cannot be read, by what the host said.
fn advice(reason: &str, option: &str) -> String {
    match reason.starts_with("Too many open files") {
        true => "raise the limit of open files (ulimit -n)".to_owned(),
        false => format!("check the path after {option}"),
    }
}

fn mebibytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < MIB {
        format!("{bytes} bytes")
    } else {
        format!("{} MiB", bytes.div_ceil(MIB))
    }
}

//! The boards that machines are built around: one for each guest architecture that there is a machine of.

mod pc;
mod riscv_virt;

use std::path::Path;

use vm_boot::image::Program;
use vm_boot::{BootFile, Role};
use vm_core::GuestArch;
use vm_core::config::{ArchChoice, VmConfig};
use vm_platform::machine::{Machine, MachineConfig, MachineError};
use vm_platform::pc::{PcBoot, PcConfig};
use vm_platform::riscv_virt::VirtConfig;

use crate::VmError;
use crate::signature::Signature;

/// What the board of a machine is made from, open.
pub(crate) enum Board {
    RiscvVirt(Box<VirtConfig>),
    Pc(Box<PcConfig>),
}

impl Board {
    /// Opens and checks all that is read: that what is to be booted is of the right kind and fits RAM. Nothing is made.
    pub(crate) fn open(
        arch: GuestArch,
        config: &VmConfig,
    ) -> Result<(Self, Option<Signature>), VmError> {
        match arch {
            GuestArch::Riscv64 => {
                let (board, signature) = riscv_virt::open(config)?;
                Ok((Self::RiscvVirt(Box::new(board)), signature))
            }
            GuestArch::X86_64 => {
                let (board, signature) = pc::open(config)?;
                Ok((Self::Pc(Box::new(board)), signature))
            }
            GuestArch::Aarch64 => Err(VmError::NoMachine(arch)),
        }
    }

    /// Opens what is made when it is not there.
    pub(crate) fn make_files(&mut self, config: &VmConfig) -> Result<(), VmError> {
        match self {
            Self::RiscvVirt(board) => board.flash = crate::flash::open(&config.flash)?,
            Self::Pc(board) => {
                if let PcBoot::Firmware(firmware) = &mut board.boot {
                    firmware.variables = crate::flash::pc_variables(&config.flash)?;
                }
            }
        }
        Ok(())
    }

    /// Builds the machine.
    pub(crate) fn build(self, machine: MachineConfig) -> Result<Machine, MachineError> {
        match self {
            Self::RiscvVirt(board) => vm_platform::riscv_virt::build(machine, *board),
            Self::Pc(board) => vm_platform::pc::build(machine, *board),
        }
    }
}

/// Checks what a board can say without opening anything.
pub(crate) fn check(arch: GuestArch, config: &VmConfig) -> Result<(), VmError> {
    match arch {
        GuestArch::Riscv64 => riscv_virt::check(config),
        GuestArch::X86_64 => pc::check(config),
        GuestArch::Aarch64 => Err(VmError::NoMachine(arch)),
    }
}

/// The names of the CPU models that there are, of all architectures.
pub fn cpu_models() -> impl Iterator<Item = &'static str> {
    let of_both = |name: &&str| riscv_virt::cpu_models().any(|model| model == *name);
    let x86 = pc::cpu_models().filter(move |name| !of_both(name));
    riscv_virt::cpu_models().chain(x86)
}

/// The architecture of a machine: the one that was chosen, or else the kernel's. A kernel that comes through a pipe can be
/// read only once, so it does not say.
pub(crate) fn arch_of(config: &VmConfig) -> GuestArch {
    let of_kernel = || {
        let path = config.kernel.as_deref().filter(|path| path.is_file())?;
        let file = BootFile::read(Role::Kernel, path, u64::MAX).ok()?;
        vm_boot::image::arch_of(&file)
    };
    match config.arch {
        ArchChoice::Is(arch) => arch,
        ArchChoice::Auto => of_kernel().unwrap_or(GuestArch::Riscv64),
    }
}

/// Opens what a role's option names.
fn file(config: &VmConfig, role: Role, path: &Path) -> Result<BootFile, VmError> {
    Ok(BootFile::read(role, path, config.memory().bytes())?)
}

/// Opens and unpacks a program.
fn program(
    config: &VmConfig,
    arch: GuestArch,
    role: Role,
    path: &Path,
) -> Result<Program, VmError> {
    let ram_bytes = config.memory().bytes();
    Ok(Program::from_file(
        &file(config, role, path)?,
        arch,
        ram_bytes,
    )?)
}

/// The signature that a program leaves, if it is wanted.
fn signature(config: &VmConfig, kernel: Option<&Program>) -> Result<Option<Signature>, VmError> {
    let path = config.dump_signature.clone();
    path.map(|path| Signature::of(kernel, path)).transpose()
}

//! Why a virtual machine could not be made or run.

use std::path::PathBuf;

use vm_boot::BootError;
use vm_core::GuestArch;
use vm_core::config::ConfigError;
use vm_device::block::DiskError;
use vm_device::net::nat::NatError;
use vm_frontend::riscv::isa::CpuError;
use vm_mem::MemoryError;
use vm_osal::NoThread;
use vm_platform::machine::MachineError;

/// Why a virtual machine could not be made or run. Each message is one line: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The CPU model or one of its extensions.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The same of an x86 processor.
    #[error(transparent)]
    X86Cpu(#[from] vm_frontend::x86::cpu::CpuError),
    /// There is no machine of that architecture.
    #[error("this program has no {0} machine: use --arch {machines}", machines = GuestArch::machines())]
    NoMachine(GuestArch),
    /// Kernel, initrd or firmware.
    #[error(transparent)]
    Boot(BootError),
    /// A device tree.
    #[error("cannot read the device tree {}: {reason}; check the path after --dtb", path.display())]
    DeviceTree {
        /// The file.
        path: PathBuf,
        /// What the host said.
        reason: String,
    },
    /// A disk.
    #[error("{disk}{advice}", disk = .0, advice = disk_advice(.0))]
    Disk(#[from] DiskError),
    /// A file of a flash bank.
    #[error("cannot use the flash image {}: {reason}", path.display())]
    Flash {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A network.
    #[error(transparent)]
    Net(#[from] NatError),
    /// A serial line.
    #[error("cannot connect the serial port to {to}: {reason}")]
    Serial {
        /// What it was to be connected to.
        to: String,
        /// What the host said, and what to do.
        reason: String,
    },
    /// A thread of the host.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// The machine.
    #[error(transparent)]
    Machine(MachineError),
    /// A signature is wanted of a program that has none.
    #[error(
        "--dump-signature needs a program with the symbols begin_signature and end_signature; '{0}' has not both"
    )]
    NoSignature(String),
    /// Guest memory that was to be read or written.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A picture's file.
    #[error("cannot write the screenshot to {}: {reason}; name another file", path.display())]
    Screenshot {
        /// The file.
        path: PathBuf,
        /// What the host said.
        reason: String,
    },
    /// The signature's file.
    #[error("cannot write the signature to {}: {reason}", path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// What the host said.
        reason: String,
    },
    /// A machine runs once.
    #[error("this virtual machine has already run: build another one")]
    AlreadyRan,
}

impl VmError {
    /// Whether the description of the machine is wrong in itself, whatever the host has.
    pub fn is_usage(&self) -> bool {
        if let Self::Net(error) = self {
            return error.is_usage();
        }
        matches!(
            self,
            Self::Config(_)
                | Self::Cpu(_)
                | Self::X86Cpu(_)
                | Self::NoMachine(_)
                | Self::Machine(
                    MachineError::Cpus(_)
                        | MachineError::TooManyPorts(_)
                        | MachineError::TooManyDevices { .. }
                        | MachineError::PinnedMmio
                        | MachineError::Pci(_)
                )
                | Self::Boot(BootError::NothingToBoot)
        )
    }
}

impl From<BootError> for VmError {
    fn from(error: BootError) -> Self {
        Self::Boot(error)
    }
}

impl From<MachineError> for VmError {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::Boot(error) => Self::Boot(error),
            error => Self::Machine(error),
        }
    }
}

fn disk_advice(error: &DiskError) -> &'static str {
    match error {
        DiskError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "; check the path after --disk, or make the disk with 'vm-cli disk create'"
        }
        DiskError::Open { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "; allow writing, or add readonly or snapshot=on"
        }
        _ => "",
    }
}

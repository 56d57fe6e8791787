//! The PC board: a kernel that is started without firmware.

use vm_boot::x86::LinuxEntry;
use vm_boot::{BootError, Role};
use vm_core::GuestArch;
use vm_core::config::{Bios, ConfigError, VirtioTransport, VmConfig};
use vm_frontend::x86::cpu::{CpuConfig, CpuModel};
use vm_platform::pc::PcConfig;

use super::{file, program, signature};
use crate::VmError;
use crate::signature::Signature;

pub(super) fn cpu_models() -> impl Iterator<Item = &'static str> {
    CpuModel::ALL.iter().map(|model| model.name)
}

/// Options that mean nothing to this board, and what is said of them.
fn refused(config: &VmConfig) -> [(bool, &'static str); 4] {
    [
        (
            config.bios != Bios::Builtin,
            "a PC starts its kernel without firmware: leave out --bios",
        ),
        (
            config.flash.code.is_some() || config.flash.vars.is_some(),
            "a PC starts its kernel without firmware: leave out --flash",
        ),
        (
            config.dtb.is_some(),
            "a PC has no device tree: leave out --dtb",
        ),
        (
            config.virtio == VirtioTransport::Mmio,
            "a PC attaches virtio devices to its PCI bus only: leave out --virtio mmio",
        ),
    ]
}

pub(super) fn check(config: &VmConfig) -> Result<(), VmError> {
    config.cpu.parse::<CpuConfig>()?;
    match refused(config).into_iter().find(|(given, _)| *given) {
        Some((_, advice)) => Err(ConfigError::Missing(advice).into()),
        None => Ok(()),
    }
}

pub(super) fn open(config: &VmConfig) -> Result<(PcConfig, Option<Signature>), VmError> {
    let kernel = config.kernel.as_deref().ok_or(BootError::NothingToBoot)?;
    let kernel = program(config, GuestArch::X86_64, Role::Kernel, kernel)?;
    let initrd = config.initrd.as_deref();
    let initrd = initrd.map(|path| file(config, Role::Initrd, path));
    let signature = signature(config, Some(&kernel))?;
    let board = PcConfig {
        cpu: config.cpu.parse()?,
        kernel,
        initrd: initrd.transpose()?,
        bootargs: config.append.clone(),
        entry: LinuxEntry::Auto,
    };
    Ok((board, signature))
}

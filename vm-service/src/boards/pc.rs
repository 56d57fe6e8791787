//! The PC board: a kernel that is started without firmware, or firmware.

use std::path::Path;

use vm_boot::firmware::Adapter;
use vm_boot::x86::LinuxEntry;
use vm_boot::{BootError, BootFile, Role, firmware};
use vm_core::GuestArch;
use vm_core::config::{Bios, ConfigError, DisplayChoice, VirtioTransport, VmConfig};
use vm_frontend::x86::cpu::{CpuConfig, CpuModel};
use vm_platform::machine::{MachineError, OfferedKernel};
use vm_platform::pc::{self, PcBoot, PcConfig, PcDisplay, PcFirmware, PcKernel};

use super::{file, program, signature};
use crate::signature::Signature;
use crate::{VmError, flash};

pub(super) fn cpu_models() -> impl Iterator<Item = &'static str> {
    CpuModel::ALL.iter().map(|model| model.name)
}

/// Whether firmware runs first.
fn has_firmware(config: &VmConfig) -> bool {
    config.flash.code.is_some() || matches!(config.bios, Bios::File(_))
}

/// The display, if there is one.
fn display(config: &VmConfig) -> Option<PcDisplay> {
    match config.display {
        DisplayChoice::Auto => has_firmware(config).then_some(PcDisplay::Vga),
        DisplayChoice::Vga => Some(PcDisplay::Vga),
        DisplayChoice::Ramfb => Some(PcDisplay::Ramfb),
        DisplayChoice::None => None,
    }
}

/// Options that mean nothing to this board, and what is said of them.
fn refused(config: &VmConfig) -> [(bool, &'static str); 9] {
    let bios = matches!(config.bios, Bios::File(_));
    let named = matches!(config.bios, Bios::Seabios | Bios::Uefi);
    [
        (
            config.bios == Bios::None,
            "a PC starts its kernel without firmware anyway: leave out --bios none",
        ),
        (
            named && !has_firmware(config),
            "firmware by name is for vm-cli to find: give its file",
        ),
        (
            (bios || named) && config.flash.code.is_some(),
            "a PC has firmware in flash or in ROM: leave out --bios or --flash code=",
        ),
        (
            config.flash.vars.is_some() && config.flash.code.is_none(),
            "variables belong to firmware in flash: give it with --flash code=",
        ),
        (
            bios && config.kernel.is_some(),
            "a BIOS starts what is on the disks: leave out --kernel, or --bios",
        ),
        (
            config.screenshot.is_some() && display(config).is_none(),
            "this PC has no display: give it one with --display vga, or leave out --screenshot",
        ),
        (
            config.test_device && has_firmware(config),
            "the test device is where firmware has its code: leave out --test-device",
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
    let display = display(config);
    let (boot, signature) = match (&config.flash.code, &config.bios) {
        (Some(path), _) => {
            let image = flash::pc_code(&config.flash, path)?;
            let kernel = config.kernel.as_deref();
            let kernel = kernel.map(|path| file(config, Role::Kernel, path));
            let initrd = config.initrd.as_deref();
            let initrd = initrd.map(|path| file(config, Role::Initrd, path));
            let initrd = initrd.transpose()?;
            let offered = kernel.transpose()?.map(|kernel| {
                let kernel = OfferedKernel { kernel, initrd };
                (kernel, config.append.clone())
            });
            let firmware = PcFirmware {
                offered,
                ..firmware_of(image)
            };
            (PcBoot::Firmware(firmware), None)
        }
        (None, Bios::File(path)) => {
            let image = BootFile::read(Role::Firmware, path, u64::MAX)?.bytes()?;
            pc::check_firmware(image.len() as u64, 0)
                .map_err(|error| MachineError::Board(error.into()))?;
            let adapter = match display {
                Some(PcDisplay::Vga) => Some(Adapter::Standard),
                Some(PcDisplay::Ramfb) => Some(Adapter::Ramfb),
                None => None,
            };
            let vga_rom = adapter.and_then(|it| firmware::vga_rom(Path::new("/"), path, it));
            let vga_rom = vga_rom.and_then(|path| std::fs::read(path).ok());
            let firmware = PcFirmware {
                vga_rom,
                ..firmware_of(image)
            };
            (PcBoot::Firmware(firmware), None)
        }
        _ => kernel(config)?,
    };
    let board = PcConfig {
        cpu: config.cpu.parse()?,
        boot,
        display,
        watchdog: config.watchdog,
        debug_exit: config.debug_exit,
        test_device: config.test_device,
    };
    Ok((board, signature))
}

/// Firmware; its variables are opened later.
fn firmware_of(image: Vec<u8>) -> PcFirmware {
    PcFirmware {
        image,
        variables: None,
        vga_rom: None,
        offered: None,
        serial_console: true,
    }
}

fn kernel(config: &VmConfig) -> Result<(PcBoot, Option<Signature>), VmError> {
    let kernel = config.kernel.as_deref().ok_or(BootError::NothingToBoot)?;
    let kernel = program(config, GuestArch::X86_64, Role::Kernel, kernel)?;
    let initrd = config.initrd.as_deref();
    let initrd = initrd.map(|path| file(config, Role::Initrd, path));
    let signature = signature(config, Some(&kernel))?;
    let boot = PcBoot::Kernel(PcKernel {
        kernel,
        initrd: initrd.transpose()?,
        bootargs: config.append.clone(),
        entry: LinuxEntry::Auto,
    });
    Ok((boot, signature))
}

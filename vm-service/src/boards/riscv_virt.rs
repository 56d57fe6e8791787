//! The RISC-V `virt` board: kernel, firmware, flash images and a device tree.

use std::path::PathBuf;

use vm_boot::riscv::{BootPlan, BootRequest, Firmware};
use vm_boot::{Extent, Role};
use vm_core::config::{Bios, ConfigError, DiskBus, DiskConfig, DisplayChoice, VmConfig};
use vm_core::{GuestArch, GuestPhysAddr};
use vm_frontend::riscv::isa::{CpuModel, IsaConfig};
use vm_platform::machine::OfferedKernel;
use vm_platform::riscv_virt::{VirtConfig, layout};

use super::{file, program, signature};
use crate::signature::Signature;
use crate::{VmError, flash};

const ARCH: GuestArch = GuestArch::Riscv64;

const FIRMWARE_OF_PCS: &str = "--bios seabios and --bios uefi are a PC's firmware: give this machine a file, or use --arch x86_64";

pub(super) fn cpu_models() -> impl Iterator<Item = &'static str> {
    CpuModel::ALL.iter().map(|model| model.name)
}

pub(super) fn check(config: &VmConfig) -> Result<(), VmError> {
    config.cpu.parse::<IsaConfig>()?;
    let on_pc = |disk: &DiskConfig| disk.bus != DiskBus::Virtio;
    let of_pcs = [
        (
            matches!(config.bios, Bios::Seabios | Bios::Uefi),
            FIRMWARE_OF_PCS,
        ),
        (
            config.disks.iter().any(on_pc),
            "disks with bus= or media= are a PC's, and this machine's are virtio devices: leave them out, or use --arch x86_64",
        ),
        (
            config.debugcon.is_some(),
            "the debug port is a PC's: leave out --debugcon, or use --arch x86_64",
        ),
        (
            config.screenshot.is_some()
                || matches!(config.display, DisplayChoice::Vga | DisplayChoice::Ramfb),
            "this machine has no display: leave out --display and --screenshot, or use --arch x86_64",
        ),
        (
            config.watchdog,
            "the watchdog is a PC's: leave out --watchdog, or use --arch x86_64",
        ),
        (
            config.debug_exit || config.test_device,
            "devices for test programs are a PC's: leave out --debug-exit and --test-device, or use --arch x86_64",
        ),
    ];
    match of_pcs.into_iter().find(|(given, _)| *given) {
        Some((_, advice)) => Err(ConfigError::Missing(advice).into()),
        None => Ok(()),
    }
}

pub(super) fn open(config: &VmConfig) -> Result<(VirtConfig, Option<Signature>), VmError> {
    let firmware = match &config.bios {
        Bios::Builtin => Firmware::BuiltIn,
        Bios::None => Firmware::None,
        Bios::File(path) => Firmware::Program(program(config, ARCH, Role::Firmware, path)?),
        Bios::Seabios | Bios::Uefi => {
            return Err(ConfigError::Missing(FIRMWARE_OF_PCS).into());
        }
    };
    let code_flash = flash::code_base(&config.flash)?;
    let kernel_role = match config.bios {
        Bios::Builtin => Role::Kernel,
        _ => Role::Payload,
    };
    let kernel = config.kernel.as_deref();
    let initrd = config.initrd.as_deref();
    let initrd = initrd.map(|path| file(config, Role::Initrd, path));
    let initrd = initrd.transpose()?;
    // Firmware in flash is started first, and a kernel is an EFI program to it.
    let (kernel, initrd, offered) = match (kernel, code_flash) {
        (Some(path), Some(_)) => {
            let kernel = file(config, Role::Kernel, path)?;
            (None, None, Some(OfferedKernel { kernel, initrd }))
        }
        (kernel, _) => {
            let kernel = kernel.map(|path| program(config, ARCH, kernel_role, path));
            (kernel.transpose()?, initrd, None)
        }
    };
    let signature = signature(config, kernel.as_ref())?;
    let boot = BootRequest {
        firmware,
        kernel,
        initrd,
        code_flash,
        reset_address: GuestPhysAddr(0),
        boot_hart: 0,
    };
    let ram = layout::ram(config.memory().bytes());
    let ram = Extent {
        base: ram.base,
        bytes: ram.bytes,
    };
    BootPlan::new(boot.clone(), ram)?;
    flash::check(&config.flash)?;
    let board = VirtConfig {
        isa: config.cpu.parse()?,
        builtin_sbi: matches!(boot.firmware, Firmware::BuiltIn),
        boot,
        offered,
        bootargs: config.append.clone(),
        device_tree: device_tree(config)?,
        flash: Default::default(),
        virtio: config.virtio,
    };
    Ok((board, signature))
}

fn device_tree(config: &VmConfig) -> Result<Option<Vec<u8>>, VmError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|reason| VmError::DeviceTree {
            path: path.clone(),
            reason: reason.to_string(),
        })
    };
    config.dtb.as_ref().map(read).transpose()
}

//! Opening of everything that a configuration names.

use std::path::Path;
use std::sync::Arc;

use vm_boot::image::Program;
use vm_boot::riscv::{BootPlan, BootRequest, Firmware};
use vm_boot::{BootFile, Extent, Role};
use vm_core::config::{Bios, DiskConfig, NetConfig, VirtioTransport, VmConfig};
use vm_core::{ExecTrace, GuestArch, GuestPhysAddr};
use vm_device::block::{BlockBackend, DiskAccess, Overlay, RawDisk};
use vm_device::net::nat::{Nat, NatConfig, NatError};
use vm_frontend::riscv::isa::IsaConfig;
use vm_platform::riscv_virt::layout;
use vm_platform::riscv_virt::machine::{self, Disk, MachineConfig, MachineError, Nic};

use crate::VmError;
use crate::serial::SerialLine;
use crate::signature::Signature;

/// CPUs that the machine has room for.
const MOST_CPUS: u32 = 8;
/// The first card's hardware address; further ones count up. The prefix is the one that virtual cards use.
const FIRST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// A machine's configuration with everything open that it names.
pub(crate) struct Assembly {
    pub(crate) machine: MachineConfig,
    pub(crate) nats: Vec<Arc<Nat>>,
    pub(crate) signature: Option<Signature>,
}

impl Assembly {
    /// Opens what `config` names; nothing is written before everything else is known to be right.
    pub(crate) fn of(
        config: &VmConfig,
        serial: &SerialLine,
        console: Option<&SerialLine>,
        start_paused: bool,
        trace: Option<Arc<dyn ExecTrace>>,
    ) -> Result<Self, VmError> {
        let (boot, signature) = boot(config)?;
        let isa: IsaConfig = config.cpu.parse()?;
        let disks = config.disks.iter().map(disk).collect::<Result<_, _>>()?;
        let nats: Vec<_> = config.nets.iter().map(nat).collect::<Result<_, _>>()?;
        let nics = config
            .nets
            .iter()
            .zip(&nats)
            .enumerate()
            .map(|(number, (net, nat))| Nic {
                backend: nat.clone(),
                mac: net.mac.map_or_else(|| numbered_mac(number), |mac| mac.0),
            })
            .collect();
        let machine = MachineConfig {
            cpus: config.cpus,
            ram_bytes: config.memory().bytes(),
            isa,
            builtin_sbi: matches!(boot.firmware, Firmware::BuiltIn),
            boot,
            bootargs: config.append.clone(),
            flash: [Vec::new(), Vec::new()],
            serial: serial.sink(),
            disks,
            nics,
            console: console.map(SerialLine::sink),
            rng: config.rng,
            virtio: match config.virtio {
                VirtioTransport::Pci => machine::VirtioTransport::Pci,
                VirtioTransport::Mmio => machine::VirtioTransport::Mmio,
            },
            no_reboot: config.no_reboot,
            start_paused,
            code_budget_bytes: config.code_cache.limit_bytes(vm_osal::free_memory_bytes) as usize,
            trace,
        };
        Ok(Self {
            machine,
            nats,
            signature,
        })
    }
}

/// Checks everything that can be checked without opening anything.
pub(crate) fn check(config: &VmConfig) -> Result<(), VmError> {
    config.check()?;
    if config.arch != GuestArch::Riscv64 {
        return Err(VmError::NoMachine(config.arch));
    }
    config.cpu.parse::<IsaConfig>()?;
    if !(1..=MOST_CPUS).contains(&config.cpus) {
        return Err(MachineError::Cpus(config.cpus).into());
    }
    for net in &config.nets {
        nat_config(net)?;
    }
    Ok(())
}

/// Checks that what is to be booted can be read, is of the right kind and fits RAM, and that disks are there.
pub(crate) fn check_files(config: &VmConfig) -> Result<(), VmError> {
    let (request, _) = boot(config)?;
    let ram = layout::ram(config.memory().bytes());
    let ram = Extent {
        base: ram.base,
        bytes: ram.bytes,
    };
    BootPlan::new(request, ram)?;
    config
        .disks
        .iter()
        .try_for_each(|config| disk(config).map(drop))
}

fn boot(config: &VmConfig) -> Result<(BootRequest, Option<Signature>), VmError> {
    let ram_bytes = config.memory().bytes();
    let program = |role, path: &Path| -> Result<Program, VmError> {
        let file = BootFile::read(role, path, ram_bytes)?;
        Ok(Program::from_file(&file, config.arch, ram_bytes)?)
    };
    let kernel_role = match config.bios {
        Bios::Builtin => Role::Kernel,
        Bios::None | Bios::File(_) => Role::Payload,
    };
    let kernel = config
        .kernel
        .as_deref()
        .map(|path| program(kernel_role, path));
    let kernel = kernel.transpose()?;
    let signature = config
        .dump_signature
        .clone()
        .map(|path| Signature::of(kernel.as_ref(), path))
        .transpose()?;
    let firmware = match &config.bios {
        Bios::Builtin => Firmware::BuiltIn,
        Bios::None => Firmware::None,
        Bios::File(path) => Firmware::Program(program(Role::Firmware, path)?),
    };
    let initrd = config.initrd.as_deref();
    let initrd = initrd.map(|path| BootFile::read(Role::Initrd, path, ram_bytes));
    let request = BootRequest {
        firmware,
        kernel,
        initrd: initrd.transpose()?,
        code_flash: None,
        reset_address: GuestPhysAddr(0),
        boot_hart: 0,
    };
    Ok((request, signature))
}

fn disk(config: &DiskConfig) -> Result<Disk, VmError> {
    let access = match config.readonly || config.snapshot {
        true => DiskAccess::ReadOnly,
        false => DiskAccess::ReadWrite,
    };
    let raw = RawDisk::open(&config.file, access)?;
    let backend: Arc<dyn BlockBackend> = match config.snapshot && !config.readonly {
        true => Arc::new(Overlay::new(Box::new(raw), None)?),
        false => Arc::new(raw),
    };
    Ok(Disk {
        backend,
        serial: config.serial.clone(),
    })
}

fn nat_config(config: &NetConfig) -> Result<NatConfig, NatError> {
    let forwards = config.hostfwd.iter().map(|text| text.parse());
    Ok(NatConfig {
        hostname: config.hostname.clone(),
        forwards: forwards.collect::<Result<_, _>>()?,
        pcap: config.pcap.clone(),
        loss_percent: config.loss,
        ..NatConfig::default()
    })
}

fn nat(config: &NetConfig) -> Result<Arc<Nat>, VmError> {
    Ok(Nat::start(nat_config(config)?)?)
}

/// The address of a card that was given none.
fn numbered_mac(number: usize) -> [u8; 6] {
    let mut mac = FIRST_MAC;
    mac[5] = mac[5].wrapping_add(number as u8);
    mac
}

#[cfg(test)]
mod tests;

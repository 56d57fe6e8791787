//! The board: what it plans, starts and loads.

use std::sync::Arc;

use vm_boot::Extent;
use vm_boot::riscv::{BootPlan, BootRequest, HartStart, Privilege, StartingHarts};
use vm_core::config::VirtioTransport;
use vm_core::{GuestVirtAddr, VcpuId};
use vm_engine::Vcpu;
use vm_frontend::InstanceSpec;
use vm_frontend::riscv::isa::{IsaConfig, SatpMode};
use vm_frontend::riscv::sys::Riscv;
use vm_mem::GuestMemory;

use super::config::VirtConfig;
use super::fdt::{self, FdtConfig, FdtError, MmuType};
use super::firmware::BuiltinSbi;
use super::wiring::line;
use super::{htif, layout, wiring};
use crate::Region;
use crate::machine::board::{Board, Parts, Poll, Ports};
use crate::machine::offered::kernel_items;
use crate::machine::shared::Shared;
use crate::machine::{FlashBank, MachineConfig, MachineError};

/// The `virt` board.
pub(super) struct Virt {
    isa: IsaConfig,
    ram_bytes: u64,
    pub(super) plan: BootPlan,
    sbi: Option<BuiltinSbi>,
    device_tree: Vec<u8>,
    /// What its devices are made from, until they are.
    fittings: Fittings,
}

/// What only this board's devices are made from.
#[derive(Default)]
pub(super) struct Fittings {
    pub(super) ram_bytes: u64,
    /// What the boot ROM holds.
    pub(super) reset_vector: Vec<u8>,
    pub(super) flash: [FlashBank; 2],
    /// fw_cfg items for firmware that starts a kernel.
    pub(super) offered: Vec<(u16, Vec<u8>)>,
    pub(super) virtio: VirtioTransport,
}

impl Board for Virt {
    type Guest = Riscv;
    type Config = VirtConfig;
    type Firmware = BuiltinSbi;

    fn new(machine: &MachineConfig, config: VirtConfig) -> Result<Self, MachineError> {
        let ram = layout::ram(machine.ram_bytes);
        let request = BootRequest {
            reset_address: layout::MROM.base,
            boot_hart: 0,
            ..config.boot
        };
        let plan = BootPlan::new(
            request,
            Extent {
                base: ram.base,
                bytes: ram.bytes,
            },
        )?;
        let offered = config
            .offered
            .map(|kernel| kernel_items(&kernel, &config.bootargs))
            .transpose()?;
        let description = description(machine, &config.isa, &plan, config.bootargs);
        let device_tree = match &config.device_tree {
            Some(given) => fdt::completed(given, &description)?,
            None => fdt::build(&description)?,
        };
        Ok(Self {
            isa: config.isa,
            ram_bytes: machine.ram_bytes,
            sbi: config.builtin_sbi.then(|| BuiltinSbi::new(machine.cpus)),
            device_tree,
            fittings: Fittings {
                ram_bytes: machine.ram_bytes,
                reset_vector: plan.reset_vector().into(),
                flash: config.flash,
                offered: offered.unwrap_or_default(),
                virtio: config.virtio,
            },
            plan,
        })
    }

    fn ram(&self) -> Vec<Region> {
        vec![layout::ram(self.ram_bytes)]
    }

    fn rom(&self) -> Vec<Region> {
        vec![layout::MROM, layout::FLASH0, layout::FLASH1]
    }

    fn cpu(&self) -> IsaConfig {
        self.isa.clone()
    }

    fn time_hz(&self) -> u64 {
        u64::from(layout::TIMEBASE_HZ)
    }

    fn spec(&self, hart: VcpuId) -> InstanceSpec {
        let start = self.plan.hart_start(u64::from(hart.0));
        InstanceSpec {
            vcpu: hart,
            entry: GuestVirtAddr(start.pc.raw()),
            builtin_firmware: start.privilege == Privilege::Supervisor && self.sbi.is_some(),
        }
    }

    fn place(&mut self, parts: Parts<'_>) -> Result<Ports, MachineError> {
        let placed = wiring::place_devices(parts, std::mem::take(&mut self.fittings))?;
        if let Some(sbi) = &mut self.sbi {
            sbi.read_from(placed.serial.clone());
        }
        Ok(Ports {
            serial: placed.serial,
            console: placed.console,
            balloon: placed.balloon,
            display: None,
            keyboard: None,
        })
    }

    fn load(&self, memory: &GuestMemory) -> Result<(), MachineError> {
        Ok(self.plan.load(memory, &self.device_tree)?)
    }

    fn power_on(&self, vcpu: &mut Vcpu<Riscv>) {
        let hart = vcpu.id();
        vcpu.reset(self.spec(hart));
        vcpu.shared().set_lines(0, 1 << line::SUPERVISOR_SOFTWARE);
        let HartStart { a0, a1, a2, .. } = self.plan.hart_start(u64::from(hart.0));
        vcpu.state_mut().x[10..13].copy_from_slice(&[a0, a1, a2]);
    }

    fn starts(&self, hart: VcpuId) -> bool {
        hart.0 == 0 || self.plan.starting_harts() == StartingHarts::All
    }

    fn firmware(&self) -> Option<&BuiltinSbi> {
        self.sbi.as_ref()
    }

    fn device_tree(&self) -> &[u8] {
        &self.device_tree
    }

    fn poll(&self, machine: &Arc<Shared<Self>>) -> Option<Poll> {
        htif::poll(self.plan.htif_symbols(), machine)
    }
}

impl From<FdtError> for MachineError {
    fn from(error: FdtError) -> Self {
        Self::Board(Box::new(error))
    }
}

fn description(
    machine: &MachineConfig,
    isa: &IsaConfig,
    plan: &BootPlan,
    bootargs: String,
) -> FdtConfig {
    let mut seed = [0; 32];
    vm_osal::random_bytes(&mut seed);
    let extensions = isa.isa_extensions().into_iter();
    FdtConfig {
        cpus: machine.cpus,
        ram_bytes: machine.ram_bytes,
        extensions: extensions.map(str::to_owned).collect(),
        mmu: mmu_type(isa),
        bootargs,
        initrd: plan.initrd().map(|at| Region {
            base: at.base,
            bytes: at.bytes,
        }),
        rng_seed: Some(seed),
        kaslr_seed: None,
    }
}

fn mmu_type(isa: &IsaConfig) -> MmuType {
    match isa.satp {
        SatpMode::Bare => MmuType::Bare,
        SatpMode::Sv39 => MmuType::Sv39,
        SatpMode::Sv48 => MmuType::Sv48,
        SatpMode::Sv57 => MmuType::Sv57,
    }
}

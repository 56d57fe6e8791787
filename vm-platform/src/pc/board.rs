//! The board: what it plans, starts and loads.

use std::sync::Arc;

use vm_boot::Extent;
use vm_boot::x86::{BootPlan, BootRequest, HIGH_RAM_BASE, PcRam};
use vm_core::{GuestPhysAddr, GuestVirtAddr, LocalIrq, VcpuId};
use vm_device::display::vga::spec::MEMORY_BYTES;
use vm_device::intc::lapic::LocalApic;
use vm_device::pci::{PciRoot, q35};
use vm_engine::Vcpu;
use vm_frontend::InstanceSpec;
use vm_frontend::x86::X86;
use vm_frontend::x86::cpu::{CpuConfig, TSC_HZ};
use vm_mem::{GuestMemory, PhysMap};

use super::config::{PcBoot, PcConfig, PcDisplay, PcFirmware, PcKernel};
use super::tables::Described;
use super::{firmware, layout, start, tables, wiring};
use crate::Region;
use crate::machine::board::{Board, NoFirmware, Parts, Ports};
use crate::machine::{MachineConfig, MachineError};

/// The PC board.
pub(super) struct Pc {
    cpu: CpuConfig,
    ram: PcRam,
    boot: Boot,
    devices: wiring::Devices,
    /// What processors find in RAM's place, once there is RAM.
    map: Option<PhysMap>,
    /// The VGA's memory, from then until the VGA is made of it.
    vga: Option<GuestMemory>,
    /// One for each processor, once the devices are placed.
    local_apics: Vec<Arc<LocalApic>>,
    /// The PCI bus, then too.
    pci: Option<Arc<PciRoot>>,
}

/// What runs first.
enum Boot {
    Kernel(BootPlan),
    Firmware(PcFirmware),
}

fn kernel_plan(
    cpu: &CpuConfig,
    ram: PcRam,
    kernel: PcKernel,
    has_vga: bool,
) -> Result<BootPlan, MachineError> {
    let described = Described {
        cpus: cpu.cpus,
        ram_end: ram_end(ram),
        ecam: layout::PCIE_ECAM.base,
        has_vga,
        // Linux would try its interrupt for some ticks, and panic where a busy host does not let them through in time. It has
        // the local APIC's timer, whose frequency it is told.
        has_hpet: false,
    };
    let mut tables = tables::acpi(&described).placed()?;
    tables.parts.extend(tables::smbios(cpu, ram).placed()?);
    Ok(BootPlan::new(&BootRequest {
        kernel: kernel.kernel,
        initrd: kernel.initrd,
        command_line: kernel.bootargs,
        ram,
        reserved: [
            layout::PCIE_ECAM,
            layout::IOAPIC,
            layout::HPET,
            layout::LOCAL_APIC,
        ]
        .map(|Region { base, bytes }| Extent { base, bytes })
        .into(),
        tables,
        entry: kernel.entry,
    })?)
}

impl Board for Pc {
    type Guest = X86;
    type Config = PcConfig;
    type Firmware = NoFirmware;

    fn new(machine: &MachineConfig, config: PcConfig) -> Result<Self, MachineError> {
        let ram = PcRam::split(machine.ram_bytes);
        let cpu = CpuConfig {
            cpus: machine.cpus,
            ..config.cpu
        };
        let devices = wiring::Devices {
            display: config.display,
            watchdog: config.watchdog,
            debug_exit: config.debug_exit,
            test_device: config.test_device,
        };
        let has_vga = config.display == Some(PcDisplay::Vga);
        let boot = match config.boot {
            PcBoot::Kernel(kernel) => Boot::Kernel(kernel_plan(&cpu, ram, kernel, has_vga)?),
            PcBoot::Firmware(image) => {
                let variables = image.variables.as_ref();
                let variables_bytes = variables.map_or(0, |bank| bank.image.len() as u64);
                firmware::check(image.image.len() as u64, variables_bytes)
                    .map_err(|error| MachineError::Board(error.into()))?;
                Boot::Firmware(image)
            }
        };
        Ok(Self {
            cpu,
            ram,
            boot,
            devices,
            map: None,
            vga: None,
            local_apics: Vec::new(),
            pci: None,
        })
    }

    fn ram(&self) -> Vec<Region> {
        let ranges = self.ram.ranges().into_iter();
        ranges.map(|(base, bytes)| Region { base, bytes }).collect()
    }

    fn rom(&self) -> Vec<Region> {
        Vec::new()
    }

    fn map(&mut self, ram: &GuestMemory) -> Result<PhysMap, MachineError> {
        let image = match &self.boot {
            Boot::Kernel(_) => None,
            Boot::Firmware(firmware) => Some(&firmware.image[..]),
        };
        if self.devices.display == Some(PcDisplay::Vga) {
            let whole = (GuestPhysAddr(0), MEMORY_BYTES as u64);
            self.vga = Some(GuestMemory::new(&[whole])?);
        }
        let map = firmware::map(ram, image, self.vga.clone())?;
        self.map = Some(map.clone());
        Ok(map)
    }

    fn cpu(&self) -> CpuConfig {
        self.cpu.clone()
    }

    fn time_hz(&self) -> u64 {
        TSC_HZ
    }

    fn spec(&self, vcpu: VcpuId) -> InstanceSpec {
        InstanceSpec {
            vcpu,
            entry: GuestVirtAddr(layout::RESET_VECTOR),
            builtin_firmware: false,
        }
    }

    fn place(&mut self, parts: Parts<'_>) -> Result<Ports, MachineError> {
        let map = self.map.take().expect("invariant: there is RAM");
        let firmware = match &mut self.boot {
            Boot::Kernel(_) => None,
            Boot::Firmware(firmware) => Some(firmware),
        };
        let plan = wiring::Plan {
            ram: self.ram,
            cpu: &self.cpu,
            map,
            vga: self.vga.take(),
            firmware,
            devices: self.devices,
        };
        let placed = wiring::place_devices(parts, plan)?;
        self.local_apics = placed.local_apics;
        self.pci = Some(placed.pci);
        Ok(placed.ports)
    }

    fn local_irq(&self, vcpu: VcpuId) -> Option<Arc<dyn LocalIrq>> {
        let apic = self.local_apics.get(vcpu.0 as usize)?;
        Some(apic.clone())
    }

    fn load(&self, memory: &GuestMemory) -> Result<(), MachineError> {
        let Boot::Kernel(plan) = &self.boot else {
            return Ok(());
        };
        if let Some(pci) = &self.pci {
            q35::set_up_without_firmware(pci, layout::PCIE_ECAM.base.raw());
        }
        Ok(plan.load(memory)?)
    }

    fn power_on(&self, vcpu: &mut Vcpu<X86>) {
        let id = vcpu.id();
        if let Some(apic) = self.local_apics.get(id.0 as usize) {
            apic.reset();
        }
        vcpu.reset(self.spec(id));
        vcpu.shared().set_lines(0, u64::MAX);
        if id.0 == 0
            && let Boot::Kernel(plan) = &self.boot
        {
            start::entry(plan.entry()).apply(vcpu.state_mut());
        }
    }
}

/// First address behind all RAM.
pub(super) fn ram_end(ram: PcRam) -> GuestPhysAddr {
    match ram.high_bytes {
        0 => ram.low().end(),
        bytes => HIGH_RAM_BASE + bytes,
    }
}

//! The devices: where each is on the bus, and which interrupt lines it drives.

use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use vm_core::Clock;
use vm_device::Bus;
use vm_device::chardev::CharSink;
use vm_device::firmware::flash::{Flash, FlashAccess};
use vm_device::firmware::fw_cfg::FwCfg;
use vm_device::firmware::rom::Rom;
use vm_device::intc::clint::{Clint, HartLines};
use vm_device::intc::plic::Plic;
use vm_device::pci::{PciRoot, Space};
use vm_device::power::sifive_test::{Finish, SifiveTest};
use vm_device::serial::ns16550::Ns16550;
use vm_device::timer::goldfish::GoldfishRtc;
use vm_device::virtio::block::VirtioBlock;
use vm_device::virtio::console::VirtioConsole;
use vm_device::virtio::entropy::{HostEntropy, VirtioEntropy};
use vm_device::virtio::net::VirtioNet;
use vm_device::virtio::{EmptySlot, VirtioDevice, VirtioMmio, VirtioPci};
use vm_engine::VcpuShared;
use vm_mem::GuestMemory;
use vm_osal::TimerThread;

use super::config::{Disk, MachineError, Nic, Outcome, VirtioTransport};
use super::control::{Event, Shared};
use super::layout::{self, Region};

/// Interrupt lines of a hart, numbered as in `mip` (RISC-V Privileged, 3.1.9).
pub(super) mod line {
    pub(in crate::riscv_virt) const SUPERVISOR_SOFTWARE: u32 = 1;
    pub(in crate::riscv_virt) const MACHINE_SOFTWARE: u32 = 3;
    pub(in crate::riscv_virt) const SUPERVISOR_TIMER: u32 = 5;
    pub(in crate::riscv_virt) const MACHINE_TIMER: u32 = 7;
    pub(in crate::riscv_virt) const SUPERVISOR_EXTERNAL: u32 = 9;
    pub(in crate::riscv_virt) const MACHINE_EXTERNAL: u32 = 11;
}

/// What the devices are connected to.
pub(super) struct Parts<'a> {
    pub(super) bus: &'a Bus,
    pub(super) memory: &'a GuestMemory,
    pub(super) ram_bytes: u64,
    pub(super) lines: &'a [Arc<VcpuShared>],
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timers: &'a TimerThread,
    pub(super) shared: Weak<Shared>,
    /// What the boot ROM holds.
    pub(super) reset_vector: Vec<u8>,
    pub(super) flash: [Vec<u8>; 2],
    pub(super) serial: Arc<dyn CharSink>,
    pub(super) console: Option<Arc<dyn CharSink>>,
    pub(super) disks: Vec<Disk>,
    pub(super) nics: Vec<Nic>,
    pub(super) rng: bool,
    pub(super) virtio: VirtioTransport,
}

/// The devices that somebody types at.
pub(super) struct Ports {
    pub(super) serial: Arc<Ns16550>,
    pub(super) console: Option<Arc<VirtioConsole>>,
}

/// Makes the devices and puts them on the bus.
///
/// # Errors
/// When there are more than the machine has room for, or an image does not fit its device.
pub(super) fn place_devices(parts: Parts<'_>) -> Result<Ports, MachineError> {
    let place = |name: &str, region: Region, device| {
        parts
            .bus
            .insert(name, region.base.raw(), region.bytes, device)
    };
    let rom = Rom::new(layout::MROM.base, layout::MROM.bytes, &parts.reset_vector)?;
    place("mrom", layout::MROM, Arc::new(rom))?;
    let shared = parts.shared;
    let finish = move |finish: Finish| {
        if let Some(shared) = shared.upgrade() {
            shared.raise(match finish {
                Finish::PowerOff => Event::End(Outcome::PoweredOff),
                Finish::Fail(code) => Event::End(Outcome::Failed(code)),
                Finish::Reset => Event::Reset,
            });
        }
    };
    place(
        "test",
        layout::TEST,
        Arc::new(SifiveTest::new(Box::new(finish))),
    )?;
    let hart_lines = |vcpu: &Arc<VcpuShared>| HartLines {
        software: vcpu.line(line::MACHINE_SOFTWARE),
        timer: vcpu.line(line::MACHINE_TIMER),
    };
    let clint = Clint::new(
        parts.lines.iter().map(hart_lines).collect(),
        parts.clock.clone(),
        parts.timers,
    );
    place("clint", layout::CLINT, Arc::new(clint))?;
    let contexts = parts.lines.iter().flat_map(|vcpu| {
        [
            vcpu.line(line::MACHINE_EXTERNAL),
            vcpu.line(line::SUPERVISOR_EXTERNAL),
        ]
    });
    let plic = Arc::new(Plic::new(layout::PLIC_SOURCES, contexts.collect()));
    place("plic", layout::PLIC, plic.clone())?;
    let serial = Arc::new(Ns16550::new(plic.source(layout::IRQ_UART0), parts.serial));
    place("uart", layout::UART0, serial.clone())?;
    let epoch_ns = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    let rtc = GoldfishRtc::new(
        epoch_ns as u64,
        parts.clock,
        parts.timers,
        plic.source(layout::IRQ_RTC),
    );
    place("rtc", layout::RTC, Arc::new(rtc))?;
    for ((region, image), name) in [layout::FLASH0, layout::FLASH1]
        .into_iter()
        .zip(parts.flash)
        .zip(["flash0", "flash1"])
    {
        let flash = Flash::virt(region.base, &image, FlashAccess::Volatile)?;
        place(name, region, Arc::new(flash))?;
    }
    let fw_cfg = FwCfg::new(parts.memory.clone());
    fw_cfg.add_u16(FW_CFG_CPUS, parts.lines.len() as u16);
    place("fw-cfg", layout::FW_CFG, Arc::new(fw_cfg))?;

    let console = parts.console.map(VirtioConsole::new);
    let mut devices: Vec<(&str, Arc<dyn VirtioDevice>)> = Vec::new();
    for disk in parts.disks {
        devices.push(("virtio-blk", VirtioBlock::new(disk.backend, &disk.serial)));
    }
    for nic in parts.nics {
        devices.push(("virtio-net", VirtioNet::new(nic.backend, nic.mac)));
    }
    if let Some(port) = &console {
        devices.push(("virtio-console", port.clone()));
    }
    if parts.rng {
        devices.push(("virtio-rng", VirtioEntropy::new(Arc::new(HostEntropy))));
    }
    let room = match parts.virtio {
        VirtioTransport::Pci => PCI_SLOTS,
        VirtioTransport::Mmio => layout::VIRTIO_MMIO_COUNT as usize,
    };
    if devices.len() > room {
        return Err(MachineError::TooManyDevices {
            count: devices.len(),
            room,
        });
    }

    let root = PciRoot::new(PCI_PINS.map(|pin| plic.source(layout::IRQ_PCIE_INTA + pin)));
    let mmio64 = layout::pcie_mmio64(parts.ram_bytes);
    place("pcie-ecam", layout::PCIE_ECAM, root.ecam())?;
    place("pcie-pio", layout::PCIE_PIO, root.window(Space::Io, 0))?;
    for (name, window) in [
        ("pcie-mmio32", layout::PCIE_MMIO32),
        ("pcie-mmio64", mmio64),
    ] {
        place(name, window, root.window(Space::Memory, window.base.raw()))?;
    }
    let mut mmio_devices = Vec::new();
    match parts.virtio {
        VirtioTransport::Mmio => mmio_devices = devices,
        VirtioTransport::Pci => {
            for (slot, (kind, device)) in (1..).zip(devices) {
                let function = VirtioPci::new(kind, device, parts.memory.clone(), root.intx(slot));
                root.insert(slot, function)?;
            }
        }
    }
    let mut mmio_devices = mmio_devices.into_iter();
    for slot in 0..layout::VIRTIO_MMIO_COUNT {
        let region = layout::virtio_mmio(slot);
        let name = format!("virtio-mmio{slot}");
        match mmio_devices.next() {
            Some((kind, device)) => {
                let irq = plic.source(layout::virtio_mmio_irq(slot));
                place(
                    &name,
                    region,
                    VirtioMmio::new(kind, device, parts.memory.clone(), irq),
                )?;
            }
            None => place(&name, region, Arc::new(EmptySlot))?,
        }
    }
    Ok(Ports { serial, console })
}

/// Slots of the root bus that are free for devices: the host bridge has slot 0.
const PCI_SLOTS: usize = 31;
/// INTA# to INTD#.
const PCI_PINS: [u32; 4] = [0, 1, 2, 3];

/// fw_cfg key of the number of CPUs (QEMU fw_cfg specification).
const FW_CFG_CPUS: u16 = 5;

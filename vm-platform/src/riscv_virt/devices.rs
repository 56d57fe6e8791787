//! The devices on the bus, a row each: where it is, its interrupt, what makes it, its node in the device tree.

use std::sync::Arc;

use vm_core::{IrqLine, NoIrq};
use vm_device::BusDevice;
use vm_device::firmware::flash::Flash;
use vm_device::firmware::fw_cfg::FwCfg;
use vm_device::firmware::fw_cfg::spec::KEY_NB_CPUS;
use vm_device::firmware::rom::Rom;
use vm_device::intc::clint::{Clint, HartLines};
use vm_device::pci::Space;
use vm_device::power::sifive_test::{Finish, SifiveTest};
use vm_device::serial::ns16550::Ns16550;
use vm_device::timer::goldfish::GoldfishRtc;
use vm_device::virtio::{EmptySlot, VirtioMmio};
use vm_engine::VcpuShared;

use super::fdt::node::{self, Node};
use super::layout;
use super::wiring::{Wiring, line};
use crate::Region;
use crate::machine::control::Event;
use crate::machine::{FlashBank, MachineError, Outcome};

type Made = Result<Arc<dyn BusDevice>, MachineError>;
/// What makes the device of a row.
type Make = fn(&Row, &mut Wiring<'_>) -> Made;

/// A device that answers at a fixed place of the bus.
pub(super) struct Row {
    /// Names it, and its thread if it has one.
    pub(super) name: &'static str,
    /// Where it answers.
    pub(super) region: Region,
    /// The PLIC source that it drives, if any.
    pub(super) irq: Option<u32>,
    pub(super) make: Make,
    /// How the guest is told of it. `None` for what another row's node describes, or nothing does.
    pub(super) node: Option<&'static Node>,
}

/// All rows of a machine with `ram_bytes` bytes of RAM, in the order of the device tree.
#[rustfmt::skip]
pub(super) fn rows(ram_bytes: u64) -> Vec<Row> {
    let row = |name, region, irq, make, node| Row { name, region, irq, make, node };
    let mut rows = vec![
        row("mrom",   layout::MROM,   None, rom as Make, None),
        row("fw-cfg", layout::FW_CFG, None, fw_cfg,      Some(&node::FW_CFG)),
        row("flash0", layout::FLASH0, None, flash,       Some(&node::FLASH)),
        row("flash1", layout::FLASH1, None, flash,       None),
        row("clint",  layout::CLINT,  None, clint,       Some(&node::CLINT)),
        row("plic",   layout::PLIC,   None, plic,        Some(&node::PLIC)),
        row("test",   layout::TEST,   None, test,        Some(&node::TEST)),
        row("rtc",    layout::RTC,    Some(layout::IRQ_RTC),   rtc,  Some(&node::RTC)),
        row("uart",   layout::UART0,  Some(layout::IRQ_UART0), uart, Some(&node::UART)),
    ];
    rows.extend((0..layout::VIRTIO_MMIO_COUNT).map(|slot| {
        let irq = Some(layout::virtio_mmio_irq(slot));
        row("virtio-mmio", layout::virtio_mmio(slot), irq, virtio_mmio, Some(&node::VIRTIO_MMIO))
    }));
    rows.extend([
        row("pcie-ecam",   layout::PCIE_ECAM,   None, pcie_ecam as Make, Some(&node::PCIE)),
        row("pcie-pio",    layout::PCIE_PIO,    None, pcie_io,     None),
        row("pcie-mmio32", layout::PCIE_MMIO32, None, pcie_memory, None),
        row("pcie-mmio64", layout::pcie_mmio64(ram_bytes), None, pcie_memory, None),
    ]);
    rows
}

impl Row {
    /// The line that the device drives.
    fn line(&self, wiring: &Wiring<'_>) -> Arc<dyn IrqLine> {
        match self.irq {
            Some(source) => wiring.plic.source(source),
            None => Arc::new(NoIrq),
        }
    }
}

fn rom(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    let Region { base, bytes } = row.region;
    Ok(Arc::new(Rom::new(
        base,
        bytes,
        &wiring.fittings.reset_vector,
    )?))
}

fn fw_cfg(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let fw_cfg = FwCfg::new(wiring.parts.memory.clone());
    fw_cfg.add_u16(KEY_NB_CPUS, wiring.parts.vcpus.len() as u16);
    for (key, bytes) in wiring.fittings.offered.drain(..) {
        fw_cfg.add_bytes(key, bytes);
    }
    Ok(Arc::new(fw_cfg))
}

fn flash(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    let [first, second] = &mut wiring.fittings.flash;
    let bank = if row.region == layout::FLASH0 {
        first
    } else {
        second
    };
    let FlashBank { image, access } = std::mem::take(bank);
    Ok(Arc::new(Flash::virt(row.region.base, &image, access)?))
}

fn clint(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let hart_lines = |vcpu: &Arc<VcpuShared>| HartLines {
        software: vcpu.line(line::MACHINE_SOFTWARE),
        timer: vcpu.line(line::MACHINE_TIMER),
    };
    let parts = &wiring.parts;
    let lines = parts.vcpus.iter().map(hart_lines).collect();
    Ok(Arc::new(Clint::new(
        lines,
        parts.time.clone(),
        &*parts.timers,
    )))
}

fn plic(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(wiring.plic.clone())
}

fn test(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    let control = wiring.parts.control.clone();
    let finish = move |finish: Finish| {
        control.raise(match finish {
            Finish::PowerOff => Event::End(Outcome::PoweredOff),
            Finish::Fail(code) => Event::End(Outcome::Failed(code)),
            Finish::Reset => Event::Reset,
        });
    };
    Ok(Arc::new(SifiveTest::new(Box::new(finish))))
}

fn rtc(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(Arc::new(GoldfishRtc::new(
        wiring.parts.rtc_start.as_nanos() as u64,
        wiring.parts.clock.clone(),
        &*wiring.parts.timers,
        row.line(wiring),
    )))
}

fn uart(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    let output = wiring.parts.serial.clone();
    let serial = Arc::new(Ns16550::new(row.line(wiring), output));
    wiring.serial = Some(serial.clone());
    Ok(serial)
}

fn virtio_mmio(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(match wiring.mmio.next() {
        Some((kind, device)) => {
            VirtioMmio::new(kind, device, wiring.parts.memory.clone(), row.line(wiring))
        }
        None => Arc::new(EmptySlot),
    })
}

fn pcie_ecam(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(wiring.pci.ecam())
}

fn pcie_io(_: &Row, wiring: &mut Wiring<'_>) -> Made {
    Ok(wiring.pci.window(Space::Io, 0))
}

/// PCI memory has the same addresses on both sides of the bridge.
fn pcie_memory(row: &Row, wiring: &mut Wiring<'_>) -> Made {
    let base = row.region.base.raw();
    Ok(wiring.pci.window(Space::Memory, base))
}

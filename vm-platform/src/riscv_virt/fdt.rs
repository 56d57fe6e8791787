//! The device tree of the RISC-V `virt` machine.
//!
//! Nodes, properties and values are those that QEMU 10's `virt` shows for the same devices; the order within
//! the tree is ours (its meaning does not depend on it). Bindings: Devicetree Specification 0.4 for the base,
//! the Linux kernel's bindings (`riscv/cpus.yaml`, `interrupt-controller/sifive,plic-1.0.0.yaml`,
//! `timer/sifive,clint.yaml`, `pci/host-generic-pci.yaml`) for the rest.

use vm_fdt::FdtWriter;

use super::layout::{self, Region};

/// Virtual address translation that the harts offer, by its longest mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmuType {
    /// Physical addresses only.
    Bare,
    /// 39-bit addresses.
    Sv39,
    /// 48-bit addresses, and Sv39.
    Sv48,
    /// 57-bit addresses, Sv48 and Sv39.
    Sv57,
}

impl MmuType {
    /// Value of the `mmu-type` property (Linux `riscv/cpus.yaml`).
    const fn property(self) -> &'static str {
        match self {
            Self::Bare => "riscv,none",
            Self::Sv39 => "riscv,sv39",
            Self::Sv48 => "riscv,sv48",
            Self::Sv57 => "riscv,sv57",
        }
    }
}

/// What differs between two `virt` machines as far as the guest's description goes.
#[derive(Clone, Debug)]
pub struct FdtConfig {
    /// Number of harts; their ids count from zero.
    pub cpus: u32,
    /// RAM in bytes, at [`layout::RAM_BASE`].
    pub ram_bytes: u64,
    /// Extension names in canonical order, lower case: single letters first (`i`, `m`, `a`, ...), then the
    /// longer ones. Both `riscv,isa` and `riscv,isa-extensions` are made from it.
    pub extensions: Vec<String>,
    /// Address translation of the harts.
    pub mmu: MmuType,
    /// Kernel command line; may be empty.
    pub bootargs: String,
    /// Where the initial RAM disk was put, if there is one.
    pub initrd: Option<Region>,
    /// Random bytes for the kernel's random number generator.
    pub rng_seed: Option<[u8; 32]>,
    /// Random value from which the kernel picks its virtual address.
    pub kaslr_seed: Option<u64>,
}

/// Why no device tree could be built.
#[derive(Debug, thiserror::Error)]
pub enum FdtError {
    /// A machine needs a hart.
    #[error("a machine without a CPU cannot be described; ask for at least one with --cpus")]
    NoCpus,
    /// The tree format ends strings with a zero byte.
    #[error("the {what} contains a zero byte, which a device tree cannot hold; remove it")]
    ZeroByte {
        /// Which text.
        what: &'static str,
    },
    /// The writer refused; a defect of this module.
    #[error("the device tree cannot be written: {0}")]
    Writer(#[from] vm_fdt::Error),
}

/// Builds the flattened device tree (Devicetree Specification 0.4, 5).
///
/// # Errors
/// When there are no harts or a text holds a zero byte.
pub fn build(config: &FdtConfig) -> Result<Vec<u8>, FdtError> {
    if config.cpus == 0 {
        return Err(FdtError::NoCpus);
    }
    if config.bootargs.contains('\0') {
        return Err(FdtError::ZeroByte {
            what: "kernel command line",
        });
    }
    if config.extensions.iter().any(|name| name.contains('\0')) {
        return Err(FdtError::ZeroByte {
            what: "list of CPU extensions",
        });
    }
    Ok(Tree {
        w: FdtWriter::new()?,
        config,
    }
    .build()?)
}

/// Phandle of the PLIC.
const PLIC_PHANDLE: u32 = 1;
/// Phandle of the test device, the register map of the syscon nodes.
const TEST_PHANDLE: u32 = 2;
/// Phandle of hart 0; each hart takes two numbers, itself and its interrupt controller.
const FIRST_CPU_PHANDLE: u32 = 3;

const fn cpu_phandle(hart: u32) -> u32 {
    FIRST_CPU_PHANDLE + 2 * hart
}

const fn intc_phandle(hart: u32) -> u32 {
    cpu_phandle(hart) + 1
}

/// Cause numbers of a hart's interrupts (RISC-V Privileged 1.13, table 14).
mod cause {
    pub(super) const M_SOFTWARE: u32 = 3;
    pub(super) const M_TIMER: u32 = 7;
    pub(super) const S_EXTERNAL: u32 = 9;
    pub(super) const M_EXTERNAL: u32 = 11;
}

/// Space codes of the first cell of a PCI address (IEEE 1275 PCI binding, 2.2.1.1).
mod pci_space {
    pub(super) const IO: u32 = 0x0100_0000;
    pub(super) const MEMORY32: u32 = 0x0200_0000;
    pub(super) const MEMORY64: u32 = 0x0300_0000;
}

/// Where the device number stands in the first cell of a PCI address (IEEE 1275 PCI binding, 2.2.1.1).
const PCI_DEVICE_SHIFT: u32 = 11;

type Written = Result<(), vm_fdt::Error>;

struct Tree<'a> {
    w: FdtWriter,
    config: &'a FdtConfig,
}

impl Tree<'_> {
    fn build(mut self) -> Result<Vec<u8>, vm_fdt::Error> {
        self.node("", |t| {
            t.w.property_u32("#address-cells", 2)?;
            t.w.property_u32("#size-cells", 2)?;
            t.w.property_string("compatible", "riscv-virtio")?;
            t.w.property_string("model", "riscv-virtio,qemu")?;
            t.chosen()?;
            t.aliases()?;
            t.memory()?;
            t.cpus()?;
            t.fw_cfg()?;
            t.flash()?;
            t.syscon("poweroff", "syscon-poweroff", layout::TEST_POWER_OFF)?;
            t.syscon("reboot", "syscon-reboot", layout::TEST_RESET)?;
            t.soc()
        })?;
        self.w.finish()
    }

    fn node(&mut self, name: &str, fill: impl FnOnce(&mut Self) -> Written) -> Written {
        let node = self.w.begin_node(name)?;
        fill(self)?;
        self.w.end_node(node)
    }

    /// A node for a device: its name carries the address, its `reg` the region.
    fn device(
        &mut self,
        name: &str,
        region: Region,
        compatible: &[&str],
        fill: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        self.node(&unit_name(name, region), |t| {
            t.strings("compatible", compatible)?;
            t.regions("reg", &[region])?;
            fill(t)
        })
    }

    fn strings<S: AsRef<str>>(&mut self, name: &str, values: &[S]) -> Written {
        let values = values
            .iter()
            .map(|value| value.as_ref().to_owned())
            .collect();
        self.w.property_string_list(name, values)
    }

    fn regions(&mut self, name: &str, regions: &[Region]) -> Written {
        let cells: Vec<u64> = regions
            .iter()
            .flat_map(|r| [r.base.raw(), r.bytes])
            .collect();
        self.w.property_array_u64(name, &cells)
    }

    /// The interrupt of a device that is wired to the PLIC.
    fn plic_interrupt(&mut self, source: u32) -> Written {
        self.w.property_u32("interrupt-parent", PLIC_PHANDLE)?;
        self.w.property_u32("interrupts", source)
    }

    /// Wires to the given causes of every hart.
    fn hart_interrupts(&mut self, causes: &[u32]) -> Written {
        let cells: Vec<u32> = (0..self.config.cpus)
            .flat_map(|hart| {
                causes
                    .iter()
                    .flat_map(move |&cause| [intc_phandle(hart), cause])
            })
            .collect();
        self.w.property_array_u32("interrupts-extended", &cells)
    }

    fn chosen(&mut self) -> Written {
        self.node("chosen", |t| {
            t.w.property_string("bootargs", &t.config.bootargs)?;
            t.w.property_string("stdout-path", &uart_path())?;
            if let Some(initrd) = t.config.initrd {
                t.w.property_u64("linux,initrd-start", initrd.base.raw())?;
                t.w.property_u64("linux,initrd-end", initrd.end().raw())?;
            }
            if let Some(seed) = &t.config.rng_seed {
                t.w.property("rng-seed", seed)?;
            }
            if let Some(seed) = t.config.kaslr_seed {
                t.w.property_u64("kaslr-seed", seed)?;
            }
            Ok(())
        })
    }

    fn aliases(&mut self) -> Written {
        self.node("aliases", |t| t.w.property_string("serial0", &uart_path()))
    }

    fn memory(&mut self) -> Written {
        let ram = layout::ram(self.config.ram_bytes);
        self.node(&unit_name("memory", ram), |t| {
            t.w.property_string("device_type", "memory")?;
            t.regions("reg", &[ram])
        })
    }

    fn cpus(&mut self) -> Written {
        self.node("cpus", |t| {
            t.w.property_u32("#address-cells", 1)?;
            t.w.property_u32("#size-cells", 0)?;
            t.w.property_u32("timebase-frequency", layout::TIMEBASE_HZ)?;
            for hart in 0..t.config.cpus {
                t.cpu(hart)?;
            }
            t.node("cpu-map", |t| {
                t.node("cluster0", |t| {
                    for hart in 0..t.config.cpus {
                        t.node(&format!("core{hart}"), |t| {
                            t.w.property_u32("cpu", cpu_phandle(hart))
                        })?;
                    }
                    Ok(())
                })
            })
        })
    }

    fn cpu(&mut self, hart: u32) -> Written {
        let config = self.config;
        self.node(&format!("cpu@{hart:x}"), |t| {
            t.w.property_phandle(cpu_phandle(hart))?;
            t.w.property_string("device_type", "cpu")?;
            t.w.property_u32("reg", hart)?;
            t.w.property_string("status", "okay")?;
            t.w.property_string("compatible", "riscv")?;
            t.w.property_string("riscv,isa", &isa_string(&config.extensions))?;
            t.w.property_string("riscv,isa-base", "rv64i")?;
            t.strings("riscv,isa-extensions", &config.extensions)?;
            for (extension, property) in CACHE_BLOCK_PROPERTIES {
                if config.extensions.iter().any(|name| name == extension) {
                    t.w.property_u32(property, layout::CACHE_BLOCK_BYTES)?;
                }
            }
            t.w.property_string("mmu-type", config.mmu.property())?;
            t.node("interrupt-controller", |t| {
                t.w.property_phandle(intc_phandle(hart))?;
                t.w.property_string("compatible", "riscv,cpu-intc")?;
                t.w.property_u32("#address-cells", 0)?;
                t.w.property_u32("#interrupt-cells", 1)?;
                t.w.property_null("interrupt-controller")
            })
        })
    }

    fn fw_cfg(&mut self) -> Written {
        self.device("fw-cfg", layout::FW_CFG, &["qemu,fw-cfg-mmio"], |t| {
            t.w.property_null("dma-coherent")
        })
    }

    fn flash(&mut self) -> Written {
        self.node(&unit_name("flash", layout::FLASH0), |t| {
            t.w.property_string("compatible", "cfi-flash")?;
            t.regions("reg", &[layout::FLASH0, layout::FLASH1])?;
            t.w.property_u32("bank-width", 4)
        })
    }

    fn syscon(&mut self, name: &str, compatible: &str, value: u32) -> Written {
        self.node(name, |t| {
            t.w.property_string("compatible", compatible)?;
            t.w.property_u32("regmap", TEST_PHANDLE)?;
            t.w.property_u32("offset", 0)?;
            t.w.property_u32("value", value)
        })
    }

    fn soc(&mut self) -> Written {
        self.node("soc", |t| {
            t.w.property_string("compatible", "simple-bus")?;
            t.w.property_u32("#address-cells", 2)?;
            t.w.property_u32("#size-cells", 2)?;
            t.w.property_null("ranges")?;
            t.interrupt_controllers()?;
            t.simple_devices()?;
            for index in 0..layout::VIRTIO_MMIO_COUNT {
                let region = layout::virtio_mmio(index);
                t.device("virtio_mmio", region, &["virtio,mmio"], |t| {
                    t.plic_interrupt(layout::virtio_mmio_irq(index))
                })?;
            }
            t.pcie()
        })
    }

    fn interrupt_controllers(&mut self) -> Written {
        self.device(
            "clint",
            layout::CLINT,
            &["sifive,clint0", "riscv,clint0"],
            |t| t.hart_interrupts(&[cause::M_SOFTWARE, cause::M_TIMER]),
        )?;
        self.device(
            "plic",
            layout::PLIC,
            &["sifive,plic-1.0.0", "riscv,plic0"],
            |t| {
                t.w.property_phandle(PLIC_PHANDLE)?;
                t.w.property_u32("#address-cells", 0)?;
                t.w.property_u32("#interrupt-cells", 1)?;
                t.w.property_null("interrupt-controller")?;
                t.w.property_u32("riscv,ndev", layout::PLIC_SOURCES)?;
                t.hart_interrupts(&[cause::M_EXTERNAL, cause::S_EXTERNAL])
            },
        )
    }

    fn simple_devices(&mut self) -> Written {
        let test = ["sifive,test1", "sifive,test0", "syscon"];
        self.device("test", layout::TEST, &test, |t| {
            t.w.property_phandle(TEST_PHANDLE)
        })?;
        self.device("rtc", layout::RTC, &["google,goldfish-rtc"], |t| {
            t.plic_interrupt(layout::IRQ_RTC)
        })?;
        self.device("serial", layout::UART0, &["ns16550a"], |t| {
            t.w.property_u32("clock-frequency", layout::UART_CLOCK_HZ)?;
            t.plic_interrupt(layout::IRQ_UART0)
        })
    }

    fn pcie(&mut self) -> Written {
        let ram_bytes = self.config.ram_bytes;
        self.device("pci", layout::PCIE_ECAM, &["pci-host-ecam-generic"], |t| {
            t.w.property_string("device_type", "pci")?;
            t.w.property_u32("#address-cells", 3)?;
            t.w.property_u32("#size-cells", 2)?;
            t.w.property_u32("#interrupt-cells", 1)?;
            t.w.property_u32("linux,pci-domain", 0)?;
            t.w.property_array_u32("bus-range", &[0, layout::PCIE_BUSES - 1])?;
            t.w.property_null("dma-coherent")?;
            t.w.property_array_u32("ranges", &pcie_ranges(ram_bytes))?;
            let pins_mask = (layout::PCIE_INTX_COUNT - 1) << PCI_DEVICE_SHIFT;
            t.w.property_array_u32("interrupt-map-mask", &[pins_mask, 0, 0, 7])?;
            t.w.property_array_u32("interrupt-map", &pcie_interrupt_map())
        })
    }
}

/// Extensions with a block size of their own, and the property that tells it (Linux `riscv/cpus.yaml`).
const CACHE_BLOCK_PROPERTIES: [(&str, &str); 3] = [
    ("zicbom", "riscv,cbom-block-size"),
    ("zicbop", "riscv,cbop-block-size"),
    ("zicboz", "riscv,cboz-block-size"),
];

fn unit_name(name: &str, region: Region) -> String {
    format!("{name}@{:x}", region.base.raw())
}

fn uart_path() -> String {
    format!("/soc/{}", unit_name("serial", layout::UART0))
}

/// The `riscv,isa` form of an extension list (RISC-V Unprivileged, 36 "ISA extension naming conventions"):
/// letters run together, longer names each behind an underscore.
pub fn isa_string(extensions: &[String]) -> String {
    let mut isa = String::from("rv64");
    for name in extensions {
        if name.len() > 1 {
            isa.push('_');
        }
        isa.push_str(name);
    }
    isa
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

const fn low(value: u64) -> u32 {
    value as u32
}

/// `ranges` of the host bridge: (space and PCI address, CPU address, length) for each window.
fn pcie_ranges(ram_bytes: u64) -> Vec<u32> {
    let mmio64 = layout::pcie_mmio64(ram_bytes);
    let windows = [
        (pci_space::IO, 0, layout::PCIE_PIO),
        (
            pci_space::MEMORY32,
            layout::PCIE_MMIO32.base.raw(),
            layout::PCIE_MMIO32,
        ),
        (pci_space::MEMORY64, mmio64.base.raw(), mmio64),
    ];
    windows
        .iter()
        .flat_map(|&(space, pci, Region { base, bytes })| {
            let cpu = base.raw();
            [
                space,
                high(pci),
                low(pci),
                high(cpu),
                low(cpu),
                high(bytes),
                low(bytes),
            ]
        })
        .collect()
}

/// `interrupt-map` of the host bridge: (PCI unit, pin) to a PLIC source. Four devices suffice, because the
/// pattern repeats and the mask drops the higher bits.
fn pcie_interrupt_map() -> Vec<u32> {
    let count = layout::PCIE_INTX_COUNT;
    (0..count)
        .flat_map(|device| (0..count).map(move |pin| (device, pin)))
        .flat_map(|(device, pin)| {
            let source = layout::pcie_intx_irq(device, pin);
            [
                device << PCI_DEVICE_SHIFT,
                0,
                0,
                pin + 1,
                PLIC_PHANDLE,
                source,
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests;

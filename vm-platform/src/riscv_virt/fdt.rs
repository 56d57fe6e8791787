//! The device tree of the RISC-V `virt` machine.
//!
//! Nodes, properties and values are those that QEMU 10's `virt` shows for the same devices; the order within
//! the tree is ours (its meaning does not depend on it). Bindings: Devicetree Specification 0.4 for the base,
//! the Linux kernel's bindings (`riscv/cpus.yaml`, `interrupt-controller/sifive,plic-1.0.0.yaml`,
//! `timer/sifive,clint.yaml`, `pci/host-generic-pci.yaml`) for the rest.

use vm_fdt::FdtWriter;

use self::node::{Node, Parent};
use super::devices::{self, Row};
use super::layout;
use crate::Region;

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

impl FdtConfig {
    fn check(&self) -> Result<(), FdtError> {
        if self.cpus == 0 {
            return Err(FdtError::NoCpus);
        }
        if self.bootargs.contains('\0') {
            return Err(FdtError::ZeroByte {
                what: "kernel command line",
            });
        }
        if self.extensions.iter().any(|name| name.contains('\0')) {
            return Err(FdtError::ZeroByte {
                what: "list of CPU extensions",
            });
        }
        Ok(())
    }
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
    /// A device tree that was brought is none.
    #[error(
        "the file after --dtb is no device tree: {0}; make one with 'dtc -O dtb', or change what --dump-dtb writes"
    )]
    NoTree(String),
    /// The writer refused; a defect of this module.
    #[error("the device tree cannot be written: {0}")]
    Writer(#[from] vm_fdt::Error),
}

/// Builds the flattened device tree (Devicetree Specification 0.4, 5).
///
/// # Errors
/// When there are no harts or a text holds a zero byte.
pub fn build(config: &FdtConfig) -> Result<Vec<u8>, FdtError> {
    config.check()?;
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
            t.devices(Parent::Root)?;
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

    /// The nodes of the devices that are described below `parent`.
    fn devices(&mut self, parent: Parent) -> Written {
        for row in devices::rows(self.config.ram_bytes) {
            if let Some(node) = row.node
                && node.parent == parent
            {
                self.device(&row, node)?;
            }
        }
        Ok(())
    }

    /// A device's node: its name carries the address, its `reg` the region.
    fn device(&mut self, row: &Row, node: &Node) -> Written {
        self.node(&unit_name(node.name, row.region), |t| {
            t.strings("compatible", node.compatible)?;
            t.regions("reg", &[&[row.region], node.more_regions].concat())?;
            (node.more)(t)?;
            match row.irq {
                Some(source) => t.plic_interrupt(source),
                None => Ok(()),
            }
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
            t.devices(Parent::Soc)
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
    format!("/soc/{}", unit_name(node::UART.name, layout::UART0))
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

mod given;
pub(super) mod node;

pub use given::completed;
#[cfg(test)]
mod tests;

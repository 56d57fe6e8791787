//! Registers as a debugger numbers them, and the target description that tells it (GDB manual, appendix G).

use std::fmt::Write as _;

use vm_core::{DebugTarget, GuestArch, VcpuId};

use super::{riscv, x86};

/// What a register holds, as target descriptions say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A number.
    Int,
    /// An address of code.
    Code,
    /// An address of data.
    Data,
    /// An 80-bit floating-point number of the x87.
    X87,
    /// A type that the feature declares itself.
    Declared(&'static str),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Code => "code_ptr",
            Self::Data => "data_ptr",
            Self::X87 => "i387_ext",
            Self::Declared(name) => name,
        }
    }
}

/// One register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Register {
    /// Its number in packets.
    pub(super) number: usize,
    /// Its name in the debugger.
    pub(super) name: String,
    /// Its name in [`DebugTarget`].
    pub(super) key: String,
    /// Bytes it takes in packets, 16 at most. What is above the eighth has the same name in [`DebugTarget`] with an `h`
    /// behind it.
    pub(super) bytes: usize,
    /// What it holds.
    pub(super) kind: Kind,
    /// The group that the debugger lists it in, if not that of its kind.
    pub(super) group: Option<&'static str>,
}

impl Register {
    /// The name of its high half in [`DebugTarget`].
    pub(super) fn high_key(&self) -> String {
        format!("{}h", self.key)
    }
}

/// Registers that belong together.
#[derive(Debug)]
pub(super) struct Feature {
    /// A name that the debugger knows.
    pub(super) name: &'static str,
    /// Declarations of types, as XML.
    pub(super) types: &'static str,
    pub(super) registers: Vec<Register>,
}

/// All registers of a machine's virtual CPUs.
#[derive(Debug)]
pub(super) struct RegisterFile {
    /// The architecture's name in the debugger.
    architecture: &'static str,
    features: Vec<Feature>,
}

/// Whether this architecture's registers are described.
pub(super) fn describes(arch: GuestArch) -> bool {
    matches!(arch, GuestArch::Riscv64 | GuestArch::X86_64)
}

impl RegisterFile {
    /// Finds the registers that a stopped machine has.
    pub(super) fn of(target: &dyn DebugTarget) -> Self {
        let has = |key: &str| target.read_register(VcpuId(0), key).is_ok();
        match target.arch() {
            GuestArch::Riscv64 => Self {
                architecture: riscv::ARCHITECTURE,
                features: riscv::features(&has),
            },
            GuestArch::X86_64 => Self {
                architecture: x86::ARCHITECTURE,
                features: x86::features(),
            },
            GuestArch::Aarch64 => Self {
                architecture: "",
                features: Vec::new(),
            },
        }
    }

    /// The registers of `g` and `G` packets: those of the first feature, in order.
    pub(super) fn core(&self) -> &[Register] {
        self.features
            .first()
            .map_or(&[], |feature| &feature.registers)
    }

    /// The register of a number.
    pub(super) fn find(&self, number: usize) -> Option<&Register> {
        self.features
            .iter()
            .flat_map(|feature| &feature.registers)
            .find(|register| register.number == number)
    }

    /// The target description.
    pub(super) fn xml(&self) -> String {
        // A debugger that takes the guest for a process of an operating system may step by breakpoints of its own,
        // which a virtual CPU that waits never reaches.
        let mut xml = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">\
             <architecture>{}</architecture><osabi>none</osabi>",
            self.architecture
        );
        for feature in &self.features {
            write!(xml, "<feature name=\"{}\">{}", feature.name, feature.types)
                .expect("invariant: writing to a string succeeds");
            for register in &feature.registers {
                write!(
                    xml,
                    "<reg name=\"{}\" bitsize=\"{}\" regnum=\"{}\" type=\"{}\"",
                    register.name,
                    register.bytes * 8,
                    register.number,
                    register.kind.name(),
                )
                .expect("invariant: writing to a string succeeds");
                if let Some(group) = register.group {
                    write!(xml, " group=\"{group}\"")
                        .expect("invariant: writing to a string succeeds");
                }
                xml.push_str("/>");
            }
            xml.push_str("</feature>");
        }
        xml.push_str("</target>");
        xml
    }
}

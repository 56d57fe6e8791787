//! The chipset of QEMU's `q35` machines, as far as firmware and kernels look at it: the memory controller hub and the
//! functions of the I/O controller hub at slot 31.
//!
//! What it refuses to do: system management memory, DMI, bridges, and the chips that stand apart from PCI (8259, 8254, ...).

mod lpc;
mod mch;
mod smbus;
pub mod spec;

pub use lpc::{Lpc, LpcRanges};
pub use mch::{Mch, ShadowRange, shadow_ranges};
pub use smbus::Smbus;

use vm_core::AccessWidth;

use super::PciRoot;
use super::spec::FUNCTION_BYTES;
use spec::{lpc as lpc_reg, mch as mch_reg};

/// Sets the chipset up as firmware would, for a kernel that is started without any: ECAM at `ecam_base` (a multiple of
/// 256 MiB), all of the first MiB RAM, power management at [`crate::power::acpi_pm::spec::DEFAULT_BASE`], the chipset
/// configuration at its place, and PIRQs on interrupts 10 and 11. To be called after every reset.
pub fn set_up_without_firmware(root: &PciRoot, ecam_base: u64) {
    let write = |slot: u64, register: u16, width: AccessWidth, value: u64| {
        root.write_config(
            slot * 8 * FUNCTION_BYTES + u64::from(register),
            width,
            value,
        );
    };
    let mch = |register, width, value| write(0, register, width, value);
    let lpc = |register, width, value| write(31, register, width, value);
    mch(mch_reg::PCIEXBAR + 4, AccessWidth::Word, ecam_base >> 32);
    mch(
        mch_reg::PCIEXBAR,
        AccessWidth::Word,
        ecam_base & 0xffff_ffff | 1,
    );
    for register in mch_reg::PAM..mch_reg::PAM_END {
        mch(register, AccessWidth::Byte, 0x33);
    }
    let base = crate::power::acpi_pm::spec::DEFAULT_BASE;
    lpc(lpc_reg::PMBASE, AccessWidth::Word, base | 1);
    lpc(
        lpc_reg::ACPI_CONTROL,
        AccessWidth::Byte,
        lpc_reg::ACPI_ENABLE.into(),
    );
    lpc(lpc_reg::RCBA, AccessWidth::Word, spec::RCBA_BASE | 1);
    for (number, register) in lpc_reg::PIRQ.into_iter().enumerate() {
        lpc(
            register,
            AccessWidth::Byte,
            if number % 4 < 2 { 10 } else { 11 },
        );
    }
}

#[cfg(test)]
mod tests;

//! Getting a guest started: kernel loaders, boot placement, and firmware interfaces that the host provides.
//!
//! What it is: [`image`] recognises and unpacks kernels and firmware files; [`riscv`] decides where in RAM they,
//! the initial RAM disk and the device tree go, and how the harts start, and [`x86`] the same for PCs; [`acpi`]
//! and [`smbios`] describe a PC in tables; [`firmware`] finds
//! the firmware that a host has installed; [`sbi`] answers a RISC-V kernel's firmware calls when no firmware was loaded.
//!
//! What it refuses to do: run virtual CPUs, build device trees, choose a machine's devices and addresses.
//!
//! Data flow: a path becomes a [`BootFile`], that a [`Program`](image::Program), that together with RAM's size a
//! [`BootPlan`](riscv::BootPlan); the machine builds its device tree with what the plan says of the RAM disk,
//! then lets the plan write everything to guest memory at each reset. While the guest runs, `ecall`s from
//! S-mode go to [`sbi::Sbi`], which acts on the machine through [`sbi::SbiHost`].
//!
//! Files are hostile input: whatever they hold, the answer is a [`BootError`] or a sound program.
//!
//! Specifications: ELF (System V gABI), Linux 6.12 `Documentation/arch/riscv/boot-image-header.rst` and
//! `boot.rst`, `Documentation/arch/arm64/booting.rst`, `Documentation/arch/x86/boot.rst`, Xen's PVH start
//! information, Multiboot 0.6.96 and Multiboot2 2.0, OpenSBI 1.6 `fw_dynamic`, RISC-V SBI 3.0.

pub mod acpi;
mod content;
mod error;
mod extent;
mod file;
pub mod firmware;
pub mod image;
mod part;
pub mod riscv;
pub mod sbi;
pub mod smbios;
pub mod x86;

pub use content::{Content, ContentReader};
pub use error::BootError;
pub use extent::Extent;
pub use file::{BootFile, Role};

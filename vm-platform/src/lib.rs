//! The guest machines: memory maps, device wiring, device trees.
//!
//! What it is: for each machine the addresses and interrupt numbers of its devices, the description of the
//! hardware that the guest reads (device tree), and the wiring of CPUs, memory and devices. The addresses
//! are those of QEMU's machines of the same name, so that unmodified firmware and kernels run.
//!
//! What it refuses to do: know the inside of a device or run guest code.
//!
//! Data flow: a machine's `layout` names every address once; the wiring puts devices there; `fdt` describes
//! the same addresses to the guest.
//!
//! Specifications: Devicetree Specification 0.4 and the Linux kernel's devicetree bindings.

pub mod riscv_virt;

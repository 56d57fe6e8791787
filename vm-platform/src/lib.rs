//! The guest machines: memory maps, device wiring, device trees.
//!
//! What it is: [`machine`], what all machines have in common, whatever their guest (assembly, threads of virtual CPUs,
//! run loop, reset, debugger, statistics), and a folder for each board: the addresses and interrupt numbers of its
//! devices, their wiring, and the description of the hardware that the guest reads (device tree, ACPI tables). The
//! addresses are those of QEMU's machines, so that unmodified firmware and kernels run.
//!
//! What it refuses to do: know the inside of a device or run guest code.
//!
//! Data flow: a board plans from the configuration; `machine` makes memory, clocks, engine and virtual CPUs of the plan;
//! the board's `layout` names every address once, its wiring puts devices there and its description tells the guest the
//! same addresses.
//!
//! Specifications: Devicetree Specification 0.4 and the Linux kernel's devicetree bindings.

pub mod machine;
pub mod pc;
mod region;
pub mod riscv_virt;

pub use region::Region;

//! The RISC-V `virt` machine: one PLIC, CLINT timers, a 16550, virtio over mmio and PCIe.

mod config;
mod control;
mod debug;
mod devices;
pub mod fdt;
mod hart_thread;
mod htif;
pub mod layout;
pub mod machine;
mod panic_watch;
mod slots;
mod statistics;
mod wiring;

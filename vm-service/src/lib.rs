//! Virtual machines as a whole: from a configuration to a running guest and its end.
//!
//! What it is: [`Vm::builder`], through which programs embed a virtual machine; opening of the files, disks, networks
//! and serial lines that a [`VmConfig`](vm_core::config::VmConfig) names; the choice of what runs the guest; the life
//! of a machine ([`State`]).
//!
//! What it refuses to do: parse command lines, talk to the user, know chips or instructions.
//!
//! Data flow: configuration -> checked -> host resources opened -> `MachineConfig` -> machine -> [`Vm::run`] ->
//! [`Outcome`]; other threads act on it through its [`VmHandle`].

mod accel;
mod assemble;
mod builder;
mod config_file;
mod error;
mod flash;
mod input;
mod lifecycle;
pub mod serial;
mod signature;
mod vm;

pub use accel::{AccelChoice, cpu_models};
pub use builder::VmBuilder;
pub use config_file::{ConfigFileError, read_config};
pub use error::VmError;
pub use input::SerialInput;
pub use lifecycle::State;
pub use vm::{Vm, VmHandle};
pub use vm_device::chardev::CharSink;
pub use vm_device::virtio::balloon::VirtioBalloon;
pub use vm_platform::riscv_virt::machine::Outcome;

//! Virtual machines as a whole: from a configuration to a running guest and its end.
//!
//! What it is: [`Vm::builder`], through which programs embed a virtual machine; opening of the files, disks, networks
//! and serial lines that a [`VmConfig`] names; the choice of what runs the guest; the life of a machine ([`State`]).
//!
//! What it refuses to do: parse command lines, talk to the user, know chips or instructions. It takes the program's
//! standard input and output only when it is asked to ([`SerialConfig::Stdio`]).
//!
//! Data flow: configuration -> checked -> host resources opened -> `MachineConfig` -> machine -> [`Vm::run`] ->
//! [`Outcome`]; other threads act on it through its [`VmHandle`].
//!
//! # A machine in a program
//!
//! The guest here is a program of eleven instructions without an operating system, which prints `hi` and powers off; a
//! kernel is given in the same way, with [`VmBuilder::initrd`] and [`VmBuilder::append`].
//!
//! ```
//! use std::time::Duration;
//! use vm_service::{Bios, Outcome, Vm};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let program = dir.path().join("hi");
//! # let words: [u32; 11] = [
//! #     0x1000_02b7, 0x0680_0313, 0x0062_8023, 0x0690_0313, 0x0062_8023, // UART: h, i
//! #     0x0010_02b7, 0x0000_5337, 0x5553_0313, 0x0062_a023, // power off
//! #     0x0000_006f, 0x0000_006f,
//! # ];
//! # std::fs::write(&program, words.map(u32::to_le_bytes).concat())?;
//! let mut vm = Vm::builder()
//!     .bios(Bios::None)
//!     .kernel(&program)
//!     .memory(64 << 20)
//!     .build()?;
//! let handle = vm.handle();
//! let guest = std::thread::spawn(move || vm.run());
//! handle.wait_for_text("hi", Duration::from_secs(60))?;
//! assert_eq!(guest.join().expect("no panic")?, Outcome::PoweredOff);
//! # Ok(())
//! # }
//! ```
//!
//! # Disks and networks
//!
//! ```
//! use vm_service::{ByteSize, DiskConfig, NetConfig, Vm};
//!
//! let builder = Vm::builder()
//!     .memory(ByteSize::mib(1024))
//!     .disk(DiskConfig::raw("debian.img"))
//!     .net(NetConfig::user());
//! // There is nothing to boot yet.
//! assert!(builder.build().is_err());
//! ```

mod accel;
mod assemble;
mod boards;
mod builder;
mod config_file;
mod error;
mod flash;
mod input;
mod keys;
mod lifecycle;
mod png;
mod rtc;
pub mod serial;
mod signature;
mod transcript;
mod vm;

pub use accel::AccelChoice;
pub use boards::cpu_models;
pub use builder::VmBuilder;
pub use config_file::{ConfigFileError, read_config};
pub use error::VmError;
pub use input::SerialInput;
pub use keys::KeyError;
pub use lifecycle::State;
pub use png::write as write_png;
pub use transcript::NoText;
pub use vm::{Vm, VmHandle};
pub use vm_boot::firmware;
pub use vm_core::config::{
    Accel, ArchChoice, Bios, ByteSize, CodeCache, ConfigError, DiskBus, DiskConfig, DiskFormat,
    DiskMedia, DisplayChoice, MacAddress, NetConfig, NetKind, OnPanic, PortConfig, Rtc,
    SerialConfig, VirtioTransport, VmConfig,
};
pub use vm_core::{GuestArch, GuestPhysAddr, Notices};
pub use vm_device::chardev::CharSink;
pub use vm_device::display::Frame as Picture;
pub use vm_device::virtio::balloon::VirtioBalloon;
pub use vm_platform::machine::Outcome;

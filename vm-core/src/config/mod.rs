//! The configuration of a virtual machine, as the command line, a TOML file and programs that embed one write it.
//!
//! One text form per part: what follows `--disk` parses by the same code as a string in a file, so both take the same
//! words and refuse the same mistakes. Whatever names a file is kept as it was written.

mod choice;
mod disk;
mod error;
mod flash;
mod gdb;
mod machine;
mod net;
mod options;
mod port;
mod rtc;
mod serial;
mod session;
mod size;

pub use choice::{Accel, ArchChoice, Bios, DisplayChoice, Dump, PcRange, VirtioTransport};
pub use disk::{DiskBus, DiskConfig, DiskFormat, DiskMedia, OnFull};
pub use error::{ConfigError, nearest};
pub use flash::FlashConfig;
pub use gdb::GdbConfig;
pub use machine::VmConfig;
pub use net::{MacAddress, NetConfig, NetKind};
pub use options::FromOsStr;
pub use port::PortConfig;
pub use rtc::Rtc;
pub use serial::SerialConfig;
pub use session::{EscapeKey, OnPanic};
pub use size::{ByteSize, CodeCache};

#[cfg(test)]
mod tests;

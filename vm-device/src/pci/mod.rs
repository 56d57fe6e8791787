//! PCI Express: a root complex with one bus, reached by ECAM, and what its functions share.
//!
//! What it is: [`PciRoot`] (configuration space, windows onto the functions' base addresses, INTx lines),
//! [`PciFunction`] (what a device implements), [`ConfigSpace`] (its registers).
//!
//! What it refuses to do: bridges and further buses, legacy configuration by I/O ports, message-signalled
//! interrupts for now.
//!
//! Data flow: virtual CPU -> [`PciRoot::ecam`] -> [`PciFunction::write_config`] -> base addresses -> routes;
//! virtual CPU -> [`PciRoot::window`] -> route (no lock) -> [`PciFunction::read_bar`]; function -> [`IntxPin`] ->
//! one of four lines.

mod config;
mod intx;
mod root;
pub mod spec;

pub use config::{BarKind, ConfigSpace, Identity, Mapping, Space};
pub use intx::{IntxPin, LINES, swizzle};
pub use root::{PciFunction, PciRoot, SlotTaken};

#[cfg(test)]
mod tests;

//! PCI Express: a root complex with one bus, reached by ECAM or by ports, and what its functions share.
//!
//! What it is: [`PciRoot`] (configuration space, windows onto the functions' base addresses, INTx lines),
//! [`PciFunction`] (what a device implements), [`ConfigSpace`] (its registers), [`Msix`] (its messages), [`ConfigPorts`]
//! (configuration by ports), [`q35`] (a PC's chipset).
//!
//! What it refuses to do: bridges and further buses.
//!
//! Data flow: virtual CPU -> [`PciRoot::ecam`] or [`ConfigPorts`] -> [`PciFunction::write_config`] -> base addresses ->
//! routes; virtual CPU -> [`PciRoot::window`] -> route (no lock) -> [`PciFunction::read_bar`]; function -> [`IntxPin`] ->
//! one of four lines, or [`Msix`] -> [`MsiTarget`](crate::intc::MsiTarget).

mod config;
pub mod config_ports;
mod intx;
mod msix;
pub mod q35;
mod root;
pub mod spec;

pub use config::{BarKind, ConfigSpace, Identity, Mapping, Space};
pub use config_ports::ConfigPorts;
pub use intx::{IntxPin, LINES, swizzle};
#[cfg(test)]
pub(crate) use msix::tests::Mailbox;
pub use msix::{Msix, SavedMessages};
pub use root::{PciFunction, PciRoot, SlotTaken};

#[cfg(test)]
mod tests;

//! Starting PCs without firmware: Linux by its own boot protocol, kernels with a PVH entry, and programs for
//! multiboot loaders.

mod entry;
mod identity_map;
mod memory_map;
mod multiboot;
mod plan;
mod pvh;
mod zero_page;

pub use entry::{EntryMode, EntryState, GeneralRegisters, SegmentState, TableRegister};
pub use memory_map::{
    HIGH_RAM_BASE, LOW_RAM_MAX_BYTES, MapEntry, MapKind, PcRam, TABLES_START, boot_map,
    firmware_map,
};
pub use plan::{BootPlan, BootRequest, LinuxEntry, SystemTables};

//! Guest memory: RAM, which of it holds translated code, and how virtual CPUs reach it.
//!
//! What it is: [`GuestMemory`] (the machine's RAM, memfd-backed), [`CodePages`] (which 64-byte granules of RAM
//! translated code was made from), [`PhysMap`] (what virtual CPUs find where), the page walkers and the software TLB.
//!
//! What it refuses to do: know devices, run code.
//!
//! Data flow: a loader, a device's DMA or the debugger writes through [`GuestMemory`], which marks what it
//! wrote in [`CodePages`]; the marking tells the engine's [`CodeWriteObserver`] when code was hit. A virtual CPU
//! reaches RAM through its TLB and host pointers from [`GuestMemory::host_range`].

pub mod access;
mod code;
mod phys;
mod phys_map;
mod ram;
mod sync;
mod tlb;
pub mod walk;
mod writers;

pub use code::{CodePages, CodeWatch, CodeWriteObserver, GRANULE_BYTES};
pub use phys::PhysMemory;
pub use phys_map::{Found, MapParts, PhysMap, Remapped, Shadow};
pub use ram::{GuestMemory, GuestRamMap, MemoryError, RamRange};
pub use tlb::{
    CodeFlush, HAS_CODE, LargePages, MAX_MODES, NO_TAG, SpaceRef, TableRef, Tlb, TlbEntry, TlbFill,
    TlbSet, TlbStats, aligned_tag_of, tag_of,
};

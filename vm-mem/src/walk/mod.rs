//! Page walkers: what the guest's page tables in memory say about a virtual address.
//!
//! A walker is a function of its parameters and of guest memory. It knows no registers; the front end of an ISA
//! fills the parameters in from its own, and turns [`WalkFault`] into its exceptions.

pub mod riscv;
pub mod x86;

use vm_core::GuestPhysAddr;

/// What an access wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Access {
    /// To read data.
    Read,
    /// To write data, or to read and write it at once.
    Write,
    /// To fetch an instruction.
    Execute,
}

/// Why there is no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkFault {
    /// The tables say that the access is not allowed.
    Page,
    /// A table entry could not be read or updated: not RAM, or forbidden by physical protection.
    Access,
}

/// A translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The 4 KiB page of the physical address.
    pub page: GuestPhysAddr,
    /// Loads are allowed in the mode given.
    pub read: bool,
    /// Stores are allowed in the mode given, whether or not the entry is dirty yet.
    pub write: bool,
    /// Fetches are allowed in the mode given.
    pub execute: bool,
    /// The entry's dirty bit is set (after this walk).
    pub dirty: bool,
    /// The translation holds in every address space.
    pub global: bool,
    /// Bytes that the entry maps: 4 KiB and more.
    pub span_bytes: u64,
}

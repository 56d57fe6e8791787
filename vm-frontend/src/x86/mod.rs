//! x86: AMD64 / Intel 64 with every older mode of operation.
//!
//! Follows the Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), 325462-086, and where AMD's processors
//! differ visibly the AMD64 Architecture Programmer's Manual (APM). Instructions are decoded by iced-x86 and lifted to IR
//! by tables of ours.
//!
//! - [`state`]: every register of one processor, and the slots that blocks use.
//! - [`mode`]: what, besides its bytes, decides what an instruction means.
//! - [`cpu`]: models and their features.
//! - [`lift`]: instructions to blocks, a file per family.
//! - [`integer`]: routines of the integer instruction set.
//! - [`fp`]: x87, MMX, SSE and AVX.
//! - [`sys`]: privilege, paging, exceptions, system registers.
//! - [`helpers`]: the table of routines that blocks call.

pub mod cpu;
pub mod fp;
pub mod helpers;
#[cfg(test)]
mod host;
pub mod integer;
pub mod lift;
pub mod mode;
pub mod state;
pub mod sys;

pub use sys::X86;

/// Interrupt lines of a processor, numbered as in [`crate::SysEnv::lines`].
pub mod line {
    /// The local APIC has an interrupt that its priorities let through (level).
    pub const INTR: u32 = 0;
    /// Non-maskable interrupt (an edge: the processor takes the line down).
    pub const NMI: u32 = 1;
    /// INIT (an edge).
    pub const INIT: u32 = 2;
    /// Start-up interrupt (an edge); where to start is asked for by [`crate::SysEnv::take_startup`].
    pub const STARTUP: u32 = 3;
    /// System-management interrupt (an edge).
    pub const SMI: u32 = 4;
}

//! Guest instruction sets.
//!
//! What it is: one folder per guest ISA with its decoder, its lifter to IR, its register file and system state
//! (control registers, traps, translation), and its disassembler. [`Guest`] is the border to the engine.
//!
//! What it refuses to do: run code, or know the host.
//!
//! Data flow: the engine asks [`Guest::lift`] for a block of IR at a physical address, runs it over
//! [`Guest::State`], and comes back for what only the ISA knows: [`Guest::translate`], [`Guest::raise`],
//! [`Guest::call`], [`Guest::take_interrupt`].

mod guest;
pub mod riscv;
pub mod x86;

pub use guest::{
    Access, AddressSpace, BusAbort, CodePage, CommonState, Exception, FlushScope, Guest,
    InstanceSpec, LiftLimits, Mapping, PhysMemory, Raised, Request, SysEnv, View,
};

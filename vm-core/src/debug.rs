//! What a debugger asks of a machine.

use std::borrow::Cow;
use std::fmt;

use crate::{GuestArch, GuestPhysAddr, GuestVirtAddr, VcpuId};

/// A figure about a running machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Figure {
    /// How often, or how many bytes or nanoseconds.
    Count(u64),
    /// One count in another.
    Ratio(f64),
    /// The same in hundredths.
    Percent(f64),
}

impl Figure {
    /// `part` of `whole`; nothing when there is no whole.
    pub fn ratio(part: u64, whole: u64) -> Option<Self> {
        (whole != 0).then(|| Self::Ratio(part as f64 / whole as f64))
    }

    /// The same in hundredths.
    pub fn percent(part: u64, whole: u64) -> Option<Self> {
        (whole != 0).then(|| Self::Percent(100.0 * part as f64 / whole as f64))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = f.precision().unwrap_or(2);
        let text = match self {
            Self::Count(count) => count.to_string(),
            Self::Ratio(ratio) => format!("{ratio:.precision$}"),
            Self::Percent(percent) => format!("{percent:.precision$} %"),
        };
        f.pad_integral(true, "", &text)
    }
}

/// A figure and what it is of.
pub type Statistic = (Cow<'static, str>, Figure);

/// How one virtual CPU goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// It runs.
    Continue,
    /// It executes one instruction.
    Step,
    /// It stays where it is.
    Stay,
}

/// Which accesses a watchpoint stops at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchKind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Both.
    Access,
}

impl WatchKind {
    /// Whether an access of this sort stops.
    pub const fn stops(self, write: bool) -> bool {
        matches!(
            (self, write),
            (Self::Access, _) | (Self::Read, false) | (Self::Write, true)
        )
    }
}

/// A range of virtual addresses to watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watchpoint {
    /// First address.
    pub addr: GuestVirtAddr,
    /// Length in bytes.
    pub bytes: u64,
    /// Which accesses.
    pub kind: WatchKind,
}

/// Why a machine has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopCause {
    /// It was asked to.
    Paused,
    /// A virtual CPU is at a breakpoint, with the instruction there not executed.
    Breakpoint(VcpuId),
    /// A virtual CPU has accessed what is watched; the instruction is done.
    Watchpoint {
        /// Which virtual CPU.
        vcpu: VcpuId,
        /// The address accessed.
        addr: GuestVirtAddr,
        /// Whether it was a write.
        write: bool,
    },
    /// A virtual CPU has executed its one instruction.
    Stepped(VcpuId),
    /// The machine has ended (power-off, panic) with this exit status; registers can still be read.
    Ended(u8),
}

/// An address that the current translation of a virtual CPU does not reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("guest address {0} is not mapped")]
pub struct Unmapped(pub GuestVirtAddr);

/// A physical address without RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no RAM at {0}")]
pub struct NoRam(pub GuestPhysAddr);

/// A register name that the architecture does not have, or a value that it does not take.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no register '{0}' that can be accessed so")]
pub struct NoRegister(pub String);

/// A machine under a debugger. All methods but [`DebugTarget::pause`] and [`DebugTarget::wait`] need it stopped.
pub trait DebugTarget: Send + Sync {
    /// The guest's architecture.
    fn arch(&self) -> GuestArch;
    /// Number of virtual CPUs.
    fn vcpus(&self) -> u32;
    /// Asks every virtual CPU to stop; [`DebugTarget::wait`] says when they have.
    fn pause(&self);
    /// Lets virtual CPUs go on, one entry each.
    fn resume(&self, how: &[Resume]);
    /// Waits until all virtual CPUs have stopped, `None` when that takes longer than the given milliseconds.
    fn wait(&self, timeout_ms: u64) -> Option<StopCause>;
    /// Reads a register by the name that the architecture's manual gives it (`x5`, `f3`, `pc`, `sstatus`, ...).
    ///
    /// # Errors
    /// When there is none.
    fn read_register(&self, vcpu: VcpuId, name: &str) -> Result<u64, NoRegister>;
    /// Writes a register.
    ///
    /// # Errors
    /// When there is none or it cannot be written.
    fn write_register(&self, vcpu: VcpuId, name: &str, value: u64) -> Result<(), NoRegister>;
    /// Reads memory through the current translation of a virtual CPU.
    ///
    /// # Errors
    /// At the first byte that is not mapped to RAM.
    fn read_memory(
        &self,
        vcpu: VcpuId,
        addr: GuestVirtAddr,
        into: &mut [u8],
    ) -> Result<(), Unmapped>;
    /// Writes memory through the current translation of a virtual CPU, code included.
    ///
    /// # Errors
    /// At the first byte that is not mapped to RAM.
    fn write_memory(&self, vcpu: VcpuId, addr: GuestVirtAddr, from: &[u8]) -> Result<(), Unmapped>;
    /// Reads physical memory.
    ///
    /// # Errors
    /// At the first byte that is not RAM.
    fn read_physical(&self, addr: GuestPhysAddr, into: &mut [u8]) -> Result<(), NoRam>;
    /// Writes physical memory, code included.
    ///
    /// # Errors
    /// When not all of it is RAM.
    fn write_physical(&self, addr: GuestPhysAddr, from: &[u8]) -> Result<(), NoRam>;
    /// Resets the machine, which stays stopped, and returns when it is as after power-on.
    fn reset(&self);
    /// Replaces all breakpoints.
    fn set_breakpoints(&self, at: &[GuestVirtAddr]);
    /// Replaces all watchpoints.
    fn set_watchpoints(&self, watch: &[Watchpoint]);
    /// Whether a virtual CPU sleeps, waiting for an interrupt, or has not been started.
    fn is_idle(&self, vcpu: VcpuId) -> bool;
    /// Statistics of a virtual CPU's engine.
    fn statistics(&self, vcpu: VcpuId) -> Vec<Statistic>;
}

/// Gets every instruction that a traced machine executes.
pub trait ExecTrace: Send + Sync {
    /// The instruction at `pc` of a guest of this architecture is about to be executed; `registers` are the general
    /// registers by number.
    fn instruction(&self, arch: GuestArch, vcpu: VcpuId, pc: GuestVirtAddr, registers: &[u64]);
    /// The machine has ended: what is buffered must reach its place now.
    fn end(&self);
}

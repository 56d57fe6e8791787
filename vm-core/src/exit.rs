//! Why a virtual CPU or a whole machine stopped.

use crate::GuestVirtAddr;

/// How a guest asked to be reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetKind {
    /// Everything as after power-on.
    Cold,
    /// A warm reboot; this project treats it like a cold one.
    Warm,
}

/// Why `run` of a virtual CPU returned to its owner. The same for the software engine and for hardware
/// virtualisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmExit {
    /// Someone asked the virtual CPU to leave its loop (stop, reset, debugger).
    Interrupted,
    /// The guest called its firmware (SBI `ecall`, PSCI `hvc`/`smc`), which the machine provides.
    FirmwareCall,
    /// The virtual CPU reached a breakpoint before executing the instruction there.
    Breakpoint(GuestVirtAddr),
    /// A watched address was accessed; the instruction has completed.
    Watchpoint {
        /// The address that was accessed.
        addr: GuestVirtAddr,
        /// Whether it was written.
        write: bool,
    },
    /// One single step has completed.
    Stepped,
    /// The virtual CPU cannot go on (x86 triple fault, RISC-V trap with no handler that can be fetched).
    Wedged {
        /// Where it stands.
        pc: GuestVirtAddr,
    },
}

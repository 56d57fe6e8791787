//! Why a virtual CPU or a whole machine stopped.

use std::fmt;

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
    /// The virtual CPU cannot go on (RISC-V trap with no handler that can be fetched).
    Wedged {
        /// Where it stands.
        pc: GuestVirtAddr,
    },
    /// Host code and the interpreter came to different states in a comparison of both, which has been reported.
    Differs {
        /// The block's beginning.
        pc: GuestVirtAddr,
    },
    /// The virtual CPU has shut down until it is reset.
    Shutdown(Shutdown),
}

/// Why a virtual CPU has shut down: an exception could be delivered as little as those that came of delivering it (x86
/// triple fault; Intel SDM 3A, 7.15, "Interrupt 8").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shutdown {
    /// Where it stands.
    pub pc: GuestVirtAddr,
    /// What was to be delivered first.
    pub first: Undelivered,
    /// What came of delivering the double fault.
    pub last: Undelivered,
    /// Whether the guest had made its interrupt table empty before: so systems ask for a reset that know no other way.
    pub is_reset: bool,
}

/// An exception or interrupt that was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undelivered {
    /// Its vector.
    pub vector: u8,
    /// The error code, where it has one.
    pub error: Option<u32>,
}

impl fmt::Display for Undelivered {
    /// Prints it as the manual names it, `#GP(0x8)`, or by its vector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 22] = [
            "DE", "DB", "NMI", "BP", "OF", "BR", "UD", "NM", "DF", "9", "TS", "NP", "SS", "GP",
            "PF", "15", "MF", "AC", "MC", "XM", "VE", "CP",
        ];
        match NAMES.get(usize::from(self.vector)) {
            Some(name) => write!(f, "#{name}")?,
            None => write!(f, "interrupt {:#x}", self.vector)?,
        }
        match self.error {
            Some(error) => write!(f, "({error:#x})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undelivered_exceptions_are_told_by_their_names() {
        let told = |vector, error| Undelivered { vector, error }.to_string();
        assert_eq!(told(6, None), "#UD");
        assert_eq!(told(13, Some(0x42)), "#GP(0x42)");
        assert_eq!(told(0xec, None), "interrupt 0xec");
    }
}

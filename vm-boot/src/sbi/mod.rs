//! The built-in supervisor binary interface (SBI): firmware services for a kernel that was started without
//! firmware.
//!
//! One file per extension. [`Sbi::handle`] takes the registers of an `ecall` from S-mode and says what becomes
//! of the calling hart; effects on the machine go through [`SbiHost`]. The hart states of the HSM extension
//! are kept here ([`HartStates`]).
//!
//! Absent, with probe 0: CPPC, STA, NACL, FWFT, SSE, DBTR, MPXY.
//!
//! Specification: RISC-V SBI 2.0; error codes and texts compared with 3.0.

mod base;
mod dbcn;
mod harts;
mod host;
mod hsm;
mod ipi;
mod legacy;
mod pmu;
mod rfence;
mod srst;
mod susp;
mod time;

#[cfg(test)]
mod testing;

use vm_core::VcpuId;

pub use harts::{HartEntry, HartSet, HartStates, HsmState, MAX_HARTS};
pub use host::{FenceRange, HardwareCounter, MachineIds, RemoteFence, SbiHost};
pub use srst::{ResetAction, SystemReset};

use pmu::Pmu;

/// Registers a0 to a7 at an `ecall` (SBI, "Binary Encoding").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SbiCall {
    /// Parameters, a0 to a5.
    pub args: [u64; 6],
    /// Function within the extension, a6.
    pub function: u64,
    /// Extension, a7.
    pub extension: u64,
}

impl SbiCall {
    /// Takes the values of a0 to a7 in this order.
    pub const fn from_registers([a0, a1, a2, a3, a4, a5, a6, a7]: [u64; 8]) -> Self {
        Self {
            args: [a0, a1, a2, a3, a4, a5],
            function: a6,
            extension: a7,
        }
    }
}

/// What becomes of the hart that made a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SbiOutcome {
    /// It goes on behind the `ecall` with these values.
    Return {
        /// New value of a0.
        a0: u64,
        /// New value of a1; unchanged if `None`.
        a1: Option<u64>,
    },
    /// It stops. When it no longer runs, the machine calls [`HartStates::stopped`] and then waits for
    /// [`HartStates::take_start`].
    Stop,
    /// It sleeps until an interrupt that `sie` enables is pending, whatever `sstatus.SIE` says. Then the machine
    /// calls [`HartStates::resumed`] and the hart goes on as told.
    Suspend(Wake),
    /// The whole machine powers off or starts anew; the hart does not go on.
    Reset(SystemReset),
}

/// How a hart goes on after a suspension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Behind the `ecall`, with a0 and a1 zero and all else as it was.
    Return,
    /// At an entry, with translation off.
    Enter(HartEntry),
}

/// Error codes (SBI, "Standard SBI Errors").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
enum SbiError {
    Failed = -1,
    NotSupported = -2,
    InvalidParam = -3,
    Denied = -4,
    InvalidAddress = -5,
    AlreadyAvailable = -6,
    AlreadyStarted = -7,
    AlreadyStopped = -8,
}

impl SbiError {
    const fn register(self) -> u64 {
        self as i64 as u64
    }
}

/// A successful call's effect on the caller.
enum Reply {
    Value(u64),
    Leave(SbiOutcome),
}

/// A call with everything that its handler needs.
struct Request<'a> {
    harts: &'a HartStates,
    pmu: &'a Pmu,
    host: &'a dyn SbiHost,
    caller: VcpuId,
    call: SbiCall,
}

impl Request<'_> {
    fn arg(&self, index: usize) -> u64 {
        self.call.args[index]
    }

    /// Counts something that the caller had the firmware do.
    fn count(&self, event: pmu::Event) {
        self.pmu.count(self.caller, event);
    }

    /// The hart of that id, when there is one.
    fn hart(&self, id: u64) -> Result<VcpuId, SbiError> {
        self.harts.find(id).ok_or(SbiError::InvalidParam)
    }
}

type Handler = fn(&Request<'_>) -> Result<Reply, SbiError>;

/// The extensions with the calling convention of SBI 0.2 and later.
const EXTENSIONS: [(u64, Handler); 9] = [
    (base::EID, base::handle),
    (time::EID, time::handle),
    (ipi::EID, ipi::handle),
    (rfence::EID, rfence::handle),
    (hsm::EID, hsm::handle),
    (srst::EID, srst::handle),
    (dbcn::EID, dbcn::handle),
    (susp::EID, susp::handle),
    (pmu::EID, pmu::handle),
];

/// Whether calls to the extension are answered with anything but "not supported".
fn is_present(extension: u64) -> bool {
    legacy::is_present(extension) || EXTENSIONS.iter().any(|(eid, _)| *eid == extension)
}

/// The built-in SBI of one machine.
#[derive(Debug)]
pub struct Sbi {
    harts: HartStates,
    pmu: Pmu,
}

impl Sbi {
    /// For a machine with `harts` harts, ids counted from zero, of which `boot` runs and the others wait.
    ///
    /// # Panics
    /// When `harts` is zero or above [`MAX_HARTS`], or `boot` is not one of them.
    pub fn new(harts: u32, boot: VcpuId) -> Self {
        Self {
            harts: HartStates::new(harts, boot),
            pmu: Pmu::new(harts),
        }
    }

    /// As after power-on. No hart may be running.
    pub fn reset(&self) {
        self.harts.reset();
        self.pmu.reset();
    }

    /// The states of the harts.
    pub fn harts(&self) -> &HartStates {
        &self.harts
    }

    /// Answers an `ecall` that `caller` made in S-mode. Runs on the caller's thread.
    pub fn handle(&self, host: &dyn SbiHost, caller: VcpuId, call: SbiCall) -> SbiOutcome {
        let request = Request {
            harts: &self.harts,
            pmu: &self.pmu,
            host,
            caller,
            call,
        };
        if legacy::is_present(call.extension) {
            return legacy::handle(&request);
        }
        let found = EXTENSIONS.iter().find(|(eid, _)| *eid == call.extension);
        let result = found.map_or(Err(SbiError::NotSupported), |(_, handler)| {
            handler(&request)
        });
        match result {
            Ok(Reply::Value(value)) => SbiOutcome::Return {
                a0: 0,
                a1: Some(value),
            },
            Ok(Reply::Leave(outcome)) => outcome,
            Err(error) => SbiOutcome::Return {
                a0: error.register(),
                a1: Some(0),
            },
        }
    }
}

#[cfg(test)]
mod tests;

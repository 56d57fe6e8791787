//! Exit codes; `docs/exit-codes.md` is the table that users read.

use std::process::ExitCode;

use vm_debug::gdb::GdbError;
use vm_osal::terminal::Signal;
use vm_service::{ConfigFileError, Outcome, VmError};

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// Done; the guest powered off, or the user quit.
    pub(crate) const SUCCESS: Self = Self(0);
    /// The host could not do what was asked.
    pub(crate) const HOST_ERROR: Self = Self(1);
    /// The command line or a configuration file is wrong.
    pub(crate) const USAGE: Self = Self(2);

    /// Of a guest's end.
    pub(crate) fn of_outcome(outcome: Outcome) -> Self {
        Self(outcome.status())
    }

    /// Of a signal that ended the program, as shells number it.
    pub(crate) fn of_signal(signal: Signal) -> Self {
        Self(128 + signal.number() as u8)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// What to say of a guest's end, if it is not what everybody expects.
pub(crate) fn message(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::PoweredOff | Outcome::Stopped => None,
        Outcome::Reset => Some("the guest asked for a reset (--no-reboot)".to_owned()),
        Outcome::Panicked => Some("the guest's kernel panicked".to_owned()),
        Outcome::Failed(code) => Some(format!("the guest failed with code {code}")),
        // The machine has told more of it.
        Outcome::TripleFault { .. } | Outcome::Differs { .. } => None,
        Outcome::Wedged { vcpu, pc } => Some(format!(
            "CPU {} of the guest cannot go on at {pc}: its trap handler traps at once",
            vcpu.0
        )),
    }
}

/// Of an error before or beside the guest.
pub(crate) fn of_error(error: &anyhow::Error) -> Exit {
    let mut causes = error.chain();
    let usage = causes.any(|cause| {
        cause.downcast_ref().is_some_and(VmError::is_usage)
            || matches!(
                cause.downcast_ref(),
                Some(ConfigFileError::Malformed { .. })
            )
            || matches!(cause.downcast_ref(), Some(GdbError::Address(_)))
            || cause.is::<vm_core::config::ConfigError>()
    });
    if usage { Exit::USAGE } else { Exit::HOST_ERROR }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_core::{GuestVirtAddr, VcpuId};

    #[test]
    fn outcomes_have_the_documented_codes() {
        let wedged = Outcome::Wedged {
            vcpu: VcpuId(0),
            pc: GuestVirtAddr(0),
        };
        let shut_down = Outcome::TripleFault {
            vcpu: VcpuId(0),
            pc: GuestVirtAddr(0),
        };
        let differs = Outcome::Differs {
            vcpu: VcpuId(0),
            pc: GuestVirtAddr(0),
        };
        for (outcome, code) in [
            (Outcome::PoweredOff, 0),
            (Outcome::Stopped, 0),
            (Outcome::Reset, 3),
            (Outcome::Panicked, 4),
            (wedged, 5),
            (shut_down, 6),
            (differs, 7),
            (Outcome::Failed(1), 33),
            (Outcome::Failed(95), 127),
            (Outcome::Failed(96), 32),
            (Outcome::Failed(0), 32),
            (Outcome::Failed(0xffff), 32),
        ] {
            assert_eq!(Exit::of_outcome(outcome), Exit(code), "{outcome:?}");
        }
        assert_eq!(Exit::of_signal(Signal::Interrupt), Exit(130));
        assert_eq!(Exit::of_signal(Signal::Terminate), Exit(143));
    }

    #[test]
    fn table_of_the_documentation_names_every_code() {
        let table = include_str!("../../docs/exit-codes.md");
        for code in [
            "0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "32",
            "33 to 127",
            "129",
            "130",
            "143",
        ] {
            assert!(table.contains(&format!("| {code} |")), "{code}");
        }
    }
}

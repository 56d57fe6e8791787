//! SRST: power-off and reset (SBI, "System Reset Extension").

use vm_core::ResetKind;

use super::{Reply, Request, SbiError, SbiOutcome};

pub(super) const EID: u64 = 0x5352_5354;

const SYSTEM_RESET: u64 = 0;

const TYPE_SHUTDOWN: u32 = 0;
const TYPE_COLD_REBOOT: u32 = 1;
const TYPE_WARM_REBOOT: u32 = 2;

const REASON_NONE: u32 = 0;
const REASON_SYSTEM_FAILURE: u32 = 1;

/// What the guest wants to happen to the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetAction {
    /// Power off.
    PowerOff,
    /// Start anew.
    Reboot(ResetKind),
}

/// A guest's request to end this run of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemReset {
    /// What is to happen.
    pub action: ResetAction,
    /// Whether the guest says that it failed.
    pub failure: bool,
}

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    if request.call.function != SYSTEM_RESET {
        return Err(SbiError::NotSupported);
    }
    // Both parameters are 32 bits wide; the upper halves of the registers mean nothing.
    let action = match request.arg(0) as u32 {
        TYPE_SHUTDOWN => ResetAction::PowerOff,
        TYPE_COLD_REBOOT => ResetAction::Reboot(ResetKind::Cold),
        TYPE_WARM_REBOOT => ResetAction::Reboot(ResetKind::Warm),
        _ => return Err(SbiError::InvalidParam),
    };
    let failure = match request.arg(1) as u32 {
        REASON_NONE => false,
        REASON_SYSTEM_FAILURE => true,
        _ => return Err(SbiError::InvalidParam),
    };
    Ok(Reply::Leave(SbiOutcome::Reset(SystemReset {
        action,
        failure,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{INVALID_PARAM, NOT_SUPPORTED, Rig};

    #[test]
    fn system_reset_types_and_reasons_are_told_apart() {
        let rig = Rig::new(1);
        let cases = [
            ([0, 0], ResetAction::PowerOff, false),
            ([0, 1], ResetAction::PowerOff, true),
            ([1, 0], ResetAction::Reboot(ResetKind::Cold), false),
            ([2, 1], ResetAction::Reboot(ResetKind::Warm), true),
            (
                [0xffff_ffff_0000_0001, 0],
                ResetAction::Reboot(ResetKind::Cold),
                false,
            ),
        ];
        for (args, action, failure) in cases {
            let expected = SbiOutcome::Reset(SystemReset { action, failure });
            assert_eq!(rig.outcome(0, EID, 0, &args), expected, "{args:x?}");
        }
    }

    #[test]
    fn system_reset_reserved_and_vendor_values_are_invalid() {
        let rig = Rig::new(1);
        for args in [
            [3, 0],
            [0xf000_0000, 0],
            [0, 2],
            [0, 0xe000_0000],
            [0, 0xf000_0000],
        ] {
            assert_eq!(rig.call(0, EID, 0, &args), (INVALID_PARAM, 0), "{args:x?}");
        }
        assert_eq!(rig.call(0, EID, 1, &[0, 0]), (NOT_SUPPORTED, 0));
    }
}

//! SUSP: suspending the whole system (SBI, "System Suspend Extension").

use super::hsm::entry;
use super::{HsmState, Reply, Request, SbiError, SbiOutcome, Wake};

pub(super) const EID: u64 = 0x5355_5350;

const SYSTEM_SUSPEND: u64 = 0;

/// The one sleep that every machine has: RAM keeps its content.
const SUSPEND_TO_RAM: u32 = 0;

/// Sleeps until an interrupt that `sie` enables is pending at the caller, which then starts at the address that it has
/// given. All other harts are stopped meanwhile, so the caller's sleep is the system's.
pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    if request.call.function != SYSTEM_SUSPEND {
        return Err(SbiError::NotSupported);
    }
    // The type is 32 bits wide; the upper half of the register means nothing.
    if request.arg(0) as u32 != SUSPEND_TO_RAM {
        return Err(SbiError::InvalidParam);
    }
    let entry = entry(request, request.arg(1), request.arg(2))?;
    let others = request
        .harts
        .all()
        .iter()
        .filter(|&hart| hart != request.caller);
    for hart in others {
        if request.harts.state(hart) != HsmState::Stopped {
            return Err(SbiError::Denied);
        }
    }
    if request.harts.suspend(request.caller) {
        Ok(Reply::Leave(SbiOutcome::Suspend(Wake::Enter(entry))))
    } else {
        Err(SbiError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::HartEntry;
    use crate::sbi::testing::{
        DENIED, INVALID_ADDRESS, INVALID_PARAM, NOT_SUPPORTED, RAM_BASE, Rig,
    };
    use vm_core::{GuestPhysAddr, VcpuId};

    #[test]
    fn system_suspend_sleeps_until_it_enters_where_it_was_told() {
        let rig = Rig::new(2);
        let wake = Wake::Enter(HartEntry {
            pc: GuestPhysAddr(RAM_BASE + 0x40),
            opaque: 9,
        });
        let outcome = rig.outcome(0, EID, 0, &[0, RAM_BASE + 0x40, 9]);
        assert_eq!(outcome, SbiOutcome::Suspend(wake));
        assert_eq!(rig.sbi().harts().state(VcpuId(0)), HsmState::Suspended);
    }

    #[test]
    fn system_suspend_is_refused_while_another_hart_is_not_stopped() {
        let rig = Rig::all_started(2);
        assert_eq!(rig.call(0, EID, 0, &[0, RAM_BASE, 0]), (DENIED, 0));
        assert_eq!(rig.sbi().harts().state(VcpuId(0)), HsmState::Started);
    }

    #[test]
    fn system_suspend_mistakes_have_their_codes() {
        let rig = Rig::new(1);
        for (args, error) in [
            ([1, RAM_BASE, 0], INVALID_PARAM),
            ([0x8000_0000, RAM_BASE, 0], INVALID_PARAM),
            ([0, RAM_BASE + 1, 0], INVALID_ADDRESS),
            ([0, 0, 0], INVALID_ADDRESS),
        ] {
            assert_eq!(rig.call(0, EID, 0, &args), (error, 0), "{args:x?}");
        }
        assert_eq!(rig.call(0, EID, 1, &[0, RAM_BASE, 0]), (NOT_SUPPORTED, 0));
    }
}

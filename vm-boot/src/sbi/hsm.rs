//! HSM: starting, stopping and suspending harts (SBI, "Hart State Management Extension").

use vm_core::GuestPhysAddr;

use super::{HartEntry, HsmState, Reply, Request, SbiError, SbiOutcome, Wake};

pub(super) const EID: u64 = 0x48_534d;

const HART_START: u64 = 0;
const HART_STOP: u64 = 1;
const HART_GET_STATUS: u64 = 2;
const HART_SUSPEND: u64 = 3;

/// Sleep that keeps all registers.
const SUSPEND_RETENTIVE: u32 = 0;
/// Sleep that ends at an address of the caller's choice.
const SUSPEND_NON_RETENTIVE: u32 = 0x8000_0000;

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    match request.call.function {
        HART_START => start(request),
        HART_STOP => stop(request),
        HART_GET_STATUS => {
            let hart = request.hart(request.arg(0))?;
            Ok(Reply::Value(request.harts.state(hart) as u64))
        }
        HART_SUSPEND => suspend(request),
        _ => Err(SbiError::NotSupported),
    }
}

fn start(request: &Request<'_>) -> Result<Reply, SbiError> {
    let hart = request.hart(request.arg(0))?;
    let entry = entry(request, request.arg(1), request.arg(2))?;
    match request.harts.start(hart, entry) {
        Ok(()) => {
            request.host.wake_stopped(hart);
            Ok(Reply::Value(0))
        }
        // The specification has no code for the states in between: such a hart is not to be had either.
        Err(HsmState::StopPending) => Err(SbiError::Failed),
        Err(_) => Err(SbiError::AlreadyAvailable),
    }
}

fn stop(request: &Request<'_>) -> Result<Reply, SbiError> {
    if request.harts.stop(request.caller) {
        request.pmu.reset_hart(request.caller);
        Ok(Reply::Leave(SbiOutcome::Stop))
    } else {
        Err(SbiError::Failed)
    }
}

fn suspend(request: &Request<'_>) -> Result<Reply, SbiError> {
    // The type is 32 bits wide; the upper half of the register means nothing.
    let wake = match request.arg(0) as u32 {
        SUSPEND_RETENTIVE => Wake::Return,
        SUSPEND_NON_RETENTIVE => Wake::Enter(entry(request, request.arg(1), request.arg(2))?),
        _ => return Err(SbiError::InvalidParam),
    };
    if request.harts.suspend(request.caller) {
        Ok(Reply::Leave(SbiOutcome::Suspend(wake)))
    } else {
        Err(SbiError::Failed)
    }
}

/// An entry for a hart, where S-mode may execute.
pub(super) fn entry(request: &Request<'_>, addr: u64, opaque: u64) -> Result<HartEntry, SbiError> {
    let pc = GuestPhysAddr(addr);
    if !addr.is_multiple_of(2) || !request.host.is_executable(pc) {
        return Err(SbiError::InvalidAddress);
    }
    Ok(HartEntry { pc, opaque })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{
        ALREADY_AVAILABLE, Event, FAILED, INVALID_ADDRESS, INVALID_PARAM, NOT_SUPPORTED, RAM_BASE,
        RAM_BYTES, Rig,
    };
    use vm_core::VcpuId;

    fn status(rig: &Rig, hart: u64) -> (i64, u64) {
        rig.call(0, EID, 2, &[hart])
    }

    #[test]
    fn hart_start_wakes_and_hands_over_the_entry() {
        let rig = Rig::new(2);
        assert_eq!(status(&rig, 0), (0, 0));
        assert_eq!(status(&rig, 1), (0, 1));
        assert_eq!(rig.call(0, EID, 0, &[1, RAM_BASE + 0x100, 0x77]), (0, 0));
        assert_eq!(rig.events(), [Event::Wake(1)]);
        assert_eq!(status(&rig, 1), (0, 2));
        assert_eq!(
            rig.call(0, EID, 0, &[1, RAM_BASE, 0]),
            (ALREADY_AVAILABLE, 0)
        );
        let entry = rig.sbi().harts().take_start(VcpuId(1));
        let expected = HartEntry {
            pc: GuestPhysAddr(RAM_BASE + 0x100),
            opaque: 0x77,
        };
        assert_eq!(entry, Some(expected));
        assert_eq!(status(&rig, 1), (0, 0));
        assert_eq!(
            rig.call(0, EID, 0, &[1, RAM_BASE, 0]),
            (ALREADY_AVAILABLE, 0)
        );
        assert_eq!(rig.sbi().harts().take_start(VcpuId(1)), None);
    }

    #[test]
    fn hart_start_of_bad_hart_or_address_changes_nothing() {
        let rig = Rig::new(2);
        for hart in [2, u64::MAX, 1 << 32 | 1] {
            assert_eq!(
                rig.call(0, EID, 0, &[hart, RAM_BASE, 0]),
                (INVALID_PARAM, 0)
            );
            assert_eq!(status(&rig, hart), (INVALID_PARAM, 0));
        }
        for addr in [0, RAM_BASE + RAM_BYTES, RAM_BASE + 1, u64::MAX] {
            assert_eq!(
                rig.call(0, EID, 0, &[1, addr, 0]),
                (INVALID_ADDRESS, 0),
                "{addr:#x}"
            );
        }
        assert_eq!(status(&rig, 1), (0, 1));
        assert_eq!(rig.events(), []);
    }

    #[test]
    fn hart_stop_passes_through_pending_and_can_start_again() {
        let rig = Rig::all_started(2);
        assert_eq!(rig.outcome(1, EID, 1, &[]), SbiOutcome::Stop);
        assert_eq!(status(&rig, 1), (0, 3));
        assert_eq!(rig.call(0, EID, 0, &[1, RAM_BASE, 0]), (FAILED, 0));
        rig.sbi().harts().stopped(VcpuId(1));
        assert_eq!(status(&rig, 1), (0, 1));
        assert_eq!(rig.call(0, EID, 0, &[1, RAM_BASE, 5]), (0, 0));
        assert_eq!(rig.sbi().harts().take_start(VcpuId(1)).unwrap().opaque, 5);
    }

    #[test]
    fn hart_suspend_retentive_returns_and_non_retentive_enters() {
        let rig = Rig::new(1);
        // The resume address is not looked at here.
        let kept = rig.outcome(0, EID, 3, &[0xffff_ffff_0000_0000, 1, 0]);
        assert_eq!(kept, SbiOutcome::Suspend(Wake::Return));
        assert_eq!(status(&rig, 0), (0, 4));
        rig.sbi().harts().resumed(VcpuId(0));
        assert_eq!(status(&rig, 0), (0, 0));
        let lost = rig.outcome(0, EID, 3, &[0x8000_0000, RAM_BASE + 8, 9]);
        let entry = HartEntry {
            pc: GuestPhysAddr(RAM_BASE + 8),
            opaque: 9,
        };
        assert_eq!(lost, SbiOutcome::Suspend(Wake::Enter(entry)));
    }

    #[test]
    fn hart_suspend_bad_type_or_address_does_not_sleep() {
        let rig = Rig::new(1);
        for kind in [
            1,
            0x0fff_ffff,
            0x1000_0000,
            0x7fff_ffff,
            0x8000_0001,
            0x9000_0000,
        ] {
            assert_eq!(
                rig.call(0, EID, 3, &[kind, RAM_BASE, 0]),
                (INVALID_PARAM, 0),
                "{kind:#x}"
            );
        }
        assert_eq!(
            rig.call(0, EID, 3, &[0x8000_0000, 0, 0]),
            (INVALID_ADDRESS, 0)
        );
        assert_eq!(status(&rig, 0), (0, 0));
        assert_eq!(rig.call(0, EID, 4, &[]), (NOT_SUPPORTED, 0));
    }
}

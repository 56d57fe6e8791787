//! The extensions of SBI 0.1: one number each, one result in a0, a1 kept (SBI, "Legacy Extensions").

use vm_core::GuestVirtAddr;

use super::{
    HartSet, RemoteFence, Request, ResetAction, SbiError, SbiOutcome, SystemReset, rfence,
};

const SET_TIMER: u64 = 0;
const CONSOLE_PUTCHAR: u64 = 1;
const CONSOLE_GETCHAR: u64 = 2;
const CLEAR_IPI: u64 = 3;
const SEND_IPI: u64 = 4;
const REMOTE_FENCE_I: u64 = 5;
const REMOTE_SFENCE_VMA: u64 = 6;
const REMOTE_SFENCE_VMA_ASID: u64 = 7;
const SHUTDOWN: u64 = 8;

/// Result of getchar when nothing was typed.
const NO_CHARACTER: u64 = u64::MAX;

pub(super) fn is_present(extension: u64) -> bool {
    extension <= SHUTDOWN
}

pub(super) fn handle(request: &Request<'_>) -> SbiOutcome {
    let a0 = match request.call.extension {
        SHUTDOWN => {
            let reset = SystemReset {
                action: ResetAction::PowerOff,
                failure: false,
            };
            return SbiOutcome::Reset(reset);
        }
        SET_TIMER => {
            request.host.set_timer(request.caller, request.arg(0));
            0
        }
        CONSOLE_PUTCHAR => {
            request.host.console_write(&[request.arg(0) as u8]);
            0
        }
        CONSOLE_GETCHAR => {
            let mut byte = [0];
            match request.host.console_read(&mut byte) {
                0 => NO_CHARACTER,
                _ => u64::from(byte[0]),
            }
        }
        CLEAR_IPI => u64::from(request.host.clear_ipi(request.caller)),
        _ => broadcast(request).map_or_else(SbiError::register, |()| 0),
    };
    SbiOutcome::Return { a0, a1: None }
}

/// The calls that name harts by a bit vector in the caller's memory.
fn broadcast(request: &Request<'_>) -> Result<(), SbiError> {
    let fence = match request.call.extension {
        SEND_IPI => None,
        REMOTE_FENCE_I => Some(RemoteFence::Instructions),
        REMOTE_SFENCE_VMA => Some(rfence::translation(request.arg(1), request.arg(2), None)?),
        REMOTE_SFENCE_VMA_ASID => Some(rfence::translation(
            request.arg(1),
            request.arg(2),
            Some(request.arg(3)),
        )?),
        _ => return Err(SbiError::NotSupported),
    };
    let harts = hart_vector(request, GuestVirtAddr(request.arg(0)))?;
    match fence {
        None => request.host.send_ipi(request.harts.running(harts)),
        Some(fence) => rfence::send(request, fence, harts),
    }
    Ok(())
}

/// Reads the bit vector of harts. Its address zero means all harts, as other implementations have it; bits for
/// harts that do not exist are ignored.
///
/// DEVIATION: an address that faults gives the caller an error code rather than the fault.
fn hart_vector(request: &Request<'_>, addr: GuestVirtAddr) -> Result<HartSet, SbiError> {
    if addr.raw() == 0 {
        return Ok(request.harts.all());
    }
    let mask = request
        .host
        .read_virtual(request.caller, addr)
        .ok_or(SbiError::InvalidAddress)?;
    Ok(request.harts.existing(HartSet(mask)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{Event, INVALID_ADDRESS, RAM_BASE, Rig};
    use crate::sbi::{FenceRange, RemoteFence};
    use vm_core::{Asid, GuestPhysAddr};

    /// The result in a0, after checking that a1 is kept.
    fn call(rig: &Rig, hart: u32, extension: u64, args: &[u64]) -> i64 {
        match rig.outcome(hart, extension, 0x55, args) {
            SbiOutcome::Return { a0, a1: None } => a0 as i64,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn timer_and_console_work_like_their_successors() {
        let rig = Rig::new(2);
        assert_eq!(call(&rig, 1, 0, &[99]), 0);
        assert_eq!(rig.events(), [Event::Timer(1, 99)]);
        assert_eq!(call(&rig, 0, 1, &[0x1_0000_0042]), 0);
        assert_eq!(rig.console_output(), b"B");
        assert_eq!(call(&rig, 0, 2, &[]), -1);
        rig.type_in(b"\xffq");
        assert_eq!(call(&rig, 0, 2, &[]), 0xff);
        assert_eq!(call(&rig, 0, 2, &[]), i64::from(b'q'));
    }

    #[test]
    fn putchar_without_room_throws_the_byte_away() {
        let rig = Rig::new(1);
        rig.limit_console(0);
        assert_eq!(call(&rig, 0, 1, &[65]), 0);
    }

    #[test]
    fn hart_vector_is_read_through_the_caller() {
        let rig = Rig::all_started(3);
        let vector = RAM_BASE + 0x40;
        rig.memory()
            .write(GuestPhysAddr(vector), &0xffff_ff06_u64.to_le_bytes())
            .unwrap();
        assert_eq!(call(&rig, 0, 4, &[vector]), 0);
        assert_eq!(call(&rig, 0, 5, &[vector]), 0);
        assert_eq!(call(&rig, 0, 6, &[vector, 0x1000, 0x2000]), 0);
        assert_eq!(call(&rig, 0, 7, &[vector, 0, 0, 3]), 0);
        assert_eq!(call(&rig, 0, 4, &[0]), 0);
        let range = FenceRange::Bytes {
            start: GuestVirtAddr(0x1000),
            bytes: 0x2000,
        };
        let all = FenceRange::All;
        assert_eq!(
            rig.events(),
            [
                Event::Ipi(0b110),
                Event::Fence(0, RemoteFence::Instructions, 0b110),
                Event::Fence(0, RemoteFence::Translation { range, asid: None }, 0b110),
                Event::Fence(
                    0,
                    RemoteFence::Translation {
                        range: all,
                        asid: Some(Asid(3))
                    },
                    0b110
                ),
                Event::Ipi(0b111),
            ]
        );
    }

    #[test]
    fn hart_vector_that_faults_is_an_error() {
        let rig = Rig::all_started(2);
        assert_eq!(call(&rig, 0, 4, &[0x10]), INVALID_ADDRESS);
        assert_eq!(call(&rig, 0, 6, &[0, u64::MAX, 5]), INVALID_ADDRESS);
        assert_eq!(rig.events(), []);
    }

    #[test]
    fn clear_ipi_tells_whether_one_was_pending() {
        let rig = Rig::new(1);
        assert_eq!(call(&rig, 0, 3, &[]), 0);
        assert_eq!(call(&rig, 0, 4, &[0]), 0);
        assert_eq!(call(&rig, 0, 3, &[]), 1);
        assert_eq!(call(&rig, 0, 3, &[]), 0);
    }

    #[test]
    fn shutdown_powers_off() {
        let reset = SystemReset {
            action: ResetAction::PowerOff,
            failure: false,
        };
        assert_eq!(
            Rig::new(1).outcome(0, 8, 0, &[7, 7]),
            SbiOutcome::Reset(reset)
        );
    }
}

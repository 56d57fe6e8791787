//! RFENCE: fences on other harts (SBI, "RFENCE Extension").

use vm_core::{Asid, GuestVirtAddr};

use super::pmu::Event;
use super::{FenceRange, HartSet, RemoteFence, Reply, Request, SbiError};

pub(super) const EID: u64 = 0x5246_4e43;

const FENCE_I: u64 = 0;
const SFENCE_VMA: u64 = 1;
const SFENCE_VMA_ASID: u64 = 2;

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    let fence = match request.call.function {
        FENCE_I => RemoteFence::Instructions,
        SFENCE_VMA => translation(request.arg(2), request.arg(3), None)?,
        SFENCE_VMA_ASID => translation(request.arg(2), request.arg(3), Some(request.arg(4)))?,
        // The harts have no hypervisor extension, so its fences (3 to 6) do not exist either.
        _ => return Err(SbiError::NotSupported),
    };
    let harts = request.harts.named_by(request.arg(0), request.arg(1));
    send(request, fence, harts.ok_or(SbiError::InvalidParam)?);
    Ok(Reply::Value(0))
}

/// An `sfence.vma` with the rules for the range, and an ASID whose bits above the 16 of `satp` are ignored as
/// the instruction does (RISC-V Privileged, "Supervisor Memory-Management Fence Instruction").
pub(super) fn translation(
    start: u64,
    bytes: u64,
    asid: Option<u64>,
) -> Result<RemoteFence, SbiError> {
    let range = if (start == 0 && bytes == 0) || bytes == u64::MAX {
        FenceRange::All
    } else if start.checked_add(bytes).is_some() {
        FenceRange::Bytes {
            start: GuestVirtAddr(start),
            bytes,
        }
    } else if start.wrapping_add(bytes) == 0 {
        // Up to the last byte of the space.
        FenceRange::Bytes {
            start: GuestVirtAddr(start),
            bytes: bytes - 1,
        }
    } else {
        return Err(SbiError::InvalidAddress);
    };
    Ok(RemoteFence::Translation {
        range,
        asid: asid.map(|asid| Asid(asid as u16)),
    })
}

/// Sends the fence to those of `harts` that run; the others fence when they start.
pub(super) fn send(request: &Request<'_>, fence: RemoteFence, harts: HartSet) {
    request.count(match fence {
        RemoteFence::Instructions => Event::FenceISent,
        RemoteFence::Translation { asid: None, .. } => Event::SfenceVmaSent,
        RemoteFence::Translation { asid: Some(_), .. } => Event::SfenceVmaAsidSent,
    });
    let running = request.harts.running(harts);
    if !running.is_empty() {
        request.host.remote_fence(request.caller, fence, running);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{Event, INVALID_ADDRESS, INVALID_PARAM, NOT_SUPPORTED, Rig};

    fn range(start: u64, bytes: u64) -> FenceRange {
        FenceRange::Bytes {
            start: GuestVirtAddr(start),
            bytes,
        }
    }

    #[test]
    fn fences_carry_kind_range_and_asid() {
        let rig = Rig::all_started(4);
        let all = [0, u64::MAX];
        assert_eq!(rig.call(1, EID, 0, &all), (0, 0));
        assert_eq!(rig.call(1, EID, 1, &[0b10, 0, 0x1000, 0x2000]), (0, 0));
        assert_eq!(
            rig.call(1, EID, 2, &[0b1, 3, 0x1000, 0x2000, 0x1_0007]),
            (0, 0)
        );
        assert_eq!(
            rig.events(),
            [
                Event::Fence(1, RemoteFence::Instructions, 0b1111),
                Event::Fence(
                    1,
                    RemoteFence::Translation {
                        range: range(0x1000, 0x2000),
                        asid: None
                    },
                    0b10
                ),
                Event::Fence(
                    1,
                    RemoteFence::Translation {
                        range: range(0x1000, 0x2000),
                        asid: Some(Asid(7))
                    },
                    0b1000
                ),
            ]
        );
    }

    #[test]
    fn translation_range_rules_follow_the_specification() {
        let of = |start, bytes| match translation(start, bytes, None) {
            Ok(RemoteFence::Translation { range, .. }) => Ok(range),
            Ok(RemoteFence::Instructions) => panic!("not an address fence"),
            Err(error) => Err(error),
        };
        assert_eq!(of(0, 0), Ok(FenceRange::All));
        assert_eq!(of(0x5000, u64::MAX), Ok(FenceRange::All));
        assert_eq!(of(0x5000, 0), Ok(range(0x5000, 0)));
        let top = u64::MAX - 0xfff;
        assert_eq!(of(top, 0xfff), Ok(range(top, 0xfff)));
        assert_eq!(of(top, 0x1000), Ok(range(top, 0xfff)));
        assert_eq!(of(top, 0x1001), Err(SbiError::InvalidAddress));
    }

    #[test]
    fn bad_arguments_fence_nothing() {
        let rig = Rig::all_started(2);
        assert_eq!(rig.call(0, EID, 0, &[0b100, 0]), (INVALID_PARAM, 0));
        assert_eq!(
            rig.call(0, EID, 1, &[1, 0, u64::MAX, 2]),
            (INVALID_ADDRESS, 0)
        );
        for hypervisor in 3..=7 {
            assert_eq!(
                rig.call(0, EID, hypervisor, &[1, 0, 0, 0]),
                (NOT_SUPPORTED, 0)
            );
        }
        assert_eq!(rig.events(), []);
    }

    #[test]
    fn fence_of_stopped_harts_alone_returns_at_once() {
        let rig = Rig::new(2);
        assert_eq!(rig.call(0, EID, 0, &[0b10, 0]), (0, 0));
        assert_eq!(rig.events(), []);
    }
}

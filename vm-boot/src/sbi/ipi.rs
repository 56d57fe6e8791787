//! IPI: supervisor software interrupts for other harts (SBI, "IPI Extension").

use super::pmu::Event;
use super::{Reply, Request, SbiError};

pub(super) const EID: u64 = 0x73_5049;

const SEND_IPI: u64 = 0;

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    match request.call.function {
        SEND_IPI => {
            let harts = request.harts.named_by(request.arg(0), request.arg(1));
            let harts = harts.ok_or(SbiError::InvalidParam)?;
            request.count(Event::IpiSent);
            request.host.send_ipi(request.harts.running(harts));
            Ok(Reply::Value(0))
        }
        _ => Err(SbiError::NotSupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{Event, INVALID_PARAM, NOT_SUPPORTED, Rig};

    #[test]
    fn send_ipi_honours_mask_and_base() {
        let rig = Rig::all_started(4);
        assert_eq!(rig.call(0, EID, 0, &[0b101, 0]), (0, 0));
        assert_eq!(rig.call(0, EID, 0, &[0b11, 2]), (0, 0));
        assert_eq!(rig.call(0, EID, 0, &[0, u64::MAX]), (0, 0));
        assert_eq!(
            rig.events(),
            [Event::Ipi(0b101), Event::Ipi(0b1100), Event::Ipi(0b1111)]
        );
    }

    #[test]
    fn send_ipi_to_unknown_harts_is_invalid_and_sends_none() {
        let rig = Rig::all_started(4);
        for args in [
            [0b1_0000, 0],
            [1, 4],
            [0b11, 3],
            [1, u64::MAX - 1],
            [1 << 63, 1],
        ] {
            assert_eq!(rig.call(0, EID, 0, &args), (INVALID_PARAM, 0), "{args:x?}");
        }
        assert_eq!(rig.events(), []);
        assert_eq!(rig.call(0, EID, 1, &[1, 0]), (NOT_SUPPORTED, 0));
    }

    #[test]
    fn send_ipi_skips_stopped_harts() {
        let rig = Rig::new(3);
        assert_eq!(rig.call(0, EID, 0, &[0b111, 0]), (0, 0));
        assert_eq!(rig.events(), [Event::Ipi(0b001)]);
    }
}

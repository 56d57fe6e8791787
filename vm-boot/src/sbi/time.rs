//! TIME: the supervisor timer (SBI, "Timer Extension").

use super::pmu::Event;
use super::{Reply, Request, SbiError};

pub(super) const EID: u64 = 0x5449_4d45;

const SET_TIMER: u64 = 0;

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    match request.call.function {
        SET_TIMER => {
            request.count(Event::SetTimer);
            request.host.set_timer(request.caller, request.arg(0));
            Ok(Reply::Value(0))
        }
        _ => Err(SbiError::NotSupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{Event, NOT_SUPPORTED, Rig};

    #[test]
    fn set_timer_reaches_the_calling_hart() {
        let rig = Rig::new(2);
        assert_eq!(rig.call(1, EID, 0, &[0x1_2345_6789]), (0, 0));
        assert_eq!(rig.call(0, EID, 0, &[u64::MAX]), (0, 0));
        assert_eq!(
            rig.events(),
            [Event::Timer(1, 0x1_2345_6789), Event::Timer(0, u64::MAX)]
        );
        assert_eq!(rig.call(0, EID, 1, &[0]), (NOT_SUPPORTED, 0));
    }
}

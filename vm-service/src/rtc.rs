//! The time that the guest's real-time clock starts from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::{Offset, TimeZone};
use vm_core::config::Rtc;

/// What the clock shows at the host's time `now`, counted from 1970-01-01 00:00:00 on the clock.
pub(crate) fn shown(rtc: Rtc, now: SystemTime) -> Duration {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match rtc {
        Rtc::Utc => since_epoch,
        Rtc::Local => shifted(since_epoch, offset(now)),
        Rtc::At(time) => Offset::UTC
            .to_timestamp(time)
            .ok()
            .and_then(|time| u64::try_from(time.as_second()).ok())
            .map_or(Duration::ZERO, Duration::from_secs),
    }
}

/// The host's time zone at a time: seconds east of UTC.
fn offset(now: SystemTime) -> i32 {
    jiff::Timestamp::try_from(now).map_or(0, |now| TimeZone::system().to_offset(now).seconds())
}

fn shifted(time: Duration, seconds: i32) -> Duration {
    let by = Duration::from_secs(seconds.unsigned_abs().into());
    match seconds >= 0 {
        true => time.saturating_add(by),
        false => time.saturating_sub(by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_is_what_was_asked_for() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(shown(Rtc::Utc, now).as_secs(), 1_800_000_000);
        let at: Rtc = "2027-01-31T12:00:00".parse().unwrap();
        assert_eq!(shown(at, now).as_secs(), 1_801_396_800);
        let local = shown(Rtc::Local, now);
        let utc = shown(Rtc::Utc, now);
        assert_eq!(local, shifted(utc, offset(now)));
    }

    #[test]
    fn shifted_goes_east_and_west() {
        let noon = Duration::from_secs(43_200);
        assert_eq!(shifted(noon, 7200).as_secs(), 50_400);
        assert_eq!(shifted(noon, -7200).as_secs(), 36_000);
        assert_eq!(shifted(noon, -50_000), Duration::ZERO);
    }
}

//! The proleptic Gregorian calendar.

/// A moment as the clock's registers have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u8,
    /// 1 to 31.
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    /// 1 for Sunday.
    pub(super) weekday: u8,
}

pub(super) const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years, after which everything repeats.
const CYCLE_DAYS: i64 = 146_097;
/// Days from 1 March 0000 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;

/// Days before each month of a year that begins in March, so that the leap day is its last.
const BEFORE_MONTH: [i64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

/// Days since 1970-01-01. A day past the month's end runs into the next.
fn days(year: i64, month: u8, day: u8) -> i64 {
    let from_march = (i64::from(month) + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before = BEFORE_MONTH[from_march as usize];
    year * 365 + leaps + before + i64::from(day) - 1 - EPOCH_DAYS
}

impl Civil {
    /// Of seconds since 1970-01-01 00:00:00.
    pub(super) fn of(seconds: i64) -> Self {
        let (day, rest) = (
            seconds.div_euclid(DAY_SECONDS),
            seconds.rem_euclid(DAY_SECONDS),
        );
        let shifted = day + EPOCH_DAYS;
        let cycle = shifted.div_euclid(CYCLE_DAYS);
        let within = shifted.rem_euclid(CYCLE_DAYS);
        // The last day of 4, of 100 and of 400 years has no year of its own.
        let year = (within - within / 1460 + within / 36_524 - within / 146_096) / 365;
        let of_year = within - (year * 365 + year / 4 - year / 100);
        let from_march = BEFORE_MONTH.iter().rposition(|&before| before <= of_year);
        let from_march = from_march.unwrap_or(0);
        let month = (from_march + 2) % 12 + 1;
        Self {
            year: cycle * 400 + year + i64::from(month <= 2),
            month: month as u8,
            day: (of_year - BEFORE_MONTH[from_march] + 1) as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            weekday: ((day + 4).rem_euclid(7) + 1) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00:00. Months outside 1 to 12 are brought inside; what else is too large runs over.
    pub(super) fn seconds(&self) -> i64 {
        let day = days(self.year, self.month.clamp(1, 12), self.day);
        let [hour, minute, second] = [self.hour, self.minute, self.second].map(i64::from);
        day * DAY_SECONDS + hour * 3600 + minute * 60 + second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_of_known_moments() {
        let of = |seconds| {
            let civil = Civil::of(seconds);
            assert_eq!(civil.seconds(), seconds);
            (civil.year, civil.month, civil.day, civil.weekday)
        };
        assert_eq!(of(0), (1970, 1, 1, 5));
        assert_eq!(of(951_782_400), (2000, 2, 29, 3));
        assert_eq!(of(1_767_225_600), (2026, 1, 1, 5));
        assert_eq!(of(-1), (1969, 12, 31, 4));
        assert_eq!(of(4_107_542_399), (2100, 2, 28, 1));
        assert_eq!(of(4_107_542_400), (2100, 3, 1, 2));
    }

    #[test]
    fn civil_every_day_of_four_centuries_follows_the_last() {
        let mut last = Civil::of(0);
        for day in 1..CYCLE_DAYS {
            let civil = Civil::of(day * DAY_SECONDS);
            assert_eq!(civil.seconds(), day * DAY_SECONDS);
            let next_day = civil.day == last.day + 1 && civil.month == last.month;
            let next_month = civil.day == 1 && last.day >= 28 && civil.month == last.month % 12 + 1;
            assert!(next_day || next_month, "{last:?} {civil:?}");
            assert_eq!(civil.weekday, last.weekday % 7 + 1);
            last = civil;
        }
    }
}

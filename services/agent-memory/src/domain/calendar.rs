//! Dates of moments, in UTC.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// English names of the months.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Date of a moment in milliseconds since 1970; none outside of the years -9999 to 9999.
#[must_use]
pub fn date(time: i64) -> Option<Date> {
    let moment = Timestamp::from_millisecond(time).ok()?;
    Some(TimeZone::UTC.to_datetime(moment).date())
}

/// Date as people write it: `8 May 2023`.
#[must_use]
pub fn written(date: Date) -> String {
    let month = usize::try_from(date.month()).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!("{} {} {}", date.day(), month.unwrap_or(&""), date.year())
}

/// Days from `start` to `end`; negative if `end` is earlier.
#[must_use]
pub fn days_between(start: Date, end: Date) -> i64 {
    end.duration_since(start).as_hours() / 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_the_date_of_utc() {
        assert_eq!(date(0).map(written).as_deref(), Some("1 January 1970"));
        assert_eq!(date(-1).map(written).as_deref(), Some("31 December 1969"));
        assert_eq!(date(1_683_554_160_000).map(written).as_deref(), Some("8 May 2023"));
        assert_eq!(date(i64::MAX), None);
    }

    #[test]
    fn days_are_counted_in_both_directions() {
        let (start, end) = (Date::constant(2024, 2, 28), Date::constant(2024, 3, 1));
        assert_eq!(days_between(start, end), 2);
        assert_eq!(days_between(end, start), -2);
    }
}

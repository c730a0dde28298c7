//! Protobuf timestamps as whole microseconds or milliseconds since 1970-01-01 UTC, and back.

use prost_types::Timestamp;

/// Rule of a timestamp, worded to follow a field's name.
pub const RULE: &str = "must be a time between the years 1 and 9999";

/// 0001-01-01T00:00:00Z, in seconds.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, in seconds.
const LAST_SECOND: i64 = 253_402_300_799;

/// Microseconds of a timestamp, cut toward the past; `None` if it breaks [`RULE`], or its nanoseconds are not 0 to 999,999,999.
#[must_use]
pub fn micros(time: &Timestamp) -> Option<i64> {
    let valid = (FIRST_SECOND..=LAST_SECOND).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    valid.then(|| time.seconds * 1_000_000 + i64::from(time.nanos / 1000))
}

/// Milliseconds of a timestamp, cut toward the past; `None` as [`micros`].
#[must_use]
pub fn millis(time: &Timestamp) -> Option<i64> {
    micros(time).map(|micros| micros.div_euclid(1000))
}

/// Timestamp of `micros`, clamped to the years 1 to 9999.
#[must_use]
pub fn from_micros(micros: i64) -> Timestamp {
    let micros = micros.clamp(FIRST_SECOND * 1_000_000, LAST_SECOND * 1_000_000 + 999_999);
    // Below 1,000,000, so that no bit is cut off.
    let nanos = micros.rem_euclid(1_000_000) as i32 * 1000;
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// Timestamp of `millis`, clamped to the years 1 to 9999.
#[must_use]
pub fn from_millis(millis: i64) -> Timestamp {
    from_micros(millis.clamp(FIRST_SECOND * 1000, LAST_SECOND * 1000 + 999) * 1000)
}

/// Milliseconds of a time by RFC 3339 with an offset, such as `2026-11-28T09:00:00.123+01:00`, cut toward the past; `None` for any
/// other text, and outside of the years 1 to 9999.
#[must_use]
pub fn parse_millis(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let is_offset = |offset: &[u8]| matches!(offset, [b'+' | b'-', _, _, b':', _, _]);
    let zoned = bytes.last() == Some(&b'Z') || bytes.last_chunk::<6>().is_some_and(|offset| is_offset(offset));
    let dated = bytes.len() >= 20 && bytes[10] == b'T' && text.is_ascii();
    let time: Timestamp = (dated && zoned).then(|| text.parse().ok()).flatten()?;
    millis(&time)
}

/// Time of `millis` by RFC 3339, in UTC, clamped to the years 1 to 9999.
#[must_use]
pub fn format_millis(millis: i64) -> String {
    from_millis(millis).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_toward_the_past() {
        let time = Timestamp { seconds: -1, nanos: 999_999_999 };
        assert_eq!((micros(&time), millis(&time)), (Some(-1), Some(-1)));
        let time = Timestamp { seconds: 1, nanos: 999_999_999 };
        assert_eq!((micros(&time), millis(&time)), (Some(1_999_999), Some(1999)));
    }

    #[test]
    fn every_time_in_range_survives_the_round_trip() {
        for micros in [0, 1, -1, FIRST_SECOND * 1_000_000, LAST_SECOND * 1_000_000 + 999_999, 1_700_000_000_123_456] {
            assert_eq!(super::micros(&from_micros(micros)), Some(micros));
        }
        assert_eq!(from_millis(-1), Timestamp { seconds: -1, nanos: 999_000_000 });
    }

    #[test]
    fn texts_are_times_by_rfc_3339() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00.123456+01:00", 123),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("2026-11-28T09:00:00-00:30", 1_795_858_200_000),
        ] {
            assert_eq!(parse_millis(text), Some(millis), "{text}");
        }
        for text in [
            "",
            "2026-11-28",
            "2026-11-28T09:00:00",
            "2026-11-28 09:00:00Z",
            "2026-13-28T09:00:00Z",
            "now",
            "0Z",
            "1795856400000",
        ] {
            assert_eq!(parse_millis(text), None, "{text}");
        }
        for millis in [0, 1, -1, 1_795_858_200_123, 253_402_300_799_999] {
            assert_eq!(parse_millis(&format_millis(millis)), Some(millis));
        }
        assert_eq!(format_millis(1_795_858_200_000), "2026-11-28T09:30:00Z");
    }

    #[test]
    fn times_out_of_range_are_rejected_or_clamped() {
        for (seconds, nanos) in
            [(FIRST_SECOND - 1, 0), (LAST_SECOND + 1, 0), (i64::MIN, 0), (i64::MAX, 0), (1, -1), (1, 1_000_000_000)]
        {
            assert_eq!(micros(&Timestamp { seconds, nanos }), None, "{seconds} s, {nanos} ns");
        }
        assert_eq!(from_millis(i64::MIN), Timestamp { seconds: FIRST_SECOND, nanos: 0 });
        assert_eq!(from_millis(i64::MAX), Timestamp { seconds: LAST_SECOND, nanos: 999_000_000 });
    }
}

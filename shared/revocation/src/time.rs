//! Moments and versions.

use std::fmt;
use std::time::Duration;

/// Moment, or cutoff, in milliseconds since 1970 by the store's clock. Finer times are cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

/// Version of a revocation: time of its last change in microseconds since 1970, by the hybrid clock of its partition,
/// so that each change has its own. Of two states of one target the one with the higher version holds. In decimal it is
/// the etag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

// === impl Millis ===

impl Millis {
    /// Converts a claim in seconds (`NumericDate`), with or without a fraction. `None` if it is not a number, or is out
    /// of range.
    ///
    /// The claim is rounded at the microsecond before it is cut to milliseconds: `1700000000.123` is no exact double,
    /// and would fall a millisecond short.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        // Both bounds are exact doubles; NaN is in no range. The cast cuts nothing off, since it is whole and in range.
        let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros);
        in_range.then(|| Self::from_micros(micros as i64))
    }

    /// Converts microseconds, cut to milliseconds: towards the past, also before 1970.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.div_euclid(1000))
    }

    /// Adds the whole milliseconds of `duration`; stops at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole(duration)))
    }

    /// Subtracts the whole milliseconds of `duration`; stops at the beginning of time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole(duration)))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whole milliseconds of a duration.
pub(crate) fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

// === impl Version ===

impl Version {
    /// Reads an etag: decimal, without leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if plain { text.parse().ok().map(Self) } else { None }
    }

    /// Time of the change, by the clock of the partition.
    pub fn time(self) -> Millis {
        Millis(i64::try_from(self.0 / 1000).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Millis, Version};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn seconds_are_rounded_at_the_microsecond_and_cut_to_milliseconds() {
        for (seconds, millis) in [
            (1_700_000_000.0, 1_700_000_000_000),
            // The nearest double is a little less.
            (1_700_000_000.123, 1_700_000_000_123),
            (1_700_000_000.123_999, 1_700_000_000_123),
            (1_700_000_000.999_999_9, 1_700_000_001_000),
            (0.0, 0),
            (-0.000_5, -1),
            (-1.0, -1000),
        ] {
            assert_eq!(Millis::from_seconds(seconds), Some(Millis(millis)), "{seconds} s");
        }
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e13, -1e13, f64::MAX] {
            assert_eq!(Millis::from_seconds(seconds), None, "{seconds} s can't be told in microseconds");
        }
    }

    #[test]
    fn sums_stop_at_the_ends_of_time() {
        assert_eq!(Millis(i64::MAX).plus(Duration::MAX), Millis(i64::MAX));
        assert_eq!(Millis(i64::MIN).minus(Duration::MAX), Millis(i64::MIN));
        assert_eq!(Millis(5).plus(Duration::from_micros(1999)), Millis(6));
    }

    #[test]
    fn an_etag_has_one_text() {
        assert_eq!(Version::parse("18446744073709551615"), Some(Version(u64::MAX)));
        for text in ["", "+1", "-1", "01", "1 ", "18446744073709551616", "x"] {
            assert_eq!(Version::parse(text), None, "{text:?} is no etag");
        }
        assert_eq!(Version(1_999).time(), Millis(1));
    }

    proptest! {
        #[test]
        fn every_millisecond_survives_as_a_double(millis in 0i64..4_102_444_800_000) {
            prop_assert_eq!(Millis::from_seconds(millis as f64 / 1000.0), Some(Millis(millis)));
        }
    }
}

use std::time::Duration;

/// Converts a duration from a request; `None` if it is negative, or has a second or more of nanoseconds.
///
/// prost's own conversion negates what is negative, which overflows for the smallest numbers.
#[must_use]
pub fn duration(sent: prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(sent.seconds).ok()?;
    let nanos = u32::try_from(sent.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// Writes a duration; one over 10,000 years, which no setting allows, becomes zero.
#[must_use]
pub fn span(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_negative_is_a_duration() {
        let read = |seconds, nanos| duration(prost_types::Duration { seconds, nanos });
        assert_eq!(read(1, 500_000_000), Some(Duration::from_millis(1500)));
        assert_eq!(read(i64::MAX, 999_999_999).map(|long| long.as_secs()), Some(i64::MAX as u64));
        for (seconds, nanos) in [(i64::MIN, i32::MIN), (-1, 0), (0, -1), (1, -1), (0, 1_000_000_000)] {
            assert_eq!(read(seconds, nanos), None, "{seconds} s, {nanos} ns");
        }
    }
}

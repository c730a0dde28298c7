//! Moments and expiry in a request, in milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violation, Violations, duration, timestamp};
use prost_types::Timestamp;

/// Time of this machine.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Moment in a field; none if it is unset or breaks its rule.
pub(super) fn moment(sent: Option<Timestamp>, field: &str, violations: &mut Violations) -> Option<i64> {
    let rule = || Violation::new(field, timestamp::RULE);
    violations.keep(timestamp::millis(&sent?).ok_or_else(rule))
}

/// First and last moment of a span in two fields.
pub(super) fn span(
    [from, until]: [Option<Timestamp>; 2],
    fields: [&str; 2],
    violations: &mut Violations,
) -> [Option<i64>; 2] {
    let span = [moment(from, fields[0], violations), moment(until, fields[1], violations)];
    if let [Some(from), Some(until)] = span
        && from >= until
    {
        let name = fields[0].rsplit('.').next().unwrap_or(fields[0]);
        violations.add(fields[1], format!("must be later than `{name}`"));
    }
    span
}

/// Moment at which `memory` expires, by `expire_time` or `ttl`; `at` is its path.
pub(super) fn expires(memory: &pb::Memory, at: &str, now: i64, violations: &mut Violations) -> Option<i64> {
    let [shortest, longest] = stated::TTL;
    match (&memory.expire_time, &memory.ttl) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            violations.add(format!("{at}.ttl"), "must not be set beside `expire_time`");
            None
        }
        (Some(time), None) => {
            let field = format!("{at}.expire_time");
            let millis = moment(Some(*time), &field, violations)?;
            if millis <= now || millis > now.saturating_add(millis_of(longest)) {
                violations.add(field, "must be in the future, at most 799 days ahead");
            }
            Some(millis)
        }
        (None, Some(ttl)) => {
            let ttl = duration(*ttl).filter(|ttl| {
                // A fraction beyond the longest time counts as a whole second.
                (shortest..=longest).contains(&ttl.as_secs()) && (ttl.as_secs() < longest || ttl.subsec_nanos() == 0)
            });
            let rule = || Violation::new(format!("{at}.ttl"), "must be 1 minute to 799 days (69033600 s)");
            let ttl = violations.keep(ttl.ok_or_else(rule))?;
            Some(now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)))
        }
    }
}

fn millis_of(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn read(expire_time: Option<i64>, ttl: Option<Duration>) -> Result<Option<i64>, String> {
        let expire_time = expire_time.map(timestamp::from_millis);
        let memory = pb::Memory { expire_time, ttl, ..pb::Memory::default() };
        let mut violations = Violations::new();
        let expires = expires(&memory, "memory", NOW, &mut violations);
        if violations.is_empty() { Ok(expires) } else { Err(violations.as_slice()[0].field.clone()) }
    }

    #[test]
    fn expiry_is_in_the_future_and_has_one_form() {
        let ttl = |seconds, nanos| Some(Duration { seconds, nanos });
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(Some(NOW + 1), None), Ok(Some(NOW + 1)));
        assert_eq!(read(None, ttl(60, 500_000_000)), Ok(Some(NOW + 60_500)));
        assert_eq!(read(None, ttl(69_033_600, 0)), Ok(Some(NOW + 69_033_600_000)));
        assert_eq!(read(Some(NOW), None), Err("memory.expire_time".to_owned()));
        assert_eq!(read(Some(NOW + 69_033_600_001), None), Err("memory.expire_time".to_owned()));
        for bad in [ttl(59, 999_999_999), ttl(-1, 0), ttl(69_033_600, 1), ttl(i64::MAX, 0)] {
            assert_eq!(read(None, bad), Err("memory.ttl".to_owned()), "{bad:?}");
        }
        assert_eq!(read(Some(NOW + 1), ttl(60, 0)), Err("memory.ttl".to_owned()));
    }

    #[test]
    fn span_ends_after_its_start() {
        let read = |from: i64, until: i64| {
            let mut violations = Violations::new();
            let sent = [from, until].map(|millis| Some(timestamp::from_millis(millis)));
            let span = span(sent, ["m.valid_from_time", "m.valid_until_time"], &mut violations);
            (span, violations.to_string())
        };
        assert_eq!(read(1, 2), ([Some(1), Some(2)], String::new()));
        assert_eq!(read(2, 2).1, "m.valid_until_time: must be later than `valid_from_time`");
    }
}

//! Expiry and source version of a document in a request.

use std::time::{SystemTime, UNIX_EPOCH};

use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::{Violation, Violations, duration, timestamp};

/// Time of this machine, in milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Moment at which `document` expires, in milliseconds since 1970, by `expire_time` or `ttl`.
pub(super) fn expires(document: &pb::Document, at: &str, now: i64, violations: &mut Violations) -> Option<i64> {
    match (&document.expire_time, &document.ttl) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            violations.add(format!("{at}.ttl"), "must not be set beside `expire_time`");
            None
        }
        (Some(time), None) => {
            let field = || format!("{at}.expire_time");
            let millis = timestamp::millis(time).ok_or_else(|| Violation::new(field(), timestamp::RULE));
            let millis = violations.keep(millis)?;
            let latest = now.saturating_add(i64::try_from(stated::TTL * 1000).unwrap_or(i64::MAX));
            if millis <= now || millis > latest {
                violations.add(field(), "must be in the future, at most 10 years ahead");
            }
            Some(millis)
        }
        (None, Some(ttl)) => {
            let seconds = 1..=stated::TTL;
            let ttl = duration(*ttl).filter(|ttl| {
                // A fraction beyond the longest time counts as a whole second.
                seconds.contains(&ttl.as_secs()) && (ttl.as_secs() < stated::TTL || ttl.subsec_nanos() == 0)
            });
            let rule = || Violation::new(format!("{at}.ttl"), "must be 1 s to 10 years (315360000 s)");
            let ttl = violations.keep(ttl.ok_or_else(rule))?;
            Some(now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)))
        }
    }
}

/// Source version in a field: a whole number that a JSON number keeps exactly.
pub(super) fn source_version(sent: Option<f64>, field: &str, violations: &mut Violations) -> Option<i64> {
    let sent = sent?;
    #[expect(clippy::cast_precision_loss, reason = "the bound is below 2^53")]
    let most = stated::WHOLE as f64;
    if sent.fract() == 0.0 && (0.0..=most).contains(&sent) {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the bound")]
        return Some(sent as i64);
    }
    violations.add(field, "must be a whole number from 0, below 2^53");
    None
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration, Timestamp};

    use super::*;

    const NOW: i64 = 1_000_000;

    fn read(expire_time: Option<i64>, ttl: Option<Duration>) -> Result<Option<i64>, String> {
        let expire_time = expire_time.map(timestamp::from_millis);
        let document = pb::Document { expire_time, ttl, ..pb::Document::default() };
        let mut violations = Violations::new();
        let expires = expires(&document, "document", NOW, &mut violations);
        if violations.is_empty() { Ok(expires) } else { Err(violations.as_slice()[0].field.clone()) }
    }

    #[test]
    fn expiry_is_in_the_future_and_has_one_form() {
        let ttl = |seconds, nanos| Some(Duration { seconds, nanos });
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(Some(NOW + 1), None), Ok(Some(NOW + 1)));
        assert_eq!(read(None, ttl(1, 500_000_000)), Ok(Some(NOW + 1500)));
        assert_eq!(read(None, ttl(315_360_000, 0)), Ok(Some(NOW + 315_360_000_000)));
        assert_eq!(read(Some(NOW), None), Err("document.expire_time".to_owned()));
        assert_eq!(read(Some(NOW + 315_360_000_001), None), Err("document.expire_time".to_owned()));
        for bad in [ttl(0, 999_999_999), ttl(-1, 0), ttl(315_360_000, 1), ttl(i64::MAX, 0)] {
            assert_eq!(read(None, bad), Err("document.ttl".to_owned()), "{bad:?}");
        }
        assert_eq!(read(Some(NOW + 1), ttl(1, 0)), Err("document.ttl".to_owned()));
        let broken =
            pb::Document { expire_time: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..Default::default() };
        let mut violations = Violations::new();
        assert_eq!(expires(&broken, "document", NOW, &mut violations), None);
        assert_eq!(violations.as_slice().len(), 1);
    }

    #[test]
    fn source_version_is_whole_and_exact() {
        for (sent, version) in
            [(None, None), (Some(0.0), Some(0)), (Some(9_007_199_254_740_991.0), Some((1 << 53) - 1))]
        {
            let mut violations = Violations::new();
            assert_eq!(source_version(sent, "v", &mut violations), version);
            assert!(violations.is_empty());
        }
        for sent in [-1.0, 0.5, 9_007_199_254_740_992.0, f64::NAN, f64::INFINITY] {
            let mut violations = Violations::new();
            assert_eq!(source_version(Some(sent), "v", &mut violations), None, "{sent}");
            assert_eq!(violations.as_slice().len(), 1);
        }
    }
}

//! Policies for answers that neither memory nor the store can give.

use std::fmt;
use std::time::Duration;

/// Policy for tokens that nothing is known against, while neither memory nor the store can tell.
///
/// No policy lets a token pass that memory holds to be revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutagePolicy {
    /// Closed: the call fails with UNAVAILABLE (`FRESHNESS_UNKNOWN`).
    #[default]
    Closed,
    /// Open: the token is active.
    Open,
    /// Last knowledge: the token is active while memory is at most this old; then [`OutagePolicy::Closed`].
    LastKnown(Duration),
}

/// Answer about a token that the store does not know, and that a filter from before a loss holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterLoss {
    /// Revoked, until the token expires. Good tokens are rejected at the filters' rate of false positives.
    #[default]
    Refuse,
    /// Active, even if the token's revocation was lost and could not be given back.
    AskStore,
}

/// Longest time of [`OutagePolicy::LastKnown`].
const LONGEST: Duration = Duration::from_hours(24);

/// Fault of a text that is no outage policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutagePolicyError {
    /// Text that names none of the policies.
    #[error("must be `closed`, `open`, or `last-known` and a time such as `last-known 30s`")]
    Unknown,
    /// Malformed time, in the words of the function that reads times.
    #[error("last-known: {0}")]
    Time(String),
    /// Time out of range.
    #[error("last-known must have a time of more than 0s and at most 24h")]
    Range,
}

// === impl OutagePolicy ===

impl OutagePolicy {
    /// Reads `closed`, `open` or `last-known <time>`, where `duration` reads times such as `30s`.
    ///
    /// # Errors
    ///
    /// Rule that the text breaks, worded to follow the name of a setting.
    pub fn parse(
        text: &str,
        duration: impl Fn(&str) -> Result<Duration, String>,
    ) -> Result<OutagePolicy, OutagePolicyError> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("closed"), None, _) => Ok(OutagePolicy::Closed),
            (Some("open"), None, _) => Ok(OutagePolicy::Open),
            (Some("last-known"), Some(time), None) => {
                let time = duration(time).map_err(OutagePolicyError::Time)?;
                let policy = (!time.is_zero() && time <= LONGEST).then_some(OutagePolicy::LastKnown(time));
                policy.ok_or(OutagePolicyError::Range)
            }
            _ => Err(OutagePolicyError::Unknown),
        }
    }

    /// Returns whether a token passes that nothing is known against, by knowledge of this `age`; `None`: memory never
    /// caught up.
    #[must_use]
    pub fn lets_pass(self, age: Option<Duration>) -> bool {
        match self {
            OutagePolicy::Closed => false,
            OutagePolicy::Open => true,
            OutagePolicy::LastKnown(limit) => age.is_some_and(|age| age <= limit),
        }
    }
}

// === impl AfterLoss ===

impl AfterLoss {
    /// Reads `refuse` or `ask-store`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<AfterLoss> {
        match text {
            "refuse" => Some(AfterLoss::Refuse),
            "ask-store" => Some(AfterLoss::AskStore),
            _ => None,
        }
    }
}

impl fmt::Display for OutagePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutagePolicy::Closed => f.write_str("closed"),
            OutagePolicy::Open => f.write_str("open"),
            OutagePolicy::LastKnown(limit) => write!(f, "last-known {}ms", limit.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OutagePolicy, OutagePolicyError> {
        OutagePolicy::parse(text, |time| {
            let number = time.strip_suffix("ms").ok_or("needs a unit")?;
            number.parse().map(Duration::from_millis).map_err(|_| "no number".to_owned())
        })
    }

    #[test]
    fn each_policy_is_read_as_it_is_displayed() {
        for policy in [OutagePolicy::Closed, OutagePolicy::Open, OutagePolicy::LastKnown(Duration::from_secs(30))] {
            assert_eq!(parse(&policy.to_string()), Ok(policy));
        }
    }

    #[test]
    fn any_other_text_is_rejected_with_the_rule() {
        for text in ["", "Closed", "last-known", "open 3ms", "closed now", "last-known 1ms 2ms", "half-open"] {
            assert_eq!(parse(text), Err(OutagePolicyError::Unknown), "{text:?}");
        }
        for text in ["last-known 0ms", "last-known 86400001ms"] {
            assert_eq!(parse(text), Err(OutagePolicyError::Range), "{text:?}");
        }
        let error = parse("last-known 30").expect_err("no unit");
        assert_eq!(error.to_string(), "last-known: needs a unit");
    }

    #[test]
    fn tokens_pass_by_policy_and_age() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        for age in [None, Some(second)] {
            assert!(!OutagePolicy::Closed.lets_pass(age) && OutagePolicy::Open.lets_pass(age));
        }
        let policy = OutagePolicy::LastKnown(second);
        assert!(policy.lets_pass(Some(second)) && !policy.lets_pass(Some(minute)) && !policy.lets_pass(None));
    }
}

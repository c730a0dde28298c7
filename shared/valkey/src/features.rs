//! What each feature may store and for how long: TTL governance as a type.

use std::fmt;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A family of keys, `<app>:<feature>:...`, with the longest life that its keys may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Feature {
    name: &'static str,
    lifetime: Lifetime,
}

/// How long the keys of a feature may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// Every key carries a TTL of at most this.
    AtMost(Duration),
    /// Keys live until they are deleted.
    Persistent,
}

/// The one table of features. A service that needs another one adds its row here.
///
/// The record of the layout version (see [`Valkey::check_layout`](crate::Valkey::check_layout)) is persistent in every
/// feature: it must outlive all the keys that it describes.
pub const FEATURES: &[Feature] =
    &[Feature::SESSION, Feature::REVOCATION, Feature::RATELIMIT, Feature::POLICIES, Feature::SEARCH];

/// A time to live that its feature allows: at least a millisecond, at most the feature's maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(Duration);

/// Why a duration is no TTL for a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Less than a millisecond, the unit that the server counts in.
    #[error("a time to live must be at least 1 millisecond")]
    TooShort,
    /// More than the feature allows.
    #[error("a key of the feature {feature} may live for at most {max:?}")]
    TooLong {
        /// Name of the feature.
        feature: &'static str,
        /// The longest that it allows.
        max: Duration,
    },
    /// Keys of this feature live until they are deleted.
    #[error("keys of the feature {feature} are persistent and take no time to live")]
    Persistent {
        /// Name of the feature.
        feature: &'static str,
    },
}

// === impl Feature ===

impl Feature {
    /// Session state of users.
    pub const SESSION: Feature = Feature::new("session", Lifetime::AtMost(DAY.saturating_mul(31)));
    /// Revoked tokens and the feed that tells replicas of them. A revocation lives as long as the longest token that it
    /// could meet: tokens of two years, and the leeway of clocks.
    pub const REVOCATION: Feature = Feature::new("revocation", Lifetime::AtMost(DAY.saturating_mul(800)));
    /// Buckets, charges and audits of rate limits. A bucket lives until it is empty: at most a full burst and as much debt,
    /// of which each leaks away within a year.
    pub const RATELIMIT: Feature = Feature::new("ratelimit", Lifetime::AtMost(DAY.saturating_mul(733)));
    /// Policies of rate limits, and which plan each tenant is on.
    pub const POLICIES: Feature = Feature::new("policies", Lifetime::Persistent);
    /// Documents and index definitions of the search service.
    pub const SEARCH: Feature = Feature::new("search", Lifetime::Persistent);

    const fn new(name: &'static str, lifetime: Lifetime) -> Feature {
        Feature { name, lifetime }
    }

    /// The name, as it stands in keys and in metrics.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// How long its keys may live.
    pub fn lifetime(self) -> Lifetime {
        self.lifetime
    }
}

impl fmt::Debug for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feature({})", self.name)
    }
}

// === impl Ttl ===

impl Ttl {
    /// Holds `duration` against what `feature` allows; parts of a millisecond are cut off.
    pub fn new(feature: Feature, duration: Duration) -> Result<Ttl, TtlError> {
        match feature.lifetime {
            Lifetime::Persistent => Err(TtlError::Persistent { feature: feature.name }),
            Lifetime::AtMost(max) if duration > max => Err(TtlError::TooLong { feature: feature.name, max }),
            Lifetime::AtMost(_) if duration < Duration::from_millis(1) => Err(TtlError::TooShort),
            Lifetime::AtMost(_) => Ok(Ttl(duration)),
        }
    }

    /// Whole milliseconds, as `PEXPIRE` and `SET ... PX` take them.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).expect("every maximum in the table fits 64 bits of milliseconds")
    }

    /// The TTL as a duration.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_keeps_to_its_feature() {
        let max = DAY.saturating_mul(31);
        assert_eq!(Ttl::new(Feature::SESSION, max).map(Ttl::as_millis), Ok(2_678_400_000));
        assert_eq!(
            Ttl::new(Feature::SESSION, max + Duration::from_nanos(1)),
            Err(TtlError::TooLong { feature: "session", max })
        );
        assert_eq!(Ttl::new(Feature::SESSION, Duration::from_micros(999)), Err(TtlError::TooShort));
        assert_eq!(Ttl::new(Feature::REVOCATION, DAY.saturating_mul(800)).map(Ttl::as_millis), Ok(69_120_000_000));
        assert_eq!(
            Ttl::new(Feature::REVOCATION, DAY.saturating_mul(801)),
            Err(TtlError::TooLong { feature: "revocation", max: DAY.saturating_mul(800) })
        );
        assert_eq!(Ttl::new(Feature::SEARCH, DAY), Err(TtlError::Persistent { feature: "search" }));
    }

    #[test]
    fn feature_names_are_unique_key_segments() {
        let mut names: Vec<_> = FEATURES.iter().map(|feature| feature.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FEATURES.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}

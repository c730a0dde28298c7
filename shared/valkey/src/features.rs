//! Features, and the lifetimes of their keys: TTL governance as a type.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Family of keys, `<app>:<feature>:...`, with the longest lifetime of its keys.
///
/// The associated constants are the one table of features: a service that needs another feature adds it here. The record of
/// the layout version (see [`Valkey::check_layout`](crate::Valkey::check_layout)) is persistent in every feature, since it
/// outlives all keys that it describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Feature {
    name: &'static str,
    lifetime: Lifetime,
}

/// Lifetime of the keys of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lifetime {
    /// Longest TTL; every key has one.
    AtMost(Duration),
    /// No TTL: keys live until they are deleted.
    Persistent,
}

/// TTL that its feature allows: at least a millisecond, at most the feature's maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(Duration);

/// Reason that a duration is no TTL for a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Less than a millisecond, the server's resolution.
    #[error("a time to live must be at least 1 millisecond")]
    TooShort,
    /// More than the feature allows.
    #[error("a key of the feature {feature} may live for at most {max:?}")]
    TooLong {
        /// Name of the feature.
        feature: &'static str,
        /// Longest TTL of the feature.
        max: Duration,
    },
    /// Persistent: keys of this feature take no TTL.
    #[error("keys of the feature {feature} are persistent and take no time to live")]
    Persistent {
        /// Name of the feature.
        feature: &'static str,
    },
}

// === impl Feature ===

impl Feature {
    /// Session state of users, up to 31 days.
    pub const SESSION: Feature = Feature::new("session", Lifetime::AtMost(DAY.saturating_mul(31)));
    /// Revoked tokens and their feed, up to 800 days. A revocation outlives the longest token that it can match: two years,
    /// and the leeway of clocks.
    pub const REVOCATION: Feature = Feature::new("revocation", Lifetime::AtMost(DAY.saturating_mul(800)));
    /// Buckets, charges and audits of rate limits, up to 733 days. A bucket lives until it is empty: a full burst and as much
    /// debt each leak away within a year.
    pub const RATELIMIT: Feature = Feature::new("ratelimit", Lifetime::AtMost(DAY.saturating_mul(733)));
    /// Policies of rate limits, and the plan of each tenant.
    pub const POLICIES: Feature = Feature::new("policies", Lifetime::Persistent);
    /// Documents and index definitions of the search service.
    pub const SEARCH: Feature = Feature::new("search", Lifetime::Persistent);

    /// Memories of agents, their records and indexes, up to 800 days: a day behind the expiry of a memory.
    pub const MEMORY: Feature = Feature::new("memory", Lifetime::AtMost(DAY.saturating_mul(800)));

    const fn new(name: &'static str, lifetime: Lifetime) -> Feature {
        Feature { name, lifetime }
    }

    /// Name in keys and metrics.
    pub fn name(self) -> &'static str {
        self.name
    }
}

// === impl Ttl ===

impl Ttl {
    /// Checks `duration` against the bounds of `feature`; drops fractions of a millisecond.
    pub fn new(feature: Feature, duration: Duration) -> Result<Ttl, TtlError> {
        match feature.lifetime {
            Lifetime::Persistent => Err(TtlError::Persistent { feature: feature.name }),
            Lifetime::AtMost(max) if duration > max => Err(TtlError::TooLong { feature: feature.name, max }),
            Lifetime::AtMost(_) if duration < Duration::from_millis(1) => Err(TtlError::TooShort),
            Lifetime::AtMost(_) => Ok(Ttl(duration)),
        }
    }

    /// Whole milliseconds, for `PEXPIRE` and `SET ... PX`.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).expect("every maximum in the table fits 64 bits of milliseconds")
    }

    /// TTL as a duration.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_bounded_by_its_feature() {
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
        let features = [
            Feature::SESSION,
            Feature::REVOCATION,
            Feature::RATELIMIT,
            Feature::POLICIES,
            Feature::SEARCH,
            Feature::MEMORY,
        ];
        let mut names = features.map(Feature::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), features.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}

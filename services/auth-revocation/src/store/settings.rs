//! Settings of the store, and the lifetimes of keys that follow from them.

use std::time::Duration;

use keyplane_revocation::filter::Buckets;
use keyplane_revocation::{Filters, Millis, Rules};
use keyplane_valkey::{Arg, Feature, Ttl, TtlError};

/// Longest time that a revocation of a session or of a key can be asked to hold.
pub const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Time that a revocation is kept beyond its need, so that a retry has nothing to prolong.
const SLACK: Duration = Duration::from_secs(60);
/// Lifetime of a partition's head after the last revocation: it must outlive them all.
const HEAD: Duration = Duration::from_secs(800 * 24 * 60 * 60);
/// First capacity of a filter, in tokens; it grows.
const CAPACITY: u32 = 10_000;

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of partitions that revocations are spread over: 1 to 64. Fixed when the store is first used.
    pub partitions: u32,
    /// Rules for tokens. The lifetimes of revocations follow from them.
    pub rules: Rules,
    /// Shape of the Bloom filters of tokens.
    pub filters: Filters,
    /// Time for which the audit is kept.
    pub audit_age: Duration,
    /// Condition under which a write counts as replicated.
    pub replication: Replication,
    /// Clock of this machine. Answers do not rest on it: see [`Store::now`](super::Store::now).
    pub wall: fn() -> Millis,
}

/// Condition under which a write counts as replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Replicas have it, where the engine has `WAIT`, this user may call it, and enough replicas are attached.
    Auto {
        /// Number of replicas that must have the write.
        replicas: u32,
        /// Longest wait of a write for them.
        within: Duration,
    },
    /// Off: no write waits, and none counts as replicated.
    Off,
}

/// Settings as arguments of scripts, in milliseconds. Each TTL is one that keys of this feature may have.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    pub(super) buckets: Buckets,
    pub(super) feed: u64,
    pub(super) head: u64,
    audit: u64,
    pub(super) generation: u64,
    pub(super) leeway: u64,
    pub(super) furthest_exp: u64,
    pub(super) furthest_end: u64,
    /// Shortest time that a token of unknown expiry is held, and the slack that is added.
    pub(super) token: (u64, u64),
    /// Shortest time and slack of a cutoff, and of a session.
    pub(super) cutoff: (u64, u64),
    /// Shortest time and slack of a key.
    pub(super) key: (u64, u64),
    false_positives: String,
}

// === impl Settings ===

impl Default for Settings {
    /// Defaults: 4 partitions, tokens of at most 24 h, clocks that differ by at most 60 s, filters of an hour with one
    /// false positive in 10,000 checks, an audit of 90 days, and a wait of 50 ms for one replica.
    fn default() -> Settings {
        let day = Duration::from_secs(24 * 60 * 60);
        Settings {
            partitions: 4,
            rules: Rules { max_lifetime: day, leeway: Duration::from_secs(60), issuer_skew: Duration::ZERO },
            filters: Filters { false_positives: 1e-4, bucket: Duration::from_secs(60 * 60) },
            audit_age: 90 * day,
            replication: Replication::Auto { replicas: 1, within: Duration::from_millis(50) },
            wall: Millis::wall,
        }
    }
}

impl Settings {
    /// Time for which the feed keeps an entry. Entries that expire later must be appended again before: see
    /// [`Store::refresh`](super::Store::refresh).
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.rules.memory().saturating_add(SLACK.saturating_mul(2))
    }
}

// === impl Spans ===

impl Spans {
    pub(super) fn new(settings: &Settings) -> Result<Spans, TtlError> {
        let ttl = |duration| Ttl::new(Feature::REVOCATION, duration).map(Ttl::as_millis);
        let rules = &settings.rules;
        let memory = rules.memory();
        ttl(LONGEST.saturating_add(SLACK))?;
        Ok(Spans {
            buckets: Buckets::new(rules, &settings.filters),
            feed: ttl(settings.retention())?,
            head: ttl(HEAD)?,
            audit: ttl(settings.audit_age)?,
            generation: ttl(memory)?,
            leeway: millis(rules.leeway),
            furthest_exp: ttl(memory)?,
            furthest_end: ttl(LONGEST)?,
            // The generations of the replica in memory reach no further.
            token: (ttl(memory)?, millis(rules.leeway)),
            cutoff: (ttl(memory)?, millis(SLACK)),
            key: (ttl(LONGEST)?, millis(SLACK)),
            false_positives: settings.filters.false_positives.clamp(1e-9, 0.5).to_string(),
        })
    }

    /// Generation of filters at a time. The scripts must arrive at the same one.
    pub(super) fn generation_of(&self, now: Millis) -> u64 {
        u64::try_from(now.0).unwrap_or_default() / self.generation.max(1)
    }

    /// Arguments ARGV[1..8] of the scripts that write: see `scripts/common.lua`.
    pub(super) fn common(&self, items: usize, generation: u64) -> [Arg<'_>; 8] {
        [
            Arg::from(items as u64),
            self.feed.into(),
            self.head.into(),
            self.audit.into(),
            generation.into(),
            self.generation.into(),
            Arg::from(&self.false_positives),
            CAPACITY.into(),
        ]
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

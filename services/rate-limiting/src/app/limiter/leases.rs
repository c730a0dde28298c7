//! Shares of a bucket that an instance took in advance, for keys that are too hot for one core of the store.
//!
//! What is leased was charged before, so that nothing is ever admitted that was not charged. But it may be spent a moment
//! after: over any time, an instance admits at most one lease more than the limit says. What is not spent within [`LIFE`] is lost.

use std::time::{Duration, Instant};

use super::bounded_map::Shards;
use crate::domain::Meter;
use crate::store::BucketKey;

/// How long a lease may be spent.
const LIFE: Duration = Duration::from_secs(1);
/// Keys that an instance leases, at most.
const MOST: usize = 16 * 1024;

/// What this instance took in advance.
pub(super) struct Leases {
    leases: Shards<Lease>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    meter: Meter,
    left: u64,
    until: Instant,
    /// Somebody is taking more, and has not come back yet.
    fetching: Option<Instant>,
}

/// What a call finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There was enough; what is left.
    Enough(u64),
    /// There was not, and this call is the one to take more.
    Fetch,
    /// There was not, and another call takes more: ask the store for this one.
    Pass,
}

// === impl Leases ===

impl Leases {
    pub(super) fn new() -> Leases {
        Leases { leases: Shards::new(MOST) }
    }

    /// Takes `cost` of what is left. After [`Taken::Fetch`], call [`Leases::put`].
    pub(super) fn take(&self, key: &BucketKey, meter: Meter, cost: u64) -> Taken {
        let now = Instant::now();
        let new = || Lease { meter, left: 0, until: now, fetching: None };
        let keeps = |lease: &Lease| lease.until > now || lease.fetching.is_some();
        let taken = self.leases.enter(key, new, keeps, |lease| {
            if lease.until <= now || lease.meter != meter {
                (lease.left, lease.meter) = (0, meter);
            }
            if lease.left >= cost {
                lease.left -= cost;
                return Taken::Enough(lease.left);
            }
            // Whoever went to fetch and was cancelled does not come back.
            if lease.fetching.is_some_and(|since| now.duration_since(since) < LIFE) {
                return Taken::Pass;
            }
            lease.fetching = Some(now);
            Taken::Fetch
        });
        taken.unwrap_or(Taken::Pass)
    }

    /// Brings what was taken beyond one's own cost, at most up to `most`; 0 if there was nothing to be had.
    pub(super) fn put(&self, key: &BucketKey, surplus: u64, most: u64) {
        self.leases.with(key, |lease| {
            if let Some(lease) = lease {
                lease.fetching = None;
                lease.left = lease.left.saturating_add(surplus).min(most);
                if surplus > 0 {
                    lease.until = Instant::now() + LIFE;
                }
            }
        });
    }

    /// Puts back what a call took that was refused elsewhere.
    pub(super) fn put_back(&self, key: &BucketKey, cost: u64, most: u64) {
        self.leases.with(key, |lease| {
            if let Some(lease) = lease {
                lease.left = lease.left.saturating_add(cost).min(most);
            }
        });
    }

    /// What is left.
    pub(super) fn left(&self, key: &BucketKey) -> u64 {
        self.leases.with(key, |lease| lease.filter(|lease| lease.until > Instant::now()).map_or(0, |lease| lease.left))
    }

    /// Forgets a bucket that was reset: what was taken of it is void.
    pub(super) fn forget(&self, key: &str) {
        self.leases.remove(key);
    }
}

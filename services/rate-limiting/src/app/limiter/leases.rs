//! Leases: shares of a bucket that an instance charges in advance, for keys that are too hot for one core of the store.
//!
//! Leased hits are charged before they are spent, so no hit is admitted uncharged. They may be spent a moment later: over any
//! time, an instance admits at most one lease more than the limit. Hits not spent within [`LIFE`] are lost.

use std::time::{Duration, Instant};

use super::bounded_map::BoundedMap;
use crate::domain::Meter;
use crate::store::BucketKey;

/// Time for which a lease can be spent.
const LIFE: Duration = Duration::from_secs(1);
/// Most keys that an instance leases.
const MOST: usize = 16 * 1024;

/// Leases of this instance.
pub(super) struct Leases {
    leases: BoundedMap<Lease>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    meter: Meter,
    left: u64,
    until: Instant,
    /// Start of the call that is renewing the lease, until it returns.
    fetching: Option<Instant>,
}

/// Result of taking hits from a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseTake {
    /// Hits were taken; the rest of the lease.
    Enough(u64),
    /// Lease is short, and this call renews it.
    Fetch,
    /// Lease is short, and another call renews it: this one asks the store.
    Pass,
}

// === impl Leases ===

impl Leases {
    pub(super) fn new() -> Leases {
        Leases { leases: BoundedMap::new(MOST) }
    }

    /// Takes `cost` from a lease. After [`LeaseTake::Fetch`], call [`Leases::put`].
    pub(super) fn take(&self, key: &BucketKey, meter: Meter, cost: u64) -> LeaseTake {
        let now = Instant::now();
        let new = || Lease { meter, left: 0, until: now, fetching: None };
        let keeps = |lease: &Lease| lease.until > now || lease.fetching.is_some();
        let taken = self.leases.enter(key, new, keeps, |lease| {
            if lease.until <= now || lease.meter != meter {
                (lease.left, lease.meter) = (0, meter);
            }
            if lease.left >= cost {
                lease.left -= cost;
                return LeaseTake::Enough(lease.left);
            }
            // A renewal that was cancelled never returns.
            if lease.fetching.is_some_and(|since| now.duration_since(since) < LIFE) {
                return LeaseTake::Pass;
            }
            lease.fetching = Some(now);
            LeaseTake::Fetch
        });
        taken.unwrap_or(LeaseTake::Pass)
    }

    /// Ends a renewal: adds the hits charged beyond the cost of the call, up to `most`; 0 if none were.
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

    /// Puts back the hits of a call that another limit denied.
    pub(super) fn put_back(&self, key: &BucketKey, cost: u64, most: u64) {
        self.leases.with(key, |lease| {
            if let Some(lease) = lease {
                lease.left = lease.left.saturating_add(cost).min(most);
            }
        });
    }

    /// Hits that are left.
    pub(super) fn left(&self, key: &BucketKey) -> u64 {
        self.leases.with(key, |lease| lease.filter(|lease| lease.until > Instant::now()).map_or(0, |lease| lease.left))
    }

    /// Drops the lease of a bucket that was reset.
    pub(super) fn forget(&self, key: &str) {
        self.leases.remove(key);
    }
}

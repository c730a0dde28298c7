//! Limiter: decides from memory first, then by all of the store's buckets at once; a denial gives back whatever was charged.

mod bounded_map;
mod call;
mod charge;
mod decision;
mod denial_cache;
mod leases;
mod local_buckets;
mod metrics;
mod outcome;
mod settlement;

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::domain::{Meter, Outage};
use crate::error::Error;
use crate::store::{Bucket, BucketKey, BucketStore, Emptied, End, Group, Op, Rings, Room};
use decision::Decision;
use denial_cache::DenialCache;
use leases::Leases;
use local_buckets::LocalBuckets;
use settlement::Repairs;

pub use call::{Call, CallLimit, Idempotency};
pub use charge::{Charge, ChargeKind};
pub use denial_cache::LONGEST as LONGEST_DENIAL;
pub use outcome::{Outcome, Source, State, Verdict};
pub use settlement::{Settled, SettledLimit};

/// Decides on calls. Cheap to clone.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    store: BucketStore,
    denials: DenialCache,
    leases: Leases,
    local: LocalBuckets,
    /// Outage mode of policies that set none.
    outage: Outage,
    /// Settlements to complete in the background.
    repairs: Repairs,
}

// === impl Limiter ===

impl Limiter {
    /// Decides on the buckets in `store`; `outage` is for policies that set none. Needs a tokio runtime.
    #[must_use]
    pub fn new(store: BucketStore, outage: Outage) -> Limiter {
        let (denials, leases, local) = (DenialCache::new(), Leases::new(), LocalBuckets::new());
        let shared = Arc::new(Shared { store, denials, leases, local, outage, repairs: Repairs::default() });
        tokio::spawn(listen(Arc::downgrade(&shared), shared.store.rings()));
        Limiter { shared }
    }

    /// Buckets.
    #[must_use]
    pub fn store(&self) -> &BucketStore {
        &self.shared.store
    }

    /// Charges the limits of a call, all or none.
    ///
    /// Dropped before it returns, some limits may be charged; those charges leak away.
    ///
    /// # Errors
    ///
    /// [`Error::RequestIdReused`]; [`Error::Closed`] where the store is unavailable and the outage mode is `closed`; or the store's.
    pub async fn acquire(&self, call: &Call) -> Result<Outcome, Error> {
        let outcome = Decision::new(&self.shared, call).run().await?;
        metrics::count(call, &outcome);
        Ok(outcome)
    }

    /// Returns the decision that [`Limiter::acquire`] would make, and charges nothing.
    ///
    /// # Errors
    ///
    /// Errors of [`Limiter::acquire`].
    pub async fn peek(&self, call: &Call) -> Result<Outcome, Error> {
        Decision::peek(&self.shared, call).run().await
    }

    /// Empties buckets; returns how many held something.
    ///
    /// # Errors
    ///
    /// Store errors; then some may be empty.
    pub async fn reset(&self, limits: &[CallLimit]) -> Result<usize, Error> {
        let emptied = limits.iter().filter_map(|limit| {
            let bucket = self.shared.bucket(limit, limit.meter()?, 0, true);
            Some(self.shared.store.decide(Group { op: Op::Delete, record: None, buckets: vec![bucket] }))
        });
        let mut count = 0;
        for reply in futures::future::join_all(emptied).await {
            count += usize::from(reply?.buckets.iter().any(|bucket| bucket.room != Room::None));
        }
        for limit in limits {
            self.shared.forget(&limit.key);
            self.shared.leases.forget(limit.key.as_str());
        }
        Ok(count)
    }

    /// Takes hits back without a charge that names them (Envoy's `is_negative_hits`): the newest that have not leaked, as if they
    /// had never been charged. A bucket never falls below empty.
    ///
    /// # Errors
    ///
    /// Store errors; then some may have been taken back.
    pub async fn take_back(&self, limits: &[CallLimit]) -> Result<Vec<State>, Error> {
        let taken = limits.iter().map(|limit| async move {
            let Some(meter) = limit.meter() else { return Ok(State::unmetered(limit)) };
            let buckets = vec![self.shared.bucket(limit, meter, limit.cost, true)];
            let reply = self.shared.store.decide(Group { op: Op::Take, record: None, buckets }).await?;
            self.shared.forget(&limit.key);
            let bucket = reply.buckets.first().ok_or(Error::Corrupt("an answer without its bucket"))?;
            Ok(State::metered(Verdict::Admitted, &meter, bucket.level, bucket.ahead, limit.cost))
        });
        futures::future::join_all(taken).await.into_iter().collect()
    }

    /// Time for which this instance denies a limit without asking the store, and the hits that it has leased.
    #[must_use]
    pub fn memory(&self, limit: &CallLimit) -> (Option<Duration>, u64) {
        let denied = limit.meter().and_then(|meter| self.shared.denials.denied_for(&limit.key, &meter, limit.needs()));
        (denied, self.shared.leases.left(&limit.key))
    }

    /// Returns whether this instance hears of buckets that others empty. Until then it caches no denial.
    #[must_use]
    pub fn hears_bells(&self) -> bool {
        self.shared.denials.is_listening()
    }

    /// Denials that this instance has cached.
    #[must_use]
    pub fn denials(&self) -> usize {
        self.shared.denials.len()
    }
}

// === impl Shared ===

impl Shared {
    /// Bucket of a limit, to be charged with `cost` or to be given it back.
    fn bucket(&self, limit: &CallLimit, meter: Meter, cost: u64, rings: bool) -> Bucket {
        let channel = if rings { self.store.channel(&limit.key) } else { String::new() };
        let (key, add, flag) = (limit.key.clone(), meter.level(cost), limit.flag());
        Bucket { key, meter, add, flag, channel, end: End::default() }
    }

    /// Outage mode of a limit.
    fn outage(&self, limit: &CallLimit) -> Outage {
        limit.applied.compiled.policy.outage.unwrap_or(self.outage)
    }

    /// Forgets a bucket that this instance has emptied: its own ring may arrive after its next call.
    fn forget(&self, key: &BucketKey) {
        self.denials.forget(key.as_str());
    }
}

/// Forgets the buckets that other instances empty.
async fn listen(shared: Weak<Shared>, mut rings: Rings) {
    while let Some(emptied) = rings.next().await {
        let Some(shared) = shared.upgrade() else { return };
        match emptied {
            Emptied::Bucket(key) => shared.denials.forget(&key),
            Emptied::Any => shared.denials.forget_all(),
        }
    }
}

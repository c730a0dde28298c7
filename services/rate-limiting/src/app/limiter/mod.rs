//! Decides: what memory knows first, then all of the store's buckets side by side, and what was charged is given back if any
//! of them refuses.

mod bounded_map;
mod call;
mod charge;
mod decision;
mod denial_cache;
mod leases;
mod local_buckets;
mod repairs;
mod settlement;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::domain::Outage;
use crate::error::Error;
use crate::store::{Bucket, BucketKey, BucketStore, Emptied, End, Group, Op, Rings, Status};
pub use call::{Call, Memory, Outcome, Slot, Source, State, Verdict};
pub use charge::{Charge, ChargeKind};
use decision::Decision;
use denial_cache::Denials;
pub use denial_cache::LONGEST as LONGEST_DENIAL;
use leases::Leases;
use local_buckets::Local;
use repairs::Repairs;
pub use settlement::{Settled, SettledLimit};

/// Decides. Cheap to clone.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    store: BucketStore,
    denials: Denials,
    leases: Leases,
    local: Local,
    outage: Outage,
    /// Settlements that are completed later.
    repairs: Repairs,
}

// === impl Limiter ===

impl Limiter {
    /// Decides on the buckets in `store`; `outage` is for policies that name none. Needs a tokio runtime.
    #[must_use]
    pub fn new(store: BucketStore, outage: Outage) -> Limiter {
        let (denials, leases, local) = (Denials::new(), Leases::new(), Local::new());
        let shared = Arc::new(Shared { store, denials, leases, local, outage, repairs: Repairs::default() });
        tokio::spawn(listen(Arc::downgrade(&shared), shared.store.rings()));
        Limiter { shared }
    }

    /// The buckets.
    #[must_use]
    pub fn store(&self) -> &BucketStore {
        &self.shared.store
    }

    /// Charges the limits of a call, all or none.
    ///
    /// Dropped before it is done, some of them may be charged; they leak away.
    ///
    /// # Errors
    ///
    /// [`Error::RequestIdReused`]; [`Error::Closed`] where the store is away and a policy says so; or the store's.
    pub async fn acquire(&self, call: &Call) -> Result<Outcome, Error> {
        let outcome = Decision::new(&self.shared, call).run().await?;
        count(call, &outcome);
        Ok(outcome)
    }

    /// Says what [`Limiter::acquire`] would, and charges nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn peek(&self, call: &Call) -> Result<Outcome, Error> {
        Decision::peek(&self.shared, call).run().await
    }

    /// Empties buckets; returns how many held something.
    ///
    /// # Errors
    ///
    /// The store's; then some may be empty.
    pub async fn reset(&self, slots: &[Slot]) -> Result<usize, Error> {
        let emptied = slots.iter().filter_map(|slot| {
            let meter = slot.meter()?;
            let bucket = self.shared.bucket(slot, meter, 0, true);
            Some(self.shared.store.decide(Group { op: Op::Delete, record: None, buckets: vec![bucket] }))
        });
        let mut count = 0;
        for reply in futures::future::join_all(emptied).await {
            count += usize::from(reply?.buckets.iter().any(|found| found.room != crate::store::Room::None));
        }
        for slot in slots {
            self.shared.forget(&slot.key);
            self.shared.leases.forget(slot.key.as_str());
        }
        Ok(count)
    }

    /// Takes hits back without a charge to show for them (Envoy's `is_negative_hits`): the newest of what has not leaked, as
    /// if that had not been charged. A bucket never holds less than nothing.
    ///
    /// # Errors
    ///
    /// The store's; then some may have been taken back.
    pub async fn take_back(&self, slots: &[Slot]) -> Result<Vec<State>, Error> {
        let taken = slots.iter().map(|slot| async move {
            let Some(meter) = slot.meter() else { return Ok(State::plain(decision::unmetered(slot))) };
            let buckets = vec![self.shared.bucket(slot, meter, slot.cost, true)];
            let reply = self.shared.store.decide(Group { op: Op::Take, record: None, buckets }).await?;
            self.shared.forget(&slot.key);
            let found = reply.buckets.first().ok_or(Error::Corrupt("an answer without its bucket"))?;
            Ok(State::of(Verdict::Admitted, &meter, found.level, found.ahead, slot.cost))
        });
        futures::future::join_all(taken).await.into_iter().collect()
    }

    /// How long this instance refuses by itself, and what it has leased.
    #[must_use]
    pub fn memory(&self, slot: &Slot) -> (Option<std::time::Duration>, u64) {
        let refused = slot.meter().and_then(|meter| self.shared.denials.refused_for(&slot.key, &meter, slot.needs()));
        (refused, self.shared.leases.left(&slot.key))
    }

    /// Whether this instance hears of buckets that others empty. Before that it remembers no refusal.
    #[must_use]
    pub fn hears_bells(&self) -> bool {
        self.shared.denials.is_listening()
    }

    /// Refusals that this instance remembers.
    #[must_use]
    pub fn denials(&self) -> usize {
        self.shared.denials.len()
    }
}

// === impl Shared ===

impl Shared {
    /// The bucket of a slot, to be charged with `cost` or to be given it back.
    fn bucket(&self, slot: &Slot, meter: crate::domain::Meter, cost: u64, rings: bool) -> Bucket {
        let channel = if rings { self.store.channel(&slot.key) } else { String::new() };
        let (key, add, flag) = (slot.key.clone(), meter.level(cost), slot.flag());
        Bucket { key, meter, add, flag, channel, end: End::default() }
    }

    fn outage_of(&self, slot: &Slot) -> Outage {
        slot.applied.compiled.policy.outage.unwrap_or(self.outage)
    }

    /// A bucket was emptied by this instance, whose own ring may come later than its next call.
    fn forget(&self, key: &BucketKey) {
        self.denials.forget(key.as_str());
    }
}

/// Forgets what others have emptied.
async fn listen(shared: Weak<Shared>, mut rings: Rings) {
    while let Some(emptied) = rings.next().await {
        let Some(shared) = shared.upgrade() else { return };
        match emptied {
            Emptied::Bucket(key) => shared.denials.forget(&key),
            Emptied::Any => shared.denials.forget_all(),
        }
    }
}

fn count(call: &Call, outcome: &Outcome) {
    for (slot, state) in call.slots.iter().zip(&outcome.limits) {
        let figures = &slot.applied.compiled.figures;
        let counters: [Option<&std::sync::atomic::AtomicU64>; 3] = [
            match state.verdict {
                Verdict::Denied | Verdict::CostOverBurst | Verdict::Blocked => Some(&figures.denied),
                Verdict::ShadowDenied => Some(&figures.shadow_denied),
                Verdict::Admitted | Verdict::Unlimited | Verdict::Overcharged | Verdict::Open if outcome.admitted => {
                    Some(&figures.admitted)
                }
                Verdict::Admitted | Verdict::Unlimited | Verdict::Overcharged | Verdict::Open | Verdict::Skipped => {
                    None
                }
            },
            (outcome.source == Source::Cache && state.verdict == Verdict::Denied).then_some(&figures.denied_from_cache),
            (outcome.source == Source::Outage).then_some(&figures.outage),
        ];
        counters.into_iter().flatten().for_each(|counter| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// Whether a status is one that a charge may get.
fn is_answer(status: Status) -> bool {
    matches!(status, Status::Done | Status::Refused | Status::Replayed)
}

//! Calls: limits to be charged together.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Applied, Catalog, Compiled, Descriptor, Meter, Mode, Rule};
use crate::store::{BucketKey, BucketStore, Flag, Owner};

/// Limits that admit a call together, or deny it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Limits; no two of one bucket.
    pub limits: Vec<CallLimit>,
    /// Request id under which the call is charged once; none charges every time.
    pub idempotency: Option<Idempotency>,
}

/// Limit of a call.
#[derive(Clone, Debug)]
pub struct CallLimit {
    /// Policy, and the one of its limits that applies.
    pub applied: Applied,
    /// Values that fill the policy.
    pub descriptor: Descriptor,
    /// Owner of the bucket.
    pub owner: Owner,
    /// Key of the bucket.
    pub key: BucketKey,
    /// Hits to charge.
    pub cost: u64,
    /// True if the hits have happened already, such as those of a stream that is done: a `post_charge` policy charges them even
    /// in debt.
    pub spent: bool,
}

/// Request id of a call, and how long it is remembered.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// Request id of the caller.
    pub request_id: String,
    /// Fingerprint of the request: another request of the same id is rejected.
    pub fingerprint: [u8; 16],
    /// Time for which the id is remembered.
    pub ttl: Duration,
}

// === impl CallLimit ===

impl CallLimit {
    /// Limit of a filled policy for a cost.
    #[must_use]
    pub fn new(
        store: &BucketStore,
        catalog: &Catalog,
        compiled: &Arc<Compiled>,
        descriptor: Descriptor,
        cost: u64,
    ) -> CallLimit {
        CallLimit::under(store, catalog.apply(compiled, &descriptor), descriptor, cost)
    }

    /// Limit that overrides those of a filled policy.
    #[must_use]
    pub fn with_rule(
        store: &BucketStore,
        compiled: &Arc<Compiled>,
        rule: Arc<Rule>,
        descriptor: Descriptor,
        cost: u64,
    ) -> CallLimit {
        CallLimit::under(store, Applied { compiled: compiled.clone(), rule }, descriptor, cost)
    }

    fn under(store: &BucketStore, applied: Applied, descriptor: Descriptor, cost: u64) -> CallLimit {
        let owner = Owner::new(&descriptor);
        let key = store.bucket_key(&owner, &applied.compiled.policy.id, &descriptor);
        CallLimit { applied, descriptor, owner, key, cost, spent: false }
    }

    /// Action where the bucket has no room.
    pub(super) fn flag(&self) -> Flag {
        match self.applied.rule.limit.mode {
            Mode::Shadow => Flag::Shadow,
            Mode::Enforce | Mode::Unlimited | Mode::Block => {
                match (self.applied.compiled.policy.post_charge, self.spent) {
                    (false, _) => Flag::Enforce,
                    (true, false) => Flag::Overshoot,
                    (true, true) => Flag::Force,
                }
            }
        }
    }

    /// Hits that must fit: the cost; of a `post_charge` policy 0, so that only a debt denies.
    pub(super) fn needs(&self) -> u64 {
        match self.flag() {
            Flag::Enforce | Flag::Shadow => self.cost,
            Flag::Force | Flag::Overshoot => 0,
        }
    }

    /// Returns whether the cost never fits.
    pub(super) fn is_over_burst(&self) -> bool {
        self.flag() == Flag::Enforce && self.meter().is_some_and(|meter| !meter.admits(self.cost))
    }

    /// Meter of the limit; none where nothing is counted.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        self.applied.rule.meter
    }

    /// Hits that an instance may lease at a time.
    pub(super) fn lease(&self) -> u64 {
        let enforced = self.applied.rule.limit.mode == Mode::Enforce;
        if enforced { self.applied.compiled.policy.lease } else { 0 }
    }
}

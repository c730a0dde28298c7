//! Limit of a charge that is settled.

use std::sync::Arc;

use super::SettledLimit;
use crate::app::limiter::Shared;
use crate::app::limiter::charge::ChargedLimit;
use crate::app::limiter::outcome::{State, Verdict};
use crate::domain::{Catalog, Meter, PolicyId, Rule, changed_policy};
use crate::store::{BucketKey, BucketState, Owner, Room};

/// Limit of a charge.
pub(super) struct Share {
    /// Index in the charge.
    pub(super) index: usize,
    policy: PolicyId,
    rule: Option<Arc<Rule>>,
    pub(super) key: BucketKey,
    /// Meter of the charge.
    pub(super) then: Meter,
    /// Meter in force.
    meter: Meter,
}

// === impl Share ===

impl Share {
    pub(super) fn new(
        shared: &Shared,
        index: usize,
        limit: &ChargedLimit,
        catalog: &Catalog,
    ) -> Option<(Owner, Share)> {
        let policy = PolicyId::parse(&limit.policy, "").ok()?;
        let descriptor = limit.descriptor();
        let (owner, rule) = (Owner::new(&descriptor), limit.rule(catalog, &descriptor));
        let key = shared.store.bucket_key(&owner, &policy, &descriptor);
        let then = limit.meter();
        let meter = rule.as_ref().and_then(|rule| rule.meter).unwrap_or(then);
        Some((owner, Share { index, policy, rule, key, then, meter }))
    }

    /// Meter that the settlement counts by: hits are given back by the meter of the charge, and charged by the one in force.
    pub(super) fn counting(&self, charges: bool) -> Meter {
        if charges { self.meter } else { self.then }
    }

    /// Whole hits charged to the limit; none if nothing was.
    pub(super) fn charged(&self, bucket: &BucketState) -> Option<u64> {
        let hits = || self.then.whole(bucket.kept).saturating_add(self.meter.whole(bucket.moved));
        (bucket.room != Room::None).then(hits)
    }

    pub(super) fn settled(&self, bucket: &BucketState, charges: bool) -> SettledLimit {
        let (policy, rule) = (self.policy.clone(), self.rule.clone());
        let level = changed_policy::carry_over(bucket.level, &self.counting(charges), &self.meter);
        let state = State::metered(Verdict::Admitted, &self.meter, level, bucket.ahead, 0);
        let returned = if charges { 0 } else { self.then.whole(bucket.moved) };
        SettledLimit { policy, rule, state, returned }
    }
}

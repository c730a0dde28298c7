//! Calls on limits by their names, under the policies in force.

use std::sync::Arc;
use std::time::Duration;

use keyplane_contracts::Violations;
use keyplane_contracts::names::TenantId;

use super::limiter::{Call, Charge, Limiter, Settled, Slot, State};
use super::policies::{Action, Cause, Policies};
use crate::domain::{Catalog, Compiled, PolicyId, Subject};
use crate::error::Error;
use crate::store::Stored;

/// The most limits of one call.
const LIMITS: usize = keyplane_contracts::rules::ratelimit::LIMITS;

/// Finds the limits that callers mean among the policies in force, for the limiter to decide on. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    pub(super) limiter: Limiter,
    pub(super) policies: Policies,
}

/// Limits of a subject, and where they come from.
pub struct Explained {
    /// The tenant's plan; empty for none.
    pub plan: String,
    /// The limits.
    pub limits: Vec<Explanation>,
    /// The version of the policies in force.
    pub version: u64,
}

/// One limit, and what is known of its bucket.
pub struct Explanation {
    /// The limit.
    pub slot: Slot,
    /// Answer for a cost of 1.
    pub state: State,
    /// The bucket as it is stored; none if it is empty, or nothing is counted.
    pub stored: Option<Stored>,
    /// Time for which this instance refuses without the store.
    pub refused_for: Option<Duration>,
    /// Hits that this instance has leased.
    pub leased: u64,
}

// === impl Admission ===

impl Admission {
    /// Calls on `limiter` under `policies`.
    #[must_use]
    pub fn new(limiter: Limiter, policies: Policies) -> Admission {
        Admission { limiter, policies }
    }

    /// The limiter, which decides on what is found here.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The limits of these names for a subject, at `cost` each; `violations` are those of the rest of the request.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every rule that is broken, or [`Error::PolicyNotFound`].
    pub fn call(
        &self,
        subject: &Subject<'_>,
        limits: &[String],
        cost: u64,
        violations: Violations,
    ) -> Result<Call, Error> {
        self.named(&self.policies.load(), subject, limits, cost, violations)
    }

    /// Settles a reservation under the limits of today: [`Limiter::commit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn commit(&self, charge: &Charge, cost: u64) -> Result<Settled, Error> {
        self.limiter.commit(charge, cost, &self.policies.catalog()).await
    }

    /// Refunds a charge under the limits of today: [`Limiter::refund`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn refund(&self, charge: &Charge, cost: u64, id: &str) -> Result<Settled, Error> {
        self.limiter.refund(charge, cost, id, &self.policies.catalog()).await
    }

    /// Empties the buckets of a call and notes it in the tenant's audit; returns how many held something.
    ///
    /// # Errors
    ///
    /// The store's; then some may be empty.
    pub async fn reset(&self, tenant: &TenantId, call: &Call, cause: &Cause) -> Result<usize, Error> {
        let targets: Vec<&str> = call.slots.iter().map(|slot| slot.key.as_str()).collect();
        // First the audit: nothing is reset that it does not tell of.
        self.policies.audit().record(tenant, Action::Reset, &targets, cause).await?;
        self.limiter.reset(&call.slots).await
    }

    /// Explains the limits of these names for a subject; all that it could fill, at most 16, if none is named.
    ///
    /// # Errors
    ///
    /// Those of [`Admission::call`], or the store's.
    pub async fn explain(
        &self,
        tenant: &TenantId,
        subject: &Subject<'_>,
        limits: &[String],
        violations: Violations,
    ) -> Result<Explained, Error> {
        let catalog = self.policies.catalog();
        let call = match limits.is_empty() {
            true => violations.into_result(self.all(&catalog, subject)).map_err(Error::Invalid)?,
            false => self.named(&catalog, subject, limits, 1, violations)?,
        };
        // Each by itself: what one refuses says nothing of another.
        let explained = call.slots.into_iter().map(|slot| self.explain_one(slot));
        let limits = futures::future::join_all(explained).await.into_iter().collect::<Result<_, _>>()?;
        let plan = catalog.plan(tenant.as_str()).map_or_else(String::new, |(plan, _)| plan.to_owned());
        Ok(Explained { plan, limits, version: catalog.version() })
    }

    async fn explain_one(&self, slot: Slot) -> Result<Explanation, Error> {
        let call = Call { slots: vec![slot.clone()], remember: None };
        let outcome = self.limiter.peek(&call).await?;
        let state = outcome.limits.first().copied().ok_or(Error::Corrupt("an answer without its bucket"))?;
        let counted = slot.meter().is_some();
        let stored = if counted { self.limiter.store().stored(&slot.key).await? } else { None };
        let (refused_for, leased) = self.limiter.memory(&slot);
        Ok(Explanation { slot, state, stored, refused_for, leased })
    }

    fn named(
        &self,
        catalog: &Catalog,
        subject: &Subject<'_>,
        limits: &[String],
        cost: u64,
        mut violations: Violations,
    ) -> Result<Call, Error> {
        if !(1..=LIMITS).contains(&limits.len()) {
            violations.add("limits", format!("must be 1 to {LIMITS}; {} were sent", limits.len()));
        }
        for (index, id) in limits.iter().enumerate() {
            // Those that there are keep to the rule.
            if catalog.get(id).is_none() {
                violations.keep(PolicyId::parse(id, &format!("limits[{index}]")));
            }
            if limits[..index].contains(id) {
                violations.add(format!("limits[{index}]"), "must not be named twice");
            }
        }
        violations.into_result(()).map_err(Error::Invalid)?;
        let (store, mut violations) = (self.limiter.store(), Violations::new());
        let mut slots = Vec::with_capacity(limits.len());
        for id in limits {
            let compiled = catalog.get(id).ok_or_else(|| Error::PolicyNotFound { id: id.clone() })?;
            match violations.keep(subject.fill(&compiled.policy)) {
                Some(Some(descriptor)) => slots.push(Slot::new(store, catalog, compiled, descriptor, cost)),
                Some(None) => violations.add("limits", format!("the policy {id} is for other values than are given")),
                None => {}
            }
        }
        violations.into_result(Call { slots, remember: None }).map_err(Error::Invalid)
    }

    /// The limits of all policies that a subject could fill, at most 16.
    fn all(&self, catalog: &Catalog, subject: &Subject<'_>) -> Call {
        let store = self.limiter.store();
        let filled = |compiled: &Arc<Compiled>| {
            let descriptor = subject.fill(&compiled.policy).ok().flatten()?;
            Some(Slot::new(store, catalog, compiled, descriptor, 1))
        };
        Call { slots: catalog.all().filter_map(filled).take(LIMITS).collect(), remember: None }
    }
}

// === impl Explanation ===

impl Explanation {
    /// The bucket's name in the store; none if nothing is counted.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.slot.meter().map(|_| self.slot.key.as_str())
    }
}

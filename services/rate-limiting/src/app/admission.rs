//! Calls on limits by the ids of their policies: acquire, peek, reserve, commit, refund.

use std::time::Duration;

use data_encoding::HEXLOWER;
use keyplane_contracts::Violations;
use keyplane_server::random;

use super::limiter::{Call, CallLimit, Charge, ChargeKind, Idempotency, Limiter, Outcome, Settled};
use super::policies::Policies;
use crate::domain::{Catalog, LimitIds, Subject};
use crate::error::Error;

/// Default time to settle a reservation.
const RESERVATION: Duration = Duration::from_mins(5);

/// Resolves the limits that callers name under the policies in force, and has the limiter decide. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    pub(super) limiter: Limiter,
    pub(super) policies: Policies,
    /// Default time to remember a request id.
    remember: Duration,
}

/// Decision on a call, and its charge.
pub struct Acquired {
    /// Call as it was resolved.
    pub call: Call,
    /// Decision.
    pub outcome: Outcome,
    /// Charge to refund or settle later; none without a request id, or if the call was denied.
    pub charge: Option<Charge>,
}

// === impl Admission ===

impl Admission {
    /// Calls on `limiter` under `policies`. `remember` is the default time to remember a request id.
    #[must_use]
    pub fn new(limiter: Limiter, policies: Policies, remember: Duration) -> Admission {
        Admission { limiter, policies, remember }
    }

    /// Charges `cost` to each limit, all or none; under a request id, once within `ttl`.
    ///
    /// A reservation is an estimate that [`Admission::commit`] settles within `ttl`; without a request id it has a random one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::PolicyNotFound`], [`Error::NoRandomness`], or those of [`Limiter::acquire`].
    pub async fn acquire(
        &self,
        kind: ChargeKind,
        subject: &Subject<'_>,
        limits: LimitIds<'_>,
        cost: u64,
        request_id: Option<String>,
        ttl: Option<Duration>,
    ) -> Result<Acquired, Error> {
        let mut call = self.resolve(&self.policies.load(), subject, limits, cost)?;
        let (id, memory) = match kind {
            ChargeKind::Acquired => (request_id, self.remember),
            ChargeKind::Reserved => (Some(request_id.map_or_else(random_id, Ok)?), RESERVATION),
        };
        let charge = id.map(|id| remembered(&mut call, kind, id, cost, ttl.unwrap_or(memory)));
        let outcome = self.limiter.acquire(&call).await?;
        let charge = charge.filter(|_| outcome.admitted).map(|charge| charge.admitted(&outcome));
        Ok(Acquired { call, outcome, charge })
    }

    /// Returns the decision that [`Admission::acquire`] would make, and charges nothing.
    ///
    /// # Errors
    ///
    /// Errors of [`Admission::acquire`].
    pub async fn peek(&self, subject: &Subject<'_>, limits: LimitIds<'_>, cost: u64) -> Result<(Call, Outcome), Error> {
        let call = self.resolve(&self.policies.load(), subject, limits, cost)?;
        let outcome = self.limiter.peek(&call).await?;
        Ok((call, outcome))
    }

    /// Settles a reservation under the limits in force: [`Limiter::commit`].
    ///
    /// # Errors
    ///
    /// Errors of [`Limiter::commit`].
    pub async fn commit(&self, charge: &Charge, cost: u64) -> Result<Settled, Error> {
        self.limiter.commit(charge, cost, &self.policies.catalog()).await
    }

    /// Refunds a charge under the limits in force: [`Limiter::refund`].
    ///
    /// # Errors
    ///
    /// Errors of [`Limiter::refund`].
    pub async fn refund(&self, charge: &Charge, cost: u64, id: &str) -> Result<Settled, Error> {
        self.limiter.refund(charge, cost, id, &self.policies.catalog()).await
    }

    /// Fills the named policies from a subject.
    pub(super) fn resolve(
        &self,
        catalog: &Catalog,
        subject: &Subject<'_>,
        limits: LimitIds<'_>,
        cost: u64,
    ) -> Result<Call, Error> {
        let (store, mut violations) = (self.limiter.store(), Violations::new());
        let mut filled = Vec::with_capacity(limits.as_slice().len());
        for id in limits.as_slice() {
            let compiled = catalog.get(id).ok_or_else(|| Error::PolicyNotFound { id: id.clone() })?;
            match violations.keep(subject.fill(&compiled.policy)) {
                Some(Some(descriptor)) => filled.push(CallLimit::new(store, catalog, compiled, descriptor, cost)),
                Some(None) => violations.add("limits", format!("policy {id} is for other values than the request has")),
                None => {}
            }
        }
        violations.into_result(Call { limits: filled, idempotency: None }).map_err(Error::Invalid)
    }
}

/// Has a call remembered; returns its charge.
fn remembered(call: &mut Call, kind: ChargeKind, request_id: String, cost: u64, ttl: Duration) -> Charge {
    let charge = Charge::new(kind, &request_id, cost, call);
    call.idempotency = Some(Idempotency { request_id, fingerprint: charge.fingerprint(), ttl });
    charge
}

/// Random id of 128 bits, in hex.
fn random_id() -> Result<String, Error> {
    Ok(HEXLOWER.encode(&random::bytes::<16>()?))
}

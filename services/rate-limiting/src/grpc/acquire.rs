//! The calls that charge, settle and explain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyplane_contracts::names::TenantId;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::{Violation, Violations};
use keyplane_server::ServiceError as _;

use super::convert::{self, target};
use super::policies;
use crate::domain::Catalog;
use crate::error::Error;
use crate::limiter::{Call, Charge, ChargeKind, Limiter, Memory, Outcome, Slot};
use crate::policies::{Action, Cause, Policies};

/// How long a reservation can be settled where its maker does not say.
const RESERVATION: Duration = Duration::from_mins(5);

/// What the calls work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    limiter: Limiter,
    policies: Policies,
    /// How long a request id is remembered.
    remember: Duration,
}

// === impl Limits ===

impl Limits {
    pub(crate) fn new(limiter: Limiter, policies: Policies, remember: Duration) -> Limits {
        Limits { limiter, policies, remember }
    }

    pub(super) async fn acquire(&self, request: &pb::AcquireRequest) -> Result<pb::AcquireResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::cost(request.cost, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations);
        let ttl = convert::remember("remember", request.remember, self.remember, &mut violations);
        if request.remember.is_some() && request.request_id.is_empty() {
            violations.add("remember", "needs a request_id to be remembered under");
        }
        let mut call = self.call(|app, catalog| target!(request).call(app, catalog, cost, violations))?;
        let charge = id.map(|id| remembered(&mut call, ChargeKind::Acquired, id, cost, ttl));
        let outcome = self.limiter.acquire(&call).await?;
        Ok(convert::acquired(&call, &outcome, named(charge, &outcome)))
    }

    pub(super) async fn batch(&self, request: pb::BatchAcquireRequest) -> Result<pb::BatchAcquireResponse, Error> {
        let items = convert::batch(request)?;
        // All at once: what waits for the store goes there together.
        let results = items.into_iter().map(|item| async {
            let result = match item {
                Ok(item) => self.acquire(&item).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(response) => pb::BatchAcquireResult { response: Some(response), ..Default::default() },
                Err(error) => pb::BatchAcquireResult {
                    code: error.code().into(),
                    reason: error.reason().to_owned(),
                    message: error.message(),
                    response: None,
                },
            }
        });
        Ok(pb::BatchAcquireResponse { results: futures::future::join_all(results).await })
    }

    pub(super) async fn peek(&self, request: &pb::PeekRequest) -> Result<pb::PeekResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::cost(request.cost, &mut violations);
        let call = self.call(|app, catalog| target!(request).call(app, catalog, cost, violations))?;
        let outcome = self.limiter.peek(&call).await?;
        Ok(pb::PeekResponse {
            would_admit: outcome.admitted,
            limits: convert::states(&call, &outcome),
            retry_after: outcome.retry_after().map(convert::duration),
            source: convert::source(outcome.source).into(),
        })
    }

    pub(super) async fn reserve(&self, request: &pb::ReserveRequest) -> Result<pb::ReserveResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("estimate", request.estimate, 1, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations);
        let ttl = convert::remember("ttl", request.ttl, RESERVATION, &mut violations);
        let mut call = self.call(|app, catalog| target!(request).call(app, catalog, cost, violations))?;
        let id = match id {
            Some(id) => id,
            None => random_id()?,
        };
        let charge = remembered(&mut call, ChargeKind::Reserved, id, cost, ttl);
        let outcome = self.limiter.acquire(&call).await?;
        let pb::AcquireResponse { admitted, limits, retry_after, source, replayed, charge } =
            convert::acquired(&call, &outcome, named(Some(charge), &outcome));
        Ok(pb::ReserveResponse { admitted, limits, retry_after, source, replayed, reservation: charge })
    }

    pub(super) async fn commit(&self, request: &pb::CommitRequest) -> Result<pb::SettleResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("cost", request.cost, 0, &mut violations);
        let kind = ChargeKind::Reserved;
        let charge = charge(&request.parent, "reservation", &request.reservation, kind, violations)?;
        self.limiter.commit(&charge, cost, &self.policies.catalog()).await.map(|settled| convert::settled(&settled))
    }

    pub(super) async fn cancel(&self, request: &pb::CancelRequest) -> Result<pb::SettleResponse, Error> {
        let kind = ChargeKind::Reserved;
        let charge = charge(&request.parent, "reservation", &request.reservation, kind, Violations::new())?;
        self.limiter.commit(&charge, 0, &self.policies.catalog()).await.map(|settled| convert::settled(&settled))
    }

    pub(super) async fn refund(&self, request: &pb::RefundRequest) -> Result<pb::SettleResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("cost", request.cost, 1, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations).unwrap_or_default();
        let charge = charge(&request.parent, "charge", &request.charge, ChargeKind::Acquired, violations)?;
        let settled = self.limiter.refund(&charge, cost, &id, &self.policies.catalog()).await?;
        Ok(convert::settled(&settled))
    }

    pub(super) async fn reset(&self, request: &pb::ResetRequest) -> Result<pb::ResetResponse, Error> {
        let mut violations = Violations::new();
        let cause = Cause::new(request.initiator.clone(), request.description.clone(), &mut violations);
        let call = self.call(|app, catalog| target!(request).call(app, catalog, 1, violations))?;
        let tenant = TenantId::parse_name(&request.parent, "parent").map_err(Error::invalid)?;
        let targets: Vec<&str> = call.slots.iter().map(|slot| slot.key.as_str()).collect();
        // First the audit: nothing is reset that it does not tell of.
        self.policies.audit().record(&tenant, Action::Reset, &targets, &cause).await?;
        let count = self.limiter.reset(&call.slots).await?;
        Ok(pb::ResetResponse { reset_count: i32::try_from(count).unwrap_or(i32::MAX) })
    }

    pub(super) async fn explain(&self, request: &pb::ExplainRequest) -> Result<pb::ExplainResponse, Error> {
        let catalog = self.policies.catalog();
        let app = self.limiter.store().app();
        let call = match request.limits.is_empty() {
            true => target!(request).all(app, &catalog)?,
            false => target!(request).call(app, &catalog, 1, Violations::new())?,
        };
        let tenant = TenantId::parse_name(&request.parent, "parent").map_err(Error::invalid)?;
        // Each by itself: what one refuses says nothing of another.
        let explained = call.slots.iter().map(|slot| self.explain_one(slot));
        let limits = futures::future::join_all(explained).await.into_iter().collect::<Result<_, _>>()?;
        Ok(pb::ExplainResponse {
            plan: catalog.plan(tenant.as_str()).map_or_else(String::new, |(plan, _)| plan.to_owned()),
            limits,
            policies_version: convert::signed(catalog.version()),
        })
    }

    async fn explain_one(&self, slot: &Slot) -> Result<pb::LimitExplanation, Error> {
        let call = Call { slots: vec![slot.clone()], remember: None };
        let outcome = self.limiter.peek(&call).await?;
        let counted = slot.applied.rule.meter.is_some();
        let stored = if counted { self.limiter.store().stored(&slot.key).await? } else { None };
        let (refused, leased) = self.limiter.memory(slot);
        Ok(pb::LimitExplanation {
            policy: Some(policies::policy(&slot.applied.compiled.policy)),
            rule: slot.applied.rule.name.to_string(),
            limit: Some(policies::limit(&slot.applied.rule.limit)),
            key: if counted { slot.key.as_str().to_owned() } else { String::new() },
            state: convert::states(&call, &outcome).pop(),
            charge_time: stored.map(|stored| timestamp(stored.last)),
            refused_for: refused.map(convert::duration),
            leased: convert::signed(leased),
        })
    }

    fn call(&self, make: impl FnOnce(&keyplane_valkey::App, &Catalog) -> Result<Call, Error>) -> Result<Call, Error> {
        make(self.limiter.store().app(), &self.policies.load())
    }
}

/// Has a call remembered; the charge that it then is.
fn remembered(call: &mut Call, kind: ChargeKind, id: String, cost: u64, ttl: Duration) -> Charge {
    let charge = Charge::of(kind, &id, cost, call);
    call.remember = Some(Memory { id, print: charge.print(), ttl });
    charge
}

/// What names a charge, if it was made.
fn named(charge: Option<Charge>, outcome: &Outcome) -> String {
    charge.filter(|_| outcome.admitted).map_or_else(String::new, |charge| charge.admitted(outcome).text())
}

fn charge(
    parent: &str,
    field: &str,
    text: &str,
    kind: ChargeKind,
    mut violations: Violations,
) -> Result<Charge, Error> {
    let charge = match violations.keep(TenantId::parse_name(parent, "parent")) {
        Some(tenant) => {
            let rule = || {
                format!(
                    "must be what the call returned that made it, for the same tenant; {} bytes were sent",
                    text.len()
                )
            };
            let parsed = Charge::parse(text, kind, tenant.as_str()).ok_or_else(|| Violation::new(field, rule()));
            violations.keep(parsed)
        }
        None => None,
    };
    match (charge, violations.is_empty()) {
        (Some(charge), true) => Ok(charge),
        _ => Err(Error::Invalid(violations.into_iter().collect())),
    }
}

/// 128 bits that nobody else has.
fn random_id() -> Result<String, Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|_| Error::NoRandomness)?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn timestamp(micros: u64) -> prost_types::Timestamp {
    let time: SystemTime = UNIX_EPOCH + Duration::from_micros(micros);
    prost_types::Timestamp::from(time)
}

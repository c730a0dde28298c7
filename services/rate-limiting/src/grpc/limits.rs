//! The calls that charge, settle and explain.

use std::time::Duration;

use data_encoding::HEXLOWER;
use keyplane_audit::Cause;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::{Violation, Violations};
use keyplane_server::{item_error, random};

use super::convert::calls::{self as convert, target};
use crate::app::Admission;
use crate::app::limiter::{Call, Charge, ChargeKind, Memory, Outcome};
use crate::error::Error;

/// How long a reservation can be settled where its maker does not say.
const RESERVATION: Duration = Duration::from_mins(5);

/// What the calls work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    admission: Admission,
    /// How long a request id is remembered.
    remember: Duration,
}

// === impl Limits ===

impl Limits {
    pub(crate) fn new(admission: Admission, remember: Duration) -> Limits {
        Limits { admission, remember }
    }

    pub(super) async fn acquire(&self, request: &pb::AcquireRequest) -> Result<pb::AcquireResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::cost(request.cost, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations);
        let ttl = convert::remember("ttl", request.ttl, self.remember, &mut violations);
        if request.ttl.is_some() && request.request_id.is_empty() {
            violations.add("ttl", "needs a `request_id` to be remembered under");
        }
        let mut call = target!(request).call(&self.admission, cost, violations)?;
        let charge = id.map(|id| remembered(&mut call, ChargeKind::Acquired, id, cost, ttl));
        let outcome = self.admission.limiter().acquire(&call).await?;
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
                Err(error) => pb::BatchAcquireResult { error: Some(item_error(&error)), ..Default::default() },
            }
        });
        Ok(pb::BatchAcquireResponse { results: futures::future::join_all(results).await })
    }

    pub(super) async fn peek(&self, request: &pb::PeekRequest) -> Result<pb::PeekResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::cost(request.cost, &mut violations);
        let call = target!(request).call(&self.admission, cost, violations)?;
        let outcome = self.admission.limiter().peek(&call).await?;
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
        let mut call = target!(request).call(&self.admission, cost, violations)?;
        let id = match id {
            Some(id) => id,
            None => random_id()?,
        };
        let charge = remembered(&mut call, ChargeKind::Reserved, id, cost, ttl);
        let outcome = self.admission.limiter().acquire(&call).await?;
        let pb::AcquireResponse { admitted, limits, retry_after, source, replayed, charge } =
            convert::acquired(&call, &outcome, named(Some(charge), &outcome));
        Ok(pb::ReserveResponse { admitted, limits, retry_after, source, replayed, reservation: charge })
    }

    pub(super) async fn commit(&self, request: &pb::CommitRequest) -> Result<pb::SettleResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("cost", request.cost, 0, &mut violations);
        let kind = ChargeKind::Reserved;
        let charge = charge(&request.parent, "reservation", &request.reservation, kind, violations)?;
        self.admission.commit(&charge, cost).await.map(|settled| convert::settled(&settled))
    }

    pub(super) async fn cancel(&self, request: &pb::CancelRequest) -> Result<pb::SettleResponse, Error> {
        let kind = ChargeKind::Reserved;
        let charge = charge(&request.parent, "reservation", &request.reservation, kind, Violations::new())?;
        self.admission.commit(&charge, 0).await.map(|settled| convert::settled(&settled))
    }

    pub(super) async fn refund(&self, request: &pb::RefundRequest) -> Result<pb::SettleResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("cost", request.cost, 1, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations).unwrap_or_default();
        let charge = charge(&request.parent, "charge", &request.charge, ChargeKind::Acquired, violations)?;
        let settled = self.admission.refund(&charge, cost, &id).await?;
        Ok(convert::settled(&settled))
    }

    pub(super) async fn reset(&self, request: &pb::ResetRequest) -> Result<pb::ResetResponse, Error> {
        let mut violations = Violations::new();
        let cause = Cause::parse(request.cause.clone(), "", &mut violations);
        let call = target!(request).call(&self.admission, 1, violations)?;
        let tenant = TenantId::parse_name(&request.parent, "parent").map_err(Error::invalid)?;
        let count = self.admission.reset(&tenant, &call, &cause).await?;
        Ok(pb::ResetResponse { reset_count: i32::try_from(count).unwrap_or(i32::MAX) })
    }

    pub(super) async fn explain(&self, request: &pb::ExplainRequest) -> Result<pb::ExplainResponse, Error> {
        target!(request).explain(&self.admission).await.map(|explained| convert::explained(&explained))
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
            let made_by = match kind {
                ChargeKind::Acquired => "Acquire",
                ChargeKind::Reserved => "Reserve",
            };
            let sent = text.len();
            let rule =
                || format!("must be the {field} that {made_by} returned for this tenant; {sent} bytes were sent");
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

/// Random id of 128 bits, in hex.
fn random_id() -> Result<String, Error> {
    Ok(HEXLOWER.encode(&random::bytes::<16>()?))
}

//! RPCs that charge, settle, reset and explain limits: convert, call, convert.

use keyplane_audit::Cause;
use keyplane_contracts::Violations;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_server::item_error;

use super::convert::calls::{self as convert, target};
use crate::app::Admission;
use crate::app::limiter::ChargeKind;
use crate::error::Error;

/// RPCs on limits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Charges {
    admission: Admission,
}

// === impl Charges ===

impl Charges {
    pub(crate) fn new(admission: Admission) -> Charges {
        Charges { admission }
    }

    pub(super) async fn acquire(&self, request: &pb::AcquireRequest) -> Result<pb::AcquireResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::cost(request.cost, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations);
        let ttl = convert::remember(request.ttl, &mut violations);
        if request.ttl.is_some() && request.request_id.is_empty() {
            violations.add("ttl", "needs a `request_id` to be remembered under");
        }
        let target = target!(request);
        let tenant = target.tenant(&mut violations)?;
        let (subject, limits) = target.limits(&tenant, violations)?;
        let acquired = self.admission.acquire(ChargeKind::Acquired, &subject, limits, cost, id, ttl).await;
        acquired.map(convert::acquired)
    }

    pub(super) async fn batch(&self, request: pb::BatchAcquireRequest) -> Result<pb::BatchAcquireResponse, Error> {
        let items = convert::batch(request)?;
        // Concurrent items share calls to the store.
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
        let target = target!(request);
        let tenant = target.tenant(&mut violations)?;
        let (subject, limits) = target.limits(&tenant, violations)?;
        self.admission.peek(&subject, limits, cost).await.map(|(call, outcome)| convert::peeked(&call, &outcome))
    }

    pub(super) async fn reserve(&self, request: &pb::ReserveRequest) -> Result<pb::ReserveResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("estimate", request.estimate, 1, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations);
        let ttl = convert::remember(request.ttl, &mut violations);
        let target = target!(request);
        let tenant = target.tenant(&mut violations)?;
        let (subject, limits) = target.limits(&tenant, violations)?;
        let reserved = self.admission.acquire(ChargeKind::Reserved, &subject, limits, cost, id, ttl).await;
        reserved.map(convert::reserved)
    }

    pub(super) async fn commit(&self, request: &pb::CommitRequest) -> Result<pb::SettleResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("cost", request.cost, 0, &mut violations);
        let kind = ChargeKind::Reserved;
        let charge = convert::charge(&request.parent, "reservation", &request.reservation, kind, violations)?;
        self.admission.commit(&charge, cost).await.map(|settled| convert::settled(&settled))
    }

    pub(super) async fn cancel(&self, request: &pb::CancelRequest) -> Result<pb::SettleResponse, Error> {
        let kind = ChargeKind::Reserved;
        let charge = convert::charge(&request.parent, "reservation", &request.reservation, kind, Violations::new())?;
        self.admission.commit(&charge, 0).await.map(|settled| convert::settled(&settled))
    }

    pub(super) async fn refund(&self, request: &pb::RefundRequest) -> Result<pb::SettleResponse, Error> {
        let mut violations = Violations::new();
        let cost = convert::bounded("cost", request.cost, 1, &mut violations);
        let id = convert::request_id(&request.request_id, &mut violations).unwrap_or_default();
        let charge = convert::charge(&request.parent, "charge", &request.charge, ChargeKind::Acquired, violations)?;
        let settled = self.admission.refund(&charge, cost, &id).await?;
        Ok(convert::settled(&settled))
    }

    pub(super) async fn reset(&self, request: &pb::ResetRequest) -> Result<pb::ResetResponse, Error> {
        let mut violations = Violations::new();
        let cause = Cause::parse(request.cause.clone(), "", &mut violations);
        let target = target!(request);
        let tenant = target.tenant(&mut violations)?;
        let (subject, limits) = target.limits(&tenant, violations)?;
        let count = self.admission.reset(&subject, limits, &cause).await?;
        Ok(pb::ResetResponse { reset_count: i32::try_from(count).unwrap_or(i32::MAX) })
    }

    pub(super) async fn explain(&self, request: &pb::ExplainRequest) -> Result<pb::ExplainResponse, Error> {
        let (target, mut violations) = (target!(request), Violations::new());
        let tenant = target.tenant(&mut violations)?;
        let (subject, limits) = target.limits_if_any(&tenant, violations)?;
        self.admission.explain(&subject, limits).await.map(|explained| convert::explained(&explained))
    }
}

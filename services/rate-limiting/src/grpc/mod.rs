//! gRPC faces: ours, and Envoy's.

mod charges;
mod convert;
mod envoy;
pub(crate) mod policies;

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_server::RateLimitService;
use keyplane_server::status;
use tonic::{Request, Response, Status};

pub(crate) use charges::Charges;
pub(crate) use envoy::Envoy;
use policies::PolicyApi;

/// Service `keyplane.ratelimit.v1.RateLimitService`.
pub(crate) struct Service {
    charges: Charges,
    policies: PolicyApi,
}

type Answer<T> = Result<Response<T>, Status>;

// === impl Service ===

impl Service {
    pub(crate) fn new(charges: Charges, policies: PolicyApi) -> Service {
        Service { charges, policies }
    }
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn acquire(&self, request: Request<pb::AcquireRequest>) -> Answer<pb::AcquireResponse> {
        self.charges.acquire(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn batch_acquire(&self, request: Request<pb::BatchAcquireRequest>) -> Answer<pb::BatchAcquireResponse> {
        self.charges.batch(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn peek(&self, request: Request<pb::PeekRequest>) -> Answer<pb::PeekResponse> {
        self.charges.peek(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn reserve(&self, request: Request<pb::ReserveRequest>) -> Answer<pb::ReserveResponse> {
        self.charges.reserve(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn commit(&self, request: Request<pb::CommitRequest>) -> Answer<pb::SettleResponse> {
        self.charges.commit(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Answer<pb::SettleResponse> {
        self.charges.cancel(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn refund(&self, request: Request<pb::RefundRequest>) -> Answer<pb::SettleResponse> {
        self.charges.refund(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn reset(&self, request: Request<pb::ResetRequest>) -> Answer<pb::ResetResponse> {
        self.charges.reset(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Answer<pb::ExplainResponse> {
        self.charges.explain(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn list_audit_entries(
        &self,
        request: Request<audit::ListAuditEntriesRequest>,
    ) -> Answer<audit::ListAuditEntriesResponse> {
        self.policies.audit(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn create_policy(&self, request: Request<pb::CreatePolicyRequest>) -> Answer<pb::Policy> {
        self.policies.create(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::Policy> {
        self.policies.get(request.get_ref()).map(Response::new).map_err(status)
    }

    async fn list_policies(&self, request: Request<pb::ListPoliciesRequest>) -> Answer<pb::ListPoliciesResponse> {
        self.policies.list(request.get_ref()).map(Response::new).map_err(status)
    }

    async fn update_policy(&self, request: Request<pb::UpdatePolicyRequest>) -> Answer<pb::Policy> {
        self.policies.update(request).await.map(Response::new).map_err(status)
    }

    async fn delete_policy(&self, request: Request<pb::DeletePolicyRequest>) -> Answer<()> {
        self.policies.delete(&request).await.map(Response::new).map_err(status)
    }

    async fn get_tenant_plan(&self, request: Request<pb::GetTenantPlanRequest>) -> Answer<pb::TenantPlan> {
        self.policies.plan(request.get_ref()).map(Response::new).map_err(status)
    }

    async fn update_tenant_plan(&self, request: Request<pb::UpdateTenantPlanRequest>) -> Answer<pb::TenantPlan> {
        self.policies.set_plan(request.into_inner()).await.map(Response::new).map_err(status)
    }
}

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

// === impl Service ===

impl Service {
    pub(crate) fn new(charges: Charges, policies: PolicyApi) -> Service {
        Service { charges, policies }
    }
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn acquire(&self, request: Request<pb::AcquireRequest>) -> Result<Response<pb::AcquireResponse>, Status> {
        self.charges.acquire(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn batch_acquire(
        &self,
        request: Request<pb::BatchAcquireRequest>,
    ) -> Result<Response<pb::BatchAcquireResponse>, Status> {
        self.charges.batch(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn peek(&self, request: Request<pb::PeekRequest>) -> Result<Response<pb::PeekResponse>, Status> {
        self.charges.peek(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn reserve(&self, request: Request<pb::ReserveRequest>) -> Result<Response<pb::ReserveResponse>, Status> {
        self.charges.reserve(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn commit(&self, request: Request<pb::CommitRequest>) -> Result<Response<pb::SettleResponse>, Status> {
        self.charges.commit(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Result<Response<pb::SettleResponse>, Status> {
        self.charges.cancel(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn refund(&self, request: Request<pb::RefundRequest>) -> Result<Response<pb::SettleResponse>, Status> {
        self.charges.refund(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn reset(&self, request: Request<pb::ResetRequest>) -> Result<Response<pb::ResetResponse>, Status> {
        self.charges.reset(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        self.charges.explain(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn list_audit_entries(
        &self,
        request: Request<audit::ListAuditEntriesRequest>,
    ) -> Result<Response<audit::ListAuditEntriesResponse>, Status> {
        self.policies.audit(request.get_ref()).await.map(Response::new).map_err(status)
    }

    async fn create_policy(&self, request: Request<pb::CreatePolicyRequest>) -> Result<Response<pb::Policy>, Status> {
        self.policies.create(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Result<Response<pb::Policy>, Status> {
        self.policies.get(request.get_ref()).map(Response::new).map_err(status)
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        self.policies.list(request.get_ref()).map(Response::new).map_err(status)
    }

    async fn update_policy(&self, request: Request<pb::UpdatePolicyRequest>) -> Result<Response<pb::Policy>, Status> {
        self.policies.update(request).await.map(Response::new).map_err(status)
    }

    async fn delete_policy(&self, request: Request<pb::DeletePolicyRequest>) -> Result<Response<()>, Status> {
        self.policies.delete(&request).await.map(Response::new).map_err(status)
    }

    async fn get_tenant_plan(
        &self,
        request: Request<pb::GetTenantPlanRequest>,
    ) -> Result<Response<pb::TenantPlan>, Status> {
        self.policies.plan(request.get_ref()).map(Response::new).map_err(status)
    }

    async fn update_tenant_plan(
        &self,
        request: Request<pb::UpdateTenantPlanRequest>,
    ) -> Result<Response<pb::TenantPlan>, Status> {
        self.policies.set_plan(request.into_inner()).await.map(Response::new).map_err(status)
    }
}

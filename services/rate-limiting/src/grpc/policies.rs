//! RPCs on policies, plans and audits: convert, call, convert.

use keyplane_audit::ListRequest;
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_server::if_match;
use tonic::Request;

use super::convert::{policy_reply as reply, policy_request as convert};
use crate::app::policies::Policies;
use crate::error::Error;

/// RPCs on policies, plans and audits.
#[derive(Clone)]
pub(crate) struct PolicyApi {
    policies: Policies,
}

// === impl PolicyApi ===

impl PolicyApi {
    /// RPCs on `policies`.
    pub(crate) fn new(policies: Policies) -> PolicyApi {
        PolicyApi { policies }
    }

    /// CreatePolicy.
    pub(crate) async fn create(&self, request: pb::CreatePolicyRequest) -> Result<pb::Policy, Error> {
        let validate_only = request.validate_only;
        let new = convert::create(request)?;
        self.policies.create(new, validate_only).await.map(|made| reply::policy(&made)).map_err(convert::name_fields)
    }

    /// GetPolicy.
    pub(crate) fn get(&self, request: &pb::GetPolicyRequest) -> Result<pb::Policy, Error> {
        let id = convert::get(request)?;
        self.policies.get(&id).map(|compiled| reply::policy(&compiled.policy))
    }

    /// ListPolicies.
    pub(crate) fn list(&self, request: &pb::ListPoliciesRequest) -> Result<pb::ListPoliciesResponse, Error> {
        let (size, after) = convert::list(request)?;
        // One more shows whether another page follows.
        Ok(reply::page(&self.policies.load().after(after.as_ref(), size + 1), size))
    }

    /// UpdatePolicy.
    pub(crate) async fn update(&self, request: Request<pb::UpdatePolicyRequest>) -> Result<pb::Policy, Error> {
        let if_match = if_match(request.metadata());
        let request = request.into_inner();
        let validate_only = request.validate_only;
        let (id, patch, etag) = convert::update(request, if_match)?;
        self.policies
            .update(&id, &patch, &etag, validate_only)
            .await
            .map(|changed| reply::policy(&changed))
            .map_err(convert::name_fields)
    }

    /// DeletePolicy.
    pub(crate) async fn delete(&self, request: &Request<pb::DeletePolicyRequest>) -> Result<(), Error> {
        let (id, etag) = convert::delete(request.get_ref(), if_match(request.metadata()))?;
        self.policies.delete(&id, &etag, request.get_ref().allow_missing).await
    }

    /// GetTenantPlan.
    pub(crate) fn plan(&self, request: &pb::GetTenantPlanRequest) -> Result<pb::TenantPlan, Error> {
        let tenant = convert::plan(request)?;
        Ok(reply::tenant_plan(&tenant, self.policies.plan(tenant.as_str())))
    }

    /// UpdateTenantPlan.
    pub(crate) async fn set_plan(&self, request: pb::UpdateTenantPlanRequest) -> Result<pb::TenantPlan, Error> {
        let (tenant, plan, cause) = convert::set_plan(request)?;
        let set = match plan {
            Some(plan) => self.policies.set_plan(&tenant, &plan, &cause).await?,
            None => self.policies.plan(tenant.as_str()),
        };
        Ok(reply::tenant_plan(&tenant, set))
    }

    /// ListAuditEntries.
    pub(crate) async fn audit(
        &self,
        request: &audit::ListAuditEntriesRequest,
    ) -> Result<audit::ListAuditEntriesResponse, Error> {
        let ListRequest { tenant, size, after } = ListRequest::parse(request).map_err(Error::Invalid)?;
        let page = self.policies.audit().list(&tenant, size, after).await?;
        Ok(page.into_response(&tenant, |entry| reply::audit_entry(&tenant, entry)))
    }
}

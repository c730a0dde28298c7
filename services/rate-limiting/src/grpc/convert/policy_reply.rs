//! Converts policies, plans and audits to messages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::page;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_server::SERVICE_NAME;
use prost::Message as _;

use super::wire::signed;
use crate::app::policies::{Action, AuditEntry, etag};
use crate::domain::{Compiled, Entry, Limit, Mode, Origin, Outage, Policy};

/// Size in bytes at which a page of policies ends: callers take messages of 4 MiB.
const PAGE: usize = 2 * 1024 * 1024;

/// Policy.
pub(in crate::grpc) fn policy(policy: &Policy) -> pb::Policy {
    let limits = |limits: &BTreeMap<String, Limit>| -> HashMap<String, pb::Limit> {
        limits.iter().map(|(name, value)| (name.clone(), limit(value))).collect()
    };
    let entry =
        |Entry { key, value }: &Entry| pb::PolicyEntry { key: key.clone(), value: value.clone().unwrap_or_default() };
    pb::Policy {
        name: format!("policies/{}", policy.id),
        domain: Some(policy.domain.clone()),
        entries: policy.entries.iter().map(entry).collect(),
        limit: Some(limit(&policy.limit)),
        plan_limits: limits(&policy.plans),
        tenant_limits: limits(&policy.tenants),
        outage: Some(outage(policy.outage).into()),
        post_charge: Some(policy.post_charge),
        lease: Some(signed(policy.lease)),
        etag: etag(policy),
        origin: origin(policy.origin).into(),
        update_time: policy.updated.map(Into::into),
    }
}

/// Limit.
pub(in crate::grpc) fn limit(limit: &Limit) -> pb::Limit {
    let mode = match limit.mode {
        Mode::Enforce => pb::limit::Mode::Enforce,
        Mode::Shadow => pb::limit::Mode::Shadow,
        Mode::Unlimited => pb::limit::Mode::Unlimited,
        Mode::Block => pb::limit::Mode::Block,
    };
    let period = limit.mode.meters().then(|| prost_types::Duration::try_from(limit.period).ok()).flatten();
    pb::Limit { mode: mode.into(), amount: signed(limit.amount), period, burst: signed(limit.burst) }
}

/// Page of at most `size` of these policies, cut short where it would be too large.
pub(in crate::grpc) fn page(policies: &[Arc<Compiled>], size: usize) -> pb::ListPoliciesResponse {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for compiled in policies.iter().take(size) {
        if bytes >= PAGE {
            break;
        }
        let next = policy(&compiled.policy);
        bytes += next.encoded_len();
        page.push(next);
    }
    let last = page.len().checked_sub(1).filter(|_| page.len() < policies.len()).map(|last| &policies[last]);
    let next_page_token = last.map_or_else(String::new, |last| page::encode("", &last.policy.id));
    pb::ListPoliciesResponse { policies: page, next_page_token }
}

/// Plan of a tenant.
pub(in crate::grpc) fn tenant_plan(tenant: &TenantId, plan: Option<(String, Origin)>) -> pb::TenantPlan {
    let name = format!("tenants/{tenant}/plan");
    match plan {
        Some((plan, from)) => pb::TenantPlan { name, plan: Some(plan), origin: origin(from).into() },
        None => pb::TenantPlan { name, plan: Some(String::new()), ..pb::TenantPlan::default() },
    }
}

/// Entry of a tenant's audit.
pub(in crate::grpc) fn audit_entry(tenant: &TenantId, entry: AuditEntry) -> audit::AuditEntry {
    let (method, resource, detail) = match entry.action {
        Action::Reset => ("Reset", format!("tenants/{tenant}"), "buckets"),
        Action::Plan => ("UpdateTenantPlan", format!("tenants/{tenant}/plan"), "plan"),
    };
    let targets = Some(entry.targets.join("\n")).filter(|targets| !targets.is_empty());
    audit::AuditEntry {
        time: Some(entry.time.into()),
        action: format!("{SERVICE_NAME}/{method}"),
        resource,
        outcome: audit::audit_entry::Outcome::Attempted.into(),
        cause: Some(entry.cause.into()),
        details: targets.map(|targets| (detail.to_owned(), targets)).into_iter().collect(),
        ..audit::AuditEntry::default()
    }
}

fn outage(outage: Option<Outage>) -> pb::policy::Outage {
    match outage {
        None => pb::policy::Outage::Unspecified,
        Some(Outage::Closed) => pb::policy::Outage::Closed,
        Some(Outage::Open) => pb::policy::Outage::Open,
        Some(Outage::Local) => pb::policy::Outage::Local,
    }
}

fn origin(origin: Origin) -> pb::policy::Origin {
    match origin {
        Origin::File => pb::policy::Origin::File,
        Origin::Api => pb::policy::Origin::Api,
    }
}

//! The domain's types to messages.

use std::collections::{BTreeMap, HashMap};

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::page;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_server::SERVICE_NAME;
use prost::Message as _;

use super::calls::signed;
use crate::app::policies::{Action, AuditEntry, etag};
use crate::domain::{Catalog, Entry, Limit, Mode, Origin, Outage, Policy, PolicyId};

/// Bytes of a page of policies, beyond which it is cut short: callers take messages of 4 MiB.
const PAGE: usize = 2 * 1024 * 1024;

/// A policy.
pub(in crate::grpc) fn policy(policy: &Policy) -> pb::Policy {
    let limits = |limits: &BTreeMap<String, Limit>| -> HashMap<String, pb::Limit> {
        limits.iter().map(|(name, one)| (name.clone(), limit(one))).collect()
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

/// A limit.
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

/// The policies that follow `after`, by name.
pub(in crate::grpc) fn page(catalog: &Catalog, size: usize, after: Option<&PolicyId>) -> pb::ListPoliciesResponse {
    let passed = |id: &PolicyId| after.is_some_and(|after| id <= after);
    let mut rest = catalog.all().skip_while(|known| passed(&known.policy.id)).peekable();
    let (mut policies, mut bytes, mut last) = (Vec::new(), 0, None);
    while policies.len() < size && bytes < PAGE {
        let Some(next) = rest.next() else { break };
        last = Some(next);
        let next = policy(&next.policy);
        bytes += next.encoded_len();
        policies.push(next);
    }
    let last = last.filter(|_| rest.peek().is_some());
    let next_page_token = last.map_or_else(String::new, |last| page::encode("", &last.policy.id));
    pb::ListPoliciesResponse { policies, next_page_token }
}

/// Which plan a tenant is on.
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

//! Converts requests on policies, plans and audits.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use keyplane_audit::Cause;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::rules::ratelimit::MASKABLE;
use keyplane_contracts::{Violation, Violations, duration, page};
use keyplane_server::IF_MATCH;

use crate::domain::{
    Entry, Limit, Limits, Mode, Outage, Patch, Policy, PolicyId, PolicyNames, PolicyViolation, check_plan,
};
use crate::error::Error;

/// Path of the limits by plan.
const PLANS: &str = "policy.plan_limits";
/// Path of the limits by tenant.
const TENANTS: &str = "policy.tenant_limits";
/// Names of a policy's fields in requests.
const NAMES: PolicyNames = PolicyNames { plans: "plan_limits", tenants: "tenant_limits", period: "period" };

/// Names the fields of a policy that breaks its rules.
pub(in crate::grpc) fn name_fields(error: Error) -> Error {
    if let Error::InvalidPolicy(broken) = error { Error::Invalid(named(broken).collect()) } else { error }
}

fn named(broken: Vec<PolicyViolation>) -> impl Iterator<Item = Violation> {
    broken.into_iter().map(|PolicyViolation { path, rule }| Violation::new(path.named("policy", &NAMES), rule))
}

/// Policy to create.
pub(in crate::grpc) fn create(request: pb::CreatePolicyRequest) -> Result<Policy, Error> {
    let mut violations = Violations::new();
    let id = violations.keep(PolicyId::parse(&request.policy_id, "policy_id"));
    let Some(sent) = request.policy else {
        violations.add("policy", "must be set");
        return Err(Error::Invalid(violations.into_iter().collect()));
    };
    let patch = Patch { entries: None, ..everything(&sent, &mut violations) };
    // A placeholder lets the rest be checked without an id.
    let unnamed = || PolicyId::parse("none", "").ok();
    let policy = id.clone().or_else(unnamed).map(|id| Policy::blank(id, entries(sent.entries)));
    let policy = policy.map(|policy| {
        let (policy, broken) = patch.apply(policy);
        violations.extend(named(broken));
        policy
    });
    checked(id.and(policy), violations)
}

/// Policy to get.
pub(in crate::grpc) fn get(request: &pb::GetPolicyRequest) -> Result<PolicyId, Error> {
    policy_name(&request.name, "name").map_err(Error::invalid)
}

/// Size of the page, and the policy before it.
pub(in crate::grpc) fn list(request: &pb::ListPoliciesRequest) -> Result<(usize, Option<PolicyId>), Error> {
    let mut violations = Violations::new();
    let size = page::size(request.page_size, 100, 1000, &mut violations);
    let after = page::decode(&request.page_token, "", |id| PolicyId::parse(id, "").ok());
    let after = violations.keep(after).flatten();
    checked(Some((size as usize, after)), violations)
}

/// Policy to change, the change, and its expected etag. `if_match` is the header.
pub(in crate::grpc) fn update(
    request: pb::UpdatePolicyRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(PolicyId, Patch, String), Error> {
    let mut violations = Violations::new();
    let Some(mut sent) = request.policy else {
        return Err(Error::invalid(Violation::new("policy", "must be set")));
    };
    let id = violations.keep(policy_name(&sent.name, "policy.name"));
    let etag = agreed(std::mem::take(&mut sent.etag), "policy.etag", if_match, &mut violations);
    let patch = match request.update_mask {
        Some(mask) if !mask.paths.is_empty() => masked(&sent, &mask.paths, &mut violations),
        Some(_) | None => present(&sent, &mut violations),
    };
    violations.extend(named(patch.check()));
    checked(id, violations).map(|id| (id, patch, etag))
}

/// Policy to delete, and its expected etag.
pub(in crate::grpc) fn delete(
    request: &pb::DeletePolicyRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(PolicyId, String), Error> {
    let mut violations = Violations::new();
    let id = violations.keep(policy_name(&request.name, "name"));
    let etag = agreed(request.etag.clone(), "etag", if_match, &mut violations);
    checked(id, violations).map(|id| (id, etag))
}

/// Tenant of a plan.
pub(in crate::grpc) fn plan(request: &pb::GetTenantPlanRequest) -> Result<TenantId, Error> {
    plan_name(&request.name, "name").map_err(Error::invalid)
}

/// Tenant, its new plan if it changes, and the cause.
pub(in crate::grpc) fn set_plan(
    request: pb::UpdateTenantPlanRequest,
) -> Result<(TenantId, Option<String>, Cause), Error> {
    let mut violations = Violations::new();
    let pb::TenantPlan { name, plan, .. } = request.tenant_plan.unwrap_or_default();
    let tenant = violations.keep(plan_name(&name, "tenant_plan.name"));
    let mask = request.update_mask.map_or_else(Vec::new, |mask| mask.paths);
    for (index, path) in mask.iter().enumerate().filter(|(_, path)| *path != "plan") {
        violations.extend([Violation::unknown_path(index, path.len(), &["plan"])]);
    }
    let plan = if mask.is_empty() { plan } else { Some(plan.unwrap_or_default()) };
    if let Some(plan) = plan.as_ref().filter(|plan| !plan.is_empty()) {
        violations.keep(check_plan(plan, "tenant_plan.plan"));
    }
    let cause = Cause::parse(request.cause, "", &mut violations);
    checked(tenant, violations).map(|tenant| (tenant, plan, cause))
}

// === policies ===

/// Change of all fields; those that were not sent get their defaults.
fn everything(sent: &pb::Policy, violations: &mut Violations) -> Patch {
    masked(sent, &MASKABLE.map(str::to_owned), violations)
}

/// Change of the fields present, for a request without a mask.
fn present(sent: &pb::Policy, violations: &mut Violations) -> Patch {
    let is_present = |name: &&str| match *name {
        "domain" => sent.domain.is_some(),
        "limit" => sent.limit.is_some(),
        "outage" => sent.outage.is_some(),
        "post_charge" => sent.post_charge.is_some(),
        "lease" => sent.lease.is_some(),
        _ => false,
    };
    let paths: Vec<String> = MASKABLE.into_iter().filter(is_present).map(str::to_owned).collect();
    Patch {
        entries: Some(entries(sent.entries.clone())).filter(|entries| !entries.is_empty()),
        plans: Limits::Merge(limits(&sent.plan_limits, PLANS, violations)),
        tenants: Limits::Merge(limits(&sent.tenant_limits, TENANTS, violations)),
        ..masked(sent, &paths, violations)
    }
}

/// Change of the fields that the mask names, sent or not.
fn masked(sent: &pb::Policy, paths: &[String], violations: &mut Violations) -> Patch {
    let mut patch = Patch::default();
    for (index, path) in paths.iter().enumerate() {
        match path.as_str() {
            "domain" => patch.domain = Some(sent.domain.clone().unwrap_or_default()),
            "limit" => patch.limit = Some(required_limit(sent.limit, violations)),
            "plan_limits" => patch.plans = Limits::Replace(limits(&sent.plan_limits, PLANS, violations)),
            "tenant_limits" => patch.tenants = Limits::Replace(limits(&sent.tenant_limits, TENANTS, violations)),
            "outage" => patch.outage = Some(outage(sent.outage.unwrap_or_default(), violations)),
            "post_charge" => patch.post_charge = Some(sent.post_charge.unwrap_or_default()),
            "lease" => patch.lease = Some(unsigned(sent.lease.unwrap_or_default(), "policy.lease", 0, violations)),
            "entries" => violations.add("policy.entries", Patch::IMMUTABLE),
            _ => violations.extend([Violation::unknown_path(index, path.len(), &MASKABLE)]),
        }
    }
    patch
}

fn entries(sent: Vec<pb::PolicyEntry>) -> Vec<Entry> {
    let entry = |pb::PolicyEntry { key, value }| Entry { key, value: Some(value).filter(|value| !value.is_empty()) };
    sent.into_iter().map(entry).collect()
}

fn outage(sent: i32, violations: &mut Violations) -> Option<Outage> {
    match pb::policy::Outage::try_from(sent) {
        Ok(pb::policy::Outage::Unspecified) => None,
        Ok(pb::policy::Outage::Closed) => Some(Outage::Closed),
        Ok(pb::policy::Outage::Open) => Some(Outage::Open),
        Ok(pb::policy::Outage::Local) => Some(Outage::Local),
        Err(_) => {
            violations.add("policy.outage", format!("must be one of Outage; {sent} is none"));
            None
        }
    }
}

// === limits ===

/// Placeholder for a limit that breaks a rule, so that each violation is reported once.
const HARMLESS: Limit = Limit { mode: Mode::Enforce, amount: 1, period: Limit::SHORTEST, burst: 0 };

fn required_limit(sent: Option<pb::Limit>, violations: &mut Violations) -> Limit {
    match sent {
        Some(sent) => limit(sent, "policy.limit", violations),
        None => {
            violations.add("policy.limit", "must be set");
            Limit::UNLIMITED
        }
    }
}

fn limits(sent: &HashMap<String, pb::Limit>, field: &str, violations: &mut Violations) -> BTreeMap<String, Limit> {
    // Sorted, so that violations are.
    let sent: BTreeMap<_, _> = sent.iter().collect();
    let mut limits = BTreeMap::new();
    for (name, value) in sent {
        // A later check reports a name that breaks its rule, without showing it.
        let shown = if check_plan(name, "").is_ok() { name } else { "?" };
        limits.insert(name.clone(), limit(*value, &format!("{field}[{shown}]"), violations));
    }
    limits
}

fn limit(sent: pb::Limit, field: &str, violations: &mut Violations) -> Limit {
    let mode = match pb::limit::Mode::try_from(sent.mode) {
        Ok(pb::limit::Mode::Unspecified | pb::limit::Mode::Enforce) => Mode::Enforce,
        Ok(pb::limit::Mode::Shadow) => Mode::Shadow,
        Ok(pb::limit::Mode::Unlimited) => Mode::Unlimited,
        Ok(pb::limit::Mode::Block) => Mode::Block,
        Err(_) => {
            violations.add(format!("{field}.mode"), format!("must be one of Mode; {} is none", sent.mode));
            Mode::Enforce
        }
    };
    let stand_in = if mode.meters() { HARMLESS } else { Limit::UNLIMITED };
    let amount = unsigned(sent.amount, &format!("{field}.amount"), stand_in.amount, violations);
    let burst = unsigned(sent.burst, &format!("{field}.burst"), stand_in.burst, violations);
    let period = match sent.period.map(duration) {
        None => Duration::ZERO,
        Some(Some(period)) => period,
        Some(None) => {
            violations.add(format!("{field}.period"), "must not be negative");
            stand_in.period
        }
    };
    Limit { mode, amount, period, burst }
}

fn unsigned(sent: i64, field: &str, stand_in: u64, violations: &mut Violations) -> u64 {
    u64::try_from(sent).unwrap_or_else(|_| {
        violations.add(field, format!("must not be negative; {sent} was sent"));
        stand_in
    })
}

// === names and pages ===

/// Etag that the field and the header agree on; empty for none.
fn agreed(
    etag: String,
    field: &str,
    if_match: Result<Option<String>, Violation>,
    violations: &mut Violations,
) -> String {
    match violations.keep(if_match).flatten() {
        Some(tag) if etag.is_empty() => tag,
        Some(tag) => {
            if tag != etag {
                violations.add(field, format!("must be empty or equal to the header {IF_MATCH}"));
            }
            etag
        }
        None => etag,
    }
}

fn policy_name(name: &str, field: &str) -> Result<PolicyId, Violation> {
    let id = name.strip_prefix("policies/").filter(|id| !id.contains('/'));
    PolicyId::parse(id.ok_or_else(|| Violation::of_text(field, "must have the form policies/{policy}", name))?, field)
}

fn plan_name(name: &str, field: &str) -> Result<TenantId, Violation> {
    let tenant = name.strip_prefix("tenants/").and_then(|rest| rest.strip_suffix("/plan"));
    let tenant = tenant.filter(|tenant| !tenant.contains('/'));
    TenantId::parse(
        tenant.ok_or_else(|| Violation::of_text(field, "must have the form tenants/{tenant}/plan", name))?,
        field,
    )
}

fn checked<T>(parsed: Option<T>, violations: Violations) -> Result<T, Error> {
    violations.checked(parsed).map_err(Error::Invalid)
}

//! Bounds of what the rate-limiting service takes.

use super::{Rule, Table};
use crate::names::{Id, TenantId};

/// Pattern of a policy's id.
pub const POLICY_ID: &str = "[A-Za-z0-9._~@|:+-]{1,64}";
/// Pattern of a plan, and of an entry's key.
pub const NAME: &str = "[a-z0-9][a-z0-9_.-]{0,63}";
/// Limits of one call.
pub const LIMITS: usize = 16;
/// Calls of a batch.
pub const BATCH: usize = 500;
/// Maximum of descriptors of one call.
pub const DESCRIPTORS: usize = 8;
/// Longest descriptor, longest route, and longest value of an entry, in bytes.
pub const VALUE: usize = 256;
/// Largest amount, burst, and cost.
pub const MOST: i64 = 1_000_000_000_000;
/// Longest time that a charge is remembered, in seconds.
pub const REMEMBER: u64 = 3600;
/// Entries of a policy.
pub const ENTRIES: usize = 8;
/// Limits of a policy by plan.
pub const PLANS: usize = 64;
/// Limits of a policy by tenant.
pub const TENANTS: usize = 10_000;
/// Longest domain, in bytes.
pub const DOMAIN: usize = 128;
/// Longest period of a limit, in seconds: 31 days.
pub const LONGEST_PERIOD: u64 = 31 * 24 * 3600;
/// Paths that `update_mask` of a policy may name.
pub const MASKABLE: [&str; 7] = ["domain", "limit", "plan_limits", "tenant_limits", "outage", "post_charge", "lease"];

const USER: Rule = Rule::Pattern(Id::PATTERN);
const ROUTE: Rule = Rule::up_to(VALUE);
const MORE: Rule = Rule::Pairs { most: DESCRIPTORS, key: ".{1,64}", value: Some(&Rule::some(VALUE)) };
const NAMED: Rule = limits(1);
const PAGE: Rule = Rule::Number { least: 0, most: i32::MAX as i64 };
const COST: Rule = Rule::Number { least: 1, most: MOST };
const AMOUNT: Rule = Rule::Number { least: 0, most: MOST };
const HOUR: Rule = Rule::Seconds { least: 1, most: REMEMBER, zero: false, digits: 9 };

pub(crate) const RULES: Table = &[
    ("AcquireRequest.parent", Rule::Pattern(TenantId::NAME_PATTERN)),
    ("AcquireRequest.user", USER),
    ("AcquireRequest.api_key", USER),
    ("AcquireRequest.route", ROUTE),
    ("AcquireRequest.descriptors", MORE),
    ("AcquireRequest.limits", NAMED),
    ("AcquireRequest.cost", COST),
    ("AcquireRequest.request_id", USER),
    ("AcquireRequest.ttl", HOUR),
    ("BatchAcquireRequest.requests", Rule::Items { least: 1, most: BATCH, unique: false, each: None }),
    ("PeekRequest.user", USER),
    ("PeekRequest.api_key", USER),
    ("PeekRequest.route", ROUTE),
    ("PeekRequest.descriptors", MORE),
    ("PeekRequest.limits", NAMED),
    ("PeekRequest.cost", COST),
    ("ReserveRequest.user", USER),
    ("ReserveRequest.api_key", USER),
    ("ReserveRequest.route", ROUTE),
    ("ReserveRequest.descriptors", MORE),
    ("ReserveRequest.limits", NAMED),
    ("ReserveRequest.estimate", COST),
    ("ReserveRequest.request_id", USER),
    ("ReserveRequest.ttl", HOUR),
    ("CommitRequest.reservation", Rule::RequiredOpaque),
    ("CommitRequest.cost", AMOUNT),
    ("CancelRequest.reservation", Rule::RequiredOpaque),
    ("RefundRequest.charge", Rule::RequiredOpaque),
    ("RefundRequest.cost", COST),
    ("RefundRequest.request_id", USER),
    ("ResetRequest.user", USER),
    ("ResetRequest.api_key", USER),
    ("ResetRequest.route", ROUTE),
    ("ResetRequest.descriptors", MORE),
    ("ResetRequest.limits", NAMED),
    ("ExplainRequest.user", USER),
    ("ExplainRequest.api_key", USER),
    ("ExplainRequest.route", ROUTE),
    ("ExplainRequest.descriptors", MORE),
    ("ExplainRequest.limits", limits(0)),
    ("ListPoliciesRequest.page_size", PAGE),
    ("ListPoliciesRequest.page_token", Rule::Opaque),
    ("CreatePolicyRequest.policy_id", Rule::Required(POLICY_ID)),
    ("UpdatePolicyRequest.update_mask", Rule::Mask(&MASKABLE)),
    ("DeletePolicyRequest.etag", Rule::Free),
    ("Policy.domain", Rule::up_to(DOMAIN)),
    ("Policy.entries", Rule::Items { least: 1, most: ENTRIES, unique: false, each: None }),
    ("Policy.plan_limits", Rule::Pairs { most: PLANS, key: NAME, value: None }),
    ("Policy.tenant_limits", Rule::Pairs { most: TENANTS, key: TenantId::PATTERN, value: None }),
    ("Policy.lease", AMOUNT),
    ("Policy.etag", Rule::Free),
    ("PolicyEntry.key", Rule::Required(NAME)),
    ("PolicyEntry.value", Rule::up_to(VALUE)),
    ("Limit.amount", AMOUNT),
    ("Limit.burst", AMOUNT),
    ("Limit.period", Rule::Seconds { least: 1, most: LONGEST_PERIOD, zero: true, digits: 6 }),
    ("TenantPlan.plan", Rule::Pattern(NAME)),
    ("UpdateTenantPlanRequest.update_mask", Rule::Mask(&["plan"])),
];

pub(crate) const ALWAYS_SENT: &[&str] = &[
    "Policy.domain",
    "Policy.outage",
    "Policy.post_charge",
    "Policy.lease",
    "TenantPlan.plan",
    "Policy.limit",
    "LimitExplanation.policy",
    "LimitExplanation.limit",
    "LimitExplanation.state",
];

/// Ids of at least `least` policies, each once.
const fn limits(least: usize) -> Rule {
    Rule::Items { least, most: LIMITS, unique: true, each: Some(&Rule::Required(POLICY_ID)) }
}

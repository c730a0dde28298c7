//! Policies file of the operator, in YAML.
//!
//! ```yaml
//! policies:                       # required; `[]` for none. At most 9,000
//!   - id: user-api                # id that calls name
//!     domain: keyplane            # domain of Envoy's descriptors; without it, only calls that name the policy match
//!     entries: [tenant, user]     # a key, or a key with the value that it matches: {key: route, value: /v1/chat}
//!     limit: {amount: 100, per: 1s, burst: 200, mode: enforce}
//!     plans:                      # limits by plan
//!       gold: {amount: 1000, per: 1s}
//!     tenants:                    # limits by tenant, which take precedence over plans
//!       acme: {amount: 5000, per: 1s}
//!       evil: block
//!     outage: local               # closed, open or local; the service's setting by default
//!     post_charge: false
//!     lease: 0
//!   - id: chat
//!     entries: [tenant, {key: route, value: /v1/chat}]
//!     limit: unlimited
//!     plans:
//!       free: {amount: 20, per: 1m, mode: shadow}
//! tenants:                        # plan of each tenant
//!   acme: gold
//! ```
//!
//! Limits are `unlimited`, `block`, or `amount` and `per` (`1s`, `5m`, `1h 30m`) with `burst` (by default the amount) and
//! `mode` (`enforce`, the default, `shadow`, `unlimited` or `block`). The bounds are those of `Policy` in `ratelimit.proto`.
//! Unknown and duplicate keys are errors.

mod lines;
mod watch;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use keyplane_contracts::names::TenantId;
use keyplane_contracts::{Violation, Violations};
use keyplane_server::WatchedFile;

use crate::domain::{
    Catalog, Entry, Limit, Mode, Origin, Outage, Policy, PolicyId, PolicyNames, PolicyViolation, check_plan,
};

pub(crate) use watch::Watch;

/// Names of a policy's fields in the file.
const NAMES: PolicyNames = PolicyNames { plans: "plans", tenants: "tenants", period: "per" };

/// Contents of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Policies, in the file's order.
    pub policies: Vec<Policy>,
    /// Plan of each tenant.
    pub plans: BTreeMap<String, String>,
}

/// Failure to use a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// File can't be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// File is too large.
    #[error("it has more than {max} bytes", max = Contents::BYTES)]
    TooLarge,
    /// File is not UTF-8, from this byte on.
    #[error("it is not UTF-8: byte {0} is invalid")]
    NotUtf8(usize),
    /// File is not YAML of this form; with the line.
    #[error("{0}")]
    Syntax(String),
    /// Policies break these rules; each with its line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
}

/// File that can't be used at the start.
#[derive(Debug, thiserror::Error)]
#[error("the policy file {} cannot be used: {error}", path.display())]
pub struct Rejected {
    /// Path of the file.
    pub path: PathBuf,
    /// Reason.
    pub error: FileError,
}

// === impl Contents ===

impl Contents {
    /// Size of the largest file, in bytes.
    pub const BYTES: usize = WatchedFile::MAX_BYTES;
    /// Most policies of a file: the rest of the catalog is for the API.
    pub const MOST: usize = Catalog::MOST - Catalog::MOST_OF_API;

    /// Parses a file.
    ///
    /// # Errors
    ///
    /// First error of syntax, else every broken rule; each with its line.
    pub fn parse(text: &str) -> Result<Contents, FileError> {
        if text.len() > Contents::BYTES {
            return Err(FileError::TooLarge);
        }
        let file = yaml::read(text).map_err(FileError::Syntax)?;
        let mut violations = Violations::new();
        let count = file.policies.len();
        if count > Contents::MOST {
            violations.add("policies", format!("must be at most {}; there are {count}", Contents::MOST));
        }
        let mut policies = Vec::with_capacity(count);
        let mut indexes = HashMap::with_capacity(count);
        for (index, row) in file.policies.into_iter().enumerate() {
            let field = format!("policies[{index}]");
            if let Some(first) = indexes.insert(row.id.clone(), index) {
                violations.add(format!("{field}.id"), format!("must not be the id of policies[{first}] too"));
            }
            policies.extend(policy(row, &field, &mut violations));
        }
        for (tenant, plan) in &file.tenants {
            let field = match violations.keep(TenantId::parse(tenant, "tenants")) {
                Some(tenant) => format!("tenants[{}]", tenant.as_str()),
                None => "tenants[?]".to_owned(),
            };
            violations.keep(check_plan(plan, &field));
        }
        let contents = violations.into_result(Contents { policies, plans: file.tenants });
        contents.map_err(|violations| FileError::Invalid(lines::place(text, violations)))
    }
}

/// Parses the bytes of a file, on a blocking thread: a large file takes some milliseconds.
pub(super) async fn parse(bytes: Vec<u8>) -> Result<Contents, FileError> {
    let parse = move || match std::str::from_utf8(&bytes) {
        _ if bytes.len() > Contents::BYTES => Err(FileError::TooLarge),
        Ok(text) => Contents::parse(text),
        Err(error) => Err(FileError::NotUtf8(error.valid_up_to())),
    };
    let parsed = tokio::task::spawn_blocking(parse).await;
    parsed.unwrap_or_else(|_| Err(FileError::Syntax("the reader of the file failed".to_owned())))
}

/// Converts a policy, and notes every broken rule; none without an id.
fn policy(row: yaml::Policy, field: &str, violations: &mut Violations) -> Option<Policy> {
    let id = violations.keep(PolicyId::parse(&row.id, &format!("{field}.id")));
    let mut limits = |rows: BTreeMap<String, yaml::Limit>, part: &str| {
        let mut limits = BTreeMap::new();
        for (name, row) in rows {
            // The check below reports a name that breaks its rule, without showing it.
            let shown = if check_plan(&name, "").is_ok() { &name } else { "?" };
            let limit = limit(row, &format!("{field}.{part}[{shown}]"), violations);
            limits.insert(name, limit);
        }
        limits
    };
    let (plans, tenants) = (limits(row.plans, "plans"), limits(row.tenants, "tenants"));
    let outage = row.outage.and_then(|name| {
        let named = Outage::named(&name);
        if named.is_none() {
            violations.add(format!("{field}.outage"), "must be closed, open or local");
        }
        named
    });
    let policy = Policy {
        // A placeholder lets the rest be checked without an id.
        id: id.clone().or_else(|| PolicyId::parse("none", "").ok())?,
        domain: row.domain.unwrap_or_default(),
        entries: row.entries.into_iter().map(|yaml::Entry { key, value }| Entry { key, value }).collect(),
        limit: limit(row.limit, &format!("{field}.limit"), violations),
        plans,
        tenants,
        outage,
        post_charge: row.post_charge,
        lease: row.lease,
        version: 0,
        origin: Origin::File,
        updated: None,
    };
    let named = |PolicyViolation { path, rule }| Violation::new(path.named(field, &NAMES), rule);
    violations.extend(policy.check().into_iter().map(named));
    id.map(|_| policy)
}

/// Converts a limit; parts that break a rule are replaced by valid ones, so that each is reported once.
fn limit(row: yaml::Limit, field: &str, violations: &mut Violations) -> Limit {
    let mode = row.mode.map_or(Some(Mode::Enforce), |name| {
        [Mode::Enforce, Mode::Shadow, Mode::Unlimited, Mode::Block].into_iter().find(|mode| mode.name() == name)
    });
    if mode.is_none() {
        violations.add(format!("{field}.mode"), "must be enforce, shadow, unlimited or block");
    }
    let mode = mode.unwrap_or_default();
    let period = match row.per.as_deref().map(humantime::parse_duration) {
        Some(Ok(period)) => period,
        None if !mode.meters() => std::time::Duration::ZERO,
        other => {
            let rule = "must be a time with its unit, such as 1s, 5m or 1h 30m";
            let sent = if other.is_none() { format!("{rule}, and is missing") } else { rule.to_owned() };
            violations.add(format!("{field}.per"), sent);
            Limit::SHORTEST
        }
    };
    Limit { mode, amount: row.amount, period, burst: row.burst }
}

#[cfg(test)]
mod tests;

//! The operator's policies: a YAML file.
//!
//! ```yaml
//! policies:                       # required; `[]` for none. At most 9,000
//!   - id: user-api                # what calls name it by
//!     domain: keyplane            # what Envoy names it by, with the entries; none: only calls that name the policy meet it
//!     entries: [tenant, user]     # a key, or a key and the one value that it is for: {key: route, value: /v1/chat}
//!     limit: {amount: 100, per: 1s, burst: 200, mode: enforce}
//!     plans:                      # by plan
//!       gold: {amount: 1000, per: 1s}
//!     tenants:                    # by tenant, which beats its plan
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
//! tenants:                        # which plan a tenant is on
//!   acme: gold
//! ```
//!
//! A limit is `unlimited`, `block`, or `amount` and `per` (`1s`, `5m`, `1h 30m`) with `burst` (by default the amount) and
//! `mode` (`enforce`, the default, `shadow`, `unlimited` or `block`). The bounds are those of `Policy` in `ratelimit.proto`.
//! A key that is not known is an error, as is one that stands there twice.

mod lines;
mod watch;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use keyplane_contracts::names::TenantId;
use keyplane_contracts::{Violation, Violations};
use keyplane_server::WatchedFile;

use crate::domain::{Catalog, Entry, Limit, Mode, Origin, Outage, Policy, PolicyId, check_plan};

pub(crate) use watch::Watch;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The policies, in the file's order.
    pub policies: Vec<Policy>,
    /// Which plan each tenant is on.
    pub plans: BTreeMap<String, String>,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is larger than any that is meant.
    #[error("it has more than {max} bytes", max = Contents::BYTES)]
    TooLarge,
    /// It is not text.
    #[error("it is not UTF-8: byte {0} is none")]
    NotUtf8(usize),
    /// It is not YAML, or has not this form: with the line.
    #[error("{0}")]
    Syntax(String),
    /// Policies break their rules: each rule, with its line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
}

/// A file that can't be used, at the start.
#[derive(Debug, thiserror::Error)]
#[error("the policy file {} cannot be used: {error}", path.display())]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub error: FileError,
}

// === impl Contents ===

impl Contents {
    /// Bytes of the largest file.
    pub const BYTES: usize = WatchedFile::MAX_BYTES;
    /// The most policies: what is left of the catalog is the API's.
    pub const MOST: usize = Catalog::MOST - Catalog::MOST_OF_API;

    /// Reads what a file says.
    ///
    /// # Errors
    ///
    /// The first mistake of form, else every rule that is broken; each with its line.
    pub fn parse(text: &str) -> Result<Contents, FileError> {
        if text.len() > Contents::BYTES {
            return Err(FileError::TooLarge);
        }
        let file = yaml::read(text).map_err(FileError::Syntax)?;
        let mut violations = Violations::new();
        let given = file.policies.len();
        if given > Contents::MOST {
            violations.add("policies", format!("must be at most {}; there are {given}", Contents::MOST));
        }
        let mut policies = Vec::with_capacity(given);
        let mut places = HashMap::with_capacity(given);
        for (index, row) in file.policies.into_iter().enumerate() {
            let field = format!("policies[{index}]");
            if let Some(first) = places.insert(row.id.clone(), index) {
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

/// What the bytes of a file say; aside of the threads that answer calls, since a large one takes some milliseconds.
pub(super) async fn parse(bytes: Vec<u8>) -> Result<Contents, FileError> {
    let parse = move || match std::str::from_utf8(&bytes) {
        _ if bytes.len() > Contents::BYTES => Err(FileError::TooLarge),
        Ok(text) => Contents::parse(text),
        Err(error) => Err(FileError::NotUtf8(error.valid_up_to())),
    };
    let parsed = tokio::task::spawn_blocking(parse).await;
    parsed.unwrap_or_else(|_| Err(FileError::Syntax("the reader of the file failed".to_owned())))
}

/// A policy as it stands there; none without an id. Every rule that it breaks is noted.
fn policy(row: yaml::Policy, field: &str, violations: &mut Violations) -> Option<Policy> {
    let id = violations.keep(PolicyId::parse(&row.id, &format!("{field}.id")));
    let mut limits = |rows: BTreeMap<String, yaml::Limit>, part: &str| {
        let mut limits = BTreeMap::new();
        for (name, row) in rows {
            // A name that breaks its rule is told of by the check below, without being shown.
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
        // One of no consequence, where there is none: only so that the rest can be checked.
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
    let mut broken = Violations::new();
    policy.check(field, &mut broken);
    violations.extend(broken.into_iter().map(in_the_files_words));
    id.map(|_| policy)
}

/// A limit as it stands there; one that breaks no rule where its texts do.
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
        told => {
            let rule = "must be a time with its unit, such as 1s, 5m or 1h 30m";
            let sent = if told.is_none() { format!("{rule}, and is missing") } else { rule.to_owned() };
            violations.add(format!("{field}.per"), sent);
            Limit::SHORTEST
        }
    };
    Limit { mode, amount: row.amount, period, burst: row.burst }
}

/// The fields have shorter names in the file.
fn in_the_files_words(violation: Violation) -> Violation {
    let mut field = violation.field.replacen(".plan_limits", ".plans", 1).replacen(".tenant_limits", ".tenants", 1);
    if let Some(limit) = field.strip_suffix(".period") {
        field = format!("{limit}.per");
    }
    Violation::new(field, violation.description)
}

#[cfg(test)]
mod tests;

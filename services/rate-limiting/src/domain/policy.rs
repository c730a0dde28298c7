use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::rules::ratelimit as stated;
use keyplane_contracts::{Violation, Violations};

use super::Limit;

/// A policy's id: by the rule of [`Id`], at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(String);

/// A part of what a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// `tenant`, `user`, `api_key`, `route`, or any other.
    pub key: String,
    /// The one value that it is for; any, with a bucket for each, if there is none.
    pub value: Option<String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// What Envoy calls it by, together with the entries; empty: nothing, it is for those who name it.
    pub domain: String,
    /// Whom it is for, in Envoy's order.
    pub entries: Vec<Entry>,
    /// For whom neither of the next two has one.
    pub limit: Limit,
    /// By plan.
    pub plans: BTreeMap<String, Limit>,
    /// By tenant, which beats its plan.
    pub tenants: BTreeMap<String, Limit>,
    /// Who answers while the store is away; the service's setting if it does not say.
    pub outage: Option<Outage>,
    /// Whether hits are charged even where they are over the limit.
    pub post_charge: bool,
    /// How many an instance may take at a time; 0: it asks the store each time.
    pub lease: u64,
    /// Grows with each change; 0 for one of the file.
    pub version: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// When it last changed.
    pub updated: Option<SystemTime>,
}

/// Who answers while the store is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// Nobody.
    #[default]
    Closed,
    /// Everything is admitted.
    Open,
    /// Each instance holds the limit by itself.
    Local,
}

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator's file.
    File,
    /// The API.
    Api,
}

// === impl PolicyId ===

impl PolicyId {
    /// Bytes of the longest id.
    pub const LONGEST: usize = 64;

    /// Parses an id; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// The rule, if `text` breaks it.
    pub fn parse(text: &str, field: &str) -> Result<PolicyId, Violation> {
        if text.len() <= PolicyId::LONGEST && Id::parse(text, field).is_ok() {
            return Ok(PolicyId(text.to_owned()));
        }
        let sent =
            if text.is_empty() { ", and is empty".to_owned() } else { format!("; {} bytes were sent", text.len()) };
        Err(Violation::new(field, format!("the policy id must match [A-Za-z0-9._~@|:+-]{{1,64}}{sent}")))
    }

    /// An id that no policy has: of limits that come with the requests of a domain.
    #[must_use]
    pub fn of_requests(domain: &str) -> PolicyId {
        PolicyId(format!("/{domain}"))
    }

    /// The id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PolicyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Policy ===

impl Policy {
    /// The most entries.
    pub const ENTRIES: usize = stated::ENTRIES;
    /// The most limits by plan.
    pub const PLANS: usize = stated::PLANS;
    /// The most limits by tenant.
    pub const TENANTS: usize = stated::TENANTS;
    /// Bytes of a domain.
    pub const DOMAIN: usize = stated::DOMAIN;
    /// Bytes of a value.
    pub const VALUE: usize = stated::VALUE;

    /// An unlimited policy of the API, with nothing else said of it yet.
    pub fn blank(id: PolicyId, entries: Vec<Entry>) -> Policy {
        Policy {
            id,
            domain: String::new(),
            entries,
            limit: Limit::UNLIMITED,
            plans: BTreeMap::new(),
            tenants: BTreeMap::new(),
            outage: None,
            post_charge: false,
            lease: 0,
            version: 0,
            origin: Origin::Api,
            updated: None,
        }
    }

    /// Notes each rule that it breaks; `field` is where it was given, such as `policy`.
    pub fn check(&self, field: &str, violations: &mut Violations) {
        let at = |part: &str| format!("{field}.{part}");
        if !self.domain.is_empty() && !is_text(&self.domain, Policy::DOMAIN) {
            let sent = self.domain.len();
            violations
                .add(at("domain"), format!("must have at most 128 bytes and no control characters; {sent} were sent"));
        }
        if !(1..=Policy::ENTRIES).contains(&self.entries.len()) {
            violations.add(at("entries"), format!("must be 1 to 8; {} were sent", self.entries.len()));
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let twice = self.entries[..index].iter().any(|other| other.key == entry.key);
            entry.check(&format!("{field}.entries[{index}]"), twice, violations);
        }
        self.limit.check(&at("limit"), violations);
        self.check_maps(field, violations);
        if self.lease > 0 && self.lease > self.smallest_burst() {
            violations.add(at("lease"), format!("must be at most the smallest burst; {} was sent", self.lease));
        }
        if self.lease > 0 && self.post_charge {
            violations.add(at("lease"), "can't be combined with `post_charge`");
        }
    }

    fn check_maps(&self, field: &str, violations: &mut Violations) {
        let (plans, tenants) = (format!("{field}.plan_limits"), format!("{field}.tenant_limits"));
        if self.plans.len() > Policy::PLANS {
            violations.add(&plans, format!("must be at most 64; {} were sent", self.plans.len()));
        }
        if self.tenants.len() > Policy::TENANTS {
            violations.add(&tenants, format!("must be at most 10000; {} were sent", self.tenants.len()));
        }
        let by_tenant = self.entries.iter().any(|entry| entry.key == "tenant");
        for (map, name) in [(&self.plans, &plans), (&self.tenants, &tenants)] {
            if !by_tenant && !map.is_empty() {
                violations.add(name, "need an entry with the key tenant");
            }
        }
        for (plan, limit) in &self.plans {
            violations.keep(check_plan(plan, &plans));
            limit.check(&format!("{plans}[{}]", shown(plan)), violations);
        }
        for (tenant, limit) in &self.tenants {
            violations.keep(TenantId::parse(tenant, &tenants));
            limit.check(&format!("{tenants}[{}]", shown(tenant)), violations);
        }
    }

    fn smallest_burst(&self) -> u64 {
        let limits = std::iter::once(&self.limit).chain(self.plans.values()).chain(self.tenants.values());
        limits.filter(|limit| limit.mode.meters()).map(Limit::full_burst).min().unwrap_or(u64::MAX)
    }
}

// === impl Entry ===

impl Entry {
    fn check(&self, field: &str, twice: bool, violations: &mut Violations) {
        if !is_name(&self.key) {
            let sent = self.key.len();
            violations
                .add(format!("{field}.key"), format!("must match [a-z0-9][a-z0-9_.-]{{0,63}}; {sent} bytes were sent"));
        }
        if twice {
            violations.add(format!("{field}.key"), "must not be given twice");
        }
        if let Some(value) = self.value.as_ref().filter(|value| !is_text(value, Policy::VALUE)) {
            let sent = value.len();
            violations.add(
                format!("{field}.value"),
                format!("must be 1 to 256 bytes without control characters; {sent} were sent"),
            );
        }
    }
}

// === impl Outage ===

impl Outage {
    /// As it stands in files and settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outage::Closed => "closed",
            Outage::Open => "open",
            Outage::Local => "local",
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Outage> {
        [Outage::Closed, Outage::Open, Outage::Local].into_iter().find(|outage| outage.name() == name)
    }
}

/// Holds a plan's name against its rule; `field` is where it was sent.
///
/// # Errors
///
/// The rule, if it breaks it.
pub fn check_plan(plan: &str, field: &str) -> Result<(), Violation> {
    let rule = || format!("a plan must match [a-z0-9][a-z0-9_.-]{{0,63}}; {} bytes were sent", plan.len());
    if is_name(plan) { Ok(()) } else { Err(Violation::new(field, rule())) }
}

/// Whether a key of entries or a plan may be called so.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || b"_.-".contains(&byte);
    text.len() <= 64 && text.bytes().next().is_some_and(plain) && text.bytes().all(inner)
}

/// Whether it is a text of 1 to `most` bytes without control characters.
pub(super) fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A key of a map, as far as it may be shown.
fn shown(key: &str) -> &str {
    if is_name(key) { key } else { "?" }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    pub(crate) fn policy(id: &str, keys: &[&str]) -> Policy {
        Policy {
            id: PolicyId::parse(id, "").unwrap(),
            domain: "keyplane".to_owned(),
            entries: keys.iter().map(|key| Entry { key: (*key).to_owned(), value: None }).collect(),
            limit: Limit::per(10, Duration::from_secs(1)),
            plans: BTreeMap::new(),
            tenants: BTreeMap::new(),
            outage: None,
            post_charge: false,
            lease: 0,
            version: 0,
            origin: Origin::File,
            updated: None,
        }
    }

    fn broken(policy: &Policy) -> Vec<String> {
        let mut violations = Violations::new();
        policy.check("policy", &mut violations);
        violations.into_iter().map(|violation| violation.to_string()).collect()
    }

    #[test]
    fn every_rule_that_a_policy_breaks_is_told() {
        let good = policy("user-api", &["tenant", "user"]);
        assert!(broken(&good).is_empty());
        let mut bad = policy("x", &["Tenant", "user", "user"]);
        bad.domain = "a\tb".to_owned();
        bad.entries[1].value = Some("a\nb".to_owned());
        bad.plans.insert("Gold".to_owned(), Limit::UNLIMITED);
        bad.tenants.insert("acme".to_owned(), Limit::per(0, Duration::from_secs(1)));
        bad.lease = 11;
        assert_eq!(
            broken(&bad),
            [
                "policy.domain: must have at most 128 bytes and no control characters; 3 were sent",
                "policy.entries[0].key: must match [a-z0-9][a-z0-9_.-]{0,63}; 6 bytes were sent",
                "policy.entries[1].value: must be 1 to 256 bytes without control characters; 3 were sent",
                "policy.entries[2].key: must not be given twice",
                "policy.plan_limits: need an entry with the key tenant",
                "policy.tenant_limits: need an entry with the key tenant",
                "policy.plan_limits: a plan must match [a-z0-9][a-z0-9_.-]{0,63}; 4 bytes were sent",
                "policy.tenant_limits[acme].amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
                "policy.lease: must be at most the smallest burst; 11 was sent",
            ]
        );
    }

    #[test]
    fn outages_have_names() {
        assert_eq!(Outage::named("local"), Some(Outage::Local));
        assert_eq!(Outage::named("Open"), None);
    }
}

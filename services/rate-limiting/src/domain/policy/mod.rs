use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use keyplane_contracts::Violation;
use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::rules::ratelimit as stated;

use super::{Limit, LimitOf, PolicyPath, PolicyViolation};

/// Id of a policy: an [`Id`] of at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(String);

/// Entry of a policy: a key, and the value that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// `tenant`, `user`, `api_key`, `route`, or any other.
    pub key: String,
    /// Value that the entry matches; none matches any, with a bucket for each.
    pub value: Option<String>,
}

/// Policy: limits for calls that fill its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Id of the policy.
    pub id: PolicyId,
    /// Domain of the descriptors that match the policy; empty for a policy that calls name by its id.
    pub domain: String,
    /// Entries, in the order of Envoy's descriptors.
    pub entries: Vec<Entry>,
    /// Default limit, when neither tenant nor plan sets one.
    pub limit: Limit,
    /// Limits by plan.
    pub plans: BTreeMap<String, Limit>,
    /// Limits by tenant, which take precedence over plans.
    pub tenants: BTreeMap<String, Limit>,
    /// Outage mode; none for the service's setting.
    pub outage: Option<Outage>,
    /// True if hits over the limit are charged, since they have happened already.
    pub post_charge: bool,
    /// Hits that an instance leases at a time; 0 for none.
    pub lease: u64,
    /// Version, which grows with each change; 0 for a policy of the file.
    pub version: u64,
    /// Origin of the policy.
    pub origin: Origin,
    /// Time of the last change.
    pub updated: Option<SystemTime>,
}

/// Outage mode: the answer while the store is unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// Calls fail with UNAVAILABLE.
    #[default]
    Closed,
    /// Calls are admitted.
    Open,
    /// Instances apply the limit each by itself.
    Local,
}

/// Origin of a policy or plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Operator's file.
    File,
    /// The API.
    Api,
}

// === impl PolicyId ===

impl PolicyId {
    /// Bytes of the longest id.
    pub const LONGEST: usize = 64;

    /// Parses an id; `field` names it in the violation.
    ///
    /// # Errors
    ///
    /// Rule that `text` breaks.
    pub fn parse(text: &str, field: &str) -> Result<PolicyId, Violation> {
        if PolicyId::is_valid(text) {
            return Ok(PolicyId(text.to_owned()));
        }
        Err(Violation::of_text(field, format_args!("the policy id must match {}", stated::POLICY_ID), text))
    }

    /// Returns whether a text is an id.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        text.len() <= PolicyId::LONGEST && Id::parse(text, "").is_ok()
    }

    /// Id that no policy has, for limits that come with the requests of a domain.
    #[must_use]
    pub fn for_requests(domain: &str) -> PolicyId {
        PolicyId(format!("/{domain}"))
    }

    /// Text of the id.
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
    /// Unlimited policy of the API with these entries.
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

    /// Rules that the policy breaks.
    #[must_use]
    pub fn check(&self) -> Vec<PolicyViolation> {
        let mut broken = Vec::new();
        let mut add = |path, rule: String| broken.push(PolicyViolation { path, rule });
        if !self.domain.is_empty() && !is_text(&self.domain, stated::DOMAIN) {
            let sent = self.domain.len();
            let rule = format!("must have at most 128 bytes and no control characters; {sent} were sent");
            add(PolicyPath::Domain, rule);
        }
        if !(1..=stated::ENTRIES).contains(&self.entries.len()) {
            add(PolicyPath::Entries, format!("must be 1 to 8; {} were sent", self.entries.len()));
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let twice = self.entries[..index].iter().any(|other| other.key == entry.key);
            entry.check(index, twice, &mut add);
        }
        check_limit(&LimitOf::Default, &self.limit, &mut add);
        self.check_maps(&mut add);
        if self.lease > 0 && self.lease > self.smallest_burst() {
            add(PolicyPath::Lease, format!("must be at most the smallest burst; {} was sent", self.lease));
        }
        if self.lease > 0 && self.post_charge {
            add(PolicyPath::Lease, "can't be combined with `post_charge`".to_owned());
        }
        broken
    }

    fn check_maps(&self, add: &mut impl FnMut(PolicyPath, String)) {
        if self.plans.len() > stated::PLANS {
            add(PolicyPath::Plans, format!("must be at most 64; {} were sent", self.plans.len()));
        }
        if self.tenants.len() > stated::TENANTS {
            add(PolicyPath::Tenants, format!("must be at most 10000; {} were sent", self.tenants.len()));
        }
        let by_tenant = self.entries.iter().any(|entry| entry.key == "tenant");
        for (map, path) in [(&self.plans, PolicyPath::Plans), (&self.tenants, PolicyPath::Tenants)] {
            if !by_tenant && !map.is_empty() {
                add(path, "need an entry with the key tenant".to_owned());
            }
        }
        for (plan, limit) in &self.plans {
            if let Err(violation) = check_plan(plan, "") {
                add(PolicyPath::Plans, violation.description);
            }
            check_limit(&LimitOf::Plan(shown(plan).to_owned()), limit, add);
        }
        for (tenant, limit) in &self.tenants {
            if let Err(violation) = TenantId::parse(tenant, "") {
                add(PolicyPath::Tenants, violation.description);
            }
            check_limit(&LimitOf::Tenant(shown(tenant).to_owned()), limit, add);
        }
    }

    fn smallest_burst(&self) -> u64 {
        let limits = std::iter::once(&self.limit).chain(self.plans.values()).chain(self.tenants.values());
        limits.filter(|limit| limit.mode.meters()).map(Limit::full_burst).min().unwrap_or(u64::MAX)
    }
}

// === impl Entry ===

impl Entry {
    fn check(&self, index: usize, twice: bool, add: &mut impl FnMut(PolicyPath, String)) {
        if !is_name(&self.key) {
            let sent = self.key.len();
            let rule = format!("must match [a-z0-9][a-z0-9_.-]{{0,63}}; {sent} bytes were sent");
            add(PolicyPath::EntryKey(index), rule);
        }
        if twice {
            add(PolicyPath::EntryKey(index), "must not be given twice".to_owned());
        }
        if let Some(value) = self.value.as_ref().filter(|value| !is_text(value, stated::VALUE)) {
            let rule = format!("must be 1 to 256 bytes without control characters; {} were sent", value.len());
            add(PolicyPath::EntryValue(index), rule);
        }
    }
}

fn check_limit(owner: &LimitOf, limit: &Limit, add: &mut impl FnMut(PolicyPath, String)) {
    for (part, rule) in limit.check() {
        add(PolicyPath::Limit(owner.clone(), part), rule);
    }
}

// === impl Outage ===

impl Outage {
    /// Name in files and settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outage::Closed => "closed",
            Outage::Open => "open",
            Outage::Local => "local",
        }
    }

    /// Mode of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Outage> {
        [Outage::Closed, Outage::Open, Outage::Local].into_iter().find(|outage| outage.name() == name)
    }
}

/// Checks the name of a plan; `field` names it in the violation.
///
/// # Errors
///
/// Rule that the name breaks.
pub fn check_plan(plan: &str, field: &str) -> Result<(), Violation> {
    let rule = || format!("a plan must match [a-z0-9][a-z0-9_.-]{{0,63}}; {} bytes were sent", plan.len());
    if is_name(plan) { Ok(()) } else { Err(Violation::new(field, rule())) }
}

/// Returns whether a text is the key of an entry or the name of a plan.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || b"_.-".contains(&byte);
    text.len() <= 64 && text.bytes().next().is_some_and(plain) && text.bytes().all(inner)
}

/// Returns whether a text has 1 to `most` bytes and no control characters.
pub(super) fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Key of a map, or `?` where it breaks its rule.
fn shown(key: &str) -> &str {
    if is_name(key) { key } else { "?" }
}

#[cfg(test)]
pub(crate) mod tests;

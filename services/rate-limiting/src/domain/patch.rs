//! A change of a policy: the fields that take another value.

use std::collections::BTreeMap;

use keyplane_contracts::Violations;

use super::{Entry, Limit, Outage, Policy, PolicyId};

/// Change of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// The domain.
    pub domain: Option<String>,
    /// What the caller takes the entries for: they can't be changed, and must be equal.
    pub entries: Option<Vec<Entry>>,
    /// The default limit.
    pub limit: Option<Limit>,
    /// The limits by plan.
    pub plans: Limits,
    /// The limits by tenant.
    pub tenants: Limits,
    /// The outage policy; within, none is the service's setting.
    pub outage: Option<Option<Outage>>,
    /// Whether hits are charged afterwards.
    pub post_charge: Option<bool>,
    /// The lease.
    pub lease: Option<u64>,
}

/// Change of a map of limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Limits {
    /// Sets these keys, and keeps all others.
    Merge(BTreeMap<String, Limit>),
    /// Sets these keys, and removes all others.
    Replace(BTreeMap<String, Limit>),
}

// === impl Limits ===

impl Limits {
    fn apply(&self, limits: &mut BTreeMap<String, Limit>) {
        match self {
            Limits::Merge(set) => limits.extend(set.clone()),
            Limits::Replace(set) => limits.clone_from(set),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::Merge(BTreeMap::new())
    }
}

// === impl Patch ===

impl Patch {
    /// What becomes of `policy`. Notes each rule that it breaks, and that the entries would change.
    pub(crate) fn apply(&self, mut policy: Policy, violations: &mut Violations) -> Policy {
        if self.entries.as_ref().is_some_and(|entries| *entries != policy.entries) {
            violations.add("policy.entries", Patch::IMMUTABLE);
        }
        if let Some(domain) = &self.domain {
            policy.domain.clone_from(domain);
        }
        self.plans.apply(&mut policy.plans);
        self.tenants.apply(&mut policy.tenants);
        policy.limit = self.limit.unwrap_or(policy.limit);
        policy.outage = self.outage.unwrap_or(policy.outage);
        policy.post_charge = self.post_charge.unwrap_or(policy.post_charge);
        policy.lease = self.lease.unwrap_or(policy.lease);
        policy.check("policy", violations);
        policy
    }

    /// Notes each rule that it breaks whatever the policy is.
    pub(crate) fn check(&self, violations: &mut Violations) {
        // What is not given is such that no rule about both is broken by it.
        let tenant = Entry { key: "tenant".to_owned(), value: None };
        let entries = self.entries.clone().filter(|entries| !entries.is_empty()).unwrap_or_else(|| vec![tenant]);
        let Ok(id) = PolicyId::parse("any", "") else { return };
        let any = Policy { limit: Limit::per(Limit::MOST, Limit::SHORTEST), ..Policy::blank(id, entries) };
        self.apply(any, violations);
    }

    /// What is told to who would change the entries.
    pub(crate) const IMMUTABLE: &'static str = "can't be changed: make another policy";
}

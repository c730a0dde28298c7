//! Change of a policy: its new fields.

use std::collections::BTreeMap;

use super::{Entry, Limit, Outage, Policy, PolicyId, PolicyPath, PolicyViolation};

/// Change of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// New domain.
    pub domain: Option<String>,
    /// Entries as the caller knows them: they are immutable, and must be equal.
    pub entries: Option<Vec<Entry>>,
    /// New default limit.
    pub limit: Option<Limit>,
    /// Change of the limits by plan.
    pub plans: Limits,
    /// Change of the limits by tenant.
    pub tenants: Limits,
    /// New outage mode; an inner none is the service's setting.
    pub outage: Option<Option<Outage>>,
    /// True if hits over the limit are charged.
    pub post_charge: Option<bool>,
    /// New lease.
    pub lease: Option<u64>,
}

/// Change of a map of limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Limits {
    /// Sets these keys and keeps all others.
    Merge(BTreeMap<String, Limit>),
    /// Sets these keys and removes all others.
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
    /// Changed policy, and the rules that it breaks.
    pub(crate) fn apply(&self, mut policy: Policy) -> (Policy, Vec<PolicyViolation>) {
        let changes_entries = self.entries.as_ref().is_some_and(|entries| *entries != policy.entries);
        let immutable = || PolicyViolation { path: PolicyPath::Entries, rule: Patch::IMMUTABLE.to_owned() };
        let mut broken: Vec<_> = changes_entries.then(immutable).into_iter().collect();
        if let Some(domain) = &self.domain {
            policy.domain.clone_from(domain);
        }
        self.plans.apply(&mut policy.plans);
        self.tenants.apply(&mut policy.tenants);
        policy.limit = self.limit.unwrap_or(policy.limit);
        policy.outage = self.outage.unwrap_or(policy.outage);
        policy.post_charge = self.post_charge.unwrap_or(policy.post_charge);
        policy.lease = self.lease.unwrap_or(policy.lease);
        broken.extend(policy.check());
        (policy, broken)
    }

    /// Rules that the change breaks, whatever the policy is.
    pub(crate) fn check(&self) -> Vec<PolicyViolation> {
        // Fields that the change leaves out have values that break no rule together with others.
        let tenant = Entry { key: "tenant".to_owned(), value: None };
        let entries = self.entries.clone().filter(|entries| !entries.is_empty()).unwrap_or_else(|| vec![tenant]);
        let Ok(id) = PolicyId::parse("any", "") else { return Vec::new() };
        let any = Policy { limit: Limit::per(Limit::MOST, Limit::SHORTEST), ..Policy::blank(id, entries) };
        self.apply(any).1
    }

    /// Rule that a change of the entries breaks.
    pub(crate) const IMMUTABLE: &'static str = "can't be changed: make another policy";
}

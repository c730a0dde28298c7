//! Catalog: the policies in force, indexed by id and by descriptor.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _};

use super::{Descriptor, Limit, Meter, Origin, Policy, PolicyId};

/// Policies in force, and the plan of each tenant. Immutable: a change makes another catalog.
#[derive(Debug, Default)]
pub struct Catalog {
    policies: BTreeMap<PolicyId, Arc<Compiled>>,
    matches: HashMap<CompactString, Vec<Pattern>>,
    plans: HashMap<String, (String, Origin)>,
    version: u64,
}

/// Policy, ready for use.
#[derive(Debug)]
pub struct Compiled {
    /// Policy as given.
    pub policy: Policy,
    /// Figures so far; a changed policy keeps them.
    pub figures: Arc<Figures>,
    default: Arc<Rule>,
    plans: HashMap<String, Arc<Rule>>,
    tenants: HashMap<String, Arc<Rule>>,
}

/// Limit of a policy.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// Limit.
    pub limit: Limit,
    /// Meter of the limit; none where nothing is counted.
    pub meter: Option<Meter>,
    /// `tenant`, `plan:<plan>`, `default` or `request`.
    pub name: Box<str>,
}

/// Policy, and the one of its limits that applies.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Policy.
    pub compiled: Arc<Compiled>,
    /// Limit.
    pub rule: Arc<Rule>,
}

/// Decisions of a policy, counted.
#[derive(Debug, Default)]
pub struct Figures {
    /// Admitted calls.
    pub admitted: AtomicU64,
    /// Denied calls.
    pub denied: AtomicU64,
    /// Denied calls that the denial cache answered.
    pub denied_from_cache: AtomicU64,
    /// Calls that a limit in shadow mode would have denied.
    pub shadow_denied: AtomicU64,
    /// Calls answered while the store was unavailable.
    pub outage: AtomicU64,
    /// Hits admitted from leases.
    pub leased: AtomicU64,
}

/// Policies that can't be used together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Several policies have one id.
    #[error("two policies have the id {0}")]
    Twice(PolicyId),
    /// Too many policies.
    #[error("{0} policies exceed the maximum of {max}", max = Catalog::MOST)]
    TooMany(usize),
}

/// Policies of one domain and one list of keys whose entries name values at the same indexes.
#[derive(Debug, Default)]
struct Pattern {
    /// True for each entry that names a value.
    exact: Vec<bool>,
    /// Policies by those values.
    policies: HashMap<CompactString, Vec<Arc<Compiled>>>,
}

// === impl Catalog ===

impl Catalog {
    /// Most policies.
    pub const MOST: usize = 10_000;
    /// Most policies that are made through the API.
    pub const MOST_OF_API: usize = 1_000;

    /// Merges the policies and plans of file and API; those of the API take precedence. Policies keep their figures from `before`.
    ///
    /// # Errors
    ///
    /// Policies of one source with one id, or too many policies.
    pub fn new(
        sources: [Vec<Policy>; 2],
        plans: [BTreeMap<String, String>; 2],
        version: u64,
        before: Option<&Catalog>,
    ) -> Result<Catalog, CatalogError> {
        let mut policies = BTreeMap::new();
        for source in sources {
            let mut own: BTreeMap<PolicyId, Arc<Compiled>> = BTreeMap::new();
            for policy in source {
                let figures = before.and_then(|before| before.get(policy.id.as_str())).map(|old| old.figures.clone());
                let compiled = Compiled::new(policy, figures.unwrap_or_default());
                if let Some(twice) = own.insert(compiled.policy.id.clone(), Arc::new(compiled)) {
                    return Err(CatalogError::Twice(twice.policy.id.clone()));
                }
            }
            policies.extend(own);
        }
        if policies.len() > Catalog::MOST {
            return Err(CatalogError::TooMany(policies.len()));
        }
        let mut matches: HashMap<CompactString, Vec<Pattern>> = HashMap::new();
        for compiled in policies.values().filter(|compiled| !compiled.policy.domain.is_empty()) {
            let patterns = matches.entry(keys(&compiled.policy)).or_default();
            Pattern::add(patterns, compiled);
        }
        let [file, api] = plans;
        let tagged = |plans: BTreeMap<String, String>, origin| {
            plans.into_iter().map(move |(tenant, plan)| (tenant, (plan, origin)))
        };
        let plans = tagged(file, Origin::File).chain(tagged(api, Origin::Api)).collect();
        Ok(Catalog { policies, matches, plans, version })
    }

    /// Policy by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Compiled>> {
        self.policies.get(id)
    }

    /// Policies, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policies.values()
    }

    /// Policies that follow `after`, by id; at most `size`.
    #[must_use]
    pub fn after(&self, after: Option<&PolicyId>, size: usize) -> Vec<Arc<Compiled>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.policies
            .range::<PolicyId, _>((start, Bound::Unbounded))
            .take(size)
            .map(|(_, policy)| policy.clone())
            .collect()
    }

    /// Version, which grows with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Plan of a tenant, and its origin.
    #[must_use]
    pub fn plan(&self, tenant: &str) -> Option<(&str, Origin)> {
        self.plans.get(tenant).map(|(plan, origin)| (plan.as_str(), *origin))
    }

    /// Policies that match a descriptor: those with its domain and keys. Policies that name its value of a key take precedence over
    /// those that match any value; earlier keys count more. Policies with equal entries all apply.
    ///
    /// Takes O(patterns of these keys), however many policies there are.
    #[must_use]
    pub fn matching(&self, domain: &str, descriptor: &Descriptor) -> &[Arc<Compiled>] {
        let keys = descriptor.entries.iter().map(|(key, _)| key.as_str());
        let Some(patterns) = self.matches.get(&joined(domain, keys)) else { return &[] };
        let values = || descriptor.entries.iter().map(|(_, value)| value.as_str());
        let matching = patterns.iter().find_map(|pattern| pattern.policies.get(&pattern.key(values())));
        matching.map_or(&[], Vec::as_slice)
    }

    /// Limit of `compiled` that applies to a descriptor: the tenant's, else its plan's, else the default.
    #[must_use]
    pub fn apply(&self, compiled: &Arc<Compiled>, descriptor: &Descriptor) -> Applied {
        let tenant = descriptor.tenant();
        let own = tenant.and_then(|tenant| compiled.tenants.get(tenant));
        let plan = || compiled.plans.get(self.plan(tenant?)?.0);
        let rule = own.or_else(plan).unwrap_or(&compiled.default);
        Applied { compiled: compiled.clone(), rule: rule.clone() }
    }
}

// === impl Compiled ===

impl Compiled {
    /// Policy outside of any catalog, for a limit that comes with a request.
    #[must_use]
    pub fn alone(policy: Policy) -> Compiled {
        Compiled::new(policy, Arc::default())
    }

    fn new(policy: Policy, figures: Arc<Figures>) -> Compiled {
        let plans = policy.plans.iter().map(|(plan, limit)| (plan.clone(), Rule::new(*limit, &format!("plan:{plan}"))));
        let tenants = policy.tenants.iter().map(|(tenant, limit)| (tenant.clone(), Rule::new(*limit, "tenant")));
        let (plans, tenants) = (plans.collect(), tenants.collect());
        Compiled { figures, default: Rule::new(policy.limit, "default"), plans, tenants, policy }
    }
}

// === impl Rule ===

impl Rule {
    /// Limit with a name.
    #[must_use]
    pub fn new(limit: Limit, name: &str) -> Arc<Rule> {
        Arc::new(Rule { limit, meter: limit.meter(), name: name.into() })
    }
}

// === impl Pattern ===

impl Pattern {
    /// Adds a policy to the patterns of its domain and keys, the most exact first.
    fn add(patterns: &mut Vec<Pattern>, compiled: &Arc<Compiled>) {
        let exact: Vec<bool> = compiled.policy.entries.iter().map(|entry| entry.value.is_some()).collect();
        let index = patterns.partition_point(|pattern| pattern.exact > exact);
        if patterns.get(index).is_none_or(|pattern| pattern.exact != exact) {
            patterns.insert(index, Pattern { exact, policies: HashMap::new() });
        }
        let values = compiled.policy.entries.iter().map(|entry| entry.value.as_deref().unwrap_or_default());
        let key = patterns[index].key(values);
        patterns[index].policies.entry(key).or_default().push(compiled.clone());
    }

    /// Joins the values at the indexes where the pattern names one.
    fn key<'a>(&self, values: impl Iterator<Item = &'a str>) -> CompactString {
        joined("", values.zip(&self.exact).filter(|(_, exact)| **exact).map(|(value, _)| value))
    }
}

fn keys(policy: &Policy) -> CompactString {
    joined(&policy.domain, policy.entries.iter().map(|entry| entry.key.as_str()))
}

/// Joins texts without control characters; no two lists give the same text.
fn joined<'a>(first: &str, others: impl Iterator<Item = &'a str>) -> CompactString {
    let mut text = CompactString::from(first);
    for other in others {
        text.push('\0');
        text.push_str(other);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;
    use crate::domain::policy::tests::policy;

    fn with_values(id: &str, entries: &[(&str, &str)]) -> Policy {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let mut policy = policy(id, &keys);
        for (entry, (_, value)) in policy.entries.iter_mut().zip(entries) {
            entry.value = (!value.is_empty()).then(|| (*value).to_owned());
        }
        policy
    }

    fn catalog(policies: Vec<Policy>) -> Catalog {
        Catalog::new([policies, Vec::new()], Default::default(), 1, None).unwrap()
    }

    fn descriptor(entries: &[(&str, &str)]) -> Descriptor {
        Descriptor::new(entries.iter().copied())
    }

    fn matching(catalog: &Catalog, entries: &[(&str, &str)]) -> Vec<String> {
        let matching = catalog.matching("keyplane", &descriptor(entries));
        matching.iter().map(|compiled| compiled.policy.id.to_string()).collect()
    }

    #[test]
    fn named_values_take_precedence_and_equal_policies_all_apply() {
        let catalog = catalog(vec![
            with_values("any", &[("tenant", ""), ("route", "")]),
            with_values("chat", &[("tenant", ""), ("route", "/chat")]),
            with_values("chat-day", &[("tenant", ""), ("route", "/chat")]),
            with_values("acme", &[("tenant", "acme"), ("route", "")]),
            with_values("order", &[("route", ""), ("tenant", "")]),
        ]);
        assert_eq!(matching(&catalog, &[("tenant", "x"), ("route", "/home")]), ["any"]);
        assert_eq!(matching(&catalog, &[("tenant", "x"), ("route", "/chat")]), ["chat", "chat-day"]);
        assert_eq!(matching(&catalog, &[("tenant", "acme"), ("route", "/chat")]), ["acme"], "earlier keys count more");
        assert_eq!(matching(&catalog, &[("route", "/chat"), ("tenant", "x")]), ["order"]);
        assert!(matching(&catalog, &[("tenant", "x")]).is_empty());
        assert!(catalog.matching("other", &descriptor(&[("tenant", "x"), ("route", "/")])).is_empty());
    }

    #[test]
    fn policy_without_domain_matches_no_descriptor() {
        let mut named = policy("named", &["tenant"]);
        named.domain.clear();
        let catalog = catalog(vec![named]);
        assert!(catalog.get("named").is_some());
        for domain in ["", "keyplane"] {
            assert!(catalog.matching(domain, &descriptor(&[("tenant", "x")])).is_empty(), "{domain:?}");
        }
    }

    #[test]
    fn limit_of_a_tenant_precedes_its_plans_and_the_default() {
        let limit = |amount| Limit::per(amount, Duration::from_secs(1));
        let mut policy = policy("p", &["tenant"]);
        policy.plans.insert("gold".to_owned(), limit(100));
        policy.tenants.insert("acme".to_owned(), limit(1000));
        let plans = ["acme", "globex"].map(|tenant| (tenant.to_owned(), "gold".to_owned())).into();
        let catalog = Catalog::new([vec![policy], Vec::new()], [plans, BTreeMap::new()], 1, None).unwrap();
        let applied = |tenant: &str| {
            let applied = catalog.apply(catalog.get("p").unwrap(), &descriptor(&[("tenant", tenant)]));
            (applied.rule.limit.amount, applied.rule.name.to_string())
        };
        assert_eq!(applied("acme"), (1000, "tenant".to_owned()));
        assert_eq!(applied("globex"), (100, "plan:gold".to_owned()));
        assert_eq!(applied("initech"), (10, "default".to_owned()));
    }

    #[test]
    fn api_overrides_the_file_and_figures_stay() {
        let before = catalog(vec![policy("p", &["tenant"])]);
        before.get("p").unwrap().figures.admitted.store(7, Ordering::Relaxed);
        let mut hiding = policy("p", &["tenant"]);
        hiding.origin = Origin::Api;
        let plans = |plan: &str| [("acme".to_owned(), plan.to_owned())].into();
        let sources = [vec![policy("p", &["tenant"])], vec![hiding]];
        let catalog = Catalog::new(sources, [plans("free"), plans("gold")], 2, Some(&before)).unwrap();
        let compiled = catalog.get("p").unwrap();
        assert_eq!((compiled.policy.origin, compiled.figures.admitted.load(Ordering::Relaxed)), (Origin::Api, 7));
        assert_eq!(catalog.plan("acme"), Some(("gold", Origin::Api)));
        let twice =
            Catalog::new([vec![policy("p", &["a"]), policy("p", &["b"])], Vec::new()], Default::default(), 1, None);
        assert_eq!(twice.unwrap_err().to_string(), "two policies have the id p");
    }
}

//! Tests of the rules of a policy.

use std::time::Duration;

use super::*;
use crate::domain::PolicyNames;

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
    let names = PolicyNames { plans: "by_plan", tenants: "by_tenant", period: "time" };
    let named = |PolicyViolation { path, rule }| format!("{}: {rule}", path.named("policy", &names));
    policy.check().into_iter().map(named).collect()
}

#[test]
fn every_broken_rule_of_a_policy_is_reported() {
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
            "policy.by_plan: need an entry with the key tenant",
            "policy.by_tenant: need an entry with the key tenant",
            "policy.by_plan: a plan must match [a-z0-9][a-z0-9_.-]{0,63}; 4 bytes were sent",
            "policy.by_tenant[acme].amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
            "policy.lease: must be at most the smallest burst; 11 was sent",
        ]
    );
}

#[test]
fn outage_modes_have_names() {
    assert_eq!(Outage::named("local"), Some(Outage::Local));
    assert_eq!(Outage::named("Open"), None);
}

//! Limiter without gRPC: policies, store and memory, in this process.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyplane_rate_limiting::app::limiter::{
    Call, CallLimit, Charge, ChargeKind, Idempotency, Limiter, Outcome, Verdict,
};
use keyplane_rate_limiting::domain::{Catalog, Descriptor, Entry, Limit, Origin, Outage, Policy, PolicyId};
use keyplane_rate_limiting::store::{BatchSettings, BucketStore, RecordKey};
use keyplane_valkey::{App, Settings, Valkey};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One instance.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) limiter: Limiter,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) valkey: Valkey,
}

/// Policy by its id, keys and limit; `change` sets further fields.
pub(crate) fn policy(id: &str, keys: &[&str], limit: Limit, change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy {
        id: PolicyId::parse(id, "").expect("an id"),
        domain: String::new(),
        entries: keys.iter().map(|key| Entry { key: (*key).to_owned(), value: None }).collect(),
        limit,
        plans: BTreeMap::new(),
        tenants: BTreeMap::new(),
        outage: Some(Outage::Closed),
        post_charge: false,
        lease: 0,
        version: 0,
        origin: Origin::File,
        updated: None,
    };
    change(&mut policy);
    policy
}

/// `amount` a second.
pub(crate) fn per_second(amount: u64) -> Limit {
    Limit::per(amount, Duration::from_secs(1))
}

/// `amount` an hour: what is charged stays charged while a test runs.
pub(crate) fn per_hour(amount: u64) -> Limit {
    Limit::per(amount, Duration::from_hours(1))
}

/// `amount` a month: not one of a few hundred leaks away while a test runs.
pub(crate) fn per_month(amount: u64) -> Limit {
    Limit::per(amount, Limit::LONGEST)
}

/// Usual policies: `user` for each user, `tenant` for each tenant.
pub(crate) fn usual(user: Limit, tenant: Limit) -> Vec<Policy> {
    vec![policy("user", &["tenant", "user"], user, |_| ()), policy("tenant", &["tenant"], tenant, |_| ())]
}

pub(crate) fn catalog(policies: Vec<Policy>) -> Arc<Catalog> {
    Arc::new(Catalog::new([policies, Vec::new()], Default::default(), 1, None).expect("policies that go together"))
}

/// Instance on the server that the tests of this binary share.
pub(crate) async fn start(app: &str, policies: Vec<Policy>) -> Instance {
    start_at(app, &keyplane_testkit::valkey().url(), policies).await
}

/// Several instances on that server.
pub(crate) async fn several(app: &str, policies: Vec<Policy>, count: usize) -> Vec<Instance> {
    let mut instances = Vec::new();
    for _ in 0..count {
        instances.push(start(app, policies.clone()).await);
    }
    instances
}

pub(crate) async fn start_at(app: &str, url: &str, policies: Vec<Policy>) -> Instance {
    start_with(app, url, policies, Duration::from_millis(500)).await
}

/// Instance with another longest wait for the store.
pub(crate) async fn start_with(app: &str, url: &str, policies: Vec<Policy>, patience: Duration) -> Instance {
    start_batched(app, url, policies, patience, BatchSettings::default()).await
}

/// Instance with other batches.
pub(crate) async fn start_batched(
    app: &str,
    url: &str,
    policies: Vec<Policy>,
    patience: Duration,
    batches: BatchSettings,
) -> Instance {
    let mut settings = Settings::new(url);
    settings.command_timeout = patience;
    let valkey = Valkey::connect(&settings, App::new(app).expect("an app")).expect("settings of a store");
    valkey.wait_ready(PATIENCE).await.expect("the store answers");
    let limiter = Limiter::new(BucketStore::new(valkey.clone(), batches), Outage::Closed);
    keyplane_testkit::eventually("it hears the bells", PATIENCE, async || limiter.hears_bells()).await;
    Instance { limiter, catalog: catalog(policies), valkey }
}

// === impl Instance ===

impl Instance {
    /// Call of `user` of the tenant `acme` on these policies.
    pub(crate) fn call(&self, user: &str, policies: &[&str], cost: u64) -> Call {
        let limits = policies.iter().map(|id| self.limit(user, id, cost)).collect();
        Call { limits, idempotency: None }
    }

    pub(crate) fn limit(&self, user: &str, policy: &str, cost: u64) -> CallLimit {
        let compiled = self.catalog.get(policy).expect("a policy of the test");
        let entries = compiled.policy.entries.iter().map(|entry| {
            let value = if entry.key == "tenant" { "acme" } else { user };
            (entry.key.clone(), value.to_owned())
        });
        let descriptor = Descriptor::new(entries);
        CallLimit::new(self.limiter.store(), &self.catalog, compiled, descriptor, cost)
    }

    /// Key of the record of a user's charge under a request id.
    pub(crate) fn record(&self, user: &str, policy: &str, id: &str) -> RecordKey {
        self.limiter.store().record_key(&self.limit(user, policy, 1).owner, id)
    }

    pub(crate) async fn acquire(&self, user: &str, policies: &[&str], cost: u64) -> Outcome {
        self.limiter.acquire(&self.call(user, policies, cost)).await.expect("the store is there")
    }

    /// Hits that a user has left of a policy.
    pub(crate) async fn remaining(&self, user: &str, policy: &str) -> u64 {
        let outcome = self.limiter.peek(&self.call(user, &[policy], 1)).await.expect("the store is there");
        outcome.limits[0].remaining
    }
}

/// Call under a request id, remembered for 10 s, and its charge.
pub(crate) fn remembered(mut call: Call, kind: ChargeKind, id: &str) -> (Call, Charge) {
    let cost = call.limits[0].cost;
    let charge = Charge::new(kind, id, cost, &call);
    call.idempotency = Some(Idempotency {
        request_id: id.to_owned(),
        fingerprint: charge.fingerprint(),
        ttl: Duration::from_secs(10),
    });
    (call, charge)
}

pub(crate) fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    outcome.limits.iter().map(|state| state.verdict).collect()
}

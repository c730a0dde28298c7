//! Denial cache of instances.

use std::time::{Duration, Instant};

use keyplane_rate_limiting::app::limiter::{Charge, ChargeKind, LONGEST_DENIAL, Source};
use keyplane_testkit::{eventually, toolbox};

use crate::rig::{self, Instance, PATIENCE, per_month, per_second, remembered, usual};

/// Calls of the script that a server has seen.
pub(crate) fn scripts(server: &keyplane_engine::Valkey) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).expect("it counts its commands");
    let line = info.text().and_then(|text| text.lines().find(|line| line.starts_with("cmdstat_evalsha:")));
    let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_key_is_denied_without_asking_the_store() {
    let server = keyplane_engine::Valkey::builder(&toolbox()).start().expect("a server of its own");
    let instance = rig::start_at(&keyplane_testkit::app(), &server.url(), usual(per_month(5), per_month(100))).await;
    assert!(instance.acquire("u", &["user"], 5).await.admitted);
    let (before, began) = (scripts(&server), Instant::now());
    let mut longest = Duration::ZERO;
    for _ in 0..10_000 {
        let denied = instance.acquire("u", &["user", "tenant"], 1).await;
        assert!(!denied.admitted);
        longest = longest.max(denied.retry_after().expect("there will be room"));
    }
    let (calls, took) = (scripts(&server) - before, began.elapsed());
    println!("10,000 refusals: {calls} calls of the script, in {took:?}");
    // Once a second, and when the bells begin to be heard, both owners are asked, and the tenant is given back what it
    // was charged.
    let most = 3 * (3 + took.as_secs());
    assert!(calls <= most, "{calls} calls in {took:?}, {most} at most");
    assert!(longest <= Duration::from_hours(31 * 24) / 5, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_denial_reports_a_sufficient_wait() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_second(40), per_month(100))).await;
    assert!(instance.acquire("u", &["user"], 40).await.admitted);
    let (mut from_cache, deadline) = (0, Instant::now() + PATIENCE);
    while from_cache < 20 {
        assert!(Instant::now() < deadline, "only {from_cache} denials came from the cache");
        // A sleep that took too long may leave room for more than one hit.
        while instance.acquire("u", &["user"], 1).await.admitted {}
        let denied = instance.acquire("u", &["user"], 1).await;
        // On a busy machine there may be room again between the two.
        if let Some(wait) = denied.retry_after() {
            tokio::time::sleep(wait).await;
            assert!(instance.acquire("u", &["user"], 1).await.admitted, "{denied:?}");
            from_cache += usize::from(denied.source == Source::Cache);
        }
    }
}

/// Fills the bucket of `u` and lets `instances[1]` know; the charge that filled it, by `instances[0]`.
async fn full(instances: &[Instance], kind: ChargeKind, id: &str) -> Charge {
    let limits = [instances[0].limit("u", "user", 1)];
    instances[0].limiter.reset(&limits).await.expect("the store is there");
    let (call, charge) = remembered(instances[0].call("u", &["user"], 5), kind, id);
    assert!(instances[0].limiter.acquire(&call).await.expect("the store is there").admitted);
    // The reset's ring, and that of the first connection, may come in between.
    let knows = async || instances[1].acquire("u", &["user"], 1).await.source == Source::Cache;
    eventually("the other instance knows that it is full", PATIENCE, knows).await;
    charge
}

/// Time until the other instance admits.
async fn admits(instances: &[Instance], most: Duration) -> Duration {
    let began = Instant::now();
    let admits = async || instances[1].acquire("u", &["user"], 1).await.admitted;
    eventually("the other instance admits", most, admits).await;
    began.elapsed()
}

/// Two instances, of which the second is known to hear the bells.
async fn listening() -> Vec<Instance> {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(5), per_month(100)), 2).await;
    let heard = async || {
        for round in 0..3 {
            full(&instances, ChargeKind::Acquired, &format!("h-{round}")).await;
            let limits = [instances[0].limit("u", "user", 1)];
            instances[0].limiter.reset(&limits).await.expect("the store is there");
            let took = admits(&instances, PATIENCE).await;
            if took > LONGEST_DENIAL / 2 {
                return Err(took);
            }
        }
        Ok(())
    };
    eventually("the bells are heard", PATIENCE, heard).await;
    instances
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_bucket_is_open_at_other_instances() {
    let instances = listening().await;
    for act in ["refund", "commit", "take back", "reset"] {
        let kind = if act == "commit" { ChargeKind::Reserved } else { ChargeKind::Acquired };
        let charge = full(&instances, kind, act).await;
        let (instance, limits) = (&instances[0], [instances[0].limit("u", "user", 2)]);
        match act {
            "refund" => drop(instance.limiter.refund(&charge, 2, "", &instance.catalog).await.expect("it is known")),
            "commit" => drop(instance.limiter.commit(&charge, 3, &instance.catalog).await.expect("it is reserved")),
            "reset" => drop(instance.limiter.reset(&limits).await.expect("the store is there")),
            _ => drop(instance.limiter.take_back(&limits).await.expect("the store is there")),
        }
        // Without a bell it would take a second.
        println!("{act}: the other instance admits after {:?}", admits(&instances, LONGEST_DENIAL * 2 / 3).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_ring_denies_no_call_for_more_than_a_second() {
    let instances = listening().await;
    full(&instances, ChargeKind::Acquired, "r-1").await;
    let key = instances[0].limit("u", "user", 1).key;
    keyplane_testkit::valkey().command(&["DEL", key.as_str()]).expect("it is deleted without a ring");
    assert!(!instances[1].acquire("u", &["user"], 1).await.admitted, "it can't know");
    let took = admits(&instances, PATIENCE).await;
    assert!(took <= Duration::from_millis(1500), "it took {took:?}");
}

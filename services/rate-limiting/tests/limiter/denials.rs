//! What instances remember of full buckets.

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
async fn whoever_hammers_at_a_full_bucket_costs_the_store_next_to_nothing() {
    let server = keyplane_engine::Valkey::builder(&toolbox()).start().expect("a server of its own");
    let one = rig::start_at(&keyplane_testkit::app(), &server.url(), usual(per_month(5), per_month(100))).await;
    assert!(one.acquire("u", &["user"], 5).await.admitted);
    let (before, began) = (scripts(&server), Instant::now());
    let mut longest = Duration::ZERO;
    for _ in 0..10_000 {
        let refused = one.acquire("u", &["user", "tenant"], 1).await;
        assert!(!refused.admitted);
        longest = longest.max(refused.retry_after().expect("there will be room"));
    }
    let (calls, took) = (scripts(&server) - before, began.elapsed());
    println!("10,000 refusals: {calls} calls of the script, in {took:?}");
    // Once a second, and when the bells begin to be heard, both owners are asked, and the tenant is given back what it was
    // charged.
    let most = 3 * (3 + took.as_secs());
    assert!(calls <= most, "{calls} calls in {took:?}, {most} at most");
    assert!(longest <= Duration::from_hours(31 * 24) / 5, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_tells_from_memory_is_enough_to_wait() {
    let one = rig::start(&keyplane_testkit::app(), usual(per_second(40), per_month(100))).await;
    assert!(one.acquire("u", &["user"], 40).await.admitted);
    let mut remembered = 0;
    for _ in 0..30 {
        // What was slept too long adds up.
        while one.acquire("u", &["user"], 1).await.admitted {}
        let refused = one.acquire("u", &["user"], 1).await;
        if refused.source == Source::Cache {
            remembered += 1;
        }
        // On a busy machine the moment may have come between the two.
        if let Some(wait) = refused.retry_after() {
            tokio::time::sleep(wait).await;
            assert!(one.acquire("u", &["user"], 1).await.admitted, "{refused:?}");
        }
    }
    assert!(remembered > 20, "{remembered} were told from memory");
}

/// Fills the bucket of `u` and lets `instances[1]` know; the charge that filled it, by `instances[0]`.
async fn full(instances: &[Instance], kind: ChargeKind, id: &str) -> Charge {
    let slots = [instances[0].slot("u", "user", 1)];
    instances[0].limiter.reset(&slots).await.expect("the store is there");
    let (call, charge) = remembered(instances[0].call("u", &["user"], 5), kind, id);
    assert!(instances[0].limiter.acquire(&call).await.expect("the store is there").admitted);
    // The reset's ring, and that of the first connection, may come in between.
    let knows = async || instances[1].acquire("u", &["user"], 1).await.source == Source::Cache;
    eventually("the other instance knows that it is full", PATIENCE, knows).await;
    charge
}

/// How long it takes until the other instance admits.
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
            let slots = [instances[0].slot("u", "user", 1)];
            instances[0].limiter.reset(&slots).await.expect("the store is there");
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
async fn a_bucket_that_one_instance_empties_is_open_at_the_others() {
    let instances = listening().await;
    for what in ["refund", "commit", "take back", "reset"] {
        let kind = if what == "commit" { ChargeKind::Reserved } else { ChargeKind::Acquired };
        let charge = full(&instances, kind, what).await;
        let (one, slots) = (&instances[0], [instances[0].slot("u", "user", 2)]);
        match what {
            "refund" => drop(one.limiter.refund(&charge, 2, "", &one.catalog).await.expect("it is known")),
            "commit" => drop(one.limiter.commit(&charge, 3, &one.catalog).await.expect("it is reserved")),
            "reset" => drop(one.limiter.reset(&slots).await.expect("the store is there")),
            _ => drop(one.limiter.take_back(&slots).await.expect("the store is there")),
        }
        // Without a bell it would take a second.
        println!("{what}: the other instance admits after {:?}", admits(&instances, LONGEST_DENIAL * 2 / 3).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_is_missed_refuses_nobody_for_more_than_a_second() {
    let instances = listening().await;
    full(&instances, ChargeKind::Acquired, "r-1").await;
    let key = instances[0].slot("u", "user", 1).key;
    keyplane_testkit::valkey().command(&["DEL", key.as_str()]).expect("it is gone, and nobody rings");
    assert!(!instances[1].acquire("u", &["user"], 1).await.admitted, "it can't know");
    let took = admits(&instances, PATIENCE).await;
    assert!(took <= Duration::from_millis(1500), "it took {took:?}");
}

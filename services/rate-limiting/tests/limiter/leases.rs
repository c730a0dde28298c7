//! Leases of instances.

use std::time::{Duration, Instant};

use keyplane_rate_limiting::app::limiter::Source;
use keyplane_rate_limiting::domain::{Limit, Policy};
use keyplane_testkit::eventually;

use crate::rig::{self, Instance, PATIENCE, per_month, per_second, policy};

/// `hot` with a lease, `plain` without, and `tenant` for both.
fn policies(hot: Limit, lease: u64, tenant: Limit) -> Vec<Policy> {
    vec![
        policy("hot", &["tenant", "user"], hot, |policy| policy.lease = lease),
        policy("plain", &["tenant", "user"], hot, |_| ()),
        policy("tenant", &["tenant"], tenant, |_| ()),
    ]
}

/// Calls admitted in `time`, and those that a lease admitted.
async fn hammer(instance: &Instance, time: Duration) -> (u64, u64) {
    let began = Instant::now();
    let (mut admitted, mut leased) = (0, 0);
    while began.elapsed() < time {
        let outcome = instance.acquire("u", &["hot"], 1).await;
        admitted += u64::from(outcome.admitted);
        leased += u64::from(outcome.source == Source::Lease);
        tokio::task::yield_now().await;
    }
    (admitted, leased)
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_exceed_the_limit_by_at_most_their_leases() {
    let (lease, burst, amount) = (20, 200, 400);
    let hot = Limit { burst, ..per_second(amount) };
    let instances = rig::several(&keyplane_testkit::app(), policies(hot, lease, per_month(1)), 3).await;
    let began = Instant::now();
    let hammering = instances.iter().map(|instance| {
        let instance = instance.clone();
        tokio::spawn(async move { hammer(&instance, Duration::from_millis(1500)).await })
    });
    let (mut admitted, mut leased) = (0, 0);
    for hammering in hammering.collect::<Vec<_>>() {
        let (by_one, by_lease) = hammering.await.expect("an instance");
        (admitted, leased) = (admitted + by_one, leased + by_lease);
    }
    let leaked = began.elapsed().as_micros() as u64 * amount / 1_000_000 + 1;
    println!("{admitted} were admitted, {leased} of them by leases; {burst} and {leaked} are the limit");
    assert!(admitted <= burst + leaked + lease * 3, "{admitted} of {burst}, {leaked} and 3 leases of {lease}");
    assert!(admitted + 3 * lease >= burst, "{admitted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn most_calls_under_the_limit_need_no_store() {
    let policies = policies(per_second(1_000_000), 100, per_month(1));
    let instances = rig::several(&keyplane_testkit::app(), policies, 3).await;
    let hammering = instances.iter().map(|instance| {
        let instance = instance.clone();
        tokio::spawn(async move { hammer(&instance, Duration::from_millis(300)).await })
    });
    for hammering in hammering.collect::<Vec<_>>() {
        let (admitted, leased) = hammering.await.expect("an instance");
        println!("{leased} of {admitted} by a lease");
        assert!(admitted > 100 && leased * 100 >= admitted * 95, "{leased} of {admitted} by a lease");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leased_hits_were_charged() {
    let instances = rig::several(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1)), 3).await;
    let mut admitted = 0;
    for round in 0..400 {
        admitted += u64::from(instances[round % 3].acquire("u", &["hot"], 1).await.admitted);
    }
    let held: u64 = instances.iter().map(|instance| instance.limiter.memory(&instance.limit("u", "hot", 1)).1).sum();
    assert!(admitted <= 100 && admitted + held + 30 >= 100, "{admitted} were admitted, {held} are held");
    assert_eq!(instances[0].remaining("u", "hot").await, 0, "charged before they are spent");
}

#[tokio::test]
async fn cost_over_the_lease_asks_the_store() {
    let instance = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1))).await;
    assert_eq!(instance.acquire("u", &["hot"], 4).await.source, Source::Store, "and six are leased");
    assert_eq!(instance.acquire("u", &["hot"], 6).await.source, Source::Lease);
    assert_eq!(instance.acquire("u", &["hot"], 30).await.source, Source::Store);
    assert_eq!(instance.remaining("u", "hot").await, 60);
    assert!(instance.acquire("u", &["hot"], 57).await.admitted);
    let last = instance.acquire("u", &["hot"], 3).await;
    assert!(last.admitted && last.source == Source::Store, "no room for a lease, but for the call: {last:?}");
    assert!(!instance.acquire("u", &["hot"], 1).await.admitted);
}

#[tokio::test]
async fn lease_is_put_back_when_another_limit_denies() {
    let instance = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(2))).await;
    assert!(instance.acquire("u", &["hot", "tenant"], 1).await.admitted);
    assert!(instance.acquire("u", &["hot", "tenant"], 1).await.admitted);
    let limit = instance.limit("u", "hot", 1);
    for _ in 0..5 {
        assert!(!instance.acquire("u", &["hot", "tenant"], 1).await.admitted, "the tenant's limit is full");
    }
    assert_eq!(instance.limiter.memory(&limit).1, 8, "10 were taken, 2 are spent");
    assert_eq!(instance.remaining("u", "hot").await, 90);
    // A call that another limit denies leases nothing: its charge is given back, and the lease is kept.
    assert!(!instance.acquire("v", &["hot", "tenant"], 1).await.admitted);
    let other = instance.limit("v", "hot", 1);
    let (left, held) = (instance.remaining("v", "hot").await, instance.limiter.memory(&other).1);
    assert!(left + held <= 100 && left >= 90, "{left} are left, {held} are held");
}

#[tokio::test]
async fn lease_expires_and_a_reset_drops_it() {
    let instance = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1))).await;
    let limit = instance.limit("u", "hot", 1);
    assert!(instance.acquire("u", &["hot"], 1).await.admitted);
    assert_eq!(instance.limiter.memory(&limit).1, 9);
    instance.limiter.reset(std::slice::from_ref(&limit)).await.expect("the store is there");
    assert_eq!((instance.limiter.memory(&limit).1, instance.remaining("u", "hot").await), (0, 100));
    assert!(instance.acquire("u", &["hot"], 1).await.admitted);
    let over = async || instance.limiter.memory(&limit).1 == 0;
    eventually("what is not spent is lost", PATIENCE, over).await;
    assert_eq!(instance.acquire("u", &["hot"], 1).await.source, Source::Store);
}

#[tokio::test]
async fn policies_without_a_lease_lease_nothing() {
    let instance = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1))).await;
    for spent in 1..=5 {
        assert_eq!(instance.acquire("u", &["plain"], 1).await.source, Source::Store);
        assert_eq!(instance.remaining("u", "plain").await, 100 - spent);
    }
    assert_eq!(instance.limiter.memory(&instance.limit("u", "plain", 1)).1, 0);
}

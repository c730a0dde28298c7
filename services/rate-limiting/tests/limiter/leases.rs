//! What instances take in advance.

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

/// How many were admitted in `time`, and how many of those by a lease.
async fn hammer(one: &Instance, time: Duration) -> (u64, u64) {
    let began = Instant::now();
    let (mut admitted, mut leased) = (0, 0);
    while began.elapsed() < time {
        let outcome = one.acquire("u", &["hot"], 1).await;
        admitted += u64::from(outcome.admitted);
        leased += u64::from(outcome.source == Source::Lease);
        tokio::task::yield_now().await;
    }
    (admitted, leased)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_for_each_instance_is_all_that_is_over_the_limit() {
    let (lease, burst, amount) = (20, 200, 400);
    let hot = Limit { burst, ..per_second(amount) };
    let instances = rig::several(&keyplane_testkit::app(), policies(hot, lease, per_month(1)), 3).await;
    let began = Instant::now();
    let hammering = instances.iter().map(|one| {
        let one = one.clone();
        tokio::spawn(async move { hammer(&one, Duration::from_millis(1500)).await })
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
async fn under_the_limit_most_calls_need_no_store() {
    let policies = policies(per_second(1_000_000), 100, per_month(1));
    let instances = rig::several(&keyplane_testkit::app(), policies, 3).await;
    let hammering = instances.iter().map(|one| {
        let one = one.clone();
        tokio::spawn(async move { hammer(&one, Duration::from_millis(300)).await })
    });
    for hammering in hammering.collect::<Vec<_>>() {
        let (admitted, leased) = hammering.await.expect("an instance");
        println!("{leased} of {admitted} by a lease");
        assert!(admitted > 100 && leased * 100 >= admitted * 95, "{leased} of {admitted} by a lease");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_leased_was_charged() {
    let instances = rig::several(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1)), 3).await;
    let mut admitted = 0;
    for round in 0..400 {
        admitted += u64::from(instances[round % 3].acquire("u", &["hot"], 1).await.admitted);
    }
    let held: u64 = instances.iter().map(|one| one.limiter.memory(&one.slot("u", "hot", 1)).1).sum();
    assert!(admitted <= 100 && admitted + held + 30 >= 100, "{admitted} were admitted, {held} are held");
    assert_eq!(instances[0].remaining("u", "hot").await, 0, "charged before they are spent");
}

#[tokio::test]
async fn a_cost_over_what_is_left_is_asked_for() {
    let one = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1))).await;
    assert_eq!(one.acquire("u", &["hot"], 4).await.source, Source::Store, "and six are leased");
    assert_eq!(one.acquire("u", &["hot"], 6).await.source, Source::Lease);
    assert_eq!(one.acquire("u", &["hot"], 30).await.source, Source::Store);
    assert_eq!(one.remaining("u", "hot").await, 60);
    assert!(one.acquire("u", &["hot"], 57).await.admitted);
    let last = one.acquire("u", &["hot"], 3).await;
    assert!(last.admitted && last.source == Source::Store, "no room for a lease, but for the call: {last:?}");
    assert!(!one.acquire("u", &["hot"], 1).await.admitted);
}

#[tokio::test]
async fn what_another_limit_refuses_is_put_back() {
    let one = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(2))).await;
    assert!(one.acquire("u", &["hot", "tenant"], 1).await.admitted);
    assert!(one.acquire("u", &["hot", "tenant"], 1).await.admitted);
    let slot = one.slot("u", "hot", 1);
    for _ in 0..5 {
        assert!(!one.acquire("u", &["hot", "tenant"], 1).await.admitted, "the tenant's limit is full");
    }
    assert_eq!(one.limiter.memory(&slot).1, 8, "10 were taken, 2 are spent");
    assert_eq!(one.remaining("u", "hot").await, 90);
    // Nobody leases by a call that is refused elsewhere: what it asked for is given back, and the lease is kept.
    assert!(!one.acquire("v", &["hot", "tenant"], 1).await.admitted);
    let other = one.slot("v", "hot", 1);
    let (left, held) = (one.remaining("v", "hot").await, one.limiter.memory(&other).1);
    assert!(left + held <= 100 && left >= 90, "{left} are left, {held} are held");
}

#[tokio::test]
async fn a_lease_ends_and_a_reset_takes_it() {
    let one = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1))).await;
    let slot = one.slot("u", "hot", 1);
    assert!(one.acquire("u", &["hot"], 1).await.admitted);
    assert_eq!(one.limiter.memory(&slot).1, 9);
    one.limiter.reset(std::slice::from_ref(&slot)).await.expect("the store is there");
    assert_eq!((one.limiter.memory(&slot).1, one.remaining("u", "hot").await), (0, 100));
    assert!(one.acquire("u", &["hot"], 1).await.admitted);
    let over = async || one.limiter.memory(&slot).1 == 0;
    eventually("what is not spent is lost", PATIENCE, over).await;
    assert_eq!(one.acquire("u", &["hot"], 1).await.source, Source::Store);
}

#[tokio::test]
async fn nothing_is_leased_unless_a_policy_says_so() {
    let one = rig::start(&keyplane_testkit::app(), policies(per_month(100), 10, per_month(1))).await;
    for spent in 1..=5 {
        assert_eq!(one.acquire("u", &["plain"], 1).await.source, Source::Store);
        assert_eq!(one.remaining("u", "plain").await, 100 - spent);
    }
    assert_eq!(one.limiter.memory(&one.slot("u", "plain", 1)).1, 0);
}

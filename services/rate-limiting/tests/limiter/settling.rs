//! Settlements of several owners: one outcome under races and failures.

use std::sync::LazyLock;
use std::time::Duration;

use keyplane_engine::Cluster;
use keyplane_rate_limiting::app::limiter::{Charge, ChargeKind, Settled};
use keyplane_rate_limiting::error::Error;
use keyplane_rate_limiting::store::BatchSettings;
use keyplane_testkit::{Fault, FaultProxy, eventually, toolbox};

use crate::rig::{self, Instance, PATIENCE, per_month, remembered, start_batched, start_with, usual};

const LONG: Duration = Duration::from_secs(5);
/// Batches of one group, so that two callers reach two owners in any order.
const SINGLE: BatchSettings = BatchSettings { groups: 1, calls: 4, queue: 10_000 };

/// Three instances of limits of a user and a tenant.
async fn three(url: &str, batches: BatchSettings) -> Vec<Instance> {
    let (app, mut instances) = (keyplane_testkit::app(), Vec::new());
    for _ in 0..3 {
        instances.push(start_batched(&app, url, usual(per_month(1000), per_month(10_000)), LONG, batches).await);
    }
    instances
}

async fn charged(instance: &Instance, user: &str, kind: ChargeKind, cost: u64, id: &str) -> Charge {
    let (call, charge) = remembered(instance.call(user, &["user", "tenant"], cost), kind, id);
    assert!(instance.limiter.acquire(&call).await.expect("the store answers").admitted);
    charge
}

/// Hits that stand charged to a user, and to the tenant.
async fn stands(instance: &Instance, user: &str) -> (u64, u64) {
    (1000 - instance.remaining(user, "user").await, 10_000 - instance.remaining("", "tenant").await)
}

/// Races commit against cancel, 300 times: one of them wins at both owners, and both callers get the same answer.
async fn race_settlements(instances: &[Instance]) {
    let mut tenant = 0;
    for round in 0..300 {
        let user = format!("u-{}", round % 40);
        let before = stands(&instances[0], &user).await.0;
        let charge = charged(&instances[0], &user, ChargeKind::Reserved, 10, &format!("r-{round}")).await;
        let settle = |at: usize, cost| {
            let (instance, charge) = (instances[at].clone(), charge.clone());
            tokio::spawn(async move { instance.limiter.commit(&charge, cost, &instance.catalog).await })
        };
        let (commit, cancel) = (settle(1, 20), settle(2, 0));
        let (commit, cancel) = (commit.await.expect("a caller"), cancel.await.expect("a caller"));
        let cost = match (&commit, &cancel) {
            (Ok(Settled { charged: 20, .. }), Err(Error::AlreadySettled { cost: 20 })) => 20,
            (Err(Error::AlreadySettled { cost: 0 }), Ok(Settled { charged: 0, .. })) => 0,
            other => panic!("round {round}: {other:?}"),
        };
        tenant += cost;
        assert_eq!(stands(&instances[0], &user).await, (before + cost, tenant), "round {round}: settled at {cost}");
    }
}

/// Three refunds at once of what is enough for two, 300 times.
async fn race_refunds(instances: &[Instance]) {
    let mut tenant = 0;
    for round in 0..300 {
        let user = format!("u-{}", round % 40);
        let before = stands(&instances[0], &user).await.0;
        let charge = charged(&instances[0], &user, ChargeKind::Acquired, 10, &format!("a-{round}")).await;
        let refunds = instances.iter().enumerate().map(|(number, instance)| {
            let (instance, charge) = (instance.clone(), charge.clone());
            tokio::spawn(
                async move { instance.limiter.refund(&charge, 4, &format!("f-{number}"), &instance.catalog).await },
            )
        });
        let mut left = Vec::new();
        for refund in refunds.collect::<Vec<_>>() {
            left.push(match refund.await.expect("a caller") {
                Ok(settled) => settled.charged,
                Err(Error::RefundExceedsCharge { left: 2 }) => 100,
                Err(error) => panic!("round {round}: {error:?}"),
            });
        }
        left.sort_unstable();
        assert_eq!(left, [2, 6, 100], "round {round}: two of them, and one too many");
        tenant += 2;
        assert_eq!(stands(&instances[0], &user).await, (before + 2, tenant), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_settlements_have_one_outcome_at_every_owner() {
    race_settlements(&three(&keyplane_testkit::valkey().url(), SINGLE).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_refunds_agree_at_every_owner() {
    race_refunds(&three(&keyplane_testkit::valkey().url(), SINGLE).await).await;
}

/// Three primaries, which no test stops.
static CLUSTER: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start(&toolbox(), 3).expect("a cluster of three primaries"));

#[tokio::test(flavor = "multi_thread")]
async fn racing_settlements_on_a_cluster_have_one_outcome_at_every_owner() {
    race_settlements(&three(&CLUSTER.url(), BatchSettings::default()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_refunds_on_a_cluster_agree_at_every_owner() {
    race_refunds(&three(&CLUSTER.url(), BatchSettings::default()).await).await;
}

/// Behind a proxy that makes a call take long enough to do something in between; and one without.
async fn slow_and_direct(delay: Duration) -> (FaultProxy, Instance, Instance) {
    let valkey = keyplane_testkit::valkey();
    let (app, proxy) = (keyplane_testkit::app(), FaultProxy::to_port(valkey.port()));
    let policies = || usual(per_month(1000), per_month(10_000));
    let slow = start_batched(&app, &proxy.url(&valkey.url()), policies(), LONG, SINGLE).await;
    let direct = start_with(&app, &valkey.url(), policies(), LONG).await;
    proxy.set(Fault::Delay(delay));
    (proxy, slow, direct)
}

/// Waits until the first owner has decided; whether the other one has not followed yet.
async fn is_decided(direct: &Instance, id: &str) -> bool {
    let is_in = |policy: &str, state: &str| {
        let record = direct.record("u", policy, id);
        let reply = keyplane_testkit::valkey().command(&["GETRANGE", record.as_str(), "16", "16"]);
        reply.expect("the server answers").text() == Some(state)
    };
    eventually("the first owner has decided", PATIENCE, async || is_in("tenant", "S")).await;
    is_in("user", "o")
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_goes_on_without_its_caller() {
    let (_proxy, slow, direct) = slow_and_direct(Duration::from_millis(100)).await;
    let charge = charged(&direct, "u", ChargeKind::Reserved, 10, "r-1").await;
    let limiter = (slow.limiter.clone(), slow.catalog.clone(), charge.clone());
    let caller = tokio::spawn(async move { limiter.0.commit(&limiter.2, 4, &limiter.1).await });
    assert!(is_decided(&direct, "r-1").await, "the user's part follows");
    caller.abort();
    let both = async || stands(&direct, "u").await == (4, 4);
    eventually("the other owner has followed", PATIENCE, both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_completes_once_its_other_owner_answers() {
    let (proxy, slow, direct) = slow_and_direct(Duration::from_millis(100)).await;
    let charge = charged(&direct, "u", ChargeKind::Reserved, 10, "r-1").await;
    let limiter = (slow.limiter.clone(), slow.catalog.clone(), charge.clone());
    let caller = tokio::spawn(async move { limiter.0.commit(&limiter.2, 4, &limiter.1).await });
    assert!(is_decided(&direct, "r-1").await, "the user's part follows");
    proxy.set(Fault::Cut);
    let answer = caller.await.expect("a caller");
    assert!(answer.is_err(), "the other owner was not reached: {answer:?}");
    assert_eq!(stands(&direct, "u").await, (10, 4));
    proxy.set(Fault::Pass);
    let both = async || stands(&direct, "u").await == (4, 4);
    eventually("the instance completes it by itself", PATIENCE, both).await;
}

/// Checks that the charge keeps its own limit, and that the rest is charged by the one in force.
#[tokio::test]
async fn commit_above_its_estimate_counts_by_both_limits() {
    for reset in [true, false] {
        let instance = rig::start(&keyplane_testkit::app(), usual(per_month(1001), per_month(10_000))).await;
        assert!(instance.acquire("u", &["user"], 1).await.admitted);
        if reset {
            // From then on its charges have their places in their records.
            instance.limiter.reset(&instance.call("u", &["user"], 1).limits).await.expect("it is reset");
            assert!(instance.acquire("u", &["user"], 1).await.admitted);
        }
        let mut charges = Vec::new();
        for number in 0..12 {
            let (call, charge) =
                remembered(instance.call("u", &["user"], 10), ChargeKind::Reserved, &format!("r-{number}"));
            assert!(instance.limiter.acquire(&call).await.expect("the store answers").admitted);
            charges.push(charge);
        }
        let today = rig::catalog(usual(per_month(100), per_month(10_000)));
        let (last, others) = charges.split_last().expect("there are some");
        for charge in others {
            let settled = instance.limiter.commit(charge, 11, &today).await.expect("it is settled");
            assert_eq!((settled.charged, settled.limits.len()), (11, 1), "reset: {reset}");
        }
        // 132 hits are there, and 200 are the bound.
        let settled = instance.limiter.commit(last, 500, &today).await.expect("it is settled");
        assert_eq!(settled.charged, 10 + 68, "reset: {reset}, and there was room for 68: {settled:?}");
    }
}

/// However often it is repeated while the store is silent.
#[tokio::test(flavor = "multi_thread")]
async fn settlement_is_completed_by_one_task() {
    let (valkey, app) = (keyplane_testkit::valkey(), keyplane_testkit::app());
    let (proxy, policies) = (FaultProxy::to_port(valkey.port()), usual(per_month(1000), per_month(10_000)));
    let instance = start_with(&app, &proxy.url(&valkey.url()), policies, Duration::from_millis(500)).await;
    let charge = charged(&instance, "u", ChargeKind::Reserved, 10, "r-1").await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    proxy.set(Fault::BlackHole);
    let callers = (0..100).map(|_| instance.limiter.commit(&charge, 4, &instance.catalog));
    let answers = futures::future::join_all(callers).await;
    let unknown = |answer: &Result<Settled, Error>| answer.as_ref().is_err_and(Error::outcome_unknown);
    assert!(answers.iter().all(unknown), "{answers:?}");
    let more = tasks().saturating_sub(before);
    assert!(more < 50, "{more} tasks are left of 100 callers who want the same");
    proxy.set(Fault::Pass);
    let both = async || stands(&instance, "u").await == (4, 4);
    eventually("it is completed", PATIENCE, both).await;
}

/// Checks that a later settlement completes that of an instance that died between two owners, even if it is rejected.
#[test]
fn later_settlement_completes_that_of_a_dead_instance() {
    let here = &crate::script::RUNTIME;
    for next in ["commit", "cancel", "other"] {
        let dying = tokio::runtime::Runtime::new().expect("a runtime");
        let (_proxy, slow, direct) = dying.block_on(slow_and_direct(Duration::from_millis(150)));
        let app = direct.valkey.app().to_string();
        let charge = dying.block_on(charged(&direct, "u", ChargeKind::Reserved, 10, "r-1"));
        let limiter = (slow.limiter.clone(), slow.catalog.clone(), charge.clone());
        dying.spawn(async move { limiter.0.commit(&limiter.2, 4, &limiter.1).await });
        assert!(dying.block_on(is_decided(&direct, "r-1")), "the user's part follows");
        dying.shutdown_background();
        here.block_on(async {
            let instance = rig::start(&app, usual(per_month(1000), per_month(10_000))).await;
            assert_eq!(stands(&instance, "u").await, (10, 4), "half of it is settled");
            let cost = match next {
                "commit" => 4,
                "cancel" => 0,
                _ => 7,
            };
            let settled = instance.limiter.commit(&charge, cost, &instance.catalog).await;
            match &settled {
                Ok(settled) => assert_eq!((next, settled.charged), ("commit", 4)),
                Err(Error::AlreadySettled { cost: 4 }) => assert_ne!(next, "commit"),
                other => panic!("{next}: {other:?}"),
            }
            assert_eq!(stands(&instance, "u").await, (4, 4), "{next}: all of it is");
        });
    }
}

/// Checks that the next refund exactly completes one that reached a single owner.
#[test]
fn next_refund_completes_the_previous_one() {
    let here = &crate::script::RUNTIME;
    let dying = tokio::runtime::Runtime::new().expect("a runtime");
    let (_proxy, slow, direct) = dying.block_on(slow_and_direct(Duration::from_millis(150)));
    let app = direct.valkey.app().to_string();
    let charge = dying.block_on(charged(&direct, "u", ChargeKind::Acquired, 10, "a-1"));
    let limiter = (slow.limiter, slow.catalog, charge.clone());
    dying.spawn(async move { limiter.0.refund(&limiter.2, 3, "f-1", &limiter.1).await });
    let half = async || stands(&direct, "u").await == (10, 7);
    dying.block_on(async { eventually("the first owner has decided", PATIENCE, half).await });
    dying.shutdown_background();
    here.block_on(async {
        let instance = rig::start(&app, usual(per_month(1000), per_month(10_000))).await;
        assert_eq!(stands(&instance, "u").await, (10, 7), "half of it is refunded");
        let more = instance.limiter.refund(&charge, 8, "f-2", &instance.catalog).await;
        assert!(matches!(more, Err(Error::RefundExceedsCharge { left: 7 })), "{more:?}");
        assert_eq!(stands(&instance, "u").await, (7, 7), "and completed by the rejected caller");
        let refunded = instance.limiter.refund(&charge, 2, "f-2", &instance.catalog).await.expect("7 are left");
        let returned: Vec<u64> = refunded.limits.iter().map(|limit| limit.returned).collect();
        assert_eq!((refunded.charged, returned), (5, vec![5, 5]));
        assert_eq!(stands(&instance, "u").await, (5, 5));
        let other = instance.limiter.refund(&charge, 1, "f-2", &instance.catalog).await;
        assert!(matches!(other, Err(Error::RequestIdReused)), "an id is for one refund: {other:?}");
    });
}

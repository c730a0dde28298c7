//! On a cluster: owners on several nodes, and a node that is lost.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use keyplane_engine::Cluster;
use keyplane_rate_limiting::domain::Policy;
use keyplane_testkit::{eventually, toolbox};

use crate::concurrent::{contend, until_refused};
use crate::denials::scripts;
use crate::rig::{Instance, PATIENCE, per_month, remembered, start_with, usual};

/// Three primaries, which no test may stop.
static CLUSTER: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start(&toolbox(), 3).expect("a cluster of three primaries"));

/// Patience on a busy machine.
const LONG: Duration = Duration::from_secs(2);

async fn several(cluster: &Cluster, policies: Vec<Policy>, patience: Duration) -> Vec<Instance> {
    let (app, mut instances) = (keyplane_testkit::app(), Vec::new());
    for _ in 0..3 {
        instances.push(start_with(&app, &cluster.url(), policies.clone(), patience).await);
    }
    instances
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_on_several_nodes_are_charged_together_or_not_at_all() {
    let instances = several(&CLUSTER, usual(per_month(30), per_month(100)), LONG).await;
    let key = |user: &str, policy: &str| instances[0].limit(user, policy, 1).key;
    let limits = (0..5).map(|user| key(&format!("u-{user}"), "user")).chain([key("", "tenant")]);
    let mut nodes: Vec<_> =
        limits.map(|key| CLUSTER.primary_of(key.as_str()).expect("the cluster answers").expect("a primary")).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert!(nodes.len() > 1, "the owners are on several nodes");
    contend(&instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_admits_exactly_and_batches_calls_for_a_hot_key() {
    let instances = several(&CLUSTER, usual(per_month(2000), per_month(1)), LONG).await;
    let calls = || CLUSTER.nodes().iter().map(scripts).sum::<u64>();
    let before = calls();
    assert_eq!(until_refused(&instances, |_| 1).await, 2000);
    let calls = calls() - before;
    println!("2000 were admitted on one key by {calls} calls of the script");
    assert!(calls < 1500, "{calls} calls: groups of one slot go together");
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_and_resetting_reach_every_owner() {
    let instances = several(&CLUSTER, usual(per_month(30), per_month(100)), LONG).await;
    let (instance, other) = (&instances[0], &instances[1]);
    let kind = keyplane_rate_limiting::app::limiter::ChargeKind::Reserved;
    let (call, charge) = remembered(instance.call("u", &["user", "tenant"], 20), kind, "r-1");
    assert!(instance.limiter.acquire(&call).await.expect("the cluster answers").admitted);
    let again = other.limiter.acquire(&call).await.expect("the cluster answers");
    assert!(again.admitted && again.replayed, "{again:?}");
    assert_eq!(other.limiter.commit(&charge, 5, &other.catalog).await.expect("it is reserved").charged, 5);
    assert_eq!((instance.remaining("u", "user").await, instance.remaining("u", "tenant").await), (25, 95));
    let limits = [instance.limit("u", "user", 1), instance.limit("u", "tenant", 1)];
    assert_eq!(instance.limiter.reset(&limits).await.expect("the cluster answers"), 2);
    assert_eq!((other.remaining("u", "user").await, other.remaining("u", "tenant").await), (30, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_primary_loses_only_unreplicated_charges() {
    const ROOM: u64 = 100_000;
    let cluster = Cluster::builder(&toolbox()).replicas(1).node_timeout(Duration::from_secs(1)).start();
    let cluster = cluster.expect("a cluster with replicas");
    // Less than a failover takes: a longer wait sees only a pause.
    let patience = Duration::from_millis(300);
    let instances = several(&cluster, usual(per_month(ROOM), per_month(1)), patience).await;
    let key = instances[0].limit("u", "user", 1).key;
    let primary = cluster.primary_of(key.as_str()).expect("the cluster answers").expect("a primary");
    // Callers go on until they get no answer.
    let callers = (0..16).map(|caller| {
        let instance = instances[caller % 3].clone();
        tokio::spawn(async move {
            let (call, mut sum) = (instance.call("u", &["user"], 1), 0);
            while let Ok(outcome) = instance.limiter.acquire(&call).await {
                assert!(outcome.admitted, "there is room for all: {outcome:?}");
                sum += 1;
            }
            sum
        })
    });
    let callers: Vec<_> = callers.collect();
    let busy = async |charged: u64| {
        let some = async || instances[0].remaining("u", "user").await < ROOM - charged;
        eventually("the callers are busy", PATIENCE, some).await;
    };
    busy(1000).await;
    // From here on nothing is passed on.
    let (dying, replica) = (cluster.node(primary), cluster.node(cluster.primaries() + primary));
    replica.pause().expect("it is paused");
    dying.command(&["CLIENT", "KILL", "TYPE", "replica"]).expect("its connection is closed");
    let charged = ROOM - instances[0].remaining("u", "user").await;
    busy(charged + 500).await;
    dying.kill().expect("it is killed");
    let killed = Instant::now();
    replica.resume().expect("it goes on");
    let mut admitted = 0_u64;
    for caller in callers {
        admitted += caller.await.expect("a caller");
    }
    let stopped = killed.elapsed();
    let peek = instances[0].call("u", &["user"], 1);
    let left = eventually("its replica takes over", PATIENCE, async || instances[0].limiter.peek(&peek).await);
    let left = left.await.limits[0].remaining;
    let charged = ROOM - left;
    let (lost, back) = (admitted.saturating_sub(charged), killed.elapsed());
    println!(
        "{admitted} were admitted, {charged} are charged: {lost} lost; no answer after {stopped:?}, back after {back:?}"
    );
    assert!(charged >= 1000 && lost >= 400, "{charged} are charged of {admitted}: what was passed on, and no more");
    for instance in &instances {
        eventually("each instance asks the new one", PATIENCE, async || instance.limiter.peek(&peek).await).await;
    }
    // From then on it is exact again: what is admitted in all is over by what was lost, and no more.
    let rest = left - 10;
    let all = async || instances[1].limiter.acquire(&instances[1].call("u", &["user"], rest)).await;
    assert!(eventually("the others follow", PATIENCE, all).await.admitted);
    assert_eq!(until_refused(&instances, |_| 1).await, 10);
    assert!(admitted + rest + 10 <= ROOM + lost, "{admitted} before, {rest} and 10 after, of {ROOM}, with {lost} lost");
}

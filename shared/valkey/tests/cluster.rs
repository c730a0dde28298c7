//! Cluster of three primaries.

mod common;

use std::time::Duration;

use common::{COUNT, connect, eventually, key, settings};
use keyplane_engine::Cluster;
use keyplane_valkey::{Feature, Key, Need, Script};

static CHANGE: Script = Script::new(
    "test.change",
    "redis.call('HSET', KEYS[1], 'at', ARGV[2]) redis.call('PEXPIRE', KEYS[1], 60000) \
     redis.call('PUBLISH', ARGV[1], KEYS[1]) return redis.call('HLEN', KEYS[1])",
);

fn cluster() -> Cluster {
    Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_reach_the_node_that_owns_the_key() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    valkey.probe(&[Need::Scripts, Need::Streams, Need::Pubsub]).await.expect("a plain server has these");
    valkey.check_layout(Feature::SESSION, 1).await.expect("recorded");
    let bells = valkey.doorbells(Feature::SESSION);
    let keys: Vec<Key> = (0..60).map(|n| key(&valkey, &format!("u-{n}"))).collect();
    let mut listening: Vec<_> = keys.iter().map(|key| bells.listen(key)).collect();
    for bell in &mut listening {
        bell.rung().await;
    }
    for (key, bell) in keys.iter().zip(&mut listening) {
        // Nodes pass a PUBLISH on at most once, and not at all while a link of a young cluster is being made.
        eventually("a publish reaches every node", async || {
            let reply = valkey.run(&CHANGE, &[key], &[(&bells.channel(key)).into(), 7i64.into()]).await;
            assert_eq!(reply.expect("changed").int(), Ok(1));
            tokio::time::timeout(Duration::from_millis(500), bell.rung()).await.is_ok()
        })
        .await;
        assert_eq!(valkey.hgetall(key).await.expect("read").len(), 1);
    }
    for node in cluster.nodes() {
        let held = node.command(&["DBSIZE"]).expect("counted");
        assert!(matches!(held, keyplane_engine::Reply::Int(keys) if keys > 0), "each node holds some: {held:?}");
    }

    cluster.node(1).command(&["SCRIPT", "FLUSH"]).expect("flushed");
    for key in &keys {
        valkey.run(&CHANGE, &[key], &[(&bells.channel(key)).into(), 8i64.into()]).await.expect("loaded again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_one_slot_have_one_place() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    let of = |part: &str| Key::tagged(valkey.app(), Feature::SESSION, "acme", "u-1", &[part]);
    let other = key(&valkey, "u-2");
    assert!(valkey.place(&of("a")).is_some());
    assert_eq!(valkey.place(&of("a")), valkey.place(&of("b")));
    assert_ne!(valkey.place(&of("a")), valkey.place(&other));
    let reply = valkey.run_together(&COUNT, &[&of("a"), &of("b")], &[]).await.expect("counted");
    assert_eq!(reply.int(), Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_slot_is_followed_and_nothing_runs_twice() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    let key = key(&valkey, "u-1");
    assert_eq!(valkey.run(&COUNT, &[&key], &[]).await.expect("counted").int(), Ok(1));
    move_slot(&cluster, key.as_str());
    // The key itself did not move along, which is simple and tells the two nodes apart.
    for expected in 1..=5 {
        assert_eq!(valkey.run(&COUNT, &[&key], &[]).await.expect("counted").int(), Ok(expected));
    }
    assert!(valkey.get(&key).await.expect("read").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_node_is_used_again() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    let keys: Vec<Key> = (0..30).map(|n| key(&valkey, &format!("u-{n}"))).collect();
    for key in &keys {
        valkey.run(&COUNT, &[key], &[]).await.expect("counted");
    }
    cluster.node(2).command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).expect("killed");
    for key in &keys {
        eventually("every slot is served again", async || valkey.run(&COUNT, &[key], &[]).await.is_ok()).await;
    }
}

/// Gives the slot of `key` to another node, without its keys.
fn move_slot(cluster: &Cluster, key: &str) {
    let keyplane_engine::Reply::Int(slot) = cluster.node(0).command(&["CLUSTER", "KEYSLOT", key]).expect("a slot")
    else {
        panic!("a slot is a number");
    };
    let slot = slot.to_string();
    let ids: Vec<String> = cluster.nodes().iter().map(|node| text(node.command(&["CLUSTER", "MYID"]))).collect();
    let owner = (0..3).find(|index| owns(cluster, *index, key)).expect("an owner");
    let target = (owner + 1) % 3;
    let owner_node = cluster.node(owner);
    owner_node.command(&["DEL", key]).expect("deleted");
    cluster.node(target).command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[target]]).expect("given");
    for index in 0..3 {
        cluster.node(index).command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[target]]).expect("told");
    }
}

fn owns(cluster: &Cluster, index: usize, key: &str) -> bool {
    cluster.node(index).command(&["EXISTS", key]).is_ok()
}

fn text(reply: Result<keyplane_engine::Reply, keyplane_engine::Error>) -> String {
    reply.expect("a reply").text().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_is_followed() {
    let toolbox = keyplane_testkit::toolbox();
    let cluster = Cluster::builder(&toolbox).primaries(3).replicas(1).start().expect("a cluster");
    let valkey = connect(&settings(&cluster.url())).await;
    let keys: Vec<Key> = (0..30).map(|n| key(&valkey, &format!("u-{n}"))).collect();
    for key in &keys {
        valkey.run(&COUNT, &[key], &[]).await.expect("counted");
    }
    cluster.node(3).command(&["CLUSTER", "FAILOVER"]).expect("asked");
    eventually("the replica is the primary", async || {
        text(cluster.node(3).command(&["INFO", "replication"])).contains("role:master")
    })
    .await;
    for key in &keys {
        eventually("every slot is served again", async || valkey.run(&COUNT, &[key], &[]).await.is_ok()).await;
    }

    cluster.node(1).kill().expect("killed");
    for key in &keys {
        eventually("a killed primary is replaced", async || valkey.run(&COUNT, &[key], &[]).await.is_ok()).await;
    }
}

//! Redirections within a cluster, and the number of queries for its slots.

mod common;

use std::time::{Duration, Instant};

use common::{COUNT, connect, eventually, key, settings};
use keyplane_engine::{Cluster, Reply, Valkey as Server};

/// Time for a dozen looks at the slots, if each call caused one.
const WINDOW: Duration = Duration::from_secs(2);

fn text(node: &Server, command: &[&str]) -> String {
    node.command(command).expect("a reply").text().expect("text").to_owned()
}

/// Number in one of a node's statistics; 0 if missing.
fn count(node: &Server, section: &str, name: &str) -> u64 {
    let stats = text(node, &["INFO", section]);
    let found = stats.lines().find_map(|line| line.strip_prefix(name));
    found.map_or(0, |rest| rest.split([',', '\r']).next().and_then(|count| count.parse().ok()).expect("a count"))
}

/// Connections that a node has accepted since its start.
fn connections(node: &Server) -> u64 {
    count(node, "stats", "total_connections_received:")
}

/// Queries to a node for the owners of slots.
fn questions(node: &Server) -> u64 {
    count(node, "commandstats", "cmdstat_cluster|slots:calls=")
}

/// Takes all slots from the second node, like a node that has just joined.
async fn empty_second(cluster: &Cluster) {
    let (first, second) = (cluster.node(0), cluster.node(1));
    second.command(&["CLUSTER", "FLUSHSLOTS"]).expect("flushed");
    for command in ["DELSLOTSRANGE", "ADDSLOTSRANGE"] {
        first.command(&["CLUSTER", command, "8192", "16383"]).expect("taken over");
    }
    for node in cluster.nodes() {
        eventually("both nodes agree", async || {
            let info = text(node, &["CLUSTER", "INFO"]);
            ["cluster_state:ok", "cluster_slots_assigned:16384", "cluster_size:1"]
                .iter()
                .all(|part| info.contains(part))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_slot_is_served_throughout() {
    let cluster = Cluster::start(&keyplane_testkit::toolbox(), 2).expect("a cluster");
    empty_second(&cluster).await;
    let valkey = connect(&settings(&cluster.url())).await;
    let key = key(&valkey, "u-1");
    let slot = cluster.slot(key.as_str()).expect("a slot").to_string();
    let (old, new) = (cluster.node(0), cluster.node(1));
    let ids = [old, new].map(|node| text(node, &["CLUSTER", "MYID"]));
    new.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]).expect("set");
    old.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]).expect("set");

    // The key is at neither, so the old owner sends us to the new one (ASK), which no list of owners names yet.
    let mut count = 0;
    let mut run = async || {
        count += 1;
        let reply = valkey.run(&COUNT, &[&key], &[]).await.unwrap_or_else(|error| panic!("call {count}: {error}"));
        assert_eq!(reply.int(), Ok(count));
        assert!(valkey.get(&key).await.expect("read").is_some());
    };
    run().await;
    let (start, before) = (Instant::now(), connections(new));
    while start.elapsed() < WINDOW {
        run().await;
        assert!(valkey.reach().is_whole(), "{}", valkey.reach());
    }
    let made = connections(new) - before;
    assert!(made < 6, "{made} connections to the new node in {WINDOW:?}, which may keep those that it has");

    for node in [new, old] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]]).expect("moved");
    }
    run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_cluster_that_is_down_do_not_each_query_its_slots() {
    let cluster = Cluster::builder(&keyplane_testkit::toolbox()).node_timeout(Duration::from_secs(1)).start();
    let cluster = cluster.expect("a cluster");
    let valkey = connect(&settings(&cluster.url())).await;
    let keys = (0..60).map(|n| key(&valkey, &format!("u-{n}")));
    let mut own = keys.filter(|key| cluster.primary_of(key.as_str()).expect("asked") == Some(0));
    let key = own.next().expect("one of 60 keys is the first node's");
    cluster.node(2).kill().expect("killed");
    let down = async || valkey.get(&key).await.is_err_and(|error| error.code() == Some("CLUSTERDOWN"));
    eventually("the others refuse as well", down).await;

    let (start, before) = (Instant::now(), questions(cluster.node(0)));
    while start.elapsed() < WINDOW {
        // That fails as well, or is refused while nodes don't agree yet.
        let _ = valkey.get(&key).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asked = questions(cluster.node(0)) - before;
    assert!((1..=10).contains(&asked), "{asked} questions in {WINDOW:?}");

    cluster.node(2).restart().expect("restarted");
    eventually("all is served again", async || valkey.reach().is_whole() && valkey.get(&key).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_node_takes_no_slot_from_the_others() {
    let cluster = Cluster::start(&keyplane_testkit::toolbox(), 2).expect("a cluster");
    empty_second(&cluster).await;
    let (first, second) = (cluster.node(0), cluster.node(1));
    second.command(&["CLUSTER", "RESET", "HARD"]).expect("reset");
    assert_eq!(second.command(&["CLUSTER", "SLOTS"]).expect("asked"), Reply::Array(Vec::new()));
    let valkey = connect(&settings(&cluster.url())).await;
    let (key, before) = (key(&valkey, "u-1"), questions(second));

    // With the first silent, the second is the only one to answer.
    first.pause().expect("paused");
    eventually("the second is asked, and again", async || {
        assert!(valkey.get(&key).await.is_err(), "nobody has it");
        assert_eq!(valkey.reach().nodes, 1, "a node that knows nobody was believed");
        questions(second) > before + 2
    })
    .await;
    first.resume().expect("resumed");
    eventually("all is served again", async || valkey.reach().is_whole() && valkey.get(&key).await.is_ok()).await;
}

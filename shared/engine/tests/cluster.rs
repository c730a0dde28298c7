//! Cluster of real servers.

use std::time::{Duration, Instant};

use keyplane_engine::{Cluster, Reply, Toolbox};

#[test]
fn three_primaries_serve_all_slots() {
    let cluster = Cluster::start(&Toolbox::find(), 3).unwrap();
    let url = cluster.url();
    assert!(url.starts_with("valkey-cluster://keyplane:"), "{url}");
    assert_eq!(url.matches("node=127.0.0.1:").count(), 2, "{url}");
    assert_eq!(url.matches('?').count(), 1, "{url}");
    let mut owners = 0;
    for key in ["a", "b", "c", "d"] {
        let slot = cluster.node(0).command(&["CLUSTER", "KEYSLOT", key]).unwrap().int().unwrap();
        let owner = usize::try_from(slot * 3 / 16_384).unwrap();
        for (index, node) in cluster.nodes().iter().enumerate() {
            let reply = node.command(&["SET", key, "v"]);
            assert_eq!(reply.is_ok(), index == owner, "{key} on node {index}: {reply:?}");
            owners += usize::from(reply.is_ok());
        }
    }
    assert_eq!(owners, 4);
}

#[test]
fn replicas_follow_their_primary() {
    let cluster = Cluster::builder(&Toolbox::find()).primaries(1).replicas(1).start().unwrap();
    cluster.node(0).command(&["SET", "k", "v"]).unwrap();
    assert_eq!(cluster.node(0).command(&["WAIT", "1", "4000"]).unwrap(), Reply::Int(1));
    let role = cluster.node(1).command(&["ROLE"]).unwrap();
    assert!(matches!(&role, Reply::Array(items) if items[0].text() == Some("slave")), "{role:?}");
}

#[test]
fn replica_takes_over_from_a_killed_and_from_a_paused_primary() {
    let cluster = Cluster::builder(&Toolbox::find()).replicas(1).node_timeout(Duration::from_secs(1)).start().unwrap();
    let keys = ["a", "b", "c"];
    let slots: Vec<u16> = keys.iter().map(|key| cluster.slot(key).unwrap()).collect();
    assert_eq!(slots, [15_495, 3_300, 7_365], "as the documentation of CLUSTER KEYSLOT has them");
    for (key, primary) in keys.iter().zip([2, 0, 1]) {
        assert_eq!(cluster.primary_of(key).unwrap(), Some(primary), "{key}");
    }

    let start = Instant::now();
    cluster.node(0).kill().unwrap();
    assert_eq!(cluster.wait_takeover("b", 0).unwrap(), 3);
    println!("a killed primary was replaced within {:?}", start.elapsed());
    cluster.node(3).command(&["SET", "b", "v"]).unwrap();

    let start = Instant::now();
    cluster.node(1).pause().unwrap();
    assert_eq!(cluster.wait_takeover("c", 1).unwrap(), 4);
    println!("a paused primary was replaced within {:?}", start.elapsed());
    cluster.node(4).command(&["SET", "c", "v"]).unwrap();
    cluster.node(1).resume().unwrap();
    assert_eq!(cluster.primary_of("c").unwrap(), Some(4), "the later election counts");
    assert_eq!(cluster.primary_of("a").unwrap(), Some(2), "nothing happened there");
}

#[test]
fn user_may_wait_if_allowed() {
    let cluster = Cluster::builder(&Toolbox::find()).primaries(1).may_wait(true).start().unwrap();
    let verdict = cluster.node(0).command(&["ACL", "DRYRUN", "keyplane", "WAIT", "0", "0"]).unwrap();
    assert_eq!(verdict.text(), Some("OK"));
    let verdict = cluster.node(0).command(&["ACL", "DRYRUN", "keyplane", "WAITAOF", "0", "0", "0"]).unwrap();
    assert!(verdict.text().unwrap_or_default().contains("no permissions"), "nothing else: {verdict:?}");
}

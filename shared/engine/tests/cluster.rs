//! A real cluster.

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

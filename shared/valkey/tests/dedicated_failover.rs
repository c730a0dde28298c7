//! Dedicated connections while their node changes its role, and `WAIT` for its replicas.

mod common;

use std::time::{Duration, Instant};

use common::{COUNT, connect, eventually, settings};
use keyplane_engine::Cluster;
use keyplane_valkey::{Dedicated, ErrorKind, Feature, Key, Need, Script, Settings, Valkey};

static APPEND: Script = Script::new(
    "test.append",
    "local id = redis.call('XADD', KEYS[1], '*', 'event', ARGV[1]) redis.call('PEXPIRE', KEYS[1], 60000) return id",
);

const BLOCK: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(20);

fn stream(valkey: &Valkey, partition: u32) -> Key {
    Key::partitioned(valkey.app(), Feature::REVOCATION, "_", &["feed"], partition)
}

fn cluster() -> Cluster {
    let toolbox = keyplane_testkit::toolbox();
    let cluster = Cluster::builder(&toolbox).primaries(3).replicas(1).may_wait(true);
    cluster.node_timeout(Duration::from_secs(1)).start().expect("a cluster")
}

async fn dedicate(valkey: &Valkey, key: &Key) -> Dedicated {
    keyplane_testkit::eventually("a connection can be made", LONG, async || valkey.dedicate(key).await).await
}

/// Connects until a read succeeds; returns the connection and the time that took.
async fn recover(valkey: &Valkey, stream: &Key) -> (Dedicated, Duration) {
    let start = Instant::now();
    let own = keyplane_testkit::eventually("the new primary is read from", LONG, async || {
        let own = valkey.dedicate(stream).await?;
        own.read(stream, "0", 1, Duration::ZERO).await.map(|_| own)
    });
    (own.await, start.elapsed())
}

async fn assert_broken_for_good(own: &Dedicated, stream: &Key) {
    for _ in 0..50 {
        let error = own.read(stream, "0", 1, BLOCK).await.expect_err("it is gone");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, None), "{error:?}");
    }
    assert!(own.is_broken());
}

/// Waits until the node holds back as many clients.
async fn blocked(node: &keyplane_engine::Valkey) {
    eventually("the read waits", async || {
        let clients = node.command(&["INFO", "clients"]).expect("asked");
        !clients.text().unwrap_or_default().contains("blocked_clients:0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_has_its_own_node_and_wait_covers_its_writes() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    valkey.probe(&[Need::Wait]).await.expect("this user may");
    let mut nodes = std::collections::BTreeSet::new();
    for partition in 0..8 {
        let stream = stream(&valkey, partition);
        let own = dedicate(&valkey, &stream).await;
        own.run(&APPEND, &[&stream], &["x".into()]).await.expect("appended, so it is the right node");
        assert_eq!(own.wait(1, LONG).await, Ok(1));
        let primary = cluster.primary_of(stream.as_str()).expect("asked").expect("there is one");
        let copy = cluster.node(primary + 3).command(&["DBSIZE"]).expect("counted");
        assert!(copy.int() > Some(0), "the replica acknowledged and has nothing: {copy:?}");
        nodes.insert(primary);
    }
    assert!(nodes.len() > 1, "eight partitions are on one node: {nodes:?}");

    let stream = stream(&valkey, 0);
    let own = dedicate(&valkey, &stream).await;
    let primary = cluster.primary_of(stream.as_str()).expect("asked").expect("there is one");
    cluster.node(primary + 3).pause().expect("paused");
    own.run(&APPEND, &[&stream], &["y".into()]).await.expect("appended");
    let start = Instant::now();
    assert_eq!(own.wait(1, Duration::from_millis(100)).await, Ok(0), "a replica that hangs has nothing");
    assert!((90..2_000).contains(&start.elapsed().as_millis()), "it waited for {:?}", start.elapsed());
    assert!(!own.is_broken());
    let before = own.wait(1, Duration::ZERO).await;
    assert_eq!(before, Ok(0), "no time at all is not for ever");
    cluster.node(primary + 3).resume().expect("resumed");
    assert_eq!(own.wait(1, LONG).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_slot_breaks_the_connection_and_the_next_goes_to_the_new_owner() {
    let cluster = Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster");
    let valkey = connect(&settings(&cluster.url())).await;
    let stream = stream(&valkey, 0);
    let own = dedicate(&valkey, &stream).await;
    let another = dedicate(&valkey, &stream).await;
    own.read(&stream, "0", 1, BLOCK).await.expect("read");

    let owner = cluster.primary_of(stream.as_str()).expect("asked").expect("there is one");
    let target = (owner + 1) % 3;
    let id = cluster.node(target).command(&["CLUSTER", "MYID"]).expect("asked");
    let (id, slot) = (id.text().expect("an id"), cluster.slot(stream.as_str()).expect("asked").to_string());
    let (read, ()) = tokio::join!(another.read(&stream, "0", 1, LONG), async {
        blocked(cluster.node(owner)).await;
        for index in [target, owner, (owner + 2) % 3] {
            cluster.node(index).command(&["CLUSTER", "SETSLOT", &slot, "NODE", id]).expect("told");
        }
    });
    let error = read.expect_err("a read that waits is turned away as well");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, Some("MOVED")), "{error:?}");
    assert_broken_for_good(&another, &stream).await;
    let error = own.read(&stream, "0", 1, BLOCK).await.expect_err("the slot is elsewhere");
    assert_eq!((error.kind(), error.code(), error.retryable()), (ErrorKind::Unavailable, Some("MOVED"), true));
    assert_broken_for_good(&own, &stream).await;

    let (own, took) = recover(&valkey, &stream).await;
    own.run(&APPEND, &[&stream], &["x".into()]).await.expect("appended");
    let held = cluster.node(target).command(&["EXISTS", stream.as_str()]).expect("it is the new owner");
    assert_eq!(held.int(), Some(1));
    println!("the new owner was read from after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_failover_breaks_a_blocked_connection_too() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    let stream = stream(&valkey, 0);
    let primary = cluster.primary_of(stream.as_str()).expect("asked").expect("there is one");
    let (waiting, idle) = (dedicate(&valkey, &stream).await, dedicate(&valkey, &stream).await);
    idle.run(&APPEND, &[&stream], &["x".into()]).await.expect("appended");
    let start = Instant::now();
    let (read, ()) = tokio::join!(waiting.read(&stream, "$", 1, LONG), async {
        blocked(cluster.node(primary)).await;
        cluster.node(primary + 3).command(&["CLUSTER", "FAILOVER"]).expect("asked");
    });
    let error = read.expect_err("the node is a replica now");
    assert!(error.kind() == ErrorKind::Unavailable && error.retryable(), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "it was not woken");
    println!("a read that waited was told {error}");
    assert_broken_for_good(&waiting, &stream).await;
    eventually("the other hears of it", async || idle.read(&stream, "0", 1, BLOCK).await.is_err()).await;
    assert_broken_for_good(&idle, &stream).await;
    let (own, _) = recover(&valkey, &stream).await;
    assert_eq!(own.read(&stream, "0", 9, BLOCK).await.expect("read").len(), 1, "the replica had it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_replaces_a_killed_or_hanging_primary() {
    let cluster = cluster();
    let valkey = connect(&settings(&cluster.url())).await;
    let stream = stream(&valkey, 0);
    let own = dedicate(&valkey, &stream).await;
    own.run(&APPEND, &[&stream], &["x".into()]).await.expect("appended");
    assert_eq!(own.wait(1, LONG).await, Ok(1));

    let primary = cluster.primary_of(stream.as_str()).expect("asked").expect("there is one");
    cluster.node(primary).kill().expect("killed");
    let error = own.read(&stream, "$", 1, BLOCK).await.expect_err("it is dead");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_broken_for_good(&own, &stream).await;
    let start = Instant::now();
    let (own, took) = recover(&valkey, &stream).await;
    let successor = cluster.wait_takeover(stream.as_str(), primary).expect("taken over");
    println!("after a kill: read from node {successor} after {took:?}; all agreed after {:?}", start.elapsed());
    assert_eq!(own.read(&stream, "0", 9, BLOCK).await.expect("read").len(), 1, "what was acknowledged is there");
    cluster.node(primary).restart().expect("restarted");

    // Another slot, whose primary hangs: its kernel still takes connections, and nothing is answered.
    let other = (1..).map(|partition| self::stream(&valkey, partition));
    let primary_of = |key: &Key| cluster.primary_of(key.as_str()).expect("asked").expect("there is one");
    let stream = other.into_iter().find(|key| primary_of(key) != successor).expect("there are three primaries");
    let primary = primary_of(&stream);
    let own = dedicate(&valkey, &stream).await;
    cluster.node(primary).pause().expect("paused");
    let start = Instant::now();
    let error = own.read(&stream, "$", 1, BLOCK).await.expect_err("it hangs");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    assert_broken_for_good(&own, &stream).await;
    let (own, took) = recover(&valkey, &stream).await;
    println!("after a pause: read from the successor after {took:?}");
    own.run(&COUNT, &[&stream], &[]).await.expect("it is a primary");
    cluster.node(primary).resume().expect("resumed");
    own.read(&stream, "$", 1, BLOCK).await.expect_err("a counter is no stream, so it is still the same node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_primary_without_a_cluster_is_no_longer_read_from() {
    let toolbox = keyplane_testkit::toolbox();
    let server = keyplane_engine::Valkey::builder(&toolbox).may_wait(true).start().expect("a server");
    let replica = keyplane_engine::Valkey::builder(&toolbox).replica_of(&server).start().expect("a replica");
    let valkey = connect(&settings(&server.url())).await;
    let stream = stream(&valkey, 0);
    let (waiting, idle) = (dedicate(&valkey, &stream).await, dedicate(&valkey, &stream).await);
    idle.run(&APPEND, &[&stream], &["x".into()]).await.expect("appended");
    assert_eq!(idle.wait(1, LONG).await, Ok(1));

    replica.command(&["REPLICAOF", "NO", "ONE"]).expect("promoted");
    let (read, ()) = tokio::join!(waiting.read(&stream, "$", 1, LONG), async {
        blocked(&server).await;
        server.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]).expect("demoted");
    });
    let error = read.expect_err("the role changed");
    assert!(error.kind() == ErrorKind::Unavailable && error.retryable(), "{error:?}");
    assert_broken_for_good(&waiting, &stream).await;
    // Its data may be old; nothing but this answer would tell.
    let error = idle.read(&stream, "0", 1, BLOCK).await.expect_err("it is a replica");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, Some("REDIRECT")), "{error:?}");
    assert_broken_for_good(&idle, &stream).await;
    let idle = dedicate(&valkey, &stream).await;
    let error = idle.run(&COUNT, &[&stream], &[]).await.expect_err("it is a replica");
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Unavailable, false), "{error:?}");
    assert!(idle.is_broken());

    eventually("the pool does not read there, either", async || {
        valkey.get(&stream).await.is_err_and(|error| error.code() == Some("REDIRECT"))
    })
    .await;

    let new = connect(&Settings::new(replica.url())).await;
    let own = dedicate(&new, &stream).await;
    assert_eq!(own.read(&stream, "0", 9, BLOCK).await.expect("read").len(), 1, "the new primary has it");
}

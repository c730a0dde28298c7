//! Bells ring for their key, after a lost connection, and for nobody else.

mod common;

use std::time::Duration;

use common::{connect, key, settings};
use keyplane_valkey::{Bell, Doorbells, Feature, Key, Ring, Script, Settings, Valkey};

static CHANGE: Script = Script::new(
    "test.change",
    "redis.call('SET', KEYS[1], 'x', 'PX', 60000) redis.call('PUBLISH', ARGV[1], KEYS[1]) return 1",
);

async fn valkey() -> Valkey {
    connect(&Settings::new(keyplane_testkit::valkey().url())).await
}

/// Bell with a live connection, after its first ring.
async fn listen(bells: &Doorbells, key: &Key) -> Bell {
    let mut bell = bells.listen(key);
    ring(&mut bell).await;
    bell
}

async fn ring(bell: &mut Bell) {
    tokio::time::timeout(Duration::from_secs(20), bell.rung()).await.expect("it rings");
}

async fn change(valkey: &Valkey, bells: &Doorbells, key: &Key) {
    valkey.run(&CHANGE, &[key], &[(&bells.channel(key)).into()]).await.expect("changed");
}

/// Reports whether `bell` rings before `other`, whose key changes later on the same connection.
async fn rang_before(bell: &mut Bell, other: &mut Bell) -> bool {
    tokio::select! {
        biased;
        () = bell.rung() => true,
        () = ring(other) => false,
    }
}

#[tokio::test]
async fn bell_rings_for_its_key_only() {
    let valkey = valkey().await;
    let bells = valkey.doorbells(Feature::SESSION);
    let (key_a, key_b) = (key(&valkey, "a"), key(&valkey, "b"));
    let mut bell_a = listen(&bells, &key_a).await;
    let mut second_a = bells.listen(&key_a);
    // Made when the connection was up, so nothing is due yet.
    let mut bell_b = bells.listen(&key_b);

    change(&valkey, &bells, &key_a).await;
    ring(&mut bell_a).await;
    ring(&mut second_a).await;
    change(&valkey, &bells, &key_b).await;
    assert!(!rang_before(&mut bell_a, &mut bell_b).await, "another key's change rang");
}

#[tokio::test]
async fn rings_are_kept_and_coalesced_while_nobody_waits() {
    let valkey = valkey().await;
    let bells = valkey.doorbells(Feature::SESSION);
    let (key, last) = (key(&valkey, "a"), key(&valkey, "last"));
    let mut bell = listen(&bells, &key).await;
    let mut last_bell = bells.listen(&last);
    assert!(futures::FutureExt::now_or_never(bell.rung()).is_none(), "dropped without a loss");
    for _ in 0..3 {
        change(&valkey, &bells, &key).await;
    }
    change(&valkey, &bells, &last).await;
    ring(&mut last_bell).await;
    ring(&mut bell).await;
    change(&valkey, &bells, &last).await;
    assert!(!rang_before(&mut bell, &mut last_bell).await, "three changes rang twice");
}

#[tokio::test]
async fn channels_are_64_and_named_after_app_and_feature() {
    let valkey = valkey().await;
    let bells = valkey.doorbells(Feature::SESSION);
    let mut channels: Vec<_> = (0..5_000).map(|n| bells.channel(&key(&valkey, &format!("u-{n}")))).collect();
    channels.sort_unstable();
    channels.dedup();
    assert_eq!(channels.len(), 64);
    assert_eq!(channels[0], format!("{}:session:bell:00", valkey.app()));
    assert_eq!(channels[63], format!("{}:session:bell:63", valkey.app()));
}

#[tokio::test]
async fn ten_thousand_listeners_are_cheap() {
    let valkey = valkey().await;
    let bells = valkey.doorbells(Feature::SESSION);
    let keys: Vec<_> = (0..10_000).map(|n| key(&valkey, &format!("u-{n}"))).collect();
    let mut first = listen(&bells, &keys[0]).await;
    let mut others: Vec<_> = keys.iter().map(|key| bells.listen(key)).collect();
    change(&valkey, &bells, &keys[9_999]).await;
    ring(&mut others[9_999]).await;
    let rung = others.iter_mut().filter_map(|bell| futures::FutureExt::now_or_never(bell.rung())).count();
    assert_eq!(rung, 0, "nobody else");
    assert!(futures::FutureExt::now_or_never(first.rung()).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bell_rings_after_a_lost_connection() {
    let server = keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server");
    let valkey = connect(&settings(&server.url())).await;
    let bells = valkey.doorbells(Feature::SESSION);
    let key = key(&valkey, "a");
    let mut bell = listen(&bells, &key).await;
    server.restart().expect("restarted");
    ring(&mut bell).await;
    valkey.wait_ready(Duration::from_secs(10)).await.expect("it is back");
    change(&valkey, &bells, &key).await;
    ring(&mut bell).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_subscriber_is_replaced() {
    let server = keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server");
    let valkey = connect(&settings(&server.url())).await;
    let bells = valkey.doorbells(Feature::SESSION);
    let key = key(&valkey, "a");
    let mut bell = listen(&bells, &key).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).expect("killed");
    ring(&mut bell).await;
    change(&valkey, &bells, &key).await;
    ring(&mut bell).await;
}

#[tokio::test]
async fn listener_to_all_keys_hears_each_key_and_a_restored_connection() {
    let server = keyplane_testkit::valkey();
    let proxy = keyplane_testkit::FaultProxy::to_port(server.port());
    let valkey = connect(&Settings::new(proxy.url(&server.url()))).await;
    let bells = valkey.doorbells(Feature::SESSION);
    let mut rings = bells.listen_to_all();
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(20), rings.recv()).await.expect("a ring").expect("one");
    assert_eq!(next().await, Ring::All, "the connection was made");
    let (key_a, key_b) = (key(&valkey, "all-a"), key(&valkey, "all-b"));
    for key in [&key_a, &key_b] {
        change(&valkey, &bells, key).await;
        assert_eq!(next().await, Ring::Key(key.as_str().into()));
    }
    proxy.set(keyplane_testkit::Fault::Cut);
    proxy.set(keyplane_testkit::Fault::Pass);
    assert_eq!(next().await, Ring::All, "it was made again");
}

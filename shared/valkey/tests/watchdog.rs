//! Connections that answer late for an unknown reason.

mod common;

use std::time::{Duration, Instant};

use common::{COUNT, connect, eventually, key, settings};
use keyplane_testkit::{Fault, FaultProxy};
use keyplane_valkey::{Feature, Settings, Valkey};

/// Handle behind a proxy, with timeouts long enough for late answers.
async fn behind_a_proxy() -> (FaultProxy, Valkey) {
    let server = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(server.port());
    let settings = settings(&proxy.url(&server.url()));
    let valkey = connect(&Settings { command_timeout: Duration::from_secs(2), ..settings }).await;
    (proxy, valkey)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_connections_are_replaced_and_no_call_is_lost() {
    let (proxy, valkey) = behind_a_proxy().await;
    let key = key(&valkey, "u-1");
    let mut bell = valkey.doorbells(Feature::SESSION).listen(&key);
    bell.rung().await;
    let open = proxy.open_connections();
    // Both ways: each answer takes half a second, as in the drill that found such connections.
    proxy.set(Fault::DelayOpen(Duration::from_millis(250)));
    let mut quick = 0;
    eventually("both connections are fast again", async || {
        let start = Instant::now();
        valkey.run(&COUNT, &[&key], &[]).await.expect("none is lost");
        valkey.get(&key).await.expect("none is lost");
        quick = if start.elapsed() < Duration::from_millis(250) { quick + 1 } else { 0 };
        quick >= 10
    })
    .await;
    // Its connection was made again, which rings.
    tokio::time::timeout(Duration::from_secs(20), bell.rung()).await.expect("the doorbells' connection is replaced");
    eventually("the late ones are closed", async || proxy.open_connections() <= open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_store_keeps_its_connections() {
    let (proxy, valkey) = behind_a_proxy().await;
    let key = key(&valkey, "u-1");
    let before = proxy.connections();
    proxy.set(Fault::Delay(Duration::from_millis(60)));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        valkey.run(&COUNT, &[&key], &[]).await.expect("slow, and well");
    }
    let tried = proxy.connections() - before;
    assert!(
        (1..=4).contains(&tried),
        "{tried} new connections in 6 s; each of two may be held against a new one twice"
    );
    eventually("they were tried and left", async || proxy.open_connections() == 2).await;
}

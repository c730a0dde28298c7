//! Outages: the server dies, hangs, restarts or loses its scripts. Each test has its own server.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{COUNT, app, connect, eventually, key, settings};
use keyplane_engine::Reply;
use keyplane_testkit::{Fault, FaultProxy};
use keyplane_valkey::{ErrorKind, Feature, Valkey};

fn server() -> keyplane_engine::Valkey {
    keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_is_loaded_again_after_a_flush() {
    let server = server();
    let valkey = connect(&settings(&server.url())).await;
    let key = key(&valkey, "u-1");
    for expected in 1..=3 {
        assert_eq!(valkey.run(&COUNT, &[&key], &[]).await.expect("counted").int(), Ok(expected));
        server.command(&["SCRIPT", "FLUSH"]).expect("flushed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_resumes_after_a_restart() {
    let server = server();
    let valkey = connect(&settings(&server.url())).await;
    let key = key(&valkey, "u-1");
    valkey.run(&COUNT, &[&key], &[]).await.expect("counted");

    server.kill().expect("killed");
    // On each of the connections.
    eventually("a dead server is noticed", async || valkey.ping().await.is_err() && !valkey.reach().is_whole()).await;
    let start = Instant::now();
    for _ in 0..50 {
        let error = valkey.run(&COUNT, &[&key], &[]).await.expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.outcome_unknown(), "nothing was sent: {error:?}");
        assert!(error.retry_after().is_some());
    }
    assert!(start.elapsed() < Duration::from_secs(2), "50 calls waited {:?} for a dead server", start.elapsed());

    server.restart().expect("restarted");
    let back = Instant::now();
    eventually("service resumes", async || valkey.run(&COUNT, &[&key], &[]).await.is_ok()).await;
    assert!(back.elapsed() < Duration::from_secs(3), "it took {:?} to resume", back.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_server_opens_the_breaker_and_is_found_again() {
    let server = server();
    let valkey = connect(&settings(&server.url())).await;
    let key = key(&valkey, "u-1");
    valkey.run(&COUNT, &[&key], &[]).await.expect("counted");

    server.pause().expect("paused");
    let start = Instant::now();
    let first = valkey.run(&COUNT, &[&key], &[]).await.expect_err("it hangs");
    assert_eq!((first.kind(), first.outcome_unknown()), (ErrorKind::Timeout, true));
    assert!(start.elapsed() < Duration::from_millis(900), "the wait is bounded: {:?}", start.elapsed());
    eventually("the breaker opens", async || {
        let before = Instant::now();
        let error = valkey.run(&COUNT, &[&key], &[]).await.expect_err("it hangs");
        error.kind() == ErrorKind::Unavailable && before.elapsed() < Duration::from_millis(20)
    })
    .await;
    let error = valkey.get(&key).await.expect_err("it hangs");
    let next = error.next_attempt().expect("the breaker is open");
    assert!(next <= Duration::from_millis(500) && error.retry_after() == Some(next), "{error:?}");
    assert!(error.to_string().contains("has not answered lately; calls fail at once, next attempt in "), "{error}");
    let start = Instant::now();
    for _ in 0..1_000 {
        let error = valkey.hgetall(&key).await.expect_err("it hangs");
        assert!(!error.outcome_unknown());
    }
    assert!(start.elapsed() < Duration::from_secs(3), "1000 calls waited {:?}", start.elapsed());

    server.resume().expect("resumed");
    let back = Instant::now();
    eventually("service resumes", async || valkey.run(&COUNT, &[&key], &[]).await.is_ok()).await;
    assert!(back.elapsed() < Duration::from_secs(3), "it took {:?} to resume", back.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_server_is_awaited() {
    let server = server();
    let url = server.url();
    server.kill().expect("killed");
    let valkey = Valkey::connect(&settings(&url), app()).expect("good settings");
    let error = valkey.wait_ready(Duration::from_millis(300)).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.restart().expect("restarted");
    valkey.wait_ready(Duration::from_secs(10)).await.expect("it is there now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_is_overload() {
    let server = keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox())
        .setting("maxmemory", "1")
        .setting("maxmemory-policy", "noeviction")
        .start()
        .expect("a server");
    let valkey = connect(&settings(&server.url())).await;
    let error = valkey.run(&COUNT, &[&key(&valkey, "u-1")], &[]).await.expect_err("no memory");
    assert_eq!((error.kind(), error.code(), error.outcome_unknown()), (ErrorKind::Overloaded, Some("OOM"), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_that_cannot_save_is_unavailable_for_writes() {
    let server = keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox())
        .setting("save", "3600 1")
        .start()
        .expect("a server");
    let valkey = connect(&settings(&server.url())).await;
    let key = key(&valkey, "u-1");
    // A folder in the place of the file that is saved to fails like a full disk.
    let Reply::Array(dir) = server.command(&["CONFIG", "GET", "dir"]).expect("a folder") else { panic!("a pair") };
    std::fs::create_dir(Path::new(dir[1].text().expect("a path")).join("dump.rdb")).expect("made");
    server.command(&["BGSAVE"]).expect("begun");
    let write = async || valkey.run(&COUNT, &[&key], &[]).await;
    eventually("writes are refused", async || write().await.is_err()).await;
    let error = write().await.expect_err("it can't save");
    assert_eq!((error.kind(), error.code(), error.outcome_unknown()), (ErrorKind::Unavailable, Some("MISCONF"), false));
    assert!(error.retryable());
    let count = valkey.get(&key).await.expect("reads are answered");
    assert!(write().await.is_err() && valkey.get(&key).await == Ok(count), "nothing was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_leaves_no_connection_behind() {
    let server = server();
    let proxy = FaultProxy::to_port(server.port());
    let valkey = connect(&settings(&proxy.url(&server.url()))).await;
    let mut bell = valkey.doorbells(Feature::SESSION).listen(&key(&valkey, "u-1"));
    bell.rung().await;
    // Connections are being made again, so that close doesn't find them.
    proxy.set(Fault::Cut);
    eventually("they are gone", async || !valkey.reach().is_whole()).await;
    proxy.set(Fault::BlackHole);
    eventually("others are being made", async || proxy.open_connections() > 0).await;
    valkey.close().await;
    proxy.set(Fault::Pass);
    eventually("none is left", async || proxy.open_connections() == 0).await;
}

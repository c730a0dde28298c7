//! Network faults: each test has its own server behind its own proxy.

mod common;

use std::time::{Duration, Instant};

use common::{COUNT, connect, eventually, key, settings};
use futures::FutureExt as _;
use futures::future::join_all;
use keyplane_testkit::{Fault, FaultProxy};
use keyplane_valkey::{ErrorKind, Key, Script, Settings, Valkey, Value};

struct World {
    server: keyplane_engine::Valkey,
    proxy: FaultProxy,
}

// === impl World ===

impl World {
    fn start() -> World {
        let server = keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server");
        let proxy = FaultProxy::to_port(server.port());
        World { server, proxy }
    }

    fn settings(&self) -> Settings {
        settings(&self.proxy.url(&self.server.url()))
    }

    /// Count under `key`, read from the server itself.
    fn count(&self, key: &Key) -> i64 {
        let reply = self.server.command(&["GET", key.as_str()]).expect("read");
        reply.text().map_or(0, |text| text.parse().expect("a number"))
    }
}

/// Calls until one succeeds; returns the time that took.
async fn resumes(valkey: &Valkey, key: &Key) -> Duration {
    let start = Instant::now();
    eventually("service resumes", async || valkey.run(&COUNT, &[key], &[]).await.is_ok()).await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_runs_at_most_once_when_its_connection_is_cut() {
    let world = World::start();
    let valkey = connect(&world.settings()).await;
    let (mut failed, mut unknown) = (0, 0);
    for round in 0..8 {
        let keys: Vec<Key> = (0..40).map(|n| key(&valkey, &format!("r{round}-{n}"))).collect();
        world.proxy.set(Fault::Delay(Duration::from_millis(15)));
        let calls = join_all(keys.iter().map(async |key| valkey.run(&COUNT, &[key], &[]).await));
        let cut = async {
            eventually("the first command arrives", async || world.count(&keys[0]) > 0).await;
            world.proxy.set(Fault::Cut);
            // At once, so that a client that replays what was in flight gets the chance.
            world.proxy.set(Fault::Pass);
        };
        let (results, ()) = tokio::join!(calls, cut);
        resumes(&valkey, &key(&valkey, "probe")).await;
        for (key, result) in keys.iter().zip(results) {
            let count = world.count(key);
            match result {
                Ok(reply) => assert_eq!((reply.int(), count), (Ok(1), 1)),
                Err(error) => {
                    failed += 1;
                    unknown += i64::from(error.outcome_unknown());
                    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error:?}");
                    assert!(count <= 1, "{key} was counted {count} times: {error:?}");
                    assert!(count == 0 || error.outcome_unknown(), "it ran, but the error denies it: {error:?}");
                }
            }
        }
    }
    assert!(failed > 0 && unknown > 0, "the cuts hit nothing: {failed} failed, {unknown} of unknown outcome");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_survives_a_cut() {
    let world = World::start();
    let valkey = connect(&Settings { command_timeout: Duration::from_secs(3), ..world.settings() }).await;
    let key = key(&valkey, "u-1");
    valkey.run(&COUNT, &[&key], &[]).await.expect("counted");
    for _ in 0..5 {
        world.proxy.set(Fault::BlackHole);
        let mut read = std::pin::pin!(valkey.get(&key));
        assert!(futures::poll!(read.as_mut()).is_pending());
        world.proxy.set(Fault::Cut);
        world.proxy.set(Fault::Pass);
        assert_eq!(read.await, Ok(Some("1".into())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_network_gives_a_timeout_with_an_honest_outcome() {
    let world = World::start();
    let valkey = connect(&world.settings()).await;
    let key = key(&valkey, "u-1");
    valkey.run(&COUNT, &[&key], &[]).await.expect("counted");
    world.proxy.set(Fault::Delay(Duration::from_millis(400)));
    let start = Instant::now();
    let keys = [&key];
    let (write, read) = tokio::join!(valkey.run(&COUNT, &keys, &[]), valkey.get(&key));
    assert!(start.elapsed() < Duration::from_millis(800), "waited {:?}", start.elapsed());
    let (write, read) = (write.expect_err("too slow"), read.expect_err("too slow"));
    assert_eq!((write.kind(), write.outcome_unknown()), (ErrorKind::Timeout, true));
    assert_eq!((read.kind(), read.outcome_unknown()), (ErrorKind::Timeout, false));
    eventually("the script ran all the same", async || world.count(&key) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_is_kept_in_a_black_hole() {
    let world = World::start();
    let valkey = connect(&Settings { command_timeout: Duration::from_secs(5), ..world.settings() }).await;
    let key = key(&valkey, "u-1");
    world.proxy.set(Fault::BlackHole);
    let start = Instant::now();
    let soon = tokio::time::Instant::now() + Duration::from_millis(100);
    let error = keyplane_deadline::scope(soon, valkey.get(&key)).await.expect_err("nothing comes back");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_millis(400), "waited {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_bounded_under_load_and_ends_with_the_fault() {
    for fault in [Fault::BlackHole, Fault::HalfOpen, Fault::Cut] {
        let world = World::start();
        let valkey = connect(&world.settings()).await;
        let key = key(&valkey, "u-1");
        valkey.run(&COUNT, &[&key], &[]).await.expect("counted");

        world.proxy.set(fault);
        let start = Instant::now();
        let callers = (0..50).map(|_| async {
            let mut slow = 0;
            for _ in 0..40 {
                let before = Instant::now();
                let error = valkey.run(&COUNT, &[&key], &[]).await.expect_err("nobody answers");
                assert!(error.retryable(), "{error:?}");
                slow += usize::from(before.elapsed() > Duration::from_millis(50));
            }
            slow
        });
        let slow: usize = join_all(callers).await.into_iter().sum();
        assert!(start.elapsed() < Duration::from_secs(3), "{fault:?}: 40 calls in a row took {:?}", start.elapsed());
        assert!(slow < 200, "{fault:?}: {slow} of 2000 calls waited");

        world.proxy.set(Fault::Pass);
        let took = resumes(&valkey, &key).await;
        assert!(took < Duration::from_secs(3), "{fault:?}: it took {took:?} to resume");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_half_open_connection_is_replaced_before_the_next_call() {
    let world = World::start();
    let valkey = connect(&world.settings()).await;
    let before = world.proxy.connections();
    world.proxy.set(Fault::HalfOpen);
    eventually("new connections are tried", async || world.proxy.connections() > before).await;
    world.proxy.set(Fault::Pass);
    valkey.wait_ready(Duration::from_secs(10)).await.expect("it is back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_mix_up_no_replies() {
    static ECHO: Script = Script::new("test.echo", "return ARGV[1]");
    let world = World::start();
    let valkey = connect(&world.settings()).await;
    let key = key(&valkey, "u-1");
    let mut dropped_in_flight = 0;
    for round in 0..200 {
        let text = format!("round {round}");
        let dropped = format!("dropped {round}");
        let (args, dropped_args) = ([(&text).into()], [(&dropped).into()]);
        let keys = [&key];
        // A preempted thread may find the reply at its first poll.
        dropped_in_flight += u32::from(valkey.run(&ECHO, &keys, &dropped_args).now_or_never().is_none());
        let reply = valkey.run(&ECHO, &keys, &args).await.expect("a reply");
        assert_eq!(reply, Value::Bytes(text.into()));
    }
    assert!(dropped_in_flight > 100, "only {dropped_in_flight} calls were dropped in flight");
}

//! Dedicated connections: one socket, never another, after any fault.

mod common;

use std::time::{Duration, Instant};

use common::{COUNT, app, connect, eventually, key, settings};
use keyplane_testkit::{Fault, FaultProxy};
use keyplane_valkey::{Arg, Dedicated, Error, ErrorKind, Feature, Key, Need, Script, Settings, Valkey, Value};

static APPEND: Script = Script::new(
    "test.append",
    "local id = redis.call('XADD', KEYS[1], '*', 'event', ARGV[1]) redis.call('PEXPIRE', KEYS[1], 60000) return id",
);

const BLOCK: Duration = Duration::from_millis(40);

fn server() -> keyplane_engine::Valkey {
    keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server")
}

fn stream(valkey: &Valkey) -> Key {
    Key::partitioned(valkey.app(), Feature::REVOCATION, "_", &["feed"], 0)
}

async fn shared() -> Valkey {
    connect(&Settings::new(keyplane_testkit::valkey().url())).await
}

/// Asserts that the connection is broken, and that every later call fails at once, even after the server is restored.
async fn assert_broken_for_good(dedicated: &Dedicated, key: &Key) {
    assert!(dedicated.is_broken(), "{dedicated:?}");
    let start = Instant::now();
    for _ in 0..100 {
        let error = dedicated.read(key, "0", 1, Duration::from_secs(9)).await.expect_err("it is gone");
        assert_eq!((error.kind(), error.retryable(), error.outcome_unknown()), (ErrorKind::Unavailable, true, false));
        let error = dedicated.run(&COUNT, &[key], &[]).await.expect_err("it is gone");
        assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Unavailable, false), "nothing was sent");
    }
    assert!(start.elapsed() < Duration::from_millis(500), "200 calls took {:?}", start.elapsed());
}

async fn dedicate(valkey: &Valkey, key: &Key) -> Dedicated {
    keyplane_testkit::eventually("a connection can be made", Duration::from_secs(20), async || {
        valkey.dedicate(key).await
    })
    .await
}

#[tokio::test]
async fn writes_are_read_over_the_same_connection() {
    let valkey = shared().await;
    let (stream, hash) = (stream(&valkey), key(&valkey, "a-hash"));
    let own = valkey.dedicate(&stream).await.expect("connected");
    assert_eq!(own.read(&stream, "0", 10, BLOCK).await, Ok(vec![]), "there is no such stream");
    assert_eq!(own.xrange(&stream, "-", "+", 10).await, Ok(vec![]));

    let hostile = "a\r\n$1\0é";
    let first = own.run(&APPEND, &[&stream], &[hostile.into()]).await.expect("appended");
    let second = own.run(&APPEND, &[&stream], &["two".into()]).await.expect("appended");
    let entries = own.read(&stream, "0", 10, BLOCK).await.expect("read");
    assert_eq!(
        entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
        [first.text().unwrap(), second.text().unwrap()]
    );
    assert_eq!(entries[0].fields, [("event".into(), hostile.into())]);
    assert_eq!(own.read(&stream, "0", 1, BLOCK).await.expect("read").len(), 1, "no more than asked for");
    assert_eq!(own.read(&stream, first.text().unwrap(), 10, Duration::ZERO).await.expect("read"), entries[1..]);
    assert_eq!(own.xrange(&stream, "(0-1", "+", 1).await.expect("read"), entries[..1]);
    assert_eq!(valkey.xrevrange(&stream, "+", "-", 1).await.expect("read"), entries[1..], "the newest first");

    static FILL: Script = Script::new(
        "test.fill",
        "redis.call('HSET', KEYS[1], 'a', ARGV[1], 'b', '7') redis.call('PEXPIRE', KEYS[1], 60000) return 1",
    );
    let binary: &[u8] = &[0, 159, 146, 150];
    own.run(&FILL, &[&hash], &[Arg::Bytes(binary)]).await.expect("filled");
    let expected = vec![Some(binary.to_vec().into()), None, Some("7".into())];
    assert_eq!(own.hmget(&hash, &["a", "none", "b"]).await, Ok(expected));
    let wrong = own.hmget(&stream, &["a"]).await.expect_err("a stream is no hash");
    assert_eq!((wrong.kind(), wrong.code(), own.is_broken()), (ErrorKind::Script, Some("WRONGTYPE"), false));
    let wrong = own.read(&stream, "no-id", 1, BLOCK).await.expect_err("no id");
    assert_eq!((wrong.kind(), own.is_broken()), (ErrorKind::Script, false));
}

#[tokio::test]
async fn blocking_read_ends_with_its_time_or_the_first_entry() {
    let valkey = shared().await;
    let stream = stream(&valkey);
    let own = valkey.dedicate(&stream).await.expect("connected");
    for block in [1, 40, 120].map(Duration::from_millis) {
        let start = Instant::now();
        assert_eq!(own.read(&stream, "0", 1, block).await, Ok(vec![]));
        assert!(start.elapsed() >= block, "{block:?} was cut to {:?}", start.elapsed());
    }
    let start = Instant::now();
    let (read, written) = tokio::join!(own.read(&stream, "0", 9, Duration::from_secs(20)), async {
        keyplane_testkit::eventually("the read waits", Duration::from_secs(10), async || {
            let clients = keyplane_testkit::valkey().command(&["INFO", "clients"]).expect("asked");
            !clients.text().unwrap_or_default().contains("blocked_clients:0")
        })
        .await;
        valkey.run(&APPEND, &[&stream], &["x".into()]).await
    });
    assert_eq!(read.expect("read")[0].id, written.expect("written").text().unwrap());
    assert!(start.elapsed() < Duration::from_secs(15), "it was not woken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_over_one_socket_in_order() {
    let server = server();
    let proxy = FaultProxy::to_port(server.port());
    let valkey = connect(&settings(&proxy.url(&server.url()))).await;
    let counter = key(&valkey, "u-1");
    eventually("both connections of the pool are up", async || proxy.connections() == 2).await;
    let own = valkey.dedicate(&counter).await.expect("connected");
    let keys = [&counter];
    for round in 0..50 {
        let calls = (0..20).map(|_| own.run(&COUNT, &keys, &[]));
        let replies = futures::future::join_all(calls).await;
        let replies: Vec<i64> = replies.into_iter().map(|reply| reply.expect("counted").int().expect("one")).collect();
        assert_eq!(replies, (round * 20 + 1..=round * 20 + 20).collect::<Vec<i64>>());
    }
    assert_eq!(proxy.connections(), 3, "a thousand calls, one socket");
    let other = valkey.dedicate(&counter).await.expect("connected");
    assert_eq!((proxy.connections(), proxy.open_connections()), (4, 4), "each has one of its own");
    drop(other);
}

#[tokio::test]
async fn dropped_call_leaves_other_replies_in_place() {
    static ECHO: Script = Script::new("test.echo", "return ARGV[1]");
    let valkey = shared().await;
    let key = key(&valkey, "u-1");
    let own = valkey.dedicate(&key).await.expect("connected");
    let keys = [&key];
    own.run(&ECHO, &keys, &["loaded".into()]).await.expect("loaded");
    for round in 0..100 {
        {
            let dropped = ["dropped".into()];
            let mut call = std::pin::pin!(own.run(&ECHO, &keys, &dropped));
            assert!(futures::poll!(call.as_mut()).is_pending());
            let mut read = std::pin::pin!(own.read(&key, "0", 1, Duration::from_millis(2)));
            assert!(futures::poll!(read.as_mut()).is_pending());
        }
        let text = format!("round {round}");
        let reply = own.run(&ECHO, &keys, &[(&text).into()]).await.expect("a reply");
        assert_eq!(reply, Value::Bytes(text.into()));
    }
    assert!(!own.is_broken());
}

#[tokio::test]
async fn flushed_script_is_loaded_over_the_same_connection() {
    let server = server();
    let valkey = connect(&settings(&server.url())).await;
    let key = key(&valkey, "u-1");
    let own = valkey.dedicate(&key).await.expect("connected");
    for expected in 1..=3 {
        assert_eq!(own.run(&COUNT, &[&key], &[]).await.expect("counted").int(), Ok(expected));
        server.command(&["SCRIPT", "FLUSH"]).expect("flushed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_between_two_calls_breaks_the_connection() {
    let server = server();
    let valkey = connect(&settings(&server.url())).await;
    let stream = stream(&valkey);
    let own = valkey.dedicate(&stream).await.expect("connected");
    own.run(&APPEND, &[&stream], &["x".into()]).await.expect("appended");

    server.restart().expect("restarted");
    valkey.wait_ready(Duration::from_secs(10)).await.expect("the pool is back");
    let error = own.read(&stream, "0", 1, BLOCK).await.expect_err("another server listens there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_broken_for_good(&own, &stream).await;
    let again = dedicate(&valkey, &stream).await;
    assert_eq!(again.read(&stream, "0", 1, BLOCK).await, Ok(vec![]), "it lost everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_read_fails_at_once_when_its_server_or_connection_is_killed() {
    let server = server();
    let valkey = connect(&settings(&server.url())).await;
    let stream = stream(&valkey);
    for kill in [true, false] {
        let own = dedicate(&valkey, &stream).await;
        let start = Instant::now();
        let (read, ()) = tokio::join!(own.read(&stream, "0", 1, Duration::from_secs(20)), async {
            eventually("the read waits", async || {
                let clients = server.command(&["INFO", "clients"]).expect("asked");
                !clients.text().unwrap_or_default().contains("blocked_clients:0")
            })
            .await;
            if kill {
                server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).expect("killed");
            } else {
                server.kill().expect("killed");
            }
        });
        let error = read.expect_err("it is gone");
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        assert_broken_for_good(&own, &stream).await;
    }
    let start = Instant::now();
    let error = valkey.dedicate(&stream).await.expect_err("nobody is there");
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
}

/// Errors of a read and a write under `fault`, and their durations.
async fn through(fault: Fault, block: Duration) -> (Error, Error, Duration, Duration) {
    let server = server();
    let proxy = FaultProxy::to_port(server.port());
    // A command timeout of 300 ms.
    let valkey = connect(&settings(&proxy.url(&server.url()))).await;
    let stream = stream(&valkey);
    let (reading, writing) = (dedicate(&valkey, &stream).await, dedicate(&valkey, &stream).await);
    writing.run(&COUNT, &[&key(&valkey, "u-1")], &[]).await.expect("counted");
    proxy.set(fault);
    let timed = async |call: &mut (dyn Future<Output = Option<Error>> + Unpin)| {
        let start = Instant::now();
        (call.await.expect("nothing comes back"), start.elapsed())
    };
    let counter = key(&valkey, "u-1");
    let mut read = Box::pin(async { reading.read(&stream, "0", 1, block).await.err() });
    let mut write = Box::pin(async { writing.run(&COUNT, &[&counter], &[]).await.err() });
    let ((read, read_took), (write, write_took)) = tokio::join!(timed(&mut read), timed(&mut write));
    assert_broken_for_good(&reading, &stream).await;
    assert_broken_for_good(&writing, &stream).await;
    proxy.set(Fault::Pass);
    assert_broken_for_good(&reading, &stream).await;
    assert_broken_for_good(&writing, &stream).await;
    dedicate(&valkey, &stream).await.read(&stream, "0", 1, BLOCK).await.expect("a new one is whole");
    (read, write, read_took, write_took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_with_the_calls_deadline_and_breaks_the_connection() {
    for fault in [Fault::BlackHole, Fault::HalfOpen] {
        let (read, write, read_took, write_took) = through(fault, Duration::from_millis(400)).await;
        assert_eq!((read.kind(), read.outcome_unknown()), (ErrorKind::Timeout, false), "{fault:?}: {read:?}");
        assert_eq!((write.kind(), write.outcome_unknown()), (ErrorKind::Timeout, true), "{fault:?}: {write:?}");
        let (read_took, write_took) = (read_took.as_millis(), write_took.as_millis());
        assert!((690..1_100).contains(&read_took), "{fault:?}: a read of 400 + 300 ms took {read_took} ms");
        assert!((290..600).contains(&write_took), "{fault:?}: a call of 300 ms took {write_took} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connection_fails_calls_at_once_and_nothing_is_sent_again() {
    let (read, write, read_took, write_took) = through(Fault::Cut, Duration::from_secs(20)).await;
    assert_eq!(read.kind(), ErrorKind::Unavailable, "{read:?}");
    assert_eq!(write.kind(), ErrorKind::Unavailable, "{write:?}");
    assert!(read_took + write_took < Duration::from_secs(2), "it took {read_took:?} and {write_took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_on_a_cut_connection_runs_at_most_once_and_reports_its_outcome() {
    let server = server();
    let proxy = FaultProxy::to_port(server.port());
    let valkey = connect(&settings(&proxy.url(&server.url()))).await;
    let (mut unknown, mut ran) = (0, 0);
    for round in 0..10 {
        let keys: Vec<Key> = (0..20).map(|n| key(&valkey, &format!("r{round}-{n}"))).collect();
        let count = |key: &Key| server.command(&["GET", key.as_str()]).expect("read").text().map(str::to_owned);
        let own = dedicate(&valkey, &keys[0]).await;
        proxy.set(Fault::Delay(Duration::from_millis(15)));
        let calls = keys.iter().map(async |key| own.run(&COUNT, &[key], &[]).await);
        let (results, ()) = tokio::join!(futures::future::join_all(calls), async {
            eventually("the first arrives", async || count(&keys[0]).is_some()).await;
            proxy.set(Fault::Cut);
            proxy.set(Fault::Pass);
        });
        for (key, result) in keys.iter().zip(results) {
            match (result, count(key).as_deref()) {
                (Ok(_), Some("1")) => {}
                (Err(error), found) => {
                    unknown += usize::from(error.outcome_unknown());
                    ran += usize::from(found.is_some());
                    assert!(matches!(found, None | Some("1")), "it ran more than once: {found:?}");
                    assert!(found.is_none() || error.outcome_unknown(), "it ran, but the error denies it: {error:?}");
                }
                (Ok(_), found) => panic!("it was acknowledged and is not there: {found:?}"),
            }
        }
    }
    assert!(unknown > 0 && ran > 0, "the cuts hit nothing: {unknown} of unknown outcome, {ran} ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_deadline_is_kept_and_leaves_the_connection_whole() {
    let server = server();
    let proxy = FaultProxy::to_port(server.port());
    let valkey = connect(&settings(&proxy.url(&server.url()))).await;
    let stream = stream(&valkey);
    let own = dedicate(&valkey, &stream).await;
    let soon = || tokio::time::Instant::now() + Duration::from_millis(60);
    proxy.set(Fault::Delay(Duration::from_millis(40)));
    let start = Instant::now();
    let error =
        keyplane_deadline::scope(soon(), own.xrange(&stream, "-", "+", 1)).await.expect_err("80 ms are too long");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_millis(250), "it took {:?}", start.elapsed());
    proxy.set(Fault::Pass);
    own.xrange(&stream, "-", "+", 1).await.expect("others go on over it");

    let late = tokio::time::Instant::now();
    let error = keyplane_deadline::scope(late, own.run(&COUNT, &[&stream], &[])).await.expect_err("too late");
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Timeout, false), "nothing was sent");
    let error = keyplane_deadline::scope(late, valkey.dedicate(&stream)).await.expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!own.is_broken());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_closes_the_connection_and_a_dropped_attempt_leaves_none() {
    let server = server();
    let proxy = FaultProxy::to_port(server.port());
    let valkey = connect(&settings(&proxy.url(&server.url()))).await;
    let stream = stream(&valkey);
    let pool = 2;
    eventually("both connections of the pool are up", async || proxy.open_connections() == pool).await;
    let own = valkey.dedicate(&stream).await.expect("connected");
    assert_eq!(proxy.open_connections(), pool + 1, "one connection, no more");
    drop(own);
    eventually("it is closed", async || proxy.open_connections() == pool).await;
    for _ in 0..20 {
        let mut attempt = std::pin::pin!(valkey.dedicate(&stream));
        assert!(futures::poll!(attempt.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    eventually("attempts that were dropped leave none", async || proxy.open_connections() == pool).await;
    valkey.close().await;
    let error = valkey.dedicate(&stream).await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn wrong_password_is_denied() {
    let url = format!("valkey://keyplane:sec-ret@127.0.0.1:{}", keyplane_testkit::valkey().port());
    let valkey = Valkey::connect(&settings(&url), app()).expect("good settings");
    let error = valkey.dedicate(&stream(&valkey)).await.expect_err("the password is wrong");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("sec-ret"));
}

#[tokio::test]
async fn wait_without_permission_is_a_missing_feature_and_keeps_the_connection() {
    let valkey = shared().await;
    let error = valkey.probe(&[Need::Wait]).await.expect_err("the ACL forbids it");
    assert_eq!(error.kind(), ErrorKind::FeatureMissing, "{error:?}");
    assert!(error.to_string().contains("WAIT") && error.to_string().contains("+wait"), "{error}");
    let key = key(&valkey, "u-1");
    let own = valkey.dedicate(&key).await.expect("connected");
    let error = own.wait(1, BLOCK).await.expect_err("the ACL forbids it");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    own.run(&COUNT, &[&key], &[]).await.expect("the connection is whole");
}

//! Conformance of a real server, for a user without the commands that ElastiCache Serverless lacks.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{COUNT, app, connect, key, settings};
use keyplane_valkey::{Arg, ErrorKind, Feature, Key, Need, Script, Settings, Valkey, Value};
use tokio::time::Instant;

static STORE: Script = Script::new(
    "test.store",
    "redis.call('HSET', KEYS[1], 'name', ARGV[1], 'number', ARGV[2]) redis.call('PEXPIRE', KEYS[1], 60000) return 1",
);
static ECHO: Script = Script::new("test.echo", "return {ARGV[1], 7, false, {'nested'}, redis.status_reply('FINE')}");

async fn valkey() -> Valkey {
    connect(&Settings::new(keyplane_testkit::valkey().url())).await
}

#[tokio::test]
async fn writes_of_a_script_are_read_back() {
    let valkey = valkey().await;
    let key = key(&valkey, "u-42");
    assert_eq!(valkey.hgetall(&key).await, Ok(vec![]), "no such key yet");

    let hostile = "a\r\n$1\0é";
    let stored = valkey.run(&STORE, &[&key], &[hostile.into(), Arg::Int(i64::MIN)]).await.expect("stored");
    assert_eq!(stored.int(), Ok(1));
    let mut fields = valkey.hgetall(&key).await.expect("read");
    fields.sort();
    let expected = [("name", hostile.to_owned()), ("number", i64::MIN.to_string())];
    assert_eq!(fields, expected.map(|(name, value)| (Bytes::from(name), Bytes::from(value))));
    let some = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    assert_eq!(
        valkey.hmget(&key, &["number", "none", "name"]).await,
        Ok(vec![some(&i64::MIN.to_string()), None, some(hostile)])
    );
    assert_eq!(valkey.hmget(&key, &["name"]).await, Ok(vec![some(hostile)]), "one alone is a list too");
}

#[tokio::test]
async fn replies_keep_their_form() {
    let valkey = valkey().await;
    let key = key(&valkey, "u-1");
    let binary: &[u8] = &[0, 159, 146, 150];
    let reply = valkey.run(&ECHO, &[&key], &[binary.into()]).await.expect("a reply");
    let bytes = |text: &'static [u8]| Value::Bytes(Bytes::from_static(text));
    let expected = vec![
        Value::Bytes(Bytes::copy_from_slice(binary)),
        Value::Int(7),
        Value::Nil,
        Value::Array(vec![bytes(b"nested")]),
        bytes(b"FINE"),
    ];
    assert_eq!(reply, Value::Array(expected));
}

#[tokio::test]
async fn get_and_streams_are_read() {
    static FILL: Script = Script::new(
        "test.fill",
        "for i = 1, 3 do redis.call('XADD', KEYS[1], i .. '-0', 'event', 'e' .. i) end \
         redis.call('PEXPIRE', KEYS[1], 60000) return 1",
    );
    let valkey = valkey().await;
    let counter = key(&valkey, "u-7");
    assert_eq!(valkey.get(&counter).await, Ok(None));
    valkey.run(&COUNT, &[&counter], &[]).await.expect("counted");
    assert_eq!(valkey.get(&counter).await, Ok(Some(Bytes::from_static(b"1"))));

    let stream = Key::tagged(valkey.app(), Feature::SESSION, "acme", "u-7", &["events"]);
    assert_eq!(valkey.xrange(&stream, "-", "+", 10).await, Ok(vec![]));
    valkey.run(&FILL, &[&stream], &[]).await.expect("filled");
    let entries = valkey.xrange(&stream, "(1-0", "+", 1).await.expect("read");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].id, "2-0");
    assert_eq!(entries[0].fields, vec![(Bytes::from_static(b"event"), Bytes::from_static(b"e2"))]);
}

#[tokio::test]
async fn server_errors_are_classified() {
    static FAIL: Script = Script::new("test.fail", "return redis.error_reply('TEAPOT short and stout')");
    static CRASH: Script = Script::new("test.crash", "local x = nil\nreturn x.y");
    static DENIED: Script = Script::new("test.denied", "return redis.call('KEYS', '*')");
    let valkey = valkey().await;
    let key = key(&valkey, "u-9");
    valkey.run(&STORE, &[&key], &["x".into(), 1i64.into()]).await.expect("stored");

    let wrong_type = valkey.get(&key).await.expect_err("a hash is no text");
    assert_eq!((wrong_type.kind(), wrong_type.code()), (ErrorKind::Script, Some("WRONGTYPE")));
    let own = valkey.run(&FAIL, &[&key], &[]).await.expect_err("it says so");
    assert_eq!((own.kind(), own.code(), own.outcome_unknown()), (ErrorKind::Script, Some("TEAPOT"), false));
    let crash = valkey.run(&CRASH, &[&key], &[]).await.expect_err("nil has no field");
    assert_eq!(crash.to_string(), "test.crash: the script failed on the store in line 2 (ERR)");
    let denied = valkey.run(&DENIED, &[&key], &[]).await.expect_err("the ACL forbids it");
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied:?}");
    let none = valkey.run(&COUNT, &[], &[]).await.expect_err("no keys");
    assert_eq!(none.kind(), ErrorKind::Script);
}

/// Modules and scripts may answer with errors that have no upper-case code.
#[tokio::test]
async fn server_errors_without_a_code_leave_the_connection_and_the_breaker_alone() {
    static FAIL: Script = Script::new("test.uncoded", "return redis.error_reply('my-index: no such index')");
    let server = keyplane_testkit::valkey();
    let proxy = keyplane_testkit::FaultProxy::to_port(server.port());
    let valkey = connect(&Settings { connections: 1, ..settings(&proxy.url(&server.url())) }).await;
    let key = key(&valkey, "u-9");
    let connections = proxy.connections();
    for _ in 0..20 {
        let error = valkey.run(&FAIL, &[&key], &[]).await.expect_err("the script answers with an error");
        assert_eq!((error.kind(), error.code(), error.outcome_unknown()), (ErrorKind::Script, None, false), "{error}");
    }
    valkey.ping().await.expect("the breaker is closed");
    let own = valkey.dedicate(&key).await.expect("connected");
    let error = own.run(&FAIL, &[&key], &[]).await.expect_err("the script answers with an error");
    assert_eq!((error.kind(), own.is_broken()), (ErrorKind::Script, false));
    assert_eq!(proxy.connections(), connections + 1, "only the dedicated connection is new");
}

#[tokio::test]
async fn probe_names_the_missing_command() {
    let valkey = valkey().await;
    valkey.probe(&[Need::Scripts, Need::Streams, Need::Pubsub]).await.expect("a plain server has these");
    for (need, command) in [(Need::Bloom, "BF.ADD"), (Need::Search, "FT.CREATE")] {
        let error = valkey.probe(&[Need::Scripts, need]).await.expect_err("it has no modules");
        assert_eq!(error.kind(), ErrorKind::FeatureMissing);
        assert!(error.to_string().contains(command) && error.to_string().contains("Valkey"), "{error}");
    }
}

#[tokio::test]
async fn another_layout_is_rejected() {
    let valkey = valkey().await;
    valkey.check_layout(Feature::SESSION, 3).await.expect("the first to come sets it");
    valkey.check_layout(Feature::SESSION, 3).await.expect("the same again");
    let error = valkey.check_layout(Feature::SESSION, 4).await.expect_err("another");
    assert_eq!(error.kind(), ErrorKind::Layout);
    assert!(error.to_string().contains("layout version 3") && error.to_string().contains("version 4"), "{error}");
    valkey.check_layout(Feature::SEARCH, 4).await.expect("another feature has its own");
}

#[tokio::test]
async fn number_of_partitions_is_part_of_a_layout() {
    let valkey = valkey().await;
    let check = async |version, partitions| valkey.check_layout_with(Feature::REVOCATION, version, partitions).await;
    check(1, 4).await.expect("the first to come sets it");
    check(1, 4).await.expect("the same again");
    let record = keyplane_testkit::valkey().command(&["GET", &format!("{}:revocation:layout", valkey.app())]);
    assert_eq!(record.expect("read").text(), Some("1 partitions=4"));
    let error = check(1, 8).await.expect_err("another number");
    assert_eq!(error.kind(), ErrorKind::Layout);
    let text = error.to_string();
    assert!(text.contains("over 4 partitions") && text.contains("set to 8") && text.contains("KEYPLANE_APP"), "{text}");
    let error = check(2, 4).await.expect_err("another version");
    let text = error.to_string();
    assert!(text.contains("version 1 on 4 partitions") && text.contains("version 2 on 4 partitions"), "{text}");
    let error = valkey.check_layout(Feature::REVOCATION, 1).await.expect_err("a program without partitions");
    assert_eq!(error.kind(), ErrorKind::Layout, "{error}");
}

#[tokio::test]
async fn passed_deadline_sends_nothing() {
    let valkey = valkey().await;
    let key = key(&valkey, "u-3");
    let error = keyplane_deadline::scope(Instant::now(), valkey.run(&COUNT, &[&key], &[])).await.expect_err("too late");
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Timeout, false));
    assert_eq!(valkey.get(&key).await, Ok(None));
    let soon = Instant::now() + Duration::from_secs(5);
    let counted = keyplane_deadline::scope(soon, valkey.run(&COUNT, &[&key], &[])).await.expect("in time");
    assert_eq!(counted.int(), Ok(1));
}

#[tokio::test]
async fn wrong_password_is_named_and_never_shown() {
    let url = format!("valkey://keyplane:sec-ret@127.0.0.1:{}", keyplane_testkit::valkey().port());
    let valkey = Valkey::connect(&settings(&url), app()).expect("good settings");
    common::eventually("the rejection is known", async || {
        let error = valkey.ping().await.expect_err("the password is wrong");
        assert!(!format!("{error} {error:?} {valkey:?}").contains("sec-ret"));
        error.kind() == ErrorKind::Denied
    })
    .await;
}

#[tokio::test]
async fn nothing_goes_through_after_close() {
    let valkey = valkey().await;
    valkey.close().await;
    let error = valkey.ping().await.expect_err("closed");
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Unavailable, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_the_connections() {
    let valkey = valkey().await;
    let key = key(&valkey, "busy");
    let calls = (0..2_000).map(|_| {
        let (valkey, key) = (valkey.clone(), key.clone());
        tokio::spawn(async move { valkey.run(&COUNT, &[&key], &[]).await })
    });
    let mut seen: Vec<i64> = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        seen.push(call.await.expect("no panic").expect("counted").int().expect("a number"));
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(1..=2_000), "each call ran exactly once");
}

#[tokio::test]
async fn single_server_has_all_keys_in_one_place() {
    let valkey = connect(&settings(&keyplane_testkit::valkey().url())).await;
    let keys = ["u-1", "u-2", "u-3"].map(|subject| key(&valkey, &format!("together-{subject}")));
    assert!(keys.iter().all(|key| valkey.place(key).is_none()));
    static ALL: Script = Script::new(
        "test.all",
        "for _, key in ipairs(KEYS) do redis.call('SET', key, '1', 'PX', 60000) end return #KEYS",
    );
    let reply = valkey.run_together(&ALL, &[&keys[0], &keys[1], &keys[2]], &[]).await.expect("they share no tag");
    assert_eq!(reply.int(), Ok(3));
}

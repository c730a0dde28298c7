//! Life of a user's index, and what it knows of sessions of an earlier release.

mod support;

use std::time::Duration;

use keyplane_contracts::names::SessionId;
use keyplane_session::domain::{Fields, NewSession, Timeouts};
use keyplane_session::store::Store;
use keyplane_valkey::{Feature, Key, Script, Valkey};
use support::{MINUTE, fresh_id, plain, policy, retention, user};

static TTL: Script = Script::new("test.ttl", "return redis.call('PTTL', KEYS[1])");

/// Leaves a session as an earlier release would have written it.
static FORGET: Script = Script::new("test.forget", "return redis.call('HDEL', KEYS[1], 'lu')");

fn key(valkey: &Valkey, parts: &[&str]) -> Key {
    Key::tagged(valkey.app(), Feature::SESSION, "acme", "u-42", parts)
}

async fn create(store: &Store, idle: Duration) -> SessionId {
    let new = NewSession { timeouts: Timeouts { idle: Some(idle), absolute: None }, ..plain(Fields::default()) };
    let made = store.create(&user(), fresh_id(), &new, &policy()).await.expect("a session is made");
    made.name.session
}

/// Asserts that the index ends when events of a session that ends in `left` do, to within the time of a slow machine.
async fn ends_after(valkey: &Valkey, left: Duration) {
    let ttl = valkey.run(&TTL, &[&key(valkey, &["index"])], &[]).await.expect("a TTL").int().expect("a number");
    let ttl = Duration::from_millis(u64::try_from(ttl).expect("the index is there, and has a TTL"));
    let latest = left + retention().event_age;
    assert!(ttl <= latest && ttl + MINUTE / 2 > latest, "the index lives for {ttl:?}, not for {latest:?}");
}

#[tokio::test]
async fn index_outlives_the_last_session_by_the_age_of_events() {
    let (valkey, store) = support::store().await;
    let first = create(&store, MINUTE).await;
    ends_after(&valkey, MINUTE).await;
    let longer = create(&store, 20 * MINUTE).await;
    ends_after(&valkey, 20 * MINUTE).await;
    store.touch(&user().session(first.clone())).await.expect("it is live");
    ends_after(&valkey, 20 * MINUTE).await;

    store.delete(&user().session(longer), None).await.expect("it is live");
    ends_after(&valkey, MINUTE).await;
    let rotated = store.rotate(&user().session(first), fresh_id(), None).await.expect("it is live").name.session;
    ends_after(&valkey, MINUTE).await;

    // Never for less than the session itself, which may be as long as its absolute timeout.
    create(&store, 720 * MINUTE).await;
    ends_after(&valkey, 720 * MINUTE).await;
    store.revoke_all(&user(), Some(&rotated), None).await.expect("the others end");
    ends_after(&valkey, MINUTE).await;
}

#[tokio::test]
async fn sessions_of_an_earlier_release_are_evicted_by_their_expiry() {
    let (valkey, store) = support::store().await;
    let mut two = policy();
    two.max_sessions = 2;
    let long = create(&store, 30 * MINUTE).await;
    let short = create(&store, MINUTE).await;
    for id in [&long, &short] {
        valkey.run(&FORGET, &[&key(&valkey, &["s", id.as_str()])], &[]).await.expect("a session loses a field");
    }
    store.create(&user(), fresh_id(), &plain(Fields::default()), &two).await.expect("a session is made");
    store.get(&user().session(short)).await.expect("it was used after the other, though it ends before it");
    store.get(&user().session(long)).await.expect_err("it is evicted");
}

//! Losses that the instances give back to the store.

use std::time::{Duration, Instant};

use keyplane_auth_revocation::domain::Cause;
use keyplane_engine::Valkey;
use keyplane_revocation::{Answer, Scope};
use keyplane_testkit::{Fault, FaultProxy, eventually};

use crate::rig::{self, Instance, PATIENCE, TENANT, is_revoked, scope_of, token};

fn server() -> Valkey {
    Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server of its own")
}

/// Keys of all partitions' feeds.
fn feeds(app: &str) -> Vec<String> {
    (0..4).map(|partition| format!("{app}:revocation:_:feed:{{p{partition}}}")).collect()
}

/// Revokes one token for each partition and a session, and undoes one.
async fn fill(instance: &Instance) -> Vec<String> {
    let jtis: Vec<String> = (0..24).map(|number| format!("j-{number}")).collect();
    for jti in &jtis {
        instance.revoke(scope_of(jti)).await;
    }
    instance.revoke(Scope::Session("s".into())).await;
    let (written, _) = instance.revoke(scope_of("mistake")).await;
    let undone =
        instance.store.undo(TENANT, &written.record.target.id(), None, Cause::default()).await.expect("undone");
    instance.mirror.apply(&undone.record);
    jtis
}

async fn knows_all(instance: &Instance, jtis: &[String]) {
    for jti in jtis {
        instance.rejects(&token(jti)).await;
    }
    instance.rejects(&keyplane_revocation::Claims { sid: "s", ..token("other") }).await;
    eventually("what was taken back stays so", PATIENCE, async || {
        let mistake = instance.check(&token("mistake")).await.map_err(|error| error.to_string())?;
        if mistake.answer == Answer::Active { Ok(()) } else { Err(format!("{mistake:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_of_a_restarted_store_are_given_back() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let one = rig::start(&app, &valkey.url(), rig::unchanged).await;
    let other = rig::start(&app, &valkey.url(), rig::unchanged).await;
    let jtis = fill(&one).await;
    knows_all(&other, &jtis).await;
    let epoch = other.mirror.head().epoch;
    let before = other.mirror.subscribe();

    let acknowledged = Instant::now();
    valkey.restart().expect("it starts again, empty");
    let late = other.late_actives(&token("j-0"), acknowledged, Duration::from_secs(3)).await;
    assert_eq!(late, 0, "late answers");
    other.answers_from_memory().await;
    println!("answers from memory {:?} after the restart", acknowledged.elapsed());
    assert_ne!(other.mirror.head().epoch, epoch, "the feed began anew");
    knows_all(&other, &jtis).await;
    drop((one, other, before));
    let fresh = rig::start(&app, &valkey.url(), rig::unchanged).await;
    knows_all(&fresh, &jtis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_store_is_not_believed_until_it_is_complete_again() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let proxy = FaultProxy::to_port(valkey.port());
    let one = rig::start(&app, &valkey.url(), rig::unchanged).await;
    let other = rig::start(&app, &proxy.url(&valkey.url()), rig::unchanged).await;
    let jtis = fill(&one).await;
    knows_all(&other, &jtis).await;
    // The other instance has not received the last one, which the store then loses.
    proxy.set(Fault::Cut);
    let (_, acknowledged) = one.revoke(scope_of("last")).await;
    valkey.command(&["FLUSHALL"]).expect("everything is gone");
    proxy.set(Fault::Pass);
    let late = other.late_actives(&token("last"), acknowledged, Duration::from_secs(3)).await;
    assert_eq!(late, 0, "late answers");
    other.answers_from_memory().await;
    for instance in [&one, &other] {
        knows_all(instance, &jtis).await;
        instance.rejects(&token("last")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_was_trimmed_is_filled_again() {
    let (app, valkey) = (keyplane_testkit::app(), keyplane_testkit::valkey());
    let one = rig::start(&app, &valkey.url(), rig::unchanged).await;
    let jtis = fill(&one).await;
    let epoch = one.mirror.head().epoch;
    for feed in feeds(&app) {
        valkey.command(&["XTRIM", &feed, "MAXLEN", "0"]).expect("it is trimmed");
    }
    eventually("every feed is filled again", PATIENCE, async || {
        let length = |feed: &String| valkey.command(&["XLEN", feed]).ok().and_then(|length| length.int()).unwrap_or(0);
        let lengths: Vec<i64> = feeds(&app).iter().map(length).collect();
        if lengths.iter().sum::<i64>() >= 26 { Ok(()) } else { Err(lengths) }
    })
    .await;
    assert_eq!(one.mirror.head().epoch, epoch, "memory was whole all the time");
    let fresh = rig::start(&app, &valkey.url(), rig::unchanged).await;
    knows_all(&fresh, &jtis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_trimmed_before_they_were_read_never_count_as_good_tokens() {
    let (app, valkey) = (keyplane_testkit::app(), keyplane_testkit::valkey());
    let proxy = FaultProxy::to_port(valkey.port());
    let one = rig::start(&app, &valkey.url(), rig::unchanged).await;
    let other = rig::start(&app, &proxy.url(&valkey.url()), rig::unchanged).await;
    let jtis = fill(&one).await;
    knows_all(&other, &jtis).await;
    let epoch = other.mirror.head().epoch;
    proxy.set(Fault::Cut);
    let missed: Vec<String> = (0..8).map(|number| format!("missed-{number}")).collect();
    let mut acknowledged = Instant::now();
    for jti in &missed {
        acknowledged = one.revoke(scope_of(jti)).await.1;
    }
    for feed in feeds(&app) {
        valkey.command(&["XTRIM", &feed, "MAXLEN", "0"]).expect("it is trimmed");
    }
    proxy.set(Fault::Pass);
    for jti in &missed {
        let late = other.late_actives(&token(jti), acknowledged, Duration::from_millis(400)).await;
        assert_eq!(late, 0, "{jti}: late answers");
    }
    other.answers_from_memory().await;
    assert_ne!(other.mirror.head().epoch, epoch);
    for jti in &missed {
        let checked = other.check(&token(jti)).await.expect("it can be told");
        assert!(is_revoked(&checked.answer), "{jti}: {checked:?}");
    }
    knows_all(&other, &jtis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_expired_entirely_is_no_loss() {
    let (app, valkey) = (keyplane_testkit::app(), keyplane_testkit::valkey());
    let short = |kept: &mut keyplane_auth_revocation::store::Settings, _: &mut _| kept.rules.leeway = Duration::ZERO;
    let one = rig::start(&app, &valkey.url(), short).await;
    let mut revoke = rig::revocation(scope_of("j"));
    revoke.expires = Some(keyplane_revocation::Millis(rig::now().0 + 1500));
    one.store.revoke(vec![revoke]).await.pop().expect("one result").expect("it is revoked");
    eventually("all that was revoked has expired", PATIENCE, async || {
        let there =
            feeds(&app).iter().any(|feed| valkey.command(&["EXISTS", feed]).ok().and_then(|n| n.int()) != Some(0));
        !there
    })
    .await;
    let late = rig::start(&app, &valkey.url(), short).await;
    late.answers_from_memory().await;
    // Time for a few looks at the feed.
    let begun = Instant::now();
    eventually("the feed was looked at", PATIENCE, async || begun.elapsed() > Duration::from_millis(2500)).await;
    for instance in [&one, &late] {
        assert!(instance.mirror.head().epoch.ends_with(".0"), "the feed was taken for a damaged one");
        instance.answers_from_memory().await;
    }
    one.revoke(scope_of("next")).await;
    late.rejects(&token("next")).await;
}

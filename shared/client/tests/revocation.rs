//! Replica against a service whose feed, age and answers the test decides.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyplane_client::{Claims, Millis, ReplicaSettings, RevocationReplica, Rule, Verdict};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_revocation::{Entry, Scope, State, Target, TokenHash, Version, wire};
use keyplane_testkit::eventually;
use std::sync::atomic::Ordering;
use support::{Fake, rules};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const PATIENCE: Duration = Duration::from_secs(20);
const ISSUER: &str = "https://id.example";

async fn ready(fake: &Fake) -> RevocationReplica {
    let replica = RevocationReplica::connect(fake.endpoint.clone(), ReplicaSettings::default());
    timeout(PATIENCE, replica.ready()).await.expect("it has all that there is");
    replica
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Millis(i64::try_from(since.as_millis()).expect("before the end of time"))
}

/// Claims of a token of the session `sid`.
fn claims<'a>(jti: &'a str, sid: &'a str) -> Claims<'a> {
    let (issued_at, expires) = (Some(now()), Some(now().plus(Duration::from_mins(5))));
    Claims { tenant: "acme", issuer: ISSUER, jti, sid, subject: "u-42", issued_at, expires, ..Claims::default() }
}

fn revocation(scope: Scope, version: u64) -> pb::FeedEntry {
    let target = Target { tenant: "acme".into(), scope };
    let expires = now().plus(Duration::from_hours(1));
    let state = State { undone: false, expires, cutoff: None, token_expires: None, kept: Vec::new() };
    wire::feed_entry(&Entry { target, state, version: Version(version) })
}

fn session_entry(sid: &str, version: u64) -> pb::FeedEntry {
    revocation(Scope::Session(sid.into()), version)
}

fn token_entry(jti: &str, version: u64) -> pb::FeedEntry {
    revocation(Scope::Token(TokenHash::digest("acme", ISSUER, jti)), version)
}

fn answer(verdict: pb::Verdict, source: pb::Source) -> pb::CheckResponse {
    let freshness = Some(pb::Freshness { source: source.into(), ..pb::Freshness::default() });
    let rule = if verdict == pb::Verdict::Revoked { pb::Rule::Token } else { pb::Rule::Unspecified };
    pb::CheckResponse { verdict: verdict.into(), rule: rule.into(), freshness, ..pb::CheckResponse::default() }
}

/// Reports whether an unknown verdict is marked as suspect.
#[track_caller]
fn suspect(verdict: Result<Verdict, Status>) -> bool {
    let status = verdict.expect_err("nothing can decide");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "FRESHNESS_UNKNOWN");
    info.metadata.get("suspect").is_some_and(|suspect| suspect == "true")
}

async fn until_fresh(replica: &RevocationReplica) {
    eventually("it answers from memory", PATIENCE, async || replica.check_now(&claims("j", "s")).is_some()).await;
}

/// Verdict of memory, once it is fresh: a busy machine may be late for a moment.
async fn remembered(replica: &RevocationReplica, claims: &Claims<'_>) -> Verdict {
    eventually("it answers from memory", PATIENCE, async || replica.check_now(claims).is_some()).await;
    loop {
        if let Some(verdict) = replica.check_now(claims) {
            return verdict;
        }
        tokio::task::yield_now().await;
    }
}

async fn until_stale(replica: &RevocationReplica) {
    eventually("it does not answer from memory", PATIENCE, async || replica.check_now(&claims("j", "s")).is_none())
        .await;
}

// === what it knows ===

#[tokio::test(flavor = "multi_thread")]
async fn fresh_memory_answers() {
    let fake = Fake::start().await;
    fake.revoke(session_entry("before", 1));
    let replica = ready(&fake).await;
    let before = remembered(&replica, &claims("j", "before")).await;
    let of_snapshot = matches!(before, Verdict::Revoked { rule: Some(Rule::Session), revocation: Some(_) });
    assert!(of_snapshot, "{before:?}");
    assert_eq!(remembered(&replica, &claims("j", "after")).await, Verdict::Active);
    let mut changes = replica.changes();
    changes.borrow_and_update();
    fake.revoke(session_entry("after", 2));
    timeout(PATIENCE, changes.changed()).await.expect("in time").expect("the replica lives");
    assert!(remembered(&replica, &claims("j", "after")).await.is_revoked());
    assert!(replica.age().is_some_and(|age| age < PATIENCE));
    assert_eq!(fake.checks(), 0, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_without_key_id_is_rejected_while_a_key_of_its_issuer_is_revoked() {
    let fake = Fake::start().await;
    let replica = ready(&fake).await;
    let (bare, mut changes) = (claims("j", "s"), replica.changes());
    assert_eq!(remembered(&replica, &bare).await, Verdict::Active);
    changes.borrow_and_update();
    fake.revoke(revocation(Scope::Key { issuer: ISSUER.into(), kid: "stolen".into() }, 1));
    timeout(PATIENCE, changes.changed()).await.expect("in time").expect("the replica lives");
    assert_eq!(remembered(&replica, &bare).await, Verdict::KeyUnknown);
    assert!(Verdict::KeyUnknown.is_revoked(), "it must be rejected");
    assert_eq!(remembered(&replica, &Claims { kid: "good", ..bare }).await, Verdict::Active);
    let cut = timeout(PATIENCE, replica.revoked(&bare)).await.expect("a live stream is cut");
    assert_eq!(cut, Verdict::KeyUnknown);
    // Suspect in memory; then revoked while the service is unavailable.
    fake.revoke(token_entry("j-1", 2));
    fake.change(|script| script.check = Ok(answer(pb::Verdict::KeyUnknown, pb::Source::Store)));
    let verdict = eventually("the filter holds it", PATIENCE, async || {
        let verdict = replica.is_revoked(&claims("j-1", "s")).await.map_err(|status| status.to_string())?;
        if fake.checks() > 0 { Ok(verdict) } else { Err(format!("{verdict:?}")) }
    })
    .await;
    assert_eq!(verdict, Verdict::KeyUnknown);
    fake.change(|script| (script.check, script.age) = (Err(Code::Unavailable), None));
    until_stale(&replica).await;
    assert_eq!(replica.is_revoked(&bare).await.expect("memory holds it"), Verdict::KeyUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_looks_revoked_is_checked_at_the_service() {
    let fake = Fake::start().await;
    fake.revoke(token_entry("j-1", 1));
    let replica = ready(&fake).await;
    assert_eq!(replica.check_now(&claims("j-1", "s")), None, "a filter is never sure");
    fake.change(|script| script.check = Ok(answer(pb::Verdict::Revoked, pb::Source::Local)));
    let verdict = replica.is_revoked(&claims("j-1", "s")).await.expect("the service answers");
    assert_eq!(verdict, Verdict::Revoked { rule: Some(Rule::Token), revocation: None });
    fake.change(|script| script.check = Ok(answer(pb::Verdict::Active, pb::Source::Store)));
    let verdict = replica.is_revoked(&claims("j-1", "s")).await.expect("the service answers");
    assert_eq!((verdict, fake.checks()), (Verdict::Active, 2), "a false positive locks nobody out");
    fake.change(|script| script.check = Err(Code::Unavailable));
    assert!(suspect(replica.is_revoked(&claims("j-1", "s")).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_ends_when_its_token_is_revoked_or_expires() {
    let fake = Fake::start().await;
    let replica = ready(&fake).await;
    let waiting = {
        let replica = replica.clone();
        tokio::spawn(async move { replica.revoked(&claims("j", "s-1")).await })
    };
    fake.revoke(session_entry("s-2", 1));
    let mut short = claims("j", "s-3");
    // With the leeway, half a second from now.
    short.expires = Some(Millis(now().0 - 29_500));
    short.issued_at = Some(Millis(now().0 - 60_000));
    let expired = timeout(PATIENCE, replica.revoked(&short)).await.expect("it expires");
    assert_eq!(expired, Verdict::Revoked { rule: Some(Rule::Expired), revocation: None });
    assert!(!waiting.is_finished(), "another session was revoked");
    fake.revoke(session_entry("s-1", 2));
    let cut = timeout(PATIENCE, waiting).await.expect("in time").expect("no panic");
    assert!(matches!(cut, Verdict::Revoked { rule: Some(Rule::Session), .. }), "{cut:?}");
}

// === how old it is ===

#[tokio::test(flavor = "multi_thread")]
async fn stale_memory_does_not_answer() {
    let fake = Fake::start().await;
    fake.revoke(session_entry("ended", 1));
    fake.revoke(token_entry("j-1", 2));
    let replica = ready(&fake).await;
    for age in [Some(Duration::from_secs(10)), None] {
        fake.change(|script| script.age = age);
        until_stale(&replica).await;
        fake.change(|script| script.check = Ok(answer(pb::Verdict::Active, pb::Source::Store)));
        let asked = fake.checks();
        assert_eq!(replica.is_revoked(&claims("j", "s")).await.expect("the service answers"), Verdict::Active);
        assert_eq!(fake.checks(), asked + 1);

        // The service's own policy for outages is a guess, and this caller has one of its own.
        for check in [Ok(answer(pb::Verdict::Active, pb::Source::Outage)), Err(Code::Internal), Err(Code::Unavailable)]
        {
            fake.change(|script| script.check = check);
            assert!(!suspect(replica.is_revoked(&claims("j", "s")).await));
            assert!(suspect(replica.is_revoked(&claims("j-1", "s")).await));
            let held = replica.is_revoked(&claims("j", "ended")).await.expect("it was revoked, and still is");
            assert!(held.is_revoked());
        }
        fake.change(|script| script.check = Err(Code::InvalidArgument));
        let status = replica.is_revoked(&claims("j", "s")).await.expect_err("the claims are rejected");
        assert_eq!(status.code(), Code::InvalidArgument, "no outage, so no policy for outages: {status:?}");
        fake.change(|script| script.age = Some(Duration::ZERO));
        until_fresh(&replica).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_that_lags_behind_the_head_is_not_fresh() {
    let fake = Fake::start().await;
    let replica = ready(&fake).await;
    fake.change(|script| {
        script.speaks = false;
        script.entries.push(session_entry("s", 1));
    });
    // Never `active` again: either it is too old, or it knows.
    until_stale(&replica).await;
    fake.change(|script| script.speaks = true);
    eventually("it catches up", PATIENCE, async || {
        let verdict = replica.check_now(&claims("j", "s"));
        assert_ne!(verdict, Some(Verdict::Active), "the head says that there is more");
        verdict.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_snapshot_answers_nothing() {
    let fake = Fake::start().await;
    fake.change(|script| script.live = false);
    fake.revoke(session_entry("s", 1));
    let replica = RevocationReplica::connect(fake.endpoint.clone(), ReplicaSettings::default());
    let mut changes = replica.changes();
    timeout(PATIENCE, changes.wait_for(|count| *count > 0)).await.expect("a part comes").expect("the replica lives");
    assert_eq!((replica.check_now(&claims("j", "other")), replica.age()), (None, None));
    fake.change(|script| script.live = true);
    timeout(PATIENCE, replica.ready()).await.expect("the snapshot is complete");
}

// === what breaks ===

#[tokio::test(flavor = "multi_thread")]
async fn broken_feed_is_resumed() {
    let fake = Fake::start().await;
    fake.revoke(session_entry("one", 1));
    let replica = ready(&fake).await;
    fake.change(|script| {
        script.rejects = Some(Code::Unavailable);
        script.stream += 1;
    });
    eventually("it tries again and again", PATIENCE, async || fake.watches().len() > 3).await;
    // Nothing happened since, and the service says so: what is known is still all.
    until_fresh(&replica).await;
    fake.revoke(session_entry("two", 2));
    until_stale(&replica).await;
    fake.change(|script| script.rejects = None);
    until_fresh(&replica).await;
    assert!(remembered(&replica, &claims("j", "two")).await.is_revoked());
    let watches = fake.watches();
    assert_eq!(watches[0], "", "at first a snapshot");
    assert!(watches[1..].iter().all(|token| token == "1"), "then what happened since: {watches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_token_that_is_rejected_is_dropped() {
    let fake = Fake::start().await;
    fake.revoke(session_entry("one", 1));
    let replica = ready(&fake).await;
    fake.change(|script| {
        script.rejects = Some(Code::InvalidArgument);
        script.stream += 1;
    });
    eventually("it asks for a snapshot", PATIENCE, async || {
        fake.watches().ends_with(&[String::new()]) && fake.watches().len() > 2
    })
    .await;
    fake.change(|script| script.rejects = None);
    until_fresh(&replica).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_is_not_fresh_until_the_feed_is_in_it() {
    let fake = Fake::start().await;
    fake.revoke(session_entry("one", 1));
    let replica = ready(&fake).await;
    // A failover: the store has lost it, and the same place holds another.
    fake.change(|script| {
        script.speaks = false;
        script.epoch = "second";
        script.entries = vec![session_entry("two", 2)];
    });
    until_stale(&replica).await;
    fake.change(|script| {
        script.speaks = true;
        script.stream += 1;
        script.rejects = Some(Code::InvalidArgument);
    });
    eventually("the place is dropped", PATIENCE, async || fake.watches().ends_with(&[String::new(), String::new()]))
        .await;
    fake.change(|script| script.rejects = None);
    until_fresh(&replica).await;
    assert!(remembered(&replica, &claims("j", "one")).await.is_revoked(), "it was revoked, and nobody undid it");
    assert!(remembered(&replica, &claims("j", "two")).await.is_revoked());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_need_another_snapshot() {
    let fake = Fake::start().await;
    fake.revoke(session_entry("one", 1));
    let replica = ready(&fake).await;
    let mut expired = claims("j", "s");
    expired.expires = Some(Millis(now().0 - 20_000));
    expired.issued_at = Some(Millis(now().0 - 60_000));
    assert_eq!(remembered(&replica, &expired).await, Verdict::Active, "the leeway is 30 seconds");
    fake.change(|script| {
        script.rules = rules(0);
        script.stream += 1;
    });
    let rejected = async || replica.check_now(&expired).is_some_and(Verdict::is_revoked);
    eventually("the new rules hold", PATIENCE, rejected).await;
    assert!(remembered(&replica, &claims("j", "one")).await.is_revoked());
    assert_eq!(fake.watches(), ["", "1", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_entry_lets_no_token_pass() {
    let fake = Fake::start().await;
    let replica = ready(&fake).await;
    fake.change(|script| script.check = Ok(answer(pb::Verdict::Revoked, pb::Source::Local)));
    // A later release revokes by what this one knows nothing of.
    fake.revoke(pb::FeedEntry { scope: 99, ..session_entry("s", 1) });
    until_stale(&replica).await;
    eventually("it looks again", PATIENCE, async || fake.watches().len() > 2).await;
    assert_eq!(replica.check_now(&claims("j", "s")), None);
    assert!(replica.is_revoked(&claims("j", "s")).await.expect("the service knows").is_revoked());
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_feed_is_broken() {
    let fake = Fake::start().await;
    let settings = ReplicaSettings { silence: Duration::from_millis(300), ..ReplicaSettings::default() };
    let replica = RevocationReplica::connect(fake.endpoint.clone(), settings);
    timeout(PATIENCE, replica.ready()).await.expect("it has all that there is");
    fake.change(|script| script.speaks = false);
    eventually("it connects again", PATIENCE, async || fake.watches().len() > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_ends_with_its_last_clone() {
    let fake = Fake::start().await;
    let replica = ready(&fake).await;
    let clone = replica.clone();
    drop(replica);
    until_fresh(&clone).await;
    drop(clone);
    eventually("the feed is let go", PATIENCE, async || fake.open.load(Ordering::SeqCst) == 0).await;
}

/// Expiry by the store's time: this machine's clock is a day ahead of it, then a day behind.
#[tokio::test(flavor = "multi_thread")]
async fn token_expires_by_the_stores_clock() {
    const DAY: Duration = Duration::from_hours(25);
    for (store_time, base) in [
        ((|| wire::timestamp(now().minus(DAY))) as fn() -> prost_types::Timestamp, now().minus(DAY)),
        (|| wire::timestamp(now().plus(DAY)), now().plus(DAY)),
    ] {
        let fake = Fake::start().await;
        fake.change(|script| script.store_time = Some(store_time));
        let replica = ready(&fake).await;
        until(&replica, base, Duration::from_mins(5), Some(Verdict::Active)).await;
        let expired = Verdict::Revoked { rule: Some(Rule::Expired), revocation: None };
        until(&replica, base.minus(Duration::from_mins(10)), Duration::from_mins(5), Some(expired)).await;
    }
}

/// Waits until memory says this of a token that was issued at `issued`, for `life`.
async fn until(replica: &RevocationReplica, issued: Millis, life: Duration, verdict: Option<Verdict>) {
    let token = Claims { issued_at: Some(issued), expires: Some(issued.plus(life)), ..claims("j", "s") };
    eventually("it answers from memory", PATIENCE, async || {
        let checked = replica.check_now(&token);
        assert!(checked.is_none() || checked == verdict, "{checked:?}, not {verdict:?}: the store's time counts");
        checked.is_some()
    })
    .await;
}

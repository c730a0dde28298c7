//! Revoking and undoing: records, outcomes, and the feed.

use std::collections::HashSet;
use std::time::Duration;

use keyplane_auth_revocation::domain::{Cause, Cutoff, Outcome, Revoke};
use keyplane_auth_revocation::error::Error;
use keyplane_auth_revocation::store::{Settings, Store};
use keyplane_engine::{Cluster, Valkey as Server};
use keyplane_revocation::{Claims, CutoffBy, Kept, Millis, Rule, Rules, Sequence, Target, TokenHash, Version};
use keyplane_server::ServiceError;
use keyplane_testkit::eventually;
use keyplane_valkey::ErrorKind;

use crate::case::{Case, HOUR, ISSUER, TENANT, client, connect, key, modules, session, subject, tenant, token};

fn violated(error: &Error) -> &str {
    let Error::Invalid(violations) = error else { panic!("a field is refused, not {error}") };
    &violations[0].field
}

#[tokio::test]
async fn a_token_that_is_revoked_again_stays_as_it_is() {
    let case = Case::new().await;
    let exp = Millis(case.store.now().0 + HOUR);
    let first = case.revoke(token("j-1", Some(exp))).await.expect("a revocation");
    assert_eq!(first.outcome, Outcome::Changed);
    assert_eq!(
        first.record.state.expires,
        exp.plus(Duration::from_secs(60)),
        "until the token has expired, leeway included"
    );
    assert_eq!(first.record.state.token_expires, Some(exp));
    let again = case.revoke(token("j-1", Some(exp))).await.expect("the same revocation");
    assert_eq!((again.outcome, &again.record), (Outcome::Unchanged, &first.record));
    assert!(again.sequence.covers(&first.sequence), "waiting for the repetition waits for the first");
    assert_eq!(case.feed_length().await, 1, "a repetition appends nothing");
    assert_eq!(case.store.audit(TENANT, 10, None).await.expect("the audit").entries.len(), 1);
    assert_eq!(case.rule(&case.claims("j-1")).await, Some(Rule::Token));
    assert_eq!(case.rule(&case.claims("j-2")).await, None);
    assert_eq!(case.store.get(TENANT, &first.record.target.id()).await.expect("the record"), first.record);
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn the_later_of_two_expiries_holds_and_neither_is_trusted() {
    let case = Case::new().await;
    let now = case.store.now().0;
    let (soon, late) = (Millis(now + HOUR), Millis(now + 5 * HOUR));
    for (jti, first, second) in [("a", soon, late), ("b", late, soon)] {
        case.revoke(token(jti, Some(first))).await.expect("a revocation");
        let second = case.revoke(token(jti, Some(second))).await.expect("another expiry");
        assert_eq!(second.outcome, Outcome::Changed, "{jti}: the token presented may name either");
        assert_eq!(second.record.state.expires, late.plus(Duration::from_secs(60)), "{jti}: only ever extended");
        assert_eq!(second.record.state.token_expires, None, "{jti}: every check must look for it");
        for expires in [soon, late, Millis(now + 9 * HOUR)] {
            let claims = Claims { expires: Some(expires), ..case.claims(jti) };
            assert_eq!(case.rule(&claims).await, Some(Rule::Token), "{jti}, presented with exp {expires}");
        }
    }
}

#[tokio::test]
async fn a_token_of_unknown_expiry_is_held_for_as_long_as_any_may_live() {
    let case = Case::new().await;
    let made = case.revoke(token("j", None)).await.expect("a revocation");
    let held = made.record.state.expires.0 - case.store.now().0;
    // The leeway twice: the issuer's clock may be ahead, and an expired token is accepted for as long; and once for
    // retries.
    assert!((24 * HOUR + 119_000..=24 * HOUR + 180_000).contains(&held), "it is held for {held} ms");
    assert_eq!(case.revoke(token("j", None)).await.expect("again").outcome, Outcome::Unchanged);
    assert_eq!(case.rule(&case.claims("j")).await, Some(Rule::Token));
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn expired_tokens_are_not_written_and_too_long_lives_are_rejected() {
    let case = Case::new().await;
    let now = case.store.now().0;
    let expired = case.revoke(token("old", Some(Millis(now - 61_000)))).await.expect("nothing to do is no error");
    assert_eq!((expired.outcome, expired.record.version), (Outcome::Expired, Version(0)));
    assert!(matches!(case.store.get(TENANT, &expired.record.target.id()).await, Err(Error::NotFound)));
    let within_leeway = case.revoke(token("late", Some(Millis(now - 30_000)))).await.expect("a revocation");
    assert_eq!(within_leeway.outcome, Outcome::Changed, "a verifier with leeway accepts the token still");
    for revoke in [token("far", Some(Millis(now + 25 * HOUR))), session("far", Some(Millis(now + 401 * 24 * HOUR)))] {
        let error = case.revoke(revoke).await.expect_err("longer than it may");
        assert_eq!((violated(&error), error.describe().reason.name), ("expire_time", "INVALID_REQUEST"));
    }
    assert_eq!(case.feed_length().await, 1);
}

#[tokio::test]
async fn a_session_is_only_ever_prolonged() {
    let case = Case::new().await;
    let now = case.store.now().0;
    let first = case.revoke(session("s", Some(Millis(now + 2 * HOUR)))).await.expect("a revocation");
    let shorter = case.revoke(session("s", Some(Millis(now + HOUR)))).await.expect("a shorter one");
    assert_eq!((shorter.outcome, shorter.record), (Outcome::Unchanged, first.record));
    let default = case.revoke(session("s", None)).await.expect("for as long as a token may live");
    assert_eq!(default.outcome, Outcome::Changed);
    assert_eq!(case.revoke(session("s", None)).await.expect("again").outcome, Outcome::Unchanged);
    let longest = case.revoke(session("s", Some(Millis(now + 399 * 24 * HOUR)))).await.expect("a longer one");
    assert_eq!(longest.record.state.expires, Millis(now + 399 * 24 * HOUR));
    assert_eq!(case.rule(&Claims { sid: "s", ..case.claims("j") }).await, Some(Rule::Session));
    assert_eq!(case.rule(&Claims { sid: "other", ..case.claims("j") }).await, None);
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn a_session_counts_until_its_end_and_no_longer() {
    let case = Case::new().await;
    let made = case.revoke(session("s", Some(Millis(case.store.now().0 + 300)))).await.expect("a revocation");
    let claims = Claims { sid: "s", ..case.claims("j") };
    assert_eq!(case.rule(&claims).await, Some(Rule::Session));
    eventually("it ends", Duration::from_secs(5), async || case.rule(&claims).await.is_none()).await;
    assert!(matches!(case.store.get(TENANT, &made.record.target.id()).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_cutoff_is_not_in_the_future_and_never_moves_back() {
    let case = Case::new().await;
    let now = case.store.now().0;
    let at = |at| subject("u", CutoffBy::IssuedAt, Cutoff::At(Millis(at)), &[]);
    let error = case.revoke(at(now + 60_000)).await.expect_err("a cutoff in the future");
    assert_eq!(violated(&error), "cutoff_time");
    let first = case.revoke(at(now - 5000)).await.expect("a cutoff");
    for earlier in [now - 5000, now - 9000] {
        let same = case.revoke(at(earlier)).await.expect("an earlier one");
        assert_eq!((same.outcome, &same.record), (Outcome::Unchanged, &first.record));
    }
    let last = case.revoke(subject("u", CutoffBy::IssuedAt, Cutoff::Now, &[])).await.expect("a later one");
    let cutoff = last.record.state.cutoff.expect("a cutoff");
    assert!(cutoff.0 >= now - 1000 && last.record.version > first.record.version);
    let issued = |at| Claims { subject: "u", issued_at: Some(Millis(at)), ..case.claims("j") };
    assert_eq!(case.rule(&issued(cutoff.0)).await, Some(Rule::Subject), "issued in the very millisecond");
    assert_eq!(case.rule(&issued(cutoff.0 + 1)).await, None, "issued in the next one");
    assert_eq!(
        case.rule(&Claims { issued_at: None, ..issued(0) }).await,
        Some(Rule::Subject),
        "without a time of issue"
    );
}

/// Logins that are refreshed for weeks: their tokens keep the `auth_time`, and each has a new `iat` and `exp`.
#[tokio::test]
async fn a_cutoff_of_logins_outlives_the_tokens_of_its_day() {
    let case = Case::new().await;
    let memory = Settings::default().rules.memory().as_millis() as i64;
    let ends = async |by| {
        let made = case.revoke(subject("u", by, Cutoff::Now, &[])).await.expect("a cutoff");
        made.record.state.expires.0 - case.store.now().0
    };
    let (issued, login) = (ends(CutoffBy::IssuedAt).await, ends(CutoffBy::AuthTime).await);
    assert!((memory - 5000..2 * memory).contains(&issued), "{issued} ms by iat");
    assert!(login > 399 * 24 * HOUR, "{login} ms by auth_time");
}

#[tokio::test]
async fn sessions_that_are_kept_fall_back_to_the_cutoff_before() {
    let case = Case::new().await;
    let now = case.store.now().0;
    let cut = |at, keep: &[&str]| subject("u", CutoffBy::AuthTime, Cutoff::At(Millis(now - at)), keep);
    let kept = |sid: &str, cutoff: Option<i64>| Kept { sid: sid.into(), cutoff: cutoff.map(|at| Millis(now - at)) };
    let first = case.revoke(cut(9000, &["a", "b", "a"])).await.expect("the first cutoff");
    assert_eq!(first.record.state.kept, [kept("a", None), kept("b", None)], "there was none before");
    let second = case.revoke(cut(6000, &["a", "c d,=;"])).await.expect("the second");
    assert_eq!(second.record.state.kept, [kept("a", None), kept("c d,=;", Some(9000))], "b is not kept any more");
    let third = case.revoke(cut(3000, &["c d,=;", "b"])).await.expect("the third");
    assert_eq!(third.record.state.kept, [kept("c d,=;", Some(9000)), kept("b", Some(6000))]);
    let claims = |sid, auth| Claims { subject: "u", sid, auth_time: Some(Millis(now - auth)), ..case.claims("j") };
    assert_eq!(case.rule(&claims("a", 3000)).await, Some(Rule::Subject));
    assert_eq!(case.rule(&claims("b", 5999)).await, None);
    assert_eq!(case.rule(&claims("b", 6000)).await, Some(Rule::Subject));
    // An undone cutoff is none.
    case.store.undo(TENANT, &third.record.target.id(), None, Cause::default()).await.expect("undone");
    let fourth = case.revoke(cut(8000, &["a"])).await.expect("an earlier cutoff than the undone one");
    assert_eq!(fourth.record.state.kept, [kept("a", None)]);
}

#[tokio::test]
async fn undo_undoes_the_version_of_its_etag_once() {
    let case = Case::new().await;
    let exp = Some(Millis(case.store.now().0 + HOUR));
    let made = case.revoke(token("j", exp)).await.expect("a revocation");
    let id = made.record.target.id();
    let undo = async |version| case.store.undo(TENANT, &id, version, Cause::default()).await;
    let stale = undo(Some(Version(made.record.version.0 - 1))).await.expect_err("another version");
    assert!(matches!(stale, Error::StaleWrite { current } if current == made.record.version.0), "{stale}");
    let undone = undo(Some(made.record.version)).await.expect("it is undone");
    assert!(undone.record.state.undone && undone.record.version > made.record.version);
    assert_eq!(undone.record.state.expires, made.record.state.expires, "the tombstone stays as long");
    assert_eq!(undone.outcome, Outcome::Changed);
    let again = undo(Some(made.record.version)).await.expect("a retry, which names the version that it read");
    assert_eq!((again.outcome, again.record), (Outcome::Unchanged, undone.record));
    assert_eq!(case.rule(&case.claims("j")).await, None);
    assert_eq!(
        case.store.token_revocation(TENANT, TokenHash::digest(TENANT, ISSUER, "j")).await.expect("a read"),
        None
    );
    let anew = case.revoke(token("j", exp)).await.expect("it is revoked anew");
    assert_eq!(case.rule(&case.claims("j")).await, Some(Rule::Token));
    let read = case.store.token_revocation(TENANT, TokenHash::digest(TENANT, ISSUER, "j")).await.expect("a read");
    assert_eq!(read, Some(anew.record));
    let missing = token("never", None).target.id();
    let missing = case.store.undo(TENANT, &missing, None, Cause::default()).await;
    assert!(matches!(missing, Err(Error::NotFound)), "{missing:?}");
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn a_jti_is_scoped_by_tenant_and_issuer() {
    let case = Case::new().await;
    case.revoke(token("j", None)).await.expect("a revocation");
    case.revoke(session("s", None)).await.expect("a revocation");
    case.revoke(tenant(Cutoff::Now)).await.expect("a revocation");
    for claims in [
        Claims { tenant: "other", sid: "s", ..case.claims("j") },
        Claims { tenant: "other", issuer: "https://idp.example/acme", ..case.claims("j") },
    ] {
        assert_eq!(case.rule(&claims).await, None, "{claims:?}");
    }
    assert_eq!(case.rule(&Claims { sid: "s", ..case.claims("j") }).await, Some(Rule::Tenant));
}

#[tokio::test]
async fn the_feed_is_a_dense_chain_and_the_head_is_its_end() {
    let case = Case::new().await;
    let exp = Some(Millis(case.store.now().0 + HOUR));
    let revokes: Vec<Revoke> = (0..300).map(|n| token(&format!("j-{n}"), exp)).collect();
    let written = case.store.revoke(revokes.clone()).await;
    let mut sequence = Sequence::new(4);
    for (revoke, written) in revokes.iter().zip(&written) {
        let written = written.as_ref().expect("a revocation");
        assert_eq!(written.record.target, revoke.target, "results come in the order of the items");
        assert!(sequence.merge(&written.sequence));
    }
    let (mut nonces, mut versions, mut count) = (HashSet::new(), HashSet::new(), 0);
    for (partition, feed) in (0..).zip(case.feeds().await) {
        let (mut seq, mut previous, mut version) = (0, Box::from(""), Version(0));
        for record in feed {
            assert_eq!((record.seq, &record.previous), (seq + 1, &previous), "partition {partition}");
            assert!(record.entry.version > version, "ids only ever rise, also within a millisecond");
            assert_eq!(record.nonce.len(), 16);
            assert!(nonces.insert(record.nonce.clone()), "no nonce comes twice");
            versions.insert((partition, record.entry.version));
            (seq, previous, version) = (record.seq, record.nonce, record.entry.version);
            count += 1;
        }
        assert_eq!(sequence.get(partition), seq, "the last acknowledged is the last in the feed");
        let head = case.valkey.hgetall(&case.head_key(partition)).await.expect("the head");
        let field = |name: &str| head.iter().find(|(field, _)| field == name).map(|(_, value)| value.to_vec());
        assert_eq!(field("q"), Some(seq.to_string().into_bytes()));
        assert_eq!(field("n"), Some(previous.as_bytes().to_vec()));
    }
    assert_eq!((count, versions.len()), (300, 300));
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn versions_rise_although_the_clock_steps_back() {
    let settings = Settings { partitions: 1, ..Settings::default() };
    let case = Case::on(&modules().url(), settings).await;
    let first = case.revoke(session("a", None)).await.expect("a revocation");
    // As if the clock had been an hour ahead when the last one was written.
    let ahead = first.record.version.0 + 3_600_000_000;
    let head = case.head_key(0);
    modules().command(&["HSET", head.as_str(), "v", &ahead.to_string()]).expect("the head is changed");
    let second = case.revoke(session("b", None)).await.expect("a revocation");
    assert_eq!(second.record.version, Version(ahead + 1));
    let undone = case.store.undo(TENANT, &second.record.target.id(), None, Cause::default()).await.expect("undone");
    assert_eq!(undone.record.version, Version(ahead + 2));
    let versions: Vec<_> = case.feed(0).await.iter().map(|record| record.entry.version).collect();
    assert_eq!(versions, [first.record.version, Version(ahead + 1), Version(ahead + 2)]);
}

#[tokio::test]
async fn a_call_that_comes_when_a_generation_ends_is_sent_again() {
    let server = Server::builder(&keyplane_testkit::toolbox()).start().expect("a server of its own");
    let rules = Rules { max_lifetime: Duration::from_millis(100), leeway: Duration::ZERO, issuer_skew: Duration::ZERO };
    let case = Case::on(&server.url(), Settings { partitions: 1, rules, ..Settings::default() }).await;
    let mut sent = 0;
    // Some call is in flight when one of the generations ends, which are 100 ms long.
    eventually("a call is sent again", Duration::from_secs(30), async || {
        for _ in 0..200 {
            sent += 1;
            case.revoke(token("j", None)).await.expect("the script is given the keys of the new generation");
        }
        let stats = server.command(&["INFO", "commandstats"]).expect("the statistics");
        let line = stats.text().unwrap_or_default().lines().find(|line| line.starts_with("cmdstat_evalsha:calls="));
        let calls: u64 = line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok()).expect("a number of calls");
        // The first one, of a script that the server did not know, counts as well.
        if calls > sent + 1 { Ok(()) } else { Err(calls) }
    })
    .await;
}

#[tokio::test]
async fn a_rejected_item_rejects_no_other() {
    let case = Case::new().await;
    let future = Millis(case.store.now().0 + HOUR);
    let items = vec![session("a", None), tenant(Cutoff::At(future)), session("b", None), session("a", None)];
    let results = case.store.revoke(items).await;
    let outcomes: Vec<_> = results.iter().map(|result| result.as_ref().map(|written| written.outcome).ok()).collect();
    assert_eq!(outcomes, [Some(Outcome::Changed), None, Some(Outcome::Changed), Some(Outcome::Unchanged)]);
    assert!(case.store.revoke(Vec::new()).await.is_empty());
}

#[tokio::test]
async fn another_number_of_partitions_is_rejected_at_the_start() {
    let case = Case::new().await;
    let valkey = connect(&case.app, &modules().url()).await;
    let other = Store::new(valkey, Settings { partitions: 8, ..Settings::default() }).expect("settings");
    let error = other.probe().await.expect_err("targets would be looked for in another partition");
    assert_eq!(error.kind(), ErrorKind::Layout);
    assert!(error.to_string().contains('8') && error.to_string().contains('4'), "it names both: {error}");
    let day = Duration::from_secs(86_400);
    let eternal = Settings { audit_age: 801 * day, ..Settings::default() };
    assert!(Store::new(case.valkey.clone(), eternal).is_err(), "no key of the feature may live so long");
    let lives = Rules { max_lifetime: 900 * day, ..Settings::default().rules };
    assert!(Store::new(case.valkey, Settings { rules: lives, ..Settings::default() }).is_err());
}

#[tokio::test]
async fn a_cluster_has_all_keys_of_a_call_in_one_slot() {
    let cluster = Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster of three primaries");
    let case = Case::on(&cluster.url(), Settings { partitions: 16, ..Settings::default() }).await;
    let exp = Some(Millis(case.store.now().0 + HOUR));
    // Issued before the client is revoked, however long the checks before its own take.
    let keyed = Claims { kid: "k", client: "c", sid: "s", ..case.claims("good") };
    let mut revokes: Vec<Revoke> = (0..200).map(|n| token(&format!("j-{n}"), exp.filter(|_| n % 2 == 0))).collect();
    revokes.extend([session("s", None), key("k", None), client("c", Cutoff::Now)]);
    for result in case.store.revoke(revokes).await {
        result.expect("a revocation; the keys of one call must share a slot");
    }
    for n in 0..200 {
        assert_eq!(case.rule(&case.claims(&format!("j-{n}"))).await, Some(Rule::Token), "j-{n}");
        assert_eq!(case.rule(&case.claims(&format!("good-{n}"))).await, None, "good-{n}");
    }
    assert_eq!(case.rule(&keyed).await, Some(Rule::Key));
    let target = Target { tenant: TENANT.into(), scope: key("k", None).target.scope };
    case.store.undo(TENANT, &target.id(), None, Cause::default()).await.expect("undone");
    assert_eq!(case.rule(&keyed).await, Some(Rule::Client));
    case.store.report("i-1", &Sequence::new(16), Duration::from_secs(3)).await.expect("a report");
    assert_eq!(case.store.instances().await.expect("the instances").len(), 1);
    let page = case.store.audit(TENANT, 1000, None).await.expect("the audit of all nodes");
    assert_eq!(page.entries.len(), 204);
    for partition in 0..16 {
        let entries = case.entries(partition).await;
        assert_eq!(case.store.merge(partition, &entries).await.expect("a merge"), 0, "nothing was lost");
    }
}

//! Answers of the replica while the store is available.

use std::time::Duration;

use keyplane_auth_revocation::app::check::{Demands, Source};
use keyplane_auth_revocation::domain::{Cause, Record};
use keyplane_revocation::{Answer, CutoffBy, Millis, Rule, Scope, Sequence, State, Target, Version};
use keyplane_testkit::eventually;

use crate::rig::{self, PATIENCE, TENANT, is_revoked, now, rule, scope_of, token};

fn url() -> String {
    keyplane_testkit::valkey().url()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_on_one_instance_rejects_from_memory_on_the_others() {
    let app = keyplane_testkit::app();
    let one = rig::start(&app, &url(), rig::unchanged).await;
    let other = rig::start(&app, &url(), rig::unchanged).await;
    let claims = rig::token("j");
    let claims = keyplane_revocation::Claims { sid: "s", subject: "u", client: "c", kid: "k", ..claims };
    let claims = keyplane_revocation::Claims { auth_time: claims.issued_at, ..claims };
    let subject = |by| Scope::Subject { user: "u".into(), by };
    let key = Scope::Key { issuer: claims.issuer.into(), kid: "k".into() };
    // From the weakest rule to the strongest, so that each shows.
    for (scope, expected) in [
        (scope_of("j"), Rule::Token),
        (Scope::Session("s".into()), Rule::Session),
        (subject(CutoffBy::AuthTime), Rule::Subject),
        (Scope::Client("c".into()), Rule::Client),
        (key, Rule::Key),
        (Scope::Tenant, Rule::Tenant),
    ] {
        let (written, acknowledged) = one.revoke(scope).await;
        assert_eq!(one.recall(&claims).as_ref().and_then(rule), Some(expected), "its own write is known at once");
        eventually("the other hears of it", PATIENCE, async || {
            let checked = other.check(&claims).await.map_err(|error| error.to_string())?;
            if rule(&checked.answer) == Some(expected) { Ok(()) } else { Err(format!("{checked:?}")) }
        })
        .await;
        println!("{expected:?} after {:?}", acknowledged.elapsed());
        let propagation = one.mirror.wait(&written.sequence, PATIENCE).await.expect("the store answers");
        assert!(propagation.complete && propagation.instances == 2, "{propagation:?}");
        assert!(other.covers(&written.sequence));
        let written =
            one.store.undo(TENANT, &written.record.target.id(), None, Cause::default()).await.expect("undone");
        one.mirror.apply(&written.record);
        eventually("the other hears that it was a mistake", PATIENCE, async || {
            other.check(&claims).await.is_ok_and(|checked| checked.answer == Answer::Active)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_has_ended_is_not_remembered() {
    let instance = rig::start(&keyplane_testkit::app(), &url(), rig::unchanged).await;
    // Ends before its token expires, as that of a token that is revoked before it is issued.
    let expires = Millis(now().0 + 500);
    let state = State { undone: false, expires, cutoff: None, token_expires: None, kept: Vec::new() };
    let target = Target { tenant: TENANT.into(), scope: scope_of("j") };
    instance.mirror.apply(&Record { target, state, version: Version(1) });
    assert_ne!(instance.recall(&token("j")), Some(Answer::Active));
    eventually("it ends", PATIENCE, async || {
        let checked = instance.check(&token("j")).await.map_err(|error| error.to_string())?;
        if checked.answer == Answer::Active { Ok(()) } else { Err(format!("{checked:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_write_is_known_before_the_feed_brings_it() {
    let instance = rig::start(&keyplane_testkit::app(), &url(), rig::unchanged).await;
    let expires = Millis(now().0 + 3_600_000);
    let state = State { undone: false, expires, cutoff: None, token_expires: Some(expires), kept: Vec::new() };
    let target = Target { tenant: TENANT.into(), scope: scope_of("own") };
    // It never was in the store.
    instance.mirror.apply(&Record { target, state, version: Version(u64::try_from(now().0).unwrap() * 1000) });
    assert_eq!(instance.recall(&token("own")).as_ref().and_then(rule), Some(Rule::Token));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_proves_its_freshness_and_meets_the_demands() {
    let app = keyplane_testkit::app();
    let instance = rig::start(&app, &url(), |_, settings| settings.bound = Duration::from_secs(5)).await;
    let (written, _) = instance.revoke_elsewhere(scope_of("j")).await;
    let demand = |min_sequence, max_staleness| Demands { min_sequence, max_staleness, policy: None };
    let seen = demand(Some(written.sequence.clone()), None);
    let checked = instance.checker.check(&token("j"), &seen).await.expect("it can be told");
    assert!(is_revoked(&checked.answer), "a caller that names its own revocation sees it: {checked:?}");

    instance.answers_from_memory().await;
    let checked = instance.check(&token("good")).await.expect("it can be told");
    let (text, age) = (&checked.freshness.sequence, checked.freshness.age);
    assert!(Sequence::parse(text).is_ok_and(|sequence| sequence.partitions() == 4) && age < PATIENCE, "{checked:?}");

    let future = Sequence::at(2, 1000, 4);
    for demands in [demand(Some(future), None), demand(None, Some(Duration::ZERO))] {
        let checked = instance.checker.check(&token("good"), &demands).await.expect("the store can tell");
        assert_eq!((checked.freshness.source, checked.answer), (Source::Store, Answer::Active), "{demands:?}");
        assert!(instance.checker.check_now(&token("good"), &demands).is_none(), "memory must not answer: {demands:?}");
    }
    let expired = keyplane_revocation::Claims { expires: Some(Millis(1)), ..token("old") };
    let checked =
        instance.checker.check_now(&expired, &demand(None, Some(Duration::ZERO))).expect("no store is needed");
    assert_eq!((rule(&checked.answer), checked.freshness.source), (Some(Rule::Expired), Source::Local));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_as_its_tokens_are() {
    let app = keyplane_testkit::app();
    let instance = rig::start(&app, &url(), |_, settings| settings.bound = Duration::from_secs(5)).await;
    for jti in ["1", "4"] {
        instance.revoke(scope_of(jti)).await;
    }
    instance.answers_from_memory().await;
    let jtis: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    let claims: Vec<_> = jtis.iter().map(|jti| token(jti)).collect();
    for max_staleness in [None, Some(Duration::ZERO)] {
        let demands = Demands { max_staleness, ..Demands::default() };
        let checked = instance.checker.check_many(&claims, &demands).await.expect("it can be told");
        let revoked: Vec<bool> = checked.answers.iter().map(|answer| answer.as_ref().is_some_and(is_revoked)).collect();
        assert_eq!(revoked, [false, true, false, false, true, false]);
        let expected = if max_staleness.is_none() { Source::Local } else { Source::Store };
        assert_eq!(checked.freshness.source, expected);
    }
    let none = instance.checker.check_many(&[], &Demands::default()).await.expect("nothing to tell");
    assert!(none.answers.is_empty());
}

/// Filters that are wrong every other time, and memory that was read from the feed, so that nothing is certain.
#[tokio::test(flavor = "multi_thread")]
async fn a_false_positive_locks_nobody_out() {
    let app = keyplane_testkit::app();
    let wrong = |kept: &mut keyplane_auth_revocation::store::Settings, settings: &mut _| {
        kept.filters.false_positives = 0.5;
        let settings: &mut keyplane_auth_revocation::app::replica::Settings = settings;
        settings.bound = Duration::from_secs(5);
        settings.ask = PATIENCE;
    };
    let instance = rig::start(&app, &url(), wrong).await;
    let revoked: Vec<String> = (0..500).map(|number| format!("bad-{number}")).collect();
    let revokes = revoked.iter().map(|jti| rig::revocation(scope_of(jti))).collect();
    for written in instance.store.revoke(revokes).await {
        let written = written.expect("it is revoked");
        eventually("the feed brings it", PATIENCE, async || instance.covers(&written.sequence)).await;
    }
    let mut suspects = 0;
    for number in 0..400 {
        let jti = format!("good-{number}");
        suspects += u32::from(instance.recall(&token(&jti)).is_none());
        // A busy machine may be late; its answers must be right.
        let checked = eventually("it can be told", PATIENCE, async || instance.check(&token(&jti)).await).await;
        assert_eq!(checked.answer, Answer::Active, "{jti} was never revoked");
    }
    println!("{suspects} of 400 good tokens were suspects");
    assert!(suspects > 20, "the filters must be wrong for this test to prove anything; {suspects} suspects");
    for jti in &revoked {
        assert!(instance.check(&token(jti)).await.is_ok_and(|checked| is_revoked(&checked.answer)), "{jti} is revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_ready_once_it_knows_earlier_revocations() {
    let app = keyplane_testkit::app();
    let one = rig::start(&app, &url(), rig::unchanged).await;
    let jtis: Vec<String> = (0..2500).map(|number| format!("j-{number}")).collect();
    for some in jtis.chunks(250) {
        eventually("they are revoked", PATIENCE, async || {
            let results = one.store.revoke(some.iter().map(|jti| rig::revocation(scope_of(jti))).collect()).await;
            results.into_iter().collect::<Result<Vec<_>, _>>()
        })
        .await;
    }
    let proxy = keyplane_testkit::FaultProxy::to_port(keyplane_testkit::valkey().port());
    proxy.set(keyplane_testkit::Fault::Cut);
    let late = rig::begin(&app, &proxy.url(&url()), rig::unchanged);
    assert!(late.check(&token("j-0")).await.is_err() && late.mirror.head().age.is_none());
    assert!(!*late.mirror.ready().borrow(), "it knows nothing yet");
    proxy.set(keyplane_testkit::Fault::Pass);
    late.wait_ready().await;
    // Where a filter takes a token for one that it holds, it counts one less: once in 10,000 by its setting.
    let known = late.mirror.stats().tokens;
    assert!(
        (jtis.len() - 5..=jtis.len()).contains(&known),
        "all of several pages of the feed; {known} of {}",
        jtis.len()
    );
    for jti in jtis.iter().step_by(100) {
        late.rejects(&token(jti)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_that_outlast_the_feed_are_appended_again() {
    let app = keyplane_testkit::app();
    let valkey = keyplane_testkit::valkey();
    let one = rig::start(&app, &url(), rig::unchanged).await;
    let mut revoke = rig::revocation(Scope::Session("s".into()));
    revoke.expires = Some(Millis(now().0 + 30 * 86_400_000));
    let id = revoke.target.id();
    one.store.revoke(vec![revoke]).await.pop().expect("one result").expect("it is revoked");
    one.mirror.leave().await;
    drop(one);
    // As if its copy in the feed were of long ago.
    let partition = id.partition(4);
    let record = format!("{app}:revocation:{TENANT}:{}:{{p{partition}}}", id.as_str());
    let feed = format!("{app}:revocation:_:feed:{{p{partition}}}");
    let text = valkey.command(&["GET", &record]).expect("a record").text().expect("a text").to_owned();
    let parts: Vec<&str> = text.splitn(3, ';').collect();
    let older = format!("{};1;{}", parts[0], parts[2]);
    valkey.command(&["SET", &record, &older, "KEEPTTL"]).expect("it is set");

    let length = || valkey.command(&["XLEN", &feed]).expect("a feed").int();
    assert_eq!(length(), Some(1));
    let _two = rig::start(&app, &url(), rig::unchanged).await;
    eventually("a second copy is there", PATIENCE, async || {
        let length = length();
        if length == Some(2) { Ok(()) } else { Err(length) }
    })
    .await;
}

/// Whoever has stolen a key would leave out the `kid`.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hides_its_key_is_not_active_while_one_of_its_issuer_is_revoked() {
    let instance = rig::start(&keyplane_testkit::app(), &url(), rig::unchanged).await;
    let (bare, revoked) = (token("bare"), token("revoked"));
    let named = keyplane_revocation::Claims { kid: "good", ..bare };
    let ask_store = Demands { max_staleness: Some(Duration::ZERO), ..Demands::default() };
    // By memory and by the store; alone and among others.
    let answers = async |claims: &keyplane_revocation::Claims<'_>| {
        let mut answers = Vec::new();
        for demands in [&Demands::default(), &ask_store] {
            answers.push(instance.checker.check(claims, demands).await.expect("it can be told").answer);
            let all = instance.checker.check_many(&[*claims], demands).await.expect("it can be told").answers;
            answers.extend(all.into_iter().flatten());
        }
        answers
    };
    assert_eq!(answers(&bare).await, [Answer::Active; 4]);
    let key = |kid: &str| Scope::Key { issuer: bare.issuer.into(), kid: kid.into() };
    let (written, _) = instance.revoke(key("stolen")).await;
    instance.revoke(key("another")).await;
    assert_eq!(answers(&bare).await, [Answer::KeyUnknown; 4]);
    assert_eq!(answers(&named).await, [Answer::Active; 4], "it was signed by another");
    let other = keyplane_revocation::Claims { issuer: "https://other.example", ..bare };
    assert_eq!(answers(&other).await, [Answer::Active; 4]);

    // A certain rule comes first, and an undone token is like any other.
    let (token_written, _) = instance.revoke(scope_of("revoked")).await;
    assert!(answers(&revoked).await.iter().all(|answer| rule(answer) == Some(Rule::Token)));
    let undo = async |written: &keyplane_auth_revocation::domain::Written| {
        let id = written.record.target.id();
        let written = instance.store.undo(TENANT, &id, None, Cause::default()).await.expect("undone");
        instance.mirror.apply(&written.record);
    };
    undo(&token_written).await;
    assert_eq!(answers(&revoked).await, [Answer::KeyUnknown; 4]);

    undo(&written).await;
    assert_eq!(answers(&bare).await, [Answer::KeyUnknown; 4], "there is still the other");
    let id = Target { tenant: TENANT.into(), scope: key("another") }.id();
    let written = instance.store.undo(TENANT, &id, None, Cause::default()).await.expect("undone");
    instance.mirror.apply(&written.record);
    assert_eq!(answers(&bare).await, [Answer::Active; 4]);
}

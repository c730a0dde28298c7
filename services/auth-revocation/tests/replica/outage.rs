//! Outages: an instance is cut off from the store.

use std::time::{Duration, Instant};

use futures::future;
use keyplane_auth_revocation::app::check::{Demands, Source};
use keyplane_auth_revocation::domain::OutagePolicy;
use keyplane_auth_revocation::error::Error;
use keyplane_engine::Valkey;
use keyplane_revocation::{Answer, Scope};
use keyplane_testkit::{Fault, FaultProxy, eventually};

use crate::rig::{self, Instance, PATIENCE, is_revoked, scope_of, token};

/// Time for which the checks are observed.
const WHILE: Duration = Duration::from_millis(700);

/// Starts an instance with a direct connection, and one behind a proxy.
async fn two(bound: Option<Duration>) -> (Instance, Instance, FaultProxy) {
    let (app, valkey) = (keyplane_testkit::app(), keyplane_testkit::valkey());
    let proxy = FaultProxy::to_port(valkey.port());
    let well = rig::start(&app, &valkey.url(), rig::unchanged).await;
    let behind = rig::start(&app, &proxy.url(&valkey.url()), |_, settings| {
        settings.bound = bound.unwrap_or(settings.bound);
        settings.lease = Duration::from_secs(1);
    })
    .await;
    (well, behind, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_cut_off_stops_answering_and_recovers() {
    for fault in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen] {
        let (well, behind, proxy) = two(None).await;
        let (_, acknowledged) = well.revoke(scope_of("before")).await;
        behind.rejects(&token("before")).await;
        behind.answers_from_memory().await;
        println!("{fault:?}: known everywhere after {:?}", acknowledged.elapsed());

        proxy.set(fault);
        let (written, acknowledged) = well.revoke(scope_of("j")).await;
        let late = behind.late_actives(&token("j"), acknowledged, WHILE).await;
        assert_eq!(late, 0, "{fault:?}: late answers");
        let unknown = behind.check(&token("good")).await;
        assert!(matches!(unknown, Err(Error::FreshnessUnknown)), "{fault:?}: {unknown:?}");
        let held = behind.check(&token("before")).await.expect("memory holds it");
        assert!(is_revoked(&held.answer) && held.freshness.source == Source::Policy, "{fault:?}: {held:?}");
        assert!(*behind.mirror.ready().borrow(), "it stays ready, so that its policy can speak");

        proxy.set(Fault::Pass);
        let back = Instant::now();
        behind.answers_from_memory().await;
        println!("{fault:?}: answers from memory {:?} after the fault", back.elapsed());
        assert!(behind.covers(&written.sequence) && behind.recall(&token("j")).is_some_and(|a| is_revoked(&a)));
    }
}

/// Store that misses a beat: memory stays young for long, so that only checks that need the store notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_misses_a_beat_is_waited_for() {
    let (app, valkey) = (keyplane_testkit::app(), Valkey::builder(&keyplane_testkit::toolbox()).start());
    let valkey = valkey.expect("a server of its own");
    let proxy = FaultProxy::to_port(valkey.port());
    let one = rig::start(&app, &proxy.url(&valkey.url()), |_, settings| {
        (settings.bound, settings.tail) = (Duration::from_hours(1), Duration::ZERO);
    })
    .await;
    let ask = Demands { max_staleness: Some(Duration::ZERO), ..Demands::default() };
    for (number, lost) in [false, true].into_iter().enumerate() {
        let jti = format!("revoked-{number}");
        one.revoke(scope_of(&jti)).await;
        // The store is silent for a moment, or its connections are lost and made anew.
        let outage = |begins: bool| match (lost, begins) {
            (false, true) => valkey.pause().expect("it stands still"),
            (false, false) => valkey.resume().expect("it goes on"),
            (true, true) => proxy.set(Fault::Cut),
            (true, false) => proxy.set(Fault::Pass),
        };
        outage(true);
        let suspect = token(&jti);
        let (good, nothing) = (token("good"), Demands::default());
        let checks = future::join(one.checker.check(&good, &ask), one.checker.check(&suspect, &nothing));
        let mut checks = std::pin::pin!(checks);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut checks).await;
        outage(false);
        assert!(early.is_err(), "connections lost: {lost}: they gave up: {early:?}");
        let (good, suspect) = checks.await;
        let good = good.expect("the store tells");
        assert_eq!((good.answer, good.freshness.source), (Answer::Active, Source::Store));
        assert!(is_revoked(&suspect.expect("the store tells").answer));
    }
}

/// Control: the tests here would see late answers.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_bound_late_answers_are_seen() {
    let (well, behind, proxy) = two(Some(Duration::from_secs(3600))).await;
    proxy.set(Fault::Cut);
    let (_, acknowledged) = well.revoke(scope_of("j")).await;
    let late = behind.late_actives(&token("j"), acknowledged, WHILE).await;
    assert!(late > 0, "an instance that may be an hour behind, and is cut off, answers active");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_answer_when_neither_memory_nor_store_can() {
    let (well, behind, proxy) = two(None).await;
    well.revoke(scope_of("j")).await;
    well.revoke(Scope::Session("s".into())).await;
    behind.rejects(&token("j")).await;
    let of_session = keyplane_revocation::Claims { sid: "s", ..token("other") };
    behind.rejects(&of_session).await;
    proxy.set(Fault::Cut);
    eventually("memory is too old", PATIENCE, async || behind.recall(&token("good")).is_none()).await;

    let by = |policy| Demands { policy: Some(policy), ..Demands::default() };
    let long = OutagePolicy::LastKnown(Duration::from_secs(3600));
    for policy in [OutagePolicy::Open, long] {
        let checked = behind.checker.check(&token("good"), &by(policy)).await.expect("it lets it pass");
        assert_eq!((checked.answer, checked.freshness.source), (Answer::Active, Source::Policy), "{policy}");
        assert!(checked.freshness.sequence.is_empty() && checked.freshness.age > Duration::from_millis(100));
    }
    for policy in [OutagePolicy::Closed, OutagePolicy::LastKnown(Duration::from_millis(1))] {
        let refused = behind.checker.check(&token("good"), &by(policy)).await;
        assert!(matches!(refused, Err(Error::FreshnessUnknown)), "{policy}: {refused:?}");
        let all =
            behind.checker.check_many(&[token("j"), token("good")], &by(policy)).await.expect("of one it is known");
        let known: Vec<_> = all.answers.iter().map(|answer| answer.as_ref().is_some_and(is_revoked)).collect();
        assert_eq!((known, all.answers[1]), (vec![true, false], None), "{policy}: each has a verdict of its own");
        assert_eq!(all.freshness.source, Source::Policy);
        let none = behind.checker.check_many(&[token("good")], &by(policy)).await;
        assert!(matches!(none, Err(Error::FreshnessUnknown)), "{policy}: {none:?}");
    }
    for policy in [OutagePolicy::Closed, OutagePolicy::Open, long] {
        for claims in [token("j"), of_session] {
            let checked = behind.checker.check(&claims, &by(policy)).await.expect("memory holds it against the token");
            assert!(is_revoked(&checked.answer), "{policy}: {checked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_names_the_instance_that_lags_until_its_lease_ends() {
    let (well, behind, proxy) = two(None).await;
    let (written, _) = well.revoke(scope_of("1")).await;
    let propagation = well.mirror.wait(&written.sequence, PATIENCE).await.expect("the store answers");
    assert!(propagation.complete && propagation.instances == 2, "{propagation:?}");

    proxy.set(Fault::Cut);
    let (written, _) = well.revoke(scope_of("2")).await;
    let propagation = well.mirror.wait(&written.sequence, Duration::from_millis(50)).await.expect("the store answers");
    assert_eq!((propagation.complete, propagation.lagging), (false, vec![behind.name()]));
    let propagation = well.mirror.wait(&written.sequence, PATIENCE).await.expect("the store answers");
    assert!(propagation.complete && propagation.instances == 1, "its lease has ended: {propagation:?}");
    assert!(behind.mirror.wait(&written.sequence, Duration::from_millis(50)).await.is_err(), "it can't ask the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_were_flushed_are_loaded_again() {
    let valkey = keyplane_engine::Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server of its own");
    let instance = rig::start(&keyplane_testkit::app(), &valkey.url(), rig::unchanged).await;
    instance.revoke(scope_of("1")).await;
    valkey.command(&["SCRIPT", "FLUSH"]).expect("the scripts are gone");
    let ask = Demands { max_staleness: Some(Duration::ZERO), ..Demands::default() };
    for (jti, revoked) in [("1", true), ("2", false)] {
        let checked = instance.checker.check(&token(jti), &ask).await.expect("the store can tell");
        assert_eq!((is_revoked(&checked.answer), checked.freshness.source), (revoked, Source::Store));
    }
}

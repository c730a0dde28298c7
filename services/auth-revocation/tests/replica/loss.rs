//! Losses of acknowledged revocations that nobody can give back to the store.

use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use keyplane_auth_revocation::app::check::{Demands, Source};
use keyplane_auth_revocation::app::replica::Settings;
use keyplane_auth_revocation::domain::{AfterLoss, Cause};
use keyplane_auth_revocation::error::Error;
use keyplane_auth_revocation::store;
use keyplane_engine::Valkey;
use keyplane_revocation::{Answer, Rule, Sequence, Version};
use keyplane_testkit::{Fault, FaultProxy, eventually};
use tokio::time::timeout;

use crate::rig::{self, Instance, PATIENCE, TENANT, rule, scope_of, token};

/// Checks that are made at the same time; more would starve the other tests.
const AT_ONCE: usize = 8;
/// Time within which an instance that knows more is back, and a store is lost again, also on a busy machine.
const SETTLE: Duration = Duration::from_secs(10);

fn server() -> Valkey {
    Valkey::builder(&keyplane_testkit::toolbox()).start().expect("a server of its own")
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}-{number}")).collect()
}

/// Settings with which nothing can be given back, as if all had been revoked more than a minute ago. Reads may take
/// long on a busy machine.
fn without_tail(_: &mut store::Settings, settings: &mut Settings) {
    (settings.tail, settings.ask) = (Duration::ZERO, PATIENCE);
}

/// Revokes tokens, every fourth without its `exp`. Revocations that a busy machine makes too late are written again.
async fn revoke_all(instance: &Instance, jtis: &[String]) {
    let revokes = jtis.iter().enumerate().map(|(index, jti)| {
        let mut revoke = rig::revocation(scope_of(jti));
        revoke.expires = revoke.expires.filter(|_| index % 4 != 0);
        revoke
    });
    let revokes: Vec<_> = revokes.collect();
    for some in revokes.chunks(256) {
        eventually("they are revoked", PATIENCE, async || {
            let written: Result<Vec<_>, Error> = instance.store.revoke(some.to_vec()).await.into_iter().collect();
            written.map(|written| written.iter().for_each(|written| instance.mirror.apply(&written.record)))
        })
        .await;
    }
}

async fn undo(instance: &Instance, jti: &str) {
    let id = rig::revocation(scope_of(jti)).target.id();
    let undone = instance.store.undo(TENANT, &id, None, Cause::default()).await.expect("it is undone");
    instance.mirror.apply(&undone.record);
}

/// Rule by which each token is rejected; `None` for an active one.
async fn rules(instance: &Instance, jtis: &[String], demands: &Demands) -> Vec<Option<Rule>> {
    let asked = jtis.iter().map(|jti| async move {
        eventually("a check can tell", PATIENCE, async || {
            let checked = instance.checker.check(&token(jti), demands).await.map_err(|error| error.to_string())?;
            if checked.freshness.source == Source::Policy {
                Err(format!("{checked:?}"))
            } else {
                Ok(rule(&checked.answer))
            }
        })
        .await
    });
    stream::iter(asked).buffer_unordered(AT_ONCE).collect().await
}

/// Number of tokens that are rejected by a rule, or active.
fn count(rules: &[Option<Rule>], rule: Option<Rule>) -> usize {
    rules.iter().filter(|found| **found == rule).count()
}

/// Waits until memory of this instance holds what `from` has applied, and answers.
async fn follows(instance: &Instance, from: &Instance) {
    let sequence = Sequence::parse(&from.mirror.head().sequence).expect("a sequence");
    eventually("the other instance has it all", PATIENCE, async || instance.covers(&sequence)).await;
    instance.answers_from_memory().await;
}

/// Waits until this instance has seen the loss in every partition, and handed over what it knows.
async fn hands_over(instance: &Instance) {
    for partition in 0..instance.store.partitions() {
        eventually("it sees the loss and hands over", PATIENCE, async || {
            let head = instance.store.feed_head(partition).await.map_err(|error| error.to_string())?;
            head.handover.map(drop).ok_or_else(|| format!("nothing of partition {partition} is handed over"))
        })
        .await;
    }
    instance.answers_from_memory().await;
}

/// Version up to which the giver of a partition's handover knew everything, for each partition.
async fn uptos(instance: &Instance) -> Vec<Option<Version>> {
    let asked = (0..instance.store.partitions()).map(|partition| instance.store.feed_head(partition));
    let heads = join_all(asked).await.into_iter();
    heads.map(|head| head.ok().and_then(|head| head.handover).map(|handover| handover.upto)).collect()
}

fn restart_empty(valkey: &Valkey) {
    valkey.kill().expect("the store is gone");
    valkey.restart().expect("it starts again, empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_recent_changes_forgets_none_of_them() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let tail = Duration::from_secs(2);
    let change = |_: &mut store::Settings, settings: &mut Settings| {
        (settings.tail, settings.after_loss, settings.ask) = (tail, AfterLoss::AskStore, PATIENCE);
    };
    let one = rig::start(&app, &valkey.url(), change).await;
    let other = rig::start(&app, &valkey.url(), change).await;
    let jtis = names("j", 172);
    revoke_all(&one, &jtis).await;
    revoke_all(&one, &["mistake".into()]).await;
    undo(&one, "mistake").await;

    valkey.kill().expect("the store is gone");
    let gone = Instant::now();
    eventually("the outage is longer than the tail", PATIENCE, async || gone.elapsed() > tail * 3 / 2).await;
    valkey.restart().expect("it starts again, empty");
    for instance in [&one, &other] {
        instance.answers_from_memory().await;
        let rules = rules(instance, &jtis, &Demands::default()).await;
        assert_eq!(count(&rules, Some(Rule::Token)), jtis.len(), "all are given back; active: {}", count(&rules, None));
        let mistake = instance.check(&token("mistake")).await.expect("it can be told");
        assert_eq!(mistake.answer, Answer::Active, "what was undone stays so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_nobody_can_give_back_stay_rejected() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let change = |kept: &mut store::Settings, settings: &mut Settings| {
        kept.filters.false_positives = 0.01;
        without_tail(kept, settings);
    };
    let one = rig::start(&app, &valkey.url(), change).await;
    let other = rig::start(&app, &valkey.url(), change).await;
    let (jtis, mistakes) = (names("j", 10_000), names("mistake", 20));
    revoke_all(&one, &jtis).await;
    revoke_all(&one, &mistakes).await;
    for jti in &mistakes {
        undo(&one, jti).await;
    }
    follows(&other, &one).await;

    restart_empty(&valkey);
    let ask = Demands { max_staleness: Some(Duration::ZERO), ..Demands::default() };
    hands_over(&one).await;
    let late = rig::start(&app, &valkey.url(), change).await;
    for instance in [&one, &other, &late] {
        instance.answers_from_memory().await;
        let refused = rules(instance, &jtis, &Demands::default()).await;
        assert_eq!(count(&refused, Some(Rule::Lost)), jtis.len(), "ACTIVE: {}", count(&refused, None));
        let through_store = rules(instance, &jtis[..500], &ask).await;
        assert_eq!(count(&through_store, None), 0, "the store is asked, and has forgotten them");
        let undone = rules(instance, &mistakes, &Demands::default()).await;
        assert_eq!(count(&undone, None), mistakes.len(), "what was undone stays so");
        let good = rules(instance, &names("good", 5_000), &Demands::default()).await;
        let wrongly = good.len() - count(&good, None);
        assert!(wrongly <= 100, "{wrongly} of 5,000 good tokens are refused; the rate is 0.01");
        assert!(instance.mirror.stats().lost > 9_000, "{:?}", instance.mirror.stats());
    }
    // New revocations go on.
    revoke_all(&one, &["later".into(), "j-0".into()]).await;
    let known = rules(&other, &["later".into(), "j-0".into()], &ask).await;
    assert_eq!(count(&known, Some(Rule::Token)), 2, "the store knows these: {known:?}");
    undo(&one, "j-0").await;
    follows(&other, &one).await;
    let passes = other.check(&token("j-0")).await.expect("it can be told");
    assert_eq!(passes.answer, Answer::Active, "to revoke and undo lets a token pass");
    drop((one, other, late));
    let later = rig::start(&app, &valkey.url(), change).await;
    let refused = rules(&later, &jtis[1..500], &Demands::default()).await;
    assert_eq!(count(&refused, Some(Rule::Lost)), refused.len(), "nobody is left who saw the loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_cut_off_before_the_loss_waits_for_the_handover() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let change = |kept: &mut store::Settings, settings: &mut Settings| {
        settings.settle = SETTLE;
        without_tail(kept, settings);
    };
    let [informed, proxy] = [(); 2].map(|()| FaultProxy::to_port(valkey.port()));
    let one = rig::start(&app, &informed.url(&valkey.url()), change).await;
    let other = rig::start(&app, &proxy.url(&valkey.url()), change).await;
    let before = names("before", 200);
    revoke_all(&one, &before).await;
    follows(&other, &one).await;
    proxy.set(Fault::Cut);
    let unheard = names("unheard", 200);
    revoke_all(&one, &unheard).await;
    one.answers_from_memory().await;
    informed.set(Fault::Cut);
    restart_empty(&valkey);
    // The instance that lacks them is back first, and nothing in the store shows it.
    proxy.set(Fault::Pass);
    eventually("it sees the loss", PATIENCE, async || other.mirror.stats().lost > 0).await;
    let checks = unheard[..50].iter().map(async |jti| {
        // An answer that does not come, as after a stop of this process, lets nothing pass.
        let checked = timeout(Duration::from_secs(1), other.check(&token(jti))).await;
        let passes = matches!(&checked, Ok(Ok(checked)) if checked.answer == Answer::Active);
        assert!(!passes, "{jti}: {checked:?}");
    });
    join_all(checks).await;
    informed.set(Fault::Pass);
    for jtis in [&unheard, &before] {
        let refused = rules(&other, jtis, &Demands::default()).await;
        assert_eq!(count(&refused, Some(Rule::Lost)), jtis.len(), "active: {}", count(&refused, None));
    }
    // Another loss, after the giver has ended: the receiver hands on all that it knows.
    let told = uptos(&other).await;
    drop(one);
    restart_empty(&valkey);
    eventually("it hands over as much as it was told", PATIENCE, async || {
        let now = uptos(&other).await;
        if now.iter().zip(&told).all(|(now, told)| now >= told) {
            Ok(())
        } else {
            Err(format!("{now:?}, not {told:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handover_of_the_best_informed_instance_survives_the_next_loss() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let change = |kept: &mut store::Settings, settings: &mut Settings| {
        settings.settle = SETTLE;
        without_tail(kept, settings);
    };
    let [informed, proxy] = [(); 2].map(|()| FaultProxy::to_port(valkey.port()));
    let one = rig::start(&app, &informed.url(&valkey.url()), change).await;
    let other = rig::start(&app, &proxy.url(&valkey.url()), change).await;
    revoke_all(&one, &names("before", 40)).await;
    follows(&other, &one).await;
    proxy.set(Fault::Cut);
    let unheard = names("unheard", 200);
    revoke_all(&one, &unheard).await;
    one.answers_from_memory().await;
    informed.set(Fault::Cut);
    restart_empty(&valkey);
    proxy.set(Fault::Pass);
    // Newer, in every partition, than all that it lacks.
    let between = names("between", 200);
    revoke_all(&other, &between).await;
    eventually("it has read them", PATIENCE, async || {
        let read = Sequence::parse(&other.mirror.head().sequence).expect("a sequence");
        let read: u64 = (0..other.store.partitions()).map(|partition| read.get(partition)).sum();
        if read == 200 { Ok(()) } else { Err(read) }
    })
    .await;
    restart_empty(&valkey);
    eventually("it hands over what it knows", PATIENCE, async || {
        let given = uptos(&other).await;
        if given.iter().all(Option::is_some) { Ok(()) } else { Err(given) }
    })
    .await;
    informed.set(Fault::Pass);
    for instance in [&other, &one] {
        let refused = rules(instance, &unheard, &Demands::default()).await;
        assert_eq!(count(&refused, Some(Rule::Lost)), unheard.len(), "active: {}", count(&refused, None));
    }
}

/// Control: the tests above would see tokens that pass.
#[tokio::test(flavor = "multi_thread")]
async fn with_ask_store_tokens_that_nobody_can_give_back_pass() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let one = rig::start(&app, &valkey.url(), |kept, settings| {
        settings.after_loss = AfterLoss::AskStore;
        without_tail(kept, settings);
    })
    .await;
    let jtis = names("j", 300);
    revoke_all(&one, &jtis).await;
    restart_empty(&valkey);
    one.answers_from_memory().await;
    let rules = rules(&one, &jtis, &Demands::default()).await;
    assert_eq!(count(&rules, None), jtis.len(), "the store decides alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_promoted_without_its_last_writes_lets_none_of_them_pass() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    let replica = Valkey::builder(&keyplane_testkit::toolbox()).replica_of(&valkey).start().expect("a replica");
    let proxy = FaultProxy::to_port(valkey.port());
    let one = rig::start(&app, &proxy.url(&valkey.url()), without_tail).await;
    let (kept, lost) = (names("kept", 1_000), names("lost", 300));
    revoke_all(&one, &kept).await;
    let size = |server: &Valkey| server.command(&["DBSIZE"]).expect("it answers").int();
    eventually("the replica has them", PATIENCE, async || size(&replica) == size(&valkey)).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]).expect("it is on its own");
    revoke_all(&one, &lost).await;
    one.answers_from_memory().await;

    // The replica's data becomes this store's, and this store is written to again: a failover in place.
    proxy.set(Fault::Cut);
    let port = replica.port().to_string();
    valkey.command(&["REPLICAOF", "127.0.0.1", &port]).expect("it follows the replica");
    eventually("it has what the replica has", PATIENCE, async || {
        let info = valkey.command(&["INFO", "replication"]).ok().and_then(|info| info.text().map(str::to_owned));
        info.is_some_and(|info| info.contains("master_link_status:up"))
    })
    .await;
    valkey.command(&["REPLICAOF", "NO", "ONE"]).expect("it is promoted");
    proxy.set(Fault::Pass);
    eventually("the loss is seen", PATIENCE, async || one.mirror.stats().lost > 0).await;
    one.answers_from_memory().await;
    let rules_of_kept = rules(&one, &kept, &Demands::default()).await;
    assert_eq!(count(&rules_of_kept, Some(Rule::Token)), kept.len(), "the store still has them");
    let rules_of_lost = rules(&one, &lost, &Demands::default()).await;
    assert_eq!(count(&rules_of_lost, Some(Rule::Lost)), lost.len(), "active: {}", count(&rules_of_lost, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_just_lost_a_suspect_does_not_clear_it() {
    let (app, valkey) = (keyplane_testkit::app(), server());
    // Memory stays fresh, and learns of the loss long after the checks.
    let one = rig::start(&app, &valkey.url(), |kept, settings| {
        (settings.bound, settings.beat) = (Duration::from_secs(60), Duration::from_secs(20));
        without_tail(kept, settings);
    })
    .await;
    let jtis = names("j", 40);
    revoke_all(&one, &jtis).await;
    one.answers_from_memory().await;
    valkey.command(&["FLUSHALL"]).expect("everything is gone");
    for jti in &jtis {
        let checked = one.check(&token(jti)).await;
        let open =
            matches!(checked, Err(Error::FreshnessUnknown)) || rule(&checked.as_ref().expect("told").answer).is_some();
        assert!(open, "{jti}: {checked:?}");
    }
}

//! Stores that are unavailable, slow, emptied or restarted.

use std::time::{Duration, Instant};

use keyplane_deadline as deadline;
use keyplane_engine::Valkey;
use keyplane_rate_limiting::app::limiter::{Call, Charge, ChargeKind, Outcome, Source, Verdict};
use keyplane_rate_limiting::domain::{Outage, Policy};
use keyplane_rate_limiting::error::Error;
use keyplane_testkit::{Fault, FaultProxy, eventually, toolbox};

use crate::rig::{self, Instance, PATIENCE, per_month, per_second, policy, remembered, usual, verdicts};

/// Deadline of a caller.
const DEADLINE: Duration = Duration::from_millis(400);
/// Slack for a busy machine.
const SLACK: Duration = Duration::from_millis(600);

/// Policy for each outage mode, each with room for five.
fn policies() -> Vec<Policy> {
    let with_mode = |id: &str, keys: &[&str], outage| policy(id, keys, per_month(5), |policy| policy.outage = outage);
    vec![
        with_mode("closed", &["tenant", "user"], Some(Outage::Closed)),
        with_mode("open", &["tenant", "user"], Some(Outage::Open)),
        with_mode("local", &["tenant", "user"], Some(Outage::Local)),
        with_mode("unsaid", &["tenant", "user"], None),
        with_mode("tenant", &["tenant"], Some(Outage::Closed)),
        policy("quick", &["tenant", "user"], per_second(50), |policy| policy.outage = Some(Outage::Local)),
    ]
}

async fn behind_a_proxy() -> (FaultProxy, Instance) {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    let instance = rig::start_at(&keyplane_testkit::app(), &proxy.url(&valkey.url()), policies()).await;
    (proxy, instance)
}

/// Answer, which must come within the deadline.
async fn in_time(instance: &Instance, call: &Call) -> Result<Outcome, Error> {
    let began = Instant::now();
    let until = tokio::time::Instant::now() + DEADLINE;
    let answer = deadline::scope(until, instance.limiter.acquire(call)).await;
    assert!(began.elapsed() < DEADLINE + SLACK, "it took {:?}: {answer:?}", began.elapsed());
    answer
}

async fn ask(instance: &Instance, user: &str, policies: &[&str]) -> Result<Outcome, Error> {
    in_time(instance, &instance.call(user, policies, 1)).await
}

fn is_closed(answer: &Result<Outcome, Error>, by: &str) -> bool {
    matches!(answer, Err(Error::Closed { policy, .. }) if policy == by)
}

async fn is_back(instance: &Instance) {
    eventually("the store answers again, without a restart", PATIENCE, async || {
        ask(instance, "back", &["quick"]).await.is_ok_and(|outcome| outcome.source == Source::Store)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outage_mode_answers_in_time_and_ends_with_the_outage() {
    let (proxy, instance) = behind_a_proxy().await;
    for (round, fault) in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen].into_iter().enumerate() {
        let user = &format!("u-{round}");
        proxy.set(fault);
        for _ in 0..8 {
            let closed = ask(&instance, user, &["closed"]).await;
            assert!(is_closed(&closed, "closed"), "{fault:?}: {closed:?}");
            let unsaid = ask(&instance, user, &["unsaid"]).await;
            assert!(is_closed(&unsaid, "unsaid"), "{fault:?}, the service's own setting: {unsaid:?}");
            let both = ask(&instance, user, &["open", "tenant"]).await;
            assert!(is_closed(&both, "tenant"), "{fault:?}, one that is closed is enough: {both:?}");
            let open = ask(&instance, user, &["open"]).await.expect("it is open");
            assert_eq!((open.admitted, open.source, verdicts(&open)), (true, Source::Outage, vec![Verdict::Open]));
        }
        let mut admitted = 0;
        for _ in 0..8 {
            let local = ask(&instance, user, &["local"]).await.expect("this instance answers");
            assert_eq!(local.source, Source::Outage, "{fault:?}");
            assert_eq!(local.retry_after().is_none(), local.admitted, "{local:?}");
            admitted += u64::from(local.admitted);
        }
        assert_eq!(admitted, 5, "{fault:?}: the instance holds the limit by itself");
        proxy.set(Fault::Pass);
        is_back(&instance).await;
        assert!(ask(&instance, user, &["open", "local"]).await.is_ok_and(|outcome| outcome.source == Source::Store));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_buckets_leak() {
    let (proxy, instance) = behind_a_proxy().await;
    proxy.set(Fault::Cut);
    // The first calls wait a moment for a connection that may come back.
    eventually("the outage is known", PATIENCE, async || {
        let start = Instant::now();
        ask(&instance, "other", &["quick"]).await.is_ok_and(|_| start.elapsed() < Duration::from_millis(20))
    })
    .await;
    let began = Instant::now();
    let mut admitted = 0;
    // A machine that is busy with other tests takes longer to use up the burst.
    while began.elapsed() < Duration::from_millis(600) || (admitted < 50 && began.elapsed() < PATIENCE) {
        let outcome = ask(&instance, "u", &["quick"]).await.expect("this instance answers");
        admitted += u64::from(outcome.admitted);
        if let Some(wait) = outcome.retry_after() {
            tokio::time::sleep(wait).await;
            assert!(ask(&instance, "u", &["quick"]).await.is_ok_and(|outcome| outcome.admitted), "{outcome:?}");
            admitted += 1;
        }
    }
    let most = 50 + began.elapsed().as_millis() as u64 / 20 + 1;
    assert!(admitted >= 50 && admitted <= most, "{admitted} of {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certain_denial_is_no_error() {
    let (proxy, instance) = behind_a_proxy().await;
    assert!(instance.acquire("u", &["closed"], 5).await.admitted);
    assert!(instance.acquire("u", &["local"], 2).await.admitted);
    assert!(!instance.acquire("u", &["closed"], 1).await.admitted);
    // The ring of the first connection may have come since.
    let knows = async || instance.acquire("u", &["closed"], 1).await.source == Source::Cache;
    eventually("the denial is remembered", PATIENCE, knows).await;
    proxy.set(Fault::Cut);
    let denied = ask(&instance, "u", &["closed", "tenant"]).await.expect("it is known to be full");
    assert_eq!((denied.admitted, denied.source), (false, Source::Cache), "{denied:?}");
    assert_eq!(verdicts(&denied), [Verdict::Denied, Verdict::Skipped]);
    // Local buckets start empty; a denial by another limit gives back to them.
    for _ in 0..8 {
        let closed = ask(&instance, "u", &["local", "tenant"]).await;
        assert!(is_closed(&closed, "tenant"), "{closed:?}");
    }
    let mut admitted = 0;
    while ask(&instance, "u", &["local"]).await.expect("this instance answers").admitted {
        admitted += 1;
    }
    assert_eq!(admitted, 5);
    // A local denial precedes the error of another owner.
    let denied = ask(&instance, "u", &["local", "tenant"]).await.expect("one limit surely denies");
    assert_eq!((denied.admitted, verdicts(&denied)), (false, vec![Verdict::Denied, Verdict::Skipped]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_without_a_store_admit_at_most_twice_the_limit() {
    let (proxy, instance) = behind_a_proxy().await;
    let app = instance.valkey.app().to_string();
    let other = rig::start_at(&app, &proxy.url(&keyplane_testkit::valkey().url()), policies()).await;
    assert!(instance.acquire("u", &["local"], 3).await.admitted);
    proxy.set(Fault::BlackHole);
    let mut admitted = 0;
    for round in 0..20 {
        let turn = if round % 2 == 0 { &instance } else { &other };
        admitted += u64::from(ask(turn, "u", &["local"]).await.expect("instances answer").admitted);
    }
    assert_eq!(admitted, 10);
    proxy.set(Fault::Pass);
    is_back(&instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_a_silent_store_are_answered_in_time() {
    let (proxy, instance) = behind_a_proxy().await;
    proxy.set(Fault::BlackHole);
    let callers = (0..200).map(|caller| {
        let instance = instance.clone();
        tokio::spawn(async move { ask(&instance, &format!("u-{caller}"), &["closed", "tenant"]).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        let answer = caller.await.expect("a caller");
        assert!(matches!(answer, Err(Error::Closed { .. })), "{answer:?}");
    }
    proxy.set(Fault::Pass);
    is_back(&instance).await;
    // Of what they asked, some may have been charged: never more than there is room for.
    let left = instance.remaining("u", "tenant").await;
    assert!(left <= 5, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_store_recovers_at_once() {
    let server = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let instance = rig::start_at(&keyplane_testkit::app(), &server.url(), policies()).await;
    assert!(instance.acquire("u", &["closed"], 2).await.admitted);
    server.command(&["SCRIPT", "FLUSH"]).expect("the scripts are flushed");
    let outcome = ask(&instance, "u", &["closed"]).await.expect("the script is loaded again");
    assert_eq!((outcome.admitted, outcome.limits[0].remaining), (true, 2), "what was counted is still there");
    assert!(instance.acquire("u", &["closed"], 2).await.admitted);
    assert!(!instance.acquire("u", &["closed"], 1).await.admitted);

    server.restart().expect("it starts again, empty");
    let began = Instant::now();
    let admits = async || ask(&instance, "u", &["closed"]).await.is_ok_and(|outcome| outcome.admitted);
    eventually("the limit begins anew", PATIENCE, admits).await;
    println!("admitted again {:?} after the store was started, empty", began.elapsed());
    assert_eq!(instance.remaining("u", "closed").await, 4);
}

/// Charge that the store wrote before it answered survives a kill, and expires on time.
#[tokio::test(flavor = "multi_thread")]
async fn charge_survives_a_restart_and_expires_in_time() {
    let toolbox = toolbox();
    let builder = Valkey::builder(&toolbox).setting("appendonly", "yes").setting("appendfsync", "no");
    let server = builder.start().expect("a server of its own");
    let instance = rig::start_at(&keyplane_testkit::app(), &server.url(), usual(per_month(100), per_month(100))).await;
    let charged = async |id: &str, seconds| {
        let (mut call, charge) = remembered(instance.call("u", &["user", "tenant"], 10), ChargeKind::Acquired, id);
        call.idempotency.as_mut().expect("its memory").ttl = Duration::from_secs(seconds);
        assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
        charge
    };
    let (long, short) = (charged("long", 600).await, charged("short", 2).await);
    server.restart().expect("it is killed, and started with its data");
    let refund = async |charge: &Charge| instance.limiter.refund(charge, 3, "f-1", &instance.catalog).await;
    let refunded = async || matches!(refund(&long).await, Ok(settled) if settled.charged == 7);
    eventually("the charge is there again", PATIENCE, refunded).await;
    let ended = async || matches!(refund(&short).await, Err(Error::ChargeNotFound));
    eventually("the other one ends in its time", PATIENCE, ended).await;
    assert!(refunded().await, "the first one does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_store_is_an_outage() {
    let server = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let instance = rig::start_at(&keyplane_testkit::app(), &server.url(), policies()).await;
    assert!(instance.acquire("u", &["closed", "tenant"], 2).await.admitted);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).expect("it has no room");
    let closed = ask(&instance, "u", &["closed", "tenant"]).await;
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
    let open = ask(&instance, "u", &["open"]).await.expect("it is open");
    assert_eq!((open.admitted, open.source), (true, Source::Outage), "{open:?}");
    let local = ask(&instance, "u", &["local"]).await.expect("this instance answers");
    assert_eq!((local.admitted, local.source), (true, Source::Outage), "{local:?}");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).expect("it has room again");
    is_back(&instance).await;
    let left = (instance.remaining("u", "closed").await, instance.remaining("u", "tenant").await);
    assert_eq!(left, (3, 3), "nothing was charged meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bucket_affects_no_other() {
    let instance = rig::start(&keyplane_testkit::app(), policies()).await;
    for damage in [&["SET", "KEY", "short"][..], &["HSET", "KEY", "a", "b"]] {
        let damaged = &format!("damaged-by-{}", damage[0]);
        let key = instance.limit(damaged, "closed", 1).key;
        let command: Vec<&str> = damage.iter().map(|word| if *word == "KEY" { key.as_str() } else { word }).collect();
        keyplane_testkit::valkey().command(&command).expect("somebody else writes there");
        let callers = (0..64).map(|caller| {
            let instance = instance.clone();
            let user = if caller % 8 == 0 { damaged.clone() } else { format!("{}-{caller}", damage[0]) };
            tokio::spawn(async move { (ask(&instance, &user, &["closed"]).await, user) })
        });
        for caller in callers.collect::<Vec<_>>() {
            let (answer, user) = caller.await.expect("a caller");
            assert!(answer.is_ok(), "{user}: {answer:?}");
        }
        assert_eq!(
            instance.remaining(damaged, "closed").await,
            0,
            "it is a bucket again, and was asked for more than it holds"
        );
    }
}

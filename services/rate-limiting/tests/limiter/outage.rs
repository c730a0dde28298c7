//! The store is away, slow, emptied or started anew.

use std::time::{Duration, Instant};

use keyplane_deadline as deadline;
use keyplane_engine::Valkey;
use keyplane_rate_limiting::app::limiter::{Call, Charge, ChargeKind, Outcome, Source, Verdict};
use keyplane_rate_limiting::domain::{Outage, Policy};
use keyplane_rate_limiting::error::Error;
use keyplane_testkit::{Fault, FaultProxy, eventually, toolbox};

use crate::rig::{self, Instance, PATIENCE, per_month, per_second, policy, remembered, usual, verdicts};

/// What a caller waits for an answer at most.
const DEADLINE: Duration = Duration::from_millis(400);
/// What a busy machine may add to that.
const SLACK: Duration = Duration::from_millis(600);

/// A policy for each way to answer, each with room for five.
fn policies() -> Vec<Policy> {
    let of = |id: &str, keys: &[&str], outage| policy(id, keys, per_month(5), |policy| policy.outage = outage);
    vec![
        of("closed", &["tenant", "user"], Some(Outage::Closed)),
        of("open", &["tenant", "user"], Some(Outage::Open)),
        of("local", &["tenant", "user"], Some(Outage::Local)),
        of("unsaid", &["tenant", "user"], None),
        of("tenant", &["tenant"], Some(Outage::Closed)),
        policy("quick", &["tenant", "user"], per_second(50), |policy| policy.outage = Some(Outage::Local)),
    ]
}

async fn behind_a_proxy() -> (FaultProxy, Instance) {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    let one = rig::start_at(&keyplane_testkit::app(), &proxy.url(&valkey.url()), policies()).await;
    (proxy, one)
}

/// An answer, which must come within the deadline.
async fn in_time(one: &Instance, call: &Call) -> Result<Outcome, Error> {
    let began = Instant::now();
    let until = tokio::time::Instant::now() + DEADLINE;
    let answer = deadline::scope(until, one.limiter.acquire(call)).await;
    assert!(began.elapsed() < DEADLINE + SLACK, "it took {:?}: {answer:?}", began.elapsed());
    answer
}

async fn ask(one: &Instance, user: &str, policies: &[&str]) -> Result<Outcome, Error> {
    in_time(one, &one.call(user, policies, 1)).await
}

fn is_closed(answer: &Result<Outcome, Error>, by: &str) -> bool {
    matches!(answer, Err(Error::Closed { policy, .. }) if policy == by)
}

async fn is_back(one: &Instance) {
    eventually("the store answers again, without a restart", PATIENCE, async || {
        ask(one, "back", &["quick"]).await.is_ok_and(|outcome| outcome.source == Source::Store)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_answers_in_its_way_in_time_and_ends_by_itself() {
    let (proxy, one) = behind_a_proxy().await;
    for (round, fault) in [Fault::Cut, Fault::BlackHole, Fault::HalfOpen].into_iter().enumerate() {
        let user = &format!("u-{round}");
        proxy.set(fault);
        for _ in 0..8 {
            let closed = ask(&one, user, &["closed"]).await;
            assert!(is_closed(&closed, "closed"), "{fault:?}: {closed:?}");
            let unsaid = ask(&one, user, &["unsaid"]).await;
            assert!(is_closed(&unsaid, "unsaid"), "{fault:?}, the service's own setting: {unsaid:?}");
            let both = ask(&one, user, &["open", "tenant"]).await;
            assert!(is_closed(&both, "tenant"), "{fault:?}, one that is closed is enough: {both:?}");
            let open = ask(&one, user, &["open"]).await.expect("it is open");
            assert_eq!((open.admitted, open.source, verdicts(&open)), (true, Source::Outage, vec![Verdict::Open]));
        }
        let mut admitted = 0;
        for _ in 0..8 {
            let local = ask(&one, user, &["local"]).await.expect("this instance answers");
            assert_eq!(local.source, Source::Outage, "{fault:?}");
            assert_eq!(local.retry_after().is_none(), local.admitted, "{local:?}");
            admitted += u64::from(local.admitted);
        }
        assert_eq!(admitted, 5, "{fault:?}: the instance holds the limit by itself");
        proxy.set(Fault::Pass);
        is_back(&one).await;
        assert!(ask(&one, user, &["open", "local"]).await.is_ok_and(|outcome| outcome.source == Source::Store));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaks_away_is_admitted_by_the_instance_as_well() {
    let (proxy, one) = behind_a_proxy().await;
    proxy.set(Fault::Cut);
    // The first calls wait a moment for a connection that may come back.
    eventually("the outage is known", PATIENCE, async || {
        let asked = Instant::now();
        ask(&one, "other", &["quick"]).await.is_ok_and(|_| asked.elapsed() < Duration::from_millis(20))
    })
    .await;
    let began = Instant::now();
    let mut admitted = 0;
    // A machine that is busy with other tests takes longer to use up the burst.
    while began.elapsed() < Duration::from_millis(600) || (admitted < 50 && began.elapsed() < PATIENCE) {
        let outcome = ask(&one, "u", &["quick"]).await.expect("this instance answers");
        admitted += u64::from(outcome.admitted);
        if let Some(wait) = outcome.retry_after() {
            tokio::time::sleep(wait).await;
            assert!(ask(&one, "u", &["quick"]).await.is_ok_and(|outcome| outcome.admitted), "{outcome:?}");
            admitted += 1;
        }
    }
    let most = 50 + began.elapsed().as_millis() as u64 / 20 + 1;
    assert!(admitted >= 50 && admitted <= most, "{admitted} of {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_sure_is_no_error() {
    let (proxy, one) = behind_a_proxy().await;
    assert!(one.acquire("u", &["closed"], 5).await.admitted);
    assert!(one.acquire("u", &["local"], 2).await.admitted);
    assert!(!one.acquire("u", &["closed"], 1).await.admitted);
    // The ring of the first connection may have come since.
    let knows = async || one.acquire("u", &["closed"], 1).await.source == Source::Cache;
    eventually("the refusal is remembered", PATIENCE, knows).await;
    proxy.set(Fault::Cut);
    let refused = ask(&one, "u", &["closed", "tenant"]).await.expect("it is known to be full");
    assert_eq!((refused.admitted, refused.source), (false, Source::Cache), "{refused:?}");
    assert_eq!(verdicts(&refused), [Verdict::Denied, Verdict::Skipped]);
    // The instance's own buckets begin empty; what another limit refuses is given back to them.
    for _ in 0..8 {
        let closed = ask(&one, "u", &["local", "tenant"]).await;
        assert!(is_closed(&closed, "tenant"), "{closed:?}");
    }
    let mut admitted = 0;
    while ask(&one, "u", &["local"]).await.expect("this instance answers").admitted {
        admitted += 1;
    }
    assert_eq!(admitted, 5);
    // And what it refuses itself beats that another one can't be asked.
    let refused = ask(&one, "u", &["local", "tenant"]).await.expect("one refuses for sure");
    assert_eq!((refused.admitted, verdicts(&refused)), (false, vec![Verdict::Denied, Verdict::Skipped]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_without_a_store_admit_twice_the_limit_at_most() {
    let (proxy, one) = behind_a_proxy().await;
    let app = one.valkey.app().to_string();
    let other = rig::start_at(&app, &proxy.url(&keyplane_testkit::valkey().url()), policies()).await;
    assert!(one.acquire("u", &["local"], 3).await.admitted);
    proxy.set(Fault::BlackHole);
    let mut admitted = 0;
    for round in 0..20 {
        let asked = if round % 2 == 0 { &one } else { &other };
        admitted += u64::from(ask(asked, "u", &["local"]).await.expect("instances answer").admitted);
    }
    assert_eq!(admitted, 10);
    proxy.set(Fault::Pass);
    is_back(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_a_silent_store_is_answered_in_time() {
    let (proxy, one) = behind_a_proxy().await;
    proxy.set(Fault::BlackHole);
    let callers = (0..200).map(|caller| {
        let one = one.clone();
        tokio::spawn(async move { ask(&one, &format!("u-{caller}"), &["closed", "tenant"]).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        let answer = caller.await.expect("a caller");
        assert!(matches!(answer, Err(Error::Closed { .. })), "{answer:?}");
    }
    proxy.set(Fault::Pass);
    is_back(&one).await;
    // Of what they asked, some may have been charged: never more than there is room for.
    let left = one.remaining("u", "tenant").await;
    assert!(left <= 5, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forgets_its_scripts_or_all_is_no_outage_for_long() {
    let server = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let one = rig::start_at(&keyplane_testkit::app(), &server.url(), policies()).await;
    assert!(one.acquire("u", &["closed"], 2).await.admitted);
    server.command(&["SCRIPT", "FLUSH"]).expect("the scripts are gone");
    let outcome = ask(&one, "u", &["closed"]).await.expect("the script is loaded again");
    assert_eq!((outcome.admitted, outcome.limits[0].remaining), (true, 2), "what was counted is still there");
    assert!(one.acquire("u", &["closed"], 2).await.admitted);
    assert!(!one.acquire("u", &["closed"], 1).await.admitted);

    server.restart().expect("it starts again, empty");
    let began = Instant::now();
    let admits = async || ask(&one, "u", &["closed"]).await.is_ok_and(|outcome| outcome.admitted);
    eventually("the limit begins anew", PATIENCE, admits).await;
    println!("admitted again {:?} after the store was started, empty", began.elapsed());
    assert_eq!(one.remaining("u", "closed").await, 4);
}

/// A charge that the store wrote before it answered is there after a kill, and ends when it was to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_outlives_its_store_but_not_its_time() {
    let toolbox = toolbox();
    let builder = Valkey::builder(&toolbox).setting("appendonly", "yes").setting("appendfsync", "no");
    let server = builder.start().expect("a server of its own");
    let one = rig::start_at(&keyplane_testkit::app(), &server.url(), usual(per_month(100), per_month(100))).await;
    let charged = async |id: &str, seconds| {
        let (mut call, charge) = remembered(one.call("u", &["user", "tenant"], 10), ChargeKind::Acquired, id);
        call.remember.as_mut().expect("its memory").ttl = Duration::from_secs(seconds);
        assert!(one.limiter.acquire(&call).await.expect("the store is there").admitted);
        charge
    };
    let (long, short) = (charged("long", 600).await, charged("short", 2).await);
    server.restart().expect("it is killed, and started with its data");
    let refund = async |charge: &Charge| one.limiter.refund(charge, 3, "f-1", &one.catalog).await;
    let refunded = async || matches!(refund(&long).await, Ok(settled) if settled.charged == 7);
    eventually("the charge is there again", PATIENCE, refunded).await;
    let ended = async || matches!(refund(&short).await, Err(Error::ChargeNotFound));
    eventually("the other one ends in its time", PATIENCE, ended).await;
    assert!(refunded().await, "the first one does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_full_is_away() {
    let server = Valkey::builder(&toolbox()).start().expect("a server of its own");
    let one = rig::start_at(&keyplane_testkit::app(), &server.url(), policies()).await;
    assert!(one.acquire("u", &["closed", "tenant"], 2).await.admitted);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).expect("it has no room");
    let closed = ask(&one, "u", &["closed", "tenant"]).await;
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
    let open = ask(&one, "u", &["open"]).await.expect("it is open");
    assert_eq!((open.admitted, open.source), (true, Source::Outage), "{open:?}");
    let local = ask(&one, "u", &["local"]).await.expect("this instance answers");
    assert_eq!((local.admitted, local.source), (true, Source::Outage), "{local:?}");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).expect("it has room again");
    is_back(&one).await;
    let left = (one.remaining("u", "closed").await, one.remaining("u", "tenant").await);
    assert_eq!(left, (3, 3), "nothing was charged meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bucket_that_is_damaged_is_nobody_elses_concern() {
    let one = rig::start(&keyplane_testkit::app(), policies()).await;
    for damage in [&["SET", "KEY", "short"][..], &["HSET", "KEY", "a", "b"]] {
        let damaged = &format!("damaged-by-{}", damage[0]);
        let key = one.slot(damaged, "closed", 1).key;
        let command: Vec<&str> = damage.iter().map(|word| if *word == "KEY" { key.as_str() } else { word }).collect();
        keyplane_testkit::valkey().command(&command).expect("somebody else writes there");
        let callers = (0..64).map(|caller| {
            let one = one.clone();
            let user = if caller % 8 == 0 { damaged.clone() } else { format!("{}-{caller}", damage[0]) };
            tokio::spawn(async move { (ask(&one, &user, &["closed"]).await, user) })
        });
        for caller in callers.collect::<Vec<_>>() {
            let (answer, user) = caller.await.expect("a caller");
            assert!(answer.is_ok(), "{user}: {answer:?}");
        }
        assert_eq!(
            one.remaining(damaged, "closed").await,
            0,
            "it is a bucket again, and was asked for more than it holds"
        );
    }
}

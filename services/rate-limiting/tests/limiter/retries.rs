//! The same request more than once: after an answer, before one, at two instances, and with the answer lost.

use std::time::Duration;

use keyplane_rate_limiting::app::limiter::{Call, ChargeKind, Outcome};
use keyplane_rate_limiting::domain::Level;
use keyplane_rate_limiting::error::Error;
use keyplane_rate_limiting::store::{Bucket, Flag, Group, Op, RecordKey, Remember, Status};
use keyplane_testkit::{Fault, FaultProxy, eventually};

use crate::rig::{self, Instance, PATIENCE, per_month, remembered, start_with, usual};

fn call(one: &Instance, user: &str, policies: &[&str], cost: u64, id: &str) -> Call {
    remembered(one.call(user, policies, cost), ChargeKind::Acquired, id).0
}

async fn acquire(one: &Instance, user: &str, cost: u64, id: &str) -> Outcome {
    let call = call(one, user, &["user", "tenant"], cost, id);
    one.limiter.acquire(&call).await.expect("the store is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_at_once_on_two_instances_charge_once() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(100), per_month(1000)), 2).await;
    for round in 0..20 {
        let asked = (0..8).map(|copy| {
            let one = instances[copy % 2].clone();
            tokio::spawn(async move { acquire(&one, "u", 2, &format!("r-{round}")).await })
        });
        let mut first = 0;
        for outcome in asked.collect::<Vec<_>>() {
            let outcome = outcome.await.expect("a caller");
            assert!(outcome.admitted, "{outcome:?}");
            first += u64::from(!outcome.replayed);
        }
        // Of two that come first at one owner each, neither is the answer of an earlier call as a whole.
        assert!((1..=2).contains(&first), "{first} took themselves for the first");
        let left = (instances[0].remaining("u", "user").await, instances[1].remaining("u", "tenant").await);
        assert_eq!(left, (100 - 2 * (round + 1), 1000 - 2 * (round + 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_that_are_refused_leave_nothing_charged() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(100), per_month(5)), 2).await;
    assert!(instances[0].acquire("u", &["tenant"], 5).await.admitted);
    for round in 0..20 {
        let asked = (0..6).map(|copy| {
            let one = instances[copy % 2].clone();
            tokio::spawn(async move { acquire(&one, "u", 2, &format!("r-{round}")).await })
        });
        for outcome in asked.collect::<Vec<_>>() {
            assert!(!outcome.await.expect("a caller").admitted, "the tenant's limit is full");
        }
        assert_eq!(instances[0].remaining("u", "user").await, 100, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_for_one_request_whoever_is_asked() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(10), per_month(100)), 2).await;
    assert!(acquire(&instances[0], "u", 2, "r-1").await.admitted);
    let other_cost = call(&instances[1], "u", &["user", "tenant"], 3, "r-1");
    let other_user = call(&instances[1], "v", &["user", "tenant"], 2, "r-1");
    let other_limits = call(&instances[1], "u", &["user"], 2, "r-1");
    let reserved = remembered(instances[1].call("u", &["user", "tenant"], 2), ChargeKind::Reserved, "r-1").0;
    for other in [other_cost, other_user, other_limits, reserved] {
        let refused = instances[1].limiter.acquire(&other).await;
        assert!(matches!(refused, Err(Error::RequestIdReused)), "{refused:?}");
    }
    let left = [("u", "user"), ("v", "user"), ("u", "tenant")];
    for ((user, policy), left) in left.into_iter().zip([8, 10, 98]) {
        assert_eq!(instances[0].remaining(user, policy).await, left, "{user} of {policy}");
    }
}

/// One bucket of `u` with its record, as the store is asked.
fn group(one: &Instance, op: Op) -> Group {
    let slot = one.slot("u", "user", 4);
    let (store, meter) = (one.limiter.store(), slot.applied.rule.meter.expect("it counts"));
    let channel = if matches!(op, Op::Give { .. }) { store.channel(&slot.key) } else { String::new() };
    let record = Some(store.record_key(&slot.owner, "r-1"));
    Group {
        op,
        record,
        buckets: vec![Bucket {
            key: slot.key,
            meter,
            add: meter.level(4),
            flag: Flag::Enforce,
            channel,
            end: Default::default(),
        }],
    }
}

#[tokio::test]
async fn who_was_refused_elsewhere_gives_back_what_nobody_else_stands_on() {
    let one = rig::start(&keyplane_testkit::app(), usual(per_month(10), per_month(100))).await;
    let charge = |nonce: u8| {
        let (ttl, print, cost) = (Duration::from_secs(60), [1; 16], 4);
        group(&one, Op::Charge(Some(Remember { ttl, print, nonce: [nonce; 8], cost })))
    };
    let give = |nonce: u8| group(&one, Op::Give { nonce: [nonce; 8] });
    let store = one.limiter.store();
    let run = async |group: Group| store.decide(group).await.expect("the store is there").status;
    let left = async || one.remaining("u", "user").await;
    assert_eq!(run(charge(1)).await, Status::Done);
    assert_eq!(run(charge(2)).await, Status::Replayed, "the caller asks again");
    assert_eq!(run(give(1)).await, Status::Replayed, "the first attempt was refused elsewhere, and comes late");
    assert_eq!(left().await, 6, "the second one stands on it");
    assert_eq!(run(give(1)).await, Status::Replayed, "once more");
    assert_eq!(run(give(9)).await, Status::Replayed, "nobody's");
    assert_eq!(left().await, 6);
    assert_eq!(run(give(2)).await, Status::Done, "nobody stands on it any more");
    assert_eq!(left().await, 10);
    assert_eq!(run(give(2)).await, Status::Replayed);
    assert_eq!(run(charge(3)).await, Status::Done, "the id may be used again");
    // More than are counted: it stays.
    for nonce in 4..30 {
        assert_eq!(run(charge(nonce)).await, Status::Replayed);
    }
    for nonce in 3..30 {
        assert_eq!(run(give(nonce)).await, Status::Replayed);
    }
    assert_eq!(left().await, 6);
}

/// What became of a call whose answer is lost on the way, after the store has charged it.
async fn lost(proxy: &FaultProxy, through: &Instance, direct: &Instance, id: &str) -> Result<Outcome, Error> {
    let call = call(through, "u", &["user", "tenant"], 2, id);
    let records = ["user", "tenant"].map(|policy| direct.record("u", policy, id));
    proxy.set(Fault::Delay(Duration::from_secs(1)));
    let limiter = through.limiter.clone();
    let asked = tokio::spawn(async move { limiter.acquire(&call).await });
    eventually("both owners have charged", PATIENCE, async || {
        let exists = |record: &RecordKey| {
            let reply = keyplane_testkit::valkey().command(&["EXISTS", record.as_str()]);
            reply.expect("the server answers").int() == Some(1)
        };
        records.iter().all(exists)
    })
    .await;
    proxy.set(Fault::Cut);
    let result = asked.await.expect("a caller");
    proxy.set(Fault::Pass);
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_had_by_asking_again() {
    let valkey = keyplane_testkit::valkey();
    let (app, proxy) = (keyplane_testkit::app(), FaultProxy::to_port(valkey.port()));
    let policies = || usual(per_month(10), per_month(100));
    let through = start_with(&app, &proxy.url(&valkey.url()), policies(), Duration::from_secs(5)).await;
    let direct = rig::start(&app, policies()).await;
    let error = lost(&proxy, &through, &direct, "r-1").await.expect_err("the answer is lost");
    assert!(error.outcome_unknown(), "{error:?}");
    assert_eq!(direct.remaining("u", "user").await, 8, "it was charged");
    let again = eventually("the store is back", PATIENCE, async || {
        let call = call(&through, "u", &["user", "tenant"], 2, "r-1");
        through.limiter.acquire(&call).await
    });
    let again = again.await;
    assert!(again.admitted && again.replayed, "{again:?}");
    let left = (direct.remaining("u", "user").await, direct.remaining("u", "tenant").await);
    assert_eq!(left, (8, 98), "it was charged once");
}

/// What a key takes in the server's memory.
fn memory(key: &str) -> i64 {
    let used = keyplane_testkit::valkey().command(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).expect("it answers");
    used.int().unwrap_or_else(|| panic!("{key} is not there: {used:?}"))
}

#[tokio::test]
async fn a_bucket_and_a_record_are_small() {
    let one = rig::start(&keyplane_testkit::app(), usual(per_month(10), per_month(100))).await;
    let id = "0b9f3c1e-5a53-4c6b-9d0a-2f3f6a1f5f11";
    assert!(acquire(&one, "0b9f3c1e-5a53-4c6b-9d0a-2f3f6a1f5f11", 2, id).await.admitted);
    let slot = one.slot("0b9f3c1e-5a53-4c6b-9d0a-2f3f6a1f5f11", "user", 2);
    let record = one.record(id, "user", id);
    let (bucket, record) = (memory(slot.key.as_str()), memory(record.as_str()));
    println!("bytes: {bucket} of a bucket, {record} of a record; a key of {} characters", slot.key.as_str().len());
    assert!(bucket < 400 && record < 400, "{bucket} of a bucket, {record} of a record");
    let stored = one.limiter.store().stored(&slot.key).await.expect("a read").expect("it was charged");
    assert!(stored.level > Level::EMPTY && stored.last > 1_700_000_000_000_000, "{stored:?}");
}

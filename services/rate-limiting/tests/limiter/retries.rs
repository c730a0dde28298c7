//! Retries: after an answer, before one, at two instances, and with the answer lost.

use std::time::Duration;

use keyplane_rate_limiting::app::limiter::{Call, ChargeKind, Outcome};
use keyplane_rate_limiting::domain::Level;
use keyplane_rate_limiting::error::Error;
use keyplane_rate_limiting::store::{Bucket, ChargeRecord, Flag, Group, Op, RecordKey, Status};
use keyplane_testkit::{Fault, FaultProxy, eventually};

use crate::rig::{self, Instance, PATIENCE, per_month, remembered, start_with, usual};

fn call(instance: &Instance, user: &str, policies: &[&str], cost: u64, id: &str) -> Call {
    remembered(instance.call(user, policies, cost), ChargeKind::Acquired, id).0
}

async fn acquire(instance: &Instance, user: &str, cost: u64, id: &str) -> Outcome {
    let call = call(instance, user, &["user", "tenant"], cost, id);
    instance.limiter.acquire(&call).await.expect("the store is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_on_two_instances_charge_once() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(100), per_month(1000)), 2).await;
    for round in 0..20 {
        let answers = (0..8).map(|copy| {
            let instance = instances[copy % 2].clone();
            tokio::spawn(async move { acquire(&instance, "u", 2, &format!("r-{round}")).await })
        });
        let mut first = 0;
        for outcome in answers.collect::<Vec<_>>() {
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
async fn denied_duplicates_leave_nothing_charged() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(100), per_month(5)), 2).await;
    assert!(instances[0].acquire("u", &["tenant"], 5).await.admitted);
    for round in 0..20 {
        let answers = (0..6).map(|copy| {
            let instance = instances[copy % 2].clone();
            tokio::spawn(async move { acquire(&instance, "u", 2, &format!("r-{round}")).await })
        });
        for outcome in answers.collect::<Vec<_>>() {
            assert!(!outcome.await.expect("a caller").admitted, "the tenant's limit is full");
        }
        assert_eq!(instances[0].remaining("u", "user").await, 100, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_id_names_one_request_at_every_instance() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(10), per_month(100)), 2).await;
    assert!(acquire(&instances[0], "u", 2, "r-1").await.admitted);
    let other_cost = call(&instances[1], "u", &["user", "tenant"], 3, "r-1");
    let other_user = call(&instances[1], "v", &["user", "tenant"], 2, "r-1");
    let other_limits = call(&instances[1], "u", &["user"], 2, "r-1");
    let reserved = remembered(instances[1].call("u", &["user", "tenant"], 2), ChargeKind::Reserved, "r-1").0;
    for other in [other_cost, other_user, other_limits, reserved] {
        let denied = instances[1].limiter.acquire(&other).await;
        assert!(matches!(denied, Err(Error::RequestIdReused)), "{denied:?}");
    }
    let left = [("u", "user"), ("v", "user"), ("u", "tenant")];
    for ((user, policy), left) in left.into_iter().zip([8, 10, 98]) {
        assert_eq!(instances[0].remaining(user, policy).await, left, "{user} of {policy}");
    }
}

/// One bucket of `u` with its record, as the store is asked.
fn group(instance: &Instance, op: Op) -> Group {
    let limit = instance.limit("u", "user", 4);
    let (store, meter) = (instance.limiter.store(), limit.applied.rule.meter.expect("it counts"));
    let channel = if matches!(op, Op::Give { .. }) { store.channel(&limit.key) } else { String::new() };
    let record = Some(store.record_key(&limit.owner, "r-1"));
    Group {
        op,
        record,
        buckets: vec![Bucket {
            key: limit.key,
            meter,
            add: meter.level(4),
            flag: Flag::Enforce,
            channel,
            end: Default::default(),
        }],
    }
}

#[tokio::test]
async fn charge_is_given_back_by_the_last_denied_duplicate() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_month(10), per_month(100))).await;
    let charge = |nonce: u8| {
        let (ttl, fingerprint, cost) = (Duration::from_secs(60), [1; 16], 4);
        group(&instance, Op::Charge(Some(ChargeRecord { ttl, fingerprint, nonce: [nonce; 8], cost })))
    };
    let give = |nonce: u8| group(&instance, Op::Give { nonce: [nonce; 8] });
    let store = instance.limiter.store();
    let run = async |group: Group| store.decide(group).await.expect("the store is there").status;
    let left = async || instance.remaining("u", "user").await;
    assert_eq!(run(charge(1)).await, Status::Done);
    assert_eq!(run(charge(2)).await, Status::Replayed, "the caller asks again");
    assert_eq!(run(give(1)).await, Status::Replayed, "the first attempt was denied elsewhere, and comes late");
    assert_eq!(left().await, 6, "the second one stands on it");
    assert_eq!(run(give(1)).await, Status::Replayed, "once more");
    assert_eq!(run(give(9)).await, Status::Replayed, "an unknown nonce");
    assert_eq!(left().await, 6);
    assert_eq!(run(give(2)).await, Status::Done, "it answered no other call");
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

/// Result of a call whose answer is lost after the store has charged it.
async fn lost(proxy: &FaultProxy, through: &Instance, direct: &Instance, id: &str) -> Result<Outcome, Error> {
    let call = call(through, "u", &["user", "tenant"], 2, id);
    let records = ["user", "tenant"].map(|policy| direct.record("u", policy, id));
    proxy.set(Fault::Delay(Duration::from_secs(1)));
    let limiter = through.limiter.clone();
    let task = tokio::spawn(async move { limiter.acquire(&call).await });
    eventually("both owners have charged", PATIENCE, async || {
        let exists = |record: &RecordKey| {
            let reply = keyplane_testkit::valkey().command(&["EXISTS", record.as_str()]);
            reply.expect("the server answers").int() == Some(1)
        };
        records.iter().all(exists)
    })
    .await;
    proxy.set(Fault::Cut);
    let result = task.await.expect("a caller");
    proxy.set(Fault::Pass);
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_gets_a_lost_answer() {
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

/// Memory of a key on the server, in bytes.
fn memory(key: &str) -> i64 {
    let used = keyplane_testkit::valkey().command(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).expect("it answers");
    used.int().unwrap_or_else(|| panic!("{key} is not there: {used:?}"))
}

#[tokio::test]
async fn buckets_and_records_are_small() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_month(10), per_month(100))).await;
    let id = "0b9f3c1e-5a53-4c6b-9d0a-2f3f6a1f5f11";
    assert!(acquire(&instance, "0b9f3c1e-5a53-4c6b-9d0a-2f3f6a1f5f11", 2, id).await.admitted);
    let limit = instance.limit("0b9f3c1e-5a53-4c6b-9d0a-2f3f6a1f5f11", "user", 2);
    let record = instance.record(id, "user", id);
    let (bucket, record) = (memory(limit.key.as_str()), memory(record.as_str()));
    println!("bytes: {bucket} of a bucket, {record} of a record; a key of {} characters", limit.key.as_str().len());
    assert!(bucket < 400 && record < 400, "{bucket} of a bucket, {record} of a record");
    let stored = instance.limiter.store().stored(&limit.key).await.expect("a read").expect("it was charged");
    assert!(stored.level > Level::EMPTY && stored.last > 1_700_000_000_000_000, "{stored:?}");
}

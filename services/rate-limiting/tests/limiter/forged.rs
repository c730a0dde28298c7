//! Charges that callers make up: no other call that shares a call of the script with them may notice.

use data_encoding::BASE64URL_NOPAD;
use keyplane_rate_limiting::app::limiter::{Charge, ChargeKind};
use keyplane_rate_limiting::error::Error;
use prost::Message;

use crate::rig::{self, per_month, remembered, usual};

/// Microseconds of the longest period.
const SLOWEST: u64 = 31 * 86_400_000_000;

/// Charge as callers hold it.
#[derive(Clone, PartialEq, Message)]
struct Held {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint64, tag = "3")]
    cost: u64,
    #[prost(message, repeated, tag = "4")]
    limits: Vec<HeldLimit>,
}

#[derive(Clone, PartialEq, Message)]
struct HeldLimit {
    #[prost(string, tag = "1")]
    policy: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<HeldEntry>,
    #[prost(uint64, tag = "3")]
    n: u64,
    #[prost(uint64, tag = "4")]
    p: u64,
    #[prost(uint64, tag = "5")]
    burst: u64,
}

#[derive(Clone, PartialEq, Message)]
struct HeldEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Charge under the slowest limit: its cost exceeds the script's numbers.
fn slowed(charge: &Charge) -> Charge {
    let bytes = BASE64URL_NOPAD.decode(charge.text().as_bytes()).expect("base64");
    let mut held = Held::decode(&*bytes).expect("a charge");
    for limit in &mut held.limits {
        (limit.n, limit.p, limit.burst) = (1, SLOWEST, 1);
    }
    let text = BASE64URL_NOPAD.encode(&held.encode_to_vec());
    Charge::parse(&text, ChargeKind::Acquired, "acme").expect("its numbers are a limit's")
}

#[tokio::test]
async fn forged_charge_affects_no_other_call() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_month(10_000), per_month(100_000))).await;
    let (call, charge) = remembered(instance.call("u", &["user"], 10_000), ChargeKind::Acquired, "r-1");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let forged = slowed(&charge);
    let beside = (0..8).map(|number| format!("v-{number}")).collect::<Vec<_>>();
    let (refund, others) = futures::future::join(
        instance.limiter.refund(&forged, 1, "", &instance.catalog),
        futures::future::join_all(beside.iter().map(|user| instance.acquire(user, &["user"], 1))),
    )
    .await;
    assert!(matches!(refund, Err(Error::Corrupt(_))), "it alone fails: {refund:?}");
    assert!(others.iter().all(|outcome| outcome.admitted), "{others:?}");
    // Nothing is given back under another rate than the bucket's.
    assert_eq!(instance.remaining("u", "user").await, 0);
    assert_eq!(instance.remaining("v-0", "user").await, 9_999);
}

//! Effect of single calls on their buckets.

use std::time::Duration;

use keyplane_rate_limiting::app::limiter::{ChargeKind, Outcome, Source, Verdict};
use keyplane_rate_limiting::domain::{Mode, Policy};
use keyplane_rate_limiting::error::Error;

use crate::rig::{self, per_hour, per_second, policy, remembered, usual, verdicts};

#[tokio::test]
async fn burst_is_admitted_and_no_more() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(3), per_hour(100))).await;
    for left in [2, 1, 0] {
        let outcome = instance.acquire("u", &["user"], 1).await;
        assert_eq!((outcome.admitted, outcome.limits[0].remaining), (true, left));
        assert_eq!(outcome.source, Source::Store);
    }
    let outcome = instance.acquire("u", &["user"], 1).await;
    assert_eq!((outcome.admitted, verdicts(&outcome)), (false, vec![Verdict::Denied]));
    let wait = outcome.retry_after().expect("there will be room");
    assert!(wait > Duration::from_secs(1190) && wait <= Duration::from_secs(1200), "{wait:?}");
    assert!(outcome.limits[0].reset_after > Duration::from_secs(3590));
    assert!(instance.acquire("other", &["user"], 3).await.admitted, "each user has a bucket");
}

#[tokio::test]
async fn denied_call_charges_nothing() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(10), per_hour(3))).await;
    assert!(instance.acquire("u", &["user", "tenant"], 3).await.admitted);
    let denied = instance.acquire("u", &["user", "tenant"], 1).await;
    assert_eq!(verdicts(&denied), [Verdict::Admitted, Verdict::Denied]);
    assert_eq!(instance.remaining("u", "user").await, 7, "what was charged to the user is given back");
    // A bell that is just being connected forgets what is remembered.
    keyplane_testkit::eventually("the denial is remembered", rig::PATIENCE, async || {
        let cached = instance.acquire("u", &["user", "tenant"], 1).await;
        let known = cached.source == Source::Cache && verdicts(&cached) == [Verdict::Skipped, Verdict::Denied];
        if known { Ok(()) } else { Err(cached) }
    })
    .await;
    assert!(instance.acquire("u", &["user"], 7).await.admitted);
}

#[tokio::test]
async fn call_is_admitted_after_the_reported_wait() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_second(50), per_hour(100))).await;
    assert!(instance.acquire("u", &["user"], 50).await.admitted);
    let mut waited = 0;
    for _ in 0..40 {
        let denied = instance.acquire("u", &["user"], 1).await;
        // A machine that is busy may come so late that there is room.
        let Some(wait) = denied.retry_after() else { continue };
        assert!(wait <= Duration::from_millis(20), "{wait:?}");
        tokio::time::sleep(wait).await;
        let outcome = instance.acquire("u", &["user"], 1).await;
        assert!(outcome.admitted, "{outcome:?} after {wait:?}");
        waited += 1;
    }
    assert!(waited > 0, "the bucket was never full: the machine is too slow for this test to tell anything");
}

#[tokio::test]
async fn cost_over_the_burst_never_fits() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(3), per_hour(100))).await;
    for (left, of_tenant) in [(3, 100), (1, 98)] {
        let outcome = instance.acquire("u", &["tenant", "user"], 4).await;
        assert_eq!((outcome.admitted, verdicts(&outcome)), (false, vec![Verdict::Admitted, Verdict::CostOverBurst]));
        assert_eq!((outcome.limits[1].remaining, outcome.limits[0].remaining), (left, of_tenant));
        assert_eq!((outcome.source, outcome.retry_after()), (Source::Store, None));
        instance.acquire("u", &["tenant", "user"], 2).await;
    }
}

#[tokio::test]
async fn shadow_mode_reports_and_denies_nothing() {
    let mut limit = per_hour(1);
    limit.mode = Mode::Shadow;
    let instance = rig::start(&keyplane_testkit::app(), usual(limit, per_hour(100))).await;
    let expected = [Verdict::Admitted, Verdict::ShadowDenied, Verdict::ShadowDenied];
    for (number, verdict) in expected.into_iter().enumerate() {
        let outcome = instance.acquire("u", &["user", "tenant"], 1).await;
        assert!(outcome.admitted);
        assert_eq!(verdicts(&outcome), [verdict, Verdict::Admitted]);
        assert_eq!(outcome.limits[1].remaining, 99 - number as u64);
    }
}

#[tokio::test]
async fn admitted_request_id_is_answered_again_and_charges_once() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(3), per_hour(100))).await;
    let call = |cost, id: &str| remembered(instance.call("u", &["user", "tenant"], cost), ChargeKind::Acquired, id).0;
    let first = instance.limiter.acquire(&call(2, "r-1")).await.expect("the store is there");
    let again = instance.limiter.acquire(&call(2, "r-1")).await.expect("the store is there");
    assert!(first.admitted && again.admitted && again.replayed && !first.replayed);
    assert_eq!(first.limits, again.limits);
    assert_eq!(instance.remaining("u", "user").await, 1);
    let other = instance.limiter.acquire(&call(1, "r-1")).await;
    assert!(matches!(other, Err(Error::RequestIdReused)), "{other:?}");
    assert_eq!((instance.remaining("u", "user").await, instance.remaining("u", "tenant").await), (1, 98));
    // A denied call may retry.
    let denied = instance.limiter.acquire(&call(2, "r-2")).await.expect("the store is there");
    assert!(!denied.admitted);
    assert_eq!(instance.remaining("u", "tenant").await, 98);
    let limits = [instance.limit("u", "user", 1)];
    assert_eq!(instance.limiter.reset(&limits).await.expect("the store is there"), 1);
    let admitted = instance.limiter.acquire(&call(2, "r-2")).await.expect("the store is there");
    assert!(admitted.admitted && !admitted.replayed);
}

#[tokio::test]
async fn reservation_is_settled_once() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(10), per_hour(100))).await;
    let reserve = |id: &str| remembered(instance.call("u", &["user", "tenant"], 8), ChargeKind::Reserved, id);
    let (call, charge) = reserve("r-1");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let settled = instance.limiter.commit(&charge, 3, &instance.catalog).await.expect("it is reserved");
    assert_eq!((settled.charged, settled.limits[0].state.remaining, settled.limits[1].state.remaining), (3, 7, 97));
    let again = instance.limiter.commit(&charge, 3, &instance.catalog).await.expect("the same once more");
    assert_eq!((again.charged, again.limits[0].state.remaining), (3, 7));
    let other = instance.limiter.commit(&charge, 4, &instance.catalog).await;
    assert!(matches!(other, Err(Error::AlreadySettled { cost: 3 })), "{other:?}");
    let refund = instance.limiter.refund(&reserve("none").1, 1, "", &instance.catalog).await;
    assert!(matches!(refund, Err(Error::ChargeNotFound)), "{refund:?}");

    // More than the estimate, and more than there is room for: a debt of one burst at most.
    let (call, charge) = remembered(instance.call("u", &["user"], 7), ChargeKind::Reserved, "r-2");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let settled = instance.limiter.commit(&charge, 1000, &instance.catalog).await.expect("it is reserved");
    assert_eq!(settled.limits[0].state.remaining, 0);
    let wait = instance.acquire("u", &["user"], 1).await.retry_after().expect("it is in debt");
    assert!(wait > Duration::from_secs(3950) && wait <= Duration::from_secs(3960), "11 of 10 an hour: {wait:?}");
}

#[tokio::test]
async fn refunds_never_exceed_the_charge() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(10), per_hour(100))).await;
    let (call, charge) = remembered(instance.call("u", &["user", "tenant"], 6), ChargeKind::Acquired, "r-1");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let settled = instance.limiter.refund(&charge, 4, "f-1", &instance.catalog).await.expect("it is known");
    assert_eq!((settled.charged, settled.limits[0].state.remaining), (2, 8));
    let again = instance.limiter.refund(&charge, 4, "f-1", &instance.catalog).await.expect("the same once more");
    assert_eq!((again.charged, again.limits[0].state.remaining), (2, 8));
    let more = instance.limiter.refund(&charge, 3, "f-2", &instance.catalog).await;
    assert!(matches!(more, Err(Error::RefundExceedsCharge { left: 2 })), "{more:?}");
    assert_eq!((instance.remaining("u", "user").await, instance.remaining("u", "tenant").await), (8, 98));
}

/// Others have the room by now that a leak made.
#[tokio::test]
async fn leaked_hits_are_not_given_back() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_second(40), per_second(40))).await;
    let (call, old) = remembered(instance.call("u", &["user", "tenant"], 40), ChargeKind::Reserved, "r-1");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let empty = async || instance.remaining("u", "user").await == 40 && instance.remaining("u", "tenant").await == 40;
    keyplane_testkit::eventually("it has leaked away", rig::PATIENCE, empty).await;
    let began = std::time::Instant::now();
    let (call, new) = remembered(instance.call("u", &["user", "tenant"], 40), ChargeKind::Acquired, "r-2");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let settled = instance.limiter.commit(&old, 0, &instance.catalog).await.expect("it is reserved");
    let returned: Vec<u64> = settled.limits.iter().map(|limit| limit.returned).collect();
    assert_eq!((settled.charged, returned), (0, vec![0, 0]));
    // And of a charge that is a moment old, what is left of it.
    let refunded = instance.limiter.refund(&new, 40, "", &instance.catalog).await.expect("it is known");
    let least = 40_u64.saturating_sub(began.elapsed().as_millis() as u64 * 40 / 1000 + 1);
    for limit in &refunded.limits {
        assert!((least..=40).contains(&limit.returned), "at least {least} have not leaked: {limit:?}");
    }
}

/// They share a call of the script, in which each has to find what the one before it left.
#[tokio::test]
async fn concurrent_settlements_are_serialized() {
    let instance = rig::start(&keyplane_testkit::app(), usual(per_hour(10), per_hour(100))).await;
    let (call, charge) = remembered(instance.call("u", &["user"], 6), ChargeKind::Acquired, "r-1");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let ids: Vec<String> = (0..6).map(|number| format!("f-{number}")).collect();
    let refunds = ids.iter().map(|id| instance.limiter.refund(&charge, 2, id, &instance.catalog));
    let left = futures::future::join_all(refunds).await.into_iter().map(|refunded| match refunded {
        Ok(settled) => Some(settled.charged),
        Err(Error::RefundExceedsCharge { left: 0 }) => None,
        Err(error) => panic!("{error:?}"),
    });
    assert_eq!(left.collect::<Vec<_>>(), [Some(4), Some(2), Some(0), None, None, None]);
    assert_eq!(instance.remaining("u", "user").await, 10);

    let (call, charge) = remembered(instance.call("u", &["user"], 6), ChargeKind::Reserved, "r-2");
    assert!(instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    let commits = (3..6).map(|cost| instance.limiter.commit(&charge, cost, &instance.catalog));
    let committed = futures::future::join_all(commits).await;
    let once = matches!(
        &committed[..],
        [Ok(_), Err(Error::AlreadySettled { cost: 3 }), Err(Error::AlreadySettled { cost: 3 })]
    );
    assert!(once, "{committed:?}");
    assert_eq!(instance.remaining("u", "user").await, 7);
    let record = instance.record("u", "user", "r-2");
    let life = keyplane_testkit::valkey().command(&["PTTL", record.as_str()]).expect("an answer");
    assert!(life.int().is_some_and(|millis| (1..=10_000).contains(&millis)), "it lives as long as before: {life:?}");
}

#[tokio::test]
async fn changed_limit_keeps_consumed_hits_in_the_store() {
    let app = keyplane_testkit::app();
    let instance = rig::start(&app, usual(per_hour(100), per_hour(100))).await;
    assert!(instance.acquire("u", &["user"], 60).await.admitted);
    for (amount, left) in [(200, 140), (70, 10), (50, 0), (1000, 940)] {
        let changed = rig::start(&app, usual(per_hour(amount), per_hour(100))).await;
        let remaining = changed.remaining("u", "user").await;
        assert!(remaining == left || remaining == left + 1, "{remaining} of {amount}, {left} were left");
    }
    // Denied or not, the bucket leaks at the new rate from the first look on.
    let slow = rig::start(&app, usual(per_hour(50), per_hour(100))).await;
    let wait = slow.acquire("u", &["user"], 1).await.retry_after().expect("59 of 50 are charged");
    assert!(wait > Duration::from_secs(600) && wait <= Duration::from_secs(800), "11 of 50 an hour: {wait:?}");
}

fn post_charged() -> Vec<Policy> {
    let post = policy("post", &["tenant", "user"], per_hour(5), |policy| policy.post_charge = true);
    vec![post, policy("tenant", &["tenant"], per_hour(1000), |_| ())]
}

/// Time for a debt to end, give or take the second that a test may take.
fn waits(outcome: &Outcome, seconds: u64) {
    let wait = outcome.limits[0].retry_after.expect("it ends").as_secs_f64();
    let seconds = seconds as f64;
    assert!(wait <= seconds && wait > seconds - 10.0, "{wait} s, in place of {seconds}: {outcome:?}");
}

#[tokio::test]
async fn post_charge_overshoots_once_and_denies_until_the_debt_has_leaked() {
    let instance = rig::start(&keyplane_testkit::app(), post_charged()).await;
    let peek = async || instance.limiter.peek(&instance.call("u", &["post"], 1)).await.expect("the store is there");
    assert_eq!(verdicts(&instance.acquire("u", &["post"], 5).await), [Verdict::Admitted]);
    // Full is no debt.
    assert_eq!((peek().await.admitted, verdicts(&peek().await)), (true, vec![Verdict::Overcharged]));
    let over = instance.acquire("u", &["post"], 3).await;
    assert_eq!((over.admitted, verdicts(&over)), (true, vec![Verdict::Overcharged]));
    // 3 of 5 an hour are 2,160 seconds, whatever is asked for: 1 or 400.
    for cost in [1, 3, 400] {
        let denied = instance.acquire("u", &["post", "tenant"], cost).await;
        assert_eq!((denied.admitted, denied.limits[0].verdict), (false, Verdict::Denied), "{cost}");
        waits(&denied, 2160);
    }
    let peeked = peek().await;
    assert_eq!((peeked.admitted, verdicts(&peeked)), (false, vec![Verdict::Denied]));
    waits(&peeked, 2160);
    assert_eq!(instance.remaining("u", "tenant").await, 1000, "a denied call charges nothing");
    let (call, _) = remembered(instance.call("u", &["post"], 1), ChargeKind::Reserved, "r-1");
    assert!(!instance.limiter.acquire(&call).await.expect("the store is there").admitted);
    // The instance knows it by itself as well.
    keyplane_testkit::eventually("the debt is remembered", rig::PATIENCE, async || {
        let denied = instance.acquire("u", &["post"], 400).await;
        waits(&denied, 2160);
        if denied.source == Source::Cache { Ok(()) } else { Err(denied) }
    })
    .await;
}

#[tokio::test]
async fn spent_hits_are_charged_in_debt_and_deny_the_next_call() {
    let instance = rig::start(&keyplane_testkit::app(), post_charged()).await;
    let spend = async |cost| {
        let mut call = instance.call("u", &["post", "tenant"], cost);
        call.limits.iter_mut().for_each(|limit| limit.spent = true);
        instance.limiter.acquire(&call).await.expect("the store is there")
    };
    let over = spend(7).await;
    assert_eq!((over.admitted, verdicts(&over)), (true, vec![Verdict::Overcharged, Verdict::Admitted]));
    let debt = spend(1).await;
    assert_eq!((debt.admitted, verdicts(&debt)), (false, vec![Verdict::Denied, Verdict::Admitted]));
    waits(&debt, 2160);
    let most = spend(400).await;
    waits(&most, 3600);
    assert_eq!(
        instance.remaining("u", "tenant").await,
        1000 - 408,
        "one limit's debt does not hide what another counts"
    );
    let denied = instance.acquire("u", &["post"], 1).await;
    assert!(!denied.admitted);
    waits(&denied, 3600);
}

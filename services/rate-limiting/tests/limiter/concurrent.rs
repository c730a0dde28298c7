//! Many callers at once, on three instances.

use std::time::Duration;

use keyplane_rate_limiting::app::limiter::{Source, Verdict};
use keyplane_testkit::eventually;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::rig::{self, Instance, PATIENCE, per_month, per_second, policy, usual};

const CALLERS: usize = 64;

/// Has each caller acquire its cost until it is denied; returns the admitted hits.
pub(crate) async fn until_refused(instances: &[Instance], cost: impl Fn(usize) -> u64) -> u64 {
    let callers = (0..CALLERS).map(|caller| {
        let (instance, cost) = (instances[caller % instances.len()].clone(), cost(caller));
        tokio::spawn(async move {
            let mut sum = 0;
            while instance.acquire("u", &["user"], cost).await.admitted {
                sum += cost;
            }
            sum
        })
    });
    let mut sum = 0;
    for caller in callers.collect::<Vec<_>>() {
        sum += caller.await.expect("a caller");
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_are_admitted_exactly() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(1000), per_month(1)), 3).await;
    assert_eq!(until_refused(&instances, |_| 1).await, 1000);
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(1000), per_month(1)), 3).await;
    let mixed = until_refused(&instances, |caller| 1 + caller as u64 % 7).await;
    assert_eq!(mixed, 1000, "those who ask for one at a time take what the others leave");
}

/// Many callers of five users of one tenant, where neither limit is enough for all: what is admitted is what is
/// charged, at each owner, and no more than there is room for. Users have room for 30, the tenant for 100, and a month.
pub(crate) async fn contend(instances: &[Instance]) {
    let callers = (0..CALLERS).map(|caller| {
        let instance = instances[caller % instances.len()].clone();
        tokio::spawn(async move {
            let (user, cost) = (format!("u-{}", caller % 5), 1 + caller as u64 % 3);
            let mut sum = 0;
            for _ in 0..8 {
                sum += if instance.acquire(&user, &["user", "tenant"], cost).await.admitted { cost } else { 0 };
            }
            (caller % 5, sum)
        })
    });
    let mut admitted = [0; 5];
    for caller in callers.collect::<Vec<_>>() {
        let (user, sum) = caller.await.expect("a caller");
        admitted[user] += sum;
    }
    assert!(admitted.iter().sum::<u64>() <= 100 && admitted.iter().all(|sum| *sum <= 30), "{admitted:?}");
    let settled = async || {
        let mut charged = [0; 5];
        for (user, sum) in charged.iter_mut().enumerate() {
            *sum = 30 - instances[0].remaining(&format!("u-{user}"), "user").await;
        }
        let tenant = 100 - instances[0].remaining("", "tenant").await;
        let alike = charged == admitted && tenant == admitted.iter().sum::<u64>();
        if alike { Ok(()) } else { Err((charged, tenant, admitted)) }
    };
    eventually("what is charged is what was admitted", PATIENCE, settled).await;
    // An instance outside of the crowd can acquire the rest that give-backs left.
    let left = instances[0].remaining("", "tenant").await;
    let last = instances.last().expect("an instance");
    for _ in 0..left.min(30) {
        let admitted = async || last.acquire("last", &["user", "tenant"], 1).await.admitted;
        eventually("what is left is admitted", PATIENCE, admitted).await;
    }
    assert_eq!(last.remaining("", "tenant").await, left - left.min(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn contended_call_is_charged_everywhere_or_nowhere() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(30), per_month(100)), 3).await;
    contend(&instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_callers_never_admit_more() {
    let instances = rig::several(&keyplane_testkit::app(), usual(per_month(60), per_month(200)), 3).await;
    let callers = (0..CALLERS).map(|caller| {
        let instance = instances[caller % 3].clone();
        tokio::spawn(async move {
            let (user, mut sum) = (format!("u-{}", caller % 4), 0);
            for round in 0..10 {
                let call = instance.call(&user, &["user", "tenant"], 1);
                // Some leave at once, some while the store is asked.
                let patience = Duration::from_micros(20 * (caller as u64 * 7 + round * 11) % 1500);
                let answer = tokio::time::timeout(patience, instance.limiter.acquire(&call)).await;
                sum += u64::from(answer.is_ok_and(|answer| answer.expect("the store is there").admitted));
            }
            sum
        })
    });
    let mut admitted = 0;
    for caller in callers.collect::<Vec<_>>() {
        admitted += caller.await.expect("a caller");
    }
    let charged = 200 - instances[0].remaining("", "tenant").await;
    assert!(admitted <= charged && charged <= 200, "{admitted} were admitted, {charged} charged");
    let mut after = 0;
    while instances[1].acquire("last", &["tenant"], 1).await.admitted {
        after += 1;
    }
    assert!(admitted + after <= 200, "{admitted}, and then {after}");
}

/// Checks that a single caller is admitted after the wait that any limits report.
/// (One that was not asked, since another was known to be full, has not said anything.)
#[test]
fn reported_wait_is_enough_under_any_limits() {
    let runtime = &crate::script::RUNTIME;
    let policies = |rates: (u64, u64)| {
        let mut limits = usual(per_second(rates.0), per_second(rates.1));
        limits.push(policy("other", &["tenant", "user"], per_second(rates.0 + 7), |_| ()));
        limits
    };
    let strategy = ((7..60_u64, 7..60_u64), proptest::collection::vec((0..4_usize, 1..7_u64), 4..12));
    let mut runner = TestRunner::new(Config { cases: 10, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |(rates, calls)| {
        runtime.block_on(async {
            let instance = rig::start(&keyplane_testkit::app(), policies(rates)).await;
            assert!(instance.acquire("u", &["user", "tenant"], rates.0.min(rates.1)).await.admitted);
            for (which, cost) in calls {
                let sets: [&[&str]; 4] = [&["user"], &["tenant", "user"], &["other", "tenant"], &["tenant"]];
                let outcome = instance.acquire("u", sets[which], cost).await;
                if let Some(wait) = outcome.retry_after() {
                    tokio::time::sleep(wait).await;
                    let after = instance.acquire("u", sets[which], cost).await;
                    let states = outcome.limits.iter().zip(&after.limits);
                    let mut states = states.filter(|(before, _)| before.verdict != Verdict::Skipped);
                    let kept = states.all(|(_, state)| state.verdict == Verdict::Admitted);
                    assert!(kept, "{outcome:?}, and after {wait:?} {after:?}");
                    assert!(after.admitted || outcome.source == Source::Cache, "{outcome:?}, and then {after:?}");
                }
            }
        });
        prop_assert!(true);
        Ok(())
    });
    result.expect("the reported wait is enough");
}

//! Bounds over any interval and across changes of a limit, under a simulated clock.

use keyplane_rate_limiting::domain::Level;
use keyplane_valkey::Key;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::exact::rates;
use crate::rational::{Rate, SECOND};
use crate::script::{Bucket, Clocked, Group, RUNTIME};

const START: u64 = 1_795_000_000 * SECOND;

/// Attempt: pause since the previous one, jump of the clock meanwhile, and cost.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// Pause in hundredths of an emission interval.
    after: u64,
    back: u64,
    cost: u64,
}

fn bucket(clocked: &Clocked, rate: Rate, cost: u64, flag: u8) -> Bucket {
    let (key, meter) = (clocked.key("one"), rate.meter());
    Bucket { key, meter, cost, flag, charged: 0, then: meter, end: Default::default() }
}

/// Bound over true time, whatever the clock shows: at most a burst and the leak.
async fn over_any_interval(rate: Rate, attempts: Vec<Attempt>) {
    let clocked = Clocked::connect().await;
    let (mut passed, mut back) = (0, 0);
    let mut admitted: Vec<(u64, u64)> = Vec::new();
    for attempt in attempts {
        passed += (rate.period / rate.amount).max(1) * attempt.after / 100;
        back += attempt.back;
        let cost = attempt.cost.min(rate.burst);
        let target = bucket(&clocked, rate, cost, b'e');
        if clocked.single(START + passed - back, b'c', &[target]).await.status == 'A' {
            admitted.push((passed, cost));
        }
    }
    let (amount, period) = (u128::from(rate.amount), u128::from(rate.period));
    for (first, &(from, _)) in admitted.iter().enumerate() {
        let mut sum = 0;
        for &(to, cost) in &admitted[first..] {
            sum += u128::from(cost);
            let most = u128::from(rate.burst) * period + amount * u128::from(to - from);
            assert!(sum * period <= most, "{sum} in {} us of {rate:?}: {admitted:?}", to - from);
        }
    }
}

fn attempts(jumps: bool) -> impl Strategy<Value = Vec<Attempt>> {
    let back = if jumps { prop_oneof![6 => Just(0), 1 => 0..10 * SECOND].boxed() } else { Just(0).boxed() };
    let after = prop_oneof![2 => 0..5_u64, 2 => 5..150_u64, 1 => 150..2000_u64];
    let attempt = (after, back, 1..6_u64).prop_map(|(after, back, cost)| Attempt { after, back, cost });
    proptest::collection::vec(attempt, 20..120)
}

fn modest() -> impl Strategy<Value = Rate> {
    (1..30_u64, SECOND..5 * SECOND, 1..12_u64).prop_map(|(amount, period, burst)| Rate { amount, period, burst })
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn every_interval_admits_at_most_a_burst_and_the_leak(rate in modest(), attempts in attempts(false)) {
        RUNTIME.block_on(over_any_interval(rate, attempts));
    }

    #[test]
    fn clock_set_back_admits_no_more(rate in modest(), attempts in attempts(true)) {
        RUNTIME.block_on(over_any_interval(rate, attempts));
    }
}

/// At 7 a second, a million: as many as there is room for, to the last one, after any number of fractions.
#[test]
fn million_charges_at_a_fractional_rate_are_exact() {
    // 1000.99999... leak away in each step. Large hits, and small ones that fill what those leave.
    let (rate, step) = (Rate { amount: 7, period: SECOND, burst: 1500 }, 142_999_999);
    let costs: Vec<u64> = [49].repeat(30).into_iter().chain([1].repeat(50)).collect();
    RUNTIME.block_on(async {
        let clocked = Clocked::connect().await;
        let mut groups = Vec::new();
        for cost in &costs {
            groups.push(Group { op: b'c', buckets: vec![bucket(&clocked, rate, *cost, b'e')], record: None });
        }
        let (mut now, mut level, mut sum) = (START, 0_u128, 0_u64);
        let full = u128::from(rate.burst * SECOND);
        while sum < 1_000_000 {
            for (answer, cost) in clocked.decide(now, &groups).await.iter().zip(&costs) {
                let admitted = level + u128::from(cost * SECOND) <= full;
                assert_eq!(answer.status == 'A', admitted, "{cost} after {sum}");
                if admitted {
                    (level, sum) = (level + u128::from(cost * SECOND), sum + cost);
                }
                let state = answer.states[0].level;
                assert_eq!(u128::from(state.micros) * 7 + u128::from(state.part), level, "after {sum}");
            }
            now += step;
            level = level.saturating_sub(u128::from(step * rate.amount));
        }
        let leaked = u128::from(7 * (now - START));
        assert!(full + leaked - u128::from(sum * SECOND) < u128::from(1002 * SECOND), "all that leaked was admitted");
    });
}

/// Hits of a level times both periods, to compare rational numbers without a division.
fn consumed(rate: Rate, level: Level, other: Rate) -> u128 {
    let meter = rate.meter();
    let units = u128::from(level.micros) * u128::from(meter.n()) + u128::from(level.part);
    units * u128::from(other.meter().p())
}

/// Longest level, two years: longer ones are cut.
fn is_cut(level: Level) -> bool {
    level.micros >= 732 * 86_400 * SECOND
}

async fn change(rates: Vec<(Rate, u64)>, percent: u64) {
    let clocked = Clocked::connect().await;
    let cost = (u128::from(rates[0].0.burst) * u128::from(percent)).div_ceil(100) as u64;
    let (mut now, mut old) = (START, rates[0].0);
    clocked.single(now, b'c', &[bucket(&clocked, old, cost, b'f')]).await;
    for (rate, passes) in rates.into_iter().skip(1) {
        // A part of a burst leaks away, and not by whole ones.
        now += (u128::from(old.period) * u128::from(passes) / u128::from(old.amount) / 100) as u64 + passes;
        let before = clocked.single(now, b'p', &[bucket(&clocked, old, 1, b'e')]).await.states[0].level;
        let target = bucket(&clocked, rate, 1, b'e');
        let state = clocked.single(now, b'p', std::slice::from_ref(&target)).await.states[0];
        let again = clocked.single(now, b'p', &[target]).await.states[0];
        assert_eq!(state, again, "what was looked at under the new limit stays as it is");
        if is_cut(state.level) {
            return;
        }
        let (was, is) = (consumed(old, before, rate), consumed(rate, state.level, old));
        assert!(is >= was, "{before:?} of {old:?} became less: {state:?} under {rate:?}");
        let two = 2 * u128::from(rate.meter().p()) * u128::from(old.meter().p());
        assert!(is - was <= two, "{before:?} of {old:?} became more: {state:?} under {rate:?}");
        old = rate;
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]

    #[test]
    fn changed_limit_keeps_consumed_hits(
        rates in proptest::collection::vec((rates(), 0..200_u64), 2..8),
        percent in 0..=200_u64,
    ) {
        RUNTIME.block_on(change(rates, percent));
    }
}

/// Checks that keys of the real script live by the server's clock.
#[test]
fn clocked_script_differs_only_in_its_clock() {
    RUNTIME.block_on(async {
        let clocked = Clocked::connect().await;
        let rate = Rate { amount: 7, period: SECOND, burst: 7 };
        let one = bucket(&clocked, rate, 7, b'e');
        assert_eq!(clocked.single(START, b'c', std::slice::from_ref(&one)).await.status, 'A');
        let keys: [Key; 1] = [one.key.clone()];
        assert_eq!(clocked.lives(&keys).await, [1002], "a second, and a little more");
        assert_eq!(clocked.single(START + 999_999, b'p', std::slice::from_ref(&one)).await.status, 'R');
        assert_eq!(clocked.single(START + 1_000_000, b'p', &[one]).await.status, 'A');
    });
}

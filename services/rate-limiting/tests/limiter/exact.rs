//! Arithmetic of the script against rational numbers, under an arbitrary clock.

use std::collections::BTreeMap;

use keyplane_valkey::Key;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;

use crate::rational::{DAY, Model, Rate, SECOND, SKEW};
use crate::script::{Answer, Bucket, Clocked, Found, Group, RUNTIME};

/// 2026.
const START: u64 = 1_795_000_000 * SECOND;

/// Bucket, a share of its burst in percent, and the action where it has no room.
type Share = (Index, u64, u8);

#[derive(Clone, Debug)]
enum Step {
    /// Pause: emission intervals in hundredths, then microseconds.
    Pass(u64, u64),
    /// Wait of the last denial, less these microseconds.
    Wait(u64),
    /// Jump of the clock, in microseconds.
    Set(i64),
    /// Groups, all in one call: what to do, and with which buckets.
    Call(Vec<(u8, Vec<Share>)>),
}

// === the case ===

async fn hold(rates: Vec<Rate>, steps: Vec<Step>) {
    let clocked = Clocked::connect().await;
    let keys: Vec<Key> = (0..rates.len()).map(|at| clocked.key(&at.to_string())).collect();
    let mut model = Model { rates, kept: BTreeMap::new() };
    let (mut now, mut reported) = (START, 0);
    for step in steps {
        let groups = match step {
            Step::Pass(hundredths, micros) => {
                let slowest = model.rates.iter().map(|rate| rate.period / rate.amount).max().unwrap_or(0);
                now += slowest * hundredths / 100 + micros;
                continue;
            }
            Step::Wait(but) => {
                now += u64::saturating_sub(reported, but);
                continue;
            }
            Step::Set(by) => {
                now = now.saturating_add_signed(by).clamp(START / 2, START * 4);
                continue;
            }
            Step::Call(groups) => groups,
        };
        let chosen = |buckets: &[Share]| {
            let mut chosen: Vec<(usize, u64, u8)> = Vec::new();
            for (index, percent, flag) in buckets {
                let at = index.index(model.rates.len());
                let cost = (u128::from(model.rates[at].burst) * u128::from(*percent)).div_ceil(100) as u64;
                if chosen.iter().all(|(other, ..)| *other != at) {
                    chosen.push((at, cost, *flag));
                }
            }
            chosen
        };
        let chosen: Vec<_> = groups.iter().map(|(op, buckets)| (*op, chosen(buckets))).collect();
        let bucket = |&(at, cost, flag): &(usize, u64, u8)| Bucket {
            key: keys[at].clone(),
            meter: model.rates[at].meter(),
            cost,
            flag,
            charged: 0,
            then: model.rates[at].meter(),
            end: Default::default(),
        };
        let sent: Vec<Group> = chosen
            .iter()
            .map(|(op, buckets)| Group { op: *op, buckets: buckets.iter().map(bucket).collect(), record: None })
            .collect();
        let answers = clocked.decide(now, &sent).await;
        for ((op, buckets), answer) in chosen.iter().zip(&answers) {
            let (status, expected) = model.decide(now, *op, buckets);
            assert_eq!(answer.status, status, "{buckets:?} at {now}: {answer:?}, the model says {expected:?}");
            for ((&(at, ..), state), (room, level, ahead)) in buckets.iter().zip(&answer.states).zip(expected) {
                let alike = state.room == room && state.ahead == ahead && model.rates[at].is(level, state);
                assert!(alike, "{:?}: {state:?}, the model says {:?}", model.rates[at], (room, level, ahead));
            }
        }
        if let (Some(Answer { status: 'R', states, .. }), Some(Group { buckets, .. })) = (answers.last(), sent.last())
            && let [bucket] = &buckets[..]
        {
            reported = wait_is_exact(&clocked, now, bucket, &states[0]).await;
        }
        keys_live(&clocked, &keys, &model, now).await;
    }
}

/// Checks that the wait of a single denied bucket is exact to the microsecond; returns it.
async fn wait_is_exact(clocked: &Clocked, now: u64, bucket: &Bucket, state: &Found) -> u64 {
    let needs = if bucket.flag == b'o' { 0 } else { bucket.cost };
    let wait = bucket.meter.wait(state.level, needs).expect("it was denied, and has room some day");
    let wait = state.ahead + wait.as_micros() as u64;
    for (after, status) in [(wait - 1, 'R'), (wait, 'A')] {
        let peeked = clocked.single(now + after, b'p', std::slice::from_ref(bucket)).await;
        assert_eq!(peeked.status, status, "a wait of {wait} us, after {after}: {peeked:?}");
    }
    wait
}

/// Key lives at least until its bucket is empty, and never for ever: one that is empty may be kept for as long as a
/// record may name a place in it.
async fn keys_live(clocked: &Clocked, keys: &[Key], model: &Model, now: u64) {
    for (at, life) in clocked.lives(keys).await.into_iter().enumerate() {
        let Some(kept) = model.kept.get(&at) else {
            assert!(life <= 3_660_002, "a bucket that is empty lives {life} ms");
            continue;
        };
        let empties = kept.level.div_ceil(u128::from(model.rates[at].amount)) as u64;
        assert!(life * 1000 >= empties && life > 0, "{kept:?} of {:?} lives {life} ms", model.rates[at]);
        assert!(life <= 733 * DAY / 1000, "{kept:?} at {now} lives {life} ms");
    }
}

// === strategies ===

pub(crate) fn rates() -> impl Strategy<Value = Rate> {
    let rate = prop_oneof![
        3 => (1..30_u64, prop_oneof![Just(SECOND), 1_000_000..10_000_000_u64], 1..40_u64),
        1 => (1_000_000..=1_000_000_000_000_u64, Just(SECOND), 1..=1_000_000_000_000_u64),
        1 => (1..5_u64, Just(31 * DAY), 1..100_u64),
        1 => (1..=1_000_000_000_000_u64, SECOND..=31 * DAY, 1..=1_000_000_000_000_u64),
    ];
    rate.prop_map(|(amount, period, burst)| {
        let most = u128::from(366 * DAY) * u128::from(amount) / u128::from(period);
        Rate { amount, period, burst: u64::try_from(most).unwrap_or(u64::MAX).min(burst) }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flag = prop_oneof![6 => Just(b'e'), 1 => Just(b's'), 1 => Just(b'f'), 2 => Just(b'o')];
    let bucket = (any::<Index>(), prop_oneof![4 => 1..60_u64, 1 => 60..=100_u64], flag);
    let op = prop_oneof![8 => Just(b'c'), 1 => Just(b'p'), 2 => Just(b't'), 1 => Just(b'd')];
    let group = (op, proptest::collection::vec(bucket, 1..4));
    let skew = SKEW as i64;
    let step = prop_oneof![
        3 => (0..300_u64, 0..3_u64).prop_map(|(hundredths, micros)| Step::Pass(hundredths, micros)),
        3 => (0..2_u64).prop_map(Step::Wait),
        1 => (-skew..0).prop_map(Step::Set),
        1 => prop_oneof![Just(-skew), Just(-skew - 1), -3_600 * skew..-skew, 0..skew, Just(31_536_000_000_000)]
            .prop_map(Step::Set),
        8 => proptest::collection::vec(group, 1..4).prop_map(Step::Call),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn script_agrees_with_rational_arithmetic(rates in proptest::collection::vec(rates(), 1..5), steps in steps()) {
        RUNTIME.block_on(hold(rates, steps));
    }
}

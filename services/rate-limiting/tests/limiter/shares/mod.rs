//! Give-backs, against a queue of single charges that leak one after the other: exactly the part of the charge that has
//! not leaked. Over any time, at most a burst and the leaked amount are admitted and not given back. After a change of
//! rate nothing is given back.

mod examples;

use std::collections::VecDeque;

use keyplane_rate_limiting::domain::{Level, Meter};
use keyplane_valkey::Key;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;

use crate::rational::{Rate, SECOND};
use crate::script::{Answer, Bucket, Clocked, Group, RUNTIME, Record, double};

const START: u64 = 1_795_000_000 * SECOND;

/// Stands for all charges of before, once the bucket counts at another rate.
const NO_CHARGE: usize = usize::MAX;
/// More than this are forgotten by the script, the first ones first.
const HOLES: usize = 32;

#[derive(Clone, Debug)]
enum Step {
    /// Hundredths of what one takes to leak away.
    Pass(u64),
    /// Charge with a record or without; without room it is denied, or charged up to a bound.
    Charge {
        cost: u64,
        named: bool,
        forced: bool,
    },
    /// Final cost, in percent of the charge.
    Commit(Index, u64),
    /// Refund of a part of a charge with a record.
    Refund(Index, u64),
    /// Give-back of the whole charge, as when another owner denies it.
    Give(Index),
    /// Water of no charge in particular.
    Take(u64),
    Reset,
    /// Another limit, from now on.
    Change(Rate),
}

/// Admitted charge.
struct Charged {
    cost: u64,
    at: u64,
    /// Limit of the charge.
    rate: Rate,
    /// Units that were charged at first.
    placed: u128,
    /// Units of the queue that were charged and not given back.
    net: u128,
    /// Name of its record, or its end and era.
    record: Option<u64>,
    end: (Level, u64),
    /// Cost that is left of it by its record.
    left: u64,
    over: bool,
}

/// Bucket as a queue: which charge, and how much of it has not leaked. A microsecond takes `amount` from its front, and
/// a charge of one is `period`.
struct Case {
    clocked: Clocked,
    bucket: Key,
    /// Limit of today, and the one that the bucket counts by until it is written again.
    rate: Rate,
    kept: Rate,
    now: u64,
    queue: VecDeque<(usize, u128)>,
    charges: Vec<Charged>,
    /// True once something was charged without room, or the limit changed.
    unbounded: bool,
}

// === impl Case ===

impl Case {
    async fn new(rate: Rate) -> Case {
        let clocked = Clocked::connect().await;
        let bucket = clocked.key("one");
        let (queue, charges) = (VecDeque::new(), Vec::new());
        Case { clocked, bucket, rate, kept: rate, now: START, queue, charges, unbounded: false }
    }

    fn units(&self, cost: u64) -> u128 {
        u128::from(cost) * u128::from(self.rate.period)
    }

    fn level(&self) -> u128 {
        self.queue.iter().map(|(_, units)| units).sum()
    }

    fn pass(&mut self, micros: u64) {
        self.now += micros;
        let mut leaks = u128::from(micros) * u128::from(self.kept.amount);
        while let Some((_, front)) = self.queue.front_mut() {
            let leaked = leaks.min(*front);
            (*front, leaks) = (*front - leaked, leaks - leaked);
            if *front > 0 {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// Takes up to so much out of the queue, the newest first, of one charge or of any; how much it was.
    fn remove(&mut self, only: Option<usize>, units: u128) -> u128 {
        let mut left = units;
        for (charge, water) in self.queue.iter_mut().rev().filter(|(charge, _)| only.is_none_or(|only| only == *charge))
        {
            let taken = left.min(*water);
            (*water, left) = (*water - taken, left - taken);
            if let Some(charge) = self.charges.get_mut(*charge) {
                charge.net -= taken;
            }
        }
        self.queue.retain(|(_, water)| *water > 0);
        units - left
    }

    /// Counts the bucket by the limit in force. Earlier hits belong to no charge from then on.
    async fn convert(&mut self) {
        if !self.kept.counts_like(&self.rate) && !self.queue.is_empty() {
            let peeked = self.ask(b'p', 1, None, b'e', Default::default()).await;
            self.converted(peeked.states[0].level);
        }
        self.kept = self.rate;
    }

    /// Takes over what a level has become under today's limit.
    fn converted(&mut self, level: Level) {
        let (before, units) = (self.level(), self.rate.units(level));
        let same = self.rate.is_same(units, &self.kept, before);
        assert!(same, "{before} units of {:?} become {units} of {:?}", self.kept, self.rate);
        self.queue = [(NO_CHARGE, units)].into();
    }

    async fn ask(&self, op: u8, cost: u64, record: Option<Record>, flag: u8, end: (Level, u64)) -> Answer {
        self.ask_by(self.rate, op, cost, record, flag, end).await
    }

    async fn ask_by(
        &self,
        rate: Rate,
        op: u8,
        cost: u64,
        record: Option<Record>,
        flag: u8,
        end: (Level, u64),
    ) -> Answer {
        let charge = record.as_ref().and_then(|record| self.charges.get(record.charge));
        let (charged, then) = charge.map_or((0, rate), |charge| (charge.cost, charge.rate));
        let (key, meter, then) = (self.bucket.clone(), rate.meter(), then.meter());
        let bucket = Bucket { key, meter, cost, flag, charged, then, end };
        self.clocked.decide(self.now, &[Group { op, buckets: vec![bucket], record }]).await.remove(0)
    }

    fn record(&self, name: u64, head: &[&[u8]]) -> Record {
        Record { key: self.clocked.key(&format!("q-{name}")), head: head.concat(), charge: name as usize }
    }

    async fn charge(&mut self, cost: u64, named: bool, forced: bool) {
        self.convert().await;
        let name = self.charges.len() as u64;
        let head: [&[u8]; 4] = [&double(60_000), &[1; 16], &[2; 8], &double(cost)];
        let record = named.then(|| self.record(name, &head));
        let answer = self.ask(b'c', cost, record, if forced { b'f' } else { b'e' }, Default::default()).await;
        let (before, full) = (self.level(), self.units(self.rate.burst));
        let fits = before + self.units(cost) <= full;
        assert_eq!(answer.status == 'A', fits || forced, "{cost} on top of {before} of {full}: {answer:?}");
        if answer.status == 'A' {
            let most = if fits { u128::MAX } else { (2 * full).saturating_sub(before) };
            let net = self.units(cost).min(most);
            let state = &answer.states[0];
            let plain = (Level { micros: self.now + state.level.micros, part: state.level.part }, 0);
            let end = state.end.unwrap_or(plain);
            let record = named.then_some(name);
            // Without a record the charge up to the bound is unknown.
            let over = !named && net < self.units(cost);
            self.queue.push_back((self.charges.len(), net));
            let (at, rate) = (self.now, self.rate);
            self.charges.push(Charged { cost, at, rate, placed: net, net, record, end, left: cost, over });
            self.unbounded |= !fits;
        }
        self.compare(&answer, self.rate);
    }

    async fn settle(&mut self, chosen: usize, mode: u8, cost: u64, difference: u64, charges: bool) {
        let Some(name) = self.charges[chosen].record else { return };
        let (then, placed) = (self.charges[chosen].rate, self.charges[chosen].placed);
        let (sign, rate) = if charges { (b"+", self.rate) } else { (b"-", then) };
        let head: [&[u8]; 6] = [&[mode], sign, &[1; 16], &[0; 8], &double(cost), &double(0)];
        let record = Some(self.record(name, &head));
        let answer = self.ask_by(rate, b's', difference, record, b'e', Default::default()).await;
        assert_eq!(answer.status, 'A', "{answer:?}");
        let units = rate.charge(difference);
        let state = &answer.states[0];
        if charges {
            if !self.kept.counts_like(&rate) && !self.queue.is_empty() {
                self.converted(rate.meter().difference(state.level, state.moved));
            }
            self.kept = rate;
            let before = self.level();
            let more = units.min((2 * self.units(self.rate.burst)).saturating_sub(before));
            self.unbounded |= more > 0;
            assert!(then.is(placed, &at_level(state.kept)), "{placed} units were charged before: {state:?}");
            assert!(rate.is(more, &at_level(state.moved)), "{more} more is charged: {state:?}");
            self.queue.push_back((chosen, more));
            self.charges[chosen].net += more;
        } else {
            let before = self.charges[chosen].net;
            let given = self.remove(Some(chosen), units);
            let exact = mode == b'r' || rate.is(given, &at_level(state.moved));
            assert!(exact, "{given} of {before} have not leaked and are given back: {state:?}");
        }
        self.compare(&answer, rate);
    }

    fn compare(&self, answer: &Answer, rate: Rate) {
        let (state, level) = (&answer.states[0], self.level());
        let exact = level == 0 || self.kept.counts_like(&rate);
        let alike =
            if exact { rate.is(level, state) } else { rate.is_same(rate.units(state.level), &self.kept, level) };
        assert!(alike, "{level} units of {:?} are there: {state:?} of {rate:?}, at {}", self.kept, self.now - START);
    }

    async fn run(&mut self, step: Step) {
        let open = |charge: &Charged| charge.left == charge.cost && charge.record.is_some();
        let chosen = |charges: &[Charged], index: Index, is: &dyn Fn(&Charged) -> bool| {
            let some: Vec<usize> = (0..charges.len()).filter(|at| is(&charges[*at])).collect();
            (!some.is_empty()).then(|| *index.get(&some))
        };
        match step {
            Step::Pass(hundredths) => self.pass((self.rate.period / self.rate.amount).max(1) * hundredths / 100),
            Step::Charge { cost, named, forced } => self.charge(cost.min(self.rate.burst), named, forced).await,
            Step::Commit(index, percent) => {
                let Some(at) = chosen(&self.charges, index, &open) else { return };
                let estimate = self.charges[at].cost;
                let cost = estimate * percent / 100;
                self.settle(at, b'f', cost, cost.abs_diff(estimate), cost > estimate).await;
                (self.charges[at].record, self.charges[at].left) = (None, 0);
            }
            Step::Refund(index, cost) => {
                let is = |charge: &Charged| charge.record.is_some() && charge.left > 0;
                let Some(at) = chosen(&self.charges, index, &is) else { return };
                let cost = cost.min(self.charges[at].left);
                self.settle(at, b'r', cost, cost, false).await;
                self.charges[at].left -= cost;
            }
            Step::Give(index) => {
                let Some(at) = chosen(&self.charges, index, &|charge| charge.record.is_some() || charge.left > 0)
                else {
                    return;
                };
                let Charged { cost, rate, end, over, .. } = self.charges[at];
                let record = self.charges[at].record.take();
                let named = record.map(|name| self.record(name, &[&[2; 8]]));
                let answer = self.ask_by(rate, b'g', if over { 0 } else { cost }, named, b'e', end).await;
                self.charges[at].left = 0;
                if !over {
                    self.remove(Some(at), u128::MAX);
                }
                self.compare(&answer, rate);
            }
            Step::Take(cost) => {
                self.convert().await;
                let answer = self.ask(b't', cost, None, b'e', Default::default()).await;
                self.remove(None, self.units(cost));
                self.compare(&answer, self.rate);
            }
            Step::Reset => {
                self.ask(b'd', 0, None, b'e', Default::default()).await;
                self.remove(None, u128::MAX);
            }
            Step::Change(rate) => {
                (self.rate, self.unbounded) = (rate, true);
            }
        }
    }

    /// Over any interval no more than a burst and what leaked is charged and not given back.
    fn is_bounded(&self) {
        let full = self.units(self.rate.burst);
        for (first, charge) in self.charges.iter().enumerate() {
            let mut sum = 0;
            for other in &self.charges[first..] {
                sum += other.net;
                let passed = u128::from(other.at - charge.at) * u128::from(self.rate.amount);
                assert!(sum <= full + passed, "{sum} units in {} us, a burst is {full}", other.at - charge.at);
            }
        }
    }
}

fn at_level(level: Level) -> crate::script::Found {
    let (moved, kept) = Default::default();
    crate::script::Found { room: 1, level, ahead: 0, moved, kept, end: None }
}

fn step() -> impl Strategy<Value = Step> {
    let cost = || prop_oneof![3 => 1..6_u64, 1 => 6..20_u64];
    let passes = prop_oneof![3 => 0..60_u64, 2 => 60..300_u64, 1 => 300..3000_u64];
    let forced = prop_oneof![9 => Just(false), 1 => Just(true)];
    let percent = prop_oneof![3 => Just(0_u64), 3 => 0..100_u64, 2 => 100..300_u64];
    prop_oneof![
        5 => passes.prop_map(Step::Pass),
        10 => (cost(), any::<bool>(), forced).prop_map(|(cost, named, forced)| Step::Charge { cost, named, forced }),
        3 => (any::<Index>(), percent).prop_map(|(index, percent)| Step::Commit(index, percent)),
        3 => (any::<Index>(), cost()).prop_map(|(index, cost)| Step::Refund(index, cost)),
        3 => any::<Index>().prop_map(Step::Give),
        1 => cost().prop_map(Step::Take),
        1 => Just(Step::Reset),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 5..70)
}

fn steps_and_changes() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(prop_oneof![12 => step(), 1 => rate().prop_map(Step::Change)], 5..70)
}

fn rate() -> impl Strategy<Value = Rate> {
    let modest = (1..30_u64, SECOND..5 * SECOND, 4..40_u64);
    let fast = (1_000_000..9_000_000_u64, Just(SECOND), 4..40_u64);
    // In lowest terms: levels of two alike are of the same units.
    prop_oneof![4 => modest, 1 => fast].prop_map(|(amount, period, burst)| {
        let meter = Meter::new(amount, period, burst);
        Rate { amount: meter.n(), period: meter.p(), burst }
    })
}

async fn hold(rate: Rate, steps: Vec<Step>) {
    let mut case = Case::new(rate).await;
    for step in steps {
        case.run(step).await;
    }
    if !case.unbounded {
        case.is_bounded();
    }
}

proptest! {
    #![proptest_config(Config { cases: 96, ..Config::default() })]

    #[test]
    fn charge_gives_back_its_unleaked_part(rate in rate(), steps in steps()) {
        RUNTIME.block_on(hold(rate, steps));
    }

    #[test]
    fn charge_is_settled_by_its_own_limit_and_the_one_in_force(rate in rate(), steps in steps_and_changes()) {
        RUNTIME.block_on(hold(rate, steps));
    }
}

//! What is given back, against a queue of single charges that leak one after the other: exactly what of the charge has not leaked
//! yet, so that over any time no more than a burst and what leaked away is admitted and not given back.

mod examples;

use std::collections::VecDeque;

use keyplane_rate_limiting::domain::Level;
use keyplane_valkey::Key;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;

use crate::rational::{Rate, SECOND};
use crate::script::{Answer, Bucket, Clocked, Group, RUNTIME, Record, double};

const START: u64 = 1_795_000_000 * SECOND;

/// More than this are forgotten by the script, the first ones first.
const HOLES: usize = 32;

#[derive(Clone, Debug)]
enum Step {
    /// Hundredths of what one takes to leak away.
    Pass(u64),
    /// With a record, or without; where there is no room it is refused, or charged all the same up to a bound.
    Charge {
        cost: u64,
        named: bool,
        forced: bool,
    },
    /// It comes to so many percent of what was charged.
    Commit(Index, u64),
    /// So much of a charge with a record.
    Refund(Index, u64),
    /// All of it: as where another owner refuses.
    Give(Index),
    /// Water of no charge in particular.
    Take(u64),
    Reset,
}

/// A charge that was admitted.
struct Charged {
    cost: u64,
    at: u64,
    /// Units of the queue that were charged and not given back.
    net: u128,
    /// The name of its record, or its end and era.
    record: Option<u64>,
    end: (Level, u64),
    /// Cost that is left of it by its record.
    left: u64,
    over: bool,
}

/// A bucket as a queue: which charge, and how much of it has not leaked. A microsecond takes `amount` from its front, and a charge of
/// one is `period`.
struct Case {
    clocked: Clocked,
    bucket: Key,
    rate: Rate,
    now: u64,
    queue: VecDeque<(usize, u128)>,
    charges: Vec<Charged>,
    /// Whether something was charged for which there was no room.
    forced: bool,
}

// === impl Case ===

impl Case {
    async fn new(rate: Rate) -> Case {
        let clocked = Clocked::connect().await;
        let bucket = clocked.key("one");
        Case { clocked, bucket, rate, now: START, queue: VecDeque::new(), charges: Vec::new(), forced: false }
    }

    fn units(&self, cost: u64) -> u128 {
        u128::from(cost) * u128::from(self.rate.period)
    }

    fn level(&self) -> u128 {
        self.queue.iter().map(|(_, units)| units).sum()
    }

    fn pass(&mut self, micros: u64) {
        self.now += micros;
        let mut leaks = u128::from(micros) * u128::from(self.rate.amount);
        while let Some((_, front)) = self.queue.front_mut() {
            let gone = leaks.min(*front);
            (*front, leaks) = (*front - gone, leaks - gone);
            if *front > 0 {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// Takes up to so much out of the queue, the newest first, of one charge or of any; how much it was.
    fn remove(&mut self, of: Option<usize>, units: u128) -> u128 {
        let mut left = units;
        for (charge, water) in self.queue.iter_mut().rev().filter(|(charge, _)| of.is_none_or(|of| of == *charge)) {
            let taken = left.min(*water);
            (*water, left) = (*water - taken, left - taken);
            self.charges[*charge].net -= taken;
        }
        self.queue.retain(|(_, water)| *water > 0);
        units - left
    }

    async fn ask(&self, op: u8, cost: u64, record: Option<Record>, flag: u8, end: (Level, u64)) -> Answer {
        let charged =
            record.as_ref().and_then(|record| self.charges.get(record.charge)).map_or(0, |charge| charge.cost);
        let bucket = Bucket { key: self.bucket.clone(), meter: self.rate.meter(), cost, flag, charged, end };
        self.clocked.decide(self.now, &[Group { op, buckets: vec![bucket], record }]).await.remove(0)
    }

    fn record(&self, name: u64, head: &[&[u8]]) -> Record {
        Record { key: self.clocked.key(&format!("q-{name}")), head: head.concat(), charge: name as usize }
    }

    async fn charge(&mut self, cost: u64, named: bool, forced: bool) {
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
            let found = &answer.found[0];
            let plain = (Level { micros: self.now + found.level.micros, part: found.level.part }, 0);
            let end = found.end.unwrap_or(plain);
            let record = named.then_some(name);
            // How much was charged up to the bound is not known without a record.
            let over = !named && net < self.units(cost);
            self.queue.push_back((self.charges.len(), net));
            self.charges.push(Charged { cost, at: self.now, net, record, end, left: cost, over });
            self.forced |= !fits;
        }
        self.compare(&answer);
    }

    async fn settle(&mut self, chosen: usize, mode: u8, cost: u64, difference: u64, charges: bool) {
        let Some(name) = self.charges[chosen].record else { return };
        let sign = if charges { b"+" } else { b"-" };
        let head: [&[u8]; 6] = [&[mode], sign, &[1; 16], &[0; 8], &double(cost), &double(0)];
        let answer = self.ask(b's', difference, Some(self.record(name, &head)), b'e', Default::default()).await;
        assert_eq!(answer.status, 'A', "{answer:?}");
        let units = self.units(difference);
        let found = &answer.found[0];
        if charges {
            let before = self.level();
            let more = units.min((2 * self.units(self.rate.burst)).saturating_sub(before));
            self.forced |= more > 0;
            assert!(self.rate.is(more, &at_level(found.moved)), "{more} more is charged: {found:?}");
            self.queue.push_back((chosen, more));
            self.charges[chosen].net += more;
        } else {
            let before = self.charges[chosen].net;
            let given = self.remove(Some(chosen), units);
            let exact = mode == b'r' || self.rate.is(given, &at_level(found.moved));
            assert!(exact, "{given} of {before} have not leaked and are given back: {found:?}");
        }
        self.compare(&answer);
    }

    fn compare(&self, answer: &Answer) {
        let found = &answer.found[0];
        assert!(
            self.rate.is(self.level(), found),
            "{} units are there: {found:?}, at {}",
            self.level(),
            self.now - START
        );
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
                let Charged { cost, end, over, .. } = self.charges[at];
                let record = self.charges[at].record.take();
                let named = record.map(|name| self.record(name, &[&[2; 8]]));
                let answer = self.ask(b'g', if over { 0 } else { cost }, named, b'e', end).await;
                self.charges[at].left = 0;
                if !over {
                    self.remove(Some(at), u128::MAX);
                }
                self.compare(&answer);
            }
            Step::Take(cost) => {
                let answer = self.ask(b't', cost, None, b'e', Default::default()).await;
                self.remove(None, self.units(cost));
                self.compare(&answer);
            }
            Step::Reset => {
                self.ask(b'd', 0, None, b'e', Default::default()).await;
                self.remove(None, u128::MAX);
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
    crate::script::Found { room: 1, level, ahead: 0, moved: Level::EMPTY, end: None }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cost = || prop_oneof![3 => 1..6_u64, 1 => 6..20_u64];
    let passes = prop_oneof![3 => 0..60_u64, 2 => 60..300_u64, 1 => 300..3000_u64];
    let forced = prop_oneof![9 => Just(false), 1 => Just(true)];
    let percent = prop_oneof![3 => Just(0_u64), 3 => 0..100_u64, 1 => 100..300_u64];
    let step = prop_oneof![
        5 => passes.prop_map(Step::Pass),
        10 => (cost(), any::<bool>(), forced).prop_map(|(cost, named, forced)| Step::Charge { cost, named, forced }),
        3 => (any::<Index>(), percent).prop_map(|(index, percent)| Step::Commit(index, percent)),
        3 => (any::<Index>(), cost()).prop_map(|(index, cost)| Step::Refund(index, cost)),
        3 => any::<Index>().prop_map(Step::Give),
        1 => cost().prop_map(Step::Take),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 5..70)
}

fn rate() -> impl Strategy<Value = Rate> {
    let modest = (1..30_u64, SECOND..5 * SECOND, 4..40_u64);
    let fast = (1_000_000..9_000_000_u64, Just(SECOND), 4..40_u64);
    prop_oneof![4 => modest, 1 => fast].prop_map(|(amount, period, burst)| Rate { amount, period, burst })
}

async fn hold(rate: Rate, steps: Vec<Step>) {
    let mut case = Case::new(rate).await;
    for step in steps {
        case.run(step).await;
    }
    if !case.forced {
        case.is_bounded();
    }
}

proptest! {
    #![proptest_config(Config { cases: 96, ..Config::default() })]

    #[test]
    fn a_charge_gives_back_what_of_it_has_not_leaked(rate in rate(), steps in steps()) {
        RUNTIME.block_on(hold(rate, steps));
    }
}

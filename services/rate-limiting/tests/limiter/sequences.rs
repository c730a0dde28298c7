//! Sequences of calls of three instances against the model.

use keyplane_rate_limiting::app::limiter::{Call, Charge, ChargeKind, Outcome, Settled, Source, Verdict};
use keyplane_rate_limiting::domain::{Mode, Policy};
use keyplane_rate_limiting::error::Error;
use keyplane_testkit::eventually;
use keyplane_valkey::{Feature, Key, Script};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::calls::{KINDS, Step, limited, limits, steps};
use crate::model::{Asked, Comes, Kind, Left, Limited, Model, Rule};
use crate::rig::{self, Instance, PATIENCE, per_month, policy, remembered, verdicts};
use crate::script::RUNTIME;

/// The app's keys that would live for ever, or for more than 733 days.
static ETERNAL: Script = Script::new(
    "test.eternal",
    "local cursor, eternal = '0', {}
     repeat
       local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. ':*', 'COUNT', 1000)
       cursor = page[1]
       for _, key in ipairs(page[2]) do
         local life = redis.call('PTTL', key)
         if life == -1 or life > 63331200000 then eternal[#eternal + 1] = key end
       end
     until cursor == '0'
     return eternal",
);

struct Case {
    instances: Vec<Instance>,
    turn: usize,
    model: Model,
    asked: Vec<Asked>,
}

fn policies() -> Vec<Policy> {
    let of = |kind: &Kind| {
        let keys: &[&str] = if kind.by_user { &["tenant", "user"] } else { &["tenant"] };
        policy(kind.policy, keys, per_month(kind.burst), |policy| match kind.rule {
            Rule::Refuse => {}
            Rule::Tell => policy.limit.mode = Mode::Shadow,
            Rule::Charge => policy.post_charge = true,
        })
    };
    KINDS.iter().map(of).collect()
}

// === impl Case ===

impl Case {
    async fn new() -> Case {
        let instances = rig::several(&keyplane_testkit::app(), policies(), 3).await;
        Case { instances, turn: 0, model: Model::default(), asked: Vec::new() }
    }

    /// Each call is another instance's.
    fn next(&mut self) -> Instance {
        self.turn += 1;
        self.instances[self.turn % self.instances.len()].clone()
    }

    async fn run(&mut self, step: Step) {
        let one = self.next();
        match step {
            Step::Acquire(chosen, cost, id) => {
                let (id, reserves) = id.map_or((None, false), |(id, reserves)| (Some(id), reserves));
                let asked = Asked { limits: limits(&chosen), cost, id, reserves };
                self.asked.push(asked.clone());
                self.acquire(&one, &asked).await;
            }
            Step::Repeat(index) if !self.asked.is_empty() => {
                let asked = index.get(&self.asked).clone();
                self.acquire(&one, &asked).await;
            }
            Step::Peek(chosen, cost) => {
                let asked = Asked { limits: limits(&chosen), cost, id: None, reserves: false };
                let outcome = one.limiter.peek(&call(&one, &asked).0).await.expect("the store is there");
                let before = self.model.clone();
                let comes = self.model.acquire(&asked);
                self.agree(&asked, &comes, &outcome, [&before, &before]);
                self.model = before;
            }
            Step::Commit(index, cost) if self.asked.iter().any(|asked| asked.reserves) => {
                let reserved: Vec<&Asked> = self.asked.iter().filter(|asked| asked.reserves).collect();
                let asked = (*index.get(&reserved)).clone();
                let charge = call(&one, &asked).1.expect("it has an id");
                let settled = left(one.limiter.commit(&charge, cost, &one.catalog).await);
                assert_eq!(settled, self.model.commit(&asked, cost), "{asked:?} at {cost}");
            }
            Step::Refund(index, cost, id) if self.asked.iter().any(is_refundable) => {
                let acquired: Vec<&Asked> = self.asked.iter().filter(|asked| is_refundable(asked)).collect();
                let asked = (*index.get(&acquired)).clone();
                let charge = call(&one, &asked).1.expect("it has an id");
                let text = id.map_or(String::new(), |id| format!("f-{id}"));
                let settled = left(one.limiter.refund(&charge, cost, &text, &one.catalog).await);
                assert_eq!(settled, self.model.refund(&asked, cost, id), "{cost} of {asked:?} under {id:?}");
            }
            Step::Reset(index, first) => {
                let limit = limited(index, first);
                let slots = [one.slot(limit.user, limit.kind.policy, 1)];
                let held = one.limiter.reset(&slots).await.expect("the store is there");
                assert_eq!(held, usize::from(self.model.level(&limit) > 0), "{limit:?}");
                self.model.reset(&limit);
            }
            Step::TakeBack(index, first, cost) => {
                let limit = limited(index, first);
                let slots = [one.slot(limit.user, limit.kind.policy, cost)];
                let states = one.limiter.take_back(&slots).await.expect("the store is there");
                self.model.take(&limit, cost, None);
                assert_eq!(states[0].remaining, self.model.remaining(&limit), "{limit:?}");
            }
            Step::Repeat(_) | Step::Commit(..) | Step::Refund(..) => {}
        }
        for limit in self.model.take_capped() {
            let slots = [self.next().slot(limit.user, limit.kind.policy, 1)];
            self.next().limiter.reset(&slots).await.expect("the store is there");
            self.model.reset(&limit);
        }
    }

    async fn acquire(&mut self, one: &Instance, asked: &Asked) {
        let before = self.model.clone();
        let comes = self.model.acquire(asked);
        let call = call(one, asked).0;
        // An instance that hears of a refund a moment too late knows better within a second.
        let late = |outcome: &Outcome| {
            let denied = asked.limits.iter().zip(&outcome.limits).filter(|(_, state)| state.verdict == Verdict::Denied);
            let wrong = denied.into_iter().any(|(limit, _)| before.says(limit, asked.cost) != Verdict::Denied);
            outcome.source == Source::Cache && wrong
        };
        let result = eventually("the store is asked", PATIENCE, async || match one.limiter.acquire(&call).await {
            Ok(outcome) if late(&outcome) => Err(outcome),
            other => Ok(other),
        });
        match result.await {
            Ok(outcome) => self.agree(asked, &comes, &outcome, [&before, &self.model]),
            Err(Error::RequestIdReused) => assert_eq!(comes, Comes::Reused, "{asked:?}"),
            Err(error) => panic!("{asked:?}: {error}"),
        }
        self.compare(&asked.limits).await;
    }

    fn agree(&self, asked: &Asked, comes: &Comes, outcome: &Outcome, [before, after]: [&Model; 2]) {
        match comes {
            Comes::Reused => panic!("{asked:?}: the id is another request's, and {outcome:?}"),
            Comes::Admitted { replayed } => {
                assert!(outcome.admitted && outcome.replayed == *replayed, "{asked:?}: {comes:?}, and {outcome:?}");
                for (limit, state) in asked.limits.iter().zip(&outcome.limits).filter(|_| !replayed) {
                    assert_eq!(state.remaining, after.remaining(limit), "{limit:?}");
                    assert_eq!(state.verdict, before.says(limit, asked.cost), "{limit:?}");
                }
            }
            Comes::Refused(says) => {
                assert!(!outcome.admitted, "{asked:?}: {comes:?}, and {outcome:?}");
                let over = says.contains(&Verdict::CostOverBurst);
                for (said, told) in says.iter().zip(verdicts(outcome)) {
                    let silent = (over && *said != Verdict::CostOverBurst) || outcome.source == Source::Cache;
                    assert!(told == *said || (silent && told == Verdict::Skipped), "{asked:?}: {says:?}, {outcome:?}");
                }
                assert_eq!(outcome.retry_after().is_none(), over, "{outcome:?}");
            }
        }
    }

    async fn compare(&mut self, limits: &[Limited]) {
        for limit in limits {
            let found = self.next().remaining(limit.user, limit.kind.policy).await;
            assert_eq!(
                found,
                self.model.remaining(limit),
                "what remains of {limit:?}, which has {}",
                self.model.level(limit)
            );
        }
    }

    async fn end(&mut self) {
        for kind in &KINDS {
            self.compare(&["u", "v"].map(|user| Limited { kind, user })).await;
        }
        let valkey = &self.instances[0].valkey;
        let any = Key::tagged(valkey.app(), Feature::RATELIMIT, "acme", "t", &["any"]);
        let app = valkey.app().to_string();
        let eternal = valkey.run(&ETERNAL, &[&any], &[(&app).into()]).await.expect("the script runs").array();
        assert_eq!(eternal.expect("a list"), [], "every key has a time to live");
    }
}

fn is_refundable(asked: &Asked) -> bool {
    asked.id.is_some() && !asked.reserves
}

fn call(one: &Instance, asked: &Asked) -> (Call, Option<Charge>) {
    let slots = asked.limits.iter().map(|limit| one.slot(limit.user, limit.kind.policy, asked.cost)).collect();
    let call = Call { slots, remember: None };
    let Some(id) = asked.id else { return (call, None) };
    let kind = if asked.reserves { ChargeKind::Reserved } else { ChargeKind::Acquired };
    let (call, charge) = remembered(call, kind, &format!("r-{id}"));
    (call, Some(charge))
}

fn left(result: Result<Settled, Error>) -> Left {
    match result {
        Ok(settled) => Left::Charged(settled.charged),
        Err(Error::ChargeNotFound) => Left::Unknown,
        Err(Error::AlreadySettled { cost }) => Left::Already(cost),
        Err(Error::RefundExceedsCharge { left }) => Left::TooMuch(left),
        Err(Error::RequestIdReused) => Left::Reused,
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(Config { cases: 32, ..Config::default() })]

    #[test]
    fn three_instances_do_what_the_model_does(steps in steps()) {
        RUNTIME.block_on(async {
            let mut case = Case::new().await;
            for step in steps {
                case.run(step).await;
            }
            case.end().await;
        });
    }
}

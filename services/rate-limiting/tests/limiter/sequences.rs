//! Sequences of calls of three instances against the model.

use keyplane_rate_limiting::app::limiter::{Call, Charge, ChargeKind, Outcome, Settled, Source, Verdict};
use keyplane_rate_limiting::domain::{Mode, Policy};
use keyplane_rate_limiting::error::Error;
use keyplane_testkit::eventually;
use keyplane_valkey::{Feature, Key, Script};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::calls::{KINDS, Step, limited, limits, steps};
use crate::model::{Comes, Kind, Left, Limited, Model, Request, Rule};
use crate::rig::{self, Instance, PATIENCE, per_month, policy, remembered, verdicts};
use crate::script::RUNTIME;

/// Keys of the app without a TTL, or with one over 733 days.
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
    requests: Vec<Request>,
}

fn policies() -> Vec<Policy> {
    let build = |kind: &Kind| {
        let keys: &[&str] = if kind.by_user { &["tenant", "user"] } else { &["tenant"] };
        policy(kind.policy, keys, per_month(kind.burst), |policy| match kind.rule {
            Rule::Deny => {}
            Rule::Tell => policy.limit.mode = Mode::Shadow,
            Rule::Charge => policy.post_charge = true,
        })
    };
    KINDS.iter().map(build).collect()
}

// === impl Case ===

impl Case {
    async fn new() -> Case {
        let instances = rig::several(&keyplane_testkit::app(), policies(), 3).await;
        Case { instances, turn: 0, model: Model::default(), requests: Vec::new() }
    }

    /// Next instance, a different one for each call.
    fn next(&mut self) -> Instance {
        self.turn += 1;
        self.instances[self.turn % self.instances.len()].clone()
    }

    async fn run(&mut self, step: Step) {
        let instance = self.next();
        match step {
            Step::Acquire(chosen, cost, id) => {
                let (id, reserves) = id.map_or((None, false), |(id, reserves)| (Some(id), reserves));
                let request = Request { limits: limits(&chosen), cost, id, reserves };
                self.requests.push(request.clone());
                self.acquire(&instance, &request).await;
            }
            Step::Repeat(index) if !self.requests.is_empty() => {
                let request = index.get(&self.requests).clone();
                self.acquire(&instance, &request).await;
            }
            Step::Peek(chosen, cost) => {
                let request = Request { limits: limits(&chosen), cost, id: None, reserves: false };
                let outcome = instance.limiter.peek(&call(&instance, &request).0).await.expect("the store is there");
                let before = self.model.clone();
                let comes = self.model.acquire(&request);
                self.agree(&request, &comes, &outcome, [&before, &before]);
                self.model = before;
            }
            Step::Commit(index, cost) if self.requests.iter().any(|request| request.reserves) => {
                let reserved: Vec<&Request> = self.requests.iter().filter(|request| request.reserves).collect();
                let request = (*index.get(&reserved)).clone();
                let charge = call(&instance, &request).1.expect("it has an id");
                let settled = left(instance.limiter.commit(&charge, cost, &instance.catalog).await);
                assert_eq!(settled, self.model.commit(&request, cost), "{request:?} at {cost}");
            }
            Step::Refund(index, cost, id) if self.requests.iter().any(is_refundable) => {
                let acquired: Vec<&Request> = self.requests.iter().filter(|request| is_refundable(request)).collect();
                let request = (*index.get(&acquired)).clone();
                let charge = call(&instance, &request).1.expect("it has an id");
                let text = id.map_or(String::new(), |id| format!("f-{id}"));
                let settled = left(instance.limiter.refund(&charge, cost, &text, &instance.catalog).await);
                assert_eq!(settled, self.model.refund(&request, cost, id), "{cost} of {request:?} under {id:?}");
            }
            Step::Reset(index, first) => {
                let limit = limited(index, first);
                let limits = [instance.limit(limit.user, limit.kind.policy, 1)];
                let held = instance.limiter.reset(&limits).await.expect("the store is there");
                assert_eq!(held, usize::from(self.model.level(&limit) > 0), "{limit:?}");
                self.model.reset(&limit);
            }
            Step::TakeBack(index, first, cost) => {
                let limit = limited(index, first);
                let limits = [instance.limit(limit.user, limit.kind.policy, cost)];
                let states = instance.limiter.take_back(&limits).await.expect("the store is there");
                self.model.take(&limit, cost, None);
                assert_eq!(states[0].remaining, self.model.remaining(&limit), "{limit:?}");
            }
            Step::Repeat(_) | Step::Commit(..) | Step::Refund(..) => {}
        }
        for limit in self.model.take_capped() {
            let limits = [self.next().limit(limit.user, limit.kind.policy, 1)];
            self.next().limiter.reset(&limits).await.expect("the store is there");
            self.model.reset(&limit);
        }
    }

    async fn acquire(&mut self, instance: &Instance, request: &Request) {
        let before = self.model.clone();
        let comes = self.model.acquire(request);
        let call = call(instance, request).0;
        // An instance that hears of a refund a moment too late knows better within a second.
        let late = |outcome: &Outcome| {
            let denied =
                request.limits.iter().zip(&outcome.limits).filter(|(_, state)| state.verdict == Verdict::Denied);
            let wrong = denied.into_iter().any(|(limit, _)| before.says(limit, request.cost) != Verdict::Denied);
            outcome.source == Source::Cache && wrong
        };
        let result = eventually("the store is asked", PATIENCE, async || match instance.limiter.acquire(&call).await {
            Ok(outcome) if late(&outcome) => Err(outcome),
            other => Ok(other),
        });
        match result.await {
            Ok(outcome) => self.agree(request, &comes, &outcome, [&before, &self.model]),
            Err(Error::RequestIdReused) => assert_eq!(comes, Comes::Reused, "{request:?}"),
            Err(error) => panic!("{request:?}: {error}"),
        }
        self.compare(&request.limits).await;
    }

    fn agree(&self, request: &Request, comes: &Comes, outcome: &Outcome, [before, after]: [&Model; 2]) {
        match comes {
            Comes::Reused => panic!("{request:?}: the id is another request's, and {outcome:?}"),
            Comes::Admitted { replayed } => {
                assert!(outcome.admitted && outcome.replayed == *replayed, "{request:?}: {comes:?}, and {outcome:?}");
                for (limit, state) in request.limits.iter().zip(&outcome.limits).filter(|_| !replayed) {
                    assert_eq!(state.remaining, after.remaining(limit), "{limit:?}");
                    assert_eq!(state.verdict, before.says(limit, request.cost), "{limit:?}");
                }
            }
            Comes::Denied(says) => {
                assert!(!outcome.admitted, "{request:?}: {comes:?}, and {outcome:?}");
                let over = says.contains(&Verdict::CostOverBurst);
                for (expected, actual) in says.iter().zip(verdicts(outcome)) {
                    let silent = (over && *expected != Verdict::CostOverBurst) || outcome.source == Source::Cache;
                    assert!(
                        actual == *expected || (silent && actual == Verdict::Skipped),
                        "{request:?}: {says:?}, {outcome:?}"
                    );
                }
                assert_eq!(outcome.retry_after().is_none(), over, "{outcome:?}");
            }
        }
    }

    async fn compare(&mut self, limits: &[Limited]) {
        for limit in limits {
            let remaining = self.next().remaining(limit.user, limit.kind.policy).await;
            assert_eq!(
                remaining,
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

fn is_refundable(request: &Request) -> bool {
    request.id.is_some() && !request.reserves
}

fn call(instance: &Instance, request: &Request) -> (Call, Option<Charge>) {
    let limits =
        request.limits.iter().map(|limit| instance.limit(limit.user, limit.kind.policy, request.cost)).collect();
    let call = Call { limits, idempotency: None };
    let Some(id) = request.id else { return (call, None) };
    let kind = if request.reserves { ChargeKind::Reserved } else { ChargeKind::Acquired };
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
    fn three_instances_agree_with_the_model(steps in steps()) {
        RUNTIME.block_on(async {
            let mut case = Case::new().await;
            for step in steps {
                case.run(step).await;
            }
            case.end().await;
        });
    }
}

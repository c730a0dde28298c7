//! Replica and exact judge against a model that knows neither: the model judges a token by going through all events.
//! The events reach the replica in any order, some of them twice, each time through the feed's texts and through
//! messages.

mod exact;
mod service;

use std::time::Duration;

use crate::exact::{History, Token, Verdict};
use crate::service::{Service, Step, steps, tokens};
use keyplane_revocation::{
    Answer, Entry, Filters, Millis, Replica, Rule, Rules, State, Target, TokenHash, Version, judge, wire,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Replica, and the entries on their way to it.
struct Follower {
    replica: Replica,
    pending: Vec<Entry>,
    arrived: Vec<Entry>,
    /// Answers of the store that have not reached the replica.
    answers: Vec<(TokenHash, Version, Millis)>,
    /// Moment up to which it has forgotten.
    floor: i64,
}

impl Follower {
    fn new(rules: Rules, false_positives: f64) -> Self {
        let filters = Filters { false_positives, bucket: Duration::from_secs(600) };
        let replica = Replica::new(rules, filters);
        Self { replica, pending: Vec::new(), arrived: Vec::new(), answers: Vec::new(), floor: i64::MIN }
    }

    /// Applies an entry that is on its way, or one that was applied before.
    fn deliver(&mut self, pick: usize) {
        if self.pending.is_empty() {
            if let Some(entry) = self.arrived.get(pick % self.arrived.len().max(1)) {
                self.replica.apply(entry);
            }
            return;
        }
        let entry = self.pending.swap_remove(pick % self.pending.len());
        self.replica.apply(&entry);
        self.arrived.push(entry);
    }

    fn catch_up(&mut self, order: usize) {
        while !self.pending.is_empty() {
            self.deliver(order);
        }
    }

    fn prune(&mut self, now: i64) {
        self.floor = self.floor.max(now);
        self.replica.prune(Millis(now));
    }

    /// Judges a token; the store, which is exact, resolves suspects.
    fn check(&mut self, token: &Token, service: &Service, now: i64, remember: bool) -> Answer {
        let answer = self.replica.check(&token.claims(), Millis(now));
        let Answer::Suspect(hash) = answer else {
            return answer;
        };
        let revoked = service.revoked_token(token, hash, now);
        if let Some((id, version, expires)) = revoked {
            if remember {
                self.replica.confirm(hash, version, expires);
            } else {
                self.answers.push((hash, version, expires));
            }
            return Answer::Revoked { rule: Rule::Token, revocation: Some(id) };
        }
        self.replica.cleared(&token.claims(), Millis(now))
    }

    /// Delivers an answer of the store that was long on its way.
    fn late_answer(&mut self, pick: usize) {
        if !self.answers.is_empty() {
            let (hash, version, expires) = self.answers.swap_remove(pick % self.answers.len());
            self.replica.confirm(hash, version, expires);
        }
    }
}

/// Converts an entry to the feed's texts and to messages, and back.
fn transported(entry: &Entry) -> Entry {
    let target = Target::decode(&entry.target.encode()).expect("the feed holds targets");
    let state = State::decode(&entry.state.encode()).expect("the feed holds states");
    wire::entry_of(&wire::feed_entry(&Entry { target, state, version: entry.version })).expect("messages hold entries")
}

fn compare(source: &str, token: &Token, expected: &Verdict, answer: Answer) -> Result<(), TestCaseError> {
    let answer = match answer {
        Answer::Active => Verdict::Active,
        Answer::Revoked { rule, revocation } => Verdict::Revoked(rule, revocation.map(|id| id.to_string())),
        Answer::KeyUnknown => Verdict::KeyUnknown,
        Answer::Suspect(_) => return Err(TestCaseError::fail(format!("{source} leaves {token:?} suspect"))),
    };
    let wrong = match (expected, &answer) {
        (Verdict::Revoked(..) | Verdict::KeyUnknown, Verdict::Active) => "a false active",
        (Verdict::Active, Verdict::Revoked(..) | Verdict::KeyUnknown) => "a false revoked",
        _ => "the wrong reason",
    };
    prop_assert_eq!(&answer, expected, "{}: {} for {:?}", source, wrong, token);
    Ok(())
}

/// Plays the steps; returns how often a token was active, how often it was revoked by a revocation, and how often its
/// key was not known.
fn play(
    rules: Rules,
    false_positives: f64,
    tokens: &[Token],
    steps: Vec<Step>,
) -> Result<(u32, u32, u32), TestCaseError> {
    let (mut service, mut history) = (Service::new(rules), History::new(rules));
    let mut follower = Follower::new(rules, false_positives);
    let (mut active, mut revoked, mut unknown) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Advance(millis) => service.now += millis,
            Step::Revoke(revoke) => {
                history.revoke(&revoke, tokens, service.now);
                follower.pending.push(transported(&service.revoke(&revoke, tokens)));
            }
            Step::Undo(revoke) => {
                history.undo(&revoke, tokens);
                follower.pending.extend(service.undo(&revoke, tokens).iter().map(transported));
            }
            Step::Deliver(pick) => follower.deliver(pick),
            Step::LateAnswer(pick) => follower.late_answer(pick),
            Step::Prune(skew) => follower.prune(service.now + skew),
            Step::Check { skew, order, remember } => {
                follower.catch_up(order);
                // The checker's clock is not the store's, and the replica does not go back behind the moment that it
                // forgot up to.
                let asked = service.now + skew;
                let now = asked.max(follower.floor);
                for token in tokens {
                    let expected = history.verdict(token, now);
                    match &expected {
                        Verdict::Active => active += 1,
                        Verdict::Revoked(_, by) => revoked += u32::from(by.is_some()),
                        Verdict::KeyUnknown => unknown += 1,
                    }
                    let exact = judge(&token.claims(), &rules, Millis(now), &service.known());
                    compare("the judge", token, &expected, exact)?;
                    // The store judges at the replica's time.
                    let found = match follower.check(token, &service, now, remember) {
                        found if asked == now => found,
                        found => {
                            let again = follower.replica.check(&token.claims(), Millis(asked));
                            prop_assert!(matches!(again, Answer::Suspect(_)) || again == found);
                            found
                        }
                    };
                    compare("the replica", token, &expected, found)?;
                }
            }
        }
    }
    Ok((active, revoked, unknown))
}

/// Configuration of at least 1000 games. Games that failed once are played first.
fn config() -> ProptestConfig {
    let failed = FileFailurePersistence::Direct("proptest-regressions/model.txt");
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(1000), failure_persistence: Some(Box::new(failed)), ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_answer_is_falsely_active_or_falsely_revoked(
        skew in prop_oneof![Just(0), Just(5_000)],
        false_positives in prop_oneof![Just(1e-4), Just(0.5)],
        tokens in tokens(),
        steps in steps(),
    ) {
        let rules = Rules {
            max_lifetime: Duration::from_secs(3600),
            leeway: Duration::from_secs(60),
            issuer_skew: Duration::from_millis(skew),
        };
        play(rules, false_positives, &tokens, steps)?;
    }
}

/// Guards the test above, which proves nothing if its tokens are all active, or all revoked.
#[test]
fn the_games_have_both_good_tokens_and_revoked_ones() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let rules =
        Rules { max_lifetime: Duration::from_secs(3600), leeway: Duration::from_secs(60), issuer_skew: Duration::ZERO };
    let (mut active, mut revoked, mut unknown) = (0, 0, 0);
    for _ in 0..200 {
        let tokens = tokens().new_tree(&mut runner).unwrap().current();
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let found = play(rules, 0.5, &tokens, steps).unwrap();
        active += found.0;
        revoked += found.1;
        unknown += found.2;
    }
    let found = format!("{active} checks were active, {revoked} were revoked, of {unknown} the key was not known");
    assert!(active > 1000 && revoked > 1000 && unknown > 20, "{found}: choose other steps");
}

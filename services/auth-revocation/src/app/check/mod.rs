//! Checks: whether a token is good, from memory while that is fresh; else from the store; else by the outage policy.

mod answer;
mod confirm;
mod fallback;
mod metrics;
mod patience;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use keyplane_revocation::{Answer, Claims};

use self::metrics::{Metrics, reason};
use self::patience::Patience;
use self::trust::StoreTrust;
use super::replica::{Mirror, Reading, Shared};
use crate::domain::OutagePolicy;
use crate::error::Error;

pub use answer::{Checked, CheckedAll, Demands, Freshness, Source};

/// Tokens of one batch that the store is asked about at the same time.
const AT_ONCE: usize = 64;

/// Answers checks: from memory while that is fresh, else from the store, else by the outage policy. Clones share it.
///
/// | memory says | memory is fresh | the store says | answer |
/// |---|---|---|---|
/// | the token breaks a rule by itself (expired ...), by the store's time | any | not asked | revoked, `Local` |
/// | active, or revoked | yes | not asked | that, `Local` |
/// | suspect | yes | revoked, or not | that, `Local`: memory, completed by an exact read |
/// | suspect | yes | nothing, and lost revocations before | revoked ([`keyplane_revocation::Rule::Lost`]), `Local`: by [`AfterLoss`](crate::domain::AfterLoss) |
/// | anything | no, or not what the caller demands | active, or revoked | that, `Store` |
/// | revoked | no | nothing, or is not believed | revoked, `Policy` |
/// | suspect | any | nothing, or is not believed | [`Error::FreshnessUnknown`] |
/// | active | no | nothing, or is not believed | active, `Policy`, or [`Error::FreshnessUnknown`]: by the policy |
///
/// [`Answer::KeyUnknown`] stands wherever "revoked" does: it rejects the token, by what is known of the issuer's keys.
///
/// A store is not believed while it may have lost acknowledged revocations: until its feed is seen to go on from what
/// memory holds.
#[derive(Clone)]
pub struct Checker {
    mirror: Mirror,
    bound: Duration,
    ask: Duration,
    policy: OutagePolicy,
    /// Empty sequence, shared by all answers that have none.
    nothing: Arc<str>,
    trust: Arc<StoreTrust>,
    metrics: Metrics,
}

/// Verdict of memory, and the knowledge behind it.
struct Recalled {
    answer: Answer,
    knowledge: Knowledge,
}

/// Knowledge of memory when it was asked.
#[derive(Clone)]
struct Knowledge {
    reading: Reading,
    sequence: Arc<str>,
    /// Set if the sequence that the caller demands was applied.
    covers: bool,
}

// === impl Checker ===

impl Checker {
    /// Checker with the bound, the patience and the policy of the mirror's settings.
    #[must_use]
    pub fn new(mirror: Mirror) -> Checker {
        let settings = &mirror.shared.settings;
        let (bound, ask, policy) = (settings.bound, settings.ask, settings.policy);
        Checker { mirror, bound, ask, policy, nothing: Arc::from(""), trust: Arc::default(), metrics: Metrics::new() }
    }

    /// Returns whether memory is fresh enough to answer by itself, without the store and the outage policy. No I/O.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let demands = Demands::default();
        self.fresh(&self.knowledge(&demands), &demands).is_some()
    }

    /// Answers from memory, if that can tell: no I/O, no waiting, and nothing is allocated unless a filter holds the
    /// token. `None`: see [`Checker::check`], which begins with this.
    #[must_use]
    pub fn check_now(&self, claims: &Claims<'_>, demands: &Demands) -> Option<Checked> {
        self.judge_locally(self.recall(claims, demands), demands).ok()
    }

    /// Answers from memory, from the store, or by policy, in this order.
    ///
    /// Waits at most [`Settings::ask`](super::replica::Settings::ask) for the store, twice in the rare case that memory
    /// grows too old while the store is asked about one token. Waits up to 3 s, and 90 % of what remains of the
    /// request's deadline, after the process was stopped, and while memory shows that the store answers.
    ///
    /// # Errors
    ///
    /// [`Error::FreshnessUnknown`] if neither memory nor the store can tell, and the policy does not let the token
    /// pass. Cancel safe.
    pub async fn check(&self, claims: &Claims<'_>, demands: &Demands) -> Result<Checked, Error> {
        let recalled = match self.judge_locally(self.recall(claims, demands), demands) {
            Ok(checked) => return Ok(checked),
            Err(recalled) => recalled,
        };
        let patience = Patience::begin(self.shared());
        if let Answer::Suspect(token) = recalled.answer
            && self.fresh(&recalled.knowledge, demands).is_some()
        {
            let Some(answer) = self.confirm(claims, token, patience).await else {
                return self.by_policy(&recalled, demands, reason::SUSPECT);
            };
            // Memory's knowledge for or against the token was looked up before the store was asked.
            if let Some(age) = self.fresh(&recalled.knowledge, demands) {
                return Ok(Checked { answer, freshness: local(recalled.knowledge, age) });
            }
        }
        self.ask_store(claims, demands, &recalled, patience).await
    }

    /// Answers for many tokens, from one state of memory. The store is asked about the tokens that memory can't judge,
    /// 64 at a time.
    ///
    /// # Errors
    ///
    /// [`Error::FreshnessUnknown`] if none of them can be judged. Cancel safe.
    pub async fn check_many(&self, claims: &[Claims<'_>], demands: &Demands) -> Result<CheckedAll, Error> {
        let shared = self.shared();
        let (knowledge, now) = (self.knowledge(demands), shared.store.now());
        let mut answers = Vec::with_capacity(claims.len());
        shared.memory.check_many(claims, now, |answer| answers.push(answer));
        for (answer, claims) in answers.iter_mut().zip(claims) {
            *answer = confirm::by_recent_changes(shared, claims, *answer, now);
        }
        let patience = Patience::begin(shared);
        if self.fresh(&knowledge, demands).is_some() {
            self.confirm_all(claims, &mut answers, patience).await;
        }
        // Memory's knowledge for or against the tokens was looked up before the store was asked.
        let age = self.fresh(&knowledge, demands);
        let is_certain = |answer: &Answer| match answer {
            Answer::Suspect(_) => false,
            _ if is_own_fault(answer) => shared.store.knows_time(),
            Answer::Active | Answer::Revoked { .. } | Answer::KeyUnknown => age.is_some(),
        };
        let open = answers.iter().copied().zip(claims).enumerate().filter(|(_, (answer, _))| !is_certain(answer));
        let calls = open.map(|(index, (answer, claims))| {
            let recalled = Recalled { answer, knowledge: knowledge.clone() };
            async move { (index, self.ask_store(claims, demands, &recalled, patience).await) }
        });
        let results: Vec<_> = stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        let mut freshness = local(knowledge.clone(), age.unwrap_or_else(|| self.age_at_most(&knowledge)));
        let mut answers: Vec<_> = answers.into_iter().map(Some).collect();
        for (index, result) in results {
            let (answer, own) = match result {
                Ok(Checked { answer, freshness }) => (Some(answer), freshness),
                Err(_) => (None, self.policy_freshness(&knowledge)),
            };
            answers[index] = answer;
            freshness = freshness.weaker(own);
        }
        let none = !answers.is_empty() && answers.iter().all(Option::is_none);
        if none { Err(Error::FreshnessUnknown) } else { Ok(CheckedAll { answers, freshness }) }
    }

    /// Asks memory.
    fn recall(&self, claims: &Claims<'_>, demands: &Demands) -> Recalled {
        let knowledge = self.knowledge(demands);
        let (shared, now) = (self.shared(), self.shared().store.now());
        let answer = shared.memory.check(claims, now);
        Recalled { answer: confirm::by_recent_changes(shared, claims, answer, now), knowledge }
    }

    /// Knowledge of memory: to be taken before memory is asked.
    fn knowledge(&self, demands: &Demands) -> Knowledge {
        let reading = self.shared().moments.read();
        let (sequence, covers) = self.shared().coverage.text_covering(demands.min_sequence.as_ref());
        Knowledge { reading, sequence, covers }
    }

    /// Answers by memory's verdict, if an answer may rest on it; else gives it back.
    fn judge_locally(&self, recalled: Recalled, demands: &Demands) -> Result<Checked, Recalled> {
        let Recalled { answer, knowledge } = &recalled;
        let age = match answer {
            Answer::Suspect(_) => None,
            _ if is_own_fault(answer) && self.shared().store.knows_time() => Some(self.age_at_most(knowledge)),
            Answer::Active | Answer::Revoked { .. } | Answer::KeyUnknown => self.fresh(knowledge, demands),
        };
        match age {
            Some(age) => Ok(Checked { answer: recalled.answer, freshness: local(recalled.knowledge, age) }),
            None => Err(recalled),
        }
    }

    /// Age of the knowledge, if an answer may rest on it now.
    fn fresh(&self, knowledge: &Knowledge, demands: &Demands) -> Option<Duration> {
        let age = self.shared().moments.age(knowledge.reading)?;
        let fresh = knowledge.covers && age <= self.limit(demands) && self.shared().store.knows_time();
        fresh.then_some(age)
    }

    fn limit(&self, demands: &Demands) -> Duration {
        demands.max_staleness.map_or(self.bound, |demanded| demanded.min(self.bound))
    }

    fn age_at_most(&self, knowledge: &Knowledge) -> Duration {
        let moments = &self.shared().moments;
        moments.age_despite_doubts(knowledge.reading).unwrap_or_else(|| moments.running())
    }

    fn policy_freshness(&self, knowledge: &Knowledge) -> Freshness {
        Freshness { sequence: self.nothing.clone(), age: self.age_at_most(knowledge), source: Source::Policy }
    }

    fn shared(&self) -> &Shared {
        &self.mirror.shared
    }
}

fn local(knowledge: Knowledge, age: Duration) -> Freshness {
    Freshness { sequence: knowledge.sequence, age, source: Source::Local }
}

/// Returns whether the token is rejected for its own claims, which no knowledge can change.
fn is_own_fault(answer: &Answer) -> bool {
    matches!(answer, Answer::Revoked { revocation: None, .. })
}

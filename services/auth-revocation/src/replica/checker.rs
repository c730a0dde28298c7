//! Whether a token is good, and how fresh that answer is.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use keyplane_revocation::{Answer, Claims, Sequence, TokenHash};
use tokio::time::timeout;

use super::Mirror;
use super::freshness::Reading;
use super::metrics::Why;
use super::shared::{Shared, wall};
use crate::domain::OutagePolicy;
use crate::error::Error;

/// Tokens of one batch that the store is asked about at the same time.
const AT_ONCE: usize = 64;

/// Answers checks: from memory while that is fresh, else from the store, else by the outage policy. Clones share it.
///
/// | memory says | memory is fresh | the store says | answer |
/// |---|---|---|---|
/// | the token breaks a rule by itself (expired ...) | any | not asked | revoked, `Local` |
/// | active, or revoked | yes | not asked | that, `Local` |
/// | suspect | yes | revoked, or not | that, `Local`: memory, completed by an exact read |
/// | suspect | yes | nothing, and lost revocations before | revoked ([`Rule::Lost`]), `Local`: by [`AfterLoss`] |
/// | anything | no, or not what the caller demands | active, or revoked | that, `Store` |
/// | revoked | no | nothing, or is not believed | revoked, `Policy` |
/// | suspect | any | nothing, or is not believed | [`Error::FreshnessUnknown`] |
/// | active | no | nothing, or is not believed | active, `Policy`, or [`Error::FreshnessUnknown`]: by the policy |
///
/// A store is not believed while it may have lost what it had acknowledged: until its feed was seen to go on from what
/// memory holds.
#[derive(Clone, Debug)]
pub struct Checker {
    mirror: Mirror,
    bound: Duration,
    ask: Duration,
    policy: OutagePolicy,
    /// Shared by all answers that have no sequence.
    nothing: Arc<str>,
}

/// What a caller demands of an answer.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// What must be known.
    pub min_sequence: Option<Sequence>,
    /// How old knowledge may be at most; the configured bound holds as well. Zero: the store is asked.
    pub max_staleness: Option<Duration>,
    /// The outage policy, where it is not the configured one.
    pub policy: Option<OutagePolicy>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Active or revoked; never [`Answer::Suspect`].
    pub answer: Answer,
    /// How fresh it is.
    pub freshness: Freshness,
}

/// Answers to a batch.
#[derive(Clone, Debug)]
pub struct CheckedAll {
    /// One for each of the claims, in their order; none is [`Answer::Suspect`].
    pub answers: Vec<Answer>,
    /// How fresh the weakest of them is.
    pub freshness: Freshness,
}

/// How fresh an answer is.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// What was known, in [`Sequence::encode`]'s form. Empty unless the source is [`Source::Local`].
    pub sequence: Arc<str>,
    /// Everything that was acknowledged this long before the answer was known. Zero where the store was asked; by
    /// policy, how old memory is, or has been running, if that was never whole.
    pub age: Duration,
    /// Where the answer comes from.
    pub source: Source,
}

/// Where an answer comes from: the weakest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// This instance's memory.
    Local,
    /// The store.
    Store,
    /// Neither could tell: the outage policy.
    Policy,
}

/// What memory says, and what that is worth.
struct Memory {
    answer: Answer,
    knowledge: Knowledge,
}

/// What memory was when it was asked.
#[derive(Clone)]
struct Knowledge {
    reading: Reading,
    sequence: Arc<str>,
    /// Whether the sequence that the caller demands was applied.
    covers: bool,
}

// === impl Checker ===

impl Checker {
    /// A checker with the bound, the patience and the policy of the mirror's settings.
    #[must_use]
    pub fn new(mirror: Mirror) -> Checker {
        let settings = &mirror.shared.settings;
        let (bound, ask, policy) = (settings.bound, settings.ask, settings.policy);
        Checker { mirror, bound, ask, policy, nothing: Arc::from("") }
    }

    /// Whether memory is fresh enough to answer by itself: neither the store nor the outage policy is needed then. No I/O.
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
    /// Waits at most [`Settings::ask`](super::Settings::ask) for the store, twice in the rare case that memory grows too
    /// old while the store is asked about one token.
    ///
    /// # Errors
    ///
    /// [`Error::FreshnessUnknown`] if neither memory nor the store can tell, and the policy does not say that the token
    /// is active. Cancel safe.
    pub async fn check(&self, claims: &Claims<'_>, demands: &Demands) -> Result<Checked, Error> {
        let memory = match self.judge_locally(self.recall(claims, demands), demands) {
            Ok(checked) => return Ok(checked),
            Err(memory) => memory,
        };
        if let Answer::Suspect(token) = memory.answer
            && self.fresh(&memory.knowledge, demands).is_some()
        {
            let Some(answer) = self.confirm(claims, token).await else {
                return self.by_policy(&memory, demands, Why::Suspect);
            };
            // What else speaks for or against the token was looked up before the store was asked.
            if let Some(age) = self.fresh(&memory.knowledge, demands) {
                return Ok(Checked { answer, freshness: local(memory.knowledge, age) });
            }
        }
        self.ask_store(claims, demands, &memory).await
    }

    /// The same for many tokens, by one state of memory: what that can't tell is asked of the store, for 64 at a time.
    ///
    /// # Errors
    ///
    /// [`Error::FreshnessUnknown`] if it can't be told of one of them: then of none. Cancel safe.
    pub async fn check_many(&self, claims: &[Claims<'_>], demands: &Demands) -> Result<CheckedAll, Error> {
        let shared = self.shared();
        let knowledge = self.knowledge(demands);
        let mut answers = Vec::with_capacity(claims.len());
        shared.replica.check_many(claims, wall(), |answer| answers.push(answer));
        for answer in &mut answers {
            *answer = shared.recall_token(*answer);
        }
        if self.fresh(&knowledge, demands).is_some() {
            if !self.confirm_all(claims, &mut answers).await {
                shared.metrics.fallback(Source::Policy, Why::Suspect);
                return Err(Error::FreshnessUnknown);
            }
            // What else speaks for or against the tokens was looked up before the store was asked.
            if let Some(age) = self.fresh(&knowledge, demands) {
                return Ok(CheckedAll { answers, freshness: local(knowledge, age) });
            }
        }
        let open = answers.iter().copied().zip(claims).enumerate().filter(|(_, (answer, _))| !is_own_fault(answer));
        let asked = open.map(|(index, (answer, claims))| {
            let memory = Memory { answer, knowledge: knowledge.clone() };
            async move { Ok::<_, Error>((index, self.ask_store(claims, demands, &memory).await?)) }
        });
        let asked: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await?;
        let mut weakest = local(knowledge.clone(), self.age_at_most(&knowledge));
        for (index, Checked { answer, freshness }) in asked {
            answers[index] = answer;
            if (weakest.source, weakest.age) < (freshness.source, freshness.age) || weakest.source == Source::Local {
                weakest = freshness;
            }
        }
        Ok(CheckedAll { answers, freshness: weakest })
    }

    /// Replaces each suspect by what the store says; `false` if it can't say that of one of them.
    async fn confirm_all(&self, claims: &[Claims<'_>], answers: &mut [Answer]) -> bool {
        let suspects = answers.iter().zip(claims).enumerate().filter_map(|(index, (answer, claims))| match answer {
            Answer::Suspect(token) => Some((index, claims, *token)),
            Answer::Active | Answer::Revoked { .. } => None,
        });
        let suspects: Vec<_> = suspects.collect();
        if suspects.is_empty() {
            return true;
        }
        let asked = suspects
            .into_iter()
            .map(|(index, claims, token)| async move { (index, self.confirm(claims, token).await) });
        let asked: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        for (index, answer) in asked {
            match answer {
                Some(answer) => answers[index] = answer,
                None => return false,
            }
        }
        true
    }

    /// Asks the store about a token that a filter holds; `None` if it does not answer, or is not believed.
    async fn confirm(&self, claims: &Claims<'_>, token: TokenHash) -> Option<Answer> {
        let shared = self.shared();
        // Boxed: see `ask_store`.
        let answer = timeout(self.ask, Box::pin(shared.judge_token(claims, token))).await.ok()??;
        if answer == Answer::Active {
            shared.metrics.false_positive();
        }
        Some(answer)
    }

    /// Asks the store about everything, and leaves it to the policy if that does not answer.
    async fn ask_store(&self, claims: &Claims<'_>, demands: &Demands, memory: &Memory) -> Result<Checked, Error> {
        let why = self.why(&memory.knowledge, demands);
        // Boxed: the way that few checks take must not make all of them large.
        match timeout(self.ask, Box::pin(self.shared().judge(claims))).await {
            Ok(Some(answer)) => {
                self.shared().metrics.fallback(Source::Store, why);
                let freshness =
                    Freshness { sequence: self.nothing.clone(), age: Duration::ZERO, source: Source::Store };
                Ok(Checked { answer, freshness })
            }
            Ok(None) | Err(_) => self.by_policy(memory, demands, why),
        }
    }

    /// What is answered when neither memory nor the store can tell.
    fn by_policy(&self, memory: &Memory, demands: &Demands, why: Why) -> Result<Checked, Error> {
        let policy = demands.policy.unwrap_or(self.policy);
        let Knowledge { reading, covers, .. } = memory.knowledge;
        self.shared().metrics.fallback(Source::Policy, why);
        let passes = match memory.answer {
            // It may have been undone since. To refuse is the safe error.
            Answer::Revoked { .. } => true,
            // To refuse would lock out the user of a token that only looks like a revoked one.
            Answer::Suspect(_) => false,
            Answer::Active => {
                let age = self.shared().moments.age_of_whole(reading).filter(|_| covers);
                policy.lets_pass(age)
            }
        };
        if !passes {
            return Err(Error::FreshnessUnknown);
        }
        let age = self.age_at_most(&memory.knowledge);
        let freshness = Freshness { sequence: self.nothing.clone(), age, source: Source::Policy };
        Ok(Checked { answer: memory.answer, freshness })
    }

    /// Asks memory.
    fn recall(&self, claims: &Claims<'_>, demands: &Demands) -> Memory {
        let knowledge = self.knowledge(demands);
        let shared = self.shared();
        let answer = shared.replica.check(claims, wall());
        Memory { answer: shared.recall_token(answer), knowledge }
    }

    /// What memory is now: to be taken before it is asked.
    fn knowledge(&self, demands: &Demands) -> Knowledge {
        let reading = self.shared().moments.read();
        let covered = self.shared().covered.read();
        let covers = demands.min_sequence.as_ref().is_none_or(|wanted| covered.sequence.covers(wanted));
        Knowledge { reading, sequence: covered.text.clone(), covers }
    }

    /// What memory says, if an answer may rest on that; else gives it back.
    fn judge_locally(&self, memory: Memory, demands: &Demands) -> Result<Checked, Memory> {
        let Memory { answer, knowledge } = &memory;
        let age = match answer {
            Answer::Suspect(_) => None,
            _ if is_own_fault(answer) => Some(self.age_at_most(knowledge)),
            Answer::Active | Answer::Revoked { .. } => self.fresh(knowledge, demands),
        };
        match age {
            Some(age) => Ok(Checked { answer: memory.answer, freshness: local(memory.knowledge, age) }),
            None => Err(memory),
        }
    }

    /// The age of what was looked up, if an answer may rest on it now.
    fn fresh(&self, knowledge: &Knowledge, demands: &Demands) -> Option<Duration> {
        let age = self.shared().moments.age(knowledge.reading)?;
        (knowledge.covers && age <= self.limit(demands)).then_some(age)
    }

    fn limit(&self, demands: &Demands) -> Duration {
        demands.max_staleness.map_or(self.bound, |demanded| demanded.min(self.bound))
    }

    fn age_at_most(&self, knowledge: &Knowledge) -> Duration {
        let moments = &self.shared().moments;
        moments.age_of_whole(knowledge.reading).unwrap_or_else(|| moments.running())
    }

    fn why(&self, knowledge: &Knowledge, demands: &Demands) -> Why {
        let moments = &self.shared().moments;
        match (moments.age(knowledge.reading), moments.age_of_whole(knowledge.reading)) {
            (_, None) => Why::Cold,
            (None, Some(_)) => Why::Doubt,
            (Some(age), _) if age > self.bound => Why::Stale,
            (Some(_), _) if !knowledge.covers => Why::Sequence,
            (Some(age), _) if age > self.limit(demands) => Why::Staleness,
            (Some(_), _) => Why::Suspect,
        }
    }

    fn shared(&self) -> &Shared {
        &self.mirror.shared
    }
}

fn local(knowledge: Knowledge, age: Duration) -> Freshness {
    Freshness { sequence: knowledge.sequence, age, source: Source::Local }
}

/// Whether the token is refused for what it says of itself, which no knowledge can change.
fn is_own_fault(answer: &Answer) -> bool {
    matches!(answer, Answer::Revoked { revocation: None, .. })
}

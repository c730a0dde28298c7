//! Whether a token is good, and how fresh that answer is.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use keyplane_revocation::{Answer, Claims, Sequence, TokenHash};
use tokio::time::sleep;

use super::Mirror;
use super::freshness::Reading;
use super::metrics::Why;
use super::persist::Patience;
use super::shared::Shared;
use crate::domain::OutagePolicy;
use crate::error::Error;

/// Tokens of one batch that the store is asked about at the same time.
const AT_ONCE: usize = 64;
/// Time that memory has to be young again after a stop of the process, before the store is asked.
const HEAD_START: Duration = Duration::from_millis(100);

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
/// [`Answer::KeyUnknown`] stands wherever "revoked" does: it refuses, by what is known of the issuer's keys.
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
    /// Never [`Answer::Suspect`].
    pub answer: Answer,
    /// How fresh it is.
    pub freshness: Freshness,
}

/// Answers to a batch.
#[derive(Clone, Debug)]
pub struct CheckedAll {
    /// Answers in the order of the claims; none is [`Answer::Suspect`]. `None` where it can't be told.
    pub answers: Vec<Option<Answer>>,
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
    /// old while the store is asked about one token. Up to 3 s, and 90 % of what remains of the request's deadline, after the
    /// process was stopped, and while memory shows that the store answers.
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
        let patience = self.shared().patience();
        if let Answer::Suspect(token) = memory.answer
            && self.fresh(&memory.knowledge, demands).is_some()
        {
            let Some(answer) = self.confirm(claims, token, patience).await else {
                return self.by_policy(&memory, demands, Why::Suspect);
            };
            // What else speaks for or against the token was looked up before the store was asked.
            if let Some(age) = self.fresh(&memory.knowledge, demands) {
                return Ok(Checked { answer, freshness: local(memory.knowledge, age) });
            }
        }
        self.ask_store(claims, demands, &memory, patience).await
    }

    /// The same for many tokens, by one state of memory: what that can't tell is asked of the store, for 64 at a time.
    ///
    /// # Errors
    ///
    /// [`Error::FreshnessUnknown`] if it can be told of none of them. Cancel safe.
    pub async fn check_many(&self, claims: &[Claims<'_>], demands: &Demands) -> Result<CheckedAll, Error> {
        let shared = self.shared();
        let (knowledge, now) = (self.knowledge(demands), shared.store.now());
        let mut answers = Vec::with_capacity(claims.len());
        shared.replica.check_many(claims, now, |answer| answers.push(answer));
        for (answer, claims) in answers.iter_mut().zip(claims) {
            *answer = shared.recall_token(claims, *answer, now);
        }
        let patience = self.shared().patience();
        if self.fresh(&knowledge, demands).is_some() {
            self.confirm_all(claims, &mut answers, patience).await;
        }
        // What else speaks for or against the tokens was looked up before the store was asked.
        let age = self.fresh(&knowledge, demands);
        let is_told = |answer: &Answer| match answer {
            Answer::Suspect(_) => false,
            _ if is_own_fault(answer) => shared.store.knows_time(),
            Answer::Active | Answer::Revoked { .. } | Answer::KeyUnknown => age.is_some(),
        };
        let open = answers.iter().copied().zip(claims).enumerate().filter(|(_, (answer, _))| !is_told(answer));
        let asked = open.map(|(index, (answer, claims))| {
            let memory = Memory { answer, knowledge: knowledge.clone() };
            async move { (index, self.ask_store(claims, demands, &memory, patience).await) }
        });
        let asked: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        let mut freshness = local(knowledge.clone(), age.unwrap_or_else(|| self.age_at_most(&knowledge)));
        let mut answers: Vec<_> = answers.into_iter().map(Some).collect();
        for (index, checked) in asked {
            let found = match checked {
                Ok(Checked { answer, freshness }) => (Some(answer), freshness),
                Err(_) => (None, self.policy_freshness(&knowledge)),
            };
            answers[index] = found.0;
            freshness = weaker(freshness, found.1);
        }
        let untold = !answers.is_empty() && answers.iter().all(Option::is_none);
        if untold { Err(Error::FreshnessUnknown) } else { Ok(CheckedAll { answers, freshness }) }
    }

    /// Replaces each suspect by what the store says, if it answers.
    async fn confirm_all(&self, claims: &[Claims<'_>], answers: &mut [Answer], patience: Patience) {
        let suspects = answers.iter().zip(claims).enumerate().filter_map(|(index, (answer, claims))| match answer {
            Answer::Suspect(token) => Some((index, claims, *token)),
            Answer::Active | Answer::Revoked { .. } | Answer::KeyUnknown => None,
        });
        let asked =
            suspects.map(|(index, claims, token)| async move { (index, self.confirm(claims, token, patience).await) });
        let asked: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        for (index, answer) in asked {
            if let Some(answer) = answer {
                answers[index] = answer;
            }
        }
    }

    /// Asks the store about a token that a filter holds; `None` if it does not answer, or is not believed.
    async fn confirm(&self, claims: &Claims<'_>, token: TokenHash, patience: Patience) -> Option<Answer> {
        let shared = self.shared();
        // Boxed: see `ask_store`.
        let answer = Box::pin(shared.persist(patience, || shared.judge_token(claims, token))).await?;
        if matches!(answer, Answer::Active | Answer::KeyUnknown) {
            shared.metrics.false_positive();
        }
        Some(answer)
    }

    /// Asks the store about everything, and meanwhile waits for memory to be young enough again; leaves it to the policy if
    /// neither comes.
    ///
    /// After a stop of the process, memory is old, the connections may have to be made anew, and all that waited in sockets
    /// comes at once. Memory, which may be young again after one read for all of them, goes first then.
    async fn ask_store(
        &self,
        claims: &Claims<'_>,
        demands: &Demands,
        memory: &Memory,
        patience: Patience,
    ) -> Result<Checked, Error> {
        let (shared, why) = (self.shared(), self.why(&memory.knowledge, demands));
        // Boxed: the way that few checks take must not make all of them large.
        let mut asked = Box::pin(async {
            if patience.stopped && !self.limit(demands).is_zero() {
                sleep(self.ask.min(HEAD_START)).await;
            }
            shared.persist(patience, || shared.judge(claims)).await
        });
        loop {
            let freshened = shared.freshened.notified();
            tokio::select! {
                answer = &mut asked => {
                    let Some(answer) = answer else { break };
                    shared.metrics.fallback(Source::Store, why);
                    return Ok(Checked { answer, freshness: self.store_freshness() });
                }
                () = freshened => {
                    if let Ok(checked) = self.judge_locally(self.recall(claims, demands), demands) {
                        return Ok(checked);
                    }
                }
            }
        }
        self.by_policy(memory, demands, why)
    }

    /// What is answered when neither memory nor the store can tell.
    fn by_policy(&self, memory: &Memory, demands: &Demands, why: Why) -> Result<Checked, Error> {
        let policy = demands.policy.unwrap_or(self.policy);
        let Knowledge { reading, covers, .. } = memory.knowledge;
        self.shared().metrics.fallback(Source::Policy, why);
        let passes = match memory.answer {
            // By this machine's clock alone, a token that is good may seem to have expired.
            _ if is_own_fault(&memory.answer) => self.shared().store.knows_time(),
            // It may have been undone since. To refuse is the safe error.
            Answer::Revoked { .. } | Answer::KeyUnknown => true,
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
        Ok(Checked { answer: memory.answer, freshness: self.policy_freshness(&memory.knowledge) })
    }

    fn store_freshness(&self) -> Freshness {
        Freshness { sequence: self.nothing.clone(), age: Duration::ZERO, source: Source::Store }
    }

    fn policy_freshness(&self, knowledge: &Knowledge) -> Freshness {
        Freshness { sequence: self.nothing.clone(), age: self.age_at_most(knowledge), source: Source::Policy }
    }

    /// Asks memory.
    fn recall(&self, claims: &Claims<'_>, demands: &Demands) -> Memory {
        let knowledge = self.knowledge(demands);
        let (shared, now) = (self.shared(), self.shared().store.now());
        let answer = shared.replica.check(claims, now);
        Memory { answer: shared.recall_token(claims, answer, now), knowledge }
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
            _ if is_own_fault(answer) && self.shared().store.knows_time() => Some(self.age_at_most(knowledge)),
            Answer::Active | Answer::Revoked { .. } | Answer::KeyUnknown => self.fresh(knowledge, demands),
        };
        match age {
            Some(age) => Ok(Checked { answer: memory.answer, freshness: local(memory.knowledge, age) }),
            None => Err(memory),
        }
    }

    /// The age of what was looked up, if an answer may rest on it now.
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

/// The weaker of two: by where it comes from, then by age.
fn weaker(one: Freshness, other: Freshness) -> Freshness {
    if (one.source, one.age) < (other.source, other.age) { other } else { one }
}

fn local(knowledge: Knowledge, age: Duration) -> Freshness {
    Freshness { sequence: knowledge.sequence, age, source: Source::Local }
}

/// Whether the token is refused for what it says of itself, which no knowledge can change.
fn is_own_fault(answer: &Answer) -> bool {
    matches!(answer, Answer::Revoked { revocation: None, .. })
}

//! Answers that memory can't give: from the store, else by the outage policy.

use std::time::Duration;

use keyplane_revocation::{Answer, Claims};
use tokio::time::sleep;

use super::metrics::reason;
use super::patience::Patience;
use super::{Checked, Checker, Demands, Freshness, Knowledge, Recalled, Source, is_own_fault};
use crate::error::Error;

/// Time for memory to be young again after a stop of the process, before the store is asked.
const HEAD_START: Duration = Duration::from_millis(100);

// === impl Checker ===

impl Checker {
    /// Asks the store about everything, and meanwhile waits for memory to be young enough again; leaves the answer to
    /// the policy if neither comes.
    ///
    /// After a stop of the process, memory is old, the connections may have to be made anew, and everything that waited
    /// in sockets comes at once. One read may make memory young again for all of them, so memory goes first then.
    pub(super) async fn ask_store(
        &self,
        claims: &Claims<'_>,
        demands: &Demands,
        recalled: &Recalled,
        patience: Patience,
    ) -> Result<Checked, Error> {
        let (shared, reason) = (self.shared(), self.reason(&recalled.knowledge, demands));
        // Boxed: the path of few checks must not make all of them large.
        let mut call = Box::pin(async {
            if patience.after_stall && !self.limit(demands).is_zero() {
                sleep(self.ask.min(HEAD_START)).await;
            }
            patience.ask(shared, || self.judge(claims)).await
        });
        loop {
            let freshened = shared.moments.freshened();
            tokio::select! {
                answer = &mut call => {
                    let Some(answer) = answer else { break };
                    self.metrics.fallback(Source::Store, reason);
                    let sequence = self.nothing.clone();
                    let freshness = Freshness { sequence, age: Duration::ZERO, source: Source::Store };
                    return Ok(Checked { answer, freshness });
                }
                () = freshened => {
                    if let Ok(checked) = self.judge_locally(self.recall(claims, demands), demands) {
                        return Ok(checked);
                    }
                }
            }
        }
        self.by_policy(recalled, demands, reason)
    }

    /// Asks the store about a token; `None` if it is not believed.
    async fn judge(&self, claims: &Claims<'_>) -> Result<Option<Answer>, Error> {
        let shared = self.shared();
        let answer = shared.store.judge(claims).await?;
        // A store may have lost revocations; it invents none.
        if answer != Answer::Active {
            return Ok(Some(answer));
        }
        let trusted = self.trust.continues(shared).await? && !shared.moments.distrusts_store();
        Ok(trusted.then(|| self.unless_lost(claims)))
    }

    /// Answer when neither memory nor the store can tell.
    pub(super) fn by_policy(
        &self,
        recalled: &Recalled,
        demands: &Demands,
        reason: &'static str,
    ) -> Result<Checked, Error> {
        let policy = demands.policy.unwrap_or(self.policy);
        let Knowledge { reading, covers, .. } = recalled.knowledge;
        self.metrics.fallback(Source::Policy, reason);
        let answers = match recalled.answer {
            // By this machine's clock alone, a good token may seem to have expired.
            _ if is_own_fault(&recalled.answer) => self.shared().store.knows_time(),
            // The revocation may have been undone since. Rejecting is the safe error.
            Answer::Revoked { .. } | Answer::KeyUnknown => true,
            // Rejecting would lock out the user of a token that only looks like a revoked one.
            Answer::Suspect(_) => false,
            Answer::Active => {
                let age = self.shared().moments.age_despite_doubts(reading).filter(|_| covers);
                policy.lets_pass(age)
            }
        };
        if !answers {
            return Err(Error::FreshnessUnknown);
        }
        Ok(Checked { answer: recalled.answer, freshness: self.policy_freshness(&recalled.knowledge) })
    }

    fn reason(&self, knowledge: &Knowledge, demands: &Demands) -> &'static str {
        let moments = &self.shared().moments;
        match (moments.age(knowledge.reading), moments.age_despite_doubts(knowledge.reading)) {
            (_, None) => reason::COLD,
            (None, Some(_)) => reason::DOUBT,
            (Some(age), _) if age > self.bound => reason::STALE,
            (Some(_), _) if !knowledge.covers => reason::SEQUENCE,
            (Some(age), _) if age > self.limit(demands) => reason::STALENESS,
            (Some(_), _) => reason::SUSPECT,
        }
    }
}

//! Confirmation of suspects: a token that a filter holds is looked up among the recent changes, then in the store.

use futures::stream::{self, StreamExt as _};
use keyplane_revocation::{Answer, Claims, Millis, RevocationId, Rule, TokenHash};

use super::patience::Patience;
use super::{AT_ONCE, Checker, trust};
use crate::app::replica::Shared;
use crate::domain::{AfterLoss, Record};
use crate::error::Error;

// === impl Checker ===

impl Checker {
    /// Replaces each suspect by the store's verdict, if it answers.
    pub(super) async fn confirm_all(&self, claims: &[Claims<'_>], answers: &mut [Answer], patience: Patience) {
        let suspects = answers.iter().zip(claims).enumerate().filter_map(|(index, (answer, claims))| {
            if let Answer::Suspect(token) = answer { Some((index, claims, *token)) } else { None }
        });
        let calls =
            suspects.map(|(index, claims, token)| async move { (index, self.confirm(claims, token, patience).await) });
        let results: Vec<_> = stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        for (index, answer) in results {
            if let Some(answer) = answer {
                answers[index] = answer;
            }
        }
    }

    /// Asks the store about a token that a filter holds; `None` if it does not answer, or is not believed.
    pub(super) async fn confirm(&self, claims: &Claims<'_>, token: TokenHash, patience: Patience) -> Option<Answer> {
        // Boxed: see `ask_store`.
        let answer = Box::pin(patience.ask(self.shared(), || self.judge_token(claims, token))).await?;
        if matches!(answer, Answer::Active | Answer::KeyUnknown) {
            self.metrics.false_positive();
        }
        Some(answer)
    }

    async fn judge_token(&self, claims: &Claims<'_>, token: TokenHash) -> Result<Option<Answer>, Error> {
        let shared = self.shared();
        if let Some(Record { version, state, .. }) = shared.store.token_revocation(claims.tenant, token).await? {
            shared.memory.confirm(token, version, state.expires);
            return Ok(Some(Answer::Revoked { rule: Rule::Token, revocation: Some(token.into()) }));
        }
        let partition = token.partition(shared.store.partitions());
        let trusted = trust::continues(shared, partition).await? && !shared.moments.distrusts_store();
        Ok(trusted.then(|| {
            let answer = self.unless_lost(claims);
            // Everything else against the token was looked up in memory.
            if answer == Answer::Active { shared.memory.cleared(claims, shared.store.now()) } else { answer }
        }))
    }

    /// Answer about a token that the store, which is believed, does not hold to be revoked.
    pub(super) fn unless_lost(&self, claims: &Claims<'_>) -> Answer {
        let shared = self.shared();
        let rejects = shared.settings.after_loss == AfterLoss::Refuse && shared.memory.may_be_lost(claims);
        let Some(token) = claims.token().filter(|_| rejects) else { return Answer::Active };
        self.metrics.rejected_after_loss();
        Answer::Revoked { rule: Rule::Lost, revocation: Some(token.into()) }
    }
}

/// Settles a suspect whose revocation was made or undone lately, and holds `now`; any other answer stays.
pub(super) fn by_recent_changes(shared: &Shared, claims: &Claims<'_>, answer: Answer, now: Millis) -> Answer {
    let Answer::Suspect(token) = answer else { return answer };
    let id = RevocationId::from(token);
    let partition = id.partition(shared.store.partitions());
    match shared.partitions.lock(partition).recent.get(&id) {
        Some(entry) if entry.state.undone => shared.memory.cleared(claims, now),
        Some(entry) if entry.state.holds(now) => Answer::Revoked { rule: Rule::Token, revocation: Some(id) },
        Some(_) | None => answer,
    }
}

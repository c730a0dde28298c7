//! Whether the store can be believed: whether its feed goes on from what memory holds.
//!
//! A store that was restarted empty, or failed over to a replica that lagged, answers at once, and knows nothing of a
//! revocation that it had acknowledged. So before anybody is told that a token is active because the store says so, the
//! store has to show that it still has the entry that memory applied last, in each partition.

use std::time::Instant;

use bytes::Bytes;
use futures::future::try_join_all;
use keyplane_revocation::{Answer, Claims, Rule, TokenHash};
use keyplane_valkey::StreamEntry;

use super::chain::{Link, Relation, View};
use super::shared::{START, Shared, nonce};
use crate::domain::Record;
use crate::error::Error;
use crate::store::feed;

// === impl Shared ===

impl Shared {
    /// Asks the store about a token; `None` if it is not believed.
    pub(super) async fn judge(&self, claims: &Claims<'_>) -> Result<Option<Answer>, Error> {
        let answer = self.store.judge(claims).await?;
        // Whatever the store may have lost, it invents nothing.
        if answer != Answer::Active {
            return Ok(Some(answer));
        }
        let goes_on = self.goes_on().await? && !self.moments.distrusts_store();
        Ok(goes_on.then(|| self.unless_lost(claims)))
    }

    /// Asks the store about a single token that a filter holds; `None` if it is not believed.
    pub(super) async fn judge_token(&self, claims: &Claims<'_>, token: TokenHash) -> Result<Option<Answer>, Error> {
        if let Some(Record { version, state, .. }) = self.store.token_revocation(claims.tenant, token).await? {
            self.replica.confirm(token, version, state.expires);
            return Ok(Some(Answer::Revoked { rule: Rule::Token, revocation: Some(token.into()) }));
        }
        let partition = token.partition(self.store.partitions());
        let goes_on = self.compare(partition).await? && !self.moments.distrusts_store();
        Ok(goes_on.then(|| {
            let answer = self.unless_lost(claims);
            // What else speaks against it was looked up in memory.
            if answer == Answer::Active { self.replica.cleared(claims, self.store.now()) } else { answer }
        }))
    }

    /// Whether the store, when asked from now on, goes on from what memory holds. Callers at the same time share the
    /// question: of many, most wait for one that another has asked.
    async fn goes_on(&self) -> Result<bool, Error> {
        let called = Instant::now();
        let mut witnessed = self.witnessed.lock().await;
        if let Some((asked, goes_on)) = *witnessed
            && asked >= called
        {
            return Ok(goes_on);
        }
        let asked = Instant::now();
        // An error is not shared: it may be this caller's deadline alone.
        let all = try_join_all((0..self.store.partitions()).map(|partition| self.compare(partition))).await?;
        let goes_on = all.into_iter().all(|goes_on| goes_on);
        *witnessed = Some((asked, goes_on));
        Ok(goes_on)
    }

    async fn compare(&self, partition: u32) -> Result<bool, Error> {
        let (last, id) = {
            let spot = self.spot(partition).lock();
            (spot.last, spot.id.clone())
        };
        let fields = self.valkey.hgetall(&self.store.head_key(partition)).await?;
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
        let head = head(&[field("q"), field("n")]);
        if head == last {
            return Ok(true);
        }
        if last.seq == 0 {
            return Ok(true);
        }
        if &*id == START {
            // No entry is known to have that place, so none can be asked for.
            return Ok(false);
        }
        let feed = self.store.feed_key(partition);
        let own = self.valkey.xrange(&feed, &id, &id, 1).await?;
        let first = self.valkey.xrange(&feed, "-", "+", 1).await?;
        let view = View { head, own: first_link(&own)?, first: first_link(&first)?, next: None };
        // A gap is memory's, not the store's: its records are all there.
        Ok(last.relation(&view, self.outlived(&id)) != Relation::Lost)
    }
}

/// The first of these entries.
pub(super) fn first_link(entries: &[StreamEntry]) -> Result<Option<Link>, Error> {
    let record = entries.first().map(feed::decode).transpose()?;
    Ok(record.map(|record| Link { seq: record.seq, nonce: nonce(&record.nonce) }))
}

/// The head of a partition, from its fields `q` and `n`.
pub(super) fn head(fields: &[Option<Bytes>]) -> Link {
    let text = |index: usize| std::str::from_utf8(fields.get(index)?.as_ref()?).ok();
    Link { seq: text(0).and_then(|q| q.parse().ok()).unwrap_or(0), nonce: text(1).map_or(0, nonce) }
}

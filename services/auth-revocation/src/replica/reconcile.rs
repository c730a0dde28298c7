//! What happens when the feed does not go on from what was applied: it is read anew, and what it lost is given back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, RevocationId, Scope, State, TokenHash};
use keyplane_valkey::Dedicated;
use tokio::time::sleep;

use super::follow::{Ended, Follower, LOOK};
use super::shared::Shared;
use crate::error::Error;

/// Time to give something to the store, before the feed is read once more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What is wrong with a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Entries are gone from it that memory has: memory is whole.
    Trimmed,
    /// It began anew, after everything that was applied had expired.
    Outlived,
    /// It is well, but memory lacked what the store had lost before, and took it over.
    Uninformed,
    /// Entries are gone from it that memory does not have. The store's records are all there.
    Gap,
    /// The store lost entries that it had acknowledged: neither memory nor the store is believed until it is settled.
    Lost,
}

/// A feed that is to be read anew, or was.
#[derive(Debug)]
pub(super) struct Resync {
    doubt: Doubt,
    /// From when on it is settled; `None` until it was read.
    until: Option<Instant>,
    /// Memory of when the doubt arose; `None` before the feed is first read for it.
    before: Option<Before>,
}

/// Memory of a partition, before its feed was read anew.
#[derive(Clone, Debug)]
struct Before {
    /// Entries that are held exactly.
    exact: HashMap<RevocationId, Arc<Entry>>,
    /// Revoked tokens in its filters.
    tokens: usize,
}

/// Revoked tokens, of those that memory held, that the store has or was given back.
#[derive(Debug, Default)]
struct Kept(HashSet<TokenHash>);

// === impl Resync ===

impl Resync {
    pub(super) fn new(doubt: Doubt) -> Resync {
        Resync { doubt, until: None, before: None }
    }

    /// Whether memory must not be believed yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether the feed is still to be read.
    pub(super) fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// Whether memory and what is said of it were left alone so far.
    pub(super) fn is_placed(&self) -> bool {
        self.until.is_some() || (self.doubt == Doubt::Trimmed && self.before.is_none())
    }
}

// === impl Kept ===

impl Kept {
    fn note(&mut self, entry: &Entry, was_held: impl Fn(TokenHash, &State) -> bool) {
        let Scope::Token(token) = entry.target.scope else { return };
        if entry.state.undone {
            self.0.remove(&token);
        } else if was_held(token, &entry.state) {
            self.0.insert(token);
        }
    }
}

// === impl Follower ===

impl Follower {
    /// Reads the feed anew and gives it back what it lost and memory holds exactly: what changed within the last minute in
    /// which the partition was fresh, and all cutoffs. Idempotent: instances that do it at the same time do no harm.
    pub(super) async fn reconcile(&mut self, connection: &Dedicated) -> Result<(), Ended> {
        let Some(resync) = &mut self.resync else { return Ok(()) };
        let doubt = resync.doubt;
        // Once: a try that fails half-way has read some of the feed into memory, and can't tell a loss since then.
        let again = resync.before.is_some();
        let before = resync.before.get_or_insert_with(|| self.shared.before(self.partition)).clone();
        if doubt != Doubt::Trimmed {
            // Its numbers are others from here on.
            self.shared.begin_epoch(self.partition, doubt == Doubt::Lost);
        }
        if again || doubt == Doubt::Lost {
            self.shared.replica.lose(self.partition);
        }
        let (shared, mut held, mut kept) = (self.shared.clone(), before.exact, Kept::default());
        self.read_all(connection, |record| {
            let id = record.entry.target.id();
            if held.get(&id).is_some_and(|entry| entry.version <= record.entry.version) {
                held.remove(&id);
            }
            if doubt == Doubt::Lost {
                kept.note(&record.entry, |token, state| shared.replica.holds(token, state));
            }
        })
        .await?;
        let missing: Vec<Entry> = held.into_values().map(Arc::unwrap_or_clone).collect();
        let count = self.give_back(doubt, &missing).await?;
        missing.iter().for_each(|entry| kept.note(entry, |_, _| true));
        let lost = if doubt == Doubt::Lost { before.tokens.saturating_sub(kept.0.len()) } else { 0 };
        self.shared.metrics.given_back(count, lost);
        if doubt == Doubt::Lost {
            self.hand_over().await;
        }
        let settings = &self.shared.settings;
        let settle = match doubt {
            Doubt::Trimmed | Doubt::Outlived | Doubt::Uninformed => Duration::ZERO,
            // The others must first notice it.
            Doubt::Gap => settings.settle + settings.beat * LOOK,
            Doubt::Lost => settings.settle,
        };
        let (partition, seq) = (self.partition, self.track.last().seq);
        tracing::warn!(partition, ?doubt, seq, given_back = count, lost, "the feed was read anew");
        if let Some(resync) = &mut self.resync {
            resync.until = Some(Instant::now() + settle);
        }
        Ok(())
    }

    async fn give_back(&self, doubt: Doubt, missing: &[Entry]) -> Result<u64, Ended> {
        let (store, partition) = (&self.shared.store, self.partition);
        let given = retried(|| async move {
            match doubt {
                Doubt::Outlived | Doubt::Uninformed | Doubt::Lost => store.merge(partition, missing).await,
                // The records are there: it is the feed that lacks them.
                Doubt::Trimmed | Doubt::Gap => store.refresh(partition, missing, Duration::ZERO).await,
            }
        });
        Ok(given.await?)
    }

    /// Hands over what memory holds of what the store lost, if it is anything. If that fails, those that lack it go without
    /// until the next connection.
    pub(super) async fn hand_over(&self) {
        if let Err(error) = retried(|| self.shared.hand_over(self.partition, self.informed)).await {
            tracing::warn!(partition = self.partition, %error, "what the store lost could not be handed over");
        }
    }
}

/// Repeats a call that fails, for 5 s: the connections for scripts may take longer to come back than that of a follower.
async fn retried<T, F: Future<Output = Result<T, Error>>>(call: impl Fn() -> F) -> Result<T, Error> {
    let last = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(error) if error.is_retryable() && Instant::now() < last => sleep(PAUSE).await,
            result => return result,
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Memory of a partition, as it is now.
    fn before(&self, partition: u32) -> Before {
        let partitions = self.store.partitions();
        let cutoffs = self.replica.persistent(self.store.now()).into_iter();
        let cutoffs = cutoffs.map(|entry| (entry.target.id(), Arc::new(entry)));
        let mut exact: HashMap<_, _> = cutoffs.filter(|(id, _)| id.partition(partitions) == partition).collect();
        // What was undone is there as well, so that it stays so.
        let spot = self.spot(partition).lock();
        exact.extend(spot.tail.entries().map(|(id, entry)| (*id, entry.clone())));
        Before { exact, tokens: self.replica.revoked_tokens(partition) }
    }
}

#[cfg(test)]
mod tests {
    use keyplane_revocation::{Millis, Target, Version};

    use super::*;

    fn entry(token: u8, undone: bool) -> Entry {
        let state = State { undone, expires: Millis(i64::MAX), cutoff: None, token_expires: None, kept: Vec::new() };
        let scope = Scope::Token([token; 16].into());
        Entry { target: Target { tenant: "acme".into(), scope }, state, version: Version(1) }
    }

    #[test]
    fn a_token_is_kept_once_if_it_was_held_and_is_revoked() {
        let mut kept = Kept::default();
        for (token, undone) in [(1, false), (1, false), (2, false), (2, true), (3, true), (200, false)] {
            kept.note(&entry(token, undone), |token, _| token.as_bytes()[0] < 100);
        }
        assert_eq!(kept.0.len(), 1, "2 and 3 were undone, and 200 was never held: {kept:?}");
    }
}

//! Reconciliation: a feed that does not go on from what was applied is read anew, and given back what it lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, Scope, State, TokenHash};

use super::doubt::{Before, Doubt};
use super::follower::{Ended, Follower, LOOK};
use super::retry::retried;
use crate::store::FeedReader;

/// Revoked tokens, of those that memory held, that the store has or was given back.
#[derive(Debug, Default)]
struct Kept(HashSet<TokenHash>);

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
    /// Reads the feed anew, and gives back to the store what it lost and memory holds exactly: changes within the last
    /// minute of fresh time, and all cutoffs. Idempotent: instances may do it at the same time.
    pub(super) async fn reconcile(&mut self, reader: &FeedReader) -> Result<(), Ended> {
        let Some(resync) = &mut self.resync else { return Ok(()) };
        let doubt = resync.doubt;
        // Copied once: an attempt that fails half-way has read some of the feed into memory, and can't tell a loss
        // since then.
        let again = resync.before.is_some();
        let before = resync.before.get_or_insert_with(|| Before::copy(&self.shared, self.partition)).clone();
        if doubt != Doubt::Trimmed {
            // The feed's numbers are others from here on.
            self.shared.begin_epoch(self.partition, doubt == Doubt::Lost);
        }
        if again || doubt == Doubt::Lost {
            self.shared.memory.lose(self.partition);
        }
        let (shared, mut held, mut kept) = (self.shared.clone(), before.exact, Kept::default());
        self.read_all(reader, |record| {
            let id = record.entry.target.id();
            if held.get(&id).is_some_and(|entry| entry.version <= record.entry.version) {
                held.remove(&id);
            }
            if doubt == Doubt::Lost {
                kept.note(&record.entry, |token, state| shared.memory.holds(token, state));
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
                // The records are there; the feed lacks them.
                Doubt::Trimmed | Doubt::Gap => store.refresh(partition, missing, Duration::ZERO).await,
            }
        });
        Ok(given.await?)
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
    fn a_token_counts_once_if_it_was_held_and_is_revoked() {
        let mut kept = Kept::default();
        for (token, undone) in [(1, false), (1, false), (2, false), (2, true), (3, true), (200, false)] {
            kept.note(&entry(token, undone), |token, _| token.as_bytes()[0] < 100);
        }
        assert_eq!(kept.0.len(), 1, "2 and 3 were undone, and 200 was never held: {kept:?}");
    }
}

//! Changes of the lexicons that a batch brings with it.
//!
//! The terms of a batch are added before its documents are written, and corrected afterwards by the terms of what was replaced
//! and of what was not written. A change of a known revision adds and takes out only the terms that differ. If the writer dies in between, a frequency is too large, never too small: no term of a stored
//! document is missing, and the reconciler mends the rest.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::domain::Definition;
use crate::domain::lexicon::LogId;
use crate::error::Error;
use crate::store::{Delta, Store};

/// Attempts of one change.
const ATTEMPTS: usize = 3;

/// Changes of the frequencies in the generations of a definition.
#[derive(Default)]
pub(in crate::app) struct Changes<'a> {
    live: Terms<'a>,
    second: Terms<'a>,
}

/// Changes by term.
type Terms<'a> = HashMap<&'a str, i64, RandomState>;

/// Id of a batch that no other has.
pub(in crate::app) struct BatchId(String);

// === impl Changes ===

impl<'a> Changes<'a> {
    /// Adds the terms of a document to both generations, or takes them out (`by` -1).
    pub(in crate::app) fn add(&mut self, live: &'a str, second: &'a str, by: i64) {
        for (terms, changes) in [(live, &mut self.live), (second, &mut self.second)] {
            for term in terms.split_ascii_whitespace() {
                *changes.entry(term).or_default() += by;
            }
        }
    }

    /// Adds the live generation's terms that are not among `others`.
    pub(super) fn add_others(&mut self, terms: &'a str, others: &str, by: i64) {
        let others: HashSet<&str, RandomState> = others.split_ascii_whitespace().collect();
        for term in terms.split_ascii_whitespace().filter(|term| !others.contains(term)) {
            *self.live.entry(term).or_default() += by;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.values().chain(self.second.values()).all(|by| *by == 0)
    }

    /// Writes the changes. Returns the version of the live generation's lexicon, or none if that generation is not open.
    pub(in crate::app) async fn write(
        self,
        store: &Store,
        definition: &Definition,
        batch: &BatchId,
        part: &str,
    ) -> Result<Option<LogId>, Error> {
        let id = batch.part(part);
        let second = deltas(self.second);
        if let Some(build) = definition.second().filter(|_| !second.is_empty()) {
            update(store, definition, build.generation.number, &id, &second).await?;
        }
        update(store, definition, definition.live.generation.number, &id, &deltas(self.live)).await
    }
}

// === impl BatchId ===

impl BatchId {
    pub(in crate::app) fn new() -> BatchId {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static INSTANCE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        // A random seed of the standard library's hashes tells instances apart.
        let instance = INSTANCE.get_or_init(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
        BatchId(format!("{instance:x}.{:x}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Id of one of the batch's updates: `+` adds terms, `-` corrects them.
    pub(in crate::app) fn part(&self, part: &str) -> String {
        format!("{}{part}", self.0)
    }
}

fn deltas(changes: Terms<'_>) -> Vec<Delta> {
    changes.into_iter().filter(|(_, by)| *by != 0).map(|(term, by)| (term.to_owned(), by)).collect()
}

/// Writes one lexicon's changes; a lost answer is no reason to give up, since a repetition changes nothing twice.
async fn update(
    store: &Store,
    definition: &Definition,
    generation: u32,
    id: &str,
    deltas: &[Delta],
) -> Result<Option<LogId>, Error> {
    let mut attempt = 1;
    loop {
        match store.lexicon_update(&definition.name, generation, id, deltas).await {
            Err(error) if error.is_retryable() && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_term_add_up_and_vanish_at_zero() {
        let mut changes = Changes::default();
        changes.add("a b", "x", 1);
        changes.add("b c", "", 1);
        changes.add("a", "x", -1);
        let mut live = deltas(changes.live);
        live.sort();
        assert_eq!(live, [("b".to_owned(), 2), ("c".to_owned(), 1)]);
        assert_eq!(deltas(changes.second), []);
    }

    #[test]
    fn batches_have_different_ids() {
        assert_ne!(BatchId::new().0, BatchId::new().0);
    }
}

//! Writes of memories: exact and near duplicates are found, facts of the same subject are superseded.

mod history;
mod items;
mod near;
mod plan;

use std::sync::Arc;

use futures::FutureExt as _;
use keyplane_contracts::names::Id;
use parking_lot::Mutex;

use super::capacity::{Capacity, Limits};
use crate::domain::identity::normalize;
use crate::domain::{Draft, MemoryId, NewMemory, Outcome, Remembered, Scope};
use crate::error::Error;
use crate::store::{CHUNK, Due, Store};
use near::Pool;

pub(super) use history::History;
pub(super) use items::{importance, items, memory};
pub(super) use plan::Entry;

/// Maximum number of attempts of a write that meets other writes of its owner.
pub(super) const ATTEMPTS: u32 = 8;
/// Number of registered partitions that an instance knows of; more are registered again.
const KNOWN: usize = 100_000;

/// Writes of memories. Cheap to clone.
///
/// A write whose outcome is unknown may be repeated: the same text is written once.
#[derive(Clone)]
pub struct Remember {
    pub(super) store: Store,
    pub(super) capacity: Capacity,
    pub(super) limits: Limits,
    known: Arc<Mutex<std::collections::HashSet<Due>>>,
}

// === impl Remember ===

impl Remember {
    /// Writes to `store` within `limits`; `capacity` keeps owners within them.
    #[must_use]
    pub fn new(store: Store, capacity: Capacity, limits: Limits) -> Remember {
        Remember { store, capacity, limits, known: Arc::default() }
    }

    /// Writes drafts of one scope, in their order. A failure of one does not keep the others from being written.
    ///
    /// # Errors
    ///
    /// Error of the store before the first write. Of one memory: [`Error::RecalledText`], [`Error::WriteConflict`],
    /// [`Error::OwnerFull`], or an error of the store.
    pub async fn write(
        &self,
        scope: &Scope,
        drafts: Vec<Result<Draft, Error>>,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        let now = super::now();
        let recalled = self.recalled(scope, &drafts, now).await?;
        let entries = drafts
            .into_iter()
            .zip(recalled)
            .map(|(draft, recalled)| draft.map(|draft| Entry { at: 0, draft, event: None, recalled, replaces: None }));
        self.run(scope, entries.collect(), now).await
    }

    /// Appends events to the session of `scope`, in their order.
    pub(super) async fn append(
        &self,
        scope: &Scope,
        events: Vec<Result<(Id, Draft), Error>>,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        let entry = |(id, draft): (Id, Draft)| {
            let event = Some(id.as_str().to_owned());
            Entry { at: 0, draft, event, recalled: false, replaces: None }
        };
        self.run(scope, events.into_iter().map(|event| event.map(entry)).collect(), super::now()).await
    }

    async fn run(
        &self,
        scope: &Scope,
        entries: Vec<Result<Entry, Error>>,
        now: i64,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        self.register(scope).await?;
        let mut results: Vec<Option<Result<Remembered, Error>>> = Vec::with_capacity(entries.len());
        let mut valid = Vec::with_capacity(entries.len());
        for (at, entry) in entries.into_iter().enumerate() {
            match entry {
                Ok(entry) => {
                    valid.push(Entry { at, ..entry });
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        let mut pool = Pool::read(&self.store, scope, valid.iter().map(|entry| &entry.draft), now).await?;
        let mut rest = valid.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(plan::independent(scope, rest).min(CHUNK));
            match self.chunk(scope, chunk, &mut pool, now).boxed().await {
                Ok(written) => {
                    for (entry, result) in chunk.iter().zip(written) {
                        results[entry.at] = Some(result);
                    }
                }
                Err(error) => {
                    let mut error = Some(error);
                    for entry in chunk {
                        // The first memory of a chunk has the error itself; the script is all or nothing.
                        results[entry.at] = Some(Err(error.take().unwrap_or(Error::WriteConflict)));
                    }
                }
            }
            rest = after;
        }
        let results = results.into_iter().map(|result| result.unwrap_or(Err(Error::WriteConflict))).collect();
        self.within_capacity(scope, results, now).await
    }

    /// Evicts what the owner has too much. A memory of this call that finds no room fails.
    pub(super) async fn within_capacity(
        &self,
        scope: &Scope,
        mut results: Vec<Result<Remembered, Error>>,
        now: i64,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        let fresh: Vec<MemoryId> = results.iter().flatten().map(|remembered| remembered.id).collect();
        let evicted = self.capacity.keep(&scope.owner, &fresh, now).await?;
        for result in &mut results {
            if result.as_ref().is_ok_and(|remembered| evicted.contains(&remembered.id)) {
                *result = Err(Error::OwnerFull { limit: self.limits.memories });
            }
        }
        Ok(results)
    }

    /// Time to live of a memory without one, in milliseconds.
    pub(super) fn ttl(&self) -> i64 {
        i64::try_from(self.limits.ttl.as_millis()).unwrap_or(i64::MAX)
    }

    /// Registers the scope's partition for maintenance, once for each partition of this process.
    pub(super) async fn register(&self, scope: &Scope) -> Result<(), Error> {
        let due = Due::new(&scope.owner);
        if self.known.lock().contains(&due) {
            return Ok(());
        }
        self.store.register(&due).await?;
        let mut known = self.known.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(due);
        Ok(())
    }

    /// Reports for each draft whether its text came out of a recall of its owner.
    async fn recalled(&self, scope: &Scope, drafts: &[Result<Draft, Error>], now: i64) -> Result<Vec<bool>, Error> {
        let texts: Vec<Vec<String>> = drafts
            .iter()
            .map(|draft| draft.as_ref().map_or_else(|_| Vec::new(), |draft| forms(&draft.memory)))
            .collect();
        let all: Vec<String> = texts.iter().flatten().cloned().collect();
        let flags = self.store.was_recalled(&scope.owner, &all, now).await?;
        let mut flags = flags.into_iter();
        let recalled = texts.iter().map(|texts| {
            let seen: Vec<bool> = flags.by_ref().take(texts.len()).collect();
            let lines = seen.get(1..).unwrap_or_default();
            seen.first() == Some(&true) || (lines.len() > 1 && lines.iter().all(|seen| *seen))
        });
        Ok(recalled.collect())
    }
}

/// Forms in which a text may have come out of a recall: as a whole, then line by line without the speaker.
fn forms(memory: &NewMemory) -> Vec<String> {
    let spoken = |line: &str| line.split_once(": ").map_or(line, |(_, said)| said).to_owned();
    let lines = memory.text.lines().filter(|line| !line.trim().is_empty());
    std::iter::once(memory.text.clone()).chain(lines.map(spoken)).map(|text| normalize(&text)).collect()
}

/// Result for a memory that was kept.
pub(super) fn kept(memory: &crate::domain::Memory, outcome: Outcome, pieces: usize) -> Remembered {
    Remembered {
        id: memory.id,
        outcome,
        superseded: None,
        similarity: None,
        pieces: if pieces > 1 { u32::try_from(pieces).unwrap_or(u32::MAX) } else { 0 },
        tokens: memory.tokens,
        expires: memory.expires,
        revision: memory.revision,
    }
}

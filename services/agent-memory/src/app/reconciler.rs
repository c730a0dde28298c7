//! Reconciler: compares an owner's items, counters, subjects, postings and vectors with the memories, and mends what has drifted.

use std::collections::{BTreeMap, BTreeSet};

use super::capacity::Capacity;
use super::figures::Figures;
use crate::domain::{Item, MemoryId, Owner};
use crate::error::Error;
use crate::store::{Correction, RecordName, Store, Stored};

/// Maximum number of attempts at an owner who is written meanwhile; a later visit looks again.
const ATTEMPTS: u32 = 3;

/// Result of a recount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recount {
    /// Items, postings and counters that had drifted, and are mended.
    pub mended: u64,
    /// True if the owner was written during each attempt.
    pub busy: bool,
}

/// Reconciler of owners. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    capacity: Capacity,
    figures: Figures,
}

// === impl Reconciler ===

impl Reconciler {
    /// Reconciler of `store`; `capacity` knows the postings and vectors of large owners.
    #[must_use]
    pub fn new(store: Store, capacity: Capacity, figures: Figures) -> Reconciler {
        Reconciler { store, capacity, figures }
    }

    /// Recounts an owner, and mends what has drifted: items without a memory go, counters are set, records that the directory
    /// misses are entered, postings and vectors that are missing are written. O(items).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn run(&self, owner: &Owner, now: i64) -> Result<Recount, Error> {
        for _ in 0..ATTEMPTS {
            let (directory, revision) = self.store.directory_and_revision(owner).await?;
            let names: Vec<RecordName> = directory.records.keys().cloned().collect();
            let sessions = self.store.records(owner, &names).await?;
            let mut correction = Correction { revision, ..Correction::default() };
            let mut valid: Vec<(RecordName, Vec<Item>)> = Vec::new();
            let memories = self.memories(owner, &sessions).await?;
            for (name, session) in names.into_iter().zip(sessions) {
                let (kept, orphans): (Vec<Item>, Vec<Item>) =
                    session.items.into_iter().partition(|item| belongs(item, &name, &memories));
                let next = kept.last().map(|item| item.sequence.saturating_add(1));
                let listed = directory.records.get(&name).copied();
                if let Some(next) = next.filter(|next| listed.is_none_or(|listed| listed < *next)) {
                    correction.records.push((name.clone(), next));
                }
                correction.orphans.extend(orphans.into_iter().map(|item| (name.clone(), item.sequence)));
                valid.push((name, kept));
            }
            correction.counters = self.store.counted(owner, &valid).await?;
            let Some(drift) = self.store.mend(owner, &correction).await? else { continue };
            let drift = drift + self.capacity.refill(owner, &directory, &valid, now).await?;
            if drift > 0 {
                self.figures.mended(drift);
                tracing::warn!(drift, "items, postings or counters of an owner had drifted, and are mended");
            }
            return Ok(Recount { mended: drift, busy: false });
        }
        Ok(Recount { mended: 0, busy: true })
    }

    /// Memories of an owner's items.
    async fn memories(
        &self,
        owner: &Owner,
        sessions: &[crate::domain::Session],
    ) -> Result<BTreeMap<MemoryId, Stored>, Error> {
        let ids: BTreeSet<MemoryId> = sessions.iter().flat_map(|session| &session.items).map(|item| item.id).collect();
        let ids: Vec<MemoryId> = ids.into_iter().collect();
        let loaded = self.store.load(&owner.tenant, &ids).await?.into_iter().flatten();
        let own = loaded.filter(|stored| stored.memory.scope.owner == *owner);
        Ok(own.map(|stored| (stored.memory.id, stored)).collect())
    }
}

/// Returns whether an item stands where its memory says.
fn belongs(item: &Item, record: &RecordName, memories: &BTreeMap<MemoryId, Stored>) -> bool {
    memories.get(&item.id).is_some_and(|stored| {
        stored.place.record == *record && stored.place.sequences().any(|sequence| sequence == item.sequence)
    })
}

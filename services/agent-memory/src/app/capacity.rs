//! Capacity of owners: eviction beyond the maximum, and the build of postings and vectors of those that grow large.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::figures::Figures;
use crate::domain::eviction::{Candidate, victims};
use crate::domain::{Item, MemoryId, Owner, Space};
use crate::error::Error;
use crate::store::{CHUNK, Directory, RecordName, Store};

/// Limits of what an owner keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of memories of an owner; beyond it, the least important and least used are evicted.
    pub memories: u64,
    /// Number of items up to which an owner is read whole; above it, postings and vectors are kept.
    pub whole: u64,
    /// Time to live of a memory without one.
    pub ttl: Duration,
}

/// Capacity of owners. Cheap to clone.
#[derive(Clone)]
pub struct Capacity {
    store: Store,
    spaces: Arc<[Space]>,
    limits: Limits,
    figures: Figures,
    building: Arc<Mutex<HashSet<Owner>>>,
}

// === impl Capacity ===

impl Capacity {
    /// Keeps owners within `limits`; vectors of large ones stand in the indexes of `spaces`.
    #[must_use]
    pub fn new(store: Store, spaces: &[Space], limits: Limits, figures: Figures) -> Capacity {
        Capacity { store, spaces: spaces.into(), limits, figures, building: Arc::default() }
    }

    /// Evicts what an owner has too much after a write of the memories `fresh`, and starts the build of a large owner's postings
    /// and vectors. Returns the evicted memories. O(1) within the limits, O(items) beyond.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn keep(&self, owner: &Owner, fresh: &[MemoryId], now: i64) -> Result<HashSet<MemoryId>, Error> {
        let directory = self.store.directory(owner).await?;
        if directory.items > self.limits.whole && !directory.large {
            self.start_build(owner, now);
        }
        if directory.memories <= self.limits.memories {
            return Ok(HashSet::new());
        }
        let mut candidates: BTreeMap<MemoryId, Candidate> = BTreeMap::new();
        for record in directory.records.keys() {
            for session in self.store.records(owner, std::slice::from_ref(record)).await? {
                for item in &session.items {
                    let fresh = fresh.contains(&item.id);
                    candidates.entry(item.id).or_insert_with(|| Candidate::new(item, fresh));
                }
            }
        }
        let excess = usize::try_from(directory.memories - self.limits.memories).unwrap_or(usize::MAX);
        // Some more than needed, so that the next writes find room.
        let slack = usize::try_from(self.limits.memories / 20).unwrap_or(0);
        let victims = victims(candidates.into_values().collect(), excess, slack, now);
        let loaded = self.store.load(&owner.tenant, &victims).await?;
        let evicted = self.store.remove(owner, loaded.into_iter().flatten().collect(), now).await?;
        self.figures.evicted(evicted.len());
        Ok(evicted.into_iter().collect())
    }

    /// Builds the postings and vectors of an owner in the background, once at a time in this process.
    fn start_build(&self, owner: &Owner, now: i64) {
        if !self.building.lock().insert(owner.clone()) {
            return;
        }
        let (capacity, owner) = (self.clone(), owner.clone());
        tokio::spawn(async move {
            if let Err(error) = capacity.build(&owner, now).await {
                tracing::warn!(%error, "postings and vectors of a large owner were not built; its next write resumes");
            }
            capacity.building.lock().remove(&owner);
        });
    }

    /// Builds the postings and vectors of an owner that has outgrown a whole read; `false` if there is nothing to build.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn build(&self, owner: &Owner, now: i64) -> Result<bool, Error> {
        self.store.build(owner, &self.spaces, self.limits.whole, now).await
    }

    /// Writes the postings and vectors that are missing of a large owner's items. Returns their number. O(items).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn refill(
        &self,
        owner: &Owner,
        directory: &Directory,
        records: &[(RecordName, Vec<Item>)],
        now: i64,
    ) -> Result<u64, Error> {
        let mut missing = 0;
        for (record, items) in records.iter().filter(|_| directory.large) {
            let items: Vec<&Item> = items.iter().collect();
            for chunk in items.chunks(CHUNK) {
                missing += self.store.fill(owner, &self.spaces, record, chunk, directory.average(), now).await?;
            }
        }
        Ok(missing)
    }
}

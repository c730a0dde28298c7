//! Removals of memories with all that belongs to them.

use std::collections::HashMap;

use futures::future::try_join_all;

use super::{CHUNK, Change, Commit, Committed, Operation, Removal, Store, Stored};
use crate::domain::{Memory, MemoryId, Owner, State};
use crate::error::Error;

/// Maximum number of attempts at a chunk whose memories change meanwhile.
const ATTEMPTS: u32 = 8;

// === impl Store ===

impl Store {
    /// Removes memories of one owner with their items, postings, vectors and counters; a memory that is gone already, or changed
    /// after it expired, is left out. Returns the ids of those that were removed. Idempotent. O(memories).
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if the memories keep changing; error of the store.
    pub async fn remove(&self, owner: &Owner, memories: Vec<Stored>, now: i64) -> Result<Vec<MemoryId>, Error> {
        let mut removed = Vec::with_capacity(memories.len());
        for chunk in memories.chunks(CHUNK) {
            removed.extend(self.remove_chunk(owner, chunk.to_vec(), now).await?);
        }
        Ok(removed)
    }

    async fn remove_chunk(&self, owner: &Owner, mut chunk: Vec<Stored>, now: i64) -> Result<Vec<MemoryId>, Error> {
        for _ in 0..ATTEMPTS {
            let ids: Vec<MemoryId> = chunk.iter().map(|stored| stored.memory.id).collect();
            if ids.is_empty() {
                return Ok(ids);
            }
            let directory = self.directory(owner).await?;
            let operations = self.removals(owner, chunk).await?;
            let average = directory.average();
            let commit = Commit { owner, large: directory.kept, subjects: Vec::new(), operations, average, now };
            if matches!(self.commit(&commit).await?, Committed::Done { .. }) {
                return Ok(ids);
            }
            chunk = self.load(&owner.tenant, &ids).await?.into_iter().flatten().collect();
        }
        Err(Error::WriteConflict)
    }

    /// Operations that remove memories, and join the histories that they leave.
    pub(crate) async fn removals(&self, owner: &Owner, memories: Vec<Stored>) -> Result<Vec<Operation>, Error> {
        let before: HashMap<MemoryId, Option<MemoryId>> =
            memories.iter().map(|stored| (stored.memory.id, stored.memory.supersedes)).collect();
        let mut operations = self.joined(owner, &memories, &before).await?;
        let reads = memories.iter().map(|stored| self.items(owner, &stored.place.record, stored.place.sequences()));
        let items = try_join_all(reads).await?;
        for (stored, items) in memories.into_iter().zip(items) {
            // A sequence may have been given again; items of other memories stay.
            let items = items.into_iter().filter(|item| item.id == stored.memory.id).collect();
            let heir = earlier(stored.memory.supersedes, &before);
            operations.push(Operation::Remove(Box::new(Removal { stored, items, heir })));
        }
        Ok(operations)
    }

    /// Changes of the memories that stay and follow removed ones: each follows what the removed one followed.
    async fn joined(
        &self,
        owner: &Owner,
        memories: &[Stored],
        before: &HashMap<MemoryId, Option<MemoryId>>,
    ) -> Result<Vec<Operation>, Error> {
        let next = |stored: &Stored| match stored.memory.state {
            State::Superseded { by, .. } => Some(by),
            State::Current => None,
        };
        let later: Vec<MemoryId> = memories.iter().filter_map(next).filter(|id| !before.contains_key(id)).collect();
        let mut operations = Vec::new();
        for stored in self.load(&owner.tenant, &later).await?.into_iter().flatten() {
            let supersedes = earlier(stored.memory.supersedes, before);
            if supersedes != stored.memory.supersedes && stored.memory.scope.owner == *owner {
                let memory = Memory { supersedes, ..stored.memory.clone() };
                let (latest, patches, items) = (stored.latest, Vec::new(), Vec::new());
                operations.push(Operation::Change(Box::new(Change { stored, memory, patches, items, latest })));
            }
        }
        Ok(operations)
    }
}

/// First memory from `id` backwards that is not removed.
fn earlier(id: Option<MemoryId>, removed: &HashMap<MemoryId, Option<MemoryId>>) -> Option<MemoryId> {
    let mut id = id;
    for _ in 0..=removed.len() {
        match id.and_then(|id| removed.get(&id)) {
            Some(before) => id = *before,
            None => return id,
        }
    }
    None
}

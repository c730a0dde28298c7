//! Deletions of memories: by id, or all of a scope that match.

use std::collections::HashMap;

use super::memories::Memories;
use crate::domain::{ForgetRequest, Forgotten, ListRequest, MemoryId, Owner, States};
use crate::error::Error;
use crate::store::{Store, Stored};

/// Maximum number of memories that one call deletes.
const MOST: u32 = 1_000;

/// Deletions of memories. Cheap to clone.
#[derive(Clone)]
pub struct Forget {
    store: Store,
    memories: Memories,
}

// === impl Forget ===

impl Forget {
    /// Deletes from `store`.
    #[must_use]
    pub fn new(store: Store) -> Forget {
        Forget { memories: Memories::new(store.clone()), store }
    }

    /// Deletes memories with their items, postings and vectors; superseded ones too. Those that are gone already are no error. A
    /// repetition deletes what is left.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`], or an error of the store; some memories may be deleted then.
    pub async fn forget(&self, request: &ForgetRequest) -> Result<Forgotten, Error> {
        let loaded = self.store.load(&request.tenant, &request.ids).await?;
        let mut found: Vec<Stored> = loaded.into_iter().flatten().collect();
        let mut more = false;
        if let Some((scope, filter)) = &request.matching {
            let list = ListRequest { scope: scope.clone(), states: States::All, filter: filter.clone() };
            let (matching, next) = self.memories.page(&list, MOST, None).await?;
            more = next.is_some();
            found.extend(matching);
        }
        found.sort_by_key(|stored| stored.memory.id);
        found.dedup_by_key(|stored| stored.memory.id);
        let ids: Vec<MemoryId> = found.iter().map(|stored| stored.memory.id).collect();
        if request.dry_run {
            return Ok(Forgotten { ids, more });
        }
        let mut owners: HashMap<Owner, Vec<Stored>> = HashMap::new();
        for stored in found {
            owners.entry(stored.memory.scope.owner.clone()).or_default().push(stored);
        }
        let (mut forgotten, now) = (Vec::with_capacity(ids.len()), super::now());
        for (owner, memories) in owners {
            forgotten.extend(self.store.remove(&owner, memories, now).await?);
        }
        forgotten.sort_unstable();
        Ok(Forgotten { ids: forgotten, more })
    }
}

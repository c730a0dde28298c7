//! Removal of expired memories, with all that belongs to them.

use std::collections::{HashMap, HashSet};

use super::figures::Figures;
use crate::domain::{MemoryId, Owner};
use crate::error::Error;
use crate::store::{Due, Store, Stored};

/// Expired memories that are read at once.
const BATCH: u32 = 128;
/// Maximum number of batches of one visit; the next visit goes on.
const BATCHES: u32 = 32;

/// Removal of expired memories. Cheap to clone.
#[derive(Clone)]
pub struct Sweeper {
    store: Store,
    figures: Figures,
}

// === impl Sweeper ===

impl Sweeper {
    /// Sweeper of `store`.
    #[must_use]
    pub fn new(store: Store, figures: Figures) -> Sweeper {
        Sweeper { store, figures }
    }

    /// Removes the expired memories of a partition, and returns their number. Reads hide them until then.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn run(&self, due: &Due, now: i64) -> Result<usize, Error> {
        let mut swept = 0;
        for _ in 0..BATCHES {
            let ids = self.store.expired(due, now, BATCH).await?;
            if ids.is_empty() {
                break;
            }
            swept += self.remove(due, &ids, now).await?;
        }
        self.figures.expired(swept);
        Ok(swept)
    }

    async fn remove(&self, due: &Due, ids: &[MemoryId], now: i64) -> Result<usize, Error> {
        let mut owners: HashMap<Owner, Vec<Stored>> = HashMap::new();
        let mut present = HashSet::new();
        for stored in self.store.load(&due.tenant, ids).await?.into_iter().flatten() {
            present.insert(stored.memory.id);
            // One whose expiry was moved meanwhile stays: the script has moved its place in the list too.
            if stored.memory.expires <= now {
                owners.entry(stored.memory.scope.owner.clone()).or_default().push(stored);
            }
        }
        let mut swept = 0;
        for (owner, memories) in owners {
            swept += self.store.remove(&owner, memories, now).await?.len();
        }
        let gone: Vec<MemoryId> = ids.iter().copied().filter(|id| !present.contains(id)).collect();
        self.store.forget_expiries(due, &gone).await?;
        Ok(swept)
    }
}

//! Removal of shared indexes that no collection uses.

use std::collections::{BTreeMap, BTreeSet};

use keyplane_contracts::names::CollectionName;

use crate::domain::{Definition, Placement, Shape};
use crate::error::Error;
use crate::store::Store;

/// Looks for shared indexes that no collection uses. An empty index costs the engine some 60 KB, and one of the places within
/// its maximum.
pub struct Janitor {
    store: Store,
    /// Indexes that were unused in the last look.
    unused: BTreeSet<Name>,
}

/// Name and generation of an index.
type Name = (String, u32);

// === impl Janitor ===

impl Janitor {
    /// Janitor of `store`, before its first look.
    #[must_use]
    pub fn new(store: Store) -> Janitor {
        Janitor { store, unused: BTreeSet::new() }
    }

    /// Returns the shared indexes that are empty and unused, in this look and in the last one. O(collections).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn look(&mut self) -> Result<BTreeSet<Name>, Error> {
        let empty: BTreeSet<Name> = self.store.empty_shared_indexes().await?.into_iter().collect();
        let used = if empty.is_empty() { BTreeMap::new() } else { self.used().await? };
        let unused: BTreeSet<Name> = empty.into_iter().filter(|index| !used.contains_key(index)).collect();
        let spare = unused.intersection(&self.unused).cloned().collect();
        self.unused = unused.difference(&spare).cloned().collect();
        Ok(spare)
    }

    /// Drops indexes, and makes those again that a collection has taken since the look. O(collections).
    ///
    /// A collection enters its definition first, and ensures its index then: either it finds the index missing, or this finds
    /// its definition. The engine fills an index that is made anew with the documents that exist.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn remove(&self, spare: BTreeSet<Name>) -> Result<(), Error> {
        if spare.is_empty() {
            return Ok(());
        }
        for (index, generation) in &spare {
            let placement = Placement { index: index.clone(), generation: *generation, shape: Shape::default() };
            self.store.drop_index(&placement).await?;
            tracing::info!(index, generation, "an unused index was dropped");
        }
        for (index, (name, placement)) in self.used().await? {
            if spare.contains(&index) {
                self.store.ensure_index(&name, &placement, u64::MAX).await?;
            }
        }
        Ok(())
    }

    /// Indexes of all collections, each with one of them.
    async fn used(&self) -> Result<BTreeMap<Name, (CollectionName, Placement)>, Error> {
        let mut used = BTreeMap::new();
        for name in self.store.collections().await? {
            let definition = self.store.definition(&name).await?;
            for build in definition.iter().flat_map(Definition::builds) {
                let placement = build.generation.placement;
                used.insert((placement.index.clone(), placement.generation), (name.clone(), placement));
            }
        }
        Ok(used)
    }
}

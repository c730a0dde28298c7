//! Removal of shared indexes that no collection uses.

use std::collections::BTreeSet;

use super::Worker;
use crate::domain::{Build, Definition, Placement};
use crate::error::Error;

/// Memory of the janitor between its rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Janitor {
    /// Indexes that were unused in the last round: name and generation.
    unused: BTreeSet<(String, u32)>,
}

// === impl Janitor ===

impl Janitor {
    /// Drops shared indexes that were empty and unused in this round and the last one. An empty index costs the engine some
    /// 60 KB, and one of the places within its maximum.
    ///
    /// A collection that takes an index meanwhile makes it again, before documents are written or searched.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub(super) async fn round(&mut self, worker: &Worker) -> Result<(), Error> {
        worker.figures.counted(worker.store.count_indexes().await?);
        let empty: BTreeSet<(String, u32)> = worker.store.empty_shared_indexes().await?.into_iter().collect();
        if empty.is_empty() {
            self.unused.clear();
            return Ok(());
        }
        let used = used(worker).await?;
        let unused: BTreeSet<_> = empty.difference(&used).cloned().collect();
        for (index, generation) in unused.intersection(&self.unused) {
            worker.store.drop_index(&place(index, *generation)).await?;
            tracing::info!(index, generation, "an unused index was dropped");
        }
        self.unused = unused.difference(&self.unused).cloned().collect();
        Ok(())
    }
}

/// Indexes of all collections. O(collections).
async fn used(worker: &Worker) -> Result<BTreeSet<(String, u32)>, Error> {
    let mut used = BTreeSet::new();
    for name in worker.store.collections().await? {
        let Some(definition) = worker.store.definition(&name).await? else { continue };
        used.extend(places(&definition).into_iter().map(|place| (place.index.clone(), place.generation)));
    }
    Ok(used)
}

fn places(definition: &Definition) -> Vec<&Placement> {
    let builds: [Option<&Build>; 3] = [Some(&definition.live), definition.second(), definition.retired.as_ref()];
    builds.into_iter().flatten().map(|build| &build.generation.placement).collect()
}

fn place(index: &str, generation: u32) -> Placement {
    Placement { index: index.to_owned(), generation, shape: crate::domain::Shape::default() }
}

//! Removal of retired generations and deleted collections, in small steps.

use super::Rebuilds;
use crate::app::turn::{Interrupt, Turn};
use crate::domain::spread::PARTITIONS;
use crate::domain::{Build, Definition};
use crate::store::generations::Walk;

/// Maximum of documents of one removing script.
const BATCH: usize = 16;

// === impl Rebuilds ===

impl Rebuilds {
    /// Removes the retired generation, and forgets it.
    pub(super) async fn drop_retired(&self, definition: Definition, turn: &mut Turn) -> Result<(), Interrupt> {
        let Some(retired) = definition.retired.clone() else { return Ok(()) };
        self.store.fence(&definition, false).await?;
        self.drop_generation(&definition, &retired, turn).await?;
        self.replace(definition, |definition, _| Definition { retired: None, ..definition }).await?;
        Ok(())
    }

    /// Removes all generations of a deleted collection, its partitions, and last its definition: the name is free then.
    pub(super) async fn remove(&self, definition: &Definition, turn: &mut Turn) -> Result<(), Interrupt> {
        self.store.fence(definition, true).await?;
        let builds = [Some(&definition.live), definition.second(), definition.retired.as_ref()];
        for build in builds.into_iter().flatten() {
            self.drop_generation(definition, build, turn).await?;
        }
        self.store.forget_partitions(definition).await?;
        self.undefine(definition).await?;
        Ok(())
    }

    /// Removes the documents, counters and lexicon of a generation; its index too, if no other collection can use it.
    async fn drop_generation(&self, definition: &Definition, build: &Build, turn: &mut Turn) -> Result<(), Interrupt> {
        let (name, number) = (&definition.name, build.generation.number);
        let placement = &build.generation.placement;
        self.store.ensure_index(name, placement, u64::MAX).await?;
        for partition in 0..PARTITIONS {
            let size = self.store.partition_size(name, number, partition).await?;
            let mut walk = Walk::new(partition, size.documents, None);
            while let Some(page) = walk.step(&self.store, name, build).await? {
                let ids: Vec<_> = page.into_iter().map(|found| found.document.id).collect();
                for batch in ids.chunks(BATCH) {
                    self.store.drop_documents(definition, build, partition, batch).await?;
                }
                turn.check().await?;
            }
        }
        self.store.forget_generation(definition, number).await?;
        if !placement.is_shared() {
            self.store.drop_index(placement).await?;
        }
        Ok(())
    }
}

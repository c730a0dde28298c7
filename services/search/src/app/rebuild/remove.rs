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
        for build in definition.builds() {
            self.drop_generation(definition, &build, turn).await?;
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
            // A document that was read while its last writer waited for the index may have been missed.
            while self.drop_documents(definition, build, Walk::new(partition, size, None), turn).await? > 0 {}
        }
        self.store.forget_generation(definition, number).await?;
        if !placement.is_shared() {
            self.store.drop_index(placement).await?;
        }
        Ok(())
    }

    /// Removes the documents that a walk finds, whatever they hold; returns their number.
    async fn drop_documents(
        &self,
        definition: &Definition,
        build: &Build,
        mut walk: Walk,
        turn: &mut Turn,
    ) -> Result<u64, Interrupt> {
        let mut dropped = 0;
        while let Some(ids) = walk.ids(&self.store, &definition.name, &build.generation.placement).await? {
            for batch in ids.chunks(BATCH) {
                dropped += self.store.drop_documents(definition, build, walk.partition(), batch).await?;
            }
            turn.check().await?;
        }
        Ok(dropped)
    }
}

//! Changes of a schema, and the return to the generation before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyplane_contracts::names::CollectionName;

use super::Collections;
use crate::domain::{Build, Change, Collection, Definition, Job, JobCause, JobState, Layout, SchemaPatch};
use crate::error::Error;

// === impl Collections ===

impl Collections {
    /// Changes a schema: synonyms, stop words, ranking, weights, facets and orders by a number apply on return; everything
    /// else applies when the rebuild that it starts is done.
    ///
    /// # Errors
    ///
    /// Missing collection, another etag, a rebuild that runs, the maximum of indexes, or an error of the store.
    pub async fn update(
        &self,
        name: &CollectionName,
        patch: SchemaPatch,
        etag: Option<String>,
    ) -> Result<Collection, Error> {
        let edit = async |definition: Definition, now| {
            let schema = patch.apply(&definition.live.schema);
            let change = Change::between(&definition.live.schema, &schema);
            if change != Change::None && definition.is_rebuilding() {
                return Err(Error::RebuildRunning { collection: name.collection.clone() });
            }
            Ok(match change {
                Change::None => None,
                Change::AtOnce => {
                    let live = Build { schema, ..definition.live };
                    Some(Definition { live, updated: now, ..definition })
                }
                Change::Rebuild => {
                    let shape = Layout::new(&schema).shape;
                    let place = definition.place(JobCause::Schema, shape, u32::MAX);
                    self.store.check_index_room(&place, self.limits.indexes).await?;
                    let rebuild = Some(Job::new(JobCause::Schema, schema, now));
                    Some(Definition { rebuild, updated: now, ..definition })
                }
            })
        };
        let definition = self.change(name, etag.as_deref(), edit).await?;
        if definition.is_rebuilding() {
            self.store.schedule(name, Duration::ZERO).await?;
        }
        self.describe(&definition).await
    }

    /// Cancels a rebuild that runs; else returns to the generation before the last switch, which every write has kept up to
    /// date.
    ///
    /// # Errors
    ///
    /// Missing collection, another etag, no generation to return to, or an error of the store.
    pub async fn rollback(&self, name: &CollectionName, etag: Option<String>) -> Result<Collection, Error> {
        let impossible = || Error::RollbackImpossible { collection: name.collection.clone() };
        let left = AtomicU64::new(0);
        let edit = async |definition: Definition, now| {
            if definition.is_rebuilding() {
                return Ok(Some(definition.cancelled(JobState::RolledBack, String::new(), now)));
            }
            if definition.previous(now / 1_000).is_none()
                || self.store.misfit(&definition.name, definition.epoch).await?.is_some()
            {
                return Err(impossible());
            }
            left.store(definition.epoch, Ordering::Relaxed);
            let swapped = definition.swapped(now, self.limits.rollback_age).ok_or_else(impossible)?;
            Ok(Some(swapped.concluded(JobState::RolledBack, now)))
        };
        let definition = self.change(name, etag.as_deref(), edit).await?;
        self.store.fence(&definition, false).await?;
        self.store.schedule(name, Duration::ZERO).await?;
        let left = left.into_inner();
        if left > 0 && self.store.misfit(name, left).await?.is_some() {
            self.undo(&definition).await?;
            return Err(impossible());
        }
        self.describe(&definition).await
    }

    /// Takes a rollback back: a write that came between fits the later schema alone, and must not be lost.
    async fn undo(&self, rolled_back: &Definition) -> Result<(), Error> {
        let edit = async |definition: Definition, now| {
            let unchanged = definition.epoch == rolled_back.epoch;
            let swapped = definition.swapped(now, self.limits.rollback_age).filter(|_| unchanged);
            Ok(swapped.map(|swapped| swapped.concluded(JobState::Done, now)))
        };
        let definition = self.change(&rolled_back.name, None, edit).await?;
        self.store.fence(&definition, false).await.map(|_| ())
    }
}

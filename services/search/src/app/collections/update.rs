//! Changes of a schema, and the return to the generation before.

use std::time::Duration;

use keyplane_contracts::names::CollectionName;

use super::Collections;
use crate::domain::validate;
use crate::domain::{
    Build, Change, Collection, CollectionState, Definition, Job, JobCause, JobState, Layout, SchemaPatch,
};
use crate::error::Error;

/// Change of a definition.
pub(super) enum Edit {
    /// Parts of the schema.
    Schema(SchemaPatch),
    /// End of a rebuild, or return to the generation before.
    Rollback,
    /// Return to the generation that a rollback to this epoch left.
    Undo(u64),
    /// Begin of the collection's deletion.
    Delete,
}

/// Definition before and after a change.
pub(super) struct Changed {
    /// Definition that the change is based on.
    pub(super) before: Definition,
    /// Definition in force.
    pub(super) after: Definition,
}

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
        let definition = self.change(name, etag.as_deref(), &Edit::Schema(patch)).await?.after;
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
        let Changed { before, after: definition } = self.change(name, etag.as_deref(), &Edit::Rollback).await?;
        self.store.fence(&definition, false).await?;
        self.store.schedule(name, Duration::ZERO).await?;
        if !before.is_rebuilding() && self.store.misfit(name, before.epoch).await?.is_some() {
            self.undo(&definition).await?;
            return Err(impossible(name));
        }
        self.describe(&definition).await
    }

    /// Takes a rollback back: a write that came between fits the later schema alone, and must not be lost.
    async fn undo(&self, rolled_back: &Definition) -> Result<(), Error> {
        let definition = self.change(&rolled_back.name, None, &Edit::Undo(rolled_back.epoch)).await?.after;
        self.store.fence(&definition, false).await.map(|_| ())
    }
    /// Changed definition; `None` if nothing changes. `now` is the store's time, in microseconds since 1970.
    pub(super) async fn edit(
        &self,
        edit: &Edit,
        definition: Definition,
        now: i64,
    ) -> Result<Option<Definition>, Error> {
        match edit {
            Edit::Schema(patch) => self.with_schema(patch, definition, now).await,
            Edit::Rollback => self.rolled_back(definition, now).await.map(Some),
            Edit::Undo(epoch) => {
                let unchanged = definition.epoch == *epoch;
                let swapped = definition.swapped(now, self.limits.rollback_age).filter(|_| unchanged);
                Ok(swapped.map(|swapped| swapped.concluded(JobState::Done, now)))
            }
            Edit::Delete => {
                let epoch = definition.revision;
                Ok(Some(Definition { epoch, state: CollectionState::Deleting, updated: now, ..definition }))
            }
        }
    }

    async fn with_schema(
        &self,
        patch: &SchemaPatch,
        definition: Definition,
        now: i64,
    ) -> Result<Option<Definition>, Error> {
        let schema = patch.apply(&definition.live.schema);
        validate::schema(&schema).map_err(Error::Invalid)?;
        let change = Change::between(&definition.live.schema, &schema);
        if change != Change::None && definition.is_rebuilding() {
            return Err(Error::RebuildRunning { collection: definition.name.collection.clone() });
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
    }

    async fn rolled_back(&self, definition: Definition, now: i64) -> Result<Definition, Error> {
        if definition.is_rebuilding() {
            return Ok(definition.cancelled(JobState::RolledBack, String::new(), now));
        }
        let name = definition.name.clone();
        let impossible = || impossible(&name);
        if definition.previous(now / 1_000).is_none() || self.store.misfit(&name, definition.epoch).await?.is_some() {
            return Err(impossible());
        }
        let swapped = definition.swapped(now, self.limits.rollback_age).ok_or_else(impossible)?;
        Ok(swapped.concluded(JobState::RolledBack, now))
    }
}

fn impossible(name: &CollectionName) -> Error {
    Error::RollbackImpossible { collection: name.collection.clone() }
}

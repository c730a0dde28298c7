//! Changes of a schema, and the return to the generation before.

use std::time::Duration;

use keyplane_contracts::names::CollectionName;

use super::Collections;
use super::swap::{Swapped, swap};
use crate::domain::validate;
use crate::domain::{
    Build, Change, Collection, CollectionState, Definition, Job, JobCause, JobState, Layout, SchemaPatch,
};
use crate::error::Error;

/// Time after which the maintenance concludes a rollback whose caller's instance has died.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// Change of a definition.
pub(super) enum Edit {
    /// Parts of the schema.
    Schema(SchemaPatch),
    /// End of a rebuild, or return to the generation before.
    Rollback,
    /// Begin of the collection's deletion.
    Delete,
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
        let definition = self.change(name, etag.as_deref(), &Edit::Schema(patch)).await?;
        if definition.is_rebuilding() {
            self.store.schedule(name, Duration::ZERO).await?;
        }
        self.describe(&definition).await
    }

    /// Cancels a rebuild that runs; else returns to the generation before the last switch, which every write has kept up to
    /// date.
    ///
    /// Cancel safe: once begun, a rollback is concluded by the maintenance.
    ///
    /// # Errors
    ///
    /// Missing collection, another etag, no generation to return to, a document that the earlier schema has no place for, or
    /// an error of the store.
    pub async fn rollback(&self, name: &CollectionName, etag: Option<String>) -> Result<Collection, Error> {
        let definition = self.change(name, etag.as_deref(), &Edit::Rollback).await?;
        let definition = if definition.is_swapping() {
            self.store.schedule(name, TAKE_OVER).await?;
            self.swap(definition).await?
        } else {
            self.store.fence(&definition, false).await?;
            definition
        };
        self.store.schedule(name, Duration::ZERO).await?;
        self.describe(&definition).await
    }

    /// Concludes a rollback. Returns the definition in force.
    async fn swap(&self, definition: Definition) -> Result<Definition, Error> {
        let (name, returns_to) = (definition.name.clone(), definition.second().map(|build| build.generation.number));
        match swap(&self.store, &self.definitions, definition, self.limits.rollback_age).await {
            Ok(Swapped { definition, rejected: None }) => Ok(definition),
            Ok(Swapped { rejected: Some(reason), .. }) => {
                Err(Error::RollbackMisfit { collection: name.collection, reason })
            }
            Err(Error::WriteConflict) => {
                // The maintenance may have concluded it.
                let current = self.current(&name).await?;
                let returned = Some(current.live.generation.number) == returns_to;
                if returned { Ok(current) } else { Err(Error::WriteConflict) }
            }
            Err(error) => Err(error),
        }
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
            Edit::Rollback => rolled_back(definition, now).map(Some),
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
}

/// Definition without the rebuild that runs, or one that announces the return to the generation before.
fn rolled_back(definition: Definition, now: i64) -> Result<Definition, Error> {
    let returning = definition.rebuild.as_ref().is_some_and(|job| job.state == JobState::Returning);
    if definition.is_rebuilding() && !returning {
        return Ok(definition.cancelled(JobState::RolledBack, String::new(), now));
    }
    if definition.previous(now / 1_000).is_none() {
        return Err(Error::RollbackImpossible { collection: definition.name.collection });
    }
    Ok(definition.swapping(JobState::Returning))
}

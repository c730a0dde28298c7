//! Collections as callers see them.

use keyplane_contracts::names::{CollectionId, CollectionName, TenantId};

use super::Collections;
use crate::domain::{Collection, CollectionState, Definition, Job, JobState, Rebuild, RebuildState, Second};
use crate::error::Error;

// === impl Collections ===

impl Collections {
    /// Reads a collection, with its size and the progress of its rebuild.
    ///
    /// # Errors
    ///
    /// Missing collection, or an error of the store.
    pub async fn get(&self, name: &CollectionName) -> Result<Collection, Error> {
        let definition = self.current(name).await?;
        self.describe(&definition).await
    }

    /// Lists at most `size` collections of a tenant that follow `after`, by id; and the last one, if more follow.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn list(
        &self,
        tenant: &TenantId,
        size: u32,
        after: Option<&CollectionId>,
    ) -> Result<(Vec<Collection>, Option<CollectionId>), Error> {
        let definitions = self.store.definitions(tenant).await?;
        let follows = |definition: &&Definition| {
            let id = definition.name.collection.as_str();
            definition.state == CollectionState::Active && after.is_none_or(|after| id > after.as_str())
        };
        let mut rest = definitions.iter().filter(follows);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let page: Vec<&Definition> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        let next = page.last().filter(|_| more).map(|definition| definition.name.collection.clone());
        let collections = futures::future::try_join_all(page.into_iter().map(|definition| self.describe(definition)));
        Ok((collections.await?, next))
    }

    pub(super) async fn describe(&self, definition: &Definition) -> Result<Collection, Error> {
        let size = self.store.size(&definition.name, definition.live.generation.number).await?;
        Ok(Collection {
            name: definition.name.clone(),
            schema: definition.live.schema.clone(),
            etag: definition.revision.to_string(),
            generation: definition.live.generation.number,
            documents: size.documents,
            bytes: size.bytes,
            created: definition.created,
            updated: definition.updated,
            rebuild: self.progress(definition, size.documents).await?,
            rollback_until: match &definition.second {
                Some(Second::Previous { until, .. }) => Some(*until),
                Some(Second::Next(_)) | None => None,
            },
        })
    }

    /// Last rebuild; one that runs has its progress in the checkpoint.
    async fn progress(&self, definition: &Definition, documents: u64) -> Result<Option<Rebuild>, Error> {
        let Some(job) = &definition.rebuild else { return Ok(None) };
        let mut rebuild = rebuild(job, definition);
        if let (JobState::Copying | JobState::Switching, Some(second)) = (job.state, definition.second()) {
            let checkpoint = self.store.checkpoint(&definition.name).await?;
            if checkpoint.is_for(second.generation.number) {
                rebuild.copied = checkpoint.number("copied").unwrap_or(0);
            }
            rebuild.total = documents.max(rebuild.copied);
        }
        Ok(Some(rebuild))
    }
}

fn rebuild(job: &Job, definition: &Definition) -> Rebuild {
    let state = match job.state {
        JobState::Pending | JobState::Copying | JobState::Switching => RebuildState::Running,
        JobState::Done | JobState::Returning => RebuildState::Succeeded,
        JobState::Failed => RebuildState::Failed,
        JobState::RolledBack => RebuildState::RolledBack,
    };
    let next = match (&definition.second, job.state) {
        (Some(Second::Next(build)), _) => build.generation.number,
        (Some(Second::Previous { build, .. }), JobState::RolledBack) => build.generation.number,
        (Some(Second::Previous { .. }) | None, _) => definition.live.generation.number,
    };
    Rebuild {
        state,
        generation: next,
        copied: job.copied,
        total: job.total,
        started: job.started,
        ended: (job.finished > 0).then_some(job.finished),
        error: job.error.clone(),
    }
}

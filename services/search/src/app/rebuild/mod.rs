//! Rebuild of a collection into a new generation: plan, begin, fill, swap, retire, drop.

mod fill;
mod remove;

use std::time::Duration;

use super::collections::{Definitions, swap};
use super::figures::Figures;
use super::reconciler::Reconciler;
use super::turn::{Interrupt, Turn};
use crate::domain::step::Step;
use crate::domain::{CollectionState, Definition, Generation, JobState, Layout};
use crate::error::Error;
use crate::store::Store;
use crate::store::definitions::{Defined, Reserved};

/// Settings of rebuilds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum of indexes of the store.
    pub indexes: u64,
    /// Time after a switch in which a rollback is possible.
    pub rollback_age: Duration,
    /// Maximum of documents that a rebuild copies in a second; 0 for no maximum.
    pub pace: u32,
}

/// Rebuilds of collections. Cheap to clone.
#[derive(Clone)]
pub struct Rebuilds {
    store: Store,
    definitions: Definitions,
    reconciler: Reconciler,
    figures: Figures,
    settings: Settings,
}

// === impl Rebuilds ===

impl Rebuilds {
    /// Rebuilds in `store`.
    #[must_use]
    pub fn new(
        store: Store,
        definitions: Definitions,
        reconciler: Reconciler,
        figures: Figures,
        settings: Settings,
    ) -> Rebuilds {
        Rebuilds { store, definitions, reconciler, figures, settings }
    }

    /// Takes a step. Cancel safe: the next turn resumes from the checkpoint, or repeats the step, which is idempotent.
    ///
    /// # Errors
    ///
    /// End of the turn; [`Error::WriteConflict`] if the definition is outdated.
    pub async fn take(&self, step: Step, definition: Definition, turn: &mut Turn) -> Result<(), Interrupt> {
        turn.check().await?;
        match step {
            Step::Abandon => {
                let close = |definition: Definition, _| {
                    let epoch = definition.revision;
                    Definition { epoch, state: CollectionState::Deleting, ..definition }
                };
                Ok(self.replace(definition, close).await.map(|_| ())?)
            }
            Step::Remove => self.remove(&definition, turn).await,
            Step::Drop => self.drop_retired(definition, turn).await,
            Step::Retire => {
                Ok(self.replace(definition, |definition, now| definition.retiring(now)).await.map(|_| ())?)
            }
            Step::Plan => self.plan(definition).await,
            Step::Begin => self.begin(definition).await,
            Step::Fill => self.fill(definition, turn).await,
            Step::Swap => self.swap(definition).await,
        }
    }

    /// Concludes a rebuild, or a rollback whose caller's instance has died.
    async fn swap(&self, definition: Definition) -> Result<(), Interrupt> {
        let name = definition.name.clone();
        let is_rebuild = definition.rebuild.as_ref().is_some_and(|job| job.state == JobState::Switching);
        if let Some(second) = definition.second() {
            self.store.ensure_index(&name, &second.generation.placement, self.settings.indexes).await?;
        }
        let swapped = swap(&self.store, &self.definitions, definition, self.settings.rollback_age).await?;
        if is_rebuild {
            self.figures.rebuilt(swapped.rejected.is_none());
        }
        match swapped.rejected {
            None => tracing::info!(collection = %name, "a collection's generations were swapped"),
            Some(reason) => tracing::warn!(collection = %name, reason, "a collection's generations were not swapped"),
        }
        Ok(())
    }

    /// Chooses the generation of a pending rebuild, before anything of it exists.
    async fn plan(&self, definition: Definition) -> Result<(), Interrupt> {
        let Some(job) = &definition.rebuild else { return Ok(()) };
        let reserved = self.store.reserve(&definition.name.tenant).await?;
        let number = u32::try_from(reserved.number).map_err(|_| Error::Corrupt("a tenant's sequence is too large"))?;
        let placement = definition.place(job.cause, Layout::new(&job.schema).shape, number);
        match self.store.check_index_room(&placement, self.settings.indexes).await {
            Err(error @ Error::TooManyIndexes { .. }) => return self.give_up(definition, &error.to_string()).await,
            other => other?,
        }
        self.replace(definition, |definition, _| definition.planning(Generation { number, placement })).await?;
        Ok(())
    }

    /// Begins a planned rebuild: from then on, writes change the new generation too.
    async fn begin(&self, definition: Definition) -> Result<(), Interrupt> {
        let Some(next) = definition.planned() else { return Ok(()) };
        match self.store.ensure_index(&definition.name, &next.generation.placement, self.settings.indexes).await {
            Err(error @ Error::TooManyIndexes { .. }) => return self.give_up(definition, &error.to_string()).await,
            other => other?,
        }
        self.store.open_generation(&definition, &next).await?;
        self.replace(definition, |definition, _| definition.begun()).await?;
        Ok(())
    }

    /// Ends a rebuild without a switch.
    async fn give_up(&self, definition: Definition, reason: &str) -> Result<(), Interrupt> {
        tracing::warn!(collection = %definition.name, reason, "a rebuild was given up; the collection is as before");
        let cancel = |definition: Definition, now| definition.cancelled(JobState::Failed, reason.to_owned(), now);
        let cancelled = self.replace(definition, cancel).await?;
        self.figures.rebuilt(false);
        self.store.fence(&cancelled, false).await?;
        Ok(())
    }

    /// Replaces a definition that has not changed since it was read.
    async fn replace(
        &self,
        definition: Definition,
        edit: impl FnOnce(Definition, i64) -> Definition,
    ) -> Result<Definition, Error> {
        let Reserved { number, now } = self.store.reserve(&definition.name.tenant).await?;
        let before = definition.revision;
        let after = edit(Definition { revision: number, ..definition }, now);
        match self.store.redefine(before, &after).await? {
            Defined::Done => {
                self.definitions.forget(&after.name);
                Ok(after)
            }
            Defined::Exists | Defined::Missing | Defined::Changed { .. } | Defined::Full => Err(Error::WriteConflict),
        }
    }

    async fn undefine(&self, definition: &Definition) -> Result<(), Error> {
        match self.store.undefine(definition).await? {
            Defined::Done | Defined::Missing => {
                self.definitions.forget(&definition.name);
                Ok(())
            }
            Defined::Exists | Defined::Changed { .. } | Defined::Full => Err(Error::WriteConflict),
        }
    }
}

//! Use cases whose texts are embedded first: memories to write, questions.

use futures::FutureExt as _;
use keyplane_contracts::names::{Id, TenantId};

use super::embed::Embed;
use super::recall::{Asked, Recall};
use super::remember::Remember;
use super::sessions::{Sessions, Summarized};
use super::update::Update;
use crate::domain::{Memory, MemoryId, MemoryPatch, NewMemory, RecallRequest, Recalled, Remembered, Scope, SpaceId};
use crate::error::Error;

/// Use cases whose texts are embedded first. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    embed: Embed,
    remember: Remember,
    update: Update,
    recall: Recall,
    sessions: Sessions,
}

// === impl Embedded ===

impl Embedded {
    /// Embeds with `embed` what `remember` writes and `recall` finds.
    #[must_use]
    pub fn new(embed: Embed, remember: Remember, recall: Recall) -> Embedded {
        let (update, sessions) = (Update::new(remember.clone()), Sessions::new(remember.clone()));
        Embedded { embed, remember, update, recall, sessions }
    }

    /// Writes memories of one scope, in their order; each has a result of its own.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSpace`], [`Error::EmbedderUnavailable`], or an error of the store before the first write.
    pub async fn remember(
        &self,
        scope: &Scope,
        space: Option<&SpaceId>,
        memories: Vec<NewMemory>,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        let drafts = self.embed.prepare(scope, space, memories).await?;
        self.remember.write(scope, drafts).await
    }

    /// Changes a memory; with another text it returns the memory that supersedes it.
    ///
    /// # Errors
    ///
    /// As [`Update::update`].
    pub async fn update(&self, tenant: &TenantId, id: MemoryId, patch: MemoryPatch) -> Result<Memory, Error> {
        let embed = &self.embed;
        let prepare = |scope: Scope, space: Option<SpaceId>, memory: NewMemory| {
            let embed = embed.clone();
            let prepared = async move {
                let drafts = embed.prepare(&scope, space.as_ref(), vec![memory]).await?;
                drafts.into_iter().next().unwrap_or(Err(Error::WriteConflict))
            };
            prepared.boxed()
        };
        self.update.update(tenant, id, patch, prepare).await
    }

    /// Appends events to the session of a scope, in their order; each has a result of its own.
    ///
    /// # Errors
    ///
    /// As [`Embedded::remember`].
    pub async fn append(
        &self,
        scope: &Scope,
        space: Option<&SpaceId>,
        events: Vec<(Id, NewMemory)>,
    ) -> Result<Vec<Result<Remembered, Error>>, Error> {
        let (ids, memories): (Vec<Id>, Vec<NewMemory>) = events.into_iter().unzip();
        let drafts = self.embed.prepare(scope, space, memories).await?;
        let events = ids.into_iter().zip(drafts).map(|(id, draft)| draft.map(|draft| (id, draft)));
        self.sessions.append(scope, events.collect()).await
    }

    /// Replaces the events of a session up to one by the caller's summary.
    ///
    /// # Errors
    ///
    /// As [`Sessions::summarize`], [`Error::UnknownSpace`], or [`Error::EmbedderUnavailable`].
    pub async fn summarize(
        &self,
        scope: &Scope,
        space: Option<&SpaceId>,
        up_to: &Id,
        summary: NewMemory,
    ) -> Result<Summarized, Error> {
        let drafts = self.embed.prepare(scope, space, vec![summary]).await?;
        let draft = drafts.into_iter().next().unwrap_or(Err(Error::WriteConflict))?;
        self.sessions.summarize(scope, up_to, draft).await
    }

    /// Recalls the memories that answer a question.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSpace`], [`Error::VectorRequired`], [`Error::EmbedderUnavailable`], [`Error::Invalid`] for a vector of
    /// another dimension, or an error of the store.
    pub async fn recall(&self, request: &RecallRequest) -> Result<Recalled, Error> {
        let asked = self.asked(request).await?;
        self.recall.recall(request, &asked).await
    }

    async fn asked(&self, request: &RecallRequest) -> Result<Asked, Error> {
        if request.space.is_none() && request.vector.is_none() && self.embed.spaces().next().is_none() {
            return Ok(Asked::in_words());
        }
        let space = self.embed.space(request.space.as_ref())?;
        match &request.vector {
            Some(vector) => Asked::with_vector(space.clone(), vector),
            None => {
                let embedding = self.embed.query(&request.scope.owner, &space.id, &request.query).await?;
                Ok(Asked::embedded(space.clone(), embedding))
            }
        }
    }
}

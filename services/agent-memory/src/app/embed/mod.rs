//! Embedding of texts: looked up in the user's cache first, the rest embedded in one batch, and cached.

mod prepare;

use std::sync::Arc;
use std::time::Duration;

use keyplane_telemetry::LogLimit;
use tokio::time::timeout;

use crate::domain::{Embedding, Owner, Space, SpaceId, TokenCounter};
use crate::error::Error;
use crate::peers::embed::{EmbedError, Embedder, Purpose};
use crate::store::{Embeddings, TextHash};

/// Longest wait for the cache: embedding a text takes some ten times as long, so a slow cache is not worth more.
const PATIENCE: Duration = Duration::from_millis(50);
/// Interval of log lines about the cache, and about the embedder.
const REMIND: Duration = Duration::from_secs(60);

/// Embeds texts. Cheap to clone.
#[derive(Clone)]
pub struct Embed {
    embedder: Arc<Embedder>,
    cache: Option<Embeddings>,
    counter: TokenCounter,
}

// === impl Embed ===

impl Embed {
    /// Embeds with `embedder`, caches in `cache` if there is one, and counts tokens with `counter`.
    #[must_use]
    pub fn new(embedder: Arc<Embedder>, cache: Option<Embeddings>, counter: TokenCounter) -> Embed {
        Embed { embedder, cache, counter }
    }

    /// Declared spaces; the first one is the default.
    pub fn spaces(&self) -> impl Iterator<Item = &Space> {
        self.embedder.spaces()
    }

    /// Returns whether the service embeds texts of the space.
    #[must_use]
    pub fn embeds(&self, space: &SpaceId) -> bool {
        self.embedder.embeds(space)
    }

    /// Counter of tokens.
    #[must_use]
    pub fn counter(&self) -> TokenCounter {
        self.counter
    }

    /// Space that a call names, or the default.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSpace`].
    pub fn space(&self, space: Option<&SpaceId>) -> Result<&Space, Error> {
        match space {
            Some(space) => self.embedder.space(space).map_err(|error| failed(error, space)),
            None => self.embedder.default_space().ok_or_else(|| Error::UnknownSpace { space: "default".to_owned() }),
        }
    }

    /// Embedding of a query of `owner`.
    ///
    /// # Errors
    ///
    /// As [`Embed::texts`].
    pub async fn query(&self, owner: &Owner, space: &SpaceId, text: &str) -> Result<Embedding, Error> {
        let embeddings = self.texts(owner, space, Purpose::Query, &[text.to_owned()]).await?;
        embeddings.into_iter().next().ok_or_else(|| Error::EmbedderUnavailable { space: space.clone() })
    }

    /// Embeddings of texts of `owner`, in their order. A cache that fails or is slow costs at most 50 ms, and is logged.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSpace`], [`Error::VectorRequired`] or [`Error::EmbedderUnavailable`]; no embedding is returned then.
    pub async fn texts(
        &self,
        owner: &Owner,
        space: &SpaceId,
        purpose: Purpose,
        texts: &[String],
    ) -> Result<Vec<Embedding>, Error> {
        let space = self.space(Some(space))?;
        if !self.embeds(&space.id) {
            return Err(Error::VectorRequired { space: space.id.clone() });
        }
        let prefix = match purpose {
            Purpose::Query => &space.query_prefix,
            Purpose::Passage => &space.passage_prefix,
        };
        let hashes: Vec<TextHash> = texts.iter().map(|text| TextHash::new(space, prefix, text)).collect();
        let mut found = self.cached(owner, space, &hashes).await;
        found.resize(texts.len(), None);
        let missing: Vec<usize> = (0..texts.len()).filter(|at| found[*at].is_none()).collect();
        if !missing.is_empty() {
            let uncached: Vec<String> = missing.iter().map(|at| texts[*at].clone()).collect();
            let embedded = self.embedder.embed(&space.id, purpose, &uncached).await;
            let embedded = embedded.map_err(|error| failed(error, &space.id))?;
            self.keep(owner, missing.iter().map(|at| hashes[*at].clone()).zip(&embedded).collect()).await;
            for (at, embedding) in missing.into_iter().zip(embedded) {
                found[at] = Some(embedding);
            }
        }
        let complete: Option<Vec<Embedding>> = found.into_iter().collect();
        complete.ok_or_else(|| Error::EmbedderUnavailable { space: space.id.clone() })
    }

    /// Cached embeddings; none at all if the cache does not answer.
    async fn cached(&self, owner: &Owner, space: &Space, hashes: &[TextHash]) -> Vec<Option<Embedding>> {
        let Some(cache) = &self.cache else { return Vec::new() };
        match timeout(PATIENCE, cache.get(owner, space, hashes)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => skip_cache(&error),
            Err(late) => skip_cache(&late),
        }
    }

    async fn keep(&self, owner: &Owner, entries: Vec<(TextHash, &Embedding)>) {
        let Some(cache) = &self.cache else { return };
        match timeout(PATIENCE, cache.put(owner, &entries)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => skip_cache(&error),
            Err(late) => skip_cache(&late),
        }
    }
}

/// Goes on without the cache.
fn skip_cache<T: Default>(error: &dyn std::fmt::Display) -> T {
    static LIMIT: LogLimit = LogLimit::new(1, REMIND);
    if let Some(left_out) = LIMIT.admit() {
        tracing::warn!(%error, left_out, "the embedding cache is skipped");
    }
    T::default()
}

/// Error for callers; the log has the embedder's own.
fn failed(error: EmbedError, space: &SpaceId) -> Error {
    static LIMIT: LogLimit = LogLimit::new(1, REMIND);
    match error {
        EmbedError::UnknownSpace(space) => Error::UnknownSpace { space: space.as_str().to_owned() },
        EmbedError::CallersOnly(space) => Error::VectorRequired { space },
        EmbedError::Busy { .. } | EmbedError::Deadline(_) | EmbedError::Unavailable(_) | EmbedError::Failed(_) => {
            if let Some(left_out) = LIMIT.admit() {
                tracing::warn!(space = space.as_str(), %error, left_out, "texts could not be embedded");
            }
            Error::EmbedderUnavailable { space: space.clone() }
        }
    }
}

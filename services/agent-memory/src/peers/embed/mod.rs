//! Embedders: texts to vectors, by a model on this machine or by an endpoint. Vectors of callers need none.

mod error;
mod http;
mod local;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::{Embedding, Space, SpaceId};

pub use error::{EmbedError, OpenError};
pub use http::Endpoint;
use http::Http;
use local::Local;

/// Role of a text; some models want another prefix for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Text that is searched for. Queries go before passages in the queue.
    Query,
    /// Text that is stored and found.
    Passage,
}

/// Declared space, and the origin of its vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// Space.
    pub space: Space,
    /// Origin.
    pub source: Source,
}

/// Origin of a space's vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Callers send them.
    Callers,
    /// Model on this machine.
    Local {
        /// Folder with `config.json`, `tokenizer.json` and `model.safetensors`.
        folder: PathBuf,
    },
    /// Endpoint.
    Http(Endpoint),
}

/// Embedder of all declared spaces.
#[derive(Debug)]
pub struct Embedder {
    /// Spaces in the order of their declaration.
    spaces: Vec<(Space, BackEnd)>,
    limit: Duration,
}

#[derive(Debug)]
enum BackEnd {
    Callers,
    Local(Local),
    Http(Box<Http>),
}

// === impl Embedder ===

impl Embedder {
    /// Opens the embedder of each declaration. Each local model runs on `threads` threads of its own; a call waits at most
    /// `limit`. Blocks for some 200 ms a local model.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if a model or an endpoint is not usable. Endpoints are not called.
    pub fn open(declarations: &[Declaration], threads: usize, limit: Duration) -> Result<Embedder, OpenError> {
        let open = |declaration: &Declaration| {
            let space = declaration.space.clone();
            let back_end = match &declaration.source {
                Source::Callers => BackEnd::Callers,
                Source::Local { folder } => BackEnd::Local(Local::open(&space, folder, threads)?),
                Source::Http(endpoint) => BackEnd::Http(Box::new(Http::open(&space, endpoint)?)),
            };
            Ok((space, back_end))
        };
        Ok(Embedder { spaces: declarations.iter().map(open).collect::<Result<_, OpenError>>()?, limit })
    }

    /// Opens the built-in space with the model in `folder`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the model is not usable.
    pub fn local(folder: &Path, threads: usize, limit: Duration) -> Result<Embedder, OpenError> {
        let source = Source::Local { folder: folder.to_owned() };
        Embedder::open(&[Declaration { space: Space::minilm(), source }], threads, limit)
    }

    /// Space for calls that name none: the first declared; none if none is declared.
    #[must_use]
    pub fn default_space(&self) -> Option<&Space> {
        self.spaces().next()
    }

    /// Declaration of a space.
    ///
    /// # Errors
    ///
    /// [`EmbedError::UnknownSpace`].
    pub fn space(&self, id: &SpaceId) -> Result<&Space, EmbedError> {
        self.find(id).map(|(space, _)| space)
    }

    /// Declared spaces, in order of their declaration.
    pub fn spaces(&self) -> impl Iterator<Item = &Space> {
        self.spaces.iter().map(|(space, _)| space)
    }

    /// Returns whether the service itself embeds texts of the space.
    #[must_use]
    pub fn embeds(&self, id: &SpaceId) -> bool {
        self.find(id).is_ok_and(|(_, back_end)| !matches!(back_end, BackEnd::Callers))
    }

    /// Returns whether embeddings of the space come with a sketch.
    #[must_use]
    pub fn sketches(&self, id: &SpaceId) -> bool {
        self.find(id).is_ok_and(|(_, back_end)| matches!(back_end, BackEnd::Local(local) if local.sketches()))
    }

    /// Embeddings of `texts`, in their order. Waits at most the embedder's limit, or the caller's share of its deadline.
    ///
    /// Cancel safe: texts of a dropped call are not embedded any more.
    ///
    /// # Errors
    ///
    /// [`EmbedError`]; no embedding is returned then.
    pub async fn embed(
        &self,
        space: &SpaceId,
        purpose: Purpose,
        texts: &[String],
    ) -> Result<Vec<Embedding>, EmbedError> {
        let (space, back_end) = self.find(space)?;
        let prefix = match purpose {
            Purpose::Query => &space.query_prefix,
            Purpose::Passage => &space.passage_prefix,
        };
        let limit = keyplane_deadline::within(self.limit);
        match back_end {
            BackEnd::Callers => Err(EmbedError::CallersOnly(space.id.clone())),
            BackEnd::Local(local) => local.embed(purpose, prefix, texts, limit).await,
            BackEnd::Http(http) => http.embed(prefix, texts, limit).await,
        }
    }

    fn find(&self, id: &SpaceId) -> Result<&(Space, BackEnd), EmbedError> {
        let found = self.spaces.iter().find(|(space, _)| space.id == *id);
        found.ok_or_else(|| EmbedError::UnknownSpace(id.clone()))
    }
}

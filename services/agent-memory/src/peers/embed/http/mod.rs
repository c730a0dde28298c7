//! Endpoint that speaks OpenAI's embeddings API, as Bedrock's and local servers' gateways do too.

mod attempt;
mod client;
mod reply;

use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Uri;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{EmbedError, OpenError};
use crate::domain::{Embedding, Space};
use attempt::attempts;
use client::Client;

/// Most texts of a request.
const BATCH: usize = 64;
/// Most requests of a space at a time.
const REQUESTS: usize = 8;
/// Most texts that may be in flight or wait: 16 calls of 256.
const ROOM: usize = 4096;

/// Endpoint of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address of the embeddings resource, such as `https://api.openai.com/v1/embeddings`.
    pub url: String,
    /// File with the key, sent as `authorization: Bearer`. Read at each request, so that a new key needs no restart.
    pub key_file: Option<PathBuf>,
    /// Asks for the space's dimension by name; only some models accept that.
    pub send_dimensions: bool,
}

/// Embedder behind an endpoint.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    uri: Uri,
    key_file: Option<PathBuf>,
    model: String,
    dimension: usize,
    send_dimensions: bool,
    /// Room for texts.
    room: Semaphore,
    /// Room for requests.
    requests: Semaphore,
}

// === impl Http ===

impl Http {
    pub(super) fn open(space: &Space, endpoint: &Endpoint) -> Result<Http, OpenError> {
        let invalid = |detail: String| OpenError::Endpoint { space: space.id.as_str().to_owned(), detail };
        let uri: Uri = endpoint.url.parse().map_err(|error| invalid(format!("its URL is not valid: {error}")))?;
        Ok(Http {
            client: Client::new(&uri).map_err(invalid)?,
            uri,
            key_file: endpoint.key_file.clone(),
            model: space.model.clone(),
            dimension: usize::from(space.dimension),
            send_dimensions: endpoint.send_dimensions,
            room: Semaphore::new(ROOM),
            requests: Semaphore::new(REQUESTS),
        })
    }

    /// Embeds in requests of [`BATCH`] texts, several at a time.
    pub(super) async fn embed(
        &self,
        prefix: &str,
        texts: &[String],
        limit: Duration,
    ) -> Result<Vec<Embedding>, EmbedError> {
        let until = Instant::now() + limit;
        let size = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        let waiting = ROOM - self.room.available_permits();
        let _room = self.room.try_acquire_many(size).map_err(|_| EmbedError::Busy { waiting, room: ROOM })?;
        // Collected first: a lazy closure over borrowed texts is not provably Send inside a handler of tonic.
        let requests: Vec<_> = texts
            .chunks(BATCH)
            .map(|texts| {
                let body = self.body(prefix, texts);
                async move { attempts(self, body, until, limit).await?.embeddings(texts, self.dimension) }
            })
            .collect();
        stream::iter(requests).buffered(REQUESTS).try_concat().await
    }

    fn body(&self, prefix: &str, texts: &[String]) -> serde_json::Value {
        let input: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let mut body = serde_json::json!({ "model": self.model, "input": input, "encoding_format": "float" });
        if self.send_dimensions {
            body["dimensions"] = self.dimension.into();
        }
        body
    }
}

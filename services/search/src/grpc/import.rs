//! Import of documents by a stream: gathers messages into batches, and writes one batch after the other.
//!
//! Batches of one stream never overlap, so that of several documents with one id the last one wins. Nothing is read while a batch is
//! written: HTTP/2's flow control holds the sender back.

use futures::stream::unfold;
use futures::{FutureExt as _, Stream};
use keyplane_contracts::names::CollectionName;
use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_server::{Drain, status};
use prost::Message as _;
use tonic::{Status, Streaming};

use super::{convert, documents};
use crate::app::documents::Documents;
use crate::error::Error;

/// Import that runs.
struct Import {
    requests: Streaming<pb::ImportDocumentsRequest>,
    documents: Documents,
    drain: Drain,
    /// Collection of the first message.
    collection: Option<CollectionName>,
    /// Number of documents that were read.
    read: usize,
}

/// Documents that are written together.
#[derive(Default)]
struct Batch {
    documents: Vec<pb::Document>,
    bytes: usize,
}

/// Results as messages, until the sender ends its stream; an error is the last item.
pub(super) fn results(
    requests: Streaming<pb::ImportDocumentsRequest>,
    documents: Documents,
    drain: Drain,
) -> impl Stream<Item = Result<pb::ImportDocumentsResponse, Status>> + Send {
    let import = Import { requests, documents, drain, collection: None, read: 0 };
    unfold(Some(import), |import| async {
        let mut import = import?;
        match import.next().await {
            Ok(Some(response)) => Some((Ok(response), Some(import))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
}

// === impl Import ===

impl Import {
    /// Writes the next batch; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<pb::ImportDocumentsResponse>, Status> {
        let Some(batch) = self.gather().await? else { return Ok(None) };
        let Some(collection) = &self.collection else { return Ok(None) };
        let first = self.read;
        self.read += batch.documents.len();
        let converted = convert::documents(collection, first, batch.documents);
        let written = documents::upsert(&self.documents, collection, first, converted).await;
        let (results, freshness_token) = written.map_err(status)?;
        Ok(Some(pb::ImportDocumentsResponse { results, freshness_token }))
    }

    /// Waits for the first message, and takes those that have arrived behind it, up to a batch.
    async fn gather(&mut self) -> Result<Option<Batch>, Status> {
        let mut batch = Batch::default();
        while batch.documents.is_empty() {
            let message = tokio::select! {
                biased;
                () = self.drain.started() => return Err(status(Error::ShuttingDown)),
                message = self.requests.message() => message?,
            };
            let Some(message) = message else { return Ok(None) };
            self.take(message, &mut batch)?;
        }
        while !batch.is_full() {
            // A later error of the stream comes back with the next batch.
            let Some(Ok(Some(message))) = self.requests.message().now_or_never() else { break };
            self.take(message, &mut batch)?;
        }
        Ok(Some(batch))
    }

    fn take(&mut self, message: pb::ImportDocumentsRequest, batch: &mut Batch) -> Result<(), Status> {
        let collection = convert::import(&message, self.collection.as_ref()).map_err(status)?;
        self.collection = Some(collection);
        batch.bytes += message.encoded_len();
        batch.documents.extend(message.documents);
        Ok(())
    }
}

// === impl Batch ===

impl Batch {
    fn is_full(&self) -> bool {
        self.documents.len() >= stated::BATCH || self.bytes >= stated::BATCH_BYTES
    }
}

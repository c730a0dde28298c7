//! Import of documents by a stream: gathers messages into batches, and writes one batch after the other.
//!
//! Writes of one stream never overlap, so that of several documents with one id the last one wins. The next batch is received and
//! analysed while one is written, and no further: HTTP/2's flow control holds the sender back.

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, unfold};
use futures::{FutureExt as _, Stream, StreamExt as _};
use keyplane_contracts::names::CollectionName;
use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_server::{Drain, status};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Status, Streaming};

use super::convert::{self, Converted};
use super::documents;
use crate::app::documents::Documents;
use crate::error::Error;

/// Batches in memory: one that is written, and the next.
const BATCHES: usize = 2;

/// Documents that are converted before the batch before them has its turn.
const TURN: usize = 32;

/// Import that runs.
struct Import {
    source: Source,
    documents: Documents,
    /// Batches in their order.
    writes: FuturesOrdered<BoxFuture<'static, Result<pb::ImportDocumentsResponse, Status>>>,
    /// Resolves when the last of `writes` is done.
    last: BoxFuture<'static, ()>,
    /// Number of documents that were read.
    read: usize,
    /// End of the source: an error of the stream, or none.
    end: Option<Result<(), Status>>,
}

/// Messages of the sender.
struct Source {
    requests: Streaming<pb::ImportDocumentsRequest>,
    drain: Drain,
    /// Collection of the first message.
    collection: Option<CollectionName>,
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
    let source = Source { requests, drain, collection: None };
    let (writes, last) = (FuturesOrdered::new(), Box::pin(std::future::ready(())));
    let import = Import { source, documents, writes, last, read: 0, end: None };
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
    /// Results of the next batch; `None` at the end of the stream. A batch that was read has its results before an error of the
    /// stream.
    async fn next(&mut self) -> Result<Option<pb::ImportDocumentsResponse>, Status> {
        loop {
            if self.writes.is_empty()
                && let Some(end) = self.end.take()
            {
                return end.map(|()| None);
            }
            tokio::select! {
                biased;
                Some(written) = self.writes.next() => return written.map(Some),
                batch = self.source.gather(), if self.end.is_none() && self.writes.len() < BATCHES => match batch {
                    Ok(Some((collection, batch))) => self.begin(collection, batch),
                    Ok(None) => self.end = Some(Ok(())),
                    Err(status) => self.end = Some(Err(status)),
                },
            }
        }
    }

    /// Begins a batch, whose writes wait for those of the batch before it.
    fn begin(&mut self, collection: CollectionName, batch: Batch) {
        let first = self.read;
        self.read += batch.documents.len();
        let (done, last) = oneshot::channel::<()>();
        let before = std::mem::replace(&mut self.last, Box::pin(last.map(|_| ())));
        let documents = self.documents.clone();
        self.writes.push_back(Box::pin(async move {
            let converted = convert_all(&collection, first, batch.documents).await;
            let written = documents::upsert(&documents, &collection, first, converted, before).await;
            drop(done);
            let (results, freshness_token) = written.map_err(status)?;
            Ok(pb::ImportDocumentsResponse { results, freshness_token })
        }));
    }
}

/// Converts documents; gives the batch that is written its turn now and then.
async fn convert_all(collection: &CollectionName, first: usize, documents: Vec<pb::Document>) -> Vec<Converted> {
    let mut converted = Vec::with_capacity(documents.len());
    let mut rest = documents.into_iter();
    while rest.len() > 0 {
        let part = rest.by_ref().take(TURN).collect();
        converted.extend(convert::documents(collection, first + converted.len(), part));
        tokio::task::yield_now().await;
    }
    converted
}

// === impl Source ===

impl Source {
    /// Waits for the first message, and takes those that have arrived behind it, up to a batch. Cancel safe.
    async fn gather(&mut self) -> Result<Option<(CollectionName, Batch)>, Status> {
        let mut batch = Batch::default();
        let mut collection = None;
        while batch.documents.is_empty() {
            let message = tokio::select! {
                biased;
                () = self.drain.started() => return Err(status(Error::ShuttingDown)),
                message = self.requests.message() => message?,
            };
            let Some(message) = message else { return Ok(None) };
            collection = Some(self.take(message, &mut batch)?);
        }
        while !batch.is_full() {
            // A later error of the stream comes back with the next batch.
            let Some(Ok(Some(message))) = self.requests.message().now_or_never() else { break };
            self.take(message, &mut batch)?;
        }
        Ok(collection.map(|collection| (collection, batch)))
    }

    /// Adds the documents of a message to a batch; returns their collection.
    fn take(&mut self, message: pb::ImportDocumentsRequest, batch: &mut Batch) -> Result<CollectionName, Status> {
        let collection = convert::import(&message, self.collection.as_ref()).map_err(status)?;
        self.collection = Some(collection.clone());
        batch.bytes += message.encoded_len();
        batch.documents.extend(message.documents);
        Ok(collection)
    }
}

// === impl Batch ===

impl Batch {
    fn is_full(&self) -> bool {
        self.documents.len() >= stated::BATCH || self.bytes >= stated::BATCH_BYTES
    }
}

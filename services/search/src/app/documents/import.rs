//! Imports: streams of documents, in batches.

use futures::{Stream, StreamExt as _};
use keyplane_contracts::names::CollectionName;
use keyplane_contracts::rules::search::BATCH;

use super::{Batch, Documents};
use crate::domain::RawDocument;
use crate::error::Error;

// === impl Documents ===

impl Documents {
    /// Writes a stream of documents. Yields the results of each batch, in the order of the stream: the documents that had arrived
    /// when the batch before was written, 1,000 at most. The stream is read no further before: its sender feels the store's pace.
    ///
    /// Each batch ends as [`Documents::upsert`] does. A dropped stream leaves its last batch in part written.
    pub fn import(
        &self,
        name: CollectionName,
        documents: impl Stream<Item = RawDocument> + Send + 'static,
    ) -> impl Stream<Item = Result<Batch, Error>> + Send + 'static {
        let (own, name) = (self.clone(), std::sync::Arc::new(name));
        documents.ready_chunks(BATCH).then(move |batch| {
            let (own, name) = (own.clone(), name.clone());
            async move { own.upsert(&name, batch).await }
        })
    }
}

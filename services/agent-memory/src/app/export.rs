//! Exports: everything that is known of a subject, as a stream of memories.

use futures::{Stream, StreamExt as _, stream};
use keyplane_contracts::names::TenantId;
use tokio::sync::mpsc;

use super::subjects::{Batch, Subjects};
use crate::domain::Memory;
use crate::domain::erasure::Subject;
use crate::error::Error;
use crate::store::Store;

/// Batches that are read ahead of a slow caller.
const AHEAD: usize = 1;

/// Exports subjects. Cheap to clone.
#[derive(Clone)]
pub struct Export {
    subjects: Subjects,
}

// === impl Export ===

impl Export {
    /// Exports from `store`.
    #[must_use]
    pub fn new(store: Store) -> Export {
        Export { subjects: Subjects::new(store) }
    }

    /// Streams what an erasure of the subject would remove: summaries derived from its memories, then its memories, history
    /// included, each record in the order of its ids. Embeddings are left out, since they follow from the texts. Memories that change
    /// meanwhile may be missing or stand twice. Reads on only as the caller does; stops when the stream is dropped. The stream ends
    /// with its first error, an error of the store.
    pub fn memories(&self, tenant: TenantId, subject: Subject) -> impl Stream<Item = Result<Memory, Error>> + use<> {
        let (sender, batches) = mpsc::channel(AHEAD);
        let subjects = self.subjects.clone();
        let find = async move { subjects.send(&tenant, &subject, &sender).await };
        let found = stream::unfold(batches, |mut batches| async move { Some((Ok(batches.recv().await?), batches)) });
        let end = stream::once(find).filter_map(|result| async move { result.err().map(Err) });
        stream::select(found, end).flat_map(|batch: Result<Batch, Error>| match batch {
            Ok(batch) => stream::iter(batch.memories.into_iter().map(|stored| Ok(stored.memory)).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }
}

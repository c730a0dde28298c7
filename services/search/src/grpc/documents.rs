//! Calls on single documents, and batches.

use futures::future::BoxFuture;
use keyplane_contracts::names::CollectionName;
use keyplane_contracts::search::v1 as pb;
use keyplane_server::if_match;
use tonic::Request;

use super::Service;
use super::convert::{self, Converted};
use crate::app::documents::Documents;
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn upsert_document(
        &self,
        request: pb::UpsertDocumentRequest,
    ) -> Result<pb::WriteDocumentResponse, Error> {
        let (name, document) = convert::upsert_document(request)?;
        let batch = self.documents.upsert(&name.collection, vec![document]).await?;
        let written = batch.results.into_iter().next().unwrap_or(Err(Error::WriteConflict))?;
        Ok(convert::written(&name, written))
    }

    pub(super) async fn get_document(&self, request: &pb::GetDocumentRequest) -> Result<pb::Document, Error> {
        let name = convert::document_name(&request.name)?;
        let stored = self.documents.get(&name).await?;
        Ok(convert::document(&name.collection, stored))
    }

    pub(super) async fn update_document(
        &self,
        request: Request<pb::UpdateDocumentRequest>,
    ) -> Result<pb::WriteDocumentResponse, Error> {
        let if_match = if_match(request.metadata());
        let (name, patch) = convert::update_document(request.into_inner(), if_match)?;
        let written = self.documents.update(&name, &patch).await?;
        Ok(convert::written(&name, written))
    }

    pub(super) async fn delete_document(
        &self,
        request: &Request<pb::DeleteDocumentRequest>,
    ) -> Result<pb::DeleteDocumentResponse, Error> {
        let (name, deletion) = convert::delete_document(request.get_ref(), if_match(request.metadata()))?;
        self.documents.delete(&name, &deletion).await.map(convert::deleted)
    }

    pub(super) async fn batch_upsert(
        &self,
        request: pb::BatchUpsertDocumentsRequest,
    ) -> Result<pb::BatchUpsertDocumentsResponse, Error> {
        let (collection, documents) = convert::batch(request)?;
        let first = Box::pin(std::future::ready(()));
        let (results, freshness_token) = upsert(&self.documents, &collection, 0, documents, first).await?;
        let failed = results.iter().filter(|result| result.error.is_some()).count();
        let failed_count = i32::try_from(failed).unwrap_or(i32::MAX);
        Ok(pb::BatchUpsertDocumentsResponse { results, failed_count, freshness_token })
    }
}

/// Writes the documents that are valid, once `before` is done; returns a result for each, numbered from `first`, and the
/// freshness token.
pub(super) async fn upsert(
    documents: &Documents,
    collection: &CollectionName,
    first: usize,
    converted: Vec<Converted>,
    before: BoxFuture<'static, ()>,
) -> Result<(Vec<pb::DocumentResult>, String), Error> {
    let (mut ids, mut invalid, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for document in converted {
        ids.push(document.id);
        invalid.push(document.raw.map(|raw| valid.push(raw)).err());
    }
    // Also for a batch without a valid document: a missing collection is an error of the whole call.
    let batch = documents.upsert_after(collection, valid, before).await?;
    let mut written = batch.results.into_iter();
    let results = ids.into_iter().zip(invalid).enumerate().map(|(offset, (id, error))| {
        let result = match error {
            Some(error) => Err(error),
            None => written.next().unwrap_or(Err(Error::WriteConflict)),
        };
        convert::result(first + offset, id, result)
    });
    Ok((results.collect(), batch.freshness))
}

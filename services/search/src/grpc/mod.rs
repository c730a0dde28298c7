//! gRPC face of the service: converts a request, calls `app`, converts the result back.
//!
//! `collections` has the calls on collections, `documents` those on single documents and batches, `import` the stream,
//! `searches` the search.

mod collections;
mod convert;
mod documents;
mod import;
mod searches;

use std::pin::Pin;

use futures::Stream;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::search_service_server::SearchService;
use keyplane_server::{Drain, status};
use tonic::{Request, Response, Status, Streaming};

use crate::app::collections::Collections;
use crate::app::documents::Documents;
use crate::app::search::Search;
use crate::error::Error;

/// Implementation of `keyplane.search.v1.SearchService`.
pub(crate) struct Service {
    collections: Collections,
    documents: Documents,
    search: Search,
    drain: Drain,
}

type Results = Pin<Box<dyn Stream<Item = Result<pb::ImportDocumentsResponse, Status>> + Send>>;
type Reply<T> = Result<Response<T>, Status>;

// === impl Service ===

impl Service {
    /// Service over the use cases; imports end when `drain` starts.
    pub(crate) fn new(collections: Collections, documents: Documents, search: Search, drain: Drain) -> Service {
        Service { collections, documents, search, drain }
    }
}

fn reply<T>(result: Result<T, Error>) -> Reply<T> {
    result.map(Response::new).map_err(status)
}

#[tonic::async_trait]
impl SearchService for Service {
    type ImportDocumentsStream = Results;

    async fn create_collection(&self, request: Request<pb::CreateCollectionRequest>) -> Reply<pb::Collection> {
        reply(self.create_collection(request.into_inner()).await)
    }

    async fn get_collection(&self, request: Request<pb::GetCollectionRequest>) -> Reply<pb::Collection> {
        reply(self.get_collection(request.get_ref()).await)
    }

    async fn list_collections(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Reply<pb::ListCollectionsResponse> {
        reply(self.list_collections(request.get_ref()).await)
    }

    async fn update_collection(&self, request: Request<pb::UpdateCollectionRequest>) -> Reply<pb::Collection> {
        reply(self.update_collection(request).await)
    }

    async fn rollback_collection(&self, request: Request<pb::RollbackCollectionRequest>) -> Reply<pb::Collection> {
        reply(self.rollback_collection(request.get_ref()).await)
    }

    async fn delete_collection(&self, request: Request<pb::DeleteCollectionRequest>) -> Reply<()> {
        reply(self.delete_collection(&request).await)
    }

    async fn upsert_document(&self, request: Request<pb::UpsertDocumentRequest>) -> Reply<pb::WriteDocumentResponse> {
        reply(self.upsert_document(request.into_inner()).await)
    }

    async fn get_document(&self, request: Request<pb::GetDocumentRequest>) -> Reply<pb::Document> {
        reply(self.get_document(request.get_ref()).await)
    }

    async fn update_document(&self, request: Request<pb::UpdateDocumentRequest>) -> Reply<pb::WriteDocumentResponse> {
        reply(self.update_document(request).await)
    }

    async fn delete_document(&self, request: Request<pb::DeleteDocumentRequest>) -> Reply<pb::DeleteDocumentResponse> {
        reply(self.delete_document(&request).await)
    }

    async fn batch_upsert_documents(
        &self,
        request: Request<pb::BatchUpsertDocumentsRequest>,
    ) -> Reply<pb::BatchUpsertDocumentsResponse> {
        reply(self.batch_upsert(request.into_inner()).await)
    }

    async fn import_documents(
        &self,
        request: Request<Streaming<pb::ImportDocumentsRequest>>,
    ) -> Reply<Self::ImportDocumentsStream> {
        let results = import::results(request.into_inner(), self.documents.clone(), self.drain.clone());
        Ok(Response::new(Box::pin(results)))
    }

    async fn search_documents(
        &self,
        request: Request<pb::SearchDocumentsRequest>,
    ) -> Reply<pb::SearchDocumentsResponse> {
        reply(self.search_documents(request.into_inner()).await)
    }
}

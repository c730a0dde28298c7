//! Calls on collections.

use keyplane_contracts::search::v1 as pb;
use keyplane_server::if_match;
use tonic::Request;

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn create_collection(
        &self,
        request: pb::CreateCollectionRequest,
    ) -> Result<pb::Collection, Error> {
        let (name, schema) = convert::create_collection(request)?;
        self.collections.create(&name, schema).await.map(convert::collection)
    }

    pub(super) async fn get_collection(&self, request: &pb::GetCollectionRequest) -> Result<pb::Collection, Error> {
        let name = convert::collection_name(&request.name)?;
        self.collections.get(&name).await.map(convert::collection)
    }

    pub(super) async fn list_collections(
        &self,
        request: &pb::ListCollectionsRequest,
    ) -> Result<pb::ListCollectionsResponse, Error> {
        let (tenant, size, after) = convert::list_collections(request)?;
        let (collections, next) = self.collections.list(&tenant, size, after.as_ref()).await?;
        Ok(convert::collections(&request.parent, collections, next.as_ref()))
    }

    pub(super) async fn update_collection(
        &self,
        request: Request<pb::UpdateCollectionRequest>,
    ) -> Result<pb::Collection, Error> {
        let if_match = if_match(request.metadata());
        let (name, patch, etag) = convert::update_collection(request.into_inner(), if_match)?;
        self.collections.update(&name, patch, etag).await.map(convert::collection)
    }

    pub(super) async fn rollback_collection(
        &self,
        request: &pb::RollbackCollectionRequest,
    ) -> Result<pb::Collection, Error> {
        let name = convert::collection_name(&request.name)?;
        let etag = convert::etag(&request.etag);
        self.collections.rollback(&name, etag).await.map(convert::collection)
    }

    pub(super) async fn delete_collection(&self, request: &Request<pb::DeleteCollectionRequest>) -> Result<(), Error> {
        let (name, etag) = convert::delete_collection(request.get_ref(), if_match(request.metadata()))?;
        self.collections.delete(&name, etag, request.get_ref().allow_missing).await
    }
}

//! Requests on collections.

use keyplane_contracts::names::{CollectionId, CollectionName, TenantId};
use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::{Violation, Violations, page};

use super::{agreed_etag, checked, schema};
use crate::domain::{Schema, SchemaPatch};
use crate::error::Error;

/// Name and schema of a new collection.
pub(in crate::grpc) fn create_collection(
    request: pb::CreateCollectionRequest,
) -> Result<(CollectionName, Schema), Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(TenantId::parse_name(&request.parent, "parent"));
    let collection = violations.keep(CollectionId::parse(&request.collection_id, "collection_id"));
    let name = tenant.zip(collection).map(|(tenant, collection)| CollectionName { tenant, collection });
    if request.collection.is_none() {
        violations.add("collection", "must be set");
    } else {
        let schema = schema::schema(request.collection.unwrap_or_default(), &mut violations);
        return checked(name, violations).map(|name| (name, schema));
    }
    Err(Error::Invalid(violations.into_iter().collect()))
}

/// Tenant, page size, and the collection that the page follows.
pub(in crate::grpc) fn list_collections(
    request: &pb::ListCollectionsRequest,
) -> Result<(TenantId, u32, Option<CollectionId>), Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(TenantId::parse_name(&request.parent, "parent"));
    let [unset, max] = stated::COLLECTION_PAGE;
    let size = page::size(request.page_size, unset, max, &mut violations);
    let position = |text: &str| CollectionId::parse(text, "").ok();
    let after = violations.keep(page::decode(&request.page_token, &request.parent, position)).flatten();
    checked(tenant, violations).map(|tenant| (tenant, size, after))
}

/// Collection to change, the change, and the etag that it must have.
pub(in crate::grpc) fn update_collection(
    request: pb::UpdateCollectionRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(CollectionName, SchemaPatch, Option<String>), Error> {
    let mut violations = Violations::new();
    let collection = request.collection.unwrap_or_default();
    let name = violations.keep(CollectionName::parse(&collection.name, "collection.name"));
    let etag = agreed_etag("collection.etag", &collection.etag, if_match, &mut violations);
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    let patch = schema::patch(collection, &paths, &mut violations);
    checked(name, violations).map(|name| (name, patch, etag))
}

/// Collection to delete, and the etag that it must have.
pub(in crate::grpc) fn delete_collection(
    request: &pb::DeleteCollectionRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(CollectionName, Option<String>), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(CollectionName::parse(&request.name, "name"));
    let etag = agreed_etag("etag", &request.etag, if_match, &mut violations);
    checked(name, violations).map(|name| (name, etag))
}

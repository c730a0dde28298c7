//! Messages to the domain's types and back. Requests are checked here, once; an error names every violated field. The schema of a
//! collection is applied by `app`, which knows the one in force.

mod collections;
mod documents;
mod expiry;
mod order;
mod reply;
mod schema;
mod search;
mod search_result;
mod values;

use keyplane_contracts::names::{CollectionName, DocumentName};
use keyplane_contracts::{Violation, Violations};

use crate::error::Error;

pub(super) use collections::{create_collection, delete_collection, list_collections, update_collection};
pub(super) use documents::{Converted, batch, delete_document, documents, import, update_document, upsert_document};
pub(super) use reply::{collection, collections, deleted, document, result, written};
pub(super) use search::search;
pub(super) use search_result::search_result;

/// Collection of a request that names just one.
pub(super) fn collection_name(name: &str) -> Result<CollectionName, Error> {
    CollectionName::parse(name, "name").map_err(Error::invalid)
}

/// Document of a request that names just one.
pub(super) fn document_name(name: &str) -> Result<DocumentName, Error> {
    DocumentName::parse(name, "name").map_err(Error::invalid)
}

/// Etag that a resource must have; none for any.
pub(super) fn etag(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Etag that the header If-Match and the field agree on.
fn agreed_etag(
    field: &str,
    sent: &str,
    if_match: Result<Option<String>, Violation>,
    violations: &mut Violations,
) -> Option<String> {
    match (violations.keep(if_match).flatten(), etag(sent)) {
        (Some(header), Some(sent)) if header != sent => {
            violations.add(field, "must agree with the header If-Match");
            None
        }
        (header, sent) => header.or(sent),
    }
}

fn checked<T>(parsed: Option<T>, violations: Violations) -> Result<T, Error> {
    violations.checked(parsed).map_err(Error::Invalid)
}

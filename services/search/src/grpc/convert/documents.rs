//! Requests on documents.

use keyplane_contracts::names::{CollectionName, DocumentName, Id};
use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::{Violation, Violations};
use prost::Message as _;

use super::expiry::{expires, now, source_version};
use super::{agreed_etag, checked, values};
use crate::domain::{Deletion, RawDocument, RawPatch};
use crate::error::Error;

/// Document of a batch, or the error of its fields.
pub(in crate::grpc) struct Converted {
    /// Id of the document; empty without a valid one.
    pub(in crate::grpc) id: String,
    /// Document.
    pub(in crate::grpc) raw: Result<RawDocument, Error>,
}

/// Document to write.
pub(in crate::grpc) fn upsert_document(
    request: pb::UpsertDocumentRequest,
) -> Result<(DocumentName, RawDocument), Error> {
    let mut violations = Violations::new();
    let document = request.document.unwrap_or_default();
    let name = name(&document, &mut violations);
    let id = name.as_ref().map(|name| name.document.clone());
    let raw = raw(document, id, "document".to_owned(), now(), &mut violations);
    checked(name.zip(raw), violations)
}

/// Document to change, and the change.
pub(in crate::grpc) fn update_document(
    request: pb::UpdateDocumentRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(DocumentName, RawPatch), Error> {
    let mut violations = Violations::new();
    let document = request.document.unwrap_or_default();
    let name = name(&document, &mut violations);
    let etag = agreed_etag("document.etag", &document.etag, if_match, &mut violations);
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    for (index, path) in paths.iter().enumerate() {
        if !stated::DOCUMENT_MASKABLE.contains(&path.as_str()) {
            violations.extend([Violation::unknown_path(index, path.len(), &stated::DOCUMENT_MASKABLE)]);
        }
    }
    let named = |path: &str| paths.is_empty() || paths.iter().any(|given| given == path);
    check_size(&document, "document", &mut violations);
    let version = source_version(document.source_version, "document.source_version", &mut violations);
    let expiry = expires(&document, "document", now(), &mut violations);
    let removes_expiry = !paths.is_empty() && (named("expire_time") || named("ttl"));
    let patch = RawPatch {
        version: version.filter(|_| named("source_version")),
        revision: revision(etag),
        expires: match expiry {
            Some(moment) if named("expire_time") || named("ttl") => Some(Some(moment)),
            Some(_) => None,
            None => removes_expiry.then_some(None),
        },
        fields: match document.fields {
            Some(fields) if named("fields") => values::fields(fields, "document", &mut violations),
            Some(_) | None => serde_json::Map::new(),
        },
    };
    checked(name, violations).map(|name| (name, patch))
}

/// Document to delete, and the conditions.
pub(in crate::grpc) fn delete_document(
    request: &pb::DeleteDocumentRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(DocumentName, Deletion), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(DocumentName::parse(&request.name, "name"));
    let version = source_version(request.source_version, "source_version", &mut violations);
    let etag = agreed_etag("etag", &request.etag, if_match, &mut violations);
    let deletion = Deletion { version, revision: revision(etag), allow_missing: request.allow_missing };
    checked(name, violations).map(|name| (name, deletion))
}

/// Collection and documents of a batch.
pub(in crate::grpc) fn batch(
    request: pb::BatchUpsertDocumentsRequest,
) -> Result<(CollectionName, Vec<Converted>), Error> {
    let mut violations = Violations::new();
    let collection = violations.keep(CollectionName::parse(&request.parent, "parent"));
    let (most, sent) = (stated::BATCH, request.documents.len());
    if !(1..=most).contains(&sent) {
        violations.add("documents", format!("must be 1 to {most} documents; {sent} were sent"));
    }
    let (most, sent) = (stated::BATCH_BYTES, request.encoded_len());
    if sent > most {
        violations.add("documents", format!("must be at most {most} bytes; {sent} were sent"));
    }
    let collection = checked(collection, violations)?;
    let documents = documents(&collection, 0, request.documents);
    Ok((collection, documents))
}

/// Collection of a message of an import; `first` is that of the first one.
pub(in crate::grpc) fn import(
    request: &pb::ImportDocumentsRequest,
    first: Option<&CollectionName>,
) -> Result<CollectionName, Error> {
    let mut violations = Violations::new();
    let (most, sent) = (stated::BATCH, request.documents.len());
    if sent > most {
        violations.add("documents", format!("must be at most {most} documents a message; {sent} were sent"));
    }
    let collection = match first {
        Some(first) if request.parent.is_empty() => Some(first.clone()),
        Some(first) => {
            let parent = violations.keep(CollectionName::parse(&request.parent, "parent"));
            if parent.as_ref().is_some_and(|parent| parent != first) {
                violations.add("parent", "must be empty, or the collection of the first message");
            }
            parent
        }
        None => violations.keep(CollectionName::parse(&request.parent, "parent")),
    };
    checked(collection, violations)
}

/// Documents of `collection`, numbered from `first`; one that is invalid leaves the others alone.
pub(in crate::grpc) fn documents(collection: &CollectionName, first: usize, sent: Vec<pb::Document>) -> Vec<Converted> {
    let now = now();
    let convert = |(offset, document): (usize, pb::Document)| {
        let mut violations = Violations::new();
        let at = format!("documents[{}]", first + offset);
        let id = item_id(collection, &document, &at, &mut violations);
        let text = id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned());
        let raw = raw(document, id, at, now, &mut violations);
        Converted { id: text, raw: checked(raw, violations) }
    };
    sent.into_iter().enumerate().map(convert).collect()
}

/// Name of the one document of a request.
fn name(document: &pb::Document, violations: &mut Violations) -> Option<DocumentName> {
    let name = violations.keep(DocumentName::parse(&document.name, "document.name"))?;
    if !document.document_id.is_empty() && document.document_id != name.document.as_str() {
        violations.add("document.document_id", "must be empty, or the last segment of the name");
    }
    Some(name)
}

/// Id of a document of a batch, from its name or its id.
fn item_id(collection: &CollectionName, document: &pb::Document, at: &str, violations: &mut Violations) -> Option<Id> {
    let field = |part: &str| format!("{at}.{part}");
    if document.name.is_empty() {
        return violations.keep(Id::parse(&document.document_id, &field("document_id")));
    }
    let name = violations.keep(DocumentName::parse(&document.name, &field("name")))?;
    if name.collection != *collection {
        violations.add(field("name"), "must be a document of the collection in `parent`");
    }
    if !document.document_id.is_empty() && document.document_id != name.document.as_str() {
        violations.add(field("document_id"), "must be empty, or the last segment of the name");
    }
    Some(name.document)
}

fn raw(
    document: pb::Document,
    id: Option<Id>,
    at: String,
    now: i64,
    violations: &mut Violations,
) -> Option<RawDocument> {
    check_size(&document, &at, violations);
    let version = source_version(document.source_version, &format!("{at}.source_version"), violations);
    let expires = expires(&document, &at, now, violations);
    let fields = values::fields(document.fields.unwrap_or_default(), &at, violations);
    Some(RawDocument { id: id?, fields, version, expires, at })
}

fn check_size(document: &pb::Document, at: &str, violations: &mut Violations) {
    let (most, sent) = (stated::DOCUMENT, document.encoded_len());
    if sent > most {
        violations.add(at, format!("must be at most {most} bytes; {sent} were sent"));
    }
}

/// Revision in an etag. Text that is none never matches.
fn revision(etag: Option<String>) -> Option<i64> {
    etag.map(|etag| etag.parse().unwrap_or(-1))
}

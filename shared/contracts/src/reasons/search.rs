//! Reasons of the search service.

use super::{Retry, after, register};

register! {
    COLLECTION_NOT_FOUND: NotFound, Retry::Never,
        "The collection in metadata `collection` does not exist: ListCollections lists the tenant's collections.";
    COLLECTION_EXISTS: AlreadyExists, Retry::Never,
        "A collection with the id in metadata `collection` exists: update it, or choose another id.";
    COLLECTION_DELETING: Aborted, after(1000),
        "The collection in metadata `collection` is being deleted: retry, or choose another id.";
    DOCUMENT_NOT_FOUND: NotFound, Retry::Never,
        "The document in metadata `document` does not exist, or has expired. An update never creates one: upsert it.";
    WRITE_NOT_VISIBLE: Unavailable, after(100),
        "The write that `freshness_token` names is not visible yet. Retry; if that fails for a minute, the store has \
         lost the write: search without the token.";
    TOO_MANY_COLLECTIONS: ResourceExhausted, Retry::Never,
        "The tenant has as many collections as it may, metadata `max_collections`: delete one first.";
    TOO_MANY_DOCUMENTS: ResourceExhausted, Retry::Never,
        "The tenant has as many documents as it may, metadata `max_documents`: delete some first.";
    TOO_MANY_BYTES: ResourceExhausted, Retry::Never,
        "The tenant's documents take as many bytes as they may, metadata `max_bytes`: delete some first.";
    TOO_MANY_INDEXES: ResourceExhausted, Retry::Never,
        "The store has as many indexes as it may, metadata `max_indexes`. Operator: \
         `KEYPLANE_SEARCH_MAX_INDEXES`, and `KEYPLANE_SEARCH_OWN_INDEX_DOCUMENTS`, which collections share indexes below.";
    REBUILD_RUNNING: FailedPrecondition, Retry::Never,
        "The collection in metadata `collection` is being rebuilt: wait for the end of the rebuild, or cancel it with \
         RollbackCollection.";
    ROLLBACK_IMPOSSIBLE: FailedPrecondition, Retry::Never,
        "The collection in metadata `collection` has no rebuild to cancel, and its earlier generation is deleted; or a document \
         does not fit the earlier schema, and the message names it: change or delete the document.";
    CURSOR_EXPIRED: FailedPrecondition, Retry::Never,
        "The `page_token` belongs to a generation of the collection that is deleted: start again from the first page.";
}

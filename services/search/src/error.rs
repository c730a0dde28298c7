//! Errors of the search service, and their description for callers.

use keyplane_contracts::Violation;
use keyplane_contracts::names::{CollectionId, Id};
use keyplane_contracts::reasons::{kit, search, store};
use keyplane_server::{Description, ServiceError};

/// Error of a call, or of one document of a batch. `Display` is the message for callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// Missing collection.
    #[error("collection {collection} does not exist; ListCollections lists the tenant's collections")]
    CollectionNotFound {
        /// Id from the request.
        collection: CollectionId,
    },
    /// Id of an existing collection.
    #[error("collection {collection} exists already; update it, or choose another id")]
    CollectionExists {
        /// Id of the collection.
        collection: CollectionId,
    },
    /// Id of a collection that is being deleted.
    #[error("collection {collection} is being deleted; retry in a moment, or choose another id")]
    CollectionDeleting {
        /// Id of the collection.
        collection: CollectionId,
    },
    /// Missing or expired document.
    #[error("document {} does not exist, or has expired", document.as_str())]
    DocumentNotFound {
        /// Id from the request.
        document: Id,
    },
    /// Change based on another etag than the current one.
    #[error("the {resource} has changed: its etag is {current} now; read it and try again")]
    StaleWrite {
        /// Changed resource: `collection` or `document`.
        resource: &'static str,
        /// Etag of the resource; empty if it does not exist.
        current: String,
    },
    /// Write with a smaller source version than the stored one.
    #[error("the write is older than the stored document, whose source version is {current}; nothing was written")]
    OlderVersion {
        /// Source version of the stored document, or of its deletion.
        current: i64,
    },
    /// Write that kept meeting other changes of the document or its collection.
    #[error("the document or its collection kept changing during the write; nothing was written: try again")]
    WriteConflict,
    /// Index that the engine still fills, e.g. after its restart.
    #[error("the index of collection {collection} is not ready yet; retry")]
    IndexNotReady {
        /// Id of the collection.
        collection: CollectionId,
    },
    /// Write of a freshness token that this search can't see.
    #[error("the write that the freshness token names is not visible yet, or the store has lost it; retry")]
    NotVisible,
    /// Collection past the tenant's maximum.
    #[error("the tenant has {limit} collections, the most that are allowed; delete one first")]
    TooManyCollections {
        /// Maximum of collections of a tenant.
        limit: u64,
    },
    /// Document past the tenant's maximum.
    #[error("the tenant has {limit} documents, the most that are allowed; delete some first")]
    TooManyDocuments {
        /// Maximum of documents of a tenant.
        limit: u64,
    },
    /// Document past the tenant's bytes.
    #[error("the tenant's documents take {limit} bytes, the most that are allowed; delete some first")]
    TooManyBytes {
        /// Maximum of bytes of a tenant's documents.
        limit: u64,
    },
    /// Index past the engine's maximum.
    #[error("the store holds {limit} indexes, the most that are allowed; ask the operator")]
    TooManyIndexes {
        /// Maximum of indexes of the store.
        limit: u64,
    },
    /// Change of fields during a rebuild.
    #[error(
        "collection {collection} is being rebuilt; wait for the end, or cancel the rebuild with RollbackCollection"
    )]
    RebuildRunning {
        /// Id of the collection.
        collection: CollectionId,
    },
    /// Rollback without a rebuild or an earlier generation.
    #[error("collection {collection} has no rebuild to cancel and no earlier generation to return to")]
    RollbackImpossible {
        /// Id of the collection.
        collection: CollectionId,
    },
    /// Rollback that would lose a document.
    #[error(
        "collection {collection} can't return to its earlier schema: {reason}; change or delete the document, and repeat"
    )]
    RollbackMisfit {
        /// Id of the collection.
        collection: CollectionId,
        /// Document and field that the earlier schema has no place for.
        reason: String,
    },
    /// Cursor of a generation that is deleted.
    #[error("the page token is older than the collection's last rebuild; start again from the first page")]
    CursorExpired,
    /// Shutdown of the service during an import.
    #[error("the service is shutting down; connect again, and send the documents without a result")]
    ShuttingDown,
    /// Value in the store that this service never writes.
    #[error("the stored data is damaged: {0}")]
    Corrupt(&'static str),
    /// Lifetime outside of the bounds for keys.
    #[error(transparent)]
    Ttl(#[from] keyplane_valkey::TtlError),
    /// Error of the store.
    #[error(transparent)]
    Store(#[from] keyplane_valkey::Error),
}

// === impl Error ===

impl Error {
    /// Makes the error of one field that breaks a rule.
    #[must_use]
    pub fn invalid(violation: Violation) -> Error {
        Error::Invalid(vec![violation])
    }

    /// Reports whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        if let Error::Store(error) = self {
            return error.retryable();
        }
        matches!(
            self,
            Error::CollectionDeleting { .. } | Error::WriteConflict | Error::IndexNotReady { .. } | Error::NotVisible
        )
    }
}

impl ServiceError for Error {
    fn describe(&self) -> Description<'_> {
        match self {
            Error::Invalid(violations) => Description::new(&kit::INVALID_REQUEST).violations(violations),
            Error::CollectionNotFound { collection } => {
                Description::new(&search::COLLECTION_NOT_FOUND).with("collection", collection)
            }
            Error::CollectionExists { collection } => {
                Description::new(&search::COLLECTION_EXISTS).with("collection", collection)
            }
            Error::CollectionDeleting { collection } => {
                Description::new(&search::COLLECTION_DELETING).with("collection", collection)
            }
            Error::DocumentNotFound { document } => {
                Description::new(&search::DOCUMENT_NOT_FOUND).with("document", document.as_str())
            }
            Error::StaleWrite { current, .. } => Description::new(&kit::STALE_WRITE).with("current", current),
            Error::OlderVersion { current } => Description::new(&kit::STALE_WRITE).with("current", current),
            Error::WriteConflict => Description::new(&kit::WRITE_CONFLICT),
            Error::IndexNotReady { collection } => {
                Description::new(&store::INDEX_NOT_READY).with("collection", collection)
            }
            Error::NotVisible => Description::new(&search::WRITE_NOT_VISIBLE),
            Error::TooManyCollections { limit } => Description::new(&search::TOO_MANY_COLLECTIONS)
                .with("max_collections", limit)
                .quota("tenant", format!("at most {limit} collections of one tenant")),
            Error::TooManyDocuments { limit } => Description::new(&search::TOO_MANY_DOCUMENTS)
                .with("max_documents", limit)
                .quota("tenant", format!("at most {limit} documents of one tenant")),
            Error::TooManyBytes { limit } => Description::new(&search::TOO_MANY_BYTES)
                .with("max_bytes", limit)
                .quota("tenant", format!("at most {limit} bytes of one tenant's documents")),
            Error::TooManyIndexes { limit } => Description::new(&search::TOO_MANY_INDEXES)
                .with("max_indexes", limit)
                .quota("store", format!("at most {limit} indexes of one store")),
            Error::RebuildRunning { collection } => {
                Description::new(&search::REBUILD_RUNNING).with("collection", collection)
            }
            Error::RollbackImpossible { collection } | Error::RollbackMisfit { collection, .. } => {
                Description::new(&search::ROLLBACK_IMPOSSIBLE).with("collection", collection)
            }
            Error::CursorExpired => Description::new(&search::CURSOR_EXPIRED),
            Error::ShuttingDown => Description::new(&kit::SHUTTING_DOWN),
            Error::Corrupt(_) => Description::new(&store::STORED_DATA_DAMAGED),
            Error::Ttl(_) => Description::new(&kit::INTERNAL),
            Error::Store(error) => error.describe(),
        }
    }
}

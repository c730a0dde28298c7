//! Errors of the agent-memory service, and their description for callers.

use keyplane_contracts::Violation;
use keyplane_contracts::reasons::{kit, memory, store};
use keyplane_server::random::NoRandomness;
use keyplane_server::{Description, ServiceError};

use crate::domain::erasure::ErasureId;
use crate::domain::{MemoryId, SpaceId};

/// Error of a call, or of one memory of a batch. `Display` is the message for callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break their rules.
    #[error("the request is invalid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// Missing or expired memory.
    #[error("memory {memory} does not exist, or has expired")]
    MemoryNotFound {
        /// Id from the request.
        memory: MemoryId,
    },
    /// Missing erasure, or one whose receipt has expired.
    #[error("erasure {erasure} does not exist, or its receipt has expired")]
    ErasureNotFound {
        /// Id from the request.
        erasure: ErasureId,
    },
    /// Change of a superseded memory.
    #[error("memory {memory} is superseded by {by}; change that one")]
    MemorySuperseded {
        /// Id from the request.
        memory: MemoryId,
        /// Memory that took its place.
        by: MemoryId,
    },
    /// Change based on another etag than the current one.
    #[error("the memory has changed: its etag is {current} now; read it and try again")]
    StaleWrite {
        /// Etag of the memory.
        current: String,
    },
    /// Write that kept meeting other changes.
    #[error("the memories of the scope kept changing during the write; nothing was written: try again")]
    WriteConflict,
    /// Space that the operator did not declare.
    #[error("space {space} is not declared; leave it out for the default, or ask the operator for the declared ones")]
    UnknownSpace {
        /// Id from the request; `default` if the operator declared none.
        space: String,
    },
    /// Text without a vector, in a space that embeds none.
    #[error("space {} embeds no texts; send a vector with each text", space.as_str())]
    VectorRequired {
        /// Space.
        space: SpaceId,
    },
    /// Embedder that fails, or answers too late.
    #[error("the embedder of space {} is unavailable; nothing was written: retry", space.as_str())]
    EmbedderUnavailable {
        /// Space.
        space: SpaceId,
    },
    /// Text that a Recall rendered.
    #[error("the text came out of a recall; remembering it would repeat what is known")]
    RecalledText,
    /// Owner whose memories are all pinned, at its maximum.
    #[error("the owner has {limit} memories, the most that are allowed, all of them pinned; forget or unpin some")]
    OwnerFull {
        /// Maximum of memories of an owner.
        limit: u64,
    },
    /// Index that the engine still fills, e.g. after its restart.
    #[error("the index of space {} is not ready yet; retry", space.as_str())]
    IndexNotReady {
        /// Space.
        space: SpaceId,
    },
    /// Failure of the operating system's random source.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
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
}

impl ServiceError for Error {
    fn describe(&self) -> Description<'_> {
        match self {
            Error::Invalid(violations) => Description::new(&kit::INVALID_REQUEST).violations(violations),
            Error::MemoryNotFound { memory } => Description::new(&memory::MEMORY_NOT_FOUND).with("memory", memory),
            Error::ErasureNotFound { erasure } => Description::new(&memory::ERASURE_NOT_FOUND).with("erasure", erasure),
            Error::MemorySuperseded { memory, by } => {
                Description::new(&memory::MEMORY_SUPERSEDED).with("memory", memory).with("superseded_by", by)
            }
            Error::StaleWrite { current } => Description::new(&kit::STALE_WRITE).with("current", current),
            Error::WriteConflict => Description::new(&kit::WRITE_CONFLICT),
            Error::UnknownSpace { space } => Description::new(&memory::UNKNOWN_SPACE).with("space", space),
            Error::VectorRequired { space } => Description::new(&memory::VECTOR_REQUIRED).with("space", space.as_str()),
            Error::EmbedderUnavailable { space } => {
                Description::new(&memory::EMBEDDER_UNAVAILABLE).with("space", space.as_str())
            }
            Error::RecalledText => Description::new(&memory::RECALLED_TEXT),
            Error::OwnerFull { limit } => Description::new(&memory::OWNER_FULL)
                .with("max_memories", limit)
                .quota("owner", format!("at most {limit} memories of one user, or of all users together")),
            Error::IndexNotReady { space } => Description::new(&store::INDEX_NOT_READY).with("space", space.as_str()),
            Error::Corrupt(_) => Description::new(&store::STORED_DATA_DAMAGED),
            Error::NoRandomness(_) | Error::Ttl(_) => Description::new(&kit::INTERNAL),
            Error::Store(error) => error.describe(),
        }
    }
}

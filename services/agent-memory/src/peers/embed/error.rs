//! Failures of embedders.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::SpaceId;

/// Failure to embed texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The operator declared no such space.
    #[error("space `{}` is not declared; list the spaces, or have the operator declare it", .0.as_str())]
    UnknownSpace(SpaceId),
    /// The service has no embedder for the space.
    #[error("space `{}` has no embedder; send a vector with each text and each query", .0.as_str())]
    CallersOnly(SpaceId),
    /// The queue is full. Nothing was embedded.
    #[error("{waiting} texts wait to be embedded, and the queue holds {room}; retry later, or send fewer texts")]
    Busy {
        /// Texts in the queue.
        waiting: usize,
        /// Size of the queue, in texts.
        room: usize,
    },
    /// The wait took too long.
    #[error("the texts were not embedded within {0:?}; retry, or send fewer texts")]
    Deadline(Duration),
    /// The endpoint failed, or answers nothing usable; the detail names no text.
    #[error("the embedding endpoint failed: {0}")]
    Unavailable(String),
    /// The model failed; the detail names no text.
    #[error("the model failed: {0}")]
    Failed(String),
}

/// Failure to open a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}; a model folder has config.json, tokenizer.json and model.safetensors")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path} is not usable: {detail}")]
    Unusable {
        /// File.
        path: PathBuf,
        /// Cause.
        detail: String,
    },
    /// The model's vectors have another length than the space declares.
    #[error("space `{space}` declares {declared} dimensions, and the model has {found}; correct the declaration")]
    Dimension {
        /// Space.
        space: String,
        /// Dimension in the declaration.
        declared: u16,
        /// Dimension of the model.
        found: usize,
    },
    /// An endpoint cannot be used.
    #[error("the endpoint of space `{space}` cannot be used: {detail}")]
    Endpoint {
        /// Space.
        space: String,
        /// Cause.
        detail: String,
    },
    /// The operating system gives no thread.
    #[error("a thread for the model cannot be started: {0}")]
    Thread(String),
}

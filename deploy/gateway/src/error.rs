use std::io;

use crate::guard::GuardError;

/// The gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no folder for the guard's socket.
    #[error("making a folder for the guard's socket: {0}")]
    Folder(#[source] io::Error),
    /// The configuration can't be read.
    #[error("reading {path}: {source}")]
    Configuration {
        /// Its path.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// A process can't be started, or does not become ready.
    #[error(transparent)]
    Process(#[from] keyplane_engine::Error),
    /// The guard does not listen.
    #[error("the guard {why}; the end of its log:\n{log}")]
    NotReady {
        /// Reason.
        why: String,
        /// The last lines of its log.
        log: String,
    },
    /// The guard can't serve.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The process can't do what it needs.
    #[error("{what}: {source}")]
    Io {
        /// Step that failed.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
}

// === impl Error ===

impl Error {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, source }
    }
}

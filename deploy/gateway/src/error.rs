use std::io;

/// Failure to start or to stop the gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Folder for the guard's socket can't be made.
    #[error("making a folder for the guard's socket: {0}")]
    Folder(#[source] io::Error),
    /// Envoy's configuration can't be read.
    #[error("reading {path}: {source}")]
    Configuration {
        /// Path of the file.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// Envoy can't be fetched, started or stopped, or does not become ready.
    #[error(transparent)]
    Process(#[from] keyplane_engine::Error),
    /// Guard does not listen.
    #[error("the guard {cause}; the end of its log:\n{log}")]
    NotReady {
        /// Cause, as a verb phrase.
        cause: String,
        /// Guard's log.
        log: String,
    },
    /// Guard can't serve.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A system call failed.
    #[error("{step}: {source}")]
    Io {
        /// Step that failed.
        step: &'static str,
        /// Cause.
        source: io::Error,
    },
}

/// Failure of the guard to start or to serve.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Contracts hold a type that the guard can't check.
    #[error("the contracts can't be guarded: {0}")]
    Contracts(String),
    /// Socket can't be used.
    #[error("the guard can't listen: {0}")]
    Listen(#[source] io::Error),
    /// Server ended by itself.
    #[error("the guard ended: {0}")]
    Ended(#[from] tonic::transport::Error),
}

// === impl Error ===

impl Error {
    pub(crate) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { step, source }
    }
}

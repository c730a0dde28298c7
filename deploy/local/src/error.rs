use std::time::Duration;

/// Why the mesh did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program could not be fetched, started or stopped.
    #[error(transparent)]
    Engine(#[from] keyplane_engine::Error),
    /// Another program holds a port.
    #[error("port {port}, for {what}, is taken; choose another with {flag}, or 0 for any that is free")]
    PortTaken {
        /// What the port is for.
        what: String,
        /// The port.
        port: u16,
        /// The option that changes it.
        flag: String,
    },
    /// A process of the mesh ended by itself.
    #[error("{name} ended by itself ({how}); the end of its log:\n{log}")]
    Died {
        /// The process.
        name: String,
        /// Its exit status.
        how: String,
        /// The last lines of its log.
        log: String,
    },
    /// A part of the mesh did not become ready.
    #[error("{what} is not ready after {waited:?}: {detail}; the end of its log:\n{log}")]
    NotReady {
        /// The part.
        what: String,
        /// How long was waited.
        waited: Duration,
        /// What it answered last.
        detail: String,
        /// The last lines of its log.
        log: String,
    },
    /// Another `cargo up` uses the same folder.
    #[error("keyplane is running already{0}")]
    Running(String),
    /// The gateway's configuration has a name that nothing fills, or an endpoint that is no address.
    #[error("the gateway can't be configured: {0}")]
    Gateway(String),
    /// The gateway, or its guard, can't be started.
    #[error(transparent)]
    Guarded(#[from] keyplane_gateway::Error),
    /// There is no key to sign with, since no mesh runs in the folder.
    #[error("keyplane is not running in {0}: start it with `cargo up`, or name its folder with --run-dir")]
    NotRunning(String),
    /// A token can't be made.
    #[error("no token: {0}")]
    Token(String),
    /// A file or folder can't be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
}

// === impl Error ===

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        |source| Error::Io { what, source }
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

use std::time::Duration;

/// Failure of the mesh to start or to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Program that can't be fetched, started or stopped.
    #[error(transparent)]
    Engine(#[from] keyplane_engine::Error),
    /// Port that another program holds.
    #[error("port {port}, for {part}, is taken; choose another with {flag}, or 0 for any free port")]
    PortTaken {
        /// Part of the mesh that needs the port.
        part: String,
        /// Number of the port.
        port: u16,
        /// Option that changes the port.
        flag: String,
    },
    /// Process that ended by itself.
    #[error("{name} ended by itself ({exit}); the end of its log:\n{log}")]
    Died {
        /// Name of the process.
        name: String,
        /// Exit status.
        exit: String,
        /// Last lines of the log.
        log: String,
    },
    /// Part of the mesh that did not become ready.
    #[error("{part} is not ready after {waited:?}: {detail}; the end of its log:\n{log}")]
    NotReady {
        /// Name of the part.
        part: String,
        /// Time waited.
        waited: Duration,
        /// Last answer.
        detail: String,
        /// Last lines of the log.
        log: String,
    },
    /// Mesh of another `cargo up` that uses the same folder.
    #[error("keyplane is running already{0}")]
    Running(String),
    /// Configuration of the gateway with an unfilled name or an invalid endpoint.
    #[error("the gateway can't be configured: {0}")]
    Gateway(String),
    /// Gateway or guard that can't be started.
    #[error(transparent)]
    Guarded(#[from] keyplane_gateway::Error),
    /// Signing key is missing, since no mesh runs in the folder.
    #[error("keyplane is not running in {0}: start it with `cargo up`, or name its folder with --run-dir")]
    NotRunning(String),
    /// Token that can't be made.
    #[error("no token: {0}")]
    Token(String),
    /// Demo that can't be fetched or loaded.
    #[error("no demo: {0}")]
    Demo(String),
    /// File or folder that can't be read or written.
    #[error("{step}: {source}")]
    Io {
        /// Step that failed.
        step: String,
        /// Cause.
        source: std::io::Error,
    },
}

// === impl Error ===

impl Error {
    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let step = step.into();
        |source| Error::Io { step, source }
    }
}

/// Last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

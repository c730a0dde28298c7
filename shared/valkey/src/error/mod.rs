//! Error of a store call, in the terms that a caller decides by.

mod classify;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::failure::Failure;

/// Pause before a retry of a transient failure.
const SOON: Duration = Duration::from_millis(100);

/// Error of a store call. The text is for people; it holds no value, key or password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// Script or command: `session.patch`, `HGETALL`.
    operation: &'static str,
    message: Cow<'static, str>,
    code: Option<Box<str>>,
    outcome_unknown: bool,
    retry_after: Option<Duration>,
    next_attempt: Option<Duration>,
    deadline_passed: bool,
}

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Transient: no connection, a broken connection, an open breaker, or a server that can't serve now
    /// (LOADING, CLUSTERDOWN, READONLY, MASTERDOWN, TRYAGAIN, BUSY, MISCONF).
    Unavailable,
    /// Transient: no reply within the command timeout or the request's deadline.
    Timeout,
    /// Transient: the queue is full, or the server is out of memory.
    Overloaded,
    /// The engine lacks a command that the feature needs.
    FeatureMissing,
    /// The server rejected the credentials, or its ACL forbids the command or the key.
    Denied,
    /// The server rejected the command, or the script failed: a fault of the program.
    Script,
    /// The reply lacks the expected form: a fault of the program, or foreign data under its key.
    Decode,
    /// The stored data has a layout that this program does not know.
    Layout,
    /// The search index does not exist.
    IndexMissing,
    /// A search index of this name exists.
    IndexExists,
}

// === impl Error ===

impl Error {
    pub(crate) fn new(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
        let retry_after = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Overloaded => Some(SOON),
            ErrorKind::FeatureMissing
            | ErrorKind::Denied
            | ErrorKind::Script
            | ErrorKind::Decode
            | ErrorKind::Layout
            | ErrorKind::IndexMissing
            | ErrorKind::IndexExists => None,
        };
        Error {
            kind,
            operation,
            message: message.into(),
            code: None,
            outcome_unknown: false,
            retry_after,
            next_attempt: None,
            deadline_passed: false,
        }
    }

    /// Error of stored data that the settings of this program do not fit. At its start, a service ends with `message`.
    pub fn layout(operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Layout, operation, message)
    }

    pub(crate) fn not_connected(operation: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, operation, "no connection to the store; it is being restored")
    }

    pub(crate) fn denied(operation: &'static str) -> Error {
        Error::new(ErrorKind::Denied, operation, "the store rejected the user or password")
    }

    /// No node of the cluster owns the key's slot, according to the last known owners.
    pub(crate) fn no_owner(operation: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, operation, "no node of the store's cluster serves this key now")
    }

    pub(crate) fn closed(operation: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, operation, "the connection to the store has been closed by this program")
    }

    pub(crate) fn breaker_open(operation: &'static str, left: Duration) -> Error {
        let next = left.as_millis().max(1);
        let message = format!("the store has not answered lately; calls fail at once, next attempt in {next}ms");
        let error = Error::new(ErrorKind::Unavailable, operation, message);
        Error { retry_after: Some(left), next_attempt: Some(left), ..error }
    }

    pub(crate) fn deadline_passed(operation: &'static str) -> Error {
        let message = "the request's deadline left no time for the store; nothing was sent";
        Error { deadline_passed: true, ..Error::new(ErrorKind::Timeout, operation, message) }
    }

    pub(crate) fn decode(wanted: &'static str, actual: &'static str) -> Error {
        Error::new(ErrorKind::Decode, "", format!("expected {wanted} in the reply but found {actual}"))
    }

    /// Names the script or command of a decoding error:
    /// `reply.int().map_err(|error| error.in_operation("session.patch"))`.
    #[must_use]
    pub fn in_operation(mut self, operation: &'static str) -> Error {
        self.operation = operation;
        self
    }

    /// Error for the failure of `operation`, which `changes` data or only reads it.
    pub(crate) fn from_failure(failure: &Failure, operation: &'static str, changes: bool) -> Error {
        let class = classify::classify(failure, operation);
        let error = Error::new(class.kind, operation, class.message);
        Error { code: failure.code().map(Into::into), outcome_unknown: changes && class.maybe_ran, ..error }
    }

    /// Class of the failure: what a caller decides by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Reports whether the command may have changed data: it was perhaps sent, and no answer came. `false` for reads and
    /// unsent calls.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// Pause before another attempt; `None` if another attempt would fail the same way.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Time until the open breaker that failed this call lets one through; `None` for any other failure.
    pub fn next_attempt(&self) -> Option<Duration> {
        self.next_attempt
    }

    /// Reports whether nothing was sent because the request's deadline left less than a millisecond. The store may be
    /// healthy.
    pub fn is_past_deadline(&self) -> bool {
        self.deadline_passed
    }

    /// Reports whether the failure is transient. With [`Error::outcome_unknown`] retry only an idempotent call.
    pub fn retryable(&self) -> bool {
        self.retry_after.is_some()
    }

    /// Code of the server's error, such as `WRONGTYPE` or a script's own; `None` without an answer, and for an error
    /// without a code.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Name of the script or command.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{}: ", self.operation)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

// === impl ErrorKind ===

impl ErrorKind {
    /// Name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::FeatureMissing => "feature_missing",
            ErrorKind::Denied => "denied",
            ErrorKind::Script => "script",
            ErrorKind::Decode => "decode",
            ErrorKind::Layout => "layout",
            ErrorKind::IndexMissing => "index_missing",
            ErrorKind::IndexExists => "index_exists",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;

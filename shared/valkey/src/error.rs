//! What can go wrong with a store call, in the terms that a caller decides by.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::value::Wanted;

/// After what time a retry of a passing failure has a chance.
const SOON: Duration = Duration::from_millis(100);

/// A store call that failed. The text is for people and holds no value of a caller, no key and no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// What was called: `session.patch`, `HGETALL`.
    operation: &'static str,
    message: Cow<'static, str>,
    code: Option<Box<str>>,
    outcome_unknown: bool,
    retry_after: Option<Duration>,
    next_attempt: Option<Duration>,
    deadline_passed: bool,
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection, a connection that broke, an open breaker, or a server that can't serve just now
    /// (LOADING, CLUSTERDOWN, READONLY, MASTERDOWN, TRYAGAIN, BUSY, MISCONF). Passes.
    Unavailable,
    /// No reply within the command timeout or the request's deadline. Passes.
    Timeout,
    /// The queue is full, or the server is out of memory. Passes with less load.
    Overloaded,
    /// The engine lacks a command that the feature needs.
    FeatureMissing,
    /// The server refused the credentials, or its ACL forbids the command or the key.
    Denied,
    /// The server refused the command, or the script failed: a fault of the program.
    Script,
    /// The reply has not the expected form: a fault of the program, or foreign data under its key.
    Decode,
    /// The stored data has another layout than this program understands.
    Layout,
}

/// How far a failed command had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It was surely not executed.
    NotSent,
    /// It may have been written to the connection.
    MaybeSent,
    /// The server answered it with an error.
    Answered,
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
            | ErrorKind::Layout => None,
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

    pub(crate) fn not_connected(operation: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, operation, "no connection to the store; it is being restored")
    }

    pub(crate) fn denied(operation: &'static str) -> Error {
        Error::new(ErrorKind::Denied, operation, "the store refused the user or password")
    }

    /// No node has the slot, as far as is known.
    pub(crate) fn nobody(operation: &'static str) -> Error {
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

    pub(crate) fn decode(wanted: Wanted, found: &'static str) -> Error {
        Error::new(ErrorKind::Decode, "", format!("expected {wanted} in the reply but found {found}"))
    }

    /// Names the script or command that a decoding error belongs to; a script's author calls it as
    /// `reply.int().map_err(|error| error.in_operation("session.patch"))`.
    #[must_use]
    pub fn in_operation(mut self, operation: &'static str) -> Error {
        self.operation = operation;
        self
    }

    /// The error for what fred reports about `operation`, which `changes` data or only reads it.
    pub(crate) fn from_fred(error: &fred::error::Error, operation: &'static str, changes: bool) -> Error {
        if let Some(code) = server_code(error.details()) {
            return Error::answered(code, error.details(), operation, changes);
        }
        let (kind, reached, message) = client_failure(error);
        let mut made = Error::new(kind, operation, message);
        made.outcome_unknown = changes && reached == Reached::MaybeSent;
        made
    }

    fn answered(code: &str, details: &str, operation: &'static str, changes: bool) -> Error {
        let (kind, message) = classify(code, details);
        let mut made = Error::new(kind, operation, message);
        // fred gives the CLUSTERDOWN of one command to all that were in flight beside it.
        made.outcome_unknown = changes && code == "CLUSTERDOWN";
        made.code = Some(code.into());
        made
    }

    /// The class, which is what a caller should decide by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the command may have changed data although it failed: it may have been sent, and no answer came.
    /// Always `false` for reads and for calls that were never sent.
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// How long to wait before another attempt; `None` where another attempt would fail the same way.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Time until a call is let through to the store again, where this one failed at once because the store has not
    /// answered lately; `None` for any other failure.
    pub fn next_attempt(&self) -> Option<Duration> {
        self.next_attempt
    }

    /// Whether nothing was sent, since the request's own deadline left less than a millisecond for it. That says nothing of
    /// the store.
    pub fn is_past_deadline(&self) -> bool {
        self.deadline_passed
    }

    /// Whether the failure passes by itself. With [`Error::outcome_unknown`] only an idempotent call may be repeated.
    pub fn retryable(&self) -> bool {
        self.retry_after.is_some()
    }

    /// The first word of the server's own error, such as `WRONGTYPE` or a script's own code; `None` if the server did
    /// not answer.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What was called: a script's name or a command.
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
    /// A word for logs and metrics.
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
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === classification ===

/// The code of an error that the server answered. fred keeps the server's text as it came, and its own texts start with
/// a capital followed by small letters.
pub(crate) fn server_code(details: &str) -> Option<&str> {
    let first = details.split_whitespace().next()?;
    let is_code = first.len() >= 2 && first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_code.then_some(first)
}

fn classify(code: &str, details: &str) -> (ErrorKind, Cow<'static, str>) {
    let text = |text: &'static str| Cow::Borrowed(text);
    match code {
        "OOM" => (ErrorKind::Overloaded, text("the store is out of memory (OOM); free some or give it more")),
        "LOADING" => (ErrorKind::Unavailable, text("the store is still loading its data (LOADING)")),
        "CLUSTERDOWN" => (ErrorKind::Unavailable, text("the store's cluster is down (CLUSTERDOWN)")),
        "MASTERDOWN" => (ErrorKind::Unavailable, text("the store's primary is down (MASTERDOWN)")),
        "READONLY" => {
            (ErrorKind::Unavailable, text("the store answered as a replica (READONLY); a failover is likely"))
        }
        "TRYAGAIN" | "MOVED" | "ASK" => {
            (ErrorKind::Unavailable, Cow::Owned(format!("the store's cluster is moving this key ({code})")))
        }
        "REDIRECT" => {
            (ErrorKind::Unavailable, text("the store answered as a replica (REDIRECT); a failover is likely"))
        }
        "UNBLOCKED" => (
            ErrorKind::Unavailable,
            text("the store's role changed while a read waited (UNBLOCKED); a failover is likely"),
        ),
        "BUSY" => (ErrorKind::Unavailable, text("the store is busy with a slow script (BUSY)")),
        "MISCONF" => (
            ErrorKind::Unavailable,
            text("the store can't save its data and takes no writes (MISCONF); is its disk full"),
        ),
        "NOREPLICAS" => (ErrorKind::Unavailable, text("the store has too few replicas for a write (NOREPLICAS)")),
        "NOSCRIPT" => (ErrorKind::Unavailable, text("the store lost the script again right after it was loaded")),
        "NOPERM" => (ErrorKind::Denied, text("the store's ACL forbids this command or key (NOPERM)")),
        "NOAUTH" | "WRONGPASS" => {
            (ErrorKind::Denied, Cow::Owned(format!("the store refused the user or password ({code})")))
        }
        // How NOPERM reads when a script calls the command.
        "ERR" if details.contains("ACL failure in script") => {
            (ErrorKind::Denied, text("the store's ACL forbids a command or key that the script uses"))
        }
        "ERR" if is_unknown_command(details) => {
            (ErrorKind::FeatureMissing, text("the store's engine does not know this command"))
        }
        "ERR" if details.contains("max number of clients") => {
            (ErrorKind::Overloaded, text("the store has reached its limit of connections"))
        }
        _ => (ErrorKind::Script, Cow::Owned(refused(code, details))),
    }
}

/// Scripts get another wording from the server when they call a command that it does not have.
fn is_unknown_command(details: &str) -> bool {
    let details = details.to_ascii_lowercase();
    details.contains("unknown command")
        || details.contains("unknown subcommand")
        || details.contains("unknown redis command")
        || details.contains("unknown valkey command")
}

/// The server's text may quote arguments, so only the code and the line of the script pass on.
fn refused(code: &str, details: &str) -> String {
    let line = details
        .split("user_script:")
        .nth(1)
        .map(|rest| rest.bytes().take_while(u8::is_ascii_digit).map(char::from).collect::<String>());
    match line {
        Some(line) if !line.is_empty() => format!("the script failed on the store in line {line} ({code})"),
        Some(_) | None => format!("the store refused the command ({code})"),
    }
}

fn client_failure(error: &fred::error::Error) -> (ErrorKind, Reached, &'static str) {
    use fred::error::ErrorKind as Fred;
    let broke = "the connection to the store broke before it answered";
    let unsent = "no connection to the store could take the command";
    match (error.kind(), error.details()) {
        (Fred::Timeout, _) => (ErrorKind::Timeout, Reached::MaybeSent, "the store did not answer in time"),
        (Fred::Backpressure, _) => {
            (ErrorKind::Overloaded, Reached::NotSent, "too many commands wait for the store (queue_limit)")
        }
        (Fred::Canceled | Fred::Routing | Fred::Cluster, _)
        | (
            Fred::Unknown,
            "Failed to route command." | "Client is not initialized." | "Failed to send command to router.",
        ) => (ErrorKind::Unavailable, Reached::NotSent, unsent),
        (Fred::Parse | Fred::NotFound, _) => {
            (ErrorKind::Decode, Reached::Answered, "the reply has not the expected form")
        }
        (Fred::InvalidArgument | Fred::InvalidCommand, _) => {
            (ErrorKind::Script, Reached::NotSent, "the command can't be encoded")
        }
        (Fred::Auth, _) => (ErrorKind::Denied, Reached::NotSent, "the store refused the user or password"),
        (Fred::IO | Fred::Unknown | Fred::Protocol | Fred::Tls | Fred::Sentinel | Fred::Config | Fred::Url, _) => {
            (ErrorKind::Unavailable, Reached::MaybeSent, broke)
        }
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;

//! Failure of one command: an error that the server answers, or no answer.

use fred::bytes_utils::Str;
use fred::error::{Error as FredError, ErrorKind as FredKind};

/// Failure of one command, as its connection reports it.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The server answered with an error; its text.
    Answered(Str),
    /// No answer came; the client library's reason.
    Unanswered(FredError),
}

// === impl Failure ===

impl Failure {
    /// The caller's patience ended first.
    pub(crate) fn timed_out() -> Failure {
        Failure::Unanswered(FredError::new(FredKind::Timeout, "Request timed out."))
    }

    /// The connection broke, perhaps after the command was written.
    pub(crate) fn broken() -> Failure {
        Failure::Unanswered(FredError::new(FredKind::IO, "Connection closed."))
    }

    /// The connection broke before the command was written.
    pub(crate) fn unsent() -> Failure {
        Failure::Unanswered(FredError::new(FredKind::Routing, "Failed to route command."))
    }

    /// The reply has a form that no command of ours asks for.
    pub(crate) fn unreadable() -> Failure {
        Failure::Unanswered(FredError::new(FredKind::Protocol, "Invalid response frame type."))
    }

    /// Takes an error of the client library. The library fails all commands in flight with the server's CLUSTERDOWN, NOAUTH
    /// or WRONGPASS, and keeps the text.
    pub(crate) fn from_fred(error: FredError) -> Failure {
        if error.kind() == &FredKind::Canceled {
            // The library also cancels commands that it has written.
            return Failure::broken();
        }
        let answered = matches!(error.kind(), FredKind::Auth | FredKind::Cluster) && code(error.details()).is_some();
        if answered { Failure::Answered(error.details().into()) } else { Failure::Unanswered(error) }
    }

    /// Code of the server's error: its first word, if in upper case. Errors of modules and scripts may have none.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Failure::Answered(text) => code(text),
            Failure::Unanswered(_) => None,
        }
    }

    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Failure::Answered(_))
    }

    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Failure::Unanswered(error) if error.kind() == &FredKind::Timeout)
    }

    /// Returns whether the connection broke before an answer came.
    pub(crate) fn is_lost(&self) -> bool {
        use FredKind::{Canceled, IO, Protocol, Routing, Tls, Unknown};
        let lost = |error: &FredError| matches!(error.kind(), IO | Unknown | Protocol | Tls | Canceled | Routing);
        matches!(self, Failure::Unanswered(error) if lost(error))
    }
}

fn code(text: &str) -> Option<&str> {
    let first = text.split_whitespace().next()?;
    let is_code = first.len() >= 2 && first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_code.then_some(first)
}
